//! Lets S3's objects expire by their buckets' rules, and blobs go that no object is made of any more.

use std::sync::Arc;
use std::time::Duration;

use pileus_control::{Loop, Turn};
use pileus_core::Timestamp;

use crate::api::Engine;
use crate::s3;

/// How often it looks. Rules count days, to midnight UTC.
const PERIOD: Duration = Duration::from_secs(3600);

pub(super) struct Storage {
    engine: Arc<Engine>,
    next: Timestamp,
}

impl Storage {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, next: Timestamp::default() }
    }
}

impl Loop for Storage {
    fn name(&self) -> &'static str {
        "storage"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        if now >= self.next {
            // Midnight is one of these times.
            self.next = now.truncate(PERIOD) + PERIOD;
            s3::expire(&self.engine, now)?;
            s3::sweep(&self.engine, false).map_err(|error| error.to_string())?;
        }
        Ok(Turn { wake_at: Some(self.next) })
    }
}
