//! Unpacks the archive of one layer into a directory that overlayfs can use as it is.
//!
//! Archives are not trusted: names with `..` or a leading `/` are refused, and links inside the layer are followed
//! within it only. Deletions (`.wh.` entries) become overlayfs whiteouts. Device nodes are left out: no container
//! could open them (DESIGN.md, section 7). <https://github.com/opencontainers/image-spec/blob/main/layer.md>

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, mkfifoat, symlinkat, unlinkat};
use rustix::fs::XattrFlags;
use tar::{Archive, Entry, EntryType};

use crate::rooted::{Rooted, plain_path, split};

/// What one layer may unpack to: the ephemeral storage of a Fargate task.
const MAX_BYTES: u64 = 20 << 30;
const MAX_ENTRIES: u64 = 2_000_000;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("entry {}: {source}", path.display())]
    Entry { path: PathBuf, source: io::Error },
    #[error("entry {} leads out of the layer; the image is refused", .0.display())]
    Escape(PathBuf),
    #[error("entry {} is of a kind that is not supported: {kind:?}", path.display())]
    Kind { path: PathBuf, kind: u8 },
    #[error("hard link {} to {}, which is not in the same layer", path.display(), target.display())]
    ForeignLink { path: PathBuf, target: PathBuf },
    #[error("it unpacks to more than {MAX_BYTES} bytes or {MAX_ENTRIES} files")]
    TooLarge,
    #[error("{0}")]
    Damaged(&'static str),
}

type Result<T> = std::result::Result<T, LayerError>;

/// Unpacks `archive` into the empty directory `into`.
pub(crate) fn unpack(archive: impl Read, into: &Path) -> Result<()> {
    let mut unpacker =
        Unpacker { root: Rooted::open(into)?, directories: Vec::new(), cached: None, bytes: 0, entries: 0 };
    let mut archive = Archive::new(archive);
    for entry in archive.entries()? {
        unpacker.entry(&mut entry?)?;
    }
    unpacker.finish()
}

struct Unpacker {
    root: Rooted,
    /// Times of directories, to be set when nothing more is put into them.
    directories: Vec<(PathBuf, i64)>,
    /// The directory of the last entry: archives go through a tree in order.
    cached: Option<(PathBuf, OwnedFd)>,
    bytes: u64,
    entries: u64,
}

impl Unpacker {
    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<()> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(entry.size());
        if self.entries > MAX_ENTRIES || self.bytes > MAX_BYTES {
            return Err(LayerError::TooLarge);
        }
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            return Ok(());
        }
        let named = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
        let path = plain_path(&named).ok_or_else(|| LayerError::Escape(named.clone()))?;
        let Some((parent, name)) = split(&path) else { return self.root_entry(entry) };
        self.place(entry, &path, parent, name)
    }

    /// The layer's own directory: only its attributes matter.
    fn root_entry(&self, entry: &Entry<'_, impl Read>) -> Result<()> {
        let set = || -> io::Result<()> {
            let (owner, mode) = (owner(entry)?, mode(entry)?);
            fchown(self.root.fd(), Some(owner.0), Some(owner.1))?;
            Ok(fchmod(self.root.fd(), mode)?)
        };
        set().map_err(|source| LayerError::Entry { path: PathBuf::from("/"), source })
    }

    fn place(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        path: &Path,
        parent: &Path,
        name: &OsStr,
    ) -> Result<()> {
        let fail = |source: io::Error| LayerError::Entry { path: path.to_owned(), source };
        self.enter(parent).map_err(|errno| fail(errno.into()))?;
        let Some((_, directory)) = &self.cached else { unreachable!("enter() fills the cache") };
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            return whiteout(directory, name, hidden).map_err(fail);
        }
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                file(entry, directory, name).map_err(fail)
            }
            EntryType::Directory => {
                make_directory(entry, directory, name).map_err(fail)?;
                self.directories.push((path.to_owned(), modified(entry)));
                Ok(())
            }
            EntryType::Symlink => symlink(entry, directory, name).map_err(fail),
            EntryType::Link => self.hard_link(entry, path, directory, name),
            EntryType::Fifo => fifo(entry, directory, name).map_err(fail),
            EntryType::Char | EntryType::Block => Ok(()),
            other => Err(LayerError::Kind { path: path.to_owned(), kind: other.as_byte() }),
        }
    }

    fn enter(&mut self, directory: &Path) -> nix::Result<()> {
        if self.cached.as_ref().is_none_or(|(path, _)| path != directory) {
            self.cached = Some((directory.to_owned(), self.root.ensure_dir(directory)?));
        }
        Ok(())
    }

    fn hard_link(
        &self,
        entry: &Entry<'_, impl Read>,
        path: &Path,
        directory: &OwnedFd,
        name: &OsStr,
    ) -> Result<()> {
        let named = PathBuf::from(OsStr::from_bytes(&entry.link_name_bytes().unwrap_or_default()));
        let target = plain_path(&named).ok_or_else(|| LayerError::Escape(path.to_owned()))?;
        let foreign = || LayerError::ForeignLink { path: path.to_owned(), target: target.clone() };
        let (parent, target_name) = split(&target).ok_or_else(foreign)?;
        let fail = |errno: Errno| match errno {
            Errno::ENOENT => foreign(),
            errno => LayerError::Entry { path: path.to_owned(), source: errno.into() },
        };
        let from = self.root.open_dir(parent).map_err(fail)?;
        replacing(directory, name, || linkat(&from, target_name, directory, name, AtFlags::empty()))
            .map_err(fail)
    }

    fn finish(self) -> Result<()> {
        for (path, modified) in self.directories.iter().rev() {
            // A later entry may have put something else in the directory's place.
            let Ok(directory) = self.root.open_dir(path) else { continue };
            let time = TimeSpec::new(*modified, 0);
            utimensat(&directory, ".", &time, &time, UtimensatFlags::NoFollowSymlink)
                .map_err(|errno| LayerError::Entry { path: path.clone(), source: errno.into() })?;
        }
        Ok(())
    }
}

