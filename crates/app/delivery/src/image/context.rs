//! The app layer: the context directory, less what `.dockerignore` names, under `/app`.
//!
//! Always left out besides: `node_modules` and `.git` at any depth (the dependency layer brings the
//! former), `.npmrc` (it may hold a token), and at the root what tells how to build and deploy
//! (`Dockerfile`, `.dockerignore`, `pileus.toml`): the image is the app, and changing the number of
//! tasks must not make a new image. Files belong to root and the app runs as somebody else, so it
//! cannot change its own code. Symbolic links stay links and are never followed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::dockerignore::DockerIgnore;
use super::layer::{LayerTree, Source};
use super::{ImageBuilder, ImageError, LayerDescriptor, OnProgress, Progress, Stage};

pub(super) const APP_DIR: &str = "app";
const ALWAYS_OUT: [&str; 3] = ["node_modules", ".git", ".npmrc"];
const ROOT_OUT: [&str; 3] = ["Dockerfile", ".dockerignore", "pileus.toml"];
const LIMITS: Limits = Limits { file_bytes: 1 << 30, total_bytes: 2 << 30, entries: 200_000 };

/// How large a context may be: far above any app, below what would fill a disk by mistake.
#[derive(Clone, Copy)]
struct Limits {
    file_bytes: u64,
    total_bytes: u64,
    entries: usize,
}

pub(super) fn layer(
    builder: &ImageBuilder,
    context: &Path,
    progress: OnProgress,
) -> Result<LayerDescriptor, ImageError> {
    progress(Progress::Started(Stage::App));
    let tree = read_tree(context, LIMITS)?;
    // The key is the layer's own diff id: hashing is cheap, compressing is not.
    let diff_id = tree.diff_id().map_err(ImageError::io("read", context))?;
    let key = diff_id.trim_start_matches("sha256:");
    let known = builder.known_layer("app", key);
    let cached = known.is_some();
    let layer = match known {
        Some(layer) => layer,
        None => {
            let layer = tree.store(&builder.blobs)?;
            builder.records.put("app", layer.diff_id.trim_start_matches("sha256:"), &layer)?;
            layer
        }
    };
    progress(Progress::Finished { stage: Stage::App, cached, size: layer.size });
    Ok(layer)
}

fn read_tree(context: &Path, limits: Limits) -> Result<LayerTree, ImageError> {
    let mut walk = Walk {
        context,
        ignore: read_ignore(context)?,
        limits,
        bytes: 0,
        entries: 0,
        tree: LayerTree::default(),
    };
    walk.tree.dir(APP_DIR, 0o755);
    let mut dirs = vec![String::new()];
    while let Some(dir) = dirs.pop() {
        walk.dir(&dir, &mut dirs)?;
    }
    Ok(walk.tree)
}

pub(super) fn read_ignore(context: &Path) -> Result<DockerIgnore, ImageError> {
    let path = context.join(".dockerignore");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(DockerIgnore::default()),
        Err(error) => return Err(ImageError::io("read", &path)(error)),
    };
    DockerIgnore::parse(&text).map_err(|bad| {
        let problem = format!("line {}: the pattern \"{}\" cannot be understood", bad.line, bad.pattern);
        ImageError::input(
            &path,
            problem,
            "https://docs.docker.com/build/concepts/context/#dockerignore-files",
        )
    })
}

struct Walk<'a> {
    context: &'a Path,
    ignore: DockerIgnore,
    limits: Limits,
    bytes: u64,
    entries: usize,
    tree: LayerTree,
}

