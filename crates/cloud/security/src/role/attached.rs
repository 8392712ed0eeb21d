//! Managed policies attached to a role.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachRolePolicy.html>

use pileus_aws::iam::{
    AttachRolePolicyRequest, AttachedPolicy, DetachRolePolicyRequest, ListAttachedRolePoliciesRequest,
    ListAttachedRolePoliciesResponse, ops,
};
use pileus_core::ApiError;
use pileus_model::Unit;
use pileus_service::{Context, Router};

use super::find;
use crate::global::globally;
use crate::managed_policy;
use crate::text::{limit_exceeded, no_such_entity, page};

const MAX_PER_ROLE: usize = 10;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::AttachRolePolicy>(|cx, input| globally(cx, |cx| attach_role_policy(cx, input)))
        .on::<ops::DetachRolePolicy>(|cx, input| globally(cx, |cx| detach_role_policy(cx, &input)))
        .on::<ops::ListAttachedRolePolicies>(|cx, input| {
            globally(cx, |cx| list_attached_role_policies(cx, &input))
        });
}

/// Attaching what is attached succeeds, as in AWS.
fn attach_role_policy(cx: &mut Context, input: AttachRolePolicyRequest) -> Result<Unit, ApiError> {
    let mut role = find(cx.tx, &input.role_name)?;
    if managed_policy::find(&input.policy_arn).is_none() {
        let message = format!("Policy {} does not exist or is not attachable.", input.policy_arn);
        return Err(no_such_entity(message));
    }
    role.attached.insert(input.policy_arn);
    if role.attached.len() > MAX_PER_ROLE {
        return Err(limit_exceeded(format!("Cannot exceed quota for PoliciesPerRole: {MAX_PER_ROLE}")));
    }
    cx.tx.put(role);
    Ok(Unit {})
}

fn detach_role_policy(cx: &mut Context, input: &DetachRolePolicyRequest) -> Result<Unit, ApiError> {
    let mut role = find(cx.tx, &input.role_name)?;
    if !role.attached.remove(&input.policy_arn) {
        return Err(no_such_entity(format!("Policy {} was not found.", input.policy_arn)));
    }
    cx.tx.put(role);
    Ok(Unit {})
}

fn list_attached_role_policies(
    cx: &mut Context,
    input: &ListAttachedRolePoliciesRequest,
) -> Result<ListAttachedRolePoliciesResponse, ApiError> {
    let role = find(cx.tx, &input.role_name)?;
    let policies = role.attached.iter().filter_map(|arn| managed_policy::find(arn));
    let prefix = input.path_prefix.as_deref().unwrap_or("/");
    let policies = policies.filter(|policy| policy.path.starts_with(prefix)).collect();
    let (policies, marker) = page(policies, |policy| policy.arn(), input.marker.as_deref(), input.max_items)?;
    let attached = policies.into_iter().map(|policy| AttachedPolicy {
        policy_name: Some(policy.name.into()),
        policy_arn: Some(policy.arn()),
    });
    Ok(ListAttachedRolePoliciesResponse {
        attached_policies: Some(attached.collect()),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}
