//! Brings the fabric and the resolver to what the EC2 records say, and takes note of what is in force.

use std::sync::Arc;

use pileus_contract::FabricSpec;
use pileus_control::{Loop, Turn};
use pileus_core::Timestamp;

use crate::api::Engine;

pub(super) struct Network {
    engine: Arc<Engine>,
    /// What the fabric was last brought to, as far as this engine knows.
    applied: Option<FabricSpec>,
}

impl Network {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, applied: None }
    }
}

impl Loop for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        let state = self.engine.db.snapshot();
        let spec = pileus_network::fabric_spec(&state);
        if self.applied.as_ref() != Some(&spec) {
            // After a failure the fabric is in neither state: it is applied again.
            self.applied = None;
            let machine = &self.engine.machine;
            machine.fabric.apply(&spec).map_err(|error| error.to_string())?;
            machine.resolver.apply(&spec).map_err(|error| error.to_string())?;
        }
        self.engine.transact(|tx, _| {
            pileus_network::settle(tx, &spec, now);
            pileus_network::purge(tx, now);
            Ok(())
        })?;
        self.applied = Some(spec);
        Ok(Turn { wake_at: pileus_network::next_purge(&self.engine.db.snapshot()) })
    }
}
