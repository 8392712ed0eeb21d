//! Evaluates alarms when a period has ended, settles the composite alarms above them, and tells SNS topics.
//!
//! Sleeps where there are no alarms. What scaling policies are told is a record too, which the scaling loop takes up.

use std::sync::Arc;
use std::time::Duration;

use pileus_control::{Loop, Turn};
use pileus_core::Timestamp;
use pileus_monitoring::alarms::{self, Alarm};

use crate::api::Engine;

/// How often old history goes.
const EXPIRY: Duration = Duration::from_secs(3600);

pub(super) struct Alarms {
    engine: Arc<Engine>,
    /// Up to when alarms have been evaluated.
    last: Option<Timestamp>,
    /// The version of the alarms that composite alarms were last settled with.
    settled: u64,
    /// When actions that are held back are next due.
    held: Option<Timestamp>,
    next_expiry: Timestamp,
}

impl Alarms {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, last: None, settled: 0, held: None, next_expiry: Timestamp::default() }
    }

    fn evaluate(&mut self, now: Timestamp) -> Result<(), String> {
        let last = *self.last.get_or_insert(now);
        let store = &*self.engine.machine.bulk.metrics;
        let verdicts = alarms::evaluate_due(&self.engine.db.snapshot(), store, last, now);
        let verdicts = verdicts.map_err(|error| error.to_string())?;
        if !verdicts.is_empty() {
            self.engine.transact(|tx, _| {
                alarms::apply(tx, &verdicts, now);
                Ok(())
            })?;
        }
        self.last = Some(now);
        Ok(())
    }

    fn settle(&mut self, now: Timestamp) -> Result<(), String> {
        let version = self.engine.db.snapshot().version_of::<Alarm>();
        if version != self.settled || self.held.is_some_and(|held| held <= now) {
            self.held = self.engine.transact(|tx, _| Ok(alarms::settle(tx, now)))?;
            self.settled = version;
        }
        Ok(())
    }
}

impl Loop for Alarms {
    fn name(&self) -> &'static str {
        "alarms"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        self.evaluate(now)?;
        self.settle(now)?;
        let state = self.engine.db.snapshot();
        let due = alarms::next_due(&state, now);
        if due.is_some() && now >= self.next_expiry {
            self.next_expiry = now + EXPIRY;
            self.engine.transact(|tx, _| {
                alarms::expire(tx, now);
                Ok(())
            })?;
        }
        Ok(Turn { wake_at: [due, self.held].into_iter().flatten().min() })
    }
}
