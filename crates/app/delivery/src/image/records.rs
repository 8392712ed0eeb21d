//! What earlier builds made, by the key of what they made it from: small JSON files in the cache
//! directory. A record that cannot be read counts as absent; the work is then done again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::ImageError;
use super::blobs::replace_file;

#[derive(Debug)]
pub(super) struct Records {
    root: PathBuf,
}

impl Records {
    pub(super) fn open(cache_dir: &Path) -> Result<Self, ImageError> {
        let root = cache_dir.join("records");
        fs::create_dir_all(&root).map_err(ImageError::io("create", &root))?;
        Ok(Self { root })
    }

    /// Held while the result lives; another builder on the same cache waits.
    pub(super) fn lock(&self) -> Result<File, ImageError> {
        let path = self.root.join("lock");
        let file = File::create(&path).map_err(ImageError::io("create", &path))?;
        file.lock().map_err(ImageError::io("lock", &path))?;
        Ok(file)
    }

    pub(super) fn get<T: DeserializeOwned>(&self, kind: &str, key: &str) -> Option<T> {
        let bytes = fs::read(self.path(kind, key)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub(super) fn put<T: Serialize>(&self, kind: &str, key: &str, value: &T) -> Result<(), ImageError> {
        let path = self.path(kind, key);
        let json = serde_json::to_vec_pretty(value).expect("records have string keys only");
        replace_file(&path, &json)
    }

    fn path(&self, kind: &str, key: &str) -> PathBuf {
        self.root.join(format!("{kind}-{key}.json"))
    }
}

/// A key for a record out of everything that decides it. Parts are length-prefixed, so that no two
/// lists of parts give the same key by running together.
pub(super) fn key(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
        assert_eq!(key(&[b"ab", b"c"]), key(&[b"ab", b"c"]));
    }

    #[test]
    fn a_record_is_read_back_and_a_broken_one_is_absent() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        assert_eq!(records.get::<Vec<u8>>("app", "k"), None);
        records.put("app", "k", &vec![1u8, 2]).unwrap();
        assert_eq!(records.get::<Vec<u8>>("app", "k"), Some(vec![1, 2]));
        fs::write(dir.path().join("records/app-k.json"), "{").unwrap();
        assert_eq!(records.get::<Vec<u8>>("app", "k"), None);
    }
}
