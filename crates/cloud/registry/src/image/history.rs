//! What has happened to an image since it was pushed.

use std::time::Duration;

use pileus_core::Timestamp;
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use super::image_key;

/// Pulls are noted as seldom as that: AWS promises the day.
const NOTED: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageHistory {
    repository: String,
    digest: String,
    pub(crate) pulled: Option<Timestamp>,
    /// Somebody has asked for a scan of it.
    pub(crate) scan_asked: bool,
}

impl Record for ImageHistory {
    const KIND: &'static str = "ecr/image-history";

    fn key(&self) -> String {
        image_key(&self.repository, &self.digest)
    }
}

impl ImageHistory {
    pub(crate) fn of(tx: &Tx, repository: &str, digest: &str) -> Self {
        let known = tx.get::<Self>(&image_key(repository, digest));
        known.map_or_else(
            || Self { repository: repository.to_owned(), digest: digest.to_owned(), ..Self::default() },
            |known| Self::clone(&known),
        )
    }

    pub(crate) fn note(tx: &mut Tx, repository: &str, digest: &str, change: impl FnOnce(&mut Self)) {
        let mut history = Self::of(tx, repository, digest);
        change(&mut history);
        tx.put(history);
    }

    pub(crate) fn note_pull(tx: &mut Tx, repository: &str, digest: &str, now: Timestamp) {
        let last = Self::of(tx, repository, digest).pulled;
        if last.is_none_or(|last| last + NOTED <= now) {
            Self::note(tx, repository, digest, |history| history.pulled = Some(now));
        }
    }

    pub(super) fn forget(tx: &mut Tx, repository: &str, digest: &str) {
        tx.delete::<Self>(&image_key(repository, digest));
    }
}
