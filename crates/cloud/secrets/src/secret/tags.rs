//! Tags of secrets.

use pileus_aws::secretsmanager::{Tag, TagResourceRequest, UntagResourceRequest, ops};
use pileus_core::{ApiError, Tags, tags};
use pileus_model::Unit;
use pileus_service::{Context, Router};

use super::invalid_parameter;
use super::record::{ManagedSecret, find_live};

const CODE: &str = "InvalidParameterException";

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::TagResource>(tag_resource).on::<ops::UntagResource>(untag_resource);
}

/// The tags of a request.
///
/// # Errors
/// A key is given twice, or is none that AWS takes.
pub(super) fn read(given: Option<Vec<Tag>>) -> Result<Tags, ApiError> {
    let mut out = Tags::new();
    for tag in given.unwrap_or_default() {
        let key = tag.key.ok_or_else(|| invalid_parameter("A tag must have a key."))?;
        if out.insert(key.clone(), tag.value.unwrap_or_default()).is_some() {
            return Err(invalid_parameter(format!("The tag key {key} is given more than once.")));
        }
    }
    tags::check(&out, CODE)?;
    Ok(out)
}

pub(super) fn write(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag { key: Some(key.clone()), value: Some(value.clone()) };
    tags.iter().map(tag).collect()
}

fn tag_resource(cx: &mut Context, input: TagResourceRequest) -> Result<Unit, ApiError> {
    let mut secret = ManagedSecret::clone(&*find_live(cx.tx, &input.secret_id, cx.now)?);
    secret.tags.extend(read(Some(input.tags))?);
    tags::check(&secret.tags, CODE)?;
    secret.changed = cx.now;
    cx.tx.put(secret);
    Ok(Unit {})
}

fn untag_resource(cx: &mut Context, input: UntagResourceRequest) -> Result<Unit, ApiError> {
    let mut secret = ManagedSecret::clone(&*find_live(cx.tx, &input.secret_id, cx.now)?);
    for key in &input.tag_keys {
        secret.tags.remove(key);
    }
    secret.changed = cx.now;
    cx.tx.put(secret);
    Ok(Unit {})
}
