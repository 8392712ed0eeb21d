//! The engine's side: starts the balancer where none answers, watches over it, hands it configurations, and hears
//! its events.
//!
//! One thread supervises: connect, starting the process if need be; hand over the last configuration; read until
//! the connection ends; again, with growing pauses while it fails. Whoever calls [`Proxy::apply`] waits for that.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, BufReader};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Pid;
use pileus_contract::MachineError;
use pileus_contract::proxy::{Proxy, ProxyEvent, ProxySpec};

use crate::config::BalancerConfig;
use crate::wire::{Command, Report, read_frame, write_frame};

/// How long [`Proxy::apply`] waits for a balancer, its start included.
const APPLY_PATIENCE: Duration = Duration::from_secs(15);
/// How long a started balancer may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How long an ending balancer may take.
const END_PATIENCE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A balancer process, as [`Proxy`].
pub struct BalancerClient {
    shared: Arc<Shared>,
    supervisor: Mutex<Option<JoinHandle<Option<Child>>>>,
}

struct Shared {
    /// Program and first arguments; the configuration as JSON follows.
    command: Vec<OsString>,
    config: BalancerConfig,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    spec: Option<Arc<ProxySpec>>,
    /// Of `spec`; grows with each.
    generation: u64,
    /// The last one that the balancer acknowledged, and what it said of it.
    applied: u64,
    failure: Option<String>,
    /// Why there is no connection.
    trouble: Option<String>,
    connection: Option<UnixStream>,
    listener: Option<Sender<ProxyEvent>>,
    ending: bool,
}

impl BalancerClient {
    /// Supervises a balancer from now on; it is started if none answers in `config.run_dir`. `command` is a program
    /// with its first arguments, such as `/proc/self/exe balancer`; the configuration follows them as JSON.
    ///
    /// # Errors
    /// The supervising thread cannot be started.
    pub fn start(
        command: impl IntoIterator<Item = impl Into<OsString>>,
        config: BalancerConfig,
    ) -> Result<Self, MachineError> {
        let shared = Arc::new(Shared {
            command: command.into_iter().map(Into::into).collect(),
            config,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let supervised = Arc::clone(&shared);
        let supervisor = std::thread::Builder::new()
            .name("balancer-client".into())
            .spawn(move || Supervisor::new(supervised).run())
            .map_err(|error| MachineError::new("start the balancer's supervisor", error))?;
        Ok(Self { shared, supervisor: Mutex::new(Some(supervisor)) })
    }

    /// Returns the balancer, if this engine started it.
    fn stop_supervising(&self) -> Option<Child> {
        {
            let mut state = self.shared.lock();
            state.ending = true;
            if let Some(connection) = &state.connection {
                // It may be closed already.
                let _ = connection.shutdown(std::net::Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
        let supervisor = self.supervisor.lock().expect("nobody panics while holding it").take();
        let stopped = supervisor.map(JoinHandle::join).transpose();
        stopped.inspect_err(|_| tracing::error!("the balancer's supervisor panicked")).ok()??
    }
}

impl Proxy for BalancerClient {
    fn apply(&self, spec: &ProxySpec) -> Result<(), MachineError> {
        let end = Instant::now() + APPLY_PATIENCE;
        let failed = |cause: String| MachineError::new("configure the balancer", cause);
        let mut state = self.shared.lock();
        state.generation += 1;
        let generation = state.generation;
        state.spec = Some(Arc::new(spec.clone()));
        state.send_spec();
        loop {
            if state.applied >= generation {
                return state.failure.clone().map_or(Ok(()), |failure| Err(failed(failure)));
            }
            if state.ending {
                return Err(failed("it is being ended".into()));
            }
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                let trouble = state.trouble.clone();
                return Err(failed(trouble.unwrap_or_else(|| "it does not answer; see balancer.log".into())));
            };
            (state, _) =
                self.shared.changed.wait_timeout(state, left).expect("nobody panics while holding it");
        }
    }

    fn events(&self) -> Receiver<ProxyEvent> {
        let (sender, receiver) = channel();
        let mut state = self.shared.lock();
        state.listener = Some(sender);
        state.send(&Command::Subscribe);
        receiver
    }

    fn teardown(&self) -> Result<(), MachineError> {
        let child = self.stop_supervising();
        stop(&self.shared.config)?;
        if let Some(mut child) = child {
            child.wait().map_err(|error| MachineError::new("wait for the ended balancer", error))?;
        }
        Ok(())
    }
}

/// Ends the balancer of this configuration, if there is one, and removes its files. Nobody may be supervising it.
///
/// # Errors
/// It cannot be ended.
pub fn stop(config: &BalancerConfig) -> Result<(), MachineError> {
    let failed = |cause: &dyn std::fmt::Display| MachineError::new("end the balancer", cause);
    let Ok(mut connection) = UnixStream::connect(config.socket_path()) else {
        // Nobody listens: there is none.
        return forget(config);
    };
    let peer = getsockopt(&connection, sockopt::PeerCredentials).map_err(|error| failed(&error))?;
    if write_frame(&mut connection, &Command::Shutdown).is_ok() && ends(peer.pid()) {
        return forget(config);
    }
    tracing::warn!(pid = peer.pid(), "the balancer does not end when asked: killing it");
    match kill(Pid::from_raw(peer.pid()), Signal::SIGKILL) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => return Err(failed(&error)),
    }
    if ends(peer.pid()) { forget(config) } else { Err(failed(&"it survives SIGKILL")) }
}

/// Leaves the balancer running: it serves on, and the next engine finds it.
impl Drop for BalancerClient {
    fn drop(&mut self) {
        self.stop_supervising();
    }
}

/// Whether process `pid` ends in time. A dead child that nobody has waited for counts as ended.
fn ends(pid: i32) -> bool {
    let end = Instant::now() + END_PATIENCE;
    while Instant::now() < end {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        if !stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or("Z").starts_with('Z')) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

/// Removes what an ended balancer kept.
fn forget(config: &BalancerConfig) -> Result<(), MachineError> {
    for path in [config.socket_path(), config.state_path()] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(MachineError::new(format!("remove {}", path.display()), error));
            }
            _ => {}
        }
    }
    Ok(())
}

impl State {
    fn send_spec(&mut self) {
        if let Some(spec) = self.spec.clone() {
            self.send(&Command::Apply { generation: self.generation, spec: (*spec).clone() });
        }
    }

