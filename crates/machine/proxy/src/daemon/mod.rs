//! The balancer's own process: it takes configurations over a Unix socket, serves by the last one whatever becomes
//! of the engine, and keeps it on disk so that its own restart serves at once.
//!
//! What a client sees when this process is killed: its open connections are reset, and new ones refused until the
//! engine's supervisor has started the next process, which takes some tens of milliseconds. What it sees when the
//! engine is killed: nothing.

pub(crate) mod apply;
pub(crate) mod control;
pub(crate) mod events;
pub(crate) mod persist;
pub(crate) mod snapshot;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::BalancerConfig;
use crate::error::ProxyError;
use crate::health::checker::Checker;
use crate::listen::Home;
use crate::worker;
use apply::Applier;
use events::Hub;

/// How often drained targets are looked for, and what is unsaved is saved.
const HOUSEKEEPING: Duration = Duration::from_millis(50);

/// Runs a balancer until it is told to end: the body of `pileus balancer`.
///
/// # Errors
/// Another balancer runs in the same `run_dir`, or a resource to start with is lacking.
pub fn balancer_main(config: BalancerConfig) -> Result<(), ProxyError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.run_dir)
        .map_err(|source| ProxyError::io("create", &config.run_dir, source))?;
    let _lock = lock(&config.lock_path())?;
    detach();
    raise_descriptor_limit();
    let hub = Arc::new(Hub::new());
    let home =
        Arc::new(Home::open().map_err(|source| ProxyError::start("open its network namespace", source))?);
    let checker = Checker::start(config.time_scale, Arc::clone(&hub))
        .map_err(|source| ProxyError::start("start the health checker", source))?;
    let workers = (0..config.workers)
        .map(|index| worker::start(index, config.max_connections, Arc::clone(&hub)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| ProxyError::start("start a worker", source))?;
    // Before it serves, so that nobody finds it serving but deaf.
    let listener = control::bind(&config.socket_path())
        .map_err(|source| ProxyError::io("listen on", &config.socket_path(), source))?;
    let mut applier = Applier::new(config.clone(), home, workers, checker, Arc::clone(&hub));
    applier.restore();
    let applier = Arc::new(Mutex::new(applier));
    let keeper = Arc::clone(&applier);
    std::thread::Builder::new()
        .name("housekeeping".into())
        .spawn(move || {
            loop {
                std::thread::sleep(HOUSEKEEPING);
                keeper.lock().expect("nobody panics while holding it").keep_house();
            }
        })
        .map_err(|source| ProxyError::start("start its housekeeping", source))?;
    control::listen(&listener, &config.socket_path(), &applier, &hub);
    Ok(())
}

/// One balancer for one directory; the lock goes with the process, however it ends.
pub(crate) fn lock(path: &Path) -> Result<Flock<File>, ProxyError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| ProxyError::io("open", path, source))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| ProxyError::Locked { path: path.to_owned(), errno })
}

/// Out of the engine's session, so that what ends the engine's terminal does not end the balancer.
fn detach() {
    if let Err(errno) = nix::unistd::setsid() {
        tracing::debug!(%errno, "already a session leader");
    }
}

/// Each proxied connection takes two descriptors.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(errno) = raised {
        tracing::warn!(%errno, "cannot raise the limit of open files");
    }
}
