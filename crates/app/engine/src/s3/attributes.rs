//! What can be asked and changed about an object without its bytes: attributes, tags, ACL.

use pileus_core::Tags;
use pileus_storage::bucket;
use pileus_storage::error::{invalid_argument, no_such_key};
use pileus_storage::object::{self, Content};
use s3s::dto;

use super::convert::{Checksums, etag, grants, owner, show_checksums, size, tag_pairs, tag_set, timestamp};
use super::describing::{MAX_TAGS, shown_id};
use super::reading::{Wanted, find};
use super::service::{Answer, Call, Service};

pub(super) async fn get_object_attributes(
    s3: &Service,
    call: Call,
    input: dto::GetObjectAttributesInput,
) -> Answer<dto::GetObjectAttributesOutput> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    let wanted = Wanted { bucket: &input.bucket, key: &input.key, version_id: input.version_id.as_deref() };
    let version = find(&state, &call, &bucket, &wanted)?;
    let content = version.content.as_ref().ok_or_else(no_such_key)?;
    // `s3s` hands over what the header lists as it is written.
    let names = input.object_attributes.iter().flat_map(|names| names.as_str().split(','));
    let names: Vec<_> = names.map(|name| name.trim().to_owned()).collect();
    let known = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
    if names.is_empty() || names.iter().any(|name| !known.contains(&name.as_str())) {
        return Err(invalid_argument("Invalid attribute name specified.").into());
    }
    let asked = |name: &str| names.iter().any(|asked| asked == name);
    let checksum = content.checksum.as_ref().filter(|_| asked("Checksum")).map(|checksum| {
        let mut shown = dto::Checksum::default();
        shown.checksum_type = show_checksums!(shown, Checksums::of(Some(checksum)));
        shown
    });
    let parts = (asked("ObjectParts") && !content.parts.is_empty())
        .then(|| parts(content, input.part_number_marker.unwrap_or(0), input.max_parts.unwrap_or(1000)));
    Ok(dto::GetObjectAttributesOutput {
        checksum,
        e_tag: asked("ETag").then(|| etag(&content.etag)),
        last_modified: Some(timestamp(version.modified)),
        object_parts: parts,
        object_size: asked("ObjectSize").then(|| size(content.size)),
        storage_class: asked("StorageClass").then(|| content.described.storage_class.clone().into()),
        version_id: shown_id(&version.id),
        ..dto::GetObjectAttributesOutput::default()
    })
}

fn parts(content: &Content, marker: i32, most: i32) -> dto::GetObjectAttributesParts {
    let number = |part: &object::PartOfObject| i32::try_from(part.number).unwrap_or(i32::MAX);
    let limit = usize::try_from(most).unwrap_or(0).min(1000);
    let rest: Vec<_> = content.parts.iter().filter(|part| number(part) > marker).collect();
    let page = &rest[..rest.len().min(limit)];
    let algorithm = content.checksum.as_ref().map(|checksum| checksum.algorithm);
    let shown = page.iter().map(|part| {
        let mut shown = dto::ObjectPart {
            part_number: Some(number(part)),
            size: Some(size(part.size)),
            ..dto::ObjectPart::default()
        };
        if let Some(algorithm) = algorithm {
            let _ = show_checksums!(shown, Checksums::only(algorithm, part.checksum.clone()));
        }
        shown
    });
    // AWS lists the parts only where each has a checksum of its own.
    let listed = content.parts.iter().all(|part| part.checksum.is_some());
    dto::GetObjectAttributesParts {
        is_truncated: Some(page.len() < rest.len()),
        max_parts: Some(most),
        next_part_number_marker: Some(page.last().map_or(0, |part| number(part))),
        part_number_marker: Some(marker),
        parts: listed.then(|| shown.collect()),
        total_parts_count: i32::try_from(content.parts.len()).ok(),
    }
}

pub(super) async fn get_object_tagging(
    s3: &Service,
    call: Call,
    input: dto::GetObjectTaggingInput,
) -> Answer<dto::GetObjectTaggingOutput> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    let wanted = Wanted { bucket: &input.bucket, key: &input.key, version_id: input.version_id.as_deref() };
    let version = find(&state, &call, &bucket, &wanted)?;
    let tags = version.content.as_ref().map(|content| tag_set(&content.described.tags)).unwrap_or_default();
    Ok(dto::GetObjectTaggingOutput { tag_set: tags, version_id: shown_id(&version.id) })
}

async fn tag(s3: &Service, bucket: &str, key: &str, id: Option<&str>, tags: Tags) -> Answer<Option<String>> {
    let id = s3
        .write(|tx, _, _| {
            bucket::get(tx, bucket)?;
            object::change(tx, bucket, key, id, |content| content.described.tags = tags)
        })
        .await?;
    Ok(shown_id(&id))
}

pub(super) async fn put_object_tagging(
    s3: &Service,
    _: Call,
    input: dto::PutObjectTaggingInput,
) -> Answer<dto::PutObjectTaggingOutput> {
    let tags = bucket::check_tags(&tag_pairs(input.tagging.tag_set)?, MAX_TAGS)?;
    let version_id = tag(s3, &input.bucket, &input.key, input.version_id.as_deref(), tags).await?;
    Ok(dto::PutObjectTaggingOutput { version_id })
}

pub(super) async fn delete_object_tagging(
    s3: &Service,
    _: Call,
    input: dto::DeleteObjectTaggingInput,
) -> Answer<dto::DeleteObjectTaggingOutput> {
    let version_id = tag(s3, &input.bucket, &input.key, input.version_id.as_deref(), Tags::new()).await?;
    Ok(dto::DeleteObjectTaggingOutput { version_id })
}

pub(super) async fn get_object_acl(
    s3: &Service,
    call: Call,
    input: dto::GetObjectAclInput,
) -> Answer<dto::GetObjectAclOutput> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    let wanted = Wanted { bucket: &input.bucket, key: &input.key, version_id: input.version_id.as_deref() };
    find(&state, &call, &bucket, &wanted)?;
    let (grants, owner) = (grants(&bucket.owner), owner(&bucket.owner));
    Ok(dto::GetObjectAclOutput { grants: Some(grants), owner: Some(owner), request_charged: None })
}

pub(super) async fn put_object_acl(
    s3: &Service,
    call: Call,
    input: dto::PutObjectAclInput,
) -> Answer<dto::PutObjectAclOutput> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    let wanted = Wanted { bucket: &input.bucket, key: &input.key, version_id: input.version_id.as_deref() };
    find(&state, &call, &bucket, &wanted)?;
    let canned = input.acl.as_ref().map(dto::ObjectCannedACL::as_str);
    super::buckets::check_acl(&bucket, canned, input.access_control_policy)?;
    Ok(dto::PutObjectAclOutput { request_charged: None })
}
