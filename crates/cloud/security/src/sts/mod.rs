//! STS: who am I, and temporary credentials.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/>

mod assume;
mod federate;

use pileus_aws::sts::{
    Credentials, GetAccessKeyInfoRequest, GetAccessKeyInfoResponse, GetCallerIdentityRequest,
    GetCallerIdentityResponse, ops,
};
use pileus_core::ApiError;
use pileus_service::{Context, Router};

pub(crate) use self::assume::trusts_service;
use crate::mint::account_of;
use crate::session::Session;
use crate::text::invalid;

pub(crate) fn operations(router: &mut Router) {
    router.on::<ops::GetCallerIdentity>(get_caller_identity).on::<ops::GetAccessKeyInfo>(get_access_key_info);
    assume::operations(router);
    federate::operations(router);
}

fn get_caller_identity(
    cx: &mut Context,
    _: GetCallerIdentityRequest,
) -> Result<GetCallerIdentityResponse, ApiError> {
    Ok(GetCallerIdentityResponse {
        user_id: Some(cx.caller.user_id.clone()),
        account: Some(cx.caller.account.clone()),
        arn: Some(cx.caller.arn.clone()),
    })
}

/// The account is in the key itself.
fn get_access_key_info(
    _: &mut Context,
    input: GetAccessKeyInfoRequest,
) -> Result<GetAccessKeyInfoResponse, ApiError> {
    let account = account_of(&input.access_key_id);
    let account = account.ok_or_else(|| invalid(format!("{} is no access key id", input.access_key_id)))?;
    Ok(GetAccessKeyInfoResponse { account: Some(account) })
}

fn credentials(session: Session) -> Credentials {
    Credentials {
        access_key_id: Some(session.access_key),
        secret_access_key: Some(session.secret.reveal().to_owned()),
        session_token: Some(session.token.reveal().to_owned()),
        expiration: Some(session.expires),
    }
}
