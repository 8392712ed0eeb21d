//! Deletions of objects and of their versions, one at a time or in a batch.

use pileus_core::ApiError;
use pileus_security::policy::ContextKeys;
use pileus_state::State;
use pileus_storage::bucket::{self, Bucket};
use pileus_storage::error::malformed_xml;
use pileus_storage::object;
use s3s::dto;

use super::access::permit;
use super::convert::precondition;
use super::service::{Answer, Call, Service};

/// The most keys of one batch.
const MAX_DELETIONS: usize = 1000;

pub(super) async fn delete_object(
    s3: &Service,
    _: Call,
    input: dto::DeleteObjectInput,
) -> Answer<dto::DeleteObjectOutput> {
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        return Err(pileus_storage::error::not_implemented("conditions of deletions but If-Match").into());
    }
    let precondition = precondition(input.if_match, None)?;
    let deleted = s3
        .write(|tx, now, ids| {
            let bucket = bucket::get(tx, &input.bucket)?;
            object::check_precondition(tx, &input.bucket, &input.key, &precondition)?;
            Ok(object::delete(tx, now, ids, &bucket, &input.key, input.version_id.as_deref()))
        })
        .await?;
    Ok(dto::DeleteObjectOutput {
        delete_marker: deleted.marker.then_some(true),
        request_charged: None,
        version_id: deleted.version_id,
    })
}

pub(super) async fn delete_objects(
    s3: &Service,
    call: Call,
    input: dto::DeleteObjectsInput,
) -> Answer<dto::DeleteObjectsOutput> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    let dto::Delete { objects, quiet } = input.delete;
    if objects.is_empty() || objects.len() > MAX_DELETIONS {
        return Err(malformed_xml().into());
    }
    let (mut errors, mut allowed) = (Vec::new(), Vec::new());
    for one in objects {
        match may_delete(&state, &call, &bucket, &one) {
            Ok(()) => allowed.push(one),
            Err(error) => errors.push(dto::Error {
                code: Some(error.code.into_owned()),
                key: Some(one.key),
                message: Some(error.message),
                version_id: one.version_id,
            }),
        }
    }
    let deleted = s3
        .write(|tx, now, ids| {
            let bucket = bucket::get(tx, &input.bucket)?;
            let mut deleted = Vec::with_capacity(allowed.len());
            for one in allowed {
                let done = object::delete(tx, now, ids, &bucket, &one.key, one.version_id.as_deref());
                deleted.push(dto::DeletedObject {
                    delete_marker: done.marker.then_some(true),
                    delete_marker_version_id: done.version_id.filter(|_| done.marker),
                    key: Some(one.key),
                    version_id: one.version_id,
                });
            }
            Ok(deleted)
        })
        .await?;
    let deleted = if quiet.unwrap_or(false) { Vec::new() } else { deleted };
    Ok(dto::DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None })
}

fn may_delete(
    state: &State,
    call: &Call,
    bucket: &Bucket,
    one: &dto::ObjectIdentifier,
) -> Result<(), ApiError> {
    if one.e_tag.is_some() || one.last_modified_time.is_some() || one.size.is_some() {
        return Err(pileus_storage::error::not_implemented("conditions of deletions in a batch"));
    }
    let action = if one.version_id.is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
    let resource = format!("{}/{}", bucket.arn(), one.key);
    permit(state, &call.asker, action, &resource, Some(bucket), ContextKeys::new())
}
