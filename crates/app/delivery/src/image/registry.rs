//! Where base images come from: an OCI image layout on this host, or a registry.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde_json::Value;

use super::ImageError;
use super::base::{Descriptor, Manifest, choose};
use super::blobs::path_in;
use super::foundation::Arch;

const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// Between two pieces of an answer.
const READ_LIMIT: Duration = Duration::from_secs(60);
const NAME_HINT: &str =
    "images are named as docker.io/library/node:24-slim, or oci:DIRECTORY for a layout on this host";
const REACH_HINT: &str =
    "is the name right, and may the image be pulled without a login? (logins are not supported)";
const LAYOUT_HINT: &str = "make a layout with, for example, `skopeo copy docker://IMAGE oci:DIRECTORY`";

/// Gives an image's manifest and blobs. Blobs are verified by who asks for them.
pub(super) enum Origin {
    Layout { name: String, dir: PathBuf, arch: Arch },
    Registry { name: String, reference: Reference, arch: Arch },
}

impl Origin {
    pub(super) fn open(name: &str, arch: Arch) -> Result<Self, ImageError> {
        let owned = name.to_owned();
        if let Some(dir) = name.strip_prefix("oci:") {
            return Ok(Self::Layout { name: owned, dir: dir.into(), arch });
        }
        match name.parse() {
            Ok(reference) => Ok(Self::Registry { name: owned, reference, arch }),
            Err(error) => Err(unusable(name, error, NAME_HINT)),
        }
    }

    pub(super) fn manifest(&self) -> Result<Manifest, ImageError> {
        let (name, found, hint) = match self {
            Self::Layout { name, dir, arch } => (name, layout_manifest(dir, *arch), LAYOUT_HINT),
            Self::Registry { name, reference, arch } => {
                (name, registry_manifest(reference, *arch), REACH_HINT)
            }
        };
        found.map_err(|problem| unusable(name, problem, hint))
    }

    pub(super) fn blob(&self, descriptor: &Descriptor, out: &mut (dyn Write + Send)) -> io::Result<()> {
        match self {
            Self::Layout { dir, .. } => {
                io::copy(&mut File::open(path_in(dir, &descriptor.digest))?, out).map(drop)
            }
            Self::Registry { reference, .. } => block_on(registry_blob(reference, descriptor, out))?,
        }
    }
}

fn unusable(image: &str, problem: impl ToString, hint: &'static str) -> ImageError {
    ImageError::Base { image: image.to_owned(), problem: problem.to_string(), hint }
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// The only image of the layout, or the one for this architecture.
fn layout_manifest(dir: &Path, arch: Arch) -> Result<Manifest, Problem> {
    let read = |path: PathBuf| -> Result<Value, Problem> {
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    let mut document = read(dir.join("index.json"))?;
    // An index may name another index: one for each architecture.
    for _ in 0..3 {
        if document.get("manifests").is_none() {
            return Ok(serde_json::from_value(document)?);
        }
        let chosen =
            choose(&document, arch).ok_or_else(|| format!("it has no image for {}", arch.in_oci()))?;
        document = read(path_in(dir, &chosen.digest))?;
    }
    Err("its index leads nowhere".into())
}

fn registry_manifest(reference: &Reference, arch: Arch) -> Result<Manifest, Problem> {
    let pulled = block_on(async {
        let (manifest, _digest) =
            client(reference, arch).pull_image_manifest(reference, &RegistryAuth::Anonymous).await?;
        Ok::<_, Problem>(serde_json::to_value(manifest)?)
    })?;
    Ok(serde_json::from_value(pulled?)?)
}

async fn registry_blob(
    reference: &Reference,
    descriptor: &Descriptor,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    let client = client(reference, Arch::X86_64);
    client.store_auth_if_needed(reference.resolve_registry(), &RegistryAuth::Anonymous).await;
    let stream = client.pull_blob_stream(reference, descriptor.digest.as_str()).await;
    let mut stream = stream.map_err(io::Error::other)?.stream;
    while let Some(bytes) = stream.next().await {
        out.write_all(&bytes?)?;
    }
    Ok(())
}

fn client(reference: &Reference, arch: Arch) -> Client {
    // The crate is built without a choice of cryptography; the first to choose decides for all, and
    // that it was chosen before is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let registry = reference.resolve_registry();
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    // As Docker does: a registry on this host needs no certificate.
    let on_this_host = host == "localhost" || host.starts_with("127.");
    Client::new(ClientConfig {
        protocol: if on_this_host { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(CONNECT_LIMIT),
        read_timeout: Some(READ_LIMIT),
        platform_resolver: Some(Box::new(move |entries| {
            let index = serde_json::json!({ "manifests": entries });
            choose(&index, arch).map(|descriptor| descriptor.digest)
        })),
        ..ClientConfig::default()
    })
}

/// Runs to the end on a thread of its own, so that it works wherever the builder is called from.
fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(future))
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
