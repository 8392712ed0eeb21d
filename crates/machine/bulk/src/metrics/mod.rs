//! Metric points: the newest hours in memory at the resolution that they came with, older ones in the [`archive`].
//!
//! What is in memory is also in a journal, a line for each call, from which the next start reads it again. [`roll`]
//! moves what is older than three hours to the archive and begins a new journal with the rest; the archive's file knows
//! which journal goes with it, so a kill in between neither loses a point nor counts it twice.
//!
//! [`roll`]: MetricStore::roll

mod archive;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use archive::{Archive, Known};
use pileus_contract::{MachineError, Measurement, MetricKey, MetricPoint, MetricSeries, MetricStore};
use pileus_core::{Scope, Timestamp};
use serde::{Deserialize, Serialize};

use crate::failed;
use crate::lines::Appender;

/// Series that are known at a time. At most this share of them gives way to new ones at a roll, oldest first.
const MAX_SERIES: usize = 20_000;
const CROWDED: usize = MAX_SERIES / 10 * 9;
/// Points of less than a minute are kept this long; then they are brought together.
const RECENT: Duration = Duration::from_secs(3 * 3600);
const HOUR: Duration = Duration::from_secs(3600);
/// A series is forgotten when its last point is as old as anything that is kept.
const FORGOTTEN: Duration = Duration::from_secs(455 * 86_400);

/// What one call put, or what a roll left in memory.
#[derive(Serialize, Deserialize)]
struct Entry {
    scope: Scope,
    data: Vec<Measurement>,
}

/// A metric in one unit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct SeriesId {
    scope: Scope,
    key: MetricKey,
    unit: String,
}

struct Series {
    /// What the archive calls it, once it does.
    number: Option<u64>,
    newest: Timestamp,
    recent: Vec<MetricPoint>,
}

pub(crate) struct Metrics {
    dir: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    series: BTreeMap<SeriesId, Series>,
    next_number: u64,
    archive: Archive,
    generation: i64,
    journal: Appender,
}

impl Metrics {
    pub(crate) fn open(dir: &Path) -> Result<Self, MachineError> {
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
        let (archive, generation, known) = Archive::open(&dir.join("archive.redb"))?;
        let mut series = BTreeMap::new();
        let mut next_number = 0;
        for (name, Known { number, newest }) in known {
            let id = serde_json::from_str::<SeriesId>(&name)
                .map_err(|error| MachineError::new(format!("read the series {name}"), error))?;
            series.insert(id, Series { number: Some(number), newest, recent: Vec::new() });
            next_number = next_number.max(number + 1);
        }
        let path = journal_path(dir, generation);
        remove_others(dir, &path)?;
        let journal = Appender::open(&path, |_, entry: Entry| {
            entry.data.into_iter().for_each(|datum| add(&mut series, &entry.scope, datum));
        })?;
        let inner = Mutex::new(Inner { series, next_number, archive, generation, journal });
        Ok(Self { dir: dir.to_owned(), inner })
    }

    /// Every change under the lock is made whole by one assignment or is re-read from disk.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn journal_path(dir: &Path, generation: i64) -> PathBuf {
    dir.join(format!("journal-{generation:012}.jsonl"))
}

