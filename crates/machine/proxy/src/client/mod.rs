//! The engine's side: starts the balancer where none answers, watches over it, hands it configurations, and hears
//! its events.
//!
//! One thread (`supervisor`) keeps a connection; whoever calls [`Proxy::apply`] hands its configuration over and
//! waits for the answer, or for the news that no balancer can be had.

mod supervisor;

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::process::Child;
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
use crate::daemon::lock;
use crate::error::ProxyError;
use crate::wire::{Command, write_frame};
use supervisor::Supervisor;

/// How long [`Proxy::apply`] waits for a balancer, its start included.
const APPLY_PATIENCE: Duration = Duration::from_secs(15);
/// How long an ending balancer may take.
const END_PATIENCE: Duration = Duration::from_secs(2);

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
    /// How often a balancer could not be reached or started, and why the last time.
    failures: u64,
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
        let (generation, failures) = (state.generation, state.failures);
        state.spec = Some(Arc::new(spec.clone()));
        state.send_spec();
        loop {
            if state.applied >= generation {
                return state.failure.clone().map_or(Ok(()), |failure| Err(failed(failure)));
            }
            if state.ending {
                return Err(failed("it is being ended".into()));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || state.failures > failures {
                let trouble = state.trouble.clone();
                return Err(failed(trouble.unwrap_or_else(|| "it does not answer; see balancer.log".into())));
            }
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
    let Some(mut connection) = find(config).map_err(|error| failed(&error))? else { return Ok(()) };
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

/// A connection to the balancer that is there, or just starting. `None`: there is none, and what it kept is removed.
fn find(config: &BalancerConfig) -> Result<Option<UnixStream>, Box<dyn std::error::Error>> {
    let end = Instant::now() + END_PATIENCE;
    loop {
        match UnixStream::connect(config.socket_path()) {
            Ok(connection) => return Ok(Some(connection)),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {}
            Err(error) => return Err(error.into()),
        }
        if !config.run_dir.exists() {
            return Ok(None);
        }
        match lock(&config.lock_path()) {
            // None can start while this is held.
            Ok(_held) => {
                forget(config)?;
                return Ok(None);
            }
            Err(ProxyError::Locked { .. }) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
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
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if stat.rsplit(") ").next().is_some_and(|state| state.starts_with('Z')) => return true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
            _ => {}
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
