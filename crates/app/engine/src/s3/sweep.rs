//! What is done without being asked: objects expire, and blobs that no record names go.

use std::time::Duration;

use pileus_contract::MachineError;
use pileus_core::Timestamp;
use pileus_storage::lifecycle;

use crate::api::Engine;

/// A blob that was stored this recently may be named by a transaction that is about to come.
const YOUNG: Duration = Duration::from_secs(600);
/// How many due changes go into one transaction.
const BATCH: usize = 500;

/// Does what the lifecycle rules of all buckets want done by now.
pub(crate) fn expire(engine: &Engine, now: Timestamp) -> Result<(), String> {
    let due = lifecycle::due(&engine.db.snapshot(), now);
    for batch in due.chunks(BATCH) {
        engine.transact(|tx, ids| {
            tx.within(pileus_storage::scope(), |tx| {
                batch.iter().for_each(|due| lifecycle::apply(tx, now, ids, due));
            });
            Ok(())
        })?;
    }
    Ok(())
}

/// Removes the blobs that no object and no part is made of. `starting` is before the first request, when every blob
/// that a record will ever name is named by one.
pub(crate) fn sweep(engine: &Engine, starting: bool) -> Result<(), MachineError> {
    let objects = &engine.machine.objects;
    let there = objects.list()?;
    // Taken after the list: what was named in between is seen here, what is stored later is young.
    let named = pileus_storage::blobs(&engine.db.snapshot());
    let age = if starting { Duration::ZERO } else { YOUNG };
    for (digest, _) in there.iter().filter(|(digest, _)| !named.contains(digest)) {
        objects.delete_older(digest, age)?;
    }
    Ok(())
}
