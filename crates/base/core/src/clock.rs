//! Where time comes from. Controllers get it as a value; only the edges hold a clock.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Timestamp;

/// A source of the present time.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;

    /// How long to wait on the wall for `duration` to pass on this clock.
    fn real(&self, duration: Duration) -> Duration;
}

/// The machine's clock, optionally hurried: with a scale of 30 a minute passes in two seconds.
pub struct SystemClock {
    start: Timestamp,
    started: Instant,
    scale: f64,
}

impl SystemClock {
    /// `scale` is how many times faster than the wall this clock runs; values below 1 count as 1.
    pub fn new(scale: f64) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
        Self { start, started: Instant::now(), scale: scale.max(1.0) }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.start + self.started.elapsed().mul_f64(self.scale)
    }

    fn real(&self, duration: Duration) -> Duration {
        duration.div_f64(self.scale)
    }
}

/// A clock that moves only when told to, for tests.
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().expect("no holder of this lock panics");
        *now = *now + by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no holder of this lock panics")
    }

    fn real(&self, duration: Duration) -> Duration {
        duration
    }
}
