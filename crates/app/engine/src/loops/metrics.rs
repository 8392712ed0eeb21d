//! Measures tasks and targets each minute, and each hour lets go of what nobody will ask for again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pileus_compute::TaskLoad;
use pileus_contract::containers::TaskUsage;
use pileus_contract::{Measurement, MetricKey, MetricPoint};
use pileus_control::{Loop, Turn};
use pileus_core::{Scope, Timestamp};

use crate::api::Engine;

/// How often tasks are sampled: three samples make a point.
const SAMPLE: Duration = Duration::from_secs(20);
const PERIOD: Duration = Duration::from_secs(60);
const EXPIRY: Duration = Duration::from_secs(3600);

pub(super) struct Metrics {
    engine: Arc<Engine>,
    /// The previous sample of each task, for the CPU time in between.
    last: BTreeMap<String, (Timestamp, TaskUsage)>,
    next_sample: Timestamp,
    next_period: Timestamp,
    next_expiry: Timestamp,
}

impl Metrics {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let start = Timestamp::default();
        Self { engine, last: BTreeMap::new(), next_sample: start, next_period: start, next_expiry: start }
    }

    fn sample(&mut self, now: Timestamp) -> Result<(), String> {
        let state = self.engine.db.snapshot();
        let mut samples = Vec::new();
        let mut seen = BTreeMap::new();
        for task in pileus_compute::running(&state) {
            // A task that ended a moment ago has no usage any more.
            let Ok(usage) = self.engine.machine.containers.usage(&task.id) else { continue };
            if let Some((at, before)) = self.last.get(&task.id) {
                let wall = self.engine.clock.real(now.since(*at));
                let cores =
                    usage.cpu.saturating_sub(before.cpu).as_secs_f64() / wall.as_secs_f64().max(0.001);
                samples.push(TaskLoad { task: task.clone(), cores, memory_bytes: usage.memory_bytes });
            }
            seen.insert(task.id, (now, usage));
        }
        self.last = seen;
        store(&self.engine, pileus_compute::metrics(&state, &samples, now))
    }

    /// Gives the metrics that are always reported a 0 for the minute that has passed, where they had no point.
    fn fill(&self, now: Timestamp) -> Result<(), String> {
        let end = now.truncate(PERIOD);
        let (start, metrics) = (end - PERIOD, &self.engine.machine.bulk.metrics);
        let mut quiet = Vec::new();
        for (scope, key) in pileus_balancing::always_reported(&self.engine.db.snapshot()) {
            if metrics.read(&scope, &key, start, end).map_err(|error| error.to_string())?.is_empty() {
                quiet.push((scope, key, MetricPoint::sample(start, 0.0)));
            }
        }
        store(&self.engine, quiet)
    }

    /// Lets go of log events and metric points past their retention.
    fn expire(&self, now: Timestamp) -> Result<(), String> {
        let bulk = &self.engine.machine.bulk;
        for (stream, before) in pileus_monitoring::logs::expiries(&self.engine.db.snapshot(), now) {
            bulk.logs.expire(&stream, before).map_err(|error| error.to_string())?;
        }
        bulk.metrics.roll(now).map_err(|error| error.to_string())?;
        self.engine.transact(|tx, _| {
            pileus_secrets::purge(tx, now);
            Ok(())
        })
    }
}

impl Loop for Metrics {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        if now >= self.next_sample {
            self.next_sample = now.truncate(SAMPLE) + SAMPLE;
            self.sample(now)?;
        }
        if now >= self.next_period {
            self.next_period = now.truncate(PERIOD) + PERIOD;
            store(&self.engine, pileus_balancing::host_counts(&self.engine.db.snapshot(), now))?;
            self.fill(now)?;
        }
        if now >= self.next_expiry {
            self.next_expiry = now + EXPIRY;
            self.expire(now)?;
        }
        Ok(Turn { wake_at: Some(self.next_sample.min(self.next_period).min(self.next_expiry)) })
    }
}

/// Stores points that Pileus itself has measured, scope by scope.
pub(super) fn store(engine: &Engine, points: Vec<(Scope, MetricKey, MetricPoint)>) -> Result<(), String> {
    let mut scopes: BTreeMap<Scope, Vec<Measurement>> = BTreeMap::new();
    for (scope, key, point) in points {
        let unit = pileus_monitoring::metrics::aws_unit(&key.name).to_owned();
        scopes.entry(scope).or_default().push(Measurement { key, unit, point });
    }
    for (scope, data) in scopes {
        engine.machine.bulk.metrics.put(&scope, &data).map_err(|error| error.to_string())?;
    }
    Ok(())
}
