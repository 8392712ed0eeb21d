//! The dependency layer: `/app/node_modules` as `npm ci --omit=dev` makes it, in a copy of nothing
//! but what decides it (the dependency fields of `package.json`, the lock file, `.npmrc`).
//!
//! Install scripts do not run unless the app's settings ask for it: they are other people's code,
//! run on the host as whoever builds. The packages that bring one are named in a warning.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::context::{APP_DIR, file_mode, link_target};
use super::foundation::Foundation;
use super::layer::{LayerTree, Source};
use super::package_json::PackageJson;
use super::{ImageBuilder, ImageError, LayerDescriptor, OnProgress, Progress, Stage, npm, records};

/// Part of every key: to be changed when the same input shall give another layer.
const FORMAT: &[u8] = b"dependencies/1";
const LOCK_FILES: [&str; 2] = ["npm-shrinkwrap.json", "package-lock.json"];

/// All that decides the layer.
#[derive(Debug)]
pub(super) struct Wanted {
    manifest: Vec<u8>,
    lock_name: &'static str,
    lock: Vec<u8>,
    npmrc: Option<Vec<u8>>,
    run_scripts: bool,
    /// Names of the packages that bring an install script.
    with_scripts: Vec<String>,
}

impl Wanted {
    /// `None` for an app without dependencies.
    pub(super) fn read(
        context: &Path,
        package: &PackageJson,
        run_scripts: bool,
    ) -> Result<Option<Self>, ImageError> {
        if !package.has_dependencies() {
            return Ok(None);
        }
        let (lock_name, lock) = read_lock(context, package)?;
        let locked = parse_lock(&context.join(lock_name), &lock)?;
        Ok(Some(Self {
            manifest: package.dependency_manifest(),
            lock_name,
            lock,
            npmrc: read_optional(&context.join(".npmrc"))?,
            run_scripts,
            with_scripts: locked.with_scripts(),
        }))
    }

    fn key(&self, foundation: &Foundation) -> String {
        records::key(&[
            FORMAT,
            foundation.arch.in_npm().as_bytes(),
            foundation.libc.to_string().as_bytes(),
            foundation.node_version.as_deref().unwrap_or_default().as_bytes(),
            &self.manifest,
            &self.lock,
            self.npmrc.as_deref().unwrap_or_default(),
            &[u8::from(self.run_scripts)],
        ])
    }
}

pub(super) fn layer(
    builder: &ImageBuilder,
    wanted: Option<Wanted>,
    foundation: &Foundation,
    progress: OnProgress,
) -> Result<Option<LayerDescriptor>, ImageError> {
    let Some(wanted) = wanted else {
        progress(Progress::Skipped(Stage::Dependencies));
        return Ok(None);
    };
    progress(Progress::Started(Stage::Dependencies));
    if !wanted.run_scripts && !wanted.with_scripts.is_empty() {
        progress(Progress::Warning(format!(
            "install scripts did not run: {}. If the app needs what they make, set install_scripts = true in [image] of pileus.toml",
            wanted.with_scripts.join(", ")
        )));
    }
    let key = wanted.key(foundation);
    let known = builder.known_layer("dependencies", &key);
    let cached = known.is_some();
    let layer = match known {
        Some(layer) => layer,
        None => install(builder, &wanted, foundation, progress)?,
    };
    builder.records.put("dependencies", &key, &layer)?;
    progress(Progress::Finished { stage: Stage::Dependencies, cached, size: layer.size });
    Ok(Some(layer))
}

fn install(
    builder: &ImageBuilder,
    wanted: &Wanted,
    foundation: &Foundation,
    progress: OnProgress,
) -> Result<LayerDescriptor, ImageError> {
    let temp = builder.temp_dir()?;
    let app = temp.path().join(APP_DIR);
    fs::create_dir(&app).map_err(ImageError::io("create", &app))?;
    write_private(&app.join("package.json"), &wanted.manifest)?;
    write_private(&app.join(wanted.lock_name), &wanted.lock)?;
    if let Some(npmrc) = &wanted.npmrc {
        write_private(&app.join(".npmrc"), npmrc)?;
    }
    let node =
        if wanted.run_scripts { Some(node_for_scripts(builder, foundation, temp.path())?) } else { None };
    progress(Progress::Doing(Stage::Dependencies, "npm ci --omit=dev".to_owned()));
    npm::ci(&app, foundation.arch, foundation.libc, node.as_deref())?;
    let mut tree = LayerTree::default();
    tree.dir(APP_DIR, 0o755);
    read_modules(&app.join("node_modules"), &format!("{APP_DIR}/node_modules"), &mut tree)?;
    tree.store(&builder.blobs)
}

/// The image's own Node, for install scripts: native add-ons are compiled for the Node they run under.
fn node_for_scripts(
    builder: &ImageBuilder,
    foundation: &Foundation,
    dir: &Path,
) -> Result<PathBuf, ImageError> {
    let Some(release) = &foundation.node else {
        return Err(ImageError::ScriptsOnBase);
    };
    let node = dir.join("node");
    npm::extract_node(&npm::fetch_node(release, &builder.downloads()?)?, &node)?;
    Ok(node)
}