/// Removes journals that a roll has left behind, finished or not.
fn remove_others(dir: &Path, current: &Path) -> Result<(), MachineError> {
    for entry in fs::read_dir(dir).map_err(failed("read", dir))? {
        let path = entry.map_err(failed("read", dir))?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") && path != current {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

fn add(series: &mut BTreeMap<SeriesId, Series>, scope: &Scope, datum: Measurement) {
    let id = SeriesId { scope: scope.clone(), key: datum.key, unit: datum.unit };
    let at = datum.point.at;
    let series = series.entry(id).or_insert_with(|| Series { number: None, newest: at, recent: Vec::new() });
    series.newest = series.newest.max(at);
    archive::add(&mut series.recent, &datum.point);
}

impl Inner {
    fn check_room(&self, scope: &Scope, data: &[Measurement]) -> Result<(), MachineError> {
        if self.series.len() + data.len() <= MAX_SERIES {
            return Ok(());
        }
        let new = |datum: &&Measurement| {
            let (key, unit) = (datum.key.clone(), datum.unit.clone());
            !self.series.contains_key(&SeriesId { scope: scope.clone(), key, unit })
        };
        match data.iter().find(new) {
            None => Ok(()),
            Some(Measurement { key, .. }) => {
                let action = format!("store the metric {}/{}", key.namespace, key.name);
                Err(MachineError::new(action, format!("there are {MAX_SERIES} metrics already")))
            }
        }
    }

    /// Series that nobody will ask for, or that give way to new ones.
    fn surplus(&self, now: Timestamp) -> Vec<SeriesId> {
        let mut idle: Vec<_> = self.series.iter().filter(|(_, series)| series.recent.is_empty()).collect();
        idle.sort_by_key(|(_, series)| series.newest);
        let crowd = self.series.len().saturating_sub(CROWDED);
        let gone = |index: usize, series: &Series| index < crowd || series.newest < now - FORGOTTEN;
        let idle = idle.into_iter().enumerate();
        idle.filter(|(index, (_, series))| gone(*index, series)).map(|(_, (id, _))| id.clone()).collect()
    }

    fn roll(&mut self, dir: &Path, now: Timestamp) -> Result<(), MachineError> {
        let cutoff = (now - RECENT).truncate(HOUR);
        let gone = self.surplus(now);
        let gone_names = gone.iter().map(name_of).collect::<Result<Vec<_>, _>>()?;
        let mut names = BTreeMap::new();
        for (id, series) in &mut self.series {
            if series.recent.first().is_some_and(|first| first.at < cutoff) {
                let number = *series.number.get_or_insert_with(|| {
                    self.next_number += 1;
                    self.next_number - 1
                });
                names.insert(number, name_of(id)?);
            }
        }
        let old = |series: &Series| {
            let number = series.number.filter(|number| names.contains_key(number))?;
            let end = series.recent.partition_point(|point| point.at < cutoff);
            let name = names.get(&number)?.as_str();
            Some((number, (name, series.newest, series.recent[..end].to_vec())))
        };
        let moved: BTreeMap<_, _> = self.series.values().filter_map(old).collect();
        let generation = self.generation + 1;
        let path = journal_path(dir, generation);
        let journal = self.begin_journal(&path, cutoff)?;
        self.archive.roll(&moved, &gone_names, generation, now)?;
        for series in self.series.values_mut() {
            let end = series.recent.partition_point(|point| point.at < cutoff);
            series.recent.drain(..end);
            series.recent.shrink_to_fit();
        }
        gone.iter().for_each(|id| drop(self.series.remove(id)));
        (self.generation, self.journal) = (generation, journal);
        remove_others(dir, &path)
    }

    /// A new journal that begins with what stays in memory. It counts only once the archive names it.
    fn begin_journal(&self, path: &Path, cutoff: Timestamp) -> Result<Appender, MachineError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("remove", path)(error));
            }
            _ => {}
        }
        let mut journal = Appender::open(path, |_, _: Entry| {})?;
        for (id, series) in &self.series {
            let recent = series.recent.iter().filter(|point| point.at >= cutoff);
            let datum = |point: &MetricPoint| Measurement {
                key: id.key.clone(),
                unit: id.unit.clone(),
                point: point.clone(),
            };
            let data: Vec<_> = recent.map(datum).collect();
            if !data.is_empty() {
                journal.append(&Entry { scope: id.scope.clone(), data })?;
            }
        }
        Ok(journal)
    }
}

fn name_of(id: &SeriesId) -> Result<String, MachineError> {
    serde_json::to_string(id).map_err(|error| MachineError::new("name a series", error))
}

impl MetricStore for Metrics {
    fn put(&self, scope: &Scope, data: &[Measurement]) -> Result<(), MachineError> {
        let mut inner = self.lock();
        inner.check_room(scope, data)?;
        inner.journal.append(&Entry { scope: scope.clone(), data: data.to_vec() })?;
        data.iter().for_each(|datum| add(&mut inner.series, scope, datum.clone()));
        Ok(())
    }

