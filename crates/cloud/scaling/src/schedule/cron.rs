//! AWS's cron expressions: minutes, hours, day of month, month, day of week, year, and optionally seconds before them.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html>,
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based>
//!
//! A field is `*` or `?` (any), values, ranges `a-b`, steps `a/n` and `a-b/n`, and lists of these. The day of month
//! also takes `L` (the last) and `nW` (the weekday nearest to the n-th); the day of week counts from Sunday = 1 and also
//! takes `nL` (the last such day of the month) and `n#k` (the k-th). Only one of the two days may be restricted.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, ToSpan as _};

/// AWS's years.
const YEARS: std::ops::RangeInclusive<u16> = 1970..=2199;
const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
/// The longest time without a match that a possible expression can have: 29 February over a century without a leap day.
const HORIZON_DAYS: usize = 366 * 9;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cron {
    seconds: BTreeSet<u16>,
    minutes: BTreeSet<u16>,
    hours: BTreeSet<u16>,
    days: Days,
    months: BTreeSet<u16>,
    years: BTreeSet<u16>,
}

/// Which days match.
#[derive(Clone, Debug, PartialEq)]
enum Days {
    Any,
    OfMonth(BTreeSet<u16>),
    Last,
    /// The weekday nearest to this day of the month.
    NearestWeekday(u16),
    /// Sunday is 1.
    OfWeek(BTreeSet<u16>),
    LastOfWeek(u16),
    NthOfWeek(u16, u16),
}

impl Cron {
    /// Reads what stands between the parentheses.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let (seconds, fields) = match fields.len() {
            6 => ("0", fields.as_slice()),
            7 => (fields[0], &fields[1..]),
            _ => return None,
        };
        let &[minutes, hours, day_of_month, month, day_of_week, year] = fields else { return None };
        Some(Self {
            seconds: values(seconds, 0, 59, &[])?,
            minutes: values(minutes, 0, 59, &[])?,
            hours: values(hours, 0, 23, &[])?,
            days: days(day_of_month, day_of_week)?,
            months: values(month, 1, 12, &MONTHS)?,
            years: values(year, *YEARS.start(), *YEARS.end(), &[])?,
        })
    }

    /// The first match after `after`, in local time; `None` where there is none any more.
    pub(crate) fn next_after(&self, after: DateTime) -> Option<DateTime> {
        let mut date = after.date();
        let mut from = after.time().checked_add(1.second()).ok();
        if from.is_none() {
            date = date.tomorrow().ok()?;
            from = Some(Time::midnight());
        }
        for _ in 0..HORIZON_DAYS {
            if date.year() > *YEARS.end() as i16 {
                return None;
            }
            if !self.years.contains(&(date.year() as u16)) {
                date = self.first_day_of_next_year(date)?;
                from = None;
                continue;
            }
            let time = from.take().unwrap_or(Time::midnight());
            if self.matches(date)
                && let Some(time) = self.time_from(time)
            {
                return Some(date.to_datetime(time));
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn first_day_of_next_year(&self, date: Date) -> Option<Date> {
        let next = self.years.iter().find(|year| **year as i16 > date.year())?;
        Date::new(*next as i16, 1, 1).ok()
    }

    fn matches(&self, date: Date) -> bool {
        self.months.contains(&(date.month() as u16)) && self.days.contains(date)
    }

    /// The first time of a day at `from` or later.
    fn time_from(&self, from: Time) -> Option<Time> {
        for &hour in self.hours.range(from.hour() as u16..) {
            let same_hour = hour as i8 == from.hour();
            let first_minute = if same_hour { from.minute() as u16 } else { 0 };
            for &minute in self.minutes.range(first_minute..) {
                let same_minute = same_hour && minute as i8 == from.minute();
                let first_second = if same_minute { from.second() as u16 } else { 0 };
                if let Some(&second) = self.seconds.range(first_second..).next() {
                    return Time::new(hour as i8, minute as i8, second as i8, 0).ok();
                }
            }
        }
        None
    }
}

impl Days {
    fn contains(&self, date: Date) -> bool {
        let day = date.day() as u16;
        let of_week = date.weekday().to_sunday_one_offset() as u16;
        match self {
            Self::Any => true,
            Self::OfMonth(days) => days.contains(&day),
            Self::Last => date == date.last_of_month(),
            Self::NearestWeekday(wanted) => nearest_weekday(date, *wanted) == Some(date),
            Self::OfWeek(days) => days.contains(&of_week),
            Self::LastOfWeek(wanted) => of_week == *wanted && day + 7 > date.days_in_month() as u16,
            Self::NthOfWeek(wanted, nth) => of_week == *wanted && day.div_ceil(7) == *nth,
        }
    }
}

/// The weekday nearest to a day of the month, in the same month.
fn nearest_weekday(month: Date, day: u16) -> Option<Date> {
    let wanted = Date::new(month.year(), month.month(), day as i8).ok()?;
    let moved: Span = match wanted.weekday().to_sunday_one_offset() {
        1 if wanted == wanted.last_of_month() => (-2).days(),
        1 => 1.day(),
        7 if wanted == wanted.first_of_month() => 2.days(),
        7 => (-1).days(),
        _ => return Some(wanted),
    };
    wanted.checked_add(moved).ok()
}

fn days(of_month: &str, of_week: &str) -> Option<Days> {
    let any = |field: &str| matches!(field, "*" | "?");
    match (any(of_month), any(of_week)) {
        (true, true) => Some(Days::Any),
        (false, true) => day_of_month(of_month),
        (true, false) => day_of_week(of_week),
        (false, false) => None,
    }
}

fn day_of_month(field: &str) -> Option<Days> {
    if field == "L" {
        return Some(Days::Last);
    }
    if let Some(day) = field.strip_suffix('W') {
        return Some(Days::NearestWeekday(number(day, 1, 31, &[])?));
    }
    values(field, 1, 31, &[]).map(Days::OfMonth)
}

fn day_of_week(field: &str) -> Option<Days> {
    if field == "L" {
        return Some(Days::OfWeek([7].into()));
    }
    if let Some(day) = field.strip_suffix('L') {
        return Some(Days::LastOfWeek(number(day, 1, 7, &DAYS)?));
    }
    if let Some((day, nth)) = field.split_once('#') {
        return Some(Days::NthOfWeek(number(day, 1, 7, &DAYS)?, number(nth, 1, 5, &[])?));
    }
    values(field, 1, 7, &DAYS).map(Days::OfWeek)
}

/// The values that a field without special letters stands for.
fn values(field: &str, low: u16, high: u16, names: &[&str]) -> Option<BTreeSet<u16>> {
    let mut values = BTreeSet::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step, 1, high.max(1), &[])?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (low, high),
            Some((from, to)) => (number(from, low, high, names)?, number(to, low, high, names)?),
            None => {
                let from = number(range, low, high, names)?;
                (from, if step.is_some() { high } else { from })
            }
        };
        if from <= to {
            values.extend((from..=to).step_by(step.unwrap_or(1).into()));
        } else if !names.is_empty() {
            // FRI-MON wraps around.
            values.extend((from..=high).chain(low..=to));
        } else {
            return None;
        }
    }
    Some(values)
}