/// The installed tree. Links (`.bin`) stay links.
fn read_modules(dir: &Path, target: &str, tree: &mut LayerTree) -> Result<(), ImageError> {
    let io_error = || ImageError::io("read", dir);
    let entries = match fs::read_dir(dir) {
        // All dependencies were optional, and none fits.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(io_error())?,
    };
    tree.dir(target, 0o755);
    for entry in entries {
        let entry = entry.map_err(io_error())?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(ImageError::input(
                &path,
                "the name is not UTF-8",
                "report it to the package's author",
            ));
        };
        // npm's own note on what it installed, of no use in an image.
        if name == ".package-lock.json" {
            continue;
        }
        let target = format!("{target}/{name}");
        let meta = fs::symlink_metadata(&path).map_err(io_error())?;
        if meta.is_dir() {
            read_modules(&path, &target, tree)?;
        } else if meta.is_symlink() {
            tree.symlink(&target, &link_target(&path)?);
        } else if meta.is_file() {
            tree.file(&target, file_mode(meta.permissions().mode()), Source::File(path, meta.len()));
        }
    }
    Ok(())
}

fn read_lock(context: &Path, package: &PackageJson) -> Result<(&'static str, Vec<u8>), ImageError> {
    for name in LOCK_FILES {
        if let Some(lock) = read_optional(&context.join(name))? {
            return Ok((name, lock));
        }
    }
    let hint = "make one with `npm install --package-lock-only` and commit it";
    Err(ImageError::input(
        package.path(),
        "the app has dependencies but no package-lock.json, so its image would not be reproducible",
        hint,
    ))
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, ImageError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ImageError::io("read", path)(error)),
    }
}

/// `.npmrc` may hold a token.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        std::io::Write::write_all(&mut file, bytes)
    };
    write().map_err(ImageError::io("write", path))
}

/// The part of a lock file (version 2 and 3) that tells of trouble before npm meets it.
#[derive(Debug, Default, Deserialize)]
struct Locked {
    #[serde(default)]
    packages: std::collections::BTreeMap<String, LockedPackage>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LockedPackage {
    #[serde(default)]
    dev: bool,
    #[serde(default)]
    dev_optional: bool,
    #[serde(default)]
    link: bool,
    #[serde(default)]
    resolved: String,
    #[serde(default)]
    has_install_script: bool,
    #[serde(default)]
    os: Vec<String>,
}

impl LockedPackage {
    fn is_installed(&self) -> bool {
        let elsewhere = !self.os.is_empty() && !self.os.iter().any(|os| os == "linux" || os.starts_with('!'));
        !self.dev && !self.dev_optional && !elsewhere
    }
}

impl Locked {
    /// The entry without a path is the app itself, of which no script runs.
    fn with_scripts(&self) -> Vec<String> {
        let installed =
            self.packages.iter().filter(|(path, package)| !path.is_empty() && package.is_installed());
        installed
            .filter(|(_, package)| package.has_install_script)
            .map(|(path, _)| name_of(path).to_owned())
            .collect()
    }
}

/// `node_modules/a/node_modules/@b/c` -> `@b/c`.
fn name_of(path: &str) -> &str {
    path.rsplit("node_modules/").next().unwrap_or(path)
}

fn parse_lock(path: &Path, lock: &[u8]) -> Result<Locked, ImageError> {
    let locked: Locked = serde_json::from_slice(lock).map_err(|error| {
        ImageError::input(path, error.to_string(), "make it anew with `npm install --package-lock-only`")
    })?;
    let local = |package: &LockedPackage| package.link || package.resolved.starts_with("file:");
    let found = locked.packages.iter().find(|(_, package)| local(package) && package.is_installed());
    if let Some((name, _)) = found {
        let problem = format!("the dependency {} is a local directory or file", name_of(name));
        return Err(ImageError::input(
            path,
            problem,
            "publish it to a registry, or copy it into the app's source",
        ));
    }
    Ok(locked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(files: &[(&str, &str)]) -> Result<Option<Wanted>, ImageError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let package = PackageJson::read(dir.path()).unwrap();
        Wanted::read(dir.path(), &package, false)
    }

    const NEEDS_X: (&str, &str) = ("package.json", r#"{"dependencies":{"x":"1"}}"#);

    #[test]
    fn no_dependencies_no_layer_and_no_lock_file_needed() {
        let dev_only = r#"{"devDependencies":{"eslint":"1"},"dependencies":{}}"#;
        assert!(wanted(&[("package.json", dev_only)]).unwrap().is_none());
    }

    #[test]
    fn dependencies_without_a_lock_file_are_refused_with_the_remedy() {
        let error = wanted(&[NEEDS_X, ("yarn.lock", "")]).unwrap_err().to_string();
        assert!(error.contains("npm install --package-lock-only"), "{error}");
    }

    #[test]
    fn scripts_of_what_is_really_installed_are_known() {
        let lock = r#"{"packages": {
            "": {"hasInstallScript": true},
            "node_modules/a": {"hasInstallScript": true},
            "node_modules/a/node_modules/@b/c": {"hasInstallScript": true},
            "node_modules/fsevents": {"hasInstallScript": true, "os": ["darwin"]},
            "node_modules/notwin": {"hasInstallScript": true, "os": ["!win32"]},
            "node_modules/tool": {"hasInstallScript": true, "dev": true}
        }}"#;
        let wanted = wanted(&[NEEDS_X, ("package-lock.json", lock)]).unwrap().unwrap();
        assert_eq!(wanted.with_scripts, ["a", "@b/c", "notwin"]);
    }

    #[test]
    fn local_dependencies_are_refused_by_name() {
        let lock = r#"{"packages": {"node_modules/lib": {"link": true, "resolved": "lib"}}}"#;
        let error = wanted(&[NEEDS_X, ("package-lock.json", lock)]).unwrap_err().to_string();
        assert!(error.contains("the dependency lib is a local directory"), "{error}");
        let error = wanted(&[NEEDS_X, ("package-lock.json", "{")]).unwrap_err().to_string();
        assert!(error.contains("package-lock.json: EOF"), "{error}");
    }
}
