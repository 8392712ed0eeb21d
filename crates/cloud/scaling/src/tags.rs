//! Tags of scalable targets.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/resource-tagging-support.html>

use pileus_aws::application_autoscaling::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, TagResourceRequest, TagResourceResponse,
    UntagResourceRequest, UntagResourceResponse, ops,
};
use pileus_core::{ApiError, Tags, tags};
use pileus_service::{Context, Router};
use pileus_state::Tx;

use crate::target::ScalableTarget;

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::TagResource>(tag_resource)
        .on::<ops::UntagResource>(untag_resource)
        .on::<ops::ListTagsForResource>(list_tags_for_resource);
}

/// # Errors
/// They break a rule of tags.
pub(crate) fn check(tags: &Tags) -> Result<(), ApiError> {
    let code = if tags.len() > tags::MAX_TAGS { "TooManyTagsException" } else { "ValidationException" };
    tags::check(tags, code)
}

/// The key of the target with this ARN.
fn find(tx: &Tx, arn: &str) -> Result<String, ApiError> {
    let target = tx.find::<ScalableTarget>(|target| target.arn(tx.scope()) == arn);
    let missing = || {
        ApiError::client(
            "ResourceNotFoundException",
            format!("No scalable target found for the resource ARN: {arn}"),
        )
    };
    Ok(target.ok_or_else(missing)?.resource.clone())
}

fn tag_resource(cx: &mut Context, input: TagResourceRequest) -> Result<TagResourceResponse, ApiError> {
    let key = find(cx.tx, &input.resource_arn)?;
    let target = cx.tx.update::<ScalableTarget>(&key, |target| target.tags.extend(input.tags));
    target.map_or(Ok(()), |target| check(&target.tags))?;
    Ok(TagResourceResponse::default())
}

fn untag_resource(cx: &mut Context, input: UntagResourceRequest) -> Result<UntagResourceResponse, ApiError> {
    let key = find(cx.tx, &input.resource_arn)?;
    cx.tx.update::<ScalableTarget>(&key, |target| {
        target.tags.retain(|key, _| !input.tag_keys.contains(key));
    });
    Ok(UntagResourceResponse::default())
}

fn list_tags_for_resource(
    cx: &mut Context,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, ApiError> {
    let key = find(cx.tx, &input.resource_arn)?;
    let tags = cx.tx.get::<ScalableTarget>(&key).map(|target| target.tags.clone());
    Ok(ListTagsForResourceResponse { tags: Some(tags.unwrap_or_default()) })
}