    fn read(
        &self,
        scope: &Scope,
        key: &MetricKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<MetricSeries>, MachineError> {
        let inner = self.lock();
        let first = SeriesId { scope: scope.clone(), key: key.clone(), unit: String::new() };
        let of_key = inner.series.range(first..).take_while(|(id, _)| id.scope == *scope && id.key == *key);
        let mut found = Vec::new();
        for (id, series) in of_key {
            let mut points = match series.number {
                Some(number) => inner.archive.read(number, from, to)?,
                None => Vec::new(),
            };
            let recent = series.recent.iter().filter(|point| point.at >= from && point.at < to);
            recent.for_each(|point| archive::add(&mut points, point));
            if !points.is_empty() {
                found.push(MetricSeries { unit: id.unit.clone(), points });
            }
        }
        Ok(found)
    }

    fn list(&self, scope: &Scope) -> Vec<(MetricKey, Timestamp)> {
        let inner = self.lock();
        let mut keys: Vec<(MetricKey, Timestamp)> = Vec::new();
        for (id, series) in inner.series.iter().filter(|(id, _)| id.scope == *scope) {
            match keys.last_mut() {
                Some((key, newest)) if *key == id.key => *newest = series.newest.max(*newest),
                _ => keys.push((id.key.clone(), series.newest)),
            }
        }
        keys
    }

    fn roll(&self, now: Timestamp) -> Result<(), MachineError> {
        self.lock().roll(&self.dir, now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(86_400);

    fn key(name: &str) -> MetricKey {
        MetricKey { namespace: "App".into(), name: name.into(), dimensions: BTreeMap::new() }
    }

    fn sample(name: &str, at: Timestamp, value: f64) -> Measurement {
        Measurement { key: key(name), unit: "Count".into(), point: MetricPoint::sample(at, value) }
    }

    fn scope() -> Scope {
        Scope::new("1", "us-east-1")
    }

    fn open(dir: &Path) -> Metrics {
        Metrics::open(dir).expect("the store opens")
    }

    fn points(metrics: &Metrics, from: Timestamp, to: Timestamp) -> Vec<MetricPoint> {
        let mut series = metrics.read(&scope(), &key("Depth"), from, to).expect("it can be read");
        assert!(series.len() <= 1);
        series.pop().map(|series| series.points).unwrap_or_default()
    }

    #[test]
    fn points_of_one_period_merge_and_survive_a_restart_and_units_stay_apart() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let minute = Timestamp::from_secs(120);
        let metrics = open(dir.path());
        for value in [10.0, 30.0, 10.0] {
            metrics.put(&scope(), &[sample("Depth", minute, value)]).expect("it is written");
        }
        let other = Measurement { unit: "Bytes".into(), ..sample("Size", minute, 1.0) };
        metrics.put(&scope(), &[other, sample("Size", minute, 2.0)]).expect("it is written");
        drop(metrics);
        let metrics = open(dir.path());
        let expected = MetricPoint {
            at: minute,
            count: 3.0,
            sum: 50.0,
            min: 10.0,
            max: 30.0,
            values: vec![(10.0, 2.0), (30.0, 1.0)],
        };
        assert_eq!(points(&metrics, minute, minute + DAY), [expected]);
        let units = metrics.read(&scope(), &key("Size"), minute, minute + DAY).expect("it can be read");
        assert_eq!(units.iter().map(|series| series.unit.as_str()).collect::<Vec<_>>(), ["Bytes", "Count"]);
        assert_eq!(metrics.list(&scope()), [(key("Depth"), minute), (key("Size"), minute)]);
        assert!(metrics.list(&Scope::new("2", "us-east-1")).is_empty());
    }

    /// Three hours as it came, 15 days by the minute, 63 by five minutes, 455 by the hour.
    #[test]
    fn resolution_follows_age() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let start = Timestamp::from_secs(1_800_000_000).truncate(DAY);
        let metrics = open(dir.path());
        let seconds =
            (0..7200).step_by(10).map(|second| sample("Depth", start + Duration::from_secs(second), 1.0));
        metrics.put(&scope(), &seconds.collect::<Vec<_>>()).expect("it is written");
        for (age, expected) in [
            (HOUR * 2, 720),
            (HOUR * 6, 120),
            (DAY * 14, 120),
            (DAY * 17, 24),
            (DAY * 62, 24),
            (DAY * 100, 2),
            (DAY * 400, 2),
            (DAY * 520, 0),
        ] {
            metrics.roll(start + age).expect("it rolls");
            let found = points(&metrics, start, start + HOUR * 2);
            assert_eq!(found.len(), expected, "after {age:?}");
            let total: f64 = found.iter().map(|point| point.sum).sum();
            assert!(expected == 0 || (total - 720.0).abs() < 1e-9, "{total} after {age:?}");
        }
        assert!(metrics.list(&scope()).is_empty(), "it is forgotten");
    }

    #[test]
    fn late_points_join_those_of_their_time() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let start = Timestamp::from_secs(1_800_000_000).truncate(HOUR);
        let metrics = open(dir.path());
        metrics.put(&scope(), &[sample("Depth", start, 1.0)]).expect("it is written");
        metrics.roll(start + DAY).expect("it rolls");
        metrics.put(&scope(), &[sample("Depth", start, 2.0)]).expect("it is written");
        assert_eq!(points(&metrics, start, start + MINUTE)[0].sum, 3.0);
        metrics.roll(start + DAY).expect("it rolls");
        drop(metrics);
        let metrics = open(dir.path());
        assert_eq!(points(&metrics, start, start + MINUTE)[0].sum, 3.0);
        assert_eq!(fs::read_dir(dir.path()).expect("it can be read").count(), 2, "an archive and a journal");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Whenever it rolls and is opened again, nothing is lost and nothing counted twice.
        #[test]
        fn no_sample_is_lost_or_doubled(steps in proptest::collection::vec((0_u64..600, 0_u8..6), 1..40)) {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let start = Timestamp::from_secs(1_800_000_000).truncate(HOUR);
            let (mut metrics, mut put) = (open(dir.path()), 0.0);
            for (minute, action) in steps {
                let at = start + MINUTE * minute as u32;
                match action {
                    0 => metrics.roll(at).expect("it rolls"),
                    1 => {
                        drop(metrics);
                        metrics = open(dir.path());
                    }
                    _ => {
                        metrics.put(&scope(), &[sample("Depth", at, 1.0)]).expect("it is written");
                        put += 1.0;
                    }
                }
            }
            let total: f64 = points(&metrics, start, start + DAY).iter().map(|point| point.sum).sum();
            prop_assert_eq!(total, put);
        }
    }
}
