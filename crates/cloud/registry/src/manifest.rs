//! Image manifests and indexes, OCI's and Docker's.
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md>

use serde::{Deserialize, Serialize};

/// AWS's and most registries' limit on a manifest's size in bytes.
pub(crate) const MAX_MANIFEST: usize = 4 << 20;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What a registry needs to know of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    /// What the image is, where it is not a container image.
    pub(crate) artifact_type: Option<String>,
    /// The digest of the manifest that this one refers to, as a signature does.
    #[serde(default)]
    pub(crate) subject: Option<String>,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// The configuration and the layers of one image.
    Image { config: Descriptor, layers: Vec<Descriptor> },
    /// Images for several platforms.
    Index(Vec<Descriptor>),
}

/// A blob or manifest that a manifest refers to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("the manifest is larger than {MAX_MANIFEST} bytes")]
    TooLarge,
    #[error("the manifest is not UTF-8: {0}")]
    Text(#[from] std::str::Utf8Error),
    #[error("the manifest is not valid JSON of its kind: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the manifest says that it is {inside}, and the request that it is {outside}")]
    Contradiction { inside: String, outside: String },
    #[error("manifests of the media type {0} are not accepted")]
    Unsupported(String),
    #[error("{0} is not a sha256 digest")]
    Digest(String),
}

/// The document as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    subject: Option<Descriptor>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// Parses a manifest; `media_type` is what the request says that it is.
pub(crate) fn parse(text: &str, media_type: Option<&str>) -> Result<Manifest, ManifestError> {
    if text.len() > MAX_MANIFEST {
        return Err(ManifestError::TooLarge);
    }
    let document: Document = serde_json::from_str(text)?;
    let media_type = match (document.media_type, media_type) {
        (Some(inside), Some(outside)) if inside != outside => {
            return Err(ManifestError::Contradiction { inside, outside: outside.to_owned() });
        }
        (Some(inside), _) => inside,
        (None, Some(outside)) => outside.to_owned(),
        (None, None) if document.schema_version != 2 => {
            "application/vnd.docker.distribution.manifest.v1+json".into()
        }
        (None, None) if document.manifests.is_some() => OCI_INDEX.to_owned(),
        (None, None) => OCI_MANIFEST.to_owned(),
    };
    let missing = |member| ManifestError::Json(serde::de::Error::missing_field(member));
    let content = match media_type.as_str() {
        OCI_MANIFEST | DOCKER_MANIFEST => Content::Image {
            config: document.config.ok_or_else(|| missing("config"))?,
            layers: document.layers.ok_or_else(|| missing("layers"))?,
        },
        OCI_INDEX | DOCKER_LIST => Content::Index(document.manifests.ok_or_else(|| missing("manifests"))?),
        _ => return Err(ManifestError::Unsupported(media_type)),
    };
    let subject = document.subject.map(|subject| subject.digest);
    let manifest = Manifest { media_type, artifact_type: document.artifact_type, subject, content };
    let digests =
        manifest.descriptors().map(|descriptor| &descriptor.digest).chain(manifest.subject.as_ref());
    let bad = digests.into_iter().find(|digest| !is_digest(digest)).cloned();
    if let Some(bad) = bad {
        return Err(ManifestError::Digest(bad));
    }
    Ok(manifest)
}

impl Manifest {
    fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, rest) = match &self.content {
            Content::Image { config, layers } => (Some(config), layers),
            Content::Index(manifests) => (None, manifests),
        };
        config.into_iter().chain(rest)
    }

    /// The blobs that the repository must have: all but layers that are not to be distributed.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let image = matches!(self.content, Content::Image { .. });
        let foreign = |blob: &Descriptor| {
            blob.media_type.contains(".foreign.") || blob.media_type.contains(".nondistributable.")
        };
        self.descriptors().filter(move |blob| image && !foreign(blob))
    }

    /// The manifests that an index refers to.
    pub(crate) fn manifests(&self) -> &[Descriptor] {
        match &self.content {
            Content::Image { .. } => &[],
            Content::Index(manifests) => manifests,
        }
    }

    /// The media type of what the image is: its artifact type, or that of its configuration.
    pub(crate) fn artifact_media_type(&self) -> Option<String> {
        match &self.content {
            Content::Image { config, .. } => {
                self.artifact_type.clone().or_else(|| Some(config.media_type.clone()))
            }
            Content::Index(_) => self.artifact_type.clone(),
        }
    }
}

/// `sha256:` and 64 hexadecimal digits.
pub(crate) fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(kind: &str) -> String {
        format!(r#"{{"mediaType":"{kind}","digest":"sha256:{}","size":3}}"#, "a".repeat(64))
    }

    #[test]
    fn both_families_are_read() {
        let (config, layer) = (descriptor("c"), descriptor("l"));
        let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
        let image = parse(&text, None).unwrap();
        assert_eq!((image.media_type.as_str(), image.blobs().count()), (OCI_MANIFEST, 2));
        assert_eq!(parse(&text, Some(DOCKER_MANIFEST)).unwrap().media_type, DOCKER_MANIFEST);
        let text = format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_LIST}","manifests":[{layer}]}}"#);
        let index = parse(&text, None).unwrap();
        assert_eq!((index.blobs().count(), index.manifests().len()), (0, 1));
    }

    #[test]
    fn foreign_layers_need_not_be_there() {
        let layer = descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        let text = format!(r#"{{"schemaVersion":2,"config":{},"layers":[{layer}]}}"#, descriptor("c"));
        assert_eq!(parse(&text, None).unwrap().blobs().count(), 1);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let config = descriptor("c");
        for (text, media_type) in [
            ("", None),
            ("{}", None),
            (r#"{"schemaVersion":1}"#, None),
            (r#"{"schemaVersion":2}"#, None),
            (r#"{"schemaVersion":2,"mediaType":"text/plain"}"#, None),
            (
                &format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#),
                Some(OCI_MANIFEST),
            ),
            (
                &format!(
                    r#"{{"schemaVersion":2,"config":{config},"layers":[{{"digest":"../x","size":1}}]}}"#
                ),
                None,
            ),
            (
                &format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{{"digest":"x","size":-1}}]}}"#),
                None,
            ),
        ] {
            assert!(parse(text, media_type).is_err(), "{text}");
        }
        assert!(matches!(parse(&" ".repeat(MAX_MANIFEST + 1), None), Err(ManifestError::TooLarge)));
    }
}