fn number(text: &str, low: u16, high: u16, names: &[&str]) -> Option<u16> {
    if let Some(index) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        return Some(low + index as u16);
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && (low..=high).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn next(expression: &str, after: &str) -> String {
        let cron = Cron::parse(expression).unwrap_or_else(|| panic!("{expression} is valid"));
        let next = cron.next_after(after.parse().expect("a valid time"));
        next.map_or_else(|| "never".into(), |at| at.to_string())
    }

    /// The examples of AWS's table, from Friday, 27 November 2026, 17:00.
    #[test]
    fn the_published_examples() {
        for (expression, expected) in [
            ("0 10 * * ? *", "2026-11-28T10:00:00"),
            ("15 12 * * ? *", "2026-11-28T12:15:00"),
            ("0 18 ? * MON-FRI *", "2026-11-27T18:00:00"),
            ("0 8 1 * ? *", "2026-12-01T08:00:00"),
            ("0/15 * * * ? *", "2026-11-27T17:15:00"),
            ("0/10 * ? * MON-FRI *", "2026-11-27T17:10:00"),
            ("0/5 8-17 ? * MON-FRI *", "2026-11-27T17:05:00"),
            ("30 6 * * 2 *", "2026-11-30T06:30:00"),
        ] {
            assert_eq!(next(expression, "2026-11-27T17:00:00"), expected, "{expression}");
        }
        assert_eq!(next("0/5 8-17 ? * MON-FRI *", "2026-11-27T17:55:00"), "2026-11-30T08:00:00");
    }

    #[test]
    fn special_days() {
        for (expression, after, expected) in [
            ("0 0 L * ? *", "2028-02-01T00:00:00", "2028-02-29T00:00:00"),
            ("0 0 15W * ? *", "2026-11-01T00:00:00", "2026-11-16T00:00:00"),
            ("0 0 1W * ? *", "2026-07-31T12:00:00", "2026-08-03T00:00:00"),
            ("0 0 ? * 6L *", "2026-11-01T00:00:00", "2026-11-27T00:00:00"),
            ("0 0 ? * TUE#2 *", "2026-11-01T00:00:00", "2026-11-10T00:00:00"),
            ("0 0 ? * L *", "2026-11-22T00:00:00", "2026-11-28T00:00:00"),
            ("0 0 ? * SAT-MON *", "2026-11-24T00:00:00", "2026-11-28T00:00:00"),
            ("0 0 29 2 ? *", "2026-11-22T00:00:00", "2028-02-29T00:00:00"),
            ("0 0 1 JAN ? 2026", "2026-11-22T00:00:00", "never"),
            ("0 0 30 2 ? *", "2026-11-22T00:00:00", "never"),
            ("30 0 12 * * ? 2030-2031", "2026-11-22T00:00:00", "2030-01-01T12:00:30"),
            ("59 23 31 12 ? *", "2026-12-31T23:59:00", "2027-12-31T23:59:00"),
        ] {
            assert_eq!(next(expression, after), expected, "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression() {
        for expression in [
            "",
            "* * * * *",
            "60 * * * ? *",
            "* 24 * * ? *",
            "* * 0 * ? *",
            "* * * 13 ? *",
            "* * ? * 8 *",
            "* * 1 * 1 *",
            "5-1 * * * ? *",
            "*/0 * * * ? *",
            "a * * * ? *",
            "+1 * * * ? *",
            "* * 32W * ? *",
            "* * ? * 2#6 *",
            "* * * * ? 2200",
            "* * * * * * * *",
        ] {
            assert_eq!(Cron::parse(expression), None, "{expression}");
        }
    }
}
