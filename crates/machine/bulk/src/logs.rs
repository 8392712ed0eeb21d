//! Log streams: a directory each, with segments of batches. A segment's name is the position of its first event.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pileus_contract::{LogEvent, LogPosition, LogStore, LogStreamId, LogStreamSummary, MachineError};
use pileus_core::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::failed;
use crate::lines::{self, Appender};

/// A segment is full at this size; retention works in whole segments.
const SEGMENT_BYTES: u64 = 4 << 20;

/// What one call appended: one line of a segment.
#[derive(Serialize, Deserialize)]
struct Batch {
    position: LogPosition,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_offset: Option<u64>,
    events: Vec<LogEvent>,
}

pub(crate) struct Logs {
    dir: PathBuf,
    streams: Mutex<HashMap<LogStreamId, Arc<Mutex<Stream>>>>,
}

struct Stream {
    dir: PathBuf,
    segments: Vec<Segment>,
    summary: LogStreamSummary,
    /// Appends to the last segment.
    appender: Option<Appender>,
}

struct Segment {
    first: LogPosition,
    last_event: Option<Timestamp>,
    bytes: u64,
    batches: Vec<BatchEntry>,
}

/// Where a batch begins.
struct BatchEntry {
    position: LogPosition,
    /// In the segment's file.
    offset: u64,
    last_event: Option<Timestamp>,
}

impl Logs {
    pub(crate) fn open(dir: &Path) -> Result<Self, MachineError> {
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
        Ok(Self { dir: dir.to_owned(), streams: Mutex::default() })
    }

    /// The stream, read from disk at its first use. Nothing is created before the first append.
    fn stream(&self, id: &LogStreamId) -> Result<Arc<Mutex<Stream>>, MachineError> {
        let mut streams = lock(&self.streams);
        if let Some(stream) = streams.get(id) {
            return Ok(stream.clone());
        }
        let stream = Arc::new(Mutex::new(Stream::open(self.stream_dir(id))?));
        streams.insert(id.clone(), stream.clone());
        Ok(stream)
    }

    /// Names of groups and streams hold slashes and may be 512 long, so a directory is named by a hash.
    fn stream_dir(&self, id: &LogStreamId) -> PathBuf {
        let name = format!("{}\0{}\0{}", id.scope, id.group, id.stream);
        self.dir.join(hex::encode(&Sha256::digest(name)[..16]))
    }
}

impl Stream {
    fn open(dir: PathBuf) -> Result<Self, MachineError> {
        let mut stream =
            Self { dir, segments: Vec::new(), summary: LogStreamSummary::default(), appender: None };
        for first in stream.segment_files()? {
            let path = stream.segment_path(first);
            stream.segments.push(Segment { first, last_event: None, bytes: 0, batches: Vec::new() });
            let appender = Appender::open(&path, |offset, batch: Batch| stream.note(&batch, offset))?;
            stream.last_segment().bytes = appender.length();
            stream.appender = Some(appender);
        }
        stream.summary.stored_bytes = stream.segments.iter().map(|segment| segment.bytes).sum();
        Ok(stream)
    }

