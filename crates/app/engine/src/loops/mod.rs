//! The engine's loops: each brings one part of the machine to what the state says, and the state to what the machine
//! tells. Every loop is level-triggered: it looks at all that concerns it and is content with any number of wake-ups.

mod alarms;
mod balancer;
mod certificates;
mod flows;
mod logs;
mod messages;
mod metadata;
mod metrics;
mod network;
mod registry;
mod scaling;
mod storage;
mod tasks;

use std::sync::Arc;

use pileus_control::{Handle, Loop, LoopStatus, drive};

use crate::Home;
use crate::api::Engine;

/// The running loops.
pub(crate) struct Loops(Vec<Handle>);

impl Loops {
    pub(crate) fn status(&self) -> Vec<LoopStatus> {
        self.0.iter().map(Handle::status).collect()
    }
}

/// Starts every loop. Call on the engine's runtime.
pub(crate) fn start(engine: &Arc<Engine>, home: &Home) -> Loops {
    let network = run(engine, network::Network::new(engine.clone()));
    let balancer = run(engine, balancer::Balancer::new(engine.clone()));
    let forwarder = Arc::new(logs::Forwarder::new(engine.clone()));
    let tasks = run(engine, tasks::Tasks::new(engine.clone(), forwarder.clone()));
    let logs = run(engine, logs::Logs::new(engine.clone(), forwarder));
    let metrics = run(engine, metrics::Metrics::new(engine.clone()));
    let alarms = run(engine, alarms::Alarms::new(engine.clone()));
    let messages = run(engine, messages::Messages::new(engine.clone()));
    let scaling = run(engine, scaling::Scaling::new(engine.clone()));
    let flows = run(engine, flows::Flows::new(engine.clone()));
    let metadata = run(engine, metadata::Metadata::new(engine.clone()));
    let registry = run(engine, registry::Registry::new(engine.clone()));
    let certificates = run(engine, certificates::Certificates::new(engine.clone(), home.ca()));
    let storage = run(engine, storage::Storage::new(engine.clone()));
    balancer::listen(engine.clone(), balancer.clone());
    tasks::listen(engine.clone(), logs.clone());
    Loops(vec![
        network,
        balancer,
        tasks,
        logs,
        metadata,
        metrics,
        alarms,
        messages,
        scaling,
        registry,
        storage,
        certificates,
        flows,
    ])
}

fn run(engine: &Engine, work: impl Loop) -> Handle {
    drive(work, &engine.db, engine.clock.clone())
}

/// Reads a stream of the machine's events on a thread of its own, for as long as there are any.
fn follow<T: Send + 'static>(
    name: &'static str,
    events: std::sync::mpsc::Receiver<T>,
    mut take: impl FnMut(T) + Send + 'static,
) {
    let thread = std::thread::Builder::new().name(name.into());
    let started = thread.spawn(move || {
        for event in events {
            take(event);
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, name, "the engine ends: a thread could not be started");
        std::process::exit(1);
    }
}
