//! Access to a directory tree that is not trusted: no path, symbolic link or `..` leads out of it.
//!
//! Every look-up is an `openat2(2)` with `RESOLVE_IN_ROOT`: the kernel treats the directory as `/`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, mkdirat};

/// A directory that acts as `/` for every path given to it.
pub(crate) struct Rooted(OwnedFd);

impl Rooted {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        Ok(Self(open(path, flags, Mode::empty())?))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn resolve(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.0, path, how)
    }

    pub(crate) fn open_dir(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.resolve(path, OFlag::O_DIRECTORY | OFlag::O_RDONLY)
    }

    /// Opens a directory, making what is missing of it.
    pub(crate) fn ensure_dir(&self, path: &Path) -> nix::Result<OwnedFd> {
        match self.open_dir(path) {
            Err(Errno::ENOENT) => {}
            other => return other,
        }
        let mut reached = PathBuf::new();
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let parent = self.open_dir(&reached)?;
            match mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            }
            reached.push(name);
        }
        self.open_dir(path)
    }

    /// The text of a small file; `None` where there is none.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> io::Result<Option<String>> {
        let file = match self.resolve(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut text = Vec::new();
        file.take(limit + 1).read_to_end(&mut text)?;
        if text.len() as u64 > limit {
            return Err(io::Error::other(format!("it is larger than {limit} bytes")));
        }
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }
}

/// A path as a list of plain names. `None` where it is absolute or holds `..`.
pub(crate) fn plain_path(path: &Path) -> Option<PathBuf> {
    path.components().try_fold(PathBuf::new(), |mut plain, component| match component {
        Component::Normal(name) => {
            plain.push(name);
            Some(plain)
        }
        Component::CurDir => Some(plain),
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => None,
    })
}

/// The directory and the last name of a plain path that is not empty.
pub(crate) fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_cannot_lead_out() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "outside").unwrap();
        let inside = tempfile::tempdir().unwrap();
        symlink(outside.path(), inside.path().join("absolute")).unwrap();
        symlink("../../../../../..", inside.path().join("up")).unwrap();
        let root = Rooted::open(inside.path()).unwrap();
        assert_eq!(root.read(Path::new("absolute/secret"), 100).unwrap(), None);
        let escaped = Path::new("up").join(outside.path().strip_prefix("/").unwrap()).join("secret");
        assert_eq!(root.read(&escaped, 100).unwrap(), None);
        root.ensure_dir(Path::new("up/made/here")).unwrap();
        assert!(inside.path().join("made/here").is_dir());
    }

    #[test]
    fn plain_paths() {
        assert_eq!(plain_path(Path::new("./a//b/.")), Some(PathBuf::from("a/b")));
        assert_eq!(plain_path(Path::new("a/../b")), None);
        assert_eq!(plain_path(Path::new("/a")), None);
    }
}
