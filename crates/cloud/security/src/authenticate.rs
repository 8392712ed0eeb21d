//! Whose access key it is, and with what secret its requests are signed.

use pileus_core::{Scope, Secret, Timestamp};
use pileus_service::Caller;
use pileus_state::State;

use crate::role::{self, Role};
use crate::session::{self, Session};

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

/// The credential of an access key: `test` is the administrator of the default account, twelve digits the one of that
/// account, both with the secret `test`; other keys are those of role sessions.
///
/// # Errors
/// The key is unknown or has expired, or its role is gone.
pub fn authenticate(state: &State, access_key: &str, now: Timestamp) -> Result<Credential, AuthFailure> {
    if access_key == ADMINISTRATOR_KEY {
        return Ok(administrator(Scope::DEFAULT_ACCOUNT));
    }
    if access_key.len() == 12 && access_key.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(administrator(access_key));
    }
    let account = session::account_of(access_key).ok_or(AuthFailure::Unknown)?;
    let scope = Scope::new(&account, Scope::DEFAULT_REGION).global();
    let session = state.get::<Session>(&scope, access_key).ok_or(AuthFailure::Unknown)?;
    let role = state.get::<Role>(&scope, &role::key(&session.role));
    if !role.is_some_and(|role| session.is_of(&role)) {
        return Err(AuthFailure::Unknown);
    }
    if session.expires <= now {
        return Err(AuthFailure::Expired);
    }
    Ok(Credential {
        secret: session.secret.clone(),
        session_token: Some(session.token.clone()),
        caller: session.caller(&scope),
    })
}

fn administrator(account: &str) -> Credential {
    Credential {
        secret: Secret::new(ADMINISTRATOR_SECRET),
        session_token: None,
        caller: Caller {
            arn: format!("arn:aws:iam::{account}:root"),
            account: account.to_owned(),
            user_id: account.to_owned(),
        },
    }
}
