//! Keeps an eye on every shim: one thread, one connection to each, their news passed on as events.
//!
//! The end of a connection is the end of a shim. Only then is a task told to have ended: its process is reaped, and
//! what was left of the task is killed.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pileus_contract::TaskEvent;

use crate::client;
use crate::error::{At, Error, Result, chain};
use crate::host::Host;
use crate::protocol::{Message, Request, decode, write};

pub(crate) struct Watch {
    shared: Arc<Shared>,
    /// A byte wakes the thread; the end of the stream ends it.
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    host: Arc<Host>,
    /// Tasks that `start` is at work on: what is on the host of them is not whole yet.
    starting: Mutex<BTreeSet<String>>,
    /// Tasks whose shim is connected.
    alive: Mutex<BTreeSet<String>>,
    /// A task has left `alive`.
    gone: Condvar,
    /// Shims that the thread is to watch from now on.
    fresh: Mutex<Vec<Shim>>,
    events: Mutex<Option<Sender<TaskEvent>>>,
}

struct Shim {
    task: String,
    stream: UnixStream,
    input: Vec<u8>,
    /// Where this process has started it and must reap it.
    child: Option<Child>,
}

impl Watch {
    pub(crate) fn start(host: Arc<Host>) -> Result<Self> {
        let (wake, woken) = UnixStream::pair().at("make a socket for", &host.config.run_dir)?;
        woken.set_nonblocking(true).at("make a socket for", &host.config.run_dir)?;
        let shared = Arc::new(Shared {
            host,
            starting: Mutex::default(),
            alive: Mutex::default(),
            gone: Condvar::new(),
            fresh: Mutex::default(),
            events: Mutex::default(),
        });
        let thread = std::thread::Builder::new().name("shims".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&woken)
        });
        let thread = thread.at("start a thread for", &shared.host.config.run_dir)?;
        Ok(Self { shared, wake: Some(wake), thread: Some(thread) })
    }

    /// Watches the task's shim, if it has one that lives. Otherwise the task is settled, and told to have ended.
    pub(crate) fn add(&self, task: &str, child: Option<Child>) -> Result<()> {
        let dir = self.shared.host.config.task_dir(task);
        let connected = client::connect(&dir).and_then(|stream| {
            let Some(mut stream) = stream else { return Ok(None) };
            write(&mut stream, &Request::Watch)?;
            stream.set_nonblocking(true)?;
            Ok(Some(stream))
        });
        match connected {
            Ok(Some(stream)) => {
                lock(&self.shared.alive).insert(task.to_owned());
                let shim = Shim { task: task.to_owned(), stream, input: Vec::new(), child };
                lock(&self.shared.fresh).push(shim);
                self.wake().at("wake the watcher of", &dir.0)
            }
            Ok(None) => self.shared.end(task, child),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.shared.end(task, child),
            Err(error) => Err(error).at("connect to", dir.socket()),
        }
    }

    /// Claims the start of a task; `false` where another thread has.
    pub(crate) fn begin(&self, task: &str) -> bool {
        lock(&self.shared.starting).insert(task.to_owned())
    }

    pub(crate) fn finish(&self, task: &str) {
        lock(&self.shared.starting).remove(task);
    }

    pub(crate) fn is_starting(&self, task: &str) -> bool {
        lock(&self.shared.starting).contains(task)
    }

    pub(crate) fn is_alive(&self, task: &str) -> bool {
        lock(&self.shared.alive).contains(task)
    }

    /// Waits until the task's shim has gone, at most `patience`.
    pub(crate) fn wait_gone(&self, task: &str, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut alive = lock(&self.shared.alive);
        while alive.contains(task) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Shim("does not end".to_owned()));
            }
            alive = self.shared.gone.wait_timeout(alive, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// A new stream of events, beginning with the state of every task; the former stream ends.
    pub(crate) fn events(&self) -> Receiver<TaskEvent> {
        let (sender, receiver) = mpsc::channel();
        *lock(&self.shared.events) = Some(sender);
        match self.shared.host.tasks() {
            // A task that is being started is told of when its shim is.
            Ok(tasks) => {
                tasks
                    .iter()
                    .filter(|task| !self.is_starting(task))
                    .for_each(|task| self.shared.tell_state(task));
            }
            Err(error) => tracing::error!(error = chain(&error), "cannot list the tasks"),
        }
        receiver
    }

    fn wake(&self) -> io::Result<()> {
        self.wake.as_ref().map_or(Ok(()), |mut wake| wake.write_all(&[1]))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.wake = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that watches the shims has panicked");
        }
    }
}

