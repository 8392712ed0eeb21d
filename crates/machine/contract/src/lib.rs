//! What the cloud asks of the machine, as plain values, and the traits of those who carry it out.
//!
//! The specs describe a *whole* data plane. An implementation compares a spec with what is there and applies the
//! difference, so a caller never issues steps and a repeated spec costs nothing. No AWS concept beyond a name
//! appears here: `machine/*` implements these traits without knowing the cloud, and `test/sim` implements them
//! without a machine.

pub mod bulk;
pub mod containers;
pub mod fabric;
pub mod proxy;

pub use bulk::{
    BlobStore, Bulk, LogEvent, LogPosition, LogStore, LogStreamId, LogStreamSummary, Measurement, MetricKey,
    MetricPoint, MetricSeries, MetricStore,
};
pub use containers::{ContainerSpec, Containers, TaskEvent, TaskSpec, TaskState};
pub use fabric::{Fabric, FabricSpec};
pub use proxy::{Proxy, ProxyEvent, ProxySpec};

/// A failure of a machine: what was tried, on what, and why it failed. It is data for the next plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{action}: {cause}")]
pub struct MachineError {
    /// What was being done to what, such as `create namespace eni-0ab…`.
    pub action: String,
    /// The chain of causes, outermost first, and what to do about it where that is known.
    pub cause: String,
}

impl MachineError {
    pub fn new(action: impl Into<String>, cause: impl std::fmt::Display) -> Self {
        Self { action: action.into(), cause: cause.to_string() }
    }
}
