//! Metric points: in memory for reading, and in a file a day for the next start.
//!
//! One day is kept at the resolution of the points (a minute). Bounded: at most [`MAX_METRICS`] metrics of
//! [`MAX_POINTS`] points each.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pileus_contract::{MachineError, MetricKey, MetricPoint, MetricStore};
use pileus_core::{Scope, Timestamp};
use serde::{Deserialize, Serialize};

use crate::failed;
use crate::lines::Appender;

const MAX_METRICS: usize = 20_000;
const MAX_POINTS: usize = 24 * 60;
const DAY: Duration = Duration::from_secs(86_400);

#[derive(Serialize, Deserialize)]
struct Entry {
    scope: Scope,
    key: MetricKey,
    point: MetricPoint,
}

pub(crate) struct Metrics {
    dir: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    series: BTreeMap<(Scope, MetricKey), VecDeque<MetricPoint>>,
    /// The file of the day that the newest points belong to.
    today: Option<(Timestamp, Appender)>,
}

impl Metrics {
    pub(crate) fn open(dir: &Path) -> Result<Self, MachineError> {
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
        let mut inner = Inner::default();
        for (day, path) in day_files(dir)? {
            let appender = Appender::open(&path, |_, entry: Entry| {
                inner.add(entry.scope, entry.key, &entry.point);
            })?;
            inner.today = Some((day, appender));
        }
        Ok(Self { dir: dir.to_owned(), inner: Mutex::new(inner) })
    }
}

/// The files of days, oldest first.
fn day_files(dir: &Path) -> Result<Vec<(Timestamp, PathBuf)>, MachineError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("read", dir))? {
        let path = entry.map_err(failed("read", dir))?.path();
        let day = path.file_stem().and_then(|stem| stem.to_str()?.parse::<i64>().ok());
        files.extend(day.map(|day| (Timestamp::from_secs(day), path)));
    }
    files.sort_unstable();
    Ok(files)
}

impl Inner {
    /// Adds a point to its series, merged with one of the same time. False where there are too many metrics.
    fn add(&mut self, scope: Scope, key: MetricKey, point: &MetricPoint) -> bool {
        let full = self.series.len() >= MAX_METRICS;
        let key = (scope, key);
        if full && !self.series.contains_key(&key) {
            return false;
        }
        let points = self.series.entry(key).or_default();
        let index = points.partition_point(|known| known.at < point.at);
        match points.get_mut(index) {
            Some(known) if known.at == point.at => known.merge(point),
            _ => points.insert(index, point.clone()),
        }
        while points.len() > MAX_POINTS {
            points.pop_front();
        }
        true
    }

    /// The file for points of `day`; with a new day the files that are no longer read at a start go.
    fn file(&mut self, dir: &Path, day: Timestamp) -> Result<&mut Appender, MachineError> {
        if self.today.as_ref().is_none_or(|(today, _)| *today < day) {
            for (old, path) in day_files(dir)? {
                if old + DAY < day {
                    fs::remove_file(&path).map_err(failed("remove", &path))?;
                }
            }
            let path = dir.join(format!("{}.jsonl", day.secs()));
            self.today = Some((day, Appender::open(&path, |_, _: Entry| {})?));
        }
        Ok(&mut self.today.as_mut().expect("it has just been set").1)
    }
}

impl MetricStore for Metrics {
    fn put(&self, scope: &Scope, points: &[(MetricKey, MetricPoint)]) -> Result<(), MachineError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, point) in points {
            let entry = Entry { scope: scope.clone(), key: key.clone(), point: point.clone() };
            inner.file(&self.dir, point.at.truncate(DAY))?.append(&entry)?;
            if !inner.add(entry.scope, entry.key, point) {
                let action = format!("store the metric {}/{}", key.namespace, key.name);
                return Err(MachineError::new(action, format!("there are {MAX_METRICS} metrics already")));
            }
        }
        Ok(())
    }

    fn read(&self, scope: &Scope, key: &MetricKey, from: Timestamp, to: Timestamp) -> Vec<MetricPoint> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let points = inner.series.get(&(scope.clone(), key.clone())).into_iter().flatten();
        points.filter(|point| point.at >= from && point.at < to).cloned().collect()
    }

    fn list(&self, scope: &Scope) -> Vec<MetricKey> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.series.keys().filter(|(of, _)| of == scope).map(|(_, key)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> MetricKey {
        MetricKey { namespace: "AWS/ECS".into(), name: name.into(), dimensions: BTreeMap::new() }
    }

    #[test]
    fn points_of_one_period_merge_and_survive_a_restart() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let scope = Scope::new("1", "us-east-1");
        let minute = Timestamp::from_secs(120);
        let metrics = Metrics::open(dir.path()).expect("a new store");
        for value in [10.0, 30.0, 10.0] {
            metrics.put(&scope, &[(key("CPU"), MetricPoint::sample(minute, value))]).expect("it is written");
        }
        let metrics = Metrics::open(dir.path()).expect("the same store");
        let points = metrics.read(&scope, &key("CPU"), minute, minute + DAY);
        let expected = MetricPoint {
            at: minute,
            count: 3.0,
            sum: 50.0,
            min: 10.0,
            max: 30.0,
            values: vec![(10.0, 2.0), (30.0, 1.0)],
        };
        assert_eq!(points, [expected]);
        assert_eq!(metrics.list(&scope), [key("CPU")]);
        assert!(metrics.read(&Scope::new("2", "us-east-1"), &key("CPU"), minute, minute + DAY).is_empty());
    }

    #[test]
    fn old_days_go() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let scope = Scope::new("1", "us-east-1");
        let metrics = Metrics::open(dir.path()).expect("a new store");
        for day in 0..5 {
            let at = Timestamp::from_secs(day * 86_400);
            metrics.put(&scope, &[(key("CPU"), MetricPoint::sample(at, 1.0))]).expect("it is written");
        }
        assert_eq!(day_files(dir.path()).expect("it can be read").len(), 2);
    }
}
