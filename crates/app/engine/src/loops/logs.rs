//! Forwards what containers write to the log streams that their `awslogs` configuration names.
//!
//! The shim keeps a spool; a batch in the stream remembers how far the spool was read. So nothing is lost or doubled
//! whatever process is killed in between.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pileus_compute::LogRoute;
use pileus_contract::{LogEvent, LogStreamId};
use pileus_control::{Loop, Turn};
use pileus_core::Timestamp;
use pileus_state::Tx;

use crate::api::Engine;

/// Lines that are moved at a time.
const BATCH: usize = 1000;

/// Moves lines from spools to streams.
pub(super) struct Forwarder {
    engine: Arc<Engine>,
    /// How far each container's spool has been read.
    offsets: Mutex<BTreeMap<(String, String), u64>>,
}

impl Forwarder {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, offsets: Mutex::default() }
    }

    /// Moves what the containers of these routes have written so far.
    ///
    /// # Errors
    /// What could not be moved; it stays in the spool.
    pub(super) fn forward<'a>(&self, routes: impl IntoIterator<Item = &'a LogRoute>) -> Result<(), String> {
        let now = self.engine.clock.now();
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failures = Vec::new();
        for route in routes {
            let key = (route.task.id.clone(), route.container.clone());
            let offset = match offsets.get(&key) {
                Some(offset) => Ok(*offset),
                None => self.first_offset(route),
            };
            match offset.and_then(|offset| self.move_lines(route, offset, now)) {
                Ok(offset) => drop(offsets.insert(key, offset)),
                Err(error) => failures.push(format!("{}/{}: {error}", route.task.id, route.container)),
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    }

    /// Forgets the offsets of containers that have no route any more.
    fn retain(&self, routes: &[LogRoute]) {
        let keys: Vec<_> =
            routes.iter().map(|route| (route.task.id.clone(), route.container.clone())).collect();
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| keys.contains(key));
    }

    fn first_offset(&self, route: &LogRoute) -> Result<u64, String> {
        let summary =
            self.engine.machine.bulk.logs.summary(&route.stream).map_err(|error| error.to_string())?;
        Ok(summary.source_offset.unwrap_or(0))
    }

    /// Adds to metrics what the metric filters of the stream's group find.
    fn measure(&self, stream: &LogStreamId, events: &[LogEvent]) -> Result<(), String> {
        let state = self.engine.db.snapshot();
        let tx = Tx::new(&state, stream.scope.clone());
        let measured = pileus_monitoring::logs::measurements(&tx, stream, events);
        if measured.is_empty() {
            return Ok(());
        }
        let stored = self.engine.machine.bulk.metrics.put(&stream.scope, &measured);
        stored.map_err(|error| error.to_string())
    }

    /// Returns the offset that follows what has been moved.
    fn move_lines(&self, route: &LogRoute, mut offset: u64, now: Timestamp) -> Result<u64, String> {
        let machine = &self.engine.machine;
        loop {
            let read = machine.containers.logs(&route.task.id, &route.container, offset, BATCH);
            let (lines, next) = read.map_err(|error| error.to_string())?;
            if lines.is_empty() {
                return Ok(offset);
            }
            let full = lines.len() == BATCH;
            let events: Vec<_> = lines
                .into_iter()
                .map(|line| LogEvent { timestamp: line.at, ingested: now, message: line.message })
                .collect();
            machine
                .bulk
                .logs
                .append(&route.stream, &events, Some(next))
                .map_err(|error| error.to_string())?;
            self.measure(&route.stream, &events)?;
            offset = next;
            if !full {
                return Ok(offset);
            }
        }
    }
}

pub(super) struct Logs {
    engine: Arc<Engine>,
    forwarder: Arc<Forwarder>,
}

impl Logs {
    pub(super) fn new(engine: Arc<Engine>, forwarder: Arc<Forwarder>) -> Self {
        Self { engine, forwarder }
    }
}

impl Loop for Logs {
    fn name(&self) -> &'static str {
        "logs"
    }

    fn run(&mut self, _: Timestamp) -> Result<Turn, String> {
        let routes = pileus_compute::log_routes(&self.engine.db.snapshot());
        self.forwarder.retain(&routes);
        self.forwarder.forward(&routes)?;
        Ok(Turn::default())
    }
}
