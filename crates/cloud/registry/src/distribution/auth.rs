//! Who makes a request to the registry: the holder of the token that it carries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use pileus_core::{Scope, Secret, Timestamp};
use pileus_service::Caller;
use pileus_state::State;

use super::{Refusal, Request, Route};
use crate::reference;
use crate::token::{self, Holder};

/// Who makes a request, and to whose registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    pub caller: Caller,
    pub scope: Scope,
}

/// Finds out who makes a request. Whether they may is for the caller to ask: see [`Request::action`].
///
/// # Errors
/// There is no valid token.
pub fn authenticate(state: &State, request: &Request, now: Timestamp) -> Result<Principal, Refusal> {
    let (text, in_address) = match (&request.token, &request.authorization) {
        (Some(token), _) => (token.clone(), true),
        (None, Some(header)) => (password(header)?, false),
        (None, None) => {
            return Err(Refusal::unauthorized("sign in with the token of ecr:GetAuthorizationToken"));
        }
    };
    let holder =
        token::verify(state, text.reveal(), now).map_err(|error| Refusal::unauthorized(error.to_string()))?;
    if in_address || holder.layer.is_some() {
        check_layer(request, &holder)?;
    }
    // A token is good for every registry; whether its holder may use it is for policies to say.
    let named = reference::registry(&request.host);
    let foreign = holder.layer.is_some() && named.as_ref().is_some_and(|named| *named != holder.scope);
    if foreign {
        return Err(Refusal::denied("the token is for an address in another registry"));
    }
    Ok(Principal { caller: holder.caller, scope: named.unwrap_or(holder.scope) })
}

/// The password of `Basic base64(AWS:<password>)`.
fn password(header: &Secret) -> Result<Secret, Refusal> {
    let malformed = || Refusal::unauthorized("the Authorization header is not Basic with the user AWS");
    let (scheme, encoded) = header.reveal().split_once(' ').ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(malformed());
    }
    let pair = STANDARD.decode(encoded.trim()).ok().and_then(|pair| String::from_utf8(pair).ok());
    let pair = pair.ok_or_else(malformed)?;
    pair.strip_prefix("AWS:").map(Secret::new).ok_or_else(malformed)
}

/// The token of a layer's address opens that layer and nothing else.
fn check_layer(request: &Request, holder: &Holder) -> Result<(), Refusal> {
    let read = request.method == Method::GET || request.method == Method::HEAD;
    match &request.route {
        Route::Blob { digest, .. } if read && holder.layer.as_ref() == Some(digest) => Ok(()),
        _ => Err(Refusal::denied("the token is for another address")),
    }
}
