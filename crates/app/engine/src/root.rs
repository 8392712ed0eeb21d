//! The first credential of a strict engine: an access key of the default account's root, in a file of the home.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use pileus_core::Secret;
use pileus_security::{Mint, root_key};

use crate::api::Engine;
use crate::{EngineError, Home, entropy};

/// Makes the engine strict, or not, and sees to it that a strict one can be used: the key of root is in the home's
/// file, and counts.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn set_strict(engine: &Engine, home: &Home, strict: bool) -> Result<(), EngineError> {
    let now = engine.clock.now();
    let key = engine.transact(|tx, ids| {
        pileus_security::set_strict(tx, strict);
        let mut mint = Mint { ids, entropy: &entropy::fill_or_end };
        Ok(strict.then(|| root_key(tx, &mut mint, now)))
    });
    let Some((id, secret)) = key.map_err(io::Error::other)? else { return Ok(()) };
    let path = home.root_credentials();
    if read(&path).is_none_or(|known| known.0 != id || known.1 != secret) {
        write(&path, &id, &secret)?;
    }
    tracing::info!(path = %path.display(), "strict: only credentials that were issued here count; root's are in this file");
    Ok(())
}

fn write(path: &Path, id: &str, secret: &Secret) -> io::Result<()> {
    let partial = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    let secret = secret.reveal();
    writeln!(file, "[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}")?;
    file.sync_all()?;
    fs::rename(partial, path)
}

/// The access key id and the secret that are in a credentials file.
pub(crate) fn read(path: &Path) -> Option<(String, Secret)> {
    let text = fs::read_to_string(path).ok()?;
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
    };
    Some((value("aws_access_key_id")?, Secret::new(value("aws_secret_access_key")?)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_its_owner_reads_what_was_written() {
        let path = std::env::temp_dir().join(format!("pileus-root-{}", std::process::id()));
        assert_eq!(read(&path), None);
        write(&path, "AKIAEXAMPLE", &Secret::new("a/b+c=")).expect("a file");
        assert_eq!(read(&path), Some(("AKIAEXAMPLE".to_owned(), Secret::new("a/b+c="))));
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(path).expect("it can be removed");
    }
}