    fn segment_files(&self) -> Result<Vec<LogPosition>, MachineError> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &self.dir)(error)),
        };
        let mut firsts: Vec<LogPosition> = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("read", &self.dir))?;
            let name = entry.file_name();
            firsts.extend(
                name.to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse::<LogPosition>().ok()),
            );
        }
        firsts.sort_unstable();
        Ok(firsts)
    }

    fn segment_path(&self, first: LogPosition) -> PathBuf {
        self.dir.join(format!("{first:020}.jsonl"))
    }

    fn last_segment(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("the caller has pushed a segment")
    }

    /// Takes a batch of the last segment into account.
    fn note(&mut self, batch: &Batch, offset: u64) {
        let times = || batch.events.iter().map(|event| event.timestamp);
        let summary = &mut self.summary;
        summary.first_event = summary.first_event.into_iter().chain(times()).min();
        summary.last_event = summary.last_event.into_iter().chain(times()).max();
        summary.last_ingestion = batch.events.last().map(|event| event.ingested).or(summary.last_ingestion);
        summary.end = batch.position + batch.events.len() as u64;
        summary.source_offset = batch.source_offset.or(summary.source_offset);
        let segment = self.last_segment();
        segment.last_event = segment.last_event.into_iter().chain(times()).max();
        segment.batches.push(BatchEntry { position: batch.position, offset, last_event: times().max() });
    }

    fn append(&mut self, events: &[LogEvent], source_offset: Option<u64>) -> Result<(), MachineError> {
        if self.appender.as_ref().is_none_or(|appender| appender.length() >= SEGMENT_BYTES) {
            self.begin_segment()?;
        }
        let batch = Batch { position: self.summary.end, source_offset, events: events.to_vec() };
        let appender = self.appender.as_mut().expect("a segment has just been begun");
        let offset = appender.append(&batch)?;
        let length = appender.length();
        self.summary.stored_bytes += length - offset;
        self.note(&batch, offset);
        self.last_segment().bytes = length;
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), MachineError> {
        fs::create_dir_all(&self.dir).map_err(failed("create", &self.dir))?;
        let first = self.summary.end;
        self.appender = Some(Appender::open(&self.segment_path(first), |_, _: Batch| {})?);
        self.segments.push(Segment { first, last_event: None, bytes: 0, batches: Vec::new() });
        Ok(())
    }

    fn read(&self, from: LogPosition, limit: usize) -> Result<Vec<(LogPosition, LogEvent)>, MachineError> {
        let mut found = Vec::new();
        let start = self.segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
        for segment in &self.segments[start..] {
            if found.len() >= limit {
                break;
            }
            let batch = segment.batches.partition_point(|batch| batch.position <= from).saturating_sub(1);
            let offset = segment.batches.get(batch).map_or(0, |batch| batch.offset);
            lines::read(&self.segment_path(segment.first), offset, |batch: Batch| {
                let events = (batch.position..).zip(batch.events).filter(|(position, _)| *position >= from);
                found.extend(events.take(limit - found.len()));
                found.len() < limit
            })?;
        }
        Ok(found)
    }

    fn seek(&self, time: Timestamp) -> LogPosition {
        let reaches = |last: Option<Timestamp>| last.is_some_and(|last| last >= time);
        let segment = self.segments.iter().find(|segment| reaches(segment.last_event));
        let batch =
            segment.and_then(|segment| segment.batches.iter().find(|batch| reaches(batch.last_event)));
        batch.map_or(self.summary.end, |batch| batch.position)
    }

    fn expire(&mut self, before: Timestamp) -> Result<(), MachineError> {
        // The last segment is being written to.
        while self.segments.len() > 1 && self.segments[0].last_event.is_none_or(|last| last < before) {
            let path = self.segment_path(self.segments[0].first);
            fs::remove_file(&path).map_err(failed("remove", &path))?;
            self.summary.stored_bytes -= self.segments.remove(0).bytes;
        }
        Ok(())
    }
}

impl LogStore for Logs {
    fn append(
        &self,
        stream: &LogStreamId,
        events: &[LogEvent],
        source_offset: Option<u64>,
    ) -> Result<(), MachineError> {
        lock(&*self.stream(stream)?).append(events, source_offset)
    }

    fn read(
        &self,
        stream: &LogStreamId,
        from: LogPosition,
        limit: usize,
    ) -> Result<Vec<(LogPosition, LogEvent)>, MachineError> {
        lock(&*self.stream(stream)?).read(from, limit)
    }

    fn seek(&self, stream: &LogStreamId, time: Timestamp) -> Result<LogPosition, MachineError> {
        Ok(lock(&*self.stream(stream)?).seek(time))
    }

    fn summary(&self, stream: &LogStreamId) -> Result<LogStreamSummary, MachineError> {
        Ok(lock(&*self.stream(stream)?).summary.clone())
    }

