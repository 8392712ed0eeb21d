//! The built-in image builder: from a directory with a Node.js app to an OCI image, without Docker
//! and without any registry beyond the package registries (npm and Debian).
//!
//! An image has up to three layers, each made only when its own input changed:
//! 1. **runtime**: Node and what it needs of Debian ([`runtime`]), or an image that the user names
//!    ([`base`]); what was found is pinned in the cache, so the same app gives the same image until
//!    a refresh is asked for;
//! 2. **dependencies**: what the lock file names, by `npm ci` ([`dependencies`]);
//! 3. **app**: the directory itself, less what `.dockerignore` names ([`context`]).
//!
//! Same input, same digest, to the byte: entries are sorted, times are 0, owners and modes are
//! fixed, the compressor is pure Rust and pinned. The result is an OCI image layout
//! (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>) in the cache directory.

mod base;
mod blobs;
mod catalog;
mod config;
mod context;
mod debian;
mod dependencies;
mod dockerfile;
mod dockerignore;
mod error;
mod external;
mod foundation;
mod layer;
mod npm;
mod package_json;
mod process;
mod records;
mod registry;
mod runtime;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use blobs::BlobStore;
pub use catalog::CatalogEntry;
pub use dockerfile::{Beyond, DockerfileRequest};
pub use error::ImageError;
pub use external::{ExternalRequest, RegistryAccess, Tool};
use foundation::Foundation;
use package_json::PackageJson;
use records::Records;

/// What an image starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Base {
    /// Node from the npm registry on Debian's C and C++ libraries.
    #[default]
    Builtin,
    /// An OCI image with Node that the user names: `docker.io/library/node:24-slim` of a registry,
    /// or `oci:DIRECTORY` for an OCI image layout on this host.
    Image(String),
}

/// All that decides an image.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The app: where `package.json` is.
    pub context_dir: PathBuf,
    /// Name under which the layout lists the image (`name:tag`).
    pub name: String,
    /// Tags, usually the git SHA and `latest`. They are names for the image and no part of it.
    pub tags: Vec<String>,
    pub base: Base,
    /// A version range of Node; without one `engines.node` of `package.json` decides.
    pub node: Option<String>,
    /// The port that the image declares to expose.
    pub port: u16,
    /// Labels of the image's configuration, beside title and version. They are part of the image: a
    /// label that changes with each build makes each build a new image.
    pub labels: BTreeMap<String, String>,
    /// Run the install scripts of dependencies, on this host and as the user who builds. Off by
    /// default: those scripts are other people's code. Images that need them may not be reproducible.
    pub install_scripts: bool,
    /// Look for newer versions of Node and of Debian's packages instead of using the pinned ones.
    pub refresh: bool,
}

impl BuildRequest {
    /// The request for the defaults of the reference architecture.
    pub fn new(context_dir: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self {
            context_dir: context_dir.into(),
            name: name.into(),
            tags: vec!["latest".into()],
            base: Base::Builtin,
            node: None,
            port: 3000,
            labels: BTreeMap::new(),
            install_scripts: false,
            refresh: false,
        }
    }
}

/// A layer as an image manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerDescriptor {
    pub media_type: String,
    /// `sha256:<hex>` of the blob (compressed).
    pub digest: String,
    /// Bytes of the blob.
    pub size: u64,
    /// `sha256:<hex>` of the uncompressed tar archive.
    pub diff_id: String,
}

/// A finished image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    pub manifest_digest: String,
    pub config_digest: String,
    /// From the bottom up.
    pub layers: Vec<LayerDescriptor>,
    /// The OCI image layout: every blob is `<layout_dir>/blobs/sha256/<hex>`.
    pub layout_dir: PathBuf,
    /// The version of Node inside, such as `24.1.0`; `None` where a base image does not tell.
    pub node_version: Option<String>,
}

impl BuiltImage {
    /// The file that holds the blob with this digest (`sha256:<hex>`).
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        blobs::path_in(&self.layout_dir, digest)
    }
}

/// The parts of a build, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Runtime,
    Dependencies,
    App,
}

impl Stage {
    /// What the stage makes, for a line of progress.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runtime => "runtime layer",
            Self::Dependencies => "dependency layer",
            Self::App => "app layer",
        }
    }
}

