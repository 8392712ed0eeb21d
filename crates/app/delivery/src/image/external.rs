//! Another builder for what the built-in one does not do: buildah, podman or docker, whichever is there. What it makes
//! is taken into the cache as an OCI image layout, so that everything after a build is the same.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_core::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::base::{Descriptor, Manifest};
use super::blobs::{Blob, path_in};
use super::process::{command, run};
use super::{BuiltImage, ImageBuilder, ImageError, LayerDescriptor, OnProgress, Progress, Stage, config};

/// Base images come over the network, and compilers take their time.
const LIMIT: Duration = Duration::from_secs(3600);
const REMEDY: &str = "install it, or write the Dockerfile so that the built-in builder can do it";
/// The image's name in the tool's own store, while it is there.
const NAME: &str = "localhost/pileus-build";

/// A program that builds images from Dockerfiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Buildah,
    Podman,
    Docker,
}

impl Tool {
    /// The first that is on this host.
    pub fn find() -> Option<Self> {
        [Self::Buildah, Self::Podman, Self::Docker].into_iter().find(|tool| on_path(tool.name()))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Buildah => "buildah",
            Self::Podman => "podman",
            Self::Docker => "docker",
        }
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// How base images of an engine's registry are had.
#[derive(Clone, Debug)]
pub struct RegistryAccess {
    /// Host and port of the engine.
    pub address: String,
    /// Of `GetAuthorizationToken`.
    pub token: Secret,
}

#[derive(Clone, Debug)]
pub struct ExternalRequest {
    pub context_dir: PathBuf,
    pub file: PathBuf,
    /// The image's names in the layout: `name:tag`.
    pub references: Vec<String>,
    /// Needed where the Dockerfile names images of ECR.
    pub registry: Option<RegistryAccess>,
}

impl ExternalRequest {
    /// The registries of ECR that a Dockerfile takes images from.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn registries(file: &Path) -> Result<Vec<String>, ImageError> {
        let text = fs::read_to_string(file).map_err(ImageError::io("read", file))?;
        let words = text.split_whitespace().map(|word| word.trim_start_matches("--from="));
        let hosts = words.filter_map(|word| word.split_once('/').map(|(host, _)| host));
        let mut hosts: Vec<String> = hosts
            .filter(|host| {
                host.contains(".dkr.ecr.")
                    && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c))
            })
            .map(str::to_owned)
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        Ok(hosts)
    }
}

impl ImageBuilder {
    /// Builds with another builder and takes the image into the cache.
    ///
    /// # Errors
    /// What the tool complained of, or its image cannot be read.
    pub fn build_external(
        &self,
        tool: Tool,
        request: &ExternalRequest,
        progress: OnProgress,
    ) -> Result<BuiltImage, ImageError> {
        let temp = self.temp_dir()?;
        let name = format!("{NAME}-{}", std::process::id());
        progress(Progress::Started(Stage::App));
        progress(Progress::Doing(Stage::App, format!("{} build", tool.name())));
        let settings = settings(temp.path(), request)?;
        let mut build = tool_command(tool, &request.context_dir, &settings);
        build.arg("build");
        if tool != Tool::Docker {
            build.args(["--format", "oci"]);
        }
        if tool == Tool::Buildah && !["crun", "runc"].into_iter().any(on_path) {
            build.args(["--isolation", "chroot"]);
        }
        build.args(["--tag", &name, "--file"]).arg(absolute(&request.file)?).arg(".");
        run(&mut build, LIMIT, REMEDY)?;
        let layout = temp.path().join("layout");
        let exported = export(tool, &name, &layout, temp.path(), &settings);
        let mut remove = tool_command(tool, &request.context_dir, &settings);
        remove.args(["rmi", &name]);
        // The name alone goes; what other images share with it stays in the tool's store.
        let removed = run(&mut remove, LIMIT, REMEDY);
        exported?;
        removed?;
        let _lock = self.records.lock()?;
        let image = self.adopt(&layout, tool, &request.references)?;
        let size = image.layers.iter().map(|layer| layer.size).sum();
        progress(Progress::Finished { stage: Stage::App, cached: false, size });
        Ok(image)
    }

