//! Bulk stores for tests: logs and metrics in memory, blobs in a directory that goes with the store.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pileus_contract::{
    BlobStore, Bulk, LogEvent, LogPosition, LogStore, LogStreamId, LogStreamSummary, MachineError,
    Measurement, MetricKey, MetricPoint, MetricSeries, MetricStore,
};
use pileus_core::{Scope, Timestamp};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// Three empty stores.
///
/// # Panics
/// No temporary directory can be made.
pub fn bulk() -> Bulk {
    Bulk {
        logs: Arc::new(MemoryLogs::default()),
        metrics: Arc::new(MemoryMetrics::default()),
        blobs: Arc::new(TempBlobs::new()),
    }
}

const POISON: &str = "no holder of this lock panics";

#[derive(Default)]
pub struct MemoryLogs(Mutex<BTreeMap<LogStreamId, Stream>>);

#[derive(Default)]
struct Stream {
    /// The position of the first event that is still there.
    start: LogPosition,
    events: Vec<LogEvent>,
    source_offset: Option<u64>,
}

impl LogStore for MemoryLogs {
    fn append(
        &self,
        stream: &LogStreamId,
        events: &[LogEvent],
        source_offset: Option<u64>,
    ) -> Result<(), MachineError> {
        let mut streams = self.0.lock().expect(POISON);
        let stream = streams.entry(stream.clone()).or_default();
        stream.events.extend_from_slice(events);
        stream.source_offset = source_offset.or(stream.source_offset);
        Ok(())
    }

    fn read(
        &self,
        stream: &LogStreamId,
        from: LogPosition,
        limit: usize,
    ) -> Result<Vec<(LogPosition, LogEvent)>, MachineError> {
        let streams = self.0.lock().expect(POISON);
        let Some(stream) = streams.get(stream) else { return Ok(Vec::new()) };
        let numbered = (stream.start..).zip(stream.events.iter().cloned());
        Ok(numbered.filter(|(position, _)| *position >= from).take(limit).collect())
    }

    fn seek(&self, stream: &LogStreamId, _: Timestamp) -> Result<LogPosition, MachineError> {
        Ok(self.0.lock().expect(POISON).get(stream).map_or(0, |stream| stream.start))
    }

    fn summary(&self, stream: &LogStreamId) -> Result<LogStreamSummary, MachineError> {
        let streams = self.0.lock().expect(POISON);
        let Some(stream) = streams.get(stream) else { return Ok(LogStreamSummary::default()) };
        Ok(LogStreamSummary {
            first_event: stream.events.iter().map(|event| event.timestamp).min(),
            last_event: stream.events.iter().map(|event| event.timestamp).max(),
            last_ingestion: stream.events.iter().map(|event| event.ingested).max(),
            stored_bytes: stream.events.iter().map(|event| event.message.len() as u64).sum(),
            end: stream.start + stream.events.len() as u64,
            source_offset: stream.source_offset,
        })
    }

    fn expire(&self, stream: &LogStreamId, before: Timestamp) -> Result<(), MachineError> {
        let mut streams = self.0.lock().expect(POISON);
        if let Some(stream) = streams.get_mut(stream) {
            let kept = stream.events.iter().position(|event| event.timestamp >= before);
            let dropped = kept.unwrap_or(stream.events.len());
            stream.events.drain(..dropped);
            stream.start += dropped as u64;
        }
        Ok(())
    }

    fn delete(&self, stream: &LogStreamId) -> Result<(), MachineError> {
        self.0.lock().expect(POISON).remove(stream);
        Ok(())
    }
}

#[derive(Default)]
pub struct MemoryMetrics(Mutex<BTreeMap<(Scope, MetricKey, String), Points>>);

type Points = BTreeMap<Timestamp, MetricPoint>;

impl MetricStore for MemoryMetrics {
    fn put(&self, scope: &Scope, data: &[Measurement]) -> Result<(), MachineError> {
        let mut metrics = self.0.lock().expect(POISON);
        for Measurement { key, unit, point } in data {
            let series = metrics.entry((scope.clone(), key.clone(), unit.clone())).or_default();
            series.entry(point.at).and_modify(|known| known.merge(point)).or_insert_with(|| point.clone());
        }
        Ok(())
    }