    /// What cannot be sent now is sent with the next connection.
    fn send(&mut self, command: &Command) {
        let Some(connection) = &mut self.connection else { return };
        if let Err(error) = write_frame(connection, command) {
            tracing::warn!(%error, "the balancer's connection broke");
            // Wakes the supervisor, which connects again.
            let _ = connection.shutdown(std::net::Shutdown::Both);
            self.connection = None;
        }
    }
}

/// The supervising thread.
struct Supervisor {
    shared: Arc<Shared>,
    child: Option<Child>,
    pause: Duration,
}

impl Supervisor {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, child: None, pause: FIRST_PAUSE }
    }

    fn run(mut self) -> Option<Child> {
        while !self.shared.lock().ending {
            match self.connect() {
                Ok(stream) => {
                    let since = Instant::now();
                    if let Err(error) = self.serve(stream) {
                        tracing::warn!(%error, "the balancer's connection broke");
                    }
                    self.disconnected();
                    if since.elapsed() > LONGEST_PAUSE {
                        self.pause = FIRST_PAUSE;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "cannot reach or start the balancer");
                    self.shared.lock().trouble = Some(error.to_string());
                }
            }
            self.reap();
            self.rest();
        }
        self.child
    }

    /// Connects to the balancer that is there, else to a new one.
    fn connect(&mut self) -> io::Result<UnixStream> {
        let path = self.shared.config.socket_path();
        if let Ok(stream) = UnixStream::connect(&path) {
            return Ok(stream);
        }
        if !self.alive() {
            self.child = Some(self.spawn()?);
        }
        let end = Instant::now() + START_PATIENCE;
        loop {
            match UnixStream::connect(&path) {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() > end || !self.alive() => {
                    let log = self.shared.config.log_path();
                    let hint = format!("the balancer does not start ({error}); see {}", log.display());
                    return Err(io::Error::new(error.kind(), hint));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let Shared { command, config, .. } = &*self.shared;
        let (program, arguments) =
            command.split_first().ok_or_else(|| io::Error::other("no command to start the balancer with"))?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.run_dir)?;
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(config.log_path())?;
        Process::new(program)
            .args(arguments)
            .arg(serde_json::to_string(config)?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
    }

    /// Whether the process that this engine started still runs.
    fn alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn reap(&mut self) {
        if !self.alive() {
            self.child = None;
        }
    }

    /// Hands over what there is, then hears events until the connection ends.
    fn serve(&mut self, stream: UnixStream) -> io::Result<()> {
        {
            let mut state = self.shared.lock();
            if state.ending {
                return Ok(());
            }
            state.connection = Some(stream.try_clone()?);
            state.trouble = None;
            if state.listener.is_some() {
                state.send(&Command::Subscribe);
            }
            state.send_spec();
        }
        let mut stream = BufReader::new(stream);
        while let Some(report) = read_frame(&mut stream)? {
            self.pause = FIRST_PAUSE;
            let mut state = self.shared.lock();
            match report {
                Report::Applied { generation, failure } => {
                    state.applied = generation;
                    state.failure = failure;
                    drop(state);
                    self.shared.changed.notify_all();
                }
                Report::Event(event) => {
                    if state.listener.as_ref().is_some_and(|listener| listener.send(event).is_err()) {
                        state.listener = None;
                    }
                }
            }
        }
        Ok(())
    }

    fn disconnected(&self) {
        let mut state = self.shared.lock();
        state.connection = None;
        state.trouble = Some("the balancer ended; it is being started again".into());
    }

    /// Pauses before the next attempt, longer each time, unless the end is near.
    fn rest(&mut self) {
        let state = self.shared.lock();
        if !state.ending {
            drop(self.shared.changed.wait_timeout(state, self.pause));
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}
