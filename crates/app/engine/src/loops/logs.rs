//! Forwards what containers write to the log streams that their `awslogs` configuration names.
//!
//! The shim keeps a spool; a batch in the stream remembers how far the spool was read. So nothing is lost or doubled
//! whatever process is killed in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_compute::LogRoute;
use pileus_contract::{LogEvent, LogStreamId};
use pileus_control::{Loop, Turn};
use pileus_core::Timestamp;

use crate::api::Engine;

/// Lines that are moved at a time.
const BATCH: usize = 1000;

pub(super) struct Logs {
    engine: Arc<Engine>,
    /// Where each container's lines go and how far its spool has been read.
    cursors: BTreeMap<(String, String), (LogStreamId, u64)>,
}

impl Logs {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, cursors: BTreeMap::new() }
    }

    fn forward(&mut self, route: &LogRoute, now: Timestamp) -> Result<(), String> {
        let key = (route.task.id.clone(), route.container.clone());
        if !self.cursors.contains_key(&key) {
            let stream = self.stream(route, now)?;
            let summary = self.engine.machine.bulk.logs.summary(&stream).map_err(|error| error.to_string())?;
            self.cursors.insert(key.clone(), (stream, summary.source_offset.unwrap_or(0)));
        }
        let (stream, offset) = self.cursors.get_mut(&key).expect("it has just been put there");
        loop {
            let read = self.engine.machine.containers.logs(&route.task.id, &route.container, *offset, BATCH);
            let (lines, next) = read.map_err(|error| error.to_string())?;
            if lines.is_empty() {
                return Ok(());
            }
            let full = lines.len() == BATCH;
            let events: Vec<_> = lines
                .into_iter()
                .map(|line| LogEvent { timestamp: line.at, ingested: now, message: line.message })
                .collect();
            let stored = self.engine.machine.bulk.logs.append(stream, &events, Some(next));
            stored.map_err(|error| error.to_string())?;
            *offset = next;
            if !full {
                return Ok(());
            }
        }
    }

    /// The stream, made at its first line as the log driver makes it.
    fn stream(&self, route: &LogRoute, now: Timestamp) -> Result<LogStreamId, String> {
        let scope = pileus_core::Scope { region: route.region.clone(), ..route.task.scope.clone() };
        self.engine.transact(|tx, _| {
            tx.within(scope, |tx| pileus_monitoring::logs::ensure_stream(tx, &route.group, &route.stream, now))
                .map_err(|error| error.to_string())
        })
    }
}

impl Loop for Logs {
    fn name(&self) -> &'static str {
        "logs"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        let routes = pileus_compute::log_routes(&self.engine.db.snapshot());
        let keys: Vec<_> = routes.iter().map(|route| (route.task.id.clone(), route.container.clone())).collect();
        self.cursors.retain(|key, _| keys.contains(key));
        let mut failures = Vec::new();
        for route in &routes {
            if let Err(error) = self.forward(route, now) {
                failures.push(format!("{}/{}: {error}", route.task.id, route.container));
            }
        }
        if failures.is_empty() { Ok(Turn::default()) } else { Err(failures.join("; ")) }
    }
}
