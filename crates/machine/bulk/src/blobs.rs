//! Blobs by digest, in the layout of an OCI image directory: `sha256/<hex>`; uploads beside them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use pileus_contract::{BlobStore, MachineError};
use sha2::{Digest as _, Sha256};

use crate::failed;

pub(crate) struct Blobs {
    finished: PathBuf,
    uploads: PathBuf,
    /// Names temporary files.
    counter: AtomicU64,
    /// Held while a blob appears or goes for its age, so that none goes that has just been stored again.
    names: Mutex<()>,
}

impl Blobs {
    pub(crate) fn open(dir: &Path) -> Result<Self, MachineError> {
        let blobs = Self {
            finished: dir.join("sha256"),
            uploads: dir.join("uploads"),
            counter: AtomicU64::new(0),
            names: Mutex::new(()),
        };
        for dir in [&blobs.finished, &blobs.uploads] {
            fs::create_dir_all(dir).map_err(failed("create", dir))?;
        }
        Ok(blobs)
    }

    fn upload_path(&self, id: &str) -> Result<PathBuf, MachineError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if id.is_empty() || id.len() > 128 || !id.bytes().all(plain) {
            return Err(MachineError::new(
                format!("upload {id:?}"),
                "an upload id is of letters, digits and hyphens",
            ));
        }
        Ok(self.uploads.join(id))
    }

    /// Makes a blob of a finished file if its content has the digest; otherwise the file stays.
    fn adopt(&self, file: &Path, digest: &str) -> Result<(), MachineError> {
        let found = digest_of(file)?;
        if found != digest {
            return Err(MachineError::new(
                format!("store blob {digest}"),
                format!("its content has the digest {found}"),
            ));
        }
        let path = self.path(digest)?;
        let opened = OpenOptions::new().write(true).open(file).map_err(failed("open", file))?;
        // A blob's age counts from here, not from its last byte.
        opened.set_modified(SystemTime::now()).map_err(failed("date", file))?;
        opened.sync_all().map_err(failed("sync", file))?;
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        fs::rename(file, &path).map_err(failed("rename", file))?;
        drop(names);
        File::open(&self.finished).and_then(|dir| dir.sync_all()).map_err(failed("sync", &self.finished))
    }
}

impl BlobStore for Blobs {
    fn path(&self, digest: &str) -> Result<PathBuf, MachineError> {
        let hex = digest.strip_prefix("sha256:").filter(|hex| {
            hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        });
        let not_a_digest =
            || MachineError::new(format!("find blob {digest:?}"), "a digest is sha256: and 64 hex digits");
        Ok(self.finished.join(hex.ok_or_else(not_a_digest)?))
    }

    fn size(&self, digest: &str) -> Option<u64> {
        fs::metadata(self.path(digest).ok()?).ok().map(|metadata| metadata.len())
    }

    fn put(&self, digest: &str, content: &mut dyn Read, limit: u64) -> Result<u64, MachineError> {
        self.path(digest)?;
        let id = format!("put-{}-{}", std::process::id(), self.counter.fetch_add(1, Ordering::Relaxed));
        let file = self.upload_path(&id)?;
        let _ = fs::remove_file(&file);
        let stored =
            self.upload(&id, 0, content, limit).and_then(|size| self.adopt(&file, digest).map(|()| size));
        if stored.is_err() {
            remove(&file)?;
        }
        stored
    }

    fn upload(&self, id: &str, offset: u64, content: &mut dyn Read, limit: u64) -> Result<u64, MachineError> {
        let path = self.upload_path(id)?;
        let mut file =
            OpenOptions::new().append(true).create(true).open(&path).map_err(failed("open", &path))?;
        let length = file.metadata().map_err(failed("read", &path))?.len();
        if length != offset {
            let cause = format!("it continues at byte {length}, not at {offset}");
            return Err(MachineError::new(format!("continue upload {id}"), cause));
        }
        // One byte more than allowed tells that there is too much.
        let room = limit.saturating_sub(length).saturating_add(1);
        let written =
            io::copy(&mut content.take(room), &mut file).and_then(|written| file.flush().map(|()| written));
        let cut = |file: &File| file.set_len(length).map_err(failed("cut", &path));
        match written {
            Ok(written) if length + written <= limit => Ok(length + written),
            Ok(_) => {
                cut(&file)?;
                Err(MachineError::new(
                    format!("continue upload {id}"),
                    format!("it is larger than {limit} bytes"),
                ))
            }
            Err(error) => {
                cut(&file)?;
                Err(failed("write", &path)(error))
            }
        }
    }

    fn uploaded(&self, id: &str) -> Option<u64> {
        fs::metadata(self.upload_path(id).ok()?).ok().map(|metadata| metadata.len())
    }

    fn abandon(&self, id: &str) -> Result<(), MachineError> {
        remove(&self.upload_path(id)?)
    }

