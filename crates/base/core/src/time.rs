//! A point in time: milliseconds since the Unix epoch, the finest grain any AWS API shows.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z. Negative values lie before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1000)
    }

    /// From fractional seconds since the epoch, as AWS JSON carries time. Saturates at the ends of the range.
    pub fn from_secs_f64(secs: f64) -> Self {
        Self((secs * 1000.0).round() as i64)
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The time from `earlier` to `self`; zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The start of the period of `period` that `self` falls in, counted from the epoch.
    pub fn truncate(self, period: Duration) -> Self {
        let period = (period.as_millis() as i64).max(1);
        Self(self.0 - self.0.rem_euclid(period))
    }

    /// ISO 8601 in UTC with milliseconds: `2026-11-22T20:00:00.000Z`.
    pub fn iso8601(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S%.3fZ")
    }

    /// The `x-amz-date` form of SigV4: `20261122T200000Z`.
    pub fn amz_date(self) -> String {
        self.format("%Y%m%dT%H%M%SZ")
    }

    /// Formats in UTC with jiff's strtime directives.
    pub fn format(self, directives: &str) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => time.strftime(directives).to_string(),
            Err(_) => self.0.to_string(),
        }
    }

    /// Parses RFC 3339 (`2026-11-22T20:00:00Z`) or the `x-amz-date` form.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Some(Self(time.as_millisecond()));
        }
        let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
        let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(Self(zoned.timestamp().as_millisecond()))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso8601())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso8601())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_parses() {
        let time = Timestamp::from_millis(1_795_377_600_123);
        assert_eq!(time.iso8601(), "2026-11-22T20:00:00.123Z");
        assert_eq!(time.amz_date(), "20261122T200000Z");
        assert_eq!(Timestamp::parse(&time.iso8601()), Some(time));
        assert_eq!(Timestamp::parse("20261122T200000Z"), Some(Timestamp::from_secs(1_795_377_600)));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn truncates_to_the_start_of_the_period() {
        let minute = Duration::from_secs(60);
        assert_eq!(Timestamp::from_millis(61_999).truncate(minute), Timestamp::from_secs(60));
        assert_eq!(Timestamp::from_millis(-1).truncate(minute), Timestamp::from_secs(-60));
    }
}
