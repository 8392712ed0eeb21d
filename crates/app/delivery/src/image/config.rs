//! The JSON documents of an image: configuration, manifest, and the layout's index.
//! <https://github.com/opencontainers/image-spec/blob/main/config.md>
//!
//! Written by hand rather than with a types crate: those keep labels in hash maps, and here the
//! same input must give the same bytes.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Map, Value, json};

use super::blobs::{Blob, BlobStore, replace_file};
use super::foundation::Foundation;
use super::package_json::PackageJson;
use super::{BuildRequest, ImageError, LayerDescriptor};

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// An image's time of making would be the one thing that differs between two builds.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The app's name and version, and what the request adds or puts in their place.
pub(super) fn labels(request: &BuildRequest, package: &PackageJson) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([("org.opencontainers.image.title".to_owned(), request.name.clone())]);
    if let Some(version) = package.version() {
        labels.insert("org.opencontainers.image.version".to_owned(), version.to_owned());
    }
    labels.extend(request.labels.clone());
    labels
}

/// How a container of the image runs.
pub(super) struct Run<'a> {
    pub(super) user: String,
    pub(super) ports: &'a [u16],
    /// `NAME=value`.
    pub(super) env: Vec<String>,
    pub(super) entrypoint: &'a [String],
    pub(super) cmd: &'a [String],
    pub(super) workdir: String,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) stop_signal: &'a str,
}

pub(super) fn config(foundation: &Foundation, run: &Run, layers: &[LayerDescriptor]) -> Vec<u8> {
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let ports = run.ports.iter().map(|port| (format!("{port}/tcp"), json!({})));
    let document = json!({
        "created": CREATED,
        "architecture": foundation.arch.in_oci(),
        "os": "linux",
        "config": {
            "User": run.user,
            "ExposedPorts": Map::from_iter(ports),
            "Env": run.env,
            "Entrypoint": run.entrypoint,
            "Cmd": run.cmd,
            "WorkingDir": run.workdir,
            "Labels": run.labels,
            "StopSignal": run.stop_signal,
        },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    bytes(&document)
}

pub(super) fn manifest(config: &Blob, layers: &[LayerDescriptor]) -> Vec<u8> {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| json!({ "mediaType": layer.media_type, "digest": layer.digest, "size": layer.size }))
        .collect();
    bytes(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": { "mediaType": CONFIG_TYPE, "digest": config.digest, "size": config.size },
        "layers": layers,
    }))
}

/// Makes these names (`name:tag`) mean this manifest in the layout's `index.json`.
pub(super) fn update_index(blobs: &BlobStore, manifest: &Blob, refs: &[String]) -> Result<(), ImageError> {
    let path = blobs.root().join("index.json");
    let old = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let new = bytes(&index(old, manifest, refs));
    if fs::read(&path).is_ok_and(|current| current == new) {
        return Ok(());
    }
    replace_file(&path, &new)
}

fn index(old: Option<Value>, manifest: &Blob, refs: &[String]) -> Value {
    let old: Vec<Value> = old
        .and_then(|mut old| serde_json::from_value(old.get_mut("manifests")?.take()).ok())
        .unwrap_or_default();
    let name = |entry: &Value| entry["annotations"][REF_NAME].as_str().unwrap_or_default().to_owned();
    let mut manifests: Vec<Value> = old.into_iter().filter(|entry| !refs.contains(&name(entry))).collect();
    manifests.extend(refs.iter().map(|reference| {
        let annotations = Map::from_iter([(REF_NAME.to_owned(), json!(reference))]);
        json!({
            "mediaType": MANIFEST_TYPE,
            "digest": manifest.digest,
            "size": manifest.size,
            "annotations": annotations,
        })
    }));
    manifests.sort_by_key(name);
    json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests })
}

fn bytes(document: &Value) -> Vec<u8> {
    serde_json::to_vec(document).expect("JSON values serialise")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(digest: &str) -> Blob {
        Blob { digest: digest.to_owned(), size: 1 }
    }

    #[test]
    fn a_name_means_the_last_manifest_and_others_stay() {
        let refs = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let first = index(None, &blob("sha256:1"), &refs(&["app:latest", "app:a"]));
        let second = index(Some(first), &blob("sha256:2"), &refs(&["app:latest", "app:b"]));
        let listed: Vec<(&str, &str)> = second["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                (entry["annotations"][REF_NAME].as_str().unwrap(), entry["digest"].as_str().unwrap())
            })
            .collect();
        let expected = [("app:a", "sha256:1"), ("app:b", "sha256:2"), ("app:latest", "sha256:2")];
        assert_eq!(listed, expected);
    }
}
