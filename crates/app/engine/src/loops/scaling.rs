//! Carries out what scheduled actions and alarms ask of scalable targets, and follows what ECS makes of it.

use std::sync::Arc;
use std::time::Duration;

use pileus_control::{Loop, Turn};
use pileus_core::Timestamp;
use pileus_scaling::ScalingActivity;

use crate::api::Engine;

/// How often old activities go.
const EXPIRY: Duration = Duration::from_secs(3600);

pub(super) struct Scaling {
    engine: Arc<Engine>,
    next_expiry: Timestamp,
}

impl Scaling {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, next_expiry: Timestamp::default() }
    }
}

impl Loop for Scaling {
    fn name(&self) -> &'static str {
        "scaling"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        let metrics = &*self.engine.machine.bulk.metrics;
        let wake_at = self.engine.transact(|tx, ids| Ok(pileus_scaling::reconcile(tx, ids, metrics, now)))?;
        if self.engine.db.snapshot().all::<ScalingActivity>().next().is_none() {
            return Ok(Turn { wake_at });
        }
        if now >= self.next_expiry {
            self.next_expiry = now + EXPIRY;
            self.engine.transact(|tx, _| {
                pileus_scaling::expire(tx, now);
                Ok(())
            })?;
        }
        Ok(Turn { wake_at: wake_at.into_iter().chain([self.next_expiry]).min() })
    }
}
