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

use pileus_contract::{Bulk, MachineError};

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

/// Names what failed on which path.
fn failed<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(std::io::Error) -> MachineError + 'a {
    move |error| MachineError::new(format!("{what} {}", path.display()), error)
}
