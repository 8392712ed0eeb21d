//! Brings the balancer to what the ELB records say, and the records to what it reports.

use std::sync::Arc;

use pileus_contract::proxy::{ProxyEvent, ProxySpec};
use pileus_control::{Handle, Loop, Turn};
use pileus_core::Timestamp;

use crate::api::Engine;

pub(super) struct Balancer {
    engine: Arc<Engine>,
    /// What it serves by, without what was known of health: that only matters to a balancer that starts.
    applied: Option<ProxySpec>,
}

impl Balancer {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, applied: None }
    }
}

impl Loop for Balancer {
    fn name(&self) -> &'static str {
        "balancer"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        let state = self.engine.db.snapshot();
        let namespace = |interface: &str| self.engine.machine.fabric.namespace(interface);
        let spec = pileus_balancing::proxy_spec(&state, &namespace);
        let bare = without_health(&spec);
        if self.applied.as_ref() != Some(&bare) {
            self.applied = None;
            self.engine.machine.proxy.apply(&spec).map_err(|error| error.to_string())?;
            self.applied = Some(bare);
        }
        let (drained, wake_at) = pileus_balancing::plan(&state, now);
        self.engine.transact(|tx, _| {
            pileus_balancing::settle(tx, &spec, now);
            drained.iter().for_each(|action| pileus_balancing::apply(tx, action));
            Ok(())
        })?;
        Ok(Turn { wake_at })
    }
}

fn without_health(spec: &ProxySpec) -> ProxySpec {
    let mut bare = spec.clone();
    let targets = bare.target_groups.iter_mut().flat_map(|group| &mut group.targets);
    targets.for_each(|target| target.last_known = None);
    bare
}

/// Takes in the balancer's events.
pub(super) fn listen(engine: Arc<Engine>, balancer: Handle) {
    let events = engine.machine.proxy.events();
    super::follow("balancer-events", events, move |event| {
        if let Err(error) = take(&engine, &balancer, &event) {
            tracing::warn!(%error, "an event of the balancer could not be taken in");
        }
    });
}

fn take(engine: &Engine, balancer: &Handle, event: &ProxyEvent) -> Result<(), String> {
    match event {
        ProxyEvent::Health { .. } => engine.transact(|tx, _| {
            pileus_balancing::observe(tx, event);
            Ok(())
        }),
        ProxyEvent::Stats(stats) => {
            let points = pileus_balancing::metrics(&engine.db.snapshot(), stats, engine.clock.now());
            super::metrics::store(engine, points)
        }
        ProxyEvent::Edge { listener_port, bound_port } => {
            engine.note_edge(*listener_port, *bound_port);
            Ok(())
        }
        ProxyEvent::ListenFailed { load_balancer, port, reason } => {
            tracing::warn!(load_balancer, port, reason, "a listener could not be opened");
            Ok(())
        }
        ProxyEvent::Started { pid } => {
            tracing::info!(pid, "the balancer is connected");
            balancer.poke();
            Ok(())
        }
        // Draining is timed, as on AWS; that it could end early is of no use.
        ProxyEvent::Drained { .. } => Ok(()),
    }
}
