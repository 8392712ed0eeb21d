//! Tags of alarms and dashboards, by ARN.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_TagResource.html>

use pileus_aws::cloudwatch::{
    ListTagsForResourceInput, ListTagsForResourceOutput, Tag, TagResourceInput, TagResourceOutput,
    UntagResourceInput, UntagResourceOutput, ops,
};
use pileus_core::{ApiError, Arn, Tags, tags};
use pileus_service::{Context, Described, Router};
use pileus_state::Tx;

use crate::alarms::Alarm;
use crate::dashboards::Dashboard;

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::TagResource>(tag_resource)
        .on::<ops::UntagResource>(untag_resource)
        .on::<ops::ListTagsForResource>(list_tags_for_resource)
        .resources("cloudwatch", described);
}

/// A resource as policies see it.
fn described(tx: &Tx, arn: &str) -> Option<Described> {
    let (_, tags) = find(tx, arn).ok()?;
    Some(Described { arn: arn.to_owned(), tags, policy: None })
}

/// What an ARN can name here.
enum Tagged {
    Alarm(String),
    Dashboard(String),
}

fn find(tx: &Tx, arn: &str) -> Result<(Tagged, Tags), ApiError> {
    let invalid = || ApiError::client("InvalidParameterValue", format!("The ARN {arn} is not valid."));
    let missing = || ApiError::new("ResourceNotFoundException", 404, format!("{arn} does not exist."));
    let resource = Arn::parse(arn).filter(|arn| arn.service == "cloudwatch").ok_or_else(invalid)?.resource;
    if let Some(name) = resource.strip_prefix("alarm:") {
        let alarm = tx.get::<Alarm>(name).ok_or_else(missing)?;
        return Ok((Tagged::Alarm(name.to_owned()), alarm.tags.clone()));
    }
    let name = resource.strip_prefix("dashboard/").ok_or_else(invalid)?;
    let dashboard = tx.get::<Dashboard>(name).ok_or_else(missing)?;
    Ok((Tagged::Dashboard(name.to_owned()), dashboard.tags.clone()))
}

fn change(cx: &mut Context, arn: &str, change: impl FnOnce(&mut Tags)) -> Result<(), ApiError> {
    let (tagged, mut list) = find(cx.tx, arn)?;
    change(&mut list);
    tags::check(&list, "InvalidParameterValue")?;
    match tagged {
        Tagged::Alarm(name) => drop(cx.tx.update::<Alarm>(&name, |alarm| alarm.tags = list)),
        Tagged::Dashboard(name) => drop(cx.tx.update::<Dashboard>(&name, |dashboard| dashboard.tags = list)),
    }
    Ok(())
}

fn tag_resource(cx: &mut Context, input: TagResourceInput) -> Result<TagResourceOutput, ApiError> {
    change(cx, &input.resource_arn, |list| {
        list.extend(input.tags.into_iter().map(|tag| (tag.key, tag.value)));
    })?;
    Ok(TagResourceOutput::default())
}

fn untag_resource(cx: &mut Context, input: UntagResourceInput) -> Result<UntagResourceOutput, ApiError> {
    change(cx, &input.resource_arn, |list| list.retain(|key, _| !input.tag_keys.contains(key)))?;
    Ok(UntagResourceOutput::default())
}

fn list_tags_for_resource(
    cx: &mut Context,
    input: ListTagsForResourceInput,
) -> Result<ListTagsForResourceOutput, ApiError> {
    let (_, list) = find(cx.tx, &input.resource_arn)?;
    let tags = list.into_iter().map(|(key, value)| Tag { key, value }).collect();
    Ok(ListTagsForResourceOutput { tags: Some(tags) })
}
