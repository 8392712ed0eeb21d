//! Temporary credentials of users: for themselves, and for others on their behalf.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html>

use std::time::Duration;

use pileus_aws::sts::{
    FederatedUser, GetFederationTokenRequest, GetFederationTokenResponse, GetSessionTokenRequest,
    GetSessionTokenResponse, ops,
};
use pileus_core::{ApiError, Arn};
use pileus_service::{Context, Router};

use super::assume::{request_tags, session_policies};
use super::credentials;
use crate::authorize::denied;
use crate::global::globally;
use crate::grants::Grantee as _;
use crate::mint::Mint;
use crate::session::{self, Holder, Issuer, Limits};
use crate::user::User;

const DEFAULT_SECONDS: i64 = 12 * 3600;
/// Root gets no more than an hour.
const MAX_ROOT_SECONDS: i64 = 3600;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::GetSessionToken>(|cx, input| globally(cx, |cx| get_session_token(cx, &input)))
        .on::<ops::GetFederationToken>(|cx, input| globally(cx, |cx| get_federation_token(cx, input)));
}

/// Who asks with long-term credentials: a session cannot.
fn issuer(cx: &Context, action: &str) -> Result<Issuer, ApiError> {
    if cx.caller.session.is_some() {
        let message = format!("Cannot call {action} with session credentials");
        return Err(ApiError::new("AccessDenied", 403, message));
    }
    let arn = Arn::parse(&cx.caller.arn).filter(|arn| arn.service == "iam");
    match arn {
        Some(arn) if arn.resource == "root" => Ok(Issuer::Root),
        Some(arn) => User::named(cx.tx, arn.name()).map(|user| Issuer::User { name: user.name, id: user.id }),
        None => Err(denied(cx.caller, &format!("sts:{action}"), &cx.caller.arn, "")),
    }
}

fn lifetime(issuer: &Issuer, seconds: Option<i64>) -> Duration {
    let seconds = seconds.unwrap_or(DEFAULT_SECONDS);
    let seconds = if *issuer == Issuer::Root { seconds.min(MAX_ROOT_SECONDS) } else { seconds };
    Duration::from_secs(seconds.unsigned_abs())
}

fn get_session_token(
    cx: &mut Context,
    input: &GetSessionTokenRequest,
) -> Result<GetSessionTokenResponse, ApiError> {
    let issuer = issuer(cx, "GetSessionToken")?;
    let lifetime = lifetime(&issuer, input.duration_seconds);
    let of = match issuer {
        Issuer::Root => Holder::Root,
        Issuer::User { name, id } => Holder::User { name, id },
    };
    let mut mint = Mint { ids: cx.ids, entropy: cx.entropy };
    let session = session::start(cx.tx, &mut mint, of, Limits::default(), lifetime, cx.now);
    Ok(GetSessionTokenResponse { credentials: Some(credentials(session)) })
}

/// Without policies the federated user may do nothing but what resources' policies allow.
fn get_federation_token(
    cx: &mut Context,
    input: GetFederationTokenRequest,
) -> Result<GetFederationTokenResponse, ApiError> {
    let issuer = issuer(cx, "GetFederationToken")?;
    let lifetime = lifetime(&issuer, input.duration_seconds);
    let documents = session_policies(cx.tx, input.policy.as_deref(), input.policy_arns.as_deref())?;
    let limits = Limits {
        policies: Some(documents.unwrap_or_default()),
        tags: request_tags(input.tags.as_deref().unwrap_or_default())?,
        ..Limits::default()
    };
    let user = FederatedUser {
        federated_user_id: Some(format!("{}:{}", cx.scope().account, input.name)),
        arn: Some(cx.scope().arn("sts", format_args!("federated-user/{}", input.name))),
    };
    let of = Holder::Federated { issuer, name: input.name };
    let mut mint = Mint { ids: cx.ids, entropy: cx.entropy };
    let session = session::start(cx.tx, &mut mint, of, limits, lifetime, cx.now);
    Ok(GetFederationTokenResponse {
        credentials: Some(credentials(session)),
        federated_user: Some(user),
        packed_policy_size: None,
    })
}
