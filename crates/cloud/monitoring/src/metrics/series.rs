//! Reading a metric in periods.

use std::time::Duration;

use pileus_contract::{MetricKey, MetricPoint, MetricStore};
use pileus_core::{ApiError, Scope, Timestamp};

use super::{Statistic, store_failed, validation};

/// One value of one period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// The start of the period.
    pub(crate) at: Timestamp,
    pub(crate) value: f64,
    pub(crate) samples: f64,
}

/// The time that is read. Periods are counted from `origin`, which is the epoch but for alarms, whose windows slide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) origin: Timestamp,
}

impl Window {
    pub(crate) fn new(start: Timestamp, end: Timestamp) -> Result<Self, ApiError> {
        if start >= end {
            return Err(validation("The parameter StartTime must be less than the parameter EndTime."));
        }
        Ok(Self { start, end, origin: Timestamp::default() })
    }

    /// The start of the period that holds `time`.
    pub(crate) fn period_of(&self, time: Timestamp, period: i64) -> Timestamp {
        let (period, origin) = ((period * 1000).max(1), self.origin.millis());
        let past = (time.millis() - origin).rem_euclid(period);
        Timestamp::from_millis(time.millis() - past)
    }

    /// The starts of all periods of the window, oldest first; at most `limit`.
    pub(crate) fn periods(&self, period: i64, limit: usize) -> impl Iterator<Item = Timestamp> + use<> {
        let (first, end) = (self.period_of(self.start, period), self.end);
        let step = Duration::from_secs(u64::try_from(period).unwrap_or(1).max(1));
        std::iter::successors(Some(first), move |at| Some(*at + step))
            .take_while(move |at| *at < end)
            .take(limit)
    }
}

/// The metrics of a scope.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) store: &'a dyn MetricStore,
    pub(crate) scope: &'a Scope,
}

impl Reader<'_> {
    /// The points of a metric, brought together in periods of `period` seconds, by unit; those of one unit where one is
    /// asked for. Periods without samples are absent.
    pub(crate) fn periods(
        &self,
        key: &MetricKey,
        unit: Option<&str>,
        window: &Window,
        period: i64,
    ) -> Result<Vec<(String, Vec<MetricPoint>)>, ApiError> {
        let from = window.period_of(window.start, period);
        let series = self.store.read(self.scope, key, from, window.end).map_err(store_failed)?;
        let wanted = series.into_iter().filter(|series| unit.is_none_or(|unit| unit == series.unit));
        Ok(wanted.map(|series| (series.unit, together(series.points, window, period))).collect())
    }

    /// The values of a statistic, of all units together where none is asked for.
    pub(crate) fn values(
        &self,
        key: &MetricKey,
        unit: Option<&str>,
        statistic: Statistic,
        window: &Window,
        period: i64,
    ) -> Result<Vec<Point>, ApiError> {
        let mut series = self.periods(key, unit, window, period)?.into_iter();
        let (_, mut points) = series.next().unwrap_or_default();
        for (_, others) in series {
            points.extend(others);
            points.sort_by_key(|point| point.at);
            points = together(points, window, period);
        }
        let point = |point: &MetricPoint| {
            Some(Point { at: point.at, value: statistic.of(point)?, samples: point.count })
        };
        Ok(points.iter().filter_map(point).collect())
    }
}

fn together(points: Vec<MetricPoint>, window: &Window, period: i64) -> Vec<MetricPoint> {
    let mut periods: Vec<MetricPoint> = Vec::new();
    for mut point in points {
        point.at = window.period_of(point.at, period);
        match periods.last_mut() {
            Some(last) if last.at == point.at => last.merge(&point),
            _ => periods.push(point),
        }
    }
    periods
}

/// # Errors
/// A period that CloudWatch does not know.
pub(super) fn check_period(period: i64) -> Result<(), ApiError> {
    if matches!(period, 1 | 5 | 10 | 20 | 30) || (period >= 60 && period % 60 == 0 && period <= 86_400 * 365)
    {
        return Ok(());
    }
    let message =
        format!("The value {period} for parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60.");
    Err(validation(message))
}
