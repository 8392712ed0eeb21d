//! Changes of a role after its creation: who may assume it, its description and limits, its tags.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateRole.html>

use pileus_aws::iam::{
    ListRoleTagsRequest, ListRoleTagsResponse, Tag, TagRoleRequest, UntagRoleRequest,
    UpdateAssumeRolePolicyRequest, UpdateRoleRequest, UpdateRoleResponse, ops,
};
use pileus_core::{ApiError, tags};
use pileus_model::Unit;
use pileus_service::{Context, Router};

use super::{check_trust, find, request_tags};
use crate::global::globally;
use crate::text::page;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::UpdateRole>(|cx, input| globally(cx, |cx| update_role(cx, input)))
        .on::<ops::UpdateAssumeRolePolicy>(|cx, input| {
            globally(cx, |cx| update_assume_role_policy(cx, input))
        })
        .on::<ops::TagRole>(|cx, input| globally(cx, |cx| tag_role(cx, input)))
        .on::<ops::UntagRole>(|cx, input| globally(cx, |cx| untag_role(cx, &input)))
        .on::<ops::ListRoleTags>(|cx, input| globally(cx, |cx| list_role_tags(cx, &input)));
}

fn update_role(cx: &mut Context, input: UpdateRoleRequest) -> Result<UpdateRoleResponse, ApiError> {
    let mut role = find(cx.tx, &input.role_name)?;
    if let Some(description) = input.description {
        role.description = Some(description).filter(|text| !text.is_empty());
    }
    if let Some(seconds) = input.max_session_duration {
        role.max_session_seconds = seconds;
    }
    cx.tx.put(role);
    Ok(UpdateRoleResponse {})
}

fn update_assume_role_policy(
    cx: &mut Context,
    input: UpdateAssumeRolePolicyRequest,
) -> Result<Unit, ApiError> {
    let mut role = find(cx.tx, &input.role_name)?;
    check_trust(&input.policy_document)?;
    role.trust = input.policy_document;
    cx.tx.put(role);
    Ok(Unit {})
}

fn tag_role(cx: &mut Context, input: TagRoleRequest) -> Result<Unit, ApiError> {
    let mut role = find(cx.tx, &input.role_name)?;
    role.tags.extend(request_tags(Some(input.tags))?);
    tags::check(&role.tags, "InvalidInput")?;
    cx.tx.put(role);
    Ok(Unit {})
}

/// Keys that it does not have are no error, as in AWS.
fn untag_role(cx: &mut Context, input: &UntagRoleRequest) -> Result<Unit, ApiError> {
    let mut role = find(cx.tx, &input.role_name)?;
    role.tags.retain(|key, _| !input.tag_keys.contains(key));
    cx.tx.put(role);
    Ok(Unit {})
}

fn list_role_tags(cx: &mut Context, input: &ListRoleTagsRequest) -> Result<ListRoleTagsResponse, ApiError> {
    let role = find(cx.tx, &input.role_name)?;
    let tags = role.tags.into_iter().map(|(key, value)| Tag { key, value }).collect();
    let (tags, marker) = page(tags, |tag: &Tag| tag.key.clone(), input.marker.as_deref(), input.max_items)?;
    Ok(ListRoleTagsResponse { tags: Some(tags), is_truncated: Some(marker.is_some()), marker })
}
