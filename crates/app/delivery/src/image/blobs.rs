//! The blobs of an OCI image layout, as files named by their SHA-256.
//!
//! A blob appears under its name complete or not at all (written aside, then renamed). There is no
//! fsync: this is a cache, and a blob of the wrong size counts as absent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::ImageError;

/// Identity of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: u64,
}

#[derive(Debug)]
pub(super) struct BlobStore {
    root: PathBuf,
    dir: PathBuf,
}

/// Where the layout in `root` keeps the blob with this digest.
pub(super) fn path_in(root: &Path, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    root.join("blobs/sha256").join(hex)
}

impl BlobStore {
    pub(super) fn open(root: &Path) -> Result<Self, ImageError> {
        let dir = root.join("blobs/sha256");
        fs::create_dir_all(&dir).map_err(ImageError::io("create", &dir))?;
        let layout = root.join("oci-layout");
        if !layout.exists() {
            replace_file(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(Self { root: root.to_owned(), dir })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn has(&self, digest: &str, size: u64) -> bool {
        fs::metadata(path_in(&self.root, digest)).is_ok_and(|meta| meta.len() == size)
    }

    /// Stores these bytes; storing the same again changes nothing.
    pub(super) fn put(&self, bytes: &[u8]) -> Result<Blob, ImageError> {
        self.write(|out| out.write_all(bytes))
    }

    /// Stores what `fill` writes.
    pub(super) fn write(
        &self,
        fill: impl FnOnce(&mut HashWriter<io::BufWriter<&mut File>>) -> io::Result<()>,
    ) -> Result<Blob, ImageError> {
        let io_error = || ImageError::io("write a blob in", &self.dir);
        let mut temp = NamedTempFile::new_in(&self.dir).map_err(io_error())?;
        let mut out = HashWriter::new(io::BufWriter::with_capacity(1 << 16, temp.as_file_mut()));
        fill(&mut out).map_err(io_error())?;
        out.flush().map_err(io_error())?;
        let (_, digest, size) = out.into_parts();
        // Blobs are no secret, and the engine may run as somebody else.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        temp.as_file().set_permissions(mode).map_err(io_error())?;
        let path = path_in(&self.root, &digest);
        temp.persist(&path).map_err(|error| ImageError::io("store", &path)(error.error))?;
        Ok(Blob { digest, size })
    }
}

/// Replaces a file as a whole: a reader sees the old content or the new.
pub(super) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut temp = NamedTempFile::new_in(dir)?;
        temp.write_all(bytes)?;
        temp.persist(path).map_err(io::Error::from)?;
        Ok(())
    };
    write().map_err(ImageError::io("write", path))
}

/// Passes bytes on and keeps their digest and number.
pub(super) struct HashWriter<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> HashWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    /// The inner writer, `sha256:<hex>` of what went through, and the number of bytes.
    pub(super) fn into_parts(self) -> (W, String, u64) {
        let digest = format!("sha256:{}", hex::encode(self.hash.finalize()));
        (self.inner, digest, self.size)
    }
}

impl<W: Write> Write for HashWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_stored_under_its_digest_and_known_by_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let blob = store.put(b"abc").unwrap();
        assert_eq!(blob.digest, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(fs::read(path_in(dir.path(), &blob.digest)).unwrap(), b"abc");
        assert!(store.has(&blob.digest, 3));
        assert!(!store.has(&blob.digest, 4));
        assert_eq!(store.put(b"abc").unwrap(), blob);
        let files = fs::read_dir(dir.path().join("blobs/sha256")).unwrap().count();
        assert_eq!(files, 1, "no temporary file is left");
    }
}
