//! STS: who am I, and may I be somebody else.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>

use std::time::Duration;

use pileus_aws::sts::{
    AssumeRoleRequest, AssumeRoleResponse, AssumedRoleUser, Credentials, GetCallerIdentityRequest,
    GetCallerIdentityResponse, ops,
};
use pileus_core::{ApiError, Arn, Scope};
use pileus_service::{Caller, Context, Router};
use pileus_state::Tx;

use crate::authorize::{authorize, caller_keys, denied, is_administrator, role_of};
use crate::policy::{ContextKeys, Decision, Principal, Request, evaluate_trust};
use crate::role::{self, Role};
use crate::session::{self, Mint};
use crate::text::invalid;

const ACTION: &str = "sts:AssumeRole";
/// The longest session, in seconds, that a role session can start.
const MAX_CHAINED: i64 = 3600;

pub(crate) fn operations(router: &mut Router) {
    router.on::<ops::GetCallerIdentity>(get_caller_identity).on::<ops::AssumeRole>(assume_role);
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

/// Unlike AWS, an account's root may assume roles: here it is the only administrator there is.
fn assume_role(cx: &mut Context, input: AssumeRoleRequest) -> Result<AssumeRoleResponse, ApiError> {
    let named = Arn::parse(&input.role_arn)
        .filter(|arn| arn.service == "iam" && arn.resource.starts_with("role/"))
        .ok_or_else(|| invalid(format!("{} is invalid", input.role_arn)))?;
    let scope = Scope::new(named.account, Scope::DEFAULT_REGION).global();
    let caller = cx.caller;
    let role = cx.tx.within(scope.clone(), |tx| role::get(tx, named.name()));
    // Whether a role exists is nobody's business who may not assume it.
    let unknown = || refused(caller, &input.role_arn);
    let role = role.filter(|role| role.arn(&scope) == input.role_arn).ok_or_else(unknown)?;
    check_trust(cx.tx, caller, &role, &input)?;
    let seconds = input.duration_seconds.unwrap_or(3600);
    check_duration(caller, &role, seconds)?;
    let lifetime = Duration::from_secs(seconds.unsigned_abs());
    let (now, entropy) = (cx.now, cx.entropy);
    let mut mint = Mint { ids: cx.ids, entropy };
    let session = cx.tx.within(scope.clone(), |tx| {
        session::start(tx, &mut mint, &role, &input.role_session_name, lifetime, now)
    });
    let identity = session.caller(&scope);
    Ok(AssumeRoleResponse {
        credentials: Some(Credentials {
            access_key_id: Some(session.access_key),
            secret_access_key: Some(session.secret.reveal().to_owned()),
            session_token: Some(session.token.reveal().to_owned()),
            expiration: Some(session.expires),
        }),
        assumed_role_user: Some(AssumedRoleUser {
            assumed_role_id: Some(identity.user_id),
            arn: Some(identity.arn),
        }),
        packed_policy_size: None,
        source_identity: None,
    })
}

fn refused(caller: &Caller, role: &str) -> ApiError {
    let mut error = denied(caller, ACTION, role, "");
    error.message.truncate(error.message.trim_end().len());
    error
}

/// The trust policy must allow the caller. If it names the caller's account only, or the role is in another account,
/// the caller's own policies must allow it too.
fn check_trust(tx: &Tx, caller: &Caller, role: &Role, input: &AssumeRoleRequest) -> Result<(), ApiError> {
    let own_role = role_of(tx, caller).map(|(scope, role)| role.arn(&scope));
    let mut keys = caller_keys(caller, own_role.clone());
    keys.insert("sts:rolesessionname".into(), vec![input.role_session_name.clone()]);
    keys.extend(input.external_id.iter().map(|id| ("sts:externalid".to_owned(), vec![id.clone()])));
    let arns = own_role.iter().map(String::as_str).chain([caller.arn.as_str()]).collect();
    let principal = Principal::Aws { account: &caller.account, arns };
    let request = Request { action: ACTION, resource: &input.role_arn, keys: &keys };
    let (decision, by_name) = evaluate_trust(&role.trust()?, &principal, &request);
    if decision != Decision::Allow {
        return Err(refused(caller, &input.role_arn));
    }
    let same_account = Arn::parse(&input.role_arn).is_some_and(|arn| arn.account == caller.account);
    if by_name && same_account {
        return Ok(());
    }
    authorize(tx, caller, ACTION, &input.role_arn, keys)
}

fn check_duration(caller: &Caller, role: &Role, seconds: i64) -> Result<(), ApiError> {
    if seconds > role.max_session_seconds {
        return Err(invalid(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    if seconds > MAX_CHAINED && !is_administrator(caller) {
        return Err(invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        ));
    }
    Ok(())
}

/// Whether the role lets a service have it, on behalf of a resource of this account.
pub(crate) fn trusts_service(
    role: &Role,
    service: &str,
    role_arn: &str,
    account: &str,
    source_arn: &str,
) -> Result<bool, ApiError> {
    let keys = ContextKeys::from([
        ("aws:sourceaccount".to_owned(), vec![account.to_owned()]),
        ("aws:sourcearn".to_owned(), vec![source_arn.to_owned()]),
    ]);
    let request = Request { action: ACTION, resource: role_arn, keys: &keys };
    let (decision, _) = evaluate_trust(&role.trust()?, &Principal::Service(service), &request);
    Ok(decision == Decision::Allow)
}
