//! Tags of clusters, services, tasks and task definitions.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html>

use pileus_aws::ecs::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, Tag, TagResourceRequest, TagResourceResponse,
    UntagResourceRequest, UntagResourceResponse, ops,
};
use pileus_core::{ApiError, Arn, Tags};
use pileus_service::{Context, Described, Router};
use pileus_state::{Record, Tx};

use crate::cluster::Cluster;
use crate::error::invalid;
use crate::service::record::{Service, ServiceStatus};
use crate::task::record::Task;
use crate::task_definition::record::{TaskDefinition, TaskFamily};

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::TagResource>(tag_resource)
        .on::<ops::UntagResource>(untag_resource)
        .on::<ops::ListTagsForResource>(list_tags_for_resource)
        .resources("ecs", described);
}

/// A resource as policies see it. A family of task definitions stands for the newest of them.
fn described(tx: &Tx, arn: &str) -> Option<Described> {
    let (kind, rest) = Arn::parse(arn)?.resource.split_once('/')?;
    let found = |arn: String, tags: &Tags| Described { arn, tags: tags.clone(), policy: None };
    match kind {
        "cluster" => tx.get::<Cluster>(rest).map(|cluster| found(arn.to_owned(), &cluster.tags)),
        "service" => tx.get::<Service>(rest).map(|service| found(arn.to_owned(), &service.tags)),
        "task" => {
            let task = tx.get::<Task>(rest.rsplit('/').next().unwrap_or(rest))?;
            Some(found(arn.to_owned(), &task.tags))
        }
        "task-definition" => {
            let newest = || Some(TaskDefinition::key_of(rest, tx.get::<TaskFamily>(rest)?.latest));
            let key = TaskDefinition::key_of_arn(arn).or_else(newest)?;
            let definition = tx.get::<TaskDefinition>(&key)?;
            Some(found(definition.arn().to_owned(), &definition.tags))
        }
        _ => None,
    }
}

/// The tags of a request, checked.
///
/// # Errors
/// They break a rule of tags.
pub(crate) fn read(tags: Option<Vec<Tag>>) -> Result<Tags, ApiError> {
    let pairs = tags.unwrap_or_default().into_iter();
    let tags: Tags = pairs.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect();
    pileus_core::tags::check(&tags, "InvalidParameterException")?;
    Ok(tags)
}

pub(crate) fn write(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

/// Whether a Describe operation was asked to include tags.
pub(crate) fn included(include: Option<&Vec<String>>) -> bool {
    include.is_some_and(|include| include.iter().any(|what| what == "TAGS"))
}

/// Changes the tags of the resource with this ARN; returns them.
fn change(tx: &mut Tx, arn: &str, change: impl FnOnce(&mut Tags)) -> Result<Tags, ApiError> {
    let parsed = Arn::parse(arn).filter(|arn| arn.service == "ecs");
    let (kind, rest) = parsed
        .and_then(|arn| arn.resource.split_once('/'))
        .ok_or_else(|| invalid(format!("Invalid ARN: {arn}")))?;
    let mut tags = None;
    let edit = |own: &mut Tags| {
        change(own);
        tags = Some(own.clone());
    };
    let name = rest.rsplit('/').next().unwrap_or(rest);
    let (found, missing) = match kind {
        "cluster" => (update::<Cluster>(tx, rest, |r| edit(&mut r.tags)), "ClusterNotFoundException"),
        "service" => {
            let active = tx.get::<Service>(rest).is_some_and(|s| s.status != ServiceStatus::Inactive);
            let found = active && update::<Service>(tx, rest, |r| edit(&mut r.tags));
            (found, "ServiceNotFoundException")
        }
        "task" => (update::<Task>(tx, name, |r| edit(&mut r.tags)), "InvalidParameterException"),
        "task-definition" => {
            let key = TaskDefinition::key_of_arn(arn).unwrap_or_default();
            (update::<TaskDefinition>(tx, &key, |r| edit(&mut r.tags)), "InvalidParameterException")
        }
        _ => return Err(ApiError::not_implemented(format_args!("tags of the ECS resource {arn}"))),
    };
    if !found {
        let noun = kind.replace('-', " ");
        return Err(ApiError::client(missing, format!("The specified {noun} is not found: {arn}")));
    }
    Ok(tags.unwrap_or_default())
}

fn update<R: Record>(tx: &mut Tx, key: &str, change: impl FnOnce(&mut R)) -> bool {
    tx.update::<R>(key, change).is_some()
}

fn tag_resource(cx: &mut Context, input: TagResourceRequest) -> Result<TagResourceResponse, ApiError> {
    let new = read(Some(input.tags))?;
    let tags = change(cx.tx, &input.resource_arn, |tags| tags.extend(new))?;
    let own = tags.into_iter().filter(|(key, _)| !key.starts_with("aws:")).collect();
    pileus_core::tags::check(&own, "InvalidParameterException")?;
    Ok(TagResourceResponse {})
}

fn untag_resource(cx: &mut Context, input: UntagResourceRequest) -> Result<UntagResourceResponse, ApiError> {
    change(cx.tx, &input.resource_arn, |tags| tags.retain(|key, _| !input.tag_keys.contains(key)))?;
    Ok(UntagResourceResponse {})
}

fn list_tags_for_resource(
    cx: &mut Context,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, ApiError> {
    let tags = change(cx.tx, &input.resource_arn, |_| {})?;
    Ok(ListTagsForResourceResponse { tags: Some(write(&tags)) })
}
