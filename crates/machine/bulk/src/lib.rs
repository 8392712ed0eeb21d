//! Stores for what is too much for the state: log events, metric points and blobs.
//!
//! All are plain files under one directory, written by appending or by renaming a finished file into place. A torn
//! last line, as a kill or a loss of power leaves it, is cut off when the file is next opened.

mod blobs;
mod lines;
mod logs;
mod metrics;

use std::path::Path;
use std::sync::Arc;

use pileus_contract::{BlobStore, Bulk, MachineError};

/// Opens the three stores under `dir`, creating what is missing.
///
/// # Errors
/// The directory cannot be made, or a file in it is damaged beyond its last line.
pub fn open(dir: &Path) -> Result<Bulk, MachineError> {
    Ok(Bulk {
        logs: Arc::new(logs::Logs::open(&dir.join("logs"))?),
        metrics: Arc::new(metrics::Metrics::open(&dir.join("metrics"))?),
        blobs: Arc::new(blobs::Blobs::open(&dir.join("blobs"))?),
    })
}

/// Opens a store of blobs of its own under `dir`. Nobody goes on with the uploads of a process that has ended: they are
/// removed.
///
/// # Errors
/// The directory cannot be made or emptied.
pub fn open_objects(dir: &Path) -> Result<Arc<dyn BlobStore>, MachineError> {
    let uploads = dir.join("uploads");
    match std::fs::remove_dir_all(&uploads) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("empty", &uploads)(error)),
        _ => Ok(Arc::new(blobs::Blobs::open(dir)?)),
    }
}

/// Names what failed on which path.
fn failed<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(std::io::Error) -> MachineError + 'a {
    move |error| MachineError::new(format!("{what} {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_of_objects_end_with_their_process() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let objects = open_objects(dir.path()).expect("a new store");
        assert_eq!(objects.upload("u-1", 0, &mut "he".as_bytes(), 5), Ok(2));
        let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(objects.put(digest, &mut "hello".as_bytes(), 5), Ok(5));
        let again = open_objects(dir.path()).expect("the same store");
        assert_eq!((again.uploaded("u-1"), again.size(digest)), (None, Some(5)));
    }
}
