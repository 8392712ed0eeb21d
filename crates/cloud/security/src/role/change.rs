//! Changes of a role after its creation: who may assume it, its description and limits, its tags.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateRole.html>

use pileus_aws::iam::{
    DeleteRolePermissionsBoundaryRequest, ListRoleTagsRequest, ListRoleTagsResponse,
    PutRolePermissionsBoundaryRequest, TagRoleRequest, UntagRoleRequest, UpdateAssumeRolePolicyRequest,
    UpdateRoleDescriptionRequest, UpdateRoleDescriptionResponse, UpdateRoleRequest, UpdateRoleResponse, ops,
};
use pileus_core::ApiError;
use pileus_model::Unit;
use pileus_service::{Context, Router};

use super::{Role, check_trust, find, shape};
use crate::global::globally;
use crate::grants::{Grantee as _, boundary};
use crate::text::{add_tags, no_such_entity, page, tag_list};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::UpdateRole>(|cx, input| globally(cx, |cx| update_role(cx, input)))
        .on::<ops::UpdateAssumeRolePolicy>(|cx, input| {
            globally(cx, |cx| update_assume_role_policy(cx, input))
        })
        .on::<ops::UpdateRoleDescription>(|cx, input| globally(cx, |cx| update_description(cx, input)))
        .on::<ops::PutRolePermissionsBoundary>(|cx, input| globally(cx, |cx| put_boundary(cx, input)))
        .on::<ops::DeleteRolePermissionsBoundary>(|cx, input| globally(cx, |cx| delete_boundary(cx, &input)))
        .on::<ops::TagRole>(|cx, input| globally(cx, |cx| tag_role(cx, input)))
        .on::<ops::UntagRole>(|cx, input| globally(cx, |cx| untag_role(cx, &input)))
        .on::<ops::ListRoleTags>(|cx, input| globally(cx, |cx| list_role_tags(cx, &input)));
}

fn update_role(cx: &mut Context, input: UpdateRoleRequest) -> Result<UpdateRoleResponse, ApiError> {
    // Of a role of a service only the description can be changed.
    let mut role = match input.max_session_duration {
        Some(_) => Role::named(cx.tx, &input.role_name)?,
        None => find(cx.tx, &input.role_name)?,
    };
    if let Some(description) = input.description {
        role.description = Some(description).filter(|text| !text.is_empty());
    }
    if let Some(seconds) = input.max_session_duration {
        role.max_session_seconds = seconds;
    }
    cx.tx.put(role);
    Ok(UpdateRoleResponse {})
}

/// The older form of `UpdateRole`; services' own roles may be described too.
fn update_description(
    cx: &mut Context,
    input: UpdateRoleDescriptionRequest,
) -> Result<UpdateRoleDescriptionResponse, ApiError> {
    let mut role = find(cx.tx, &input.role_name)?;
    role.description = Some(input.description).filter(|text| !text.is_empty());
    let shape = shape(cx.scope(), &role);
    cx.tx.put(role);
    Ok(UpdateRoleDescriptionResponse { role: Some(shape) })
}

fn put_boundary(cx: &mut Context, input: PutRolePermissionsBoundaryRequest) -> Result<Unit, ApiError> {
    let mut role = Role::named(cx.tx, &input.role_name)?;
    role.boundary = boundary(cx, Some(input.permissions_boundary))?;
    cx.tx.put(role);
    Ok(Unit {})
}

fn delete_boundary(cx: &mut Context, input: &DeleteRolePermissionsBoundaryRequest) -> Result<Unit, ApiError> {
    let mut role = Role::named(cx.tx, &input.role_name)?;
    if role.boundary.take().is_none() {
        let message = format!("Cannot find permissions boundary for role {}", role.name);
        return Err(no_such_entity(message));
    }
    cx.tx.put(role);
    Ok(Unit {})
}

fn update_assume_role_policy(
    cx: &mut Context,
    input: UpdateAssumeRolePolicyRequest,
) -> Result<Unit, ApiError> {
    let mut role = Role::named(cx.tx, &input.role_name)?;
    check_trust(&input.policy_document)?;
    role.trust = input.policy_document;
    cx.tx.put(role);
    Ok(Unit {})
}

fn tag_role(cx: &mut Context, input: TagRoleRequest) -> Result<Unit, ApiError> {
    let mut role = find(cx.tx, &input.role_name)?;
    add_tags(&mut role.tags, input.tags)?;
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
    let tags = tag_list(&find(cx.tx, &input.role_name)?.tags);
    let (tags, marker) = page(tags, |tag| tag.key.clone(), input.marker.as_deref(), input.max_items)?;
    Ok(ListRoleTagsResponse { tags: Some(tags), is_truncated: Some(marker.is_some()), marker })
}
