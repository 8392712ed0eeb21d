//! Who makes a request, for which account and region, and whether they may.

use bytes::Bytes;
use http::request::Parts;
use pileus_core::{ApiError, Clock as _, Scope, SystemClock, Timestamp};
use pileus_model::OperationSchema;
use pileus_security::policy::ContextKeys;
use pileus_service::Caller;
use pileus_state::{State, Tx};
use pileus_wire::Call;
use pileus_wire::sigv4::{self, AuthError, Key};

/// A caller whose signature is right, and where the request goes.
pub(crate) struct Identity {
    pub(crate) caller: Caller,
    pub(crate) scope: Scope,
}

/// Verifies the signature of a request for `call`. Sessions end by the engine's clock, `engine_now`.
///
/// # Errors
/// AWS's error for a missing, malformed, late or wrong signature.
pub(crate) fn authenticate(
    state: &State,
    call: &Call,
    parts: &Parts,
    body: &Bytes,
    engine_now: Timestamp,
) -> Result<Identity, ApiError> {
    let service = call.operation.service;
    // Clients sign with the machine's time, whatever the engine's clock says.
    let now = SystemClock::new(1.0).now();
    let mut failure = None;
    let mut caller = None;
    let lookup = |access_key: &str| match pileus_security::authenticate(state, access_key, engine_now) {
        Ok(credential) => {
            caller = Some(credential.caller);
            // Its end has been looked at already.
            let session = credential.session_token.map(|token| (token, Timestamp::from_millis(i64::MAX)));
            Some(Key { secret: credential.secret, session })
        }
        Err(error) => {
            failure = Some(error);
            None
        }
    };
    let verified = sigv4::verify(parts, body, service.signing_name, lookup, now);
    let verified = verified.map_err(|error| match failure {
        Some(pileus_security::AuthFailure::Expired) => {
            AuthError::ExpiredToken.into_api(call.dialect.protocol)
        }
        _ => error.into_api(call.dialect.protocol),
    })?;
    let caller = caller.expect("a signature is verified with the key of a caller");
    let scope = Scope::new(&caller.account, &verified.scope.region);
    Ok(Identity { caller, scope: if service.name == "iam" { scope.global() } else { scope } })
}

/// Checks the caller's policies. The resource is not known before the handler runs, so a policy must allow the
/// operation on every resource.
///
/// # Errors
/// AWS's denial.
pub(crate) fn authorize(state: &State, caller: &Caller, operation: &OperationSchema) -> Result<(), ApiError> {
    // AWS lets everybody ask who they are, and a role's trust policy alone may let somebody assume it: that handler
    // decides for itself.
    if operation.service.name == "sts" && ["GetCallerIdentity", "AssumeRole"].contains(&operation.name) {
        return Ok(());
    }
    let action = format!("{}:{}", operation.service.signing_name, operation.name);
    let tx = Tx::new(state, Scope::new(&caller.account, Scope::DEFAULT_REGION));
    pileus_security::authorize(&tx, caller, &action, "*", ContextKeys::new())
}
