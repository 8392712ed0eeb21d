//! The tokens by which container tools sign in: `AWS:<token>` as user and password, good for twelve hours.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>
//!
//! A token says who it was given to and until when, under a MAC whose key never leaves the engine: nothing is stored
//! for each.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use pileus_aws::ecr;
use pileus_core::{ApiError, Scope, Secret, Timestamp};
use pileus_service::{Caller, Context, Router};
use pileus_state::{Record, State};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::host;

/// How long a client may stay signed in.
const VALID: Duration = Duration::from_secs(12 * 3600);
/// How long the address of a layer is good.
const LAYER_VALID: Duration = Duration::from_secs(3600);
/// No token is longer.
const MAX_TOKEN: usize = 4096;

/// The key of the MAC of all tokens of one account and region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SigningKey {
    key: Secret,
}

impl SigningKey {
    const KEY: &str = "key";
}

impl Record for SigningKey {
    const KIND: &'static str = "ecr/signing-key";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Claims {
    account: String,
    region: String,
    arn: String,
    user_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    expires: Timestamp,
    /// The only blob that it opens, where it is for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layer: Option<String>,
}

/// Whom a token was given to, and for which registry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Holder {
    pub(crate) caller: Caller,
    pub(crate) scope: Scope,
    /// The only blob that the token opens, where it is for one.
    pub(crate) layer: Option<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token was not issued by this registry")]
    Invalid,
    #[error("the token has expired; get a new one with GetAuthorizationToken")]
    Expired,
}

pub(crate) fn operations(router: &mut Router) {
    router.on::<ecr::ops::GetAuthorizationToken>(get_authorization_token);
}

fn get_authorization_token(
    cx: &mut Context,
    _: ecr::GetAuthorizationTokenRequest,
) -> Result<ecr::GetAuthorizationTokenResponse, ApiError> {
    let (token, expires) = issue(cx, VALID, None);
    let data = ecr::AuthorizationData {
        authorization_token: Some(STANDARD.encode(format!("AWS:{token}"))),
        expires_at: Some(expires),
        proxy_endpoint: Some(format!("http://{}", host(cx.scope(), cx.endpoint))),
    };
    Ok(ecr::GetAuthorizationTokenResponse { authorization_data: Some(vec![data]) })
}

/// A token for one layer, to be part of its address.
pub(crate) fn for_layer(cx: &mut Context, digest: &str) -> String {
    issue(cx, LAYER_VALID, Some(digest.to_owned())).0
}

fn issue(cx: &mut Context, valid: Duration, layer: Option<String>) -> (String, Timestamp) {
    let (scope, expires) = (cx.scope().clone(), cx.now + valid);
    let claims = Claims {
        account: scope.account,
        region: scope.region,
        arn: cx.caller.arn.clone(),
        user_id: cx.caller.user_id.clone(),
        session: cx.caller.session.clone(),
        expires,
        layer,
    };
    let text = serde_json::to_vec(&claims).expect("claims are plain text");
    let claims = URL_SAFE_NO_PAD.encode(text);
    let mac = mac(&key(cx), &claims).finalize().into_bytes();
    (format!("{claims}.{}", URL_SAFE_NO_PAD.encode(mac)), expires)
}

/// The key of this account and region, made when it is first needed.
fn key(cx: &mut Context) -> Secret {
    if let Some(known) = cx.tx.get::<SigningKey>(SigningKey::KEY) {
        return known.key.clone();
    }
    let mut bytes = [0; 32];
    (cx.entropy)(&mut bytes);
    let key = Secret::new(hex::encode(bytes));
    cx.tx.put(SigningKey { key: key.clone() });
    key
}

fn mac(key: &Secret, claims: &str) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.reveal().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(claims.as_bytes());
    mac
}

/// Whom a token was given to, if it is genuine and still good.
pub(crate) fn verify(state: &State, token: &str, now: Timestamp) -> Result<Holder, TokenError> {
    let (claims, tag) =
        token.split_once('.').filter(|_| token.len() <= MAX_TOKEN).ok_or(TokenError::Invalid)?;
    let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Invalid);
    let said: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Invalid)?;
    let scope = Scope::new(&said.account, &said.region);
    let key = state.get::<SigningKey>(&scope, SigningKey::KEY).ok_or(TokenError::Invalid)?;
    mac(&key.key, claims).verify_slice(&decode(tag)?).map_err(|_| TokenError::Invalid)?;
    if said.expires <= now {
        return Err(TokenError::Expired);
    }
    let Claims { arn, account, user_id, session, .. } = said;
    let caller = Caller { arn, account, user_id, session };
    Ok(Holder { caller, scope, layer: said.layer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, token};

    #[test]
    fn a_token_tells_its_holder_until_it_expires() {
        let mut cloud = cloud();
        let text = token(&mut cloud);
        let holder = verify(&cloud.state, &text, cloud.now).unwrap();
        assert_eq!((holder.caller, holder.scope), (cloud.caller.clone(), cloud.scope.clone()));
        cloud.advance(VALID);
        assert_eq!(verify(&cloud.state, &text, cloud.now), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_of_another_make_is_refused() {
        let mut cloud = cloud();
        let good = token(&mut cloud);
        let (claims, tag) = good.split_once('.').unwrap();
        let forged = URL_SAFE_NO_PAD.decode(claims).unwrap();
        let forged = String::from_utf8(forged).unwrap().replace("root", "toor");
        let forged = format!("{}.{tag}", URL_SAFE_NO_PAD.encode(forged));
        let elsewhere = good.replace('.', "");
        for bad in
            ["", ".", "a.b", &forged, &elsewhere, &format!("{good}x"), &format!("{}{good}", "a".repeat(5000))]
        {
            assert_eq!(verify(&cloud.state, bad, cloud.now), Err(TokenError::Invalid), "{bad}");
        }
        assert_eq!(verify(&State::default(), &good, cloud.now), Err(TokenError::Invalid));
    }
}
