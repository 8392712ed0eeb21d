//! One event loop on a thread of its own. Everything a request needs is in the worker: its view of the
//! configuration, its connections to targets, its counters, its buffers. Nothing is locked on the way.

pub(crate) mod connections;
pub(crate) mod scratch;
pub(crate) mod view;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use crate::daemon::events::Hub;
use crate::daemon::snapshot::{NodeKey, Snapshot};
use crate::http1::trace::Random;
use crate::serve;
use crate::stats::{Book, Metric};
use crate::upstream::pool::Pool;
use connections::Connections;
use scratch::Scratch;
use view::View;

/// A listening address: connections that entered by it are served by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Door {
    Edge { listener_port: u16, bound_port: u16 },
    Node { node: NodeKey, port: u16 },
}

impl Door {
    pub(crate) fn listener_port(self) -> u16 {
        match self {
            Self::Edge { listener_port, .. } => listener_port,
            Self::Node { port, .. } => port,
        }
    }
}

/// A new configuration for a worker.
#[derive(Debug)]
pub(crate) struct Apply {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) open: Vec<(Door, TcpListener)>,
    /// Their connections finish the request they are at.
    pub(crate) close: Vec<Door>,
    /// Hears when the worker serves by it.
    pub(crate) done: std::sync::mpsc::Sender<()>,
}

/// The way to a worker's thread.
#[derive(Debug)]
pub(crate) struct Handle {
    orders: UnboundedSender<Apply>,
}

impl Handle {
    /// Whether the worker is there to get it.
    pub(crate) fn apply(&self, order: Apply) -> bool {
        self.orders.send(order).is_ok()
    }
}

pub(crate) struct Worker {
    pub(crate) index: usize,
    view: RefCell<Rc<View>>,
    pub(crate) pool: Pool,
    pub(crate) book: Book,
    pub(crate) connections: Connections,
    pub(crate) random: RefCell<Random>,
    #[expect(clippy::vec_box, reason = "they are handed out and come back; moving them would copy them")]
    scratch: RefCell<Vec<Box<Scratch>>>,
    /// Grows with each configuration.
    pub(crate) generation: Cell<u64>,
    max_connections: usize,
    /// The wall clock at a moment of the last second: cheaper than to ask for each request.
    clock: Cell<(Instant, Duration)>,
}

/// Starts worker `index` on its own thread.
pub(crate) fn start(index: usize, max_connections: usize, hub: Arc<Hub>) -> io::Result<Handle> {
    let (orders, inbox) = unbounded_channel();
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime.block_on(run(Rc::new(Worker::new(index, max_connections)), inbox, hub)),
            // The first configuration finds that nobody is there, and says so.
            Err(error) => tracing::error!(%error, index, "a worker's runtime does not start"),
        }
    })?;
    Ok(Handle { orders })
}

async fn run(worker: Rc<Worker>, mut inbox: UnboundedReceiver<Apply>, hub: Arc<Hub>) {
    let mut doors: HashMap<Door, Vec<AbortHandle>> = HashMap::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            order = inbox.recv() => match order {
                Some(order) => worker.apply(order, &mut doors),
                None => return,
            },
            _ = tick.tick() => {
                let now = Instant::now();
                worker.clock.set((now, since_epoch()));
                worker.pool.sweep(now);
                hub.stats(worker.index, worker.book.take());
            }
        }
    }
}

impl Worker {
    fn new(index: usize, max_connections: usize) -> Self {
        Self {
            index,
            view: RefCell::default(),
            pool: Pool::default(),
            book: Book::default(),
            connections: Connections::default(),
            random: RefCell::new(Random::new()),
            scratch: RefCell::default(),
            generation: Cell::new(0),
            max_connections,
            clock: Cell::new((Instant::now(), since_epoch())),
        }
    }

    /// Seconds since the epoch at `now`.
    pub(crate) fn epoch_secs(&self, now: Instant) -> u64 {
        let (then, wall) = self.clock.get();
        (wall + now.saturating_duration_since(then)).as_secs()
    }

    pub(crate) fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    fn apply(self: &Rc<Self>, order: Apply, doors: &mut HashMap<Door, Vec<AbortHandle>>) {
        let view = View::new(order.snapshot, &self.view(), &self.book, self.index);
        self.pool.retain(|key| view.reaches(key));
        *self.view.borrow_mut() = Rc::new(view);
        self.generation.set(self.generation.get() + 1);
        for door in &order.close {
            doors.remove(door).into_iter().flatten().for_each(|accepting| accepting.abort());
        }
        self.close_orphans(&order.close);
        for (door, listener) in order.open {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    let accepting = spawn_local(accept(Rc::clone(self), door, listener));
                    doors.entry(door).or_default().push(accepting.abort_handle());
                }
                Err(error) => tracing::error!(?door, %error, "cannot watch a listening socket"),
            }
        }
        // Nobody waits any more where the balancer is about to end.
        let _ = order.done.send(());
    }

    /// Ends the connections whose door is among `closed`, or whose load balancer is gone.
    fn close_orphans(&self, closed: &[Door]) {
        let view = self.view();
        let present: HashSet<&str> = view.snapshot.load_balancers.iter().map(|lb| lb.id.as_str()).collect();
        self.connections.close_unless(|door, load_balancer| {
            !closed.contains(&door) && (load_balancer.is_empty() || present.contains(load_balancer))
        });
    }

    pub(crate) fn take_scratch(&self) -> Box<Scratch> {
        self.scratch.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps as many as requests were ever in flight at once, up to a bound.
    pub(crate) fn give_back(&self, mut scratch: Box<Scratch>) {
        const KEPT: usize = 512;
        let mut kept = self.scratch.borrow_mut();
        if kept.len() < KEPT {
            scratch.reset();
            kept.push(scratch);
        }
    }
}

fn since_epoch() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

async fn accept(worker: Rc<Worker>, door: Door, listener: tokio::net::TcpListener) {
    let mut failing = false;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => {
                failing = false;
                accepted
            }
            Err(error) => {
                // Out of descriptors or memory: connections wait in the backlog until some are free again.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(?door, %error, "cannot accept");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if worker.connections.count() >= worker.max_connections {
            worker.view().door_row(door).add(Metric::RejectedConnectionCount, 1);
            continue;
        }
        let slot = worker.connections.open(door);
        spawn_local(serve::serve(stream, peer, slot, Rc::clone(&worker)));
    }
}
