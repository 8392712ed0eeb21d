//! Inline and attached policies of a user.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutUserPolicy.html>

use pileus_aws::iam::{
    GetUserPolicyRequest, GetUserPolicyResponse, ListAttachedUserPoliciesRequest,
    ListAttachedUserPoliciesResponse, ListUserPoliciesRequest, ListUserPoliciesResponse, ops,
};
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use super::User;
use crate::global::globally;
use crate::grants::{attach, delete_inline, detach, inline, list_attached, list_inline, put_inline};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::PutUserPolicy>(|cx, input| {
            let (name, policy, document) = (input.user_name, input.policy_name, input.policy_document);
            globally(cx, |cx| put_inline::<User>(cx, &name, policy, document))
        })
        .on::<ops::DeleteUserPolicy>(|cx, input| {
            globally(cx, |cx| delete_inline::<User>(cx, &input.user_name, &input.policy_name))
        })
        .on::<ops::AttachUserPolicy>(|cx, input| {
            globally(cx, |cx| attach::<User>(cx, &input.user_name, input.policy_arn))
        })
        .on::<ops::DetachUserPolicy>(|cx, input| {
            globally(cx, |cx| detach::<User>(cx, &input.user_name, &input.policy_arn))
        })
        .on::<ops::GetUserPolicy>(|cx, input| globally(cx, |cx| get_policy(cx, input)))
        .on::<ops::ListUserPolicies>(|cx, input| globally(cx, |cx| list_policies(cx, &input)))
        .on::<ops::ListAttachedUserPolicies>(|cx, input| {
            globally(cx, |cx| list_attached_policies(cx, &input))
        });
}

fn get_policy(cx: &mut Context, input: GetUserPolicyRequest) -> Result<GetUserPolicyResponse, ApiError> {
    Ok(GetUserPolicyResponse {
        policy_document: Some(inline::<User>(cx, &input.user_name, &input.policy_name)?),
        policy_name: Some(input.policy_name),
        user_name: Some(input.user_name),
    })
}

fn list_policies(
    cx: &mut Context,
    input: &ListUserPoliciesRequest,
) -> Result<ListUserPoliciesResponse, ApiError> {
    let (names, marker) =
        list_inline::<User>(cx, &input.user_name, input.marker.as_deref(), input.max_items)?;
    Ok(ListUserPoliciesResponse { policy_names: Some(names), is_truncated: Some(marker.is_some()), marker })
}

fn list_attached_policies(
    cx: &mut Context,
    input: &ListAttachedUserPoliciesRequest,
) -> Result<ListAttachedUserPoliciesResponse, ApiError> {
    let (prefix, marker) = (input.path_prefix.as_deref(), input.marker.as_deref());
    let (attached, marker) = list_attached::<User>(cx, &input.user_name, prefix, marker, input.max_items)?;
    Ok(ListAttachedUserPoliciesResponse {
        attached_policies: Some(attached),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}
