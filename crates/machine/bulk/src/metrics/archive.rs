//! Metric points on disk, at three resolutions, in blocks: one redb file.
//!
//! A block holds the points of one series for an hour (at one minute), a day (at five minutes) or thirty days (at an
//! hour); its key says which, so that a read is a few look-ups and an expiry one range.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pileus_contract::{MachineError, MetricPoint};
use pileus_core::Timestamp;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

/// What the file may keep of itself in memory.
const CACHE: usize = 4 << 20;
const COMPRESSION: i32 = 3;

/// (tier, start of the block in seconds, series) to compressed points.
const BLOCKS: TableDefinition<(u8, i64, u64), &[u8]> = TableDefinition::new("blocks");
/// What a series is, as JSON, to its number and the start of its newest point in milliseconds.
const SERIES: TableDefinition<&str, (u64, i64)> = TableDefinition::new("series");
/// `generation`: of the journal; `rolled`: when points were last brought here, in milliseconds.
const FACTS: TableDefinition<&str, i64> = TableDefinition::new("facts");

/// A resolution, how long it is kept, and how long its blocks are.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html>
struct Tier {
    number: u8,
    resolution: Duration,
    kept: Duration,
    block: Duration,
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const TIERS: [Tier; 3] = [
    Tier {
        number: 0,
        resolution: Duration::from_secs(60),
        kept: Duration::from_secs(15 * 86_400),
        block: HOUR,
    },
    Tier {
        number: 1,
        resolution: Duration::from_secs(300),
        kept: Duration::from_secs(63 * 86_400),
        block: DAY,
    },
    Tier {
        number: 2,
        resolution: HOUR,
        kept: Duration::from_secs(455 * 86_400),
        block: Duration::from_secs(30 * 86_400),
    },
];

/// A series as the archive knows it.
pub(super) struct Known {
    pub(super) number: u64,
    pub(super) newest: Timestamp,
}

pub(super) struct Archive {
    path: PathBuf,
    db: Database,
    rolled: Timestamp,
}

type Result<T> = std::result::Result<T, MachineError>;

impl Archive {
    /// Opens or creates the file; returns it, the journal's generation, and the series that it knows.
    pub(super) fn open(path: &Path) -> Result<(Self, i64, BTreeMap<String, Known>)> {
        let failed = |error: redb::Error| MachineError::new(format!("open {}", path.display()), error);
        let db = redb::Builder::new().set_cache_size(CACHE).create(path);
        let db = db.map_err(|error| failed(error.into()))?;
        let load = || -> std::result::Result<_, redb::Error> {
            let write = db.begin_write()?;
            write.open_table(BLOCKS)?;
            let (mut facts, mut series) = ((0, 0), BTreeMap::new());
            {
                let table = write.open_table(FACTS)?;
                let fact = |name| Ok::<_, redb::Error>(table.get(name)?.map_or(0, |value| value.value()));
                facts = (fact("generation")?, fact("rolled")?).max(facts);
                for row in write.open_table(SERIES)?.iter()? {
                    let (name, known) = row?;
                    let (number, newest) = known.value();
                    let known = Known { number, newest: Timestamp::from_millis(newest) };
                    series.insert(name.value().to_owned(), known);
                }
            }
            write.commit()?;
            Ok((facts, series))
        };
        let ((generation, rolled), series) = load().map_err(failed)?;
        let archive = Self { path: path.to_owned(), db, rolled: Timestamp::from_millis(rolled) };
        Ok((archive, generation, series))
    }

    fn failed(&self, error: impl Into<redb::Error>) -> MachineError {
        MachineError::new(format!("use {}", self.path.display()), error.into())
    }