    /// Takes the image of a layout into the cache.
    fn adopt(&self, layout: &Path, tool: Tool, references: &[String]) -> Result<BuiltImage, ImageError> {
        let unreadable = |detail: String| ImageError::ToolOutput {
            tool: tool.name(),
            detail: format!("its image: {detail}"),
        };
        let index: Value = read_json(&layout.join("index.json")).map_err(unreadable)?;
        let descriptor: Descriptor = serde_json::from_value(index["manifests"][0].clone())
            .map_err(|error| unreadable(error.to_string()))?;
        let manifest: Manifest = read_json(&path_in(layout, &descriptor.digest)).map_err(unreadable)?;
        let config: Config = read_json(&path_in(layout, &manifest.config.digest)).map_err(unreadable)?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(unreadable("manifest and configuration differ in the number of layers".into()));
        }
        for blob in manifest.layers.iter().chain([&manifest.config, &descriptor]) {
            self.adopt_blob(layout, blob)?;
        }
        let layers =
            manifest.layers.iter().zip(config.rootfs.diff_ids).map(|(layer, diff_id)| LayerDescriptor {
                media_type: layer.media_type.clone(),
                digest: layer.digest.clone(),
                size: layer.size,
                diff_id,
            });
        let manifest_blob = Blob { digest: descriptor.digest.clone(), size: descriptor.size };
        config::update_index(&self.blobs, &manifest_blob, references)?;
        Ok(BuiltImage {
            manifest_digest: descriptor.digest,
            config_digest: manifest.config.digest.clone(),
            layers: layers.collect(),
            layout_dir: self.cache_dir.clone(),
            node_version: None,
        })
    }

    fn adopt_blob(&self, layout: &Path, blob: &Descriptor) -> Result<(), ImageError> {
        if self.blobs.has(&blob.digest, blob.size) {
            return Ok(());
        }
        let path = path_in(layout, &blob.digest);
        let mut file = fs::File::open(&path).map_err(ImageError::io("open", &path))?;
        let stored = self.blobs.write(|out| std::io::copy(&mut file, out).map(drop))?;
        if stored.digest == blob.digest {
            return Ok(());
        }
        Err(ImageError::Integrity { path, expected: blob.digest.clone(), found: stored.digest })
    }
}

/// An image's configuration, as far as the layers go.
#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn absolute(path: &Path) -> Result<PathBuf, ImageError> {
    fs::canonicalize(path).map_err(ImageError::io("find", path))
}

/// Environment variables for a tool of the containers family, and the files behind them.
type Settings = Vec<(&'static str, PathBuf)>;

/// Leads ECR's names to the engine, for this build alone.
fn settings(temp: &Path, request: &ExternalRequest) -> Result<Settings, ImageError> {
    let Some(access) = &request.registry else { return Ok(Vec::new()) };
    let mut registries = String::from("unqualified-search-registries = [\"docker.io\"]\n");
    let mut auths = serde_json::Map::new();
    // What tools sign in with is `AWS:<password>`, which the token is the base64 of.
    let auth = json!({ "auth": access.token.reveal() });
    debug_assert!(STANDARD.decode(access.token.reveal()).is_ok(), "a token is base64");
    for name in ExternalRequest::registries(&request.file)? {
        registries.push_str(&format!(
            "[[registry]]\nprefix = \"{name}\"\nlocation = \"{}\"\ninsecure = true\n",
            access.address
        ));
        auths.insert(name, auth.clone());
    }
    auths.insert(access.address.clone(), auth);
    let (conf, auth) = (temp.join("registries.conf"), temp.join("auth.json"));
    write_private(&conf, registries.as_bytes())?;
    write_private(&auth, json!({ "auths": auths }).to_string().as_bytes())?;
    Ok(vec![("CONTAINERS_REGISTRIES_CONF", conf), ("REGISTRY_AUTH_FILE", auth)])
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        std::io::Write::write_all(&mut file, bytes)
    };
    write().map_err(ImageError::io("write", path))
}

fn tool_command(tool: Tool, dir: &Path, settings: &Settings) -> Command {
    let mut command = command(tool.name(), dir);
    command.envs(settings.iter().map(|(name, path)| (*name, path.as_os_str())));
    command
}

/// Writes the tool's image to an OCI image layout.
fn export(tool: Tool, name: &str, layout: &Path, temp: &Path, settings: &Settings) -> Result<(), ImageError> {
    let mut export = tool_command(tool, temp, settings);
    if tool != Tool::Docker {
        export.args(["push", "--format", "oci", name]).arg(format!("oci:{}:build", layout.display()));
        return run(&mut export, LIMIT, REMEDY).map(drop);
    }
    // Archives of Docker 25 and later are layouts too.
    let archive = temp.join("image.tar");
    export.args(["save", name, "--output"]).arg(&archive);
    run(&mut export, LIMIT, REMEDY)?;
    let file = fs::File::open(&archive).map_err(ImageError::io("open", &archive))?;
    tar::Archive::new(file).unpack(layout).map_err(ImageError::io("unpack", &archive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_of_ecr_are_found_in_a_dockerfile() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("Dockerfile");
        let host = "000000000000.dkr.ecr.us-east-1.amazonaws.com";
        fs::write(&file, format!("FROM {host}/a:1 AS a\nFROM node\nCOPY --from={host}/b /x /y\n")).unwrap();
        assert_eq!(ExternalRequest::registries(&file).unwrap(), [host]);
        let access = RegistryAccess { address: "127.0.0.1:4566".into(), token: Secret::new("QVdTOng=") };
        let request = ExternalRequest {
            context_dir: dir.path().into(),
            file,
            references: Vec::new(),
            registry: Some(access),
        };
        let settings = settings(dir.path(), &request).unwrap();
        let conf = fs::read_to_string(&settings[0].1).unwrap();
        assert!(conf.contains(&format!("prefix = \"{host}\"\nlocation = \"127.0.0.1:4566\"")), "{conf}");
        let auth: Value = serde_json::from_slice(&fs::read(&settings[1].1).unwrap()).unwrap();
        assert_eq!(auth["auths"][host]["auth"], "QVdTOng=");
    }
}
