//! A layer: a sorted tree of files that becomes the same bytes every time.
//!
//! Format: <https://github.com/opencontainers/image-spec/blob/main/layer.md>, gzip because every
//! consumer of images reads it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use super::blobs::{BlobStore, HashWriter};
use super::{ImageError, LayerDescriptor};

const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Where a file's bytes come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Bytes(Vec<u8>),
    /// A file on disk and its size when it was looked at.
    File(PathBuf, u64),
}

#[derive(Clone, Debug)]
enum Kind {
    Dir,
    File(Source),
    Symlink(String),
}

#[derive(Clone, Debug)]
struct Entry {
    mode: u32,
    uid: u64,
    kind: Kind,
}

/// Paths are relative to the root of the file system, without a leading slash.
#[derive(Clone, Debug, Default)]
pub(super) struct LayerTree {
    entries: BTreeMap<String, Entry>,
}

impl LayerTree {
    /// Adds a directory that root owns.
    pub(super) fn dir(&mut self, path: &str, mode: u32) {
        self.owned_dir(path, mode, 0);
    }

    pub(super) fn owned_dir(&mut self, path: &str, mode: u32, uid: u64) {
        let kind = Kind::Dir;
        self.insert(path, Entry { mode, uid, kind });
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, source: Source) {
        self.owned_file(path, mode, 0, source);
    }

    pub(super) fn owned_file(&mut self, path: &str, mode: u32, uid: u64, source: Source) {
        let kind = Kind::File(source);
        self.insert(path, Entry { mode, uid, kind });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn symlink(&mut self, path: &str, target: &str) {
        let kind = Kind::Symlink(target.to_owned());
        self.insert(path, Entry { mode: 0o777, uid: 0, kind });
    }

    /// Directories above an entry need not be named; those that are not belong to root, 0755.
    fn insert(&mut self, path: &str, entry: Entry) {
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry {
                mode: 0o755,
                uid: 0,
                kind: Kind::Dir,
            });
        }
        self.entries.insert(path.to_owned(), entry);
    }

    #[cfg(test)]
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// `sha256:<hex>` of the archive, without compressing or storing it.
    pub(super) fn diff_id(&self) -> io::Result<String> {
        let mut out = HashWriter::new(io::sink());
        self.write_tar(&mut out)?;
        Ok(out.into_parts().1)
    }

    /// Makes the layer's blob.
    pub(super) fn store(&self, blobs: &BlobStore) -> Result<LayerDescriptor, ImageError> {
        let mut diff_id = String::new();
        let blob = blobs.write(|out| {
            // No name and no time in the header; "unknown" as the operating system.
            let gzip = GzBuilder::new().mtime(0).operating_system(255).write(out, Compression::new(6));
            let mut tar = HashWriter::new(gzip);
            self.write_tar(&mut tar)?;
            let gzip;
            (gzip, diff_id, _) = tar.into_parts();
            gzip.finish()?;
            Ok(())
        })?;
        Ok(LayerDescriptor {
            media_type: MEDIA_TYPE.to_owned(),
            digest: blob.digest,
            size: blob.size,
            diff_id,
        })
    }

    fn write_tar(&self, out: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(io::BufWriter::with_capacity(1 << 16, out));
        for (path, entry) in &self.entries {
            append(&mut tar, path, entry)?;
        }
        tar.into_inner()?.flush()
    }
}

fn append<W: Write>(tar: &mut tar::Builder<W>, path: &str, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(entry.uid);
    header.set_gid(entry.uid);
    header.set_mtime(0);
    header.set_size(0);
    match &entry.kind {
        Kind::Dir => {
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Kind::Symlink(target) => {
            header.set_entry_type(EntryType::Symlink);
            tar.append_link(&mut header, path, target)
        }
        Kind::File(Source::Bytes(bytes)) => {
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, path, bytes.as_slice())
        }
        Kind::File(Source::File(from, size)) => {
            header.set_size(*size);
            let file = File::open(from).map_err(|error| with_path(from, &error))?;
            let exact = Exact { file, left: *size };
            tar.append_data(&mut header, path, exact).map_err(|error| with_path(from, &error))
        }
    }
}

fn with_path(path: &std::path::Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Reads exactly as many bytes as the archive's header promised; a file that shrank meanwhile is an
/// error, not a broken archive. What it grew by is left out.
struct Exact {
    file: File,
    left: u64,
}

impl Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let got = self.file.read(&mut buffer[..want])?;
        if got == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was read",
            ));
        }
        self.left -= got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> LayerTree {
        let mut tree = LayerTree::default();
        tree.file("b/two", 0o644, Source::Bytes(b"2".to_vec()));
        tree.symlink("a/link", "../b/two");
        tree.owned_dir("tmp", 0o1777, 1000);
        tree.file(&format!("{}/deep", "d".repeat(150)), 0o755, Source::Bytes(vec![7; 10_000]));
        tree
    }

    fn read_back(descriptor: &LayerDescriptor, root: &std::path::Path) -> Vec<(String, u32, u64, u64)> {
        let blob = File::open(super::super::blobs::path_in(root, &descriptor.digest)).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(blob));
        archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                let header = entry.header();
                (path, header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap())
            })
            .collect()
    }

    #[test]
    fn the_archive_is_sorted_timeless_and_names_parents() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(dir.path()).unwrap();
        let layer = sample().store(&blobs).unwrap();
        assert!(blobs.has(&layer.digest, layer.size));
        assert_eq!(layer.diff_id, sample().diff_id().unwrap());
        let long = "d".repeat(150);
        let expected = [
            ("a/".to_owned(), 0o755, 0, 0),
            ("a/link".to_owned(), 0o777, 0, 0),
            ("b/".to_owned(), 0o755, 0, 0),
            ("b/two".to_owned(), 0o644, 0, 0),
            (format!("{long}/"), 0o755, 0, 0),
            (format!("{long}/deep"), 0o755, 0, 0),
            ("tmp/".to_owned(), 0o1777, 1000, 0),
        ];
        assert_eq!(read_back(&layer, dir.path()), expected);
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = |dir: &tempfile::TempDir| sample().store(&BlobStore::open(dir.path()).unwrap()).unwrap();
        assert_eq!(store(&one), store(&two));
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "12").unwrap();
        let mut tree = LayerTree::default();
        tree.file("f", 0o644, Source::File(path, 3));
        let error = tree.diff_id().unwrap_err().to_string();
        assert!(error.contains("became shorter"), "{error}");
    }
}