    /// Takes in points, by series, at every resolution that is still kept for their age, lets go of what is not, and
    /// remembers the journal's generation that goes with it: all or nothing.
    pub(super) fn roll(
        &mut self,
        moved: &BTreeMap<u64, (&str, Timestamp, Vec<MetricPoint>)>,
        gone: &[String],
        generation: i64,
        now: Timestamp,
    ) -> Result<()> {
        let work = || -> std::result::Result<(), redb::Error> {
            let write = self.db.begin_write()?;
            {
                let mut blocks = write.open_table(BLOCKS)?;
                let mut series = write.open_table(SERIES)?;
                for (number, (name, newest, points)) in moved {
                    series.insert(*name, (*number, newest.millis()))?;
                    for tier in &TIERS {
                        for (start, added) in tier.blocks(points, now) {
                            let key = (tier.number, start, *number);
                            let mut whole =
                                blocks.get(key)?.map_or_else(Vec::new, |block| decode(block.value()));
                            merge(&mut whole, added);
                            blocks.insert(key, encode(&whole).as_slice())?;
                        }
                    }
                }
                for name in gone {
                    series.remove(name.as_str())?;
                }
                for tier in &TIERS {
                    let end = ((now - tier.kept).truncate(tier.block).secs(), 0);
                    blocks
                        .retain_in((tier.number, i64::MIN, 0)..(tier.number, end.0, end.1), |_, _| false)?;
                }
                let mut facts = write.open_table(FACTS)?;
                facts.insert("generation", generation)?;
                facts.insert("rolled", now.millis())?;
            }
            write.commit()?;
            Ok(())
        };
        work().map_err(|error| self.failed(error))?;
        self.rolled = now;
        Ok(())
    }

    /// The points of a series that start in `from..to`, at the finest resolution kept for their age.
    pub(super) fn read(&self, series: u64, from: Timestamp, to: Timestamp) -> Result<Vec<MetricPoint>> {
        let read = self.db.begin_read().map_err(|error| self.failed(error))?;
        let blocks = read.open_table(BLOCKS).map_err(|error| self.failed(error))?;
        let (mut found, mut to) = (Vec::new(), to.min(self.rolled + DAY));
        // The finest tier first: each next one has what is too old for the one before.
        for tier in &TIERS {
            let oldest = (self.rolled - tier.kept).truncate(tier.block).max(from.truncate(tier.resolution));
            let mut start = oldest.truncate(tier.block);
            let mut of_tier = Vec::new();
            while start < to {
                let block =
                    blocks.get((tier.number, start.secs(), series)).map_err(|error| self.failed(error))?;
                let points = block.map_or_else(Vec::new, |block| decode(block.value()));
                of_tier.extend(points.into_iter().filter(|point| point.at >= oldest && point.at < to));
                start = start + tier.block;
            }
            found.splice(0..0, of_tier);
            to = to.min(oldest);
        }
        found.retain(|point| point.at >= from);
        Ok(found)
    }
}

impl Tier {
    /// The points at this tier's resolution, by the start of the block that they belong to.
    fn blocks(&self, points: &[MetricPoint], now: Timestamp) -> BTreeMap<i64, Vec<MetricPoint>> {
        let mut blocks: BTreeMap<i64, Vec<MetricPoint>> = BTreeMap::new();
        for point in points.iter().filter(|point| point.at >= now - self.kept) {
            let block = blocks.entry(point.at.truncate(self.block).secs()).or_default();
            add(block, &MetricPoint { at: point.at.truncate(self.resolution), ..point.clone() });
        }
        blocks
    }
}

/// Adds a point to points in order of time.
pub(super) fn add(points: &mut Vec<MetricPoint>, point: &MetricPoint) {
    let index = points.partition_point(|known| known.at < point.at);
    match points.get_mut(index) {
        Some(known) if known.at == point.at => known.merge(point),
        _ => points.insert(index, point.clone()),
    }
}

pub(super) fn merge(points: &mut Vec<MetricPoint>, others: Vec<MetricPoint>) {
    others.iter().for_each(|other| add(points, other));
}

fn encode(points: &[MetricPoint]) -> Vec<u8> {
    let json = serde_json::to_vec(points).unwrap_or_default();
    zstd::bulk::compress(&json, COMPRESSION).unwrap_or_default()
}

/// A block that cannot be read has been damaged on disk (redb keeps checksums of its pages): it counts as empty.
fn decode(bytes: &[u8]) -> Vec<MetricPoint> {
    let json = zstd::decode_all(bytes).unwrap_or_default();
    serde_json::from_slice(&json).unwrap_or_else(|error| {
        tracing::error!(%error, "a block of metric points cannot be read; it counts as empty");
        Vec::new()
    })
}