    fn read(
        &self,
        scope: &Scope,
        key: &MetricKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<MetricSeries>, MachineError> {
        let metrics = self.0.lock().expect(POISON);
        let series = metrics.iter().filter(|((of, known, _), _)| of == scope && known == key);
        let series = series.map(|((.., unit), points)| MetricSeries {
            unit: unit.clone(),
            points: points.values().filter(|point| (from..to).contains(&point.at)).cloned().collect(),
        });
        Ok(series.filter(|series| !series.points.is_empty()).collect())
    }

    fn list(&self, scope: &Scope) -> Vec<(MetricKey, Timestamp)> {
        let metrics = self.0.lock().expect(POISON);
        let mut keys = BTreeMap::new();
        for ((_, key, _), points) in metrics.iter().filter(|((of, ..), _)| of == scope) {
            let newest = points.keys().next_back().copied().unwrap_or_default();
            let known = keys.entry(key.clone()).or_insert(newest);
            *known = newest.max(*known);
        }
        keys.into_iter().collect()
    }

    fn roll(&self, _: Timestamp) -> Result<(), MachineError> {
        Ok(())
    }
}

/// Blobs in a temporary directory, since their contract speaks of paths.
pub struct TempBlobs {
    directory: TempDir,
    uploads: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl TempBlobs {
    /// # Panics
    /// No temporary directory can be made.
    #[expect(clippy::new_without_default, reason = "it touches the disk")]
    pub fn new() -> Self {
        let directory = TempDir::with_prefix("pileus-kit-").expect("a temporary directory can be made");
        Self { directory, uploads: Mutex::default() }
    }

    fn store(&self, digest: &str, content: &[u8]) -> Result<u64, MachineError> {
        let found = format!("sha256:{}", hex::encode(Sha256::digest(content)));
        if found != digest {
            return Err(MachineError::new(format!("store blob {digest}"), format!("its digest is {found}")));
        }
        fs::write(self.path(digest)?, content).map_err(|error| MachineError::new("write a blob", error))?;
        Ok(content.len() as u64)
    }
}

fn read_limited(content: &mut dyn Read, limit: u64) -> Result<Vec<u8>, MachineError> {
    let mut bytes = Vec::new();
    let read = content.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| MachineError::new("read a blob's content", error))?;
    if bytes.len() as u64 > limit {
        return Err(MachineError::new("store a blob", format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

impl BlobStore for TempBlobs {
    fn path(&self, digest: &str) -> Result<PathBuf, MachineError> {
        let hex = digest.strip_prefix("sha256:").filter(|hex| {
            hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        });
        let hex = hex.ok_or_else(|| MachineError::new("find a blob", format!("{digest} is not a digest")))?;
        Ok(self.directory.path().join(hex))
    }

    fn size(&self, digest: &str) -> Option<u64> {
        Some(fs::metadata(self.path(digest).ok()?).ok()?.len())
    }

    fn put(&self, digest: &str, content: &mut dyn Read, limit: u64) -> Result<u64, MachineError> {
        self.store(digest, &read_limited(content, limit)?)
    }

    fn upload(&self, id: &str, offset: u64, content: &mut dyn Read, limit: u64) -> Result<u64, MachineError> {
        let bytes = read_limited(content, limit.saturating_sub(offset))?;
        let mut uploads = self.uploads.lock().expect(POISON);
        let upload = uploads.entry(id.to_owned()).or_default();
        if upload.len() as u64 != offset {
            return Err(MachineError::new(
                format!("continue upload {id} at {offset}"),
                format!("its length is {}", upload.len()),
            ));
        }
        upload.extend(bytes);
        Ok(upload.len() as u64)
    }

    fn uploaded(&self, id: &str) -> Option<u64> {
        self.uploads.lock().expect(POISON).get(id).map(|upload| upload.len() as u64)
    }

    fn abandon(&self, id: &str) -> Result<(), MachineError> {
        self.uploads.lock().expect(POISON).remove(id);
        Ok(())
    }

    fn finish(&self, id: &str, digest: &str) -> Result<u64, MachineError> {
        let mut uploads = self.uploads.lock().expect(POISON);
        let unknown = || MachineError::new("finish an upload", format!("{id} is unknown"));
        let size = self.store(digest, uploads.get(id).ok_or_else(unknown)?)?;
        uploads.remove(id);
        Ok(size)
    }

    fn rewind(&self, id: &str, length: u64) -> Result<(), MachineError> {
        let mut uploads = self.uploads.lock().expect(POISON);
        let unknown = || MachineError::new("cut an upload", format!("{id} is unknown"));
        uploads.get_mut(id).ok_or_else(unknown)?.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }

    fn delete(&self, digest: &str) -> Result<(), MachineError> {
        match fs::remove_file(self.path(digest)?) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(MachineError::new(format!("delete blob {digest}"), error))
            }
            _ => Ok(()),
        }
    }

    /// Files of a test have no age that a test could choose: only an age of zero is reached.
    fn delete_older(&self, digest: &str, age: Duration) -> Result<bool, MachineError> {
        if age > Duration::ZERO && self.size(digest).is_some() {
            return Ok(false);
        }
        self.delete(digest).map(|()| true)
    }

    fn list(&self) -> Result<Vec<(String, u64)>, MachineError> {
        let problem = |error| MachineError::new("list blobs", error);
        let mut blobs = Vec::new();
        for entry in fs::read_dir(self.directory.path()).map_err(problem)? {
            let entry = entry.map_err(problem)?;
            let size = entry.metadata().map_err(problem)?.len();
            blobs.push((format!("sha256:{}", entry.file_name().to_string_lossy()), size));
        }
        blobs.sort();
        Ok(blobs)
    }
}
