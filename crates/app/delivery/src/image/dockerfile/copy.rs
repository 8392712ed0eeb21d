//! COPY: from the context or an earlier stage into a stage's directory, which both are on this host and must not be
//! left: no path leads through a symbolic link.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use pileus_core::filter::wildcard;

use super::super::ImageError;
use super::super::dockerignore::DockerIgnore;

/// What an image may have at most: far above any app, below what would fill a disk by mistake.
const MAX_BYTES: u64 = 4 << 30;
const MAX_ENTRIES: usize = 400_000;

/// Copies from one directory into another.
pub(super) struct Copier<'a> {
    pub(super) from: &'a Path,
    /// What is left out; of another stage, nothing is.
    pub(super) ignore: Option<&'a DockerIgnore>,
    pub(super) to: &'a Path,
    pub(super) bytes: u64,
    pub(super) entries: usize,
}

/// `a/./b/../c` of a root as a path relative to it: `a/c`. Like a shell in `/`, it cannot go above.
pub(super) fn relative(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A path below a root, if no directory on the way is a symbolic link.
pub(super) fn below(root: &Path, relative: &str) -> Result<PathBuf, ImageError> {
    let mut path = root.to_owned();
    let parts: Vec<&str> = relative.split('/').filter(|part| !part.is_empty()).collect();
    for (index, part) in parts.iter().enumerate() {
        path.push(part);
        let is_last = index + 1 == parts.len();
        if !is_last && fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink()) {
            let hint = "name the directory itself";
            return Err(ImageError::input(&path, "the path leads through a symbolic link", hint));
        }
    }
    Ok(path)
}

impl Copier<'_> {
    /// Copies sources to a target below the root; `target` ends with a slash where it must be a directory. Returns what
    /// was made, relative to the root.
    pub(super) fn copy(&mut self, sources: &[String], target: &str) -> Result<Vec<String>, ImageError> {
        let mut found = Vec::new();
        for source in sources {
            found.extend(self.find(source)?);
        }
        let directory = relative(target);
        let is_directory = target.ends_with('/')
            || target.ends_with("/.")
            || found.len() > 1
            || below(self.to, &directory)?.is_dir();
        let mut made = Vec::new();
        for source in &found {
            let meta = self.metadata(source)?;
            let name = source.rsplit('/').next().unwrap_or(source);
            // A directory's content goes into the target, a file beside what is there or in its place.
            let place = match (meta.is_dir(), is_directory) {
                (false, true) => relative(&format!("{directory}/{name}")),
                _ => directory.clone(),
            };
            self.tree(source, &place)?;
            made.push(place);
        }
        Ok(made)
    }

    fn metadata(&self, source: &str) -> Result<fs::Metadata, ImageError> {
        let path = below(self.from, source)?;
        fs::symlink_metadata(&path).map_err(ImageError::io("read", &path))
    }

    fn excludes(&self, source: &str) -> bool {
        !source.is_empty() && self.ignore.is_some_and(|ignore| ignore.excludes(source))
    }

    /// The paths that a source stands for, in order: at least one.
    fn find(&self, source: &str) -> Result<Vec<String>, ImageError> {
        let wanted = relative(source);
        let mut found = vec![String::new()];
        for part in wanted.split('/').filter(|part| !part.is_empty()) {
            let mut next = Vec::new();
            for parent in &found {
                if part.contains(['*', '?']) {
                    next.extend(self.matching(parent, part)?);
                } else {
                    next.push(relative(&format!("{parent}/{part}")));
                }
            }
            found = next;
        }
        let exists = |path: &String| {
            below(self.from, path).is_ok_and(|it| it.symlink_metadata().is_ok()) && !self.excludes(path)
        };
        found.retain(exists);
        if found.is_empty() {
            let problem = "COPY finds nothing there, or .dockerignore names it";
            return Err(ImageError::input(
                &self.from.join(&wanted),
                problem,
                "correct the COPY of the Dockerfile",
            ));
        }
        Ok(found)
    }

    fn matching(&self, parent: &str, pattern: &str) -> Result<Vec<String>, ImageError> {
        let directory = below(self.from, parent)?;
        let fits = |name: &String| wildcard(pattern, name);
        let names = names(&directory)?.into_iter().filter(fits);
        Ok(names.map(|name| relative(&format!("{parent}/{name}"))).collect())
    }

    fn tree(&mut self, source: &str, target: &str) -> Result<(), ImageError> {
        let from = below(self.from, source)?;
        let to = below(self.to, target)?;
        let meta = fs::symlink_metadata(&from).map_err(ImageError::io("read", &from))?;
        if meta.is_dir() {
            let excluded = self.excludes(source);
            if !excluded {
                make_directory(&to)?;
            }
            if excluded && !self.ignore.is_some_and(DockerIgnore::has_exceptions) {
                return Ok(());
            }
            for name in names(&from)? {
                self.tree(&relative(&format!("{source}/{name}")), &relative(&format!("{target}/{name}")))?;
            }
            return Ok(());
        }
        if self.excludes(source) {
            return Ok(());
        }
        self.count(&from, meta.len())?;
        if let Some(parent) = to.parent() {
            make_directory(parent)?;
        }
        if to.symlink_metadata().is_ok_and(|there| !there.is_dir()) {
            fs::remove_file(&to).map_err(ImageError::io("replace", &to))?;
        }
        if meta.is_symlink() {
            let link = fs::read_link(&from).map_err(ImageError::io("read", &from))?;
            return symlink(link, &to).map_err(ImageError::io("link", &to));
        }
        if !meta.is_file() {
            let problem = "neither a file nor a directory nor a symbolic link";
            return Err(ImageError::input(&from, problem, "name it in .dockerignore"));
        }
        fs::copy(&from, &to).map(drop).map_err(ImageError::io("write", &to))
    }

    fn count(&mut self, path: &Path, bytes: u64) -> Result<(), ImageError> {
        self.bytes += bytes;
        self.entries += 1;
        if self.bytes <= MAX_BYTES && self.entries <= MAX_ENTRIES {
            return Ok(());
        }
        let problem = format!("the image grows beyond {MAX_BYTES} bytes or {MAX_ENTRIES} files here");
        Err(ImageError::input(path, problem, "name what the app does not need in .dockerignore"))
    }
}

