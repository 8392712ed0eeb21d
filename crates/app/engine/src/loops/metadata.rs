//! Keeps what the tasks' metadata endpoints serve up to date: their state, and credentials that have not ended.
//!
//! A task starts with all its documents; this loop replaces them when they change, and its credentials long before
//! they end. The shim serves the last ones whether there is an engine or not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pileus_compute::TaskRef;
use pileus_control::{Loop, Turn};
use pileus_core::{Secret, Timestamp};

use crate::api::Engine;

/// Credentials live six hours, so an engine may be away for five of them.
const CREDENTIALS_AGE: Duration = Duration::from_secs(3600);

pub(super) struct Metadata {
    engine: Arc<Engine>,
    served: BTreeMap<TaskRef, Served>,
}

/// What a task was last given.
struct Served {
    /// The documents but for the credentials.
    documents: BTreeMap<String, Secret>,
    credentials: Option<Secret>,
    minted: Timestamp,
}

impl Metadata {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, served: BTreeMap::new() }
    }

    fn refresh(&mut self, task: &TaskRef, now: Timestamp) -> Result<(), String> {
        let state = self.engine.db.snapshot();
        let documents = pileus_compute::metadata(&state, task, None);
        let known = self.served.get(task);
        let fresh = known.filter(|known| known.minted + CREDENTIALS_AGE > now);
        if fresh.is_some_and(|known| known.documents == documents) {
            return Ok(());
        }
        let (credentials, minted) = match fresh {
            Some(known) => (known.credentials.clone(), known.minted),
            None => {
                let renewed = self.engine.task_credentials(task, pileus_compute::credentials);
                (renewed.map_err(|error| error.to_string())?, now)
            }
        };
        let all = pileus_compute::metadata(&state, task, credentials.as_ref());
        let served = self.engine.machine.containers.serve_metadata(&task.id, &all);
        served.map_err(|error| error.to_string())?;
        self.served.insert(task.clone(), Served { documents, credentials, minted });
        Ok(())
    }
}

impl Loop for Metadata {
    fn name(&self) -> &'static str {
        "metadata"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        let running = pileus_compute::running(&self.engine.db.snapshot());
        self.served.retain(|task, _| running.contains(task));
        let failures: Vec<_> = running.iter().filter_map(|task| self.refresh(task, now).err()).collect();
        if !failures.is_empty() {
            return Err(failures.join("; "));
        }
        Ok(Turn { wake_at: self.served.values().map(|served| served.minted + CREDENTIALS_AGE).min() })
    }
}
