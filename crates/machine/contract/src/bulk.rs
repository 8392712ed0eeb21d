//! Data that is too much for the state store: log events and metric points.

use std::collections::BTreeMap;

use pileus_core::Timestamp;
use serde::{Deserialize, Serialize};

/// One event of a log stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEvent {
    pub timestamp: Timestamp,
    pub ingested: Timestamp,
    pub message: String,
}

/// A place in a log stream, in order of ingestion.
pub type LogPosition = u64;

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
    /// Values and how often each was seen, for percentiles; empty where only the figures above are known.
    pub values: Vec<(f64, f64)>,
}
