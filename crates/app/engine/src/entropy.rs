//! Randomness from the operating system, for ids' seeds and for secrets.

use std::fs::File;
use std::io::{self, Read as _};

/// Fills `bytes` with random bytes fit for secrets.
///
/// # Errors
/// `/dev/urandom` cannot be read.
pub(crate) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    File::open("/dev/urandom")?.read_exact(bytes)
}

/// The same for those who cannot go on without it.
pub(crate) fn fill_or_end(bytes: &mut [u8]) {
    if let Err(error) = fill(bytes) {
        tracing::error!(%error, "the engine ends: the system gives no randomness");
        std::process::exit(1);
    }
}

/// A seed for an id generator.
pub(crate) fn seed() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
