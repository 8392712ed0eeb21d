//! Whether a caller may do what it asks for.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>

use std::sync::Arc;

use pileus_core::{ApiError, Arn, Scope};
use pileus_service::Caller;
use pileus_state::Tx;

use crate::policy::{ContextKeys, Decision, Request, evaluate};
use crate::role::{self, Role};

/// Lets an account's administrator do everything, and a role session what the role's policies allow. `keys` are the
/// condition keys of the request, in lower case; those about the caller are added.
///
/// # Errors
/// AWS's denial, in the form of the service that `action` belongs to.
pub fn authorize(
    tx: &Tx,
    caller: &Caller,
    action: &str,
    resource: &str,
    mut keys: ContextKeys,
) -> Result<(), ApiError> {
    if is_administrator(caller) {
        return Ok(());
    }
    let role = role_of(tx, caller);
    keys.extend(caller_keys(caller, role.as_ref().map(|(scope, role)| role.arn(scope))));
    let request = Request { action, resource, keys: &keys };
    let decision = match role {
        Some((_, role)) => evaluate(&role.policies()?, &request),
        None => Decision::ImplicitDeny,
    };
    match decision {
        Decision::Allow => Ok(()),
        Decision::ImplicitDeny => {
            let reason = format!("because no identity-based policy allows the {action} action");
            Err(denied(caller, action, resource, &reason))
        }
        Decision::ExplicitDeny => {
            Err(denied(caller, action, resource, "with an explicit deny in an identity-based policy"))
        }
    }
}

pub(crate) fn is_administrator(caller: &Caller) -> bool {
    Arn::parse(&caller.arn).is_some_and(|arn| arn.service == "iam" && arn.resource == "root")
}

/// The role of a session, with the scope that it is in, as they were when the transaction began.
pub(crate) fn role_of(tx: &Tx, caller: &Caller) -> Option<(Scope, Arc<Role>)> {
    let arn = Arn::parse(&caller.arn).filter(|arn| arn.service == "sts")?;
    let (name, _) = arn.resource.strip_prefix("assumed-role/")?.split_once('/')?;
    let scope = Scope::new(&caller.account, Scope::DEFAULT_REGION).global();
    let role = tx.base().get::<Role>(&scope, &role::key(name))?;
    Some((scope, role))
}

/// What policies can ask about the caller.
pub(crate) fn caller_keys(caller: &Caller, role_arn: Option<String>) -> ContextKeys {
    let kind = if role_arn.is_some() { "AssumedRole" } else { "Account" };
    let principal = role_arn.unwrap_or_else(|| caller.arn.clone());
    [
        ("aws:principalarn", principal),
        ("aws:principalaccount", caller.account.clone()),
        ("aws:principaltype", kind.to_owned()),
        ("aws:userid", caller.user_id.clone()),
    ]
    .map(|(key, value)| (key.to_owned(), vec![value]))
    .into()
}

/// The denial in the form of the action's service.
pub(crate) fn denied(caller: &Caller, action: &str, resource: &str, reason: &str) -> ApiError {
    let message = format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} {reason}",
        caller.arn
    );
    match action.split(':').next().unwrap_or_default() {
        "ec2" => {
            let message = format!("You are not authorized to perform this operation. {message}");
            ApiError::new("UnauthorizedOperation", 403, message)
        }
        "ecs" | "ecr" | "logs" | "secretsmanager" | "application-autoscaling" => {
            ApiError::client("AccessDeniedException", message)
        }
        _ => ApiError::new("AccessDenied", 403, message),
    }
}