    fn expire(&self, stream: &LogStreamId, before: Timestamp) -> Result<(), MachineError> {
        lock(&*self.stream(stream)?).expire(before)
    }

    fn delete(&self, stream: &LogStreamId) -> Result<(), MachineError> {
        lock(&self.streams).remove(stream);
        let dir = self.stream_dir(stream);
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", &dir)(error)),
            _ => Ok(()),
        }
    }
}

/// Every change under these locks is made whole by one assignment or is re-read from disk, so a panic elsewhere
/// leaves nothing half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use pileus_core::Scope;

    use super::*;

    fn stream(name: &str) -> LogStreamId {
        LogStreamId { scope: Scope::new("1", "us-east-1"), group: "/app".into(), stream: name.into() }
    }

    fn event(second: i64) -> LogEvent {
        let timestamp = Timestamp::from_secs(second);
        LogEvent { timestamp, ingested: timestamp, message: format!("line {second}") }
    }

    #[test]
    fn events_come_back_in_order_after_reopening_and_past_a_torn_line() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let id = stream("web/1");
        let logs = Logs::open(dir.path()).expect("a new store");
        logs.append(&id, &[event(1), event(2)], Some(10)).expect("it is written");
        logs.append(&id, &[event(3)], Some(20)).expect("it is written");
        let file = logs.stream_dir(&id).join(format!("{:020}.jsonl", 0));
        let mut torn = fs::read(&file).expect("the segment");
        torn.extend_from_slice(b"{\"position\":3,\"ev");
        fs::write(&file, torn).expect("it is written");

        let logs = Logs::open(dir.path()).expect("the same store");
        let summary = logs.summary(&id).expect("it can be read");
        assert_eq!((summary.end, summary.source_offset), (3, Some(20)));
        logs.append(&id, &[event(4)], None).expect("it is written");
        let read = logs.read(&id, 1, 10).expect("it can be read");
        assert_eq!(
            read.iter().map(|(at, event)| (*at, event.timestamp.secs())).collect::<Vec<_>>(),
            [(1, 2), (2, 3), (3, 4)]
        );
        assert_eq!(logs.read(&id, 0, 2).expect("it can be read").len(), 2);
        let seek = |second| logs.seek(&id, Timestamp::from_secs(second)).expect("it can be read");
        assert_eq!([seek(0), seek(2), seek(3), seek(9)], [0, 0, 2, 4]);
        assert!(logs.read(&stream("other"), 0, 2).expect("it is empty").is_empty());
        logs.delete(&id).expect("it can be removed");
        assert_eq!(logs.summary(&id).expect("it is new"), LogStreamSummary::default());
    }

    #[test]
    fn streams_that_are_not_being_written_to_hold_no_file_open() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let logs = Logs::open(dir.path()).expect("a new store");
        for number in 0..10 {
            logs.append(&stream(&format!("web/{number}")), &[event(1)], None).expect("it is written");
        }
        let open = fs::read_dir("/proc/self/fd").expect("Linux").flatten();
        let ours =
            open.filter_map(|fd| fs::read_link(fd.path()).ok()).filter(|to| to.starts_with(dir.path()));
        assert_eq!(ours.count(), 0);
    }

    #[test]
    fn full_segments_are_left_behind_and_expire() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (logs, id) = (Logs::open(dir.path()).expect("a new store"), stream("big"));
        let long = |second| LogEvent { message: "x".repeat(1 << 20), ..event(second) };
        for second in 0..12 {
            logs.append(&id, &[long(second)], None).expect("it is written");
        }
        assert_eq!(logs.read(&id, 0, 100).expect("it can be read").len(), 12);
        logs.expire(&id, Timestamp::from_secs(5)).expect("it can be expired");
        let left = logs.read(&id, 0, 100).expect("it can be read");
        let first = left.first().expect("some are left").0;
        assert!(first > 0 && first <= 5, "whole old segments go, newer events stay: {first}");
        assert_eq!(left.last().expect("some are left").0, 11);
    }
}
