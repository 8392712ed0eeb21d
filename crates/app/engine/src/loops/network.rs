//! Brings the fabric, the resolver and the doors of VPC endpoints to what the EC2 records say, and takes note of what is
//! in force.

use std::sync::Arc;

use pileus_contract::FabricSpec;
use pileus_control::{Loop, Turn};
use pileus_core::Timestamp;

use crate::api::Engine;
use crate::server::door::Doors;

pub(super) struct Network {
    engine: Arc<Engine>,
    /// What the fabric was last brought to, as far as this engine knows.
    applied: Option<FabricSpec>,
    doors: Doors,
}

impl Network {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { doors: Doors::new(engine.clone()), engine, applied: None }
    }
}

impl Loop for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        let state = self.engine.db.snapshot();
        let api = Some(self.doors.internet(&state)?);
        let spec = FabricSpec { api, ..pileus_network::fabric_spec(&state) };
        if self.applied.as_ref() != Some(&spec) {
            // After a failure the fabric is in neither state: it is applied again.
            self.applied = None;
            let machine = &self.engine.machine;
            machine.fabric.apply(&spec).map_err(|error| error.to_string())?;
            machine.resolver.apply(&spec).map_err(|error| error.to_string())?;
        }
        self.doors.at_endpoints(&state)?;
        self.engine.transact(|tx, _| {
            pileus_network::settle(tx, &spec, now);
            pileus_network::purge(tx, now);
            Ok(())
        })?;
        self.applied = Some(spec);
        Ok(Turn { wake_at: pileus_network::next_purge(&self.engine.db.snapshot()) })
    }
}
