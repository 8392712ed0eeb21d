//! Whose access key it is, and with what secret its requests are signed.

use pileus_core::{Scope, Secret, Timestamp};
use pileus_service::Caller;
use pileus_state::State;

use crate::mint::account_of;
use crate::mode::is_strict;
use crate::session::Session;
use crate::user::{self, key::AccessKey};

/// The secret of every administrator's key: these are no secrets, the engine listens on loopback only.
const ADMINISTRATOR_SECRET: &str = "test";
const ADMINISTRATOR_KEY: &str = "test";

/// What a signature is to be verified with, and who made it if it is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub secret: Secret,
    /// The session token that must come with it.
    pub session_token: Option<Secret>,
    pub caller: Caller,
}

/// Why an access key does not count. Protocols have codes of their own for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// `InvalidClientTokenId`, `UnrecognizedClientException` or `AuthFailure`.
    #[error("The security token included in the request is invalid.")]
    Unknown,
    /// `ExpiredToken`, `ExpiredTokenException` or `RequestExpired`.
    #[error("The security token included in the request is expired")]
    Expired,
}

/// The credential of an access key. Those that were issued here are of users, roots and sessions. Unless the engine is
/// strict, `test` is the administrator of the default account too, and twelve digits the one of that account, both with
/// the secret `test`.
///
/// # Errors
/// The key is unknown, switched off or has expired, or its user or role is gone.
pub fn authenticate(state: &State, access_key: &str, now: Timestamp) -> Result<Credential, AuthFailure> {
    if let Some(account) = administrated(access_key) {
        return if is_strict(state) { Err(AuthFailure::Unknown) } else { Ok(administrator(account)) };
    }
    let account = account_of(access_key).ok_or(AuthFailure::Unknown)?;
    let scope = Scope::new(&account, Scope::DEFAULT_REGION).global();
    if let Some(key) = state.get::<AccessKey>(&scope, access_key) {
        return long_term(state, &scope, &key).ok_or(AuthFailure::Unknown);
    }
    let session = state.get::<Session>(&scope, access_key).ok_or(AuthFailure::Unknown)?;
    let caller = session.caller(state, &scope).ok_or(AuthFailure::Unknown)?;
    if session.expires <= now {
        return Err(AuthFailure::Expired);
    }
    Ok(Credential { secret: session.secret.clone(), session_token: Some(session.token.clone()), caller })
}

/// Whether an access key can only have been issued here: the others count because they come from this host.
pub fn is_issued(access_key: &str) -> bool {
    administrated(access_key).is_none()
}

/// The account that a key without a secret administrates.
fn administrated(access_key: &str) -> Option<&str> {
    let account = access_key.len() == 12 && access_key.bytes().all(|byte| byte.is_ascii_digit());
    match access_key {
        ADMINISTRATOR_KEY => Some(Scope::DEFAULT_ACCOUNT),
        access_key => account.then_some(access_key),
    }
}

fn long_term(state: &State, scope: &Scope, key: &AccessKey) -> Option<Credential> {
    let caller = match &key.user {
        None => administrator(&scope.account).caller,
        Some(name) => user::named(state, scope, name).filter(|user| key.is_of(user))?.caller(scope, None),
    };
    key.active.then(|| Credential { secret: key.secret.clone(), session_token: None, caller })
}

fn administrator(account: &str) -> Credential {
    Credential {
        secret: Secret::new(ADMINISTRATOR_SECRET),
        session_token: None,
        caller: Caller {
            arn: format!("arn:aws:iam::{account}:root"),
            account: account.to_owned(),
            user_id: account.to_owned(),
            session: None,
        },
    }
}
