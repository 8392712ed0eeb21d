//! Copies: of an object to another key, and of a part of one into an upload.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>

use std::ops::Range;
use std::sync::Arc;

use http::HeaderMap;
use pileus_core::ApiError;
use pileus_security::policy::ContextKeys;
use pileus_storage::checksum::{Algorithm, Digested};
use pileus_storage::error::{
    invalid_argument, invalid_request, no_such_bucket, no_such_key, not_implemented,
};
use pileus_storage::object::{Content, Precondition, Version};
use pileus_storage::{bucket, object, upload};
use s3s::dto::{self, CopySource, ETagCondition};

use super::access::permit;
use super::addressing::text;
use super::convert::{Checksums, etag, precondition, show_checksums, timestamp};
use super::describing::{describe, encryption, shown_id};
use super::objects::put;
use super::reading::{Conditions, Wanted, find};
use super::receive::{Expected, blob, receive};
use super::service::{Answer, Call, Service};
use super::{send, uploads};

/// What is copied.
struct Source {
    version: Arc<Version>,
    content: Content,
    /// Whether the bucket keeps versions, so that the answer names the one that was copied.
    id: Option<String>,
}

async fn source(s3: &Service, call: &Call, from: &CopySource, conditions: Conditions) -> Answer<Source> {
    let CopySource::Bucket { bucket, key, version_id } = from else {
        return Err(not_implemented("access points").into());
    };
    let state = s3.state();
    s3.engine.durable(state.version()).await;
    let owned = bucket::find(&state, bucket).ok_or_else(no_such_bucket)?;
    let expected = text(&call.headers, "x-amz-source-expected-bucket-owner");
    if expected.is_some_and(|expected| expected != owned.owner) {
        return Err(pileus_storage::error::access_denied().into());
    }
    let action = if version_id.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
    let resource = format!("{}/{key}", owned.arn());
    permit(&state, &call.asker, action, &resource, Some(&owned), ContextKeys::new())?;
    let wanted = Wanted { bucket, key, version_id: version_id.as_deref() };
    let version = find(&state, call, &owned, &wanted)?;
    let content = version.content.clone().ok_or_else(no_such_key)?;
    // A copy has no 304: what is the same is a precondition that failed.
    conditions.check(&version, || pileus_storage::error::precondition_failed().into())?;
    if content.described.is_archived() {
        let message = "The source object of the COPY action is not in the active tier and is only stored in Amazon S3 Glacier.";
        return Err(ApiError::new("ObjectNotInActiveTierError", 403, message).into());
    }
    let id = shown_id(&version.id);
    Ok(Source { version, content, id })
}

macro_rules! conditions {
    ($input:expr) => {
        Conditions {
            if_match: $input.copy_source_if_match.take(),
            if_none_match: $input.copy_source_if_none_match.take(),
            if_modified_since: $input.copy_source_if_modified_since.take(),
            if_unmodified_since: $input.copy_source_if_unmodified_since.take(),
        }
    };
}

/// Reads bytes of the source and stores them as one blob.
async fn reread(
    s3: &Service,
    content: &Content,
    range: Range<u64>,
    algorithm: Algorithm,
) -> Result<Digested, ApiError> {
    let body = send::body(&*s3.engine.machine.objects, &content.blobs, range)?;
    receive(&s3.engine, Some(body), Expected::default(), algorithm).await
}

