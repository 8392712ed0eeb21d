//! The parts of botocore's `service-2.json` that code generation reads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use flate2::read::GzDecoder;
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
pub(crate) struct Model {
    pub(crate) metadata: Metadata,
    pub(crate) operations: BTreeMap<String, OperationModel>,
    pub(crate) shapes: BTreeMap<String, ShapeModel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) api_version: String,
    pub(crate) endpoint_prefix: String,
    pub(crate) protocols: Vec<String>,
    pub(crate) signing_name: Option<String>,
    pub(crate) target_prefix: Option<String>,
    pub(crate) json_version: Option<String>,
    pub(crate) xml_namespace: Option<String>,
    pub(crate) aws_query_compatible: Option<serde_json::Value>,
}

#[derive(Deserialize)]
pub(crate) struct OperationModel {
    pub(crate) http: Http,
    pub(crate) input: Option<ShapeRef>,
    pub(crate) output: Option<ShapeRef>,
    #[serde(default)]
    pub(crate) errors: Vec<ShapeRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Http {
    pub(crate) method: String,
    pub(crate) request_uri: String,
}

/// A reference to a shape, with what the place of use adds to it.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShapeRef {
    pub(crate) shape: String,
    pub(crate) location_name: Option<String>,
    /// Where it stands in an HTTP message.
    pub(crate) location: Option<String>,
    pub(crate) query_name: Option<String>,
    pub(crate) result_wrapper: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShapeModel {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// In the model's order.
    #[serde(default, deserialize_with = "ordered")]
    pub(crate) members: Vec<(String, ShapeRef)>,
    #[serde(default)]
    pub(crate) required: Vec<String>,
    /// The member that is the whole body.
    pub(crate) payload: Option<String>,
    pub(crate) member: Option<ShapeRef>,
    pub(crate) key: Option<ShapeRef>,
    pub(crate) value: Option<ShapeRef>,
    #[serde(default)]
    pub(crate) flattened: bool,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) pattern: Option<String>,
    #[serde(default, rename = "enum")]
    pub(crate) values: Vec<String>,
    #[serde(default)]
    pub(crate) sensitive: bool,
    #[serde(default)]
    pub(crate) document: bool,
    #[serde(default)]
    pub(crate) fault: bool,
    pub(crate) error: Option<ErrorModel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorModel {
    pub(crate) code: Option<String>,
    pub(crate) http_status_code: Option<u16>,
}

fn ordered<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, ShapeRef)>, D::Error> {
    let members = serde_json::Map::deserialize(deserializer)?;
    members
        .into_iter()
        .map(|(name, value)| Ok((name, serde_json::from_value(value).map_err(serde::de::Error::custom)?)))
        .collect()
}

/// Reads `<models>/<service>/<version>/service-2.json.gz`.
pub(crate) fn read(models: &Path, service: &str, version: &str) -> anyhow::Result<Model> {
    let path = models.join(service).join(version).join("service-2.json.gz");
    let file = File::open(&path).with_context(|| format!("opening the model {}", path.display()))?;
    let mut text = String::new();
    GzDecoder::new(file)
        .read_to_string(&mut text)
        .with_context(|| format!("unpacking {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
}
