//! Whether a caller may do what it asks for.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>

use pileus_core::{ApiError, Arn};
use pileus_service::Caller;
use pileus_state::Tx;

use crate::policy::{
    Applying, ContextKeys, Kind, Policy, Relation, Request, Source, Verdict, evaluate, parse,
    through_endpoint,
};
use crate::subject::Subject;

/// One thing that a caller wants to do with one resource.
#[derive(Clone, Debug, Default)]
pub struct Access<'a> {
    /// `service:Operation`
    pub action: &'a str,
    /// An ARN, or `*` where the action knows no resource.
    pub resource: &'a str,
    /// The account that has the resource; absent: the one in its ARN, or the caller's.
    pub owner: Option<&'a str>,
    /// The resource's own policy.
    pub resource_policy: Option<&'a str>,
    /// The condition keys of the request, in lower case; those about the caller are added.
    pub keys: ContextKeys,
}

/// Lets a caller do what its policies allow, and an account's root everything there. Resources that have a policy of
/// their own, or are another account's, take [`authorize_with`].
///
/// # Errors
/// AWS's denial, in the form of the service that `action` belongs to.
pub fn authorize(
    tx: &Tx,
    caller: &Caller,
    action: &str,
    resource: &str,
    keys: ContextKeys,
) -> Result<(), ApiError> {
    let owner = Some(caller.account.as_str());
    authorize_with(tx, caller, Access { action, resource, owner, keys, ..Access::default() })
}

/// The whole of AWS's evaluation: explicit denies, the resource's policy, identity policies, boundary, session policies;
/// of two accounts both must allow.
///
/// # Errors
/// AWS's denial, in the form of the service that the action belongs to.
pub fn authorize_with(tx: &Tx, caller: &Caller, access: Access) -> Result<(), ApiError> {
    let foreign = is_foreign(access.owner, access.resource, &caller.account);
    if is_administrator(caller) && !foreign && access.resource_policy.is_none() {
        return Ok(());
    }
    let policy = access.resource_policy.map(|document| parse(Kind::Resource, document)).transpose()?;
    let relation = if foreign { Relation::OtherAccount } else { Relation::SameAccount };
    let verdict = verdict(tx, caller, &access, policy.as_ref(), relation)?;
    allowed(caller, access.action, access.resource, verdict)
}

/// Whether a resource is another account's. What is AWS's own, as its managed policies, is everybody's.
pub(crate) fn is_foreign(owner: Option<&str>, resource: &str, account: &str) -> bool {
    let owner = owner.or_else(|| Arn::parse(resource).map(|arn| arn.account));
    owner.is_some_and(|owner| !matches!(owner, "" | "aws") && owner != account)
}

/// Whether the policy of the VPC endpoint that a request came through lets it pass: a condition besides the others.
///
/// # Errors
/// AWS's denial, in the form of the service that the action belongs to.
pub fn authorize_through(
    tx: &Tx,
    caller: &Caller,
    endpoint: &Policy,
    access: &Access,
) -> Result<(), ApiError> {
    let subject = Subject::of(tx.base(), caller)?;
    let mut keys = access.keys.clone();
    keys.extend(subject.keys.clone());
    let request = Request { action: access.action, resource: access.resource, keys: &keys };
    let verdict = through_endpoint(endpoint, &subject.principal(), &request);
    allowed(caller, access.action, access.resource, verdict)
}

/// What the policies say. Reads the state as it was when the transaction began.
pub(crate) fn verdict(
    tx: &Tx,
    caller: &Caller,
    access: &Access,
    resource: Option<&Policy>,
    relation: Relation,
) -> Result<Verdict, ApiError> {
    let subject = Subject::of(tx.base(), caller)?;
    let mut keys = access.keys.clone();
    keys.extend(subject.keys.clone());
    let request = Request { action: access.action, resource: access.resource, keys: &keys };
    let policies = Applying {
        identity: &subject.identity,
        boundary: subject.boundary.as_deref(),
        session: subject.session.as_deref(),
        resource,
        relation,
    };
    Ok(evaluate(&policies, &subject.principal(), &request))
}

/// # Errors
/// The verdict is a denial.
pub(crate) fn allowed(
    caller: &Caller,
    action: &str,
    resource: &str,
    verdict: Verdict,
) -> Result<(), ApiError> {
    let reason = match verdict {
        Verdict::Allow => return Ok(()),
        Verdict::ImplicitDeny(source) => format!("because no {} allows the {action} action", source.name()),
        Verdict::ExplicitDeny(source) => {
            let article = if source == Source::Identity { "an" } else { "a" };
            format!("with an explicit deny in {article} {}", source.name())
        }
    };
    Err(denied(caller, action, resource, &reason))
}

/// Whether a caller is the root of its account, with long-term credentials: it may do everything there.
pub fn is_administrator(caller: &Caller) -> bool {
    caller.session.is_none()
        && Arn::parse(&caller.arn).is_some_and(|arn| arn.service == "iam" && arn.resource == "root")
}

/// The denial in the form of the action's service.
pub(crate) fn denied(caller: &Caller, action: &str, resource: &str, reason: &str) -> ApiError {
    let message = format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} {reason}",
        caller.arn
    );
    denial(action.split(':').next().unwrap_or_default(), message.trim_end())
}

/// A denial as the service whose actions have this prefix words it.
pub fn denial(service: &str, message: &str) -> ApiError {
    match service {
        "ec2" => {
            let message = format!("You are not authorized to perform this operation. {message}");
            ApiError::new("UnauthorizedOperation", 403, message)
        }
        "ecs" | "ecr" | "logs" | "secretsmanager" | "application-autoscaling" | "ssm" | "acm" | "account" => {
            ApiError::client("AccessDeniedException", message)
        }
        _ => ApiError::new("AccessDenied", 403, message),
    }
}
