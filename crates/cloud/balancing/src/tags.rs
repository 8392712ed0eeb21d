//! Tags of all four kinds of resources.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_AddTags.html>

use pileus_aws::elbv2::{
    AddTagsInput, AddTagsOutput, DescribeTagsInput, DescribeTagsOutput, RemoveTagsInput, RemoveTagsOutput,
    Tag, TagDescription, ops,
};
use pileus_core::{ApiError, Arn, Tags, tags};
use pileus_service::{Context, Described, Router};
use pileus_state::Tx;

use crate::listener::Listener;
use crate::load_balancer::LoadBalancer;
use crate::resource::{self, Resource, invalid};
use crate::rule::Rule;
use crate::target_group::TargetGroup;

/// Most resources that one request can name.
const MAX_RESOURCES: usize = 20;

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::DescribeTags>(describe_tags)
        .on::<ops::AddTags>(add_tags)
        .on::<ops::RemoveTags>(remove_tags)
        .resources("elasticloadbalancing", described);
}

/// A resource as policies see it.
fn described(tx: &Tx, arn: &str) -> Option<Described> {
    let tags = match Arn::parse(arn)?.resource.split('/').next()? {
        "loadbalancer" => resource::find::<LoadBalancer>(tx, arn).ok()?.tags().clone(),
        "targetgroup" => resource::find::<TargetGroup>(tx, arn).ok()?.tags().clone(),
        "listener" => resource::find::<Listener>(tx, arn).ok()?.tags().clone(),
        "listener-rule" => resource::find::<Rule>(tx, arn).ok()?.tags().clone(),
        _ => return None,
    };
    Some(Described { arn: arn.to_owned(), tags, policy: None })
}

/// The tags of a request that creates a resource.
pub(crate) fn of_request(list: Option<Vec<Tag>>) -> Result<Tags, ApiError> {
    let mut all = Tags::new();
    add(&mut all, list.unwrap_or_default())?;
    Ok(all)
}

fn add(all: &mut Tags, list: Vec<Tag>) -> Result<(), ApiError> {
    let mut new = Tags::new();
    for tag in list {
        if new.contains_key(&tag.key) {
            let message = format!("Tag key '{}' has been specified more than once", tag.key);
            return Err(ApiError::client("DuplicateTagKeys", message));
        }
        new.insert(tag.key, tag.value.unwrap_or_default());
    }
    all.append(&mut new);
    if all.len() > tags::MAX_TAGS {
        let message = format!("A resource can have at most {} tags", tags::MAX_TAGS);
        return Err(ApiError::client("TooManyTags", message));
    }
    tags::check(all, "ValidationError")
}

fn describe_tags(cx: &mut Context, input: DescribeTagsInput) -> Result<DescribeTagsOutput, ApiError> {
    check_count(&input.resource_arns)?;
    let describe = |arn: String| {
        let tags = change(cx.tx, &arn, &mut |_| Ok(()))?;
        let tags = tags.into_iter().map(|(key, value)| Tag { key, value: Some(value) }).collect();
        Ok(TagDescription { resource_arn: Some(arn), tags: Some(tags) })
    };
    let tag_descriptions: Result<Vec<_>, ApiError> = input.resource_arns.into_iter().map(describe).collect();
    Ok(DescribeTagsOutput { tag_descriptions: Some(tag_descriptions?) })
}

fn add_tags(cx: &mut Context, input: AddTagsInput) -> Result<AddTagsOutput, ApiError> {
    check_count(&input.resource_arns)?;
    for arn in &input.resource_arns {
        change(cx.tx, arn, &mut |tags| add(tags, input.tags.clone()))?;
    }
    Ok(AddTagsOutput {})
}

fn remove_tags(cx: &mut Context, input: RemoveTagsInput) -> Result<RemoveTagsOutput, ApiError> {
    check_count(&input.resource_arns)?;
    for arn in &input.resource_arns {
        change(cx.tx, arn, &mut |tags| {
            tags.retain(|key, _| !input.tag_keys.contains(key));
            Ok(())
        })?;
    }
    Ok(RemoveTagsOutput {})
}

fn check_count(arns: &[String]) -> Result<(), ApiError> {
    if arns.len() > MAX_RESOURCES {
        return Err(invalid(format!("At most {MAX_RESOURCES} resources can be specified")));
    }
    Ok(())
}

type Change<'a> = dyn FnMut(&mut Tags) -> Result<(), ApiError> + 'a;

/// Applies `f` to the tags of the resource that `arn` names, whatever its kind; returns them as they then are.
fn change(tx: &mut Tx, arn: &str, f: &mut Change) -> Result<Tags, ApiError> {
    let kind = Arn::parse(arn).map(|arn| arn.resource.split('/').next().unwrap_or_default());
    match kind {
        Some("loadbalancer") => change_of::<LoadBalancer>(tx, arn, f),
        Some("targetgroup") => change_of::<TargetGroup>(tx, arn, f),
        Some("listener") => change_of::<Listener>(tx, arn, f),
        Some("listener-rule") => change_of::<Rule>(tx, arn, f),
        _ => Err(invalid(format!(
            "'{arn}' is not a valid ARN of a load balancer, target group, listener or rule"
        ))),
    }
}

fn change_of<R: Resource>(tx: &mut Tx, arn: &str, f: &mut Change) -> Result<Tags, ApiError> {
    let mut record = R::clone(&*resource::find::<R>(tx, arn)?);
    f(record.tags_mut())?;
    let tags = record.tags().clone();
    tx.put(record);
    Ok(tags)
}