impl Walk<'_> {
    /// Takes the entries of one directory (relative, "" for the root) and queues those below it.
    fn dir(&mut self, dir: &str, dirs: &mut Vec<String>) -> Result<(), ImageError> {
        let path = self.context.join(dir);
        let io_error = || ImageError::io("read", &path);
        for entry in fs::read_dir(&path).map_err(io_error())? {
            let entry = entry.map_err(io_error())?;
            let Ok(name) = entry.file_name().into_string() else {
                let hint = "rename it, or name it in .dockerignore";
                return Err(ImageError::input(&entry.path(), "the name is not UTF-8", hint));
            };
            if ALWAYS_OUT.contains(&name.as_str()) || dir.is_empty() && ROOT_OUT.contains(&name.as_str()) {
                continue;
            }
            let relative = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            self.entry(&entry.path(), relative, dirs)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, relative: String, dirs: &mut Vec<String>) -> Result<(), ImageError> {
        let meta = fs::symlink_metadata(path).map_err(ImageError::io("read", path))?;
        let excluded = self.ignore.excludes(&relative);
        let target = format!("{APP_DIR}/{relative}");
        if meta.is_dir() {
            if !excluded {
                self.tree.dir(&target, 0o755);
                self.count(0)?;
            }
            if !excluded || self.ignore.has_exceptions() {
                dirs.push(relative);
            }
            return Ok(());
        }
        if excluded {
            return Ok(());
        }
        if meta.is_symlink() {
            self.count(0)?;
            self.tree.symlink(&target, &link_target(path)?);
        } else if meta.is_file() {
            self.check_file(path, meta.len())?;
            let mode = file_mode(meta.permissions().mode());
            self.tree.file(&target, mode, Source::File(path.to_owned(), meta.len()));
        } else {
            let problem = "neither a file nor a directory nor a symbolic link";
            return Err(ImageError::input(path, problem, "name it in .dockerignore"));
        }
        Ok(())
    }

    fn check_file(&mut self, path: &Path, size: u64) -> Result<(), ImageError> {
        if size > self.limits.file_bytes {
            let problem = format!("{size} bytes; a file of an app may have {}", self.limits.file_bytes);
            return Err(ImageError::input(
                path,
                problem,
                "name it in .dockerignore, and fetch it when the app starts",
            ));
        }
        self.count(size)
    }

    fn count(&mut self, bytes: u64) -> Result<(), ImageError> {
        self.bytes += bytes;
        self.entries += 1;
        let problem = if self.bytes > self.limits.total_bytes {
            format!("more than {} bytes", self.limits.total_bytes)
        } else if self.entries > self.limits.entries {
            format!("more than {} files", self.limits.entries)
        } else {
            return Ok(());
        };
        let hint = "is this the directory of the app? Name what the app does not need in .dockerignore";
        Err(ImageError::input(self.context, problem, hint))
    }
}

/// Only "may be executed" is kept of a file's mode: the rest depends on somebody's umask.
pub(super) fn file_mode(mode: u32) -> u32 {
    if mode & 0o111 == 0 { 0o644 } else { 0o755 }
}

pub(super) fn link_target(path: &Path) -> Result<String, ImageError> {
    let target: PathBuf = fs::read_link(path).map_err(ImageError::io("read", path))?;
    target.into_os_string().into_string().map_err(|_| {
        ImageError::input(
            path,
            "the target of the link is not UTF-8",
            "rename it, or name it in .dockerignore",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn paths(dir: &Path) -> Vec<String> {
        read_tree(dir, LIMITS).unwrap().paths().map(str::to_owned).collect()
    }

    #[test]
    fn takes_the_app_and_leaves_the_rest() {
        let dir = context(&[
            ("server.js", ""),
            ("src/a.js", ""),
            ("src/node_modules/x.js", ""),
            ("node_modules/y.js", ""),
            (".git/HEAD", ""),
            (".npmrc", "//registry/:_authToken=secret"),
            ("pileus.toml", ""),
            ("Dockerfile", ""),
            ("src/Dockerfile", ""),
            (".dockerignore", "*.md\ndocs\n!docs/keep.txt\n"),
            ("README.md", ""),
            ("docs/a.txt", ""),
            ("docs/keep.txt", ""),
        ]);
        assert_eq!(
            paths(dir.path()),
            [
                "app",
                "app/docs",
                "app/docs/keep.txt",
                "app/server.js",
                "app/src",
                "app/src/Dockerfile",
                "app/src/a.js"
            ]
        );
    }

    #[test]
    fn a_link_out_of_the_context_stays_a_link() {
        let dir = context(&[("a.js", "")]);
        std::os::unix::fs::symlink("/etc", dir.path().join("outside")).unwrap();
        assert_eq!(paths(dir.path()), ["app", "app/a.js", "app/outside"]);
    }

    #[test]
    fn what_is_too_large_is_refused_by_name() {
        let dir = context(&[("big", "12345"), ("other", "12345")]);
        let limits = |file_bytes, total_bytes, entries| Limits { file_bytes, total_bytes, entries };
        let error = |limits| read_tree(dir.path(), limits).unwrap_err().to_string();
        assert!(error(limits(4, 100, 10)).contains("5 bytes; a file of an app may have 4"));
        assert!(error(limits(5, 9, 10)).contains("more than 9 bytes"));
        assert!(error(limits(5, 10, 1)).contains("more than 1 files"));
        assert!(read_tree(dir.path(), limits(5, 10, 2)).is_ok());
    }

    #[test]
    fn a_socket_is_refused_by_name() {
        let dir = context(&[]);
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("sock")).unwrap();
        let error = read_tree(dir.path(), LIMITS).unwrap_err().to_string();
        assert!(error.contains("sock: neither a file nor a directory"), "{error}");
    }

    #[test]
    fn modes_do_not_depend_on_the_umask() {
        assert_eq!(file_mode(0o100_600), 0o644);
        assert_eq!(file_mode(0o100_664), 0o644);
        assert_eq!(file_mode(0o100_700), 0o755);
    }
}