/// A directory with those above it. A symbolic link in its place is no directory.
fn make_directory(path: &Path) -> Result<(), ImageError> {
    if path.symlink_metadata().is_ok_and(|there| there.is_symlink()) {
        let hint = "copy to another place";
        return Err(ImageError::input(path, "a symbolic link is in the place of a directory", hint));
    }
    fs::create_dir_all(path).map_err(ImageError::io("create", path))
}

/// The names in a directory, in order.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, ImageError> {
    let io_error = || ImageError::io("read", directory);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error())? {
        let entry = entry.map_err(io_error())?;
        let name = entry.file_name().into_string().map_err(|_| {
            ImageError::input(
                &entry.path(),
                "the name is not UTF-8",
                "rename it, or name it in .dockerignore",
            )
        })?;
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        dir
    }

    fn copy(from: &Path, to: &Path, sources: &[&str], target: &str) -> Result<Vec<String>, ImageError> {
        let ignore = DockerIgnore::parse("*.log\n").unwrap();
        let mut copier = Copier { from, ignore: Some(&ignore), to, bytes: 0, entries: 0 };
        copier.copy(&sources.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>(), target)
    }

    #[test]
    fn files_and_directories_go_where_docker_puts_them() {
        let from = directory(&["package.json", "package-lock.json", "src/a.js", "src/b/c.js", "x.log"]);
        let to = directory(&["app/old"]);
        copy(from.path(), to.path(), &["package*.json"], "app/").unwrap();
        copy(from.path(), to.path(), &["src"], "app/src").unwrap();
        copy(from.path(), to.path(), &["src/a.js"], "app/main.js").unwrap();
        copy(from.path(), to.path(), &["./src/../package.json"], "app").unwrap();
        copy(from.path(), to.path(), &["."], "all").unwrap();
        for path in
            ["app/package-lock.json", "app/src/b/c.js", "app/main.js", "app/package.json", "all/src/a.js"]
        {
            assert!(to.path().join(path).is_file(), "{path}");
        }
        assert!(!to.path().join("all/x.log").exists());
        assert!(copy(from.path(), to.path(), &["x.log"], "y").is_err(), "ignored");
        assert!(copy(from.path(), to.path(), &["none*"], "y").is_err());
    }

    #[test]
    fn nothing_leads_out_of_the_directories() {
        let from = directory(&["a"]);
        let to = directory(&["app/x"]);
        let outside = directory(&["secret"]);
        assert_eq!(relative("../../etc//./passwd"), "etc/passwd");
        symlink(outside.path(), from.path().join("link")).unwrap();
        assert!(copy(from.path(), to.path(), &["link/secret"], "y").is_err());
        symlink(outside.path(), to.path().join("out")).unwrap();
        for target in ["out/", "out/b"] {
            assert!(copy(from.path(), to.path(), &["a"], target).is_err(), "{target}");
        }
        // A link itself is copied as a link.
        copy(from.path(), to.path(), &["link"], "app/link").unwrap();
        assert!(to.path().join("app/link").is_symlink());
        assert_eq!(names(outside.path()).unwrap(), ["secret"]);
    }
}
