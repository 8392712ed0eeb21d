//! The allow-list, `operations.toml`: which operations are generated and which of their input members
//! handlers read. Its own head explains the format.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct ServiceAllow {
    pub(crate) service: ServiceMeta,
    #[serde(default)]
    pub(crate) shapes: BTreeMap<String, ShapeAllow>,
    #[serde(flatten)]
    pub(crate) operations: BTreeMap<String, OperationAllow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceMeta {
    /// The folder of the model: its API version.
    pub(crate) version: String,
    /// `Ec2`, `Ecr`, or the code with which the service reports validation errors.
    pub(crate) validation: String,
    /// Top-level input members that the router reads for every operation, such as `DryRun`.
    #[serde(default)]
    pub(crate) router: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperationAllow {
    /// The top-level input members that are accepted; all when absent.
    pub(crate) members: Option<Vec<String>>,
    /// Members that are accepted without effect, with the reason.
    #[serde(default)]
    pub(crate) no_effect: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShapeAllow {
    #[serde(default)]
    pub(crate) unsupported: Vec<String>,
    #[serde(default)]
    pub(crate) no_effect: BTreeMap<String, String>,
}

pub(crate) fn read(path: &Path) -> anyhow::Result<BTreeMap<String, ServiceAllow>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("reading {}", path.display()))
}