impl Shared {
    fn run(&self, woken: &UnixStream) {
        let mut shims: Vec<Shim> = Vec::new();
        loop {
            let ready = match wait(woken, &shims) {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::error!(%error, "cannot wait for the shims");
                    return;
                }
            };
            if ready[0] && !drain(woken) {
                return;
            }
            let mut index = 0;
            shims = std::mem::take(&mut shims)
                .into_iter()
                .filter_map(|mut shim| {
                    index += 1;
                    if !ready[index] || self.serve(&mut shim) {
                        return Some(shim);
                    }
                    if let Err(error) = self.end(&shim.task, shim.child.take()) {
                        tracing::error!(
                            task = shim.task,
                            error = chain(&error),
                            "cannot end what is left of a task"
                        );
                    }
                    None
                })
                .collect();
            shims.append(&mut lock(&self.fresh));
        }
    }

    /// Passes on what the shim says; `false` when it has gone.
    fn serve(&self, shim: &mut Shim) -> bool {
        let mut chunk = [0; 16 << 10];
        match shim.stream.read(&mut chunk) {
            Ok(0) => return false,
            Ok(count) => shim.input.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return true;
            }
            Err(_) => return false,
        }
        loop {
            match decode(&mut shim.input) {
                // The end is told when the shim has gone, and all with it.
                Ok(Some(Message::State(state))) if state.ended => {}
                Ok(Some(Message::State(state))) => self.tell(TaskEvent::State(state)),
                Ok(Some(Message::Logs { container })) => {
                    self.tell(TaskEvent::Logs { task: shim.task.clone(), container });
                }
                Ok(Some(Message::Done)) => {}
                Ok(None) => return true,
                Err(error) => {
                    tracing::error!(task = shim.task, %error, "the shim does not make sense");
                    return false;
                }
            }
        }
    }

    /// A shim has gone: nothing of the task may run without it.
    fn end(&self, task: &str, child: Option<Child>) -> Result<()> {
        if let Some(mut child) = child {
            let dir = self.host.config.task_dir(task);
            // It has closed its socket, so it is dead or about to be; a kill ends every doubt.
            child.kill().and_then(|()| child.wait()).at("reap the shim of", &dir.0)?;
        }
        let settled = self.host.settle(task);
        lock(&self.alive).remove(task);
        self.gone.notify_all();
        self.tell(TaskEvent::State(settled?));
        Ok(())
    }

    fn tell_state(&self, task: &str) {
        match self.host.status(task) {
            Ok(state) => self.tell(TaskEvent::State(state)),
            Err(error) => tracing::error!(task, error = chain(&error), "cannot read the state of a task"),
        }
    }

    fn tell(&self, event: TaskEvent) {
        let mut events = lock(&self.events);
        if events.as_ref().is_some_and(|sender| sender.send(event).is_err()) {
            // Nobody listens any more.
            *events = None;
        }
    }
}

/// For the wake-up and each shim, in order: whether there is something to read.
fn wait(woken: &UnixStream, shims: &[Shim]) -> io::Result<Vec<bool>> {
    let streams = std::iter::once(woken).chain(shims.iter().map(|shim| &shim.stream));
    let mut fds: Vec<PollFd> = streams.map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(fds.iter().map(|fd| fd.any().unwrap_or(true)).collect())
}

/// Empties the wake-up; `false` where it has ended.
fn drain(mut woken: &UnixStream) -> bool {
    let mut bytes = [0; 64];
    loop {
        match woken.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
