//! Tags of parameters.

use pileus_aws::ssm::{
    AddTagsToResourceRequest, AddTagsToResourceResult, ListTagsForResourceRequest, ListTagsForResourceResult,
    RemoveTagsFromResourceRequest, RemoveTagsFromResourceResult, Tag, ops,
};
use pileus_core::{ApiError, Tags, tags};
use pileus_service::{Context, Router};

use super::invalid;
use super::record::{Parameter, find};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::AddTagsToResource>(add_tags_to_resource)
        .on::<ops::RemoveTagsFromResource>(remove_tags_from_resource)
        .on::<ops::ListTagsForResource>(list_tags_for_resource);
}

/// The tags of a request.
///
/// # Errors
/// A key is given twice, or is none that AWS takes.
pub(super) fn read(given: Option<Vec<Tag>>) -> Result<Tags, ApiError> {
    let mut out = Tags::new();
    for tag in given.unwrap_or_default() {
        if out.insert(tag.key.clone(), tag.value).is_some() {
            return Err(invalid(format!("The tag key {} is given more than once.", tag.key)));
        }
    }
    tags::check(&out, "ValidationException")?;
    Ok(out)
}

/// The parameter that a request about tags is for.
fn resource(cx: &Context, action: &str, kind: &str, id: &str) -> Result<Parameter, ApiError> {
    if kind != "Parameter" {
        return Err(ApiError::not_implemented(format_args!("ssm:{action} for a resource of type {kind}")));
    }
    let found = find(cx.tx, id);
    let parameter = found.ok_or_else(|| {
        let message = "The resource ID is not valid. Verify that you entered the correct ID and try again.";
        ApiError::client("InvalidResourceId", message)
    })?;
    Ok(Parameter::clone(&parameter))
}

fn add_tags_to_resource(
    cx: &mut Context,
    input: AddTagsToResourceRequest,
) -> Result<AddTagsToResourceResult, ApiError> {
    let mut parameter = resource(cx, "AddTagsToResource", &input.resource_type, &input.resource_id)?;
    parameter.tags.extend(read(Some(input.tags))?);
    if parameter.tags.len() > tags::MAX_TAGS {
        let message = "The Targets parameter includes too many tags. Remove one or more tags and try the command again.";
        return Err(ApiError::client("TooManyTagsError", message));
    }
    cx.tx.put(parameter);
    Ok(AddTagsToResourceResult {})
}

fn remove_tags_from_resource(
    cx: &mut Context,
    input: RemoveTagsFromResourceRequest,
) -> Result<RemoveTagsFromResourceResult, ApiError> {
    let mut parameter = resource(cx, "RemoveTagsFromResource", &input.resource_type, &input.resource_id)?;
    for key in &input.tag_keys {
        parameter.tags.remove(key);
    }
    cx.tx.put(parameter);
    Ok(RemoveTagsFromResourceResult {})
}

fn list_tags_for_resource(
    cx: &mut Context,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResult, ApiError> {
    let parameter = resource(cx, "ListTagsForResource", &input.resource_type, &input.resource_id)?;
    let tag = |(key, value): (&String, &String)| Tag { key: key.clone(), value: value.clone() };
    Ok(ListTagsForResourceResult { tag_list: Some(parameter.tags.iter().map(tag).collect()) })
}
