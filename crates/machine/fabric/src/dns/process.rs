//! The resolver's own process: all resolvers of one engine, by a file, whether there is an engine or not.
//!
//! A connection to its socket stands for "read the file again". The answer is one line: what could not be done, as a list
//! in JSON. The connection then stays open, so that its end tells the engine of the process's end. There is nothing to
//! save, so SIGKILL is the way to end it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Resolver;
use super::files::{Files, Wanted};
use crate::error::{FabricError, Result};

/// An engine that takes no answer for this long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);
/// The rest after an error of the listener, such as too many open files.
const RECOVERY: Duration = Duration::from_millis(50);

/// Runs the resolvers that the file at `config` names, until it is killed: the body of `pileus resolver`.
///
/// # Errors
/// Another process does so already, or the socket beside the file cannot be opened.
pub fn resolver_main(config: &Path) -> Result<()> {
    let files = Files::new(config);
    let _lock = lock(&files.lock())?;
    detach();
    let mut resolvers = Resolvers { files, running: BTreeMap::new() };
    // Before anybody asks: after a crash the tasks wait for their names.
    resolvers.reload();
    let listener = bind(&resolvers.files.socket())?;
    let mut engines: Vec<UnixStream> = Vec::new();
    loop {
        match listener.accept() {
            Ok((engine, _)) => {
                engines.retain_mut(is_open);
                let failures = resolvers.reload();
                match answer(&engine, &failures) {
                    Ok(()) => engines.push(engine),
                    Err(error) => tracing::warn!(%error, "the engine took no answer"),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an engine");
                std::thread::sleep(RECOVERY);
            }
        }
    }
}

struct Resolvers {
    files: Files,
    /// By VPC.
    running: BTreeMap<String, Resolver>,
}

impl Resolvers {
    /// Brings all resolvers to what the file says, as far as it can; returns what could not be done.
    fn reload(&mut self) -> Vec<String> {
        let failures = match self.files.load() {
            Ok(wanted) => self.apply(&wanted),
            // What runs goes on.
            Err(error) => vec![error.to_string()],
        };
        for failure in &failures {
            tracing::warn!("{failure}");
        }
        failures
    }

    fn apply(&mut self, wanted: &[Wanted]) -> Vec<String> {
        self.running.retain(|vpc, resolver| {
            wanted.iter().any(|wanted| wanted.vpc == *vpc && resolver.is_of(&wanted.config))
        });
        let failures = wanted.iter().filter_map(|wanted| {
            let error = self.apply_one(wanted).err()?;
            Some(error.of(&wanted.vpc).to_string())
        });
        failures.collect()
    }

    fn apply_one(&mut self, wanted: &Wanted) -> Result<()> {
        if let Some(resolver) = self.running.get(&wanted.vpc) {
            resolver.update(&wanted.names);
            return Ok(());
        }
        let resolver = Resolver::start(&wanted.config)?;
        resolver.update(&wanted.names);
        tracing::info!(vpc = wanted.vpc, "a resolver is started");
        self.running.insert(wanted.vpc.clone(), resolver);
        Ok(())
    }
}

fn answer(mut engine: &UnixStream, failures: &[String]) -> io::Result<()> {
    engine.set_write_timeout(Some(WRITE_PATIENCE))?;
    let mut line = serde_json::to_vec(failures)?;
    line.push(b'\n');
    engine.write_all(&line)?;
    engine.set_nonblocking(true)
}

/// Whether the engine at the other end, which says nothing, is still there.
fn is_open(engine: &mut UnixStream) -> bool {
    engine.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// One process for one file; the lock goes with the process, however it ends.
fn lock(path: &Path) -> Result<Flock<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| FabricError::file("open", path, e))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| FabricError::Locked { path: path.to_owned() })
}

/// The lock says that no other process lives here, so a socket that is there is a dead one's.
fn bind(path: &Path) -> Result<UnixListener> {
    let bind = || {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().map_err(|e| FabricError::file("listen on", path, e))
}

/// Out of the engine's session, so that what ends the engine's terminal does not end this; and with all the files that
/// queries under way may need, so that one VPC's do not starve another's.
fn detach() {
    if let Err(errno) = nix::unistd::setsid() {
        tracing::debug!(%errno, "already a session leader");
    }
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(errno) = raised {
        tracing::warn!(%errno, "cannot raise the limit of open files");
    }
}
