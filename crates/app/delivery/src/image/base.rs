//! A base image that the user names: its layers, verified and looked through once, then kept. The
//! app starts with the Node that the image has; the image's own entry point is not used.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::blobs::{HashWriter, path_in};
use super::foundation::{Arch, Foundation, Libc};
use super::registry::Origin;
use super::{ImageBuilder, ImageError, LayerDescriptor, OnProgress, Progress, Stage, records};

/// Part of every key: to be changed when the same input shall give another foundation.
const FORMAT: &[u8] = b"base/1";
const USER: &str = "1000:1000";
/// No base image has more, compressed or not.
const MAX_LAYER: u64 = 8 << 30;
const MAX_CONFIG: u64 = 4 << 20;

/// A blob as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// An image's configuration, as far as it matters for what is built on it.
#[derive(Debug, Deserialize)]
struct Config {
    architecture: String,
    os: String,
    #[serde(default)]
    config: Option<RunConfig>,
    rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RunConfig {
    env: Option<Vec<String>>,
    user: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

pub(super) fn foundation(
    builder: &ImageBuilder,
    image: &str,
    refresh: bool,
    progress: OnProgress,
) -> Result<Foundation, ImageError> {
    progress(Progress::Started(Stage::Runtime));
    let arch = Arch::of_host()?;
    let key = records::key(&[FORMAT, arch.in_oci().as_bytes(), image.as_bytes()]);
    let known: Option<Foundation> = builder.records.get("base", &key);
    let known = known.filter(|known| !refresh && known.layers.iter().all(|layer| builder.has_layer(layer)));
    let cached = known.is_some();
    let foundation = match known {
        Some(known) => known,
        None => {
            progress(Progress::Doing(Stage::Runtime, format!("fetching {image}")));
            let fetched = Pull { builder, image, origin: Origin::open(image, arch)? }.foundation(arch)?;
            builder.records.put("base", &key, &fetched)?;
            fetched
        }
    };
    let size = foundation.layers.iter().map(|layer| layer.size).sum();
    progress(Progress::Finished { stage: Stage::Runtime, cached, size });
    Ok(foundation)
}

struct Pull<'a> {
    builder: &'a ImageBuilder,
    image: &'a str,
    origin: Origin,
}

impl Pull<'_> {
    fn foundation(&self, arch: Arch) -> Result<Foundation, ImageError> {
        let manifest = self.origin.manifest()?;
        let config = self.config(&manifest.config, arch)?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(self.unusable("its manifest and its configuration differ in the number of layers"));
        }
        let mut seen = Seen::default();
        let layers: Result<Vec<_>, _> = manifest
            .layers
            .iter()
            .zip(diff_ids)
            .map(|(layer, diff_id)| self.layer(layer, diff_id, &mut seen))
            .collect();
        let run = config.config.unwrap_or_default();
        let env = run.env.unwrap_or_default();
        let node_path =
            seen.node(&env).ok_or_else(|| self.unusable("it has no node in any directory named bin"))?;
        let node_version =
            env.iter().find_map(|variable| variable.strip_prefix("NODE_VERSION=")).map(str::to_owned);
        Ok(Foundation {
            arch,
            libc: if seen.musl { Libc::Musl } else { Libc::Glibc },
            layers: layers?,
            env,
            node_path,
            node_version,
            user: run.user.filter(|user| !is_root(user)).unwrap_or_else(|| USER.to_owned()),
            node: None,
        })
    }

    fn config(&self, descriptor: &Descriptor, arch: Arch) -> Result<Config, ImageError> {
        if descriptor.size > MAX_CONFIG {
            return Err(self.unusable("its configuration is too large"));
        }
        let path = self.fetch(descriptor)?;
        let bytes = std::fs::read(&path).map_err(ImageError::io("read", &path))?;
        let config: Config = serde_json::from_slice(&bytes)
            .map_err(|error| self.unusable(format!("its configuration: {error}")))?;
        if (config.os.as_str(), config.architecture.as_str()) != ("linux", arch.in_oci()) {
            let found =
                format!("it is for {}/{}, not linux/{}", config.os, config.architecture, arch.in_oci());
            return Err(self.unusable(found));
        }
        Ok(config)
    }

    /// Fetches a layer, proves that it holds what the configuration says, and looks through it.
    fn layer(
        &self,
        descriptor: &Descriptor,
        diff_id: &str,
        seen: &mut Seen,
    ) -> Result<LayerDescriptor, ImageError> {
        let compression = Compression::of(&descriptor.media_type)
            .ok_or_else(|| self.unusable(format!("it has a layer of type {}", descriptor.media_type)))?;
        let path = self.fetch(descriptor)?;
        let found = seen.look_through(&path, compression).map_err(ImageError::io("unpack", &path))?;
        if found != diff_id {
            return Err(ImageError::Integrity { path, expected: diff_id.to_owned(), found });
        }
        Ok(LayerDescriptor {
            media_type: compression.media_type().to_owned(),
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            diff_id: found,
        })
    }

    /// Makes sure that the blob is in the store, verified.
    fn fetch(&self, descriptor: &Descriptor) -> Result<std::path::PathBuf, ImageError> {
        let path = path_in(self.builder.blobs.root(), &descriptor.digest);
        if self.builder.blobs.has(&descriptor.digest, descriptor.size) {
            return Ok(path);
        }
        if descriptor.size > MAX_LAYER {
            return Err(self.unusable(format!("it has a layer of {} bytes", descriptor.size)));
        }
        let blob = self.builder.blobs.write(|out| {
            let mut out = Bounded { inner: out, left: descriptor.size };
            self.origin.blob(descriptor, &mut out)
        })?;
        if blob.digest == descriptor.digest {
            return Ok(path);
        }
        Err(ImageError::Integrity { path, expected: descriptor.digest.clone(), found: blob.digest })
    }

    fn unusable(&self, problem: impl Into<String>) -> ImageError {
        ImageError::Base {
            image: self.image.to_owned(),
            problem: problem.into(),
            hint: "name an image with Node.js for Linux, such as docker.io/library/node:24-slim",
        }
    }
}

fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    matches!(name, "" | "0" | "root")
}

/// Refuses what goes beyond the size that a manifest promised.
struct Bounded<W> {
    inner: W,
    left: u64,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = (self.left.checked_sub(bytes.len() as u64))
            .ok_or_else(|| io::Error::other("the blob is larger than the manifest says"))?;
        self.inner.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Docker's types mean the same as those of OCI.
    fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Some(Self::None)
            }
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(Self::Gzip),
            "application/vnd.oci.image.layer.v1.tar+zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// What matters in the file system of an image.
#[derive(Debug, Default)]
struct Seen {
    musl: bool,
    /// Every `bin/node`, as absolute paths.
    nodes: Vec<String>,
}

impl Seen {
    /// Returns the diff id of the layer.
    fn look_through(&mut self, path: &Path, compression: Compression) -> io::Result<String> {
        let file = io::BufReader::new(File::open(path)?);
        let plain: Box<dyn Read> = match compression {
            Compression::None => Box::new(file),
            // Layers may be several gzip members.
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Compression::Zstd => Box::new(zstd::Decoder::with_buffer(file)?),
        };
        let mut hash = HashWriter::new(io::sink());
        let mut tee = Tee { from: plain.take(MAX_LAYER), to: &mut hash };
        let mut archive = tar::Archive::new(&mut tee);
        for entry in archive.entries()? {
            self.entry(&entry?.path()?.to_string_lossy());
        }
        // The hash covers what follows the last entry too.
        io::copy(&mut tee, &mut io::sink())?;
        Ok(hash.into_parts().1)
    }

    fn entry(&mut self, path: &str) {
        let path = path.trim_start_matches("./").trim_start_matches('/');
        self.musl |= path.starts_with("lib/ld-musl-") || path.starts_with("usr/lib/ld-musl-");
        if path.ends_with("bin/node") {
            self.nodes.push(format!("/{path}"));
        }
    }

    /// The node that the image's PATH finds, else any.
    fn node(&self, env: &[String]) -> Option<String> {
        let path = env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default();
        let in_path = path.split(':').map(|dir| format!("{dir}/node")).find(|node| self.nodes.contains(node));
        in_path.or_else(|| self.nodes.first().cloned())
    }
}

struct Tee<'a, R, W> {
    from: R,
    to: &'a mut W,
}

impl<R: Read, W: Write> Read for Tee<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.from.read(buffer)?;
        self.to.write_all(&buffer[..got])?;
        Ok(got)
    }
}

/// Finds the manifest for an architecture in an index.
pub(super) fn choose(index: &Value, arch: Arch) -> Option<Descriptor> {
    let entries = index["manifests"].as_array()?;
    let fits = |entry: &&Value| {
        let platform = &entry["platform"];
        // An index with a single image often names no platform.
        platform.is_null() || (platform["os"] == "linux" && platform["architecture"] == arch.in_oci())
    };
    serde_json::from_value(entries.iter().find(fits)?.clone()).ok()
}