/// What a build reports while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Started(Stage),
    /// What a stage does at the moment.
    Doing(Stage, String),
    /// `cached`: nothing had to be made. `size`: bytes of the compressed layer.
    Finished {
        stage: Stage,
        cached: bool,
        size: u64,
    },
    /// A stage with nothing to do: an app without dependencies.
    Skipped(Stage),
    /// Something a user should know and the build can go on without.
    Warning(String),
}

/// Receives [`Progress`].
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress);

/// Builds images into one cache directory. Builders of several processes may share it: they wait
/// for one another.
#[derive(Debug)]
pub struct ImageBuilder {
    blobs: BlobStore,
    records: Records,
    cache_dir: PathBuf,
}

impl ImageBuilder {
    /// Opens the cache directory, and makes it if there is none.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Result<Self, ImageError> {
        let cache_dir = cache_dir.into();
        Ok(Self { blobs: BlobStore::open(&cache_dir)?, records: Records::open(&cache_dir)?, cache_dir })
    }

    /// Builds the image, or finds that it is built already.
    pub fn build(&self, request: &BuildRequest, progress: OnProgress) -> Result<BuiltImage, ImageError> {
        let _lock = self.records.lock()?;
        let package = PackageJson::read(&request.context_dir)?;
        let start = package.start_command(&request.context_dir)?;
        let foundation = match &request.base {
            Base::Builtin => {
                let range = request.node.as_deref().or(package.node_range());
                runtime::foundation(self, range, request.refresh, progress)?
            }
            Base::Image(image) => base::foundation(self, image, request.refresh, progress)?,
        };
        let mut layers = foundation.layers.clone();
        let wanted = dependencies::Wanted::read(&request.context_dir, &package, request.install_scripts)?;
        layers.extend(dependencies::layer(self, wanted, &foundation, progress)?);
        layers.push(context::layer(self, &request.context_dir, progress)?);
        self.assemble(request, &package, foundation, &start, layers)
    }

    /// The layer that an earlier build recorded, if its blob is still there.
    fn known_layer(&self, kind: &str, key: &str) -> Option<LayerDescriptor> {
        self.records.get(kind, key).filter(|layer| self.has_layer(layer))
    }

    fn has_layer(&self, layer: &LayerDescriptor) -> bool {
        self.blobs.has(&layer.digest, layer.size)
    }

    /// Where packages are kept, by name and version.
    fn downloads(&self) -> Result<PathBuf, ImageError> {
        let dir = self.cache_dir.join("downloads");
        fs::create_dir_all(&dir).map_err(ImageError::io("create", &dir))?;
        Ok(dir)
    }

    /// A directory that goes when the result is dropped.
    fn temp_dir(&self) -> Result<tempfile::TempDir, ImageError> {
        let made = tempfile::Builder::new().prefix("build-").tempdir_in(&self.cache_dir);
        made.map_err(ImageError::io("create a directory in", &self.cache_dir))
    }

    fn assemble(
        &self,
        request: &BuildRequest,
        package: &PackageJson,
        foundation: Foundation,
        start: &[String],
        layers: Vec<LayerDescriptor>,
    ) -> Result<BuiltImage, ImageError> {
        let labels = config::labels(request, package);
        let mut env = foundation.env.clone();
        if !env.iter().any(|variable| variable.starts_with("NODE_ENV=")) {
            env.push("NODE_ENV=production".to_owned());
        }
        let run = config::Run {
            user: foundation.user.clone(),
            ports: &[request.port],
            env,
            entrypoint: std::slice::from_ref(&foundation.node_path),
            cmd: start,
            workdir: format!("/{}", context::APP_DIR),
            labels: &labels,
            stop_signal: "SIGTERM",
        };
        let refs: Vec<String> = request.tags.iter().map(|tag| format!("{}:{tag}", request.name)).collect();
        self.finish(&foundation, &run, layers, &refs)
    }

    /// Writes the documents of an image and makes the references mean it.
    fn finish(
        &self,
        foundation: &Foundation,
        run: &config::Run,
        layers: Vec<LayerDescriptor>,
        references: &[String],
    ) -> Result<BuiltImage, ImageError> {
        let config = self.blobs.put(&config::config(foundation, run, &layers))?;
        let manifest = self.blobs.put(&config::manifest(&config, &layers))?;
        config::update_index(&self.blobs, &manifest, references)?;
        Ok(BuiltImage {
            manifest_digest: manifest.digest,
            config_digest: config.digest,
            layers,
            layout_dir: self.cache_dir.clone(),
            node_version: foundation.node_version.clone(),
        })
    }
}
