//! Rows as they stand on disk: encrypted and authenticated (AES-256-GCM, RFC 5116), since some hold secrets.
//!
//! The key lies beside the state in a file of its own, so that a copy of the state alone tells nothing. A row is a
//! version byte, the nonce (12 bytes) and the ciphertext with its tag; the row's key is authenticated with it, so that
//! rows cannot be swapped. Rows of before this was so begin with JSON's `{`, and are read as they are.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

const KEY_LEN: usize = 32;
const VERSION: u8 = 1;

pub(crate) struct Seal {
    key: LessSafeKey,
    random: SystemRandom,
}

impl Seal {
    /// Reads the key in the file at `path`, or makes one there.
    ///
    /// # Errors
    /// The file cannot be read or made, or does not hold a key.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let random = SystemRandom::new();
        let bytes = match read_key(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => make_key(path, &random)?,
            read => read?,
        };
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| damaged())?;
        Ok(Self { key: LessSafeKey::new(key), random })
    }

    /// The form on disk of a row's value.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub(crate) fn close_row(&self, row: &str, plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| io::Error::other("the system gives no randomness"))?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let (_, text) = sealed.split_at_mut(1 + NONCE_LEN);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(row), text)
            .map_err(|_| io::Error::other("a row is too large to be encrypted"))?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// A row's value from its form on disk.
    pub(crate) fn open_row<'a>(&self, row: &str, sealed: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        let Some(rest) = sealed.strip_prefix(&[VERSION]) else { return Ok(Cow::Borrowed(sealed)) };
        let unreadable = || "it is damaged, or encrypted with another key than that in state.key".to_owned();
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or_else(unreadable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unreadable())?;
        let mut text = text.to_vec();
        let length =
            self.key.open_in_place(nonce, Aad::from(row), &mut text).map_err(|_| unreadable())?.len();
        text.truncate(length);
        Ok(Cow::Owned(text))
    }
}

fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("it does not hold {KEY_LEN} bytes; put back a copy of it"))
}

fn read_key(path: &Path) -> io::Result<[u8; KEY_LEN]> {
    let mut bytes = Vec::with_capacity(KEY_LEN + 1);
    File::open(path)?.take(KEY_LEN as u64 + 1).read_to_end(&mut bytes)?;
    bytes.try_into().map_err(|_| damaged())
}

/// The key is on disk before anything is encrypted with it.
fn make_key(path: &Path, random: &SystemRandom) -> io::Result<[u8; KEY_LEN]> {
    let mut bytes = [0; KEY_LEN];
    random.fill(&mut bytes).map_err(|_| io::Error::other("the system gives no randomness"))?;
    let new = path.with_extension("key.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_row_is_read_by_its_own_key_in_its_own_place() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("state.key");
        let seal = Seal::open(&path).expect("a new key");
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let sealed = seal.close_row("a", b"{\"hunter\":2}").expect("randomness");
        assert!(!sealed.windows(6).any(|part| part == b"hunter"));
        let again = Seal::open(&path).expect("the same key");
        assert_eq!(&*again.open_row("a", &sealed).expect("the row"), b"{\"hunter\":2}");
        assert!(again.open_row("b", &sealed).is_err(), "a row in another's place");
        for cut in 1..sealed.len() {
            assert!(again.open_row("a", &sealed[..cut]).is_err());
        }
        let other = Seal::open(&dir.path().join("other.key")).expect("another key");
        assert!(other.open_row("a", &sealed).is_err());
        assert_eq!(&*other.open_row("a", b"{}").expect("a row of before"), b"{}");
        std::fs::write(&path, b"short").expect("a write");
        assert!(Seal::open(&path).is_err());
    }
}
