//! The manifest and the configuration of an image, as OCI and as Docker (schema 2) write them.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md>

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// An image, ready to be looked up layer by layer.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The base first.
    pub(crate) layers: Vec<Layer>,
    pub(crate) config: ImageConfig,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Of the blob, as it is stored.
    pub(crate) digest: Digest,
    /// Of the archive in it, when decompressed.
    pub(crate) diff_id: Digest,
}

impl Layer {
    /// The layer's directory: half of its digest, so that over a hundred fit the options of one overlay mount.
    pub(crate) fn dir_name(&self) -> String {
        self.diff_id.hex()[..32].to_owned()
    }
}

/// How the image wants to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ImageConfig {
    pub(crate) user: Option<String>,
    pub(crate) env: Option<Vec<String>>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) working_dir: Option<String>,
    pub(crate) stop_signal: Option<String>,
}

/// A SHA-256 digest, `sha256:<64 hex digits>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest(String);

impl Digest {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Error::invalid(
                "digest",
                format!("{text:?} is not sha256: and 64 lower-case hex digits"),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn from_hash(hash: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(hash)))
    }

    pub(crate) fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u32,
    media_type: Option<String>,
    pub(crate) config: Option<Descriptor>,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
    manifests: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    media_type: String,
    pub(crate) digest: String,
}

#[derive(Deserialize)]
pub(crate) struct ConfigFile {
    architecture: String,
    os: String,
    config: Option<ImageConfig>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

impl Manifest {
    pub(crate) fn parse(digest: &Digest, text: &[u8]) -> Result<Self> {
        let fail = |why: String| Error::Blob { digest: digest.as_str().to_owned(), why };
        let manifest: Self = serde_json::from_slice(text)
            .map_err(|error| fail(format!("it is no image manifest: {error}")))?;
        if manifest.manifests.is_some() {
            return Err(fail(
                "it is an index of several images; give the digest of the one for this platform".into(),
            ));
        }
        if manifest.schema_version != 2 {
            return Err(fail(format!(
                "manifest of schema version {}; version 2 is supported",
                manifest.schema_version
            )));
        }
        if let Some(kind) = manifest.media_type.as_deref().filter(|kind| !MANIFEST_TYPES.contains(kind)) {
            return Err(fail(format!("media type {kind} is not that of an image manifest")));
        }
        for layer in &manifest.layers {
            if !LAYER_TYPES.contains(&layer.media_type.as_str()) {
                return Err(fail(format!("layers of media type {} are not supported", layer.media_type)));
            }
        }
        Ok(manifest)
    }
}

const MANIFEST_TYPES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

const LAYER_TYPES: [&str; 5] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];

impl Image {
    pub(crate) fn new(manifest: &Manifest, config_digest: &Digest, config: &[u8]) -> Result<Self> {
        let fail = |why: String| Error::Blob { digest: config_digest.as_str().to_owned(), why };
        let config: ConfigFile = serde_json::from_slice(config)
            .map_err(|error| fail(format!("it is no image configuration: {error}")))?;
        if config.os != "linux" || config.architecture != host_architecture() {
            return Err(fail(format!(
                "the image is for {}/{}, this machine is linux/{}: build it for this platform",
                config.os,
                config.architecture,
                host_architecture()
            )));
        }
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(fail(format!(
                "the manifest has {} layers, the configuration {}",
                manifest.layers.len(),
                config.rootfs.diff_ids.len()
            )));
        }
        let layers = manifest.layers.iter().zip(&config.rootfs.diff_ids).map(|(layer, diff_id)| {
            Ok(Layer { digest: Digest::parse(&layer.digest)?, diff_id: Digest::parse(diff_id)? })
        });
        Ok(Self { layers: layers.collect::<Result<_>>()?, config: config.config.unwrap_or_default() })
    }
}

/// This machine's architecture in the words of Go, which are OCI's.
fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::from_hash(&[7; 32])
    }

    fn manifest(text: &str) -> Result<Manifest> {
        Manifest::parse(&digest(), text.as_bytes())
    }

    fn image(config: &str) -> Result<Image> {
        let layers = format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":1}}"#,
            digest().as_str()
        );
        let manifest =
            manifest(&format!(r#"{{"schemaVersion":2,"config":null,"layers":[{layers}]}}"#)).unwrap();
        Image::new(&manifest, &digest(), config.as_bytes())
    }

    #[test]
    fn reads_the_docker_form() {
        let config = format!(
            r#"{{"architecture":"{}","os":"linux","config":{{"User":"node","Env":["A=1"],"Entrypoint":null,
                "Cmd":["node","app.js"],"WorkingDir":"/app","ExposedPorts":{{"3000/tcp":{{}}}}}},
                "rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            host_architecture(),
            digest().as_str()
        );
        let image = image(&config).unwrap();
        assert_eq!(image.config.user.as_deref(), Some("node"));
        assert_eq!(image.config.cmd, Some(vec!["node".into(), "app.js".into()]));
        assert_eq!(image.layers[0].dir_name(), "07".repeat(16));
    }

    #[test]
    fn refuses_what_it_cannot_run() {
        let text = |error: Error| error.to_string();
        assert!(text(manifest(r#"{"schemaVersion":2,"manifests":[]}"#).err().unwrap()).contains("index"));
        assert!(text(manifest(r#"{"schemaVersion":1}"#).err().unwrap()).contains("version 1"));
        assert!(text(manifest("{").err().unwrap()).contains("no image manifest"));
        let odd =
            r#"{"schemaVersion":2,"layers":[{"mediaType":"x/encrypted","digest":"sha256:0","size":1}]}"#;
        assert!(text(manifest(odd).err().unwrap()).contains("x/encrypted"));
        let foreign = r#"{"architecture":"s390x","os":"linux","rootfs":{"diff_ids":[]}}"#;
        assert!(text(image(foreign).unwrap_err()).contains("linux/s390x"));
    }

    #[test]
    fn digests_are_exact() {
        Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        for bad in ["sha256:", "sha512:00", "../../etc/passwd", &format!("sha256:{}", "A".repeat(64))] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }
}
