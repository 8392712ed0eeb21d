//! Changes of a user after its creation: name, path, boundary, tags.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateUser.html>

use pileus_aws::iam::{
    DeleteUserPermissionsBoundaryRequest, ListUserTagsRequest, ListUserTagsResponse,
    PutUserPermissionsBoundaryRequest, TagUserRequest, UntagUserRequest, UpdateUserRequest, ops,
};
use pileus_core::ApiError;
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::Record as _;

use super::key::AccessKey;
use super::{User, check_free, key};
use crate::global::globally;
use crate::grants::{Grantee as _, boundary};
use crate::text::{add_tags, no_such_entity, page, tag_list};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::UpdateUser>(|cx, input| globally(cx, |cx| update_user(cx, input)))
        .on::<ops::PutUserPermissionsBoundary>(|cx, input| globally(cx, |cx| put_boundary(cx, input)))
        .on::<ops::DeleteUserPermissionsBoundary>(|cx, input| globally(cx, |cx| delete_boundary(cx, &input)))
        .on::<ops::TagUser>(|cx, input| globally(cx, |cx| tag_user(cx, input)))
        .on::<ops::UntagUser>(|cx, input| globally(cx, |cx| untag_user(cx, &input)))
        .on::<ops::ListUserTags>(|cx, input| globally(cx, |cx| list_user_tags(cx, &input)));
}

/// A user keeps its id, its keys and its groups with a new name.
fn update_user(cx: &mut Context, input: UpdateUserRequest) -> Result<Unit, ApiError> {
    let mut user = User::named(cx.tx, &input.user_name)?;
    let old = user.clone();
    if let Some(path) = input.new_path {
        user.path = path;
    }
    if let Some(name) = input.new_user_name {
        if key(&name) != old.key() {
            check_free(cx.tx, &name)?;
        }
        user.name = name;
    }
    for held in cx.tx.list::<AccessKey>().into_iter().filter(|key| key.is_of(&old)) {
        cx.tx.update::<AccessKey>(&held.id, |key| key.user = Some(user.name.clone()));
    }
    cx.tx.delete::<User>(&old.key());
    cx.tx.put(user);
    Ok(Unit {})
}

fn put_boundary(cx: &mut Context, input: PutUserPermissionsBoundaryRequest) -> Result<Unit, ApiError> {
    let mut user = User::named(cx.tx, &input.user_name)?;
    user.boundary = boundary(cx, Some(input.permissions_boundary))?;
    cx.tx.put(user);
    Ok(Unit {})
}

fn delete_boundary(cx: &mut Context, input: &DeleteUserPermissionsBoundaryRequest) -> Result<Unit, ApiError> {
    let mut user = User::named(cx.tx, &input.user_name)?;
    if user.boundary.take().is_none() {
        let message = format!("Cannot find permissions boundary for user {}", user.name);
        return Err(no_such_entity(message));
    }
    cx.tx.put(user);
    Ok(Unit {})
}

fn tag_user(cx: &mut Context, input: TagUserRequest) -> Result<Unit, ApiError> {
    let mut user = User::named(cx.tx, &input.user_name)?;
    add_tags(&mut user.tags, input.tags)?;
    cx.tx.put(user);
    Ok(Unit {})
}

/// Keys that it does not have are no error, as in AWS.
fn untag_user(cx: &mut Context, input: &UntagUserRequest) -> Result<Unit, ApiError> {
    let mut user = User::named(cx.tx, &input.user_name)?;
    user.tags.retain(|key, _| !input.tag_keys.contains(key));
    cx.tx.put(user);
    Ok(Unit {})
}

fn list_user_tags(cx: &mut Context, input: &ListUserTagsRequest) -> Result<ListUserTagsResponse, ApiError> {
    let tags = tag_list(&User::named(cx.tx, &input.user_name)?.tags);
    let (tags, marker) = page(tags, |tag| tag.key.clone(), input.marker.as_deref(), input.max_items)?;
    Ok(ListUserTagsResponse { tags: Some(tags), is_truncated: Some(marker.is_some()), marker })
}
