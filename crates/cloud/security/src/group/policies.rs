//! Inline and attached policies of a group.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutGroupPolicy.html>

use pileus_aws::iam::{
    GetGroupPolicyRequest, GetGroupPolicyResponse, ListAttachedGroupPoliciesRequest,
    ListAttachedGroupPoliciesResponse, ListGroupPoliciesRequest, ListGroupPoliciesResponse, ops,
};
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use super::Group;
use crate::global::globally;
use crate::grants::{attach, delete_inline, detach, inline, list_attached, list_inline, put_inline};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::PutGroupPolicy>(|cx, input| {
            let (name, policy, document) = (input.group_name, input.policy_name, input.policy_document);
            globally(cx, |cx| put_inline::<Group>(cx, &name, policy, document))
        })
        .on::<ops::DeleteGroupPolicy>(|cx, input| {
            globally(cx, |cx| delete_inline::<Group>(cx, &input.group_name, &input.policy_name))
        })
        .on::<ops::AttachGroupPolicy>(|cx, input| {
            globally(cx, |cx| attach::<Group>(cx, &input.group_name, input.policy_arn))
        })
        .on::<ops::DetachGroupPolicy>(|cx, input| {
            globally(cx, |cx| detach::<Group>(cx, &input.group_name, &input.policy_arn))
        })
        .on::<ops::GetGroupPolicy>(|cx, input| globally(cx, |cx| get_policy(cx, input)))
        .on::<ops::ListGroupPolicies>(|cx, input| globally(cx, |cx| list_policies(cx, &input)))
        .on::<ops::ListAttachedGroupPolicies>(|cx, input| {
            globally(cx, |cx| list_attached_policies(cx, &input))
        });
}

fn get_policy(cx: &mut Context, input: GetGroupPolicyRequest) -> Result<GetGroupPolicyResponse, ApiError> {
    Ok(GetGroupPolicyResponse {
        policy_document: Some(inline::<Group>(cx, &input.group_name, &input.policy_name)?),
        policy_name: Some(input.policy_name),
        group_name: Some(input.group_name),
    })
}

fn list_policies(
    cx: &mut Context,
    input: &ListGroupPoliciesRequest,
) -> Result<ListGroupPoliciesResponse, ApiError> {
    let (names, marker) =
        list_inline::<Group>(cx, &input.group_name, input.marker.as_deref(), input.max_items)?;
    Ok(ListGroupPoliciesResponse { policy_names: Some(names), is_truncated: Some(marker.is_some()), marker })
}

fn list_attached_policies(
    cx: &mut Context,
    input: &ListAttachedGroupPoliciesRequest,
) -> Result<ListAttachedGroupPoliciesResponse, ApiError> {
    let (prefix, marker) = (input.path_prefix.as_deref(), input.marker.as_deref());
    let (attached, marker) = list_attached::<Group>(cx, &input.group_name, prefix, marker, input.max_items)?;
    Ok(ListAttachedGroupPoliciesResponse {
        attached_policies: Some(attached),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}