    fn finish(&self, id: &str, digest: &str) -> Result<u64, MachineError> {
        let file = self.upload_path(id)?;
        let size = fs::metadata(&file).map_err(failed("read", &file))?.len();
        self.adopt(&file, digest)?;
        Ok(size)
    }

    fn rewind(&self, id: &str, length: u64) -> Result<(), MachineError> {
        let path = self.upload_path(id)?;
        let file = OpenOptions::new().write(true).open(&path).map_err(failed("open", &path))?;
        let have = file.metadata().map_err(failed("read", &path))?.len();
        file.set_len(length.min(have)).map_err(failed("cut", &path))
    }

    fn delete(&self, digest: &str) -> Result<(), MachineError> {
        remove(&self.path(digest)?)
    }

    fn delete_older(&self, digest: &str, age: Duration) -> Result<bool, MachineError> {
        let path = self.path(digest)?;
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let modified = match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            found => found.map_err(failed("read", &path))?,
        };
        // A time in the future, after the machine's clock was set back, is no age yet.
        if modified.elapsed().unwrap_or_default() < age {
            return Ok(false);
        }
        remove(&path).map(|()| true)
    }

    fn list(&self) -> Result<Vec<(String, u64)>, MachineError> {
        let mut blobs = Vec::new();
        for entry in fs::read_dir(&self.finished).map_err(failed("read", &self.finished))? {
            let entry = entry.map_err(failed("read", &self.finished))?;
            let size = entry.metadata().map_err(failed("read", &self.finished))?.len();
            blobs.push((format!("sha256:{}", entry.file_name().to_string_lossy()), size));
        }
        blobs.sort_unstable();
        Ok(blobs)
    }
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> Result<(), MachineError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn digest_of(path: &Path) -> Result<String, MachineError> {
    let mut file = File::open(path).map_err(failed("open", path))?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).map_err(failed("read", path))? {
            0 => return Ok(format!("sha256:{}", hex::encode(hasher.finalize()))),
            read => hasher.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn a_blob_has_the_content_of_its_digest_or_is_not_there() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let blobs = Blobs::open(dir.path()).expect("a new store");
        assert!(blobs.put(HELLO, &mut "bye".as_bytes(), 100).is_err());
        assert_eq!(blobs.size(HELLO), None);
        assert_eq!(blobs.put(HELLO, &mut "hello".as_bytes(), 100), Ok(5));
        assert_eq!(blobs.list(), Ok(vec![(HELLO.to_owned(), 5)]));
        assert_eq!(fs::read_dir(&blobs.uploads).expect("a directory").count(), 0);
        blobs.delete(HELLO).expect("it can be removed");
        blobs.delete(HELLO).expect("removing nothing is fine");
        assert!(blobs.path("sha256:../../etc/passwd").is_err());
    }

    #[test]
    fn only_blobs_of_an_age_go_for_their_age() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let blobs = Blobs::open(dir.path()).expect("a new store");
        blobs.put(HELLO, &mut "hello".as_bytes(), 100).expect("it is stored");
        let hour = Duration::from_secs(3600);
        assert_eq!(blobs.delete_older(HELLO, hour), Ok(false));
        let file = File::options().write(true).open(blobs.path(HELLO).expect("a digest")).expect("a file");
        file.set_modified(SystemTime::now() - hour).expect("it can be dated");
        assert_eq!(blobs.delete_older(HELLO, hour), Ok(true));
        assert_eq!((blobs.size(HELLO), blobs.delete_older(HELLO, hour)), (None, Ok(true)));
    }

    #[test]
    fn uploads_go_on_where_they_were_and_stay_within_their_limit() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let blobs = Blobs::open(dir.path()).expect("a new store");
        assert_eq!(blobs.upload("u-1", 0, &mut "he".as_bytes(), 5), Ok(2));
        assert!(blobs.upload("u-1", 0, &mut "he".as_bytes(), 5).is_err());
        assert!(blobs.upload("u-1", 2, &mut "lloo".as_bytes(), 5).is_err());
        assert_eq!(blobs.uploaded("u-1"), Some(2));
        assert_eq!(blobs.upload("u-1", 2, &mut "ll!".as_bytes(), 5), Ok(5));
        assert!(blobs.finish("u-1", HELLO).is_err());
        blobs.rewind("u-1", 4).expect("it can be cut");
        assert_eq!(blobs.uploaded("u-1"), Some(4), "a wrong digest leaves the upload");
        assert_eq!(blobs.upload("u-1", 4, &mut "o".as_bytes(), 5), Ok(5));
        assert_eq!(blobs.finish("u-1", HELLO), Ok(5));
        assert!(blobs.finish("u-1", HELLO).is_err());
        assert_eq!(blobs.upload("u-2", 0, &mut "he".as_bytes(), 5), Ok(2));
        blobs.abandon("u-2").expect("it can be removed");
        blobs.abandon("u-2").expect("removing nothing is fine");
        assert_eq!(blobs.uploaded("u-2"), None);
        assert!(blobs.upload("../u", 0, &mut "x".as_bytes(), 5).is_err());
    }
}
