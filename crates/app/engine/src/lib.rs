//! The engine: the AWS APIs, the durable state and the control loops, joined to the machine.
//!
//! It may end at any moment: what it acknowledged is on disk, and tasks and the balancer run in processes of their own.
//! Started again, it asks the machine what is there and goes on from that.

mod api;
mod auth;
mod entropy;
mod home;
mod issuer;
mod loops;
mod machine;
mod pool;
mod root;
mod s3;
mod server;
mod wiring;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use pileus_contract::MachineError;
use pileus_core::{Clock, SystemClock};
use pileus_store::{Db, StoreError};
use tokio::signal::unix::{SignalKind, signal};

pub use home::{Claim, EngineFile, Home, Occupant};
pub use machine::{BALANCER_COMMAND, MachineConfig, RESOLVER_COMMAND, SHIM_COMMAND, remove_traces};

/// What an engine is started with.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub home: Home,
    /// The port of the AWS API on loopback; 0 picks a free one.
    pub port: u16,
    pub machine: MachineConfig,
    /// How many times faster than the wall the engine's clock runs; 1 is real time.
    pub time_scale: f64,
    /// Whether only credentials that were issued here count, and what would fail at AWS fails.
    pub strict: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(
        "cannot use {path} as the engine's home: {source}. Set PILEUS_HOME to a directory that you may write."
    )]
    Home { path: PathBuf, source: std::io::Error },
    #[error(
        "port {port} on 127.0.0.1 cannot be opened: {source}. Choose another with --port or PILEUS_PORT."
    )]
    Listen { port: u16, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error("the engine cannot start: {0}")]
    Start(#[from] std::io::Error),
}

/// Runs the engine until it is told to end (SIGTERM or SIGINT). Tasks and the balancer go on.
///
/// # Errors
/// Why it could not start, or had to end.
pub fn run(config: &EngineConfig) -> Result<(), EngineError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(serve(config));
    // Threads of the machine may be in the middle of work that the next engine finishes.
    runtime.shutdown_background();
    result
}

/// Claims the home: a second engine is refused here, before it touches the machine.
///
/// Where the holder is not ready yet, or about to end, its fate is awaited: whoever started this engine then finds a
/// ready one, or this one takes over.
async fn claim(home: &Home) -> Result<Claim, EngineError> {
    let end = Instant::now() + home::PATIENCE;
    loop {
        if let Some(claim) = home.try_claim()? {
            return Ok(claim);
        }
        if home.engine().is_some() || Instant::now() > end {
            return Err(StoreError::InUse { path: home.state() }.into());
        }
        tokio::time::sleep(home::POLL).await;
    }
}

async fn serve(config: &EngineConfig) -> Result<(), EngineError> {
    let home = &config.home;
    let _claim = claim(home).await?;
    let db = Arc::new(Db::open(&home.state(), wiring::tables())?);
    let listener = server::listen(config.port).await?;
    let port = listener.local_addr()?.port();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(config.time_scale));
    let machine = machine::Machine::open(home, &config.machine, config.time_scale)?;
    let engine = Arc::new(api::Engine::new(db, clock, machine, wiring::router(), port)?);
    root::set_strict(&engine, home, config.strict)?;
    engine.claim_public_addresses(home)?;
    s3::sweep(&engine, true)?;
    let loops = loops::start(&engine, home);
    let server = tokio::spawn(server::serve(listener, engine.clone(), loops));
    home.write_engine_file(&EngineFile::own(port, config.strict)?)?;
    tracing::info!(port, instance = home.instance(), "the engine is ready");
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to end; tasks and the balancer go on"),
        _ = interrupt.recv() => tracing::info!("interrupted; tasks and the balancer go on (`pileus stop` ends them)"),
        // No state has this version: what ends this wait is a disk that refuses, also while nobody asks for anything.
        () = engine.durable(u64::MAX) => {}
        ended = server => tracing::error!(?ended, "the API server ended"),
    }
    Ok(())
}
