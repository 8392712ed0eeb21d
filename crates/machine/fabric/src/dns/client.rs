//! The engine's side of the resolver's process: finds it or starts it, tells it of changes, and starts it again when it
//! dies.

use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Pid;
use pileus_contract::{FabricSpec, MachineError};

use super::files::{Files, Wanted};
use crate::FabricConfig;
use crate::error::{FabricError, Result};

/// How long a started process may take until it can be connected to.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take for a change.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a killed process may take to be gone.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// Between two of those looks at a process that starts.
const LOOK: Duration = Duration::from_millis(5);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Watches over the resolver's process. Dropping it leaves the process running, for the next engine to find.
#[derive(Debug)]
pub struct ResolverClient {
    shared: Arc<Shared>,
    watcher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Program and first arguments; the path of the configuration follows.
    command: Vec<OsString>,
    fabric: FabricConfig,
    files: Files,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The process, if this engine started it.
    child: Option<Child>,
    /// Ends with the process.
    watched: Option<UnixStream>,
    ending: bool,
}

impl ResolverClient {
    /// Watches over the resolver's process from now on; it is started where none answers, and serves what was last
    /// applied. `command` is a program with its first arguments, such as `pileus resolver`.
    ///
    /// # Errors
    /// The watching thread cannot be started.
    pub fn start(
        command: impl IntoIterator<Item = impl Into<OsString>>,
        fabric: &FabricConfig,
    ) -> std::result::Result<Self, MachineError> {
        let shared = Arc::new(Shared {
            command: command.into_iter().map(Into::into).collect(),
            fabric: fabric.clone(),
            files: Files::of(fabric),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let watched = Arc::clone(&shared);
        let watcher = std::thread::Builder::new()
            .name("resolver-client".into())
            .spawn(move || watched.watch())
            .map_err(|error| MachineError::new("watch over the resolver", error))?;
        Ok(Self { shared, watcher: Some(watcher) })
    }

    /// Makes each VPC of `spec`, whose networks are in force, resolve its names, and no other. When it returns `Ok`, all
    /// of them do.
    ///
    /// # Errors
    /// What could not be done; the rest has been, and the same spec may be applied again.
    pub fn apply(&self, spec: &FabricSpec) -> std::result::Result<(), MachineError> {
        let failed = |error: FabricError| MachineError::new("apply the names", error);
        let shared = &self.shared;
        shared.make_directory().map_err(failed)?;
        shared.files.store(&Wanted::of(spec, &shared.fabric.netns())).map_err(failed)?;
        let (_, failures) = shared.reload().map_err(failed)?;
        if failures.is_empty() {
            return Ok(());
        }
        Err(MachineError::new("apply the names", failures.join("; ")))
    }
}

impl Drop for ResolverClient {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.ending = true;
            if let Some(watched) = &state.watched {
                // It may be closed already.
                let _ = watched.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
        if self.watcher.take().is_some_and(|watcher| watcher.join().is_err()) {
            tracing::error!("the resolver's watcher panicked");
        }
    }
}

/// Ends the resolver's process of this configuration, if there is one, and removes its files. Nobody may be watching
/// over it.
pub(crate) fn stop(fabric: &FabricConfig) -> Result<()> {
    let files = Files::of(fabric);
    if let Ok(stream) = UnixStream::connect(files.socket()) {
        end(stream).map_err(|e| FabricError::kernel("end the resolver", e))?;
    }
    files.remove()
}

/// Kills the process at the other end. When its end of the connection is closed, so are all its sockets.
fn end(mut stream: UnixStream) -> io::Result<()> {
    let peer = getsockopt(&stream, sockopt::PeerCredentials)?;
    match kill(Pid::from_raw(peer.pid()), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(errno.into()),
    }
    stream.set_read_timeout(Some(END_PATIENCE))?;
    match io::copy(&mut stream, &mut io::sink()) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error),
        _ => Ok(()),
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }

    /// Until the client is dropped: sees to it that there is a process, with growing pauses while it fails.
    fn watch(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let since = Instant::now();
            let ended = self.await_end();
            if since.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            let mut state = self.lock();
            state.watched = None;
            match ended {
                _ if state.ending => return,
                Ok(()) => tracing::warn!("the resolver has ended; it is started again"),
                Err(error) => tracing::error!(%error, "cannot reach or start the resolver"),
            }
            let waited = self.changed.wait_timeout_while(state, pause, |state| !state.ending);
            if waited.expect("nobody panics while holding it").0.ending {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Returns when the process has ended, or the client is dropped.
    fn await_end(&self) -> Result<()> {
        let (mut stream, _) = self.reload()?;
        {
            let mut state = self.lock();
            if state.ending {
                return Ok(());
            }
            let clone = stream.try_clone().and_then(|clone| clone.set_read_timeout(None).map(|()| clone));
            state.watched = Some(clone.map_err(|e| FabricError::kernel("watch the resolver", e))?);
        }
        // Nothing comes any more but the end, as end of file or as an error.
        let _ = stream.read(&mut [0]);
        Ok(())
    }

    /// Makes the process read its configuration; returns the connection and what could not be done.
    fn reload(&self) -> Result<(UnixStream, Vec<String>)> {
        let stream = self.connect()?;
        let answer = || {
            stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line)?;
            Ok(serde_json::from_str(&line)?)
        };
        let failures = answer().map_err(|error: io::Error| self.silent(&error))?;
        Ok((stream, failures))
    }

    /// Connects to the process that is there, else to a new one.
    fn connect(&self) -> Result<UnixStream> {
        let end = Instant::now() + START_PATIENCE;
        let mut state = self.lock();
        let mut spawned = false;
        loop {
            let error = match UnixStream::connect(self.files.socket()) {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            if !state.is_alive() {
                if spawned {
                    return Err(self.silent(&"it ended at once"));
                }
                state.child = Some(self.spawn()?);
                spawned = true;
            }
            if Instant::now() > end {
                return Err(self.silent(&error));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn spawn(&self) -> Result<Child> {
        self.make_directory()?;
        let spawn = || {
            let (program, arguments) =
                self.command.split_first().ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
            let log = OpenOptions::new().create(true).append(true).mode(0o600).open(self.files.log())?;
            Command::new(program)
                .args(arguments)
                .arg(self.files.config())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
        };
        spawn().map_err(|e| FabricError::kernel("start the resolver", e))
    }

    fn make_directory(&self) -> Result<()> {
        let directory = &self.fabric.run_dir;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|e| FabricError::file("create", directory, e))
    }

    fn silent(&self, reason: &dyn std::fmt::Display) -> FabricError {
        FabricError::Resolver { reason: reason.to_string(), log: self.files.log() }
    }
}

impl State {
    /// Whether the process that this engine started still runs.
    fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }
}
