//! New credentials. As AWS's do, an access key id carries its account.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_core::{IdGen, Secret};

/// The prefix of keys that stay until they are deleted.
pub(crate) const LONG_TERM: &str = "AKIA";
/// The prefix of keys of sessions.
pub(crate) const TEMPORARY: &str = "ASIA";

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Characters of base32 after the prefix, and how many random bits follow the account's 40.
const DIGITS: u32 = 16;
const RANDOM_BITS: u32 = 39;

/// Where new credentials come from: names from the ids, secrets from the operating system.
pub struct Mint<'a> {
    pub ids: &'a mut IdGen,
    pub entropy: &'a dyn Fn(&mut [u8]),
}

impl Mint<'_> {
    /// A new access key id: the account is in bits 40 to 79 from the right but one.
    pub(crate) fn access_key(&mut self, prefix: &str, account: &str) -> String {
        let account: u128 = account.parse().unwrap_or(0);
        let random = u128::from_str_radix(&self.ids.hex(10), 16).unwrap_or(0) & ((1 << RANDOM_BITS) - 1);
        let number = (account << RANDOM_BITS) | random;
        let digit = |index: u32| char::from(ALPHABET[(number >> (5 * (DIGITS - 1 - index)) & 31) as usize]);
        let digits: String = (0..DIGITS).map(digit).collect();
        format!("{prefix}{digits}")
    }

    /// `N` random bytes as base64: 30 make the 40 characters of a secret access key.
    pub(crate) fn secret<const N: usize>(&self) -> Secret {
        let mut bytes = [0; N];
        (self.entropy)(&mut bytes);
        Secret::new(STANDARD.encode(bytes))
    }
}

/// The account that an access key id of ours carries.
pub(crate) fn account_of(access_key: &str) -> Option<String> {
    let digits = access_key.strip_prefix(TEMPORARY).or_else(|| access_key.strip_prefix(LONG_TERM))?;
    if digits.len() != DIGITS as usize {
        return None;
    }
    let mut number: u128 = 0;
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|&known| known == digit)?;
        number = number << 5 | value as u128;
    }
    let account = number >> RANDOM_BITS & ((1 << 40) - 1);
    (account < 1_000_000_000_000).then(|| format!("{account:012}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_key_tells_its_account() {
        let mut mint = Mint { ids: &mut IdGen::seeded(3), entropy: &|bytes| bytes.fill(7) };
        for account in ["000000000000", "123456789012", "999999999999"] {
            for prefix in [LONG_TERM, TEMPORARY] {
                let key = mint.access_key(prefix, account);
                assert!(key.starts_with(prefix) && key.len() == 20, "{key}");
                assert_eq!(account_of(&key).as_deref(), Some(account));
            }
        }
        for key in ["ASIA", "ASIA1111111111111111", "ASIA7777777777777777", "test"] {
            assert_eq!(account_of(key), None, "{key}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let mint = Mint { ids: &mut IdGen::seeded(3), entropy: &|bytes| bytes.fill(7) };
        let secret = mint.secret::<30>();
        assert_eq!(secret.reveal().len(), 40);
        assert_eq!(format!("{secret:?}"), "***");
    }
}
