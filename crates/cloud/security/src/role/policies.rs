//! Inline and attached policies of a role.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html>

use pileus_aws::iam::{
    GetRolePolicyRequest, GetRolePolicyResponse, ListAttachedRolePoliciesRequest,
    ListAttachedRolePoliciesResponse, ListRolePoliciesRequest, ListRolePoliciesResponse, ops,
};
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use super::Role;
use crate::global::globally;
use crate::grants::{attach, delete_inline, detach, inline, list_attached, list_inline, put_inline};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::PutRolePolicy>(|cx, input| {
            let (name, policy, document) = (input.role_name, input.policy_name, input.policy_document);
            globally(cx, |cx| put_inline::<Role>(cx, &name, policy, document))
        })
        .on::<ops::DeleteRolePolicy>(|cx, input| {
            globally(cx, |cx| delete_inline::<Role>(cx, &input.role_name, &input.policy_name))
        })
        .on::<ops::AttachRolePolicy>(|cx, input| {
            globally(cx, |cx| attach::<Role>(cx, &input.role_name, input.policy_arn))
        })
        .on::<ops::DetachRolePolicy>(|cx, input| {
            globally(cx, |cx| detach::<Role>(cx, &input.role_name, &input.policy_arn))
        })
        .on::<ops::GetRolePolicy>(|cx, input| globally(cx, |cx| get_policy(cx, input)))
        .on::<ops::ListRolePolicies>(|cx, input| globally(cx, |cx| list_policies(cx, &input)))
        .on::<ops::ListAttachedRolePolicies>(|cx, input| {
            globally(cx, |cx| list_attached_policies(cx, &input))
        });
}

fn get_policy(cx: &mut Context, input: GetRolePolicyRequest) -> Result<GetRolePolicyResponse, ApiError> {
    Ok(GetRolePolicyResponse {
        policy_document: Some(inline::<Role>(cx, &input.role_name, &input.policy_name)?),
        policy_name: Some(input.policy_name),
        role_name: Some(input.role_name),
    })
}

fn list_policies(
    cx: &mut Context,
    input: &ListRolePoliciesRequest,
) -> Result<ListRolePoliciesResponse, ApiError> {
    let (names, marker) =
        list_inline::<Role>(cx, &input.role_name, input.marker.as_deref(), input.max_items)?;
    Ok(ListRolePoliciesResponse { policy_names: Some(names), is_truncated: Some(marker.is_some()), marker })
}

fn list_attached_policies(
    cx: &mut Context,
    input: &ListAttachedRolePoliciesRequest,
) -> Result<ListAttachedRolePoliciesResponse, ApiError> {
    let (prefix, marker) = (input.path_prefix.as_deref(), input.marker.as_deref());
    let (attached, marker) = list_attached::<Role>(cx, &input.role_name, prefix, marker, input.max_items)?;
    Ok(ListAttachedRolePoliciesResponse {
        attached_policies: Some(attached),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}
