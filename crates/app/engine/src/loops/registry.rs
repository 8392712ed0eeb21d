//! Lets go of what the registry needs no more: images by their lifecycle policies, then layers that no image has, then
//! the files of either.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use pileus_control::{Loop, Turn};
use pileus_core::Timestamp;

use crate::api::Engine;

/// A file that no record names stays so long, for a task that is being started from an image that has just been deleted,
/// and for an upload whose record is about to be written.
const SPARED: Duration = Duration::from_secs(600);
/// How often files are compared with records where nothing else gives reason to.
const SWEEP: Duration = Duration::from_secs(3600);

pub(super) struct Registry {
    engine: Arc<Engine>,
    /// Files that no record names, and since when that is known. Begins anew with each engine.
    orphans: BTreeMap<String, Timestamp>,
    next_sweep: Timestamp,
    next_duty: Option<Timestamp>,
    /// The versions of the tables at the last run.
    seen: Option<pileus_registry::Versions>,
}

impl Registry {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            orphans: BTreeMap::new(),
            next_sweep: Timestamp::default(),
            next_duty: None,
            seen: None,
        }
    }

    /// Forgets records; returns when there is something to forget again.
    fn forget(&self, now: Timestamp) -> Result<Option<Timestamp>, String> {
        let bulk = &self.engine.machine.bulk;
        let expiry = self.engine.transact(|tx, _| Ok(pileus_registry::apply_lifecycle_policies(tx, now)))?;
        let collected = self
            .engine
            .transact(|tx, _| pileus_registry::collect(tx, bulk, now).map_err(|error| error.to_string()))?;
        Ok(expiry.into_iter().chain(collected).min())
    }

    /// Deletes files that no record has named for a while; returns when the next is due.
    fn sweep(&mut self, now: Timestamp) -> Result<Option<Timestamp>, String> {
        let blobs = &self.engine.machine.bulk.blobs;
        // Files first: what is stored in between has its record in the later snapshot, or is too young to go.
        let files = blobs.list().map_err(|error| error.to_string())?;
        let used: HashSet<String> = pileus_registry::blobs_in_use(&self.engine.db.snapshot());
        let known = std::mem::take(&mut self.orphans);
        for (digest, _) in files {
            if used.contains(&digest) {
                continue;
            }
            let since = known.get(&digest).copied().unwrap_or(now);
            let age = self.engine.clock.real(SPARED);
            let gone = since + SPARED <= now
                && blobs.delete_older(&digest, age).map_err(|error| error.to_string())?;
            if !gone {
                self.orphans.insert(digest, since.max(now - SPARED));
            }
        }
        Ok(self.orphans.values().min().map(|since| (*since + SPARED).max(now + SPARED / 10)))
    }
}

impl Loop for Registry {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        let versions = pileus_registry::versions(&self.engine.db.snapshot());
        let changed = self.seen != Some(versions);
        if changed || self.next_duty.is_some_and(|due| due <= now) {
            self.next_duty = self.forget(now)?;
            self.seen = Some(versions);
        }
        if changed || self.next_sweep <= now {
            let orphan = self.sweep(now)?;
            self.next_sweep = orphan.unwrap_or(now + SWEEP).min(now + SWEEP);
        }
        Ok(Turn { wake_at: Some(self.next_duty.unwrap_or(self.next_sweep).min(self.next_sweep)) })
    }
}