/// Runs `make`, and once more without what stood in its place: the later entry of an archive wins.
fn replacing(directory: &OwnedFd, name: &OsStr, make: impl Fn() -> nix::Result<()>) -> nix::Result<()> {
    match make() {
        Err(Errno::EEXIST) => {
            match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
                Err(Errno::EISDIR) => unlinkat(directory, name, UnlinkatFlags::RemoveDir)?,
                other => other?,
            }
            make()
        }
        other => other,
    }
}

/// Hides what lower layers have under a name, or all that they have in the directory.
fn whiteout(directory: &OwnedFd, name: &OsStr, hidden: &[u8]) -> io::Result<()> {
    if name.as_bytes() == OPAQUE {
        rustix::fs::fsetxattr(directory, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
        return Ok(());
    }
    // Other `.wh..wh.` names are aufs's own housekeeping.
    if hidden.starts_with(WHITEOUT) {
        return Ok(());
    }
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(io::Error::other("a deletion must name a file"));
    }
    let hidden = OsStr::from_bytes(hidden);
    Ok(replacing(directory, hidden, || mknodat(directory, hidden, SFlag::S_IFCHR, Mode::empty(), 0))?)
}

fn file(entry: &mut Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let open = || openat(directory, name, flags, Mode::from_bits_truncate(0o600));
    let created = match open() {
        Err(Errno::EEXIST) => {
            unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
            open()?
        }
        other => other?,
    };
    let mut file = File::from(created);
    io::copy(entry, &mut file)?;
    attributes(entry, directory, name)?;
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        if let Some(attribute) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") {
            let attribute = OsStr::from_bytes(attribute);
            rustix::fs::fsetxattr(&file, attribute, extension.value_bytes(), XattrFlags::empty())?;
        }
    }
    Ok(())
}

fn make_directory(entry: &Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let make = || mkdirat(directory, name, Mode::from_bits_truncate(0o755));
    match make() {
        Err(Errno::EEXIST) if is_directory(directory, name)? => {}
        Err(Errno::EEXIST) => replacing(directory, name, make)?,
        other => other?,
    }
    attributes(entry, directory, name)
}

fn is_directory(directory: &OwnedFd, name: &OsStr) -> nix::Result<bool> {
    let status = nix::sys::stat::fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(status.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits())
}

fn symlink(entry: &Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let target =
        entry.link_name_bytes().ok_or_else(|| io::Error::other("a symbolic link without a target"))?;
    let target = OsStr::from_bytes(&target);
    replacing(directory, name, || symlinkat(target, directory, name))?;
    set_owner(entry, directory, name)
}

fn fifo(entry: &Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    replacing(directory, name, || mkfifoat(directory, name, Mode::from_bits_truncate(0o600)))?;
    attributes(entry, directory, name)
}

/// Owner first: changing it takes the set-user-ID bit away.
fn attributes(entry: &Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    set_owner(entry, directory, name)?;
    fchmodat(directory, name, mode(entry)?, FchmodatFlags::FollowSymlink)?;
    let time = TimeSpec::new(modified(entry), 0);
    Ok(utimensat(directory.as_fd(), name, &time, &time, UtimensatFlags::NoFollowSymlink)?)
}

fn set_owner(entry: &Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let (uid, gid) = owner(entry)?;
    Ok(fchownat(directory, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?)
}

fn owner(entry: &Entry<'_, impl Read>) -> io::Result<(Uid, Gid)> {
    let header = entry.header();
    let id = |field: &[u8], id: io::Result<u64>| {
        let id = number(field, id)?;
        u32::try_from(id).map_err(|_| io::Error::other(format!("no user or group id: {id}")))
    };
    let (uid, gid) = (id(&header.as_old().uid, header.uid())?, id(&header.as_old().gid, header.gid())?);
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

fn mode(entry: &Entry<'_, impl Read>) -> io::Result<Mode> {
    let header = entry.header();
    let mode = number(&header.as_old().mode, header.mode().map(u64::from))?;
    Ok(Mode::from_bits_truncate((mode & 0o7777) as u32))
}

/// A field that is left blank counts as 0, as with other tools.
fn number(field: &[u8], value: io::Result<u64>) -> io::Result<u64> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(0) } else { value }
}

fn modified(entry: &Entry<'_, impl Read>) -> i64 {
    entry.header().mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0)
}

#[cfg(test)]
#[path = "layer_tests.rs"]
mod tests;
