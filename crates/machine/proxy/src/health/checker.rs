//! The checker: one loop for each target that a load balancer uses and that is not draining.
//!
//! Every target is checked from the node in its own zone where there is one, so that the loss of a zone shows as
//! the loss of its targets. A new target is checked at once, then each interval, spread a little so that checks do
//! not all fall together; until its first success it is looked at more often ([`EARLY`]). A new configuration changes the running loops; what is known of a target stays.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pileus_contract::proxy::{Health, HealthCheckSpec};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use super::probe::probe;
use super::state::{Outcome, Tracker, standing};
use crate::daemon::events::Hub;
use crate::daemon::snapshot::{Node, Snapshot, TargetState};
use crate::http1::trace::Random;

/// How soon after its first check a new target that failed it is looked at again; then after twice as long each time,
/// until it is the next check's turn. The nodes of an ALB check each by itself, so a new target is looked at several
/// times an interval there. These looks can make it healthy; a failure counts only at the interval.
const EARLY: Duration = Duration::from_millis(500);

/// One target to check, and how.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) group: String,
    pub(crate) target: SocketAddrV4,
    pub(crate) spec: HealthCheckSpec,
    pub(crate) node: Arc<Node>,
    pub(crate) state: Arc<TargetState>,
    /// What is known of a target that is new to this process.
    pub(crate) last_known: Health,
}

#[derive(Debug)]
pub(crate) struct Checker {
    orders: UnboundedSender<(Vec<Check>, Arc<AtomicU64>)>,
}

impl Checker {
    pub(crate) fn start(time_scale: f64, hub: Arc<Hub>) -> io::Result<Self> {
        let (orders, inbox) = unbounded_channel();
        std::thread::Builder::new().name("health".into()).spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => runtime.block_on(run(inbox, time_scale, hub)),
                Err(error) => tracing::error!(%error, "no health checks: the runtime does not start"),
            }
        })?;
        Ok(Self { orders })
    }

    pub(crate) fn apply(&self, checks: Vec<Check>, epoch: Arc<AtomicU64>) {
        if self.orders.send((checks, epoch)).is_err() {
            tracing::error!("the health checker has ended");
        }
    }
}

/// What is to be checked in `snapshot`; `last_known` tells the health of targets that are new.
pub(crate) fn checks(snapshot: &Snapshot, last_known: impl Fn(&str, SocketAddrV4) -> Health) -> Vec<Check> {
    let mut checks = HashMap::new();
    for lb in &snapshot.load_balancers {
        for group in lb.groups.iter().map(|group| &snapshot.groups[*group]) {
            for target in group.targets.iter().filter(|target| !target.draining) {
                let near = lb.nodes.iter().find(|node| node.zone == target.zone).or(lb.nodes.first());
                let Some(node) = near else { continue };
                let check = || Check {
                    group: group.id.clone(),
                    target: target.address,
                    spec: group.health_check.clone(),
                    node: Arc::clone(node),
                    state: Arc::clone(&target.shared),
                    last_known: last_known(&group.id, target.address),
                };
                checks.entry((group.id.as_str(), target.address)).or_insert_with(check);
            }
        }
    }
    checks.into_values().collect()
}

struct Running {
    /// Read anew before each check.
    check: Rc<RefCell<Check>>,
    changed: Rc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut inbox: UnboundedReceiver<(Vec<Check>, Arc<AtomicU64>)>, time_scale: f64, hub: Arc<Hub>) {
    let mut running: HashMap<(String, SocketAddrV4), Running> = HashMap::new();
    while let Some((checks, epoch)) = inbox.recv().await {
        let mut before = std::mem::take(&mut running);
        for check in checks {
            let key = (check.group.clone(), check.target);
            let same = before.remove(&key).filter(|old| Arc::ptr_eq(&old.check.borrow().state, &check.state));
            let one = match same {
                Some(old) => {
                    let respaced = old.check.borrow().spec != check.spec;
                    *old.check.borrow_mut() = check;
                    if respaced {
                        old.changed.notify_one();
                    }
                    old
                }
                None => begin(check, time_scale, Arc::clone(&hub), epoch.clone()),
            };
            running.insert(key, one);
        }
    }
}

fn begin(check: Check, time_scale: f64, hub: Arc<Hub>, epoch: Arc<AtomicU64>) -> Running {
    let check = Rc::new(RefCell::new(check));
    let changed = Rc::new(Notify::new());
    let task = spawn_local(watch(Rc::clone(&check), Rc::clone(&changed), time_scale, hub, epoch));
    Running { check, changed, task }
}

async fn watch(
    current: Rc<RefCell<Check>>,
    changed: Rc<Notify>,
    time_scale: f64,
    hub: Arc<Hub>,
    epoch: Arc<AtomicU64>,
) {
    let mut tracker = Tracker::new(Some(current.borrow().last_known.clone()));
    let mut random = Random::new();
    loop {
        let began = Instant::now();
        let (check, outcome) = ask(&current, time_scale).await;
        take_in(&mut tracker, &check, outcome, &hub, &epoch);
        let spread = 0.95 + random.below(1000) as f64 / 10_000.0;
        let mut early = EARLY;
        while !pause(&current, &changed, began, time_scale, spread, tracker.is_initial().then_some(early))
            .await
        {
            let (check, outcome) = ask(&current, time_scale).await;
            if outcome == Outcome::Success {
                take_in(&mut tracker, &check, outcome, &hub, &epoch);
            }
            early *= 2;
        }
    }
}

/// One check by the present configuration.
async fn ask(current: &RefCell<Check>, time_scale: f64) -> (Check, Outcome) {
    let check = current.borrow().clone();
    let limit = check.spec.timeout.div_f64(time_scale);
    let outcome = probe(&check.node, check.target, &check.spec, limit).await;
    (check, outcome)
}

fn take_in(tracker: &mut Tracker, check: &Check, outcome: Outcome, hub: &Hub, epoch: &AtomicU64) {
    if let Some(health) = tracker.observe(outcome, &check.spec) {
        tracing::info!(group = %check.group, target = %check.target, ?health, "health changed");
        check.state.set_standing(standing(health));
        epoch.fetch_add(1, Ordering::Release);
        hub.health(&check.group, check.target, health.clone());
    }
}

/// Until the next check, an interval after the last one began, give or take a twentieth (`spread`); or, if that is
/// sooner, until `early` has passed since then. True if it is the next check's turn.
async fn pause(
    current: &RefCell<Check>,
    changed: &Notify,
    began: Instant,
    time_scale: f64,
    spread: f64,
    early: Option<Duration>,
) -> bool {
    loop {
        let interval = current.borrow().spec.interval.div_f64(time_scale).mul_f64(spread);
        let interval = interval.max(Duration::from_millis(1));
        let early = early.map(|early| early.div_f64(time_scale)).filter(|early| *early < interval);
        tokio::select! {
            () = sleep_until(began + early.unwrap_or(interval)) => return early.is_none(),
            () = changed.notified() => {}
        }
    }
}
