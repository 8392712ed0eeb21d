//! Data that is too much for the state store: log events, metric points and blobs.
//!
//! Each has an append-only store of its own. What a call has acknowledged survives a kill of the process; a loss of
//! power may cost the last seconds of logs and metrics, never of blobs.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pileus_core::{Scope, Timestamp};
use serde::{Deserialize, Serialize};

use crate::MachineError;

/// The three stores.
#[derive(Clone)]
pub struct Bulk {
    pub logs: Arc<dyn LogStore>,
    pub metrics: Arc<dyn MetricStore>,
    pub blobs: Arc<dyn BlobStore>,
}

/// A log stream of CloudWatch Logs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogStreamId {
    pub scope: Scope,
    pub group: String,
    pub stream: String,
}

/// One event of a log stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEvent {
    pub timestamp: Timestamp,
    pub ingested: Timestamp,
    pub message: String,
}

/// A place in a log stream, in order of ingestion: 0 is the first event ever written.
pub type LogPosition = u64;

/// What is known of a stream without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStreamSummary {
    pub first_event: Option<Timestamp>,
    pub last_event: Option<Timestamp>,
    pub last_ingestion: Option<Timestamp>,
    pub stored_bytes: u64,
    /// The position after the last event.
    pub end: LogPosition,
    /// The source offset given with the last batch.
    pub source_offset: Option<u64>,
}

pub trait LogStore: Send + Sync {
    /// Appends events, all or none. `source_offset` is remembered with the batch (see [`LogStreamSummary`]), so that
    /// a forwarder can go on exactly where it was.
    ///
    /// # Errors
    /// The events could not be written.
    fn append(
        &self,
        stream: &LogStreamId,
        events: &[LogEvent],
        source_offset: Option<u64>,
    ) -> Result<(), MachineError>;

    /// Up to `limit` events from position `from` on, oldest first, with their positions. Unknown streams are empty.
    ///
    /// # Errors
    /// The stream could not be read.
    fn read(
        &self,
        stream: &LogStreamId,
        from: LogPosition,
        limit: usize,
    ) -> Result<Vec<(LogPosition, LogEvent)>, MachineError>;

    /// A position at or before the first event of `time` or later: where a search in time may begin.
    ///
    /// # Errors
    /// The stream could not be read.
    fn seek(&self, stream: &LogStreamId, time: Timestamp) -> Result<LogPosition, MachineError>;

    /// # Errors
    /// The stream could not be read.
    fn summary(&self, stream: &LogStreamId) -> Result<LogStreamSummary, MachineError>;

    /// Drops whole segments whose events are all older than `before`.
    ///
    /// # Errors
    /// They could not be removed.
    fn expire(&self, stream: &LogStreamId, before: Timestamp) -> Result<(), MachineError>;

    /// Forgets a stream.
    ///
    /// # Errors
    /// It could not be removed.
    fn delete(&self, stream: &LogStreamId) -> Result<(), MachineError>;
}

/// What a metric is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MetricKey {
    pub namespace: String,
    pub name: String,
    pub dimensions: BTreeMap<String, String>,
}

/// Samples of one metric in one period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// The start of the period.
    pub at: Timestamp,
    pub count: f64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    /// Values and how often each was seen, ascending, for percentiles; empty where only the figures above are known.
    pub values: Vec<(f64, f64)>,
}

impl MetricPoint {
    /// One sample.
    pub fn sample(at: Timestamp, value: f64) -> Self {
        Self { at, count: 1.0, sum: value, min: value, max: value, values: vec![(value, 1.0)] }
    }

    /// Adds the samples of another point; its time does not matter. At most [`Self::MAX_VALUES`] single values are told
    /// apart; beyond that near ones become one, a percent or more apart, with the mean of their samples.
    pub fn merge(&mut self, other: &Self) {
        // Where a part of the samples is known by its figures alone, percentiles of the rest would mislead.
        let known = !self.values.is_empty() && !other.values.is_empty();
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if !known {
            self.values.clear();
            return;
        }
        for &(value, count) in &other.values {
            match self.values.binary_search_by(|(known, _)| known.total_cmp(&value)) {
                Ok(index) => self.values[index].1 += count,
                Err(index) => self.values.insert(index, (value, count)),
            }
        }
        let mut width = 0.01;
        while self.values.len() > Self::MAX_VALUES {
            self.values = coarser(&self.values, width);
            width *= 2.0;
        }
    }

    /// Single values that a point keeps.
    pub const MAX_VALUES: usize = 200;
}

/// Brings together values whose magnitudes differ by less than `width`, a share of them.
fn coarser(values: &[(f64, f64)], width: f64) -> Vec<(f64, f64)> {
    let bucket = |value: f64| {
        let magnitude = if value == 0.0 { f64::NEG_INFINITY } else { value.abs().ln() / width.ln_1p() };
        (value.is_sign_negative(), magnitude.floor())
    };
    let mut coarse: Vec<(f64, f64)> = Vec::new();
    for &(value, count) in values {
        match coarse.last_mut() {
            Some((last, times)) if bucket(*last) == bucket(value) && *times + count > 0.0 => {
                *last = (*last * *times + value * count) / (*times + count);
                *times += count;
            }
            _ => coarse.push((value, count)),
        }
    }
    coarse
}