pub(super) async fn copy_object(
    s3: &Service,
    call: Call,
    mut input: dto::CopyObjectInput,
) -> Answer<dto::CopyObjectOutput> {
    let bucket = s3.bucket(&input.bucket).await?;
    if let Some(acl) = &input.acl {
        bucket::check_acl(&bucket, acl.as_str())?;
    }
    let source = source(s3, &call, &input.copy_source, conditions!(input)).await?;
    let directive = |name: Option<&str>| match name {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(invalid_argument("Unknown directive.")),
    };
    let replace_metadata = directive(input.metadata_directive.as_ref().map(dto::MetadataDirective::as_str))?;
    let replace_tags = directive(input.tagging_directive.as_ref().map(dto::TaggingDirective::as_str))?;
    let class = input.storage_class.is_some();
    let onto_itself = source.version.bucket == input.bucket && source.version.key == input.key;
    if onto_itself && !replace_metadata && !class && source.id.is_none() && input.checksum_algorithm.is_none()
    {
        let message = "This copy request is illegal because it is trying to copy an object to itself without changing \
                       the object's metadata, storage class, website redirect location or encryption attributes.";
        return Err(invalid_request(message).into());
    }
    let mut described = describe!(input)?;
    if !replace_metadata {
        described.headers = source.content.described.headers.clone();
        described.metadata = source.content.described.metadata.clone();
    }
    if !replace_tags {
        described.tags = source.content.described.tags.clone();
    }
    let precondition = destination(&call.headers)?;
    let algorithm = input.checksum_algorithm.map(|name| Algorithm::parse(name.as_str())).transpose()?;
    let content = Content { described, ..copied(s3, &source.content, algorithm).await? };
    let version = put(s3, &input.bucket, &input.key, content, &precondition).await?;
    let content = version.content.unwrap_or_default();
    let mut result = dto::CopyObjectResult {
        e_tag: Some(etag(&content.etag)),
        last_modified: Some(timestamp(version.modified)),
        ..dto::CopyObjectResult::default()
    };
    result.checksum_type = show_checksums!(result, Checksums::of(content.checksum.as_ref()));
    Ok(dto::CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: source.id,
        server_side_encryption: encryption(),
        version_id: shown_id(&version.id),
        ..dto::CopyObjectOutput::default()
    })
}

/// The condition of a copy on what is under its key, which `s3s` does not read.
fn destination(headers: &HeaderMap) -> Result<Precondition, ApiError> {
    let condition = |name: &str| {
        let value = headers.get(name).map(|value| ETagCondition::parse_http_header(value.as_bytes()));
        value.transpose().map_err(|_| invalid_argument(format!("The header {name} is not an ETag.")))
    };
    precondition(condition("if-match")?, condition("if-none-match")?)
}

/// The content of a copy. It shares the source's blobs, unless the source is of parts or another checksum is wanted:
/// a copy is an object that was put as a whole.
async fn copied(s3: &Service, content: &Content, algorithm: Option<Algorithm>) -> Result<Content, ApiError> {
    let have = content.checksum.as_ref().map(|checksum| checksum.algorithm);
    let wanted = algorithm.or(have).unwrap_or(Algorithm::Crc64Nvme);
    if content.parts.is_empty() && have == Some(wanted) {
        return Ok(content.clone());
    }
    let digested = reread(s3, content, 0..content.size, wanted).await?;
    Ok(Content {
        blobs: blob(&digested).into_iter().collect(),
        etag: digested.md5,
        checksum: Some(digested.checksum),
        parts: Vec::new(),
        ..content.clone()
    })
}

pub(super) async fn upload_part_copy(
    s3: &Service,
    call: Call,
    mut input: dto::UploadPartCopyInput,
) -> Answer<dto::UploadPartCopyOutput> {
    let number = upload::check_number(input.part_number)?;
    let (state, _) = s3.read(&input.bucket).await?;
    object::check_key(&input.key)?;
    let (upload, _) = upload::find(&state, &input.bucket, &input.key, &input.upload_id, u32::MAX)?;
    let source = source(s3, &call, &input.copy_source, conditions!(input)).await?;
    let range = match input.copy_source_range.as_deref() {
        None => 0..source.content.size,
        Some(range) => copy_range(range, source.content.size)?,
    };
    let digested = reread(s3, &source.content, range, upload.algorithm).await?;
    let part = uploads::store_part(s3, &input.bucket, &input.key, &upload, number, &digested).await?;
    let mut result = dto::CopyPartResult {
        e_tag: Some(etag(&digested.md5)),
        last_modified: Some(timestamp(part.modified)),
        ..dto::CopyPartResult::default()
    };
    if upload.chosen {
        let _ = show_checksums!(result, Checksums::only(upload.algorithm, Some(part.checksum)));
    }
    Ok(dto::UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: source.id,
        server_side_encryption: encryption(),
        ..dto::UploadPartCopyOutput::default()
    })
}

/// `bytes=first-last`, both within the source.
fn copy_range(range: &str, size: u64) -> Result<Range<u64>, ApiError> {
    let numbers = range.strip_prefix("bytes=").and_then(|numbers| numbers.split_once('-'));
    let numbers =
        numbers.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    match numbers {
        Some((first, last)) if first <= last && last < size => Ok(first..last + 1),
        Some((first, last)) if first <= last => {
            let message = format!("Range specified is not valid for source object of size: {size}");
            Err(invalid_argument(message))
        }
        _ => Err(invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )),
    }
}
