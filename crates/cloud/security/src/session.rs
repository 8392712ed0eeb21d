//! Role sessions: temporary credentials, kept until they expire so that they outlive a restart of the engine.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp.html>

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_core::{IdGen, Scope, Secret, Timestamp};
use pileus_service::Caller;
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::role::Role;

/// Temporary credentials of a role, in the global scope of its account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// `ASIA…`
    pub(crate) access_key: String,
    pub(crate) secret: Secret,
    pub(crate) token: Secret,
    pub(crate) role: String,
    /// Of the role as it was: a new role of the same name does not revive old sessions.
    role_id: String,
    pub(crate) name: String,
    pub(crate) expires: Timestamp,
}

impl Record for Session {
    const KIND: &'static str = "sts/session";

    fn key(&self) -> String {
        self.access_key.clone()
    }
}

impl Session {
    pub(crate) fn caller(&self, scope: &Scope) -> Caller {
        let resource = format_args!("assumed-role/{}/{}", self.role, self.name);
        Caller {
            arn: scope.global().arn("sts", resource),
            account: scope.account.clone(),
            user_id: format!("{}:{}", self.role_id, self.name),
        }
    }

    pub(crate) fn is_of(&self, role: &Role) -> bool {
        self.role_id == role.id
    }
}

/// Where new credentials come from: names from the ids, secrets from the operating system.
pub struct Mint<'a> {
    pub ids: &'a mut IdGen,
    pub entropy: &'a dyn Fn(&mut [u8]),
}

/// Starts a session of `role`, which is in the (global) scope of the transaction. Forgets the sessions there that
/// have expired, so that their number stays bounded by what is in use.
pub(crate) fn start(
    tx: &mut Tx,
    mint: &mut Mint,
    role: &Role,
    name: &str,
    lifetime: Duration,
    now: Timestamp,
) -> Session {
    for old in tx.list::<Session>().iter().filter(|session| session.expires <= now) {
        tx.delete::<Session>(&old.access_key);
    }
    let session = Session {
        access_key: access_key(&tx.scope().account, mint.ids),
        secret: secret::<30>(mint.entropy),
        token: secret::<96>(mint.entropy),
        role: role.name.clone(),
        role_id: role.id.clone(),
        name: name.to_owned(),
        expires: now + lifetime,
    };
    tx.put(session.clone());
    session
}

/// `N` random bytes as base64: 30 make the 40 characters of a secret access key.
fn secret<const N: usize>(entropy: &dyn Fn(&mut [u8])) -> Secret {
    let mut bytes = [0; N];
    entropy(&mut bytes);
    Secret::new(STANDARD.encode(bytes))
}

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Characters of base32 after the prefix, and how many random bits follow the account's 40.
const DIGITS: u32 = 16;
const RANDOM_BITS: u32 = 39;

/// A new access key id. As AWS's do, it carries its account: bits 40 to 79 from the right but one.
fn access_key(account: &str, ids: &mut IdGen) -> String {
    let account: u128 = account.parse().unwrap_or(0);
    let random = u128::from_str_radix(&ids.hex(10), 16).unwrap_or(0) & ((1 << RANDOM_BITS) - 1);
    let number = (account << RANDOM_BITS) | random;
    let digit = |index: u32| char::from(ALPHABET[(number >> (5 * (DIGITS - 1 - index)) & 31) as usize]);
    let digits: String = (0..DIGITS).map(digit).collect();
    format!("ASIA{digits}")
}

/// The account that a temporary access key id carries.
pub(crate) fn account_of(access_key: &str) -> Option<String> {
    let digits = access_key.strip_prefix("ASIA").filter(|digits| digits.len() == DIGITS as usize)?;
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
        let mut ids = IdGen::seeded(3);
        for account in ["000000000000", "123456789012", "999999999999"] {
            let key = access_key(account, &mut ids);
            assert!(key.starts_with("ASIA") && key.len() == 20, "{key}");
            assert_eq!(account_of(&key).as_deref(), Some(account));
        }
        for key in ["ASIA", "AKIAIOSFODNN7EXAMPLE", "ASIA1111111111111111", "ASIA7777777777777777", "test"] {
            assert_eq!(account_of(key), None, "{key}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let secret = secret::<30>(&|bytes| bytes.fill(7));
        assert_eq!(secret.reveal().len(), 40);
        assert_eq!(format!("{secret:?}"), "***");
    }
}