/// Samples of one metric in one unit, to be stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    pub key: MetricKey,
    /// `None` (the word) where the samples have no unit.
    pub unit: String,
    pub point: MetricPoint,
}

/// What is known of a metric in one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSeries {
    pub unit: String,
    /// In order of time, one for each time.
    pub points: Vec<MetricPoint>,
}

pub trait MetricStore: Send + Sync {
    /// Adds points; one whose start is there already is merged with it. A point of less than a minute counts as one of
    /// high resolution: its start is not that of a minute.
    ///
    /// # Errors
    /// They could not be written, or there are too many metrics.
    fn put(&self, scope: &Scope, data: &[Measurement]) -> Result<(), MachineError>;

    /// The points that start in `from..to`, a series for each unit, at the resolution that is kept for their age.
    ///
    /// # Errors
    /// What is kept on disk could not be read.
    fn read(
        &self,
        scope: &Scope,
        key: &MetricKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<MetricSeries>, MachineError>;

    /// The metrics of a scope, in order, with the start of the newest point of each.
    fn list(&self, scope: &Scope) -> Vec<(MetricKey, Timestamp)>;

    /// Brings old points to the resolution that is kept for their age and lets go of the oldest. To be called each hour.
    ///
    /// # Errors
    /// It could not be done; all points are as they were.
    fn roll(&self, now: Timestamp) -> Result<(), MachineError>;
}

/// Content-addressed files. Digests are `sha256:<64 hex>`.
pub trait BlobStore: Send + Sync {
    /// Where the blob is, or would be. Its content is that of its digest: it is written elsewhere, verified and renamed.
    ///
    /// # Errors
    /// The text is not a digest.
    fn path(&self, digest: &str) -> Result<PathBuf, MachineError>;

    /// The size of a blob that is there.
    fn size(&self, digest: &str) -> Option<u64>;

    /// Stores what `content` yields if it has this digest.
    ///
    /// # Errors
    /// The content has another digest, is larger than `limit` bytes, or could not be written.
    fn put(&self, digest: &str, content: &mut dyn Read, limit: u64) -> Result<u64, MachineError>;

    /// Begins or continues an upload of this id at `offset`; returns the new length.
    ///
    /// # Errors
    /// `offset` is not the present length of the upload, or the bytes could not be written.
    fn upload(&self, id: &str, offset: u64, content: &mut dyn Read, limit: u64) -> Result<u64, MachineError>;

    /// The length of an upload that has begun and not ended.
    fn uploaded(&self, id: &str) -> Option<u64>;

    /// Ends an upload without a blob. Unknown ones are no error.
    ///
    /// # Errors
    /// What was uploaded could not be removed.
    fn abandon(&self, id: &str) -> Result<(), MachineError>;

    /// Makes a blob of an upload if it has this digest; returns its size. Otherwise the upload stays as it is.
    ///
    /// # Errors
    /// The upload is unknown or has another digest.
    fn finish(&self, id: &str, digest: &str) -> Result<u64, MachineError>;

    /// Cuts an upload back to a length that it had before.
    ///
    /// # Errors
    /// The upload is unknown or could not be cut.
    fn rewind(&self, id: &str, length: u64) -> Result<(), MachineError>;

    /// Removes the blob. Unknown ones are no error.
    ///
    /// # Errors
    /// It could not be removed.
    fn delete(&self, digest: &str) -> Result<(), MachineError>;

    /// Removes the blob unless it was stored, or stored again, within the last `age` of real time; whether it is gone.
    /// A blob that is being stored at the same moment stays.
    ///
    /// # Errors
    /// It could not be removed.
    fn delete_older(&self, digest: &str, age: Duration) -> Result<bool, MachineError>;

    /// Every blob that is there, with its size: for garbage collection.
    ///
    /// # Errors
    /// The store could not be read.
    fn list(&self) -> Result<Vec<(String, u64)>, MachineError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_keeps_a_bounded_number_of_values_near_the_true_ones() {
        let mut point = MetricPoint::sample(Timestamp::default(), 1.0);
        for n in 2..=5000 {
            point.merge(&MetricPoint::sample(Timestamp::default(), f64::from(n)));
        }
        assert!(point.values.len() <= MetricPoint::MAX_VALUES);
        let total: f64 = point.values.iter().map(|(_, count)| count).sum();
        assert!((total - 5000.0).abs() < 1e-6 && (point.sum - 5000.0 * 5001.0 / 2.0).abs() < 1e-3);
        let mut seen = 0.0;
        let median = point.values.iter().find(|(_, count)| {
            seen += count;
            seen >= 2500.0
        });
        let median = median.expect("half of the samples are somewhere").0;
        assert!((median - 2500.0).abs() < 2500.0 * 0.05, "{median}");
    }
}
