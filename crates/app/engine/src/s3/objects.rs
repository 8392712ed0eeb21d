//! Objects: put and read.

use pileus_core::ApiError;
use pileus_storage::bucket::{self, Bucket};
use pileus_storage::checksum::Algorithm;
use pileus_storage::error::no_such_key;
use pileus_storage::object::{self, Content, Precondition, Version};
use s3s::dto::{self, TimestampFormat};

use super::convert::{Checksums, checksums, etag, precondition, show_checksums, size, timestamp};
use super::describing::{describe, encryption, shown_id};
use super::reading::{Conditions, Wanted, find, not_modified, range_of};
use super::receive::{Expected, blob, receive};
use super::send;
use super::service::{Answer, Call, Service};

fn check_acl(bucket: &Bucket, acl: Option<&dto::ObjectCannedACL>) -> Result<(), ApiError> {
    acl.map_or(Ok(()), |acl| bucket::check_acl(bucket, acl.as_str()))
}

pub(super) async fn put_object(
    s3: &Service,
    call: Call,
    mut input: dto::PutObjectInput,
) -> Answer<dto::PutObjectOutput> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    check_acl(&bucket, input.acl.as_ref())?;
    object::check_key(&input.key)?;
    let precondition = precondition(input.if_match.take(), input.if_none_match.take())?;
    // What cannot succeed is refused before its body is taken in; what decides is the look in the transaction.
    object::check_precondition(
        &pileus_state::Tx::new(&state, pileus_storage::scope()),
        &input.bucket,
        &input.key,
        &precondition,
    )?;
    let described = describe!(input)?;
    described.check()?;
    let expected = Expected::of(&call.headers, call.trailing, input.content_length, checksums!(input))?;
    let named = input.checksum_algorithm.map(|name| Algorithm::parse(name.as_str())).transpose()?;
    let algorithm = expected.algorithm().or(named).unwrap_or(Algorithm::Crc64Nvme);
    let digested = receive(&s3.engine, input.body.take(), expected, algorithm).await?;
    let content = Content {
        size: digested.size,
        blobs: blob(&digested).into_iter().collect(),
        etag: digested.md5,
        checksum: Some(digested.checksum),
        parts: Vec::new(),
        described,
    };
    let version = put(s3, &input.bucket, &input.key, content, &precondition).await?;
    let content = version.content.unwrap_or_default();
    let mut output = dto::PutObjectOutput {
        e_tag: Some(etag(&content.etag)),
        server_side_encryption: encryption(),
        version_id: shown_id(&version.id),
        ..dto::PutObjectOutput::default()
    };
    output.checksum_type = show_checksums!(output, Checksums::of(content.checksum.as_ref()));
    Ok(output)
}

pub(super) async fn put(
    s3: &Service,
    bucket: &str,
    key: &str,
    content: Content,
    precondition: &Precondition,
) -> Answer<Version> {
    s3.write(|tx, now, ids| {
        let bucket = bucket::get(tx, bucket)?;
        object::put(tx, now, ids, &bucket, key, content, precondition)
    })
    .await
}

/// What `GetObject` and `HeadObject` have in common.
macro_rules! describe_output {
    ($output:ident, $input:ident, $version:ident, $content:ident, $bytes:ident, $partial:ident) => {{
        let header = |name: &str| $content.described.headers.get(name).cloned();
        let whole = $input.checksum_mode.is_some() && !$partial;
        let expires =
            header("expires").and_then(|date| dto::Timestamp::parse(TimestampFormat::HttpDate, &date).ok());
        let mut output = dto::$output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: header("cache-control"),
            content_disposition: header("content-disposition"),
            content_encoding: header("content-encoding"),
            content_language: header("content-language"),
            content_length: Some(size($bytes.end - $bytes.start)),
            content_range: $partial.then(|| {
                format!("bytes {}-{}/{}", $bytes.start, $bytes.end.saturating_sub(1), $content.size)
            }),
            content_type: header("content-type"),
            e_tag: Some(etag(&$content.etag)),
            expires,
            last_modified: Some(timestamp($version.modified)),
            metadata: Some($content.described.metadata.clone().into_iter().collect()),
            parts_count: $input
                .part_number
                .and(i32::try_from($content.parts.len()).ok())
                .filter(|count| *count > 0),
            server_side_encryption: encryption(),
            storage_class: Some($content.described.storage_class.clone())
                .filter(|class| class != "STANDARD")
                .map(Into::into),
            version_id: shown_id(&$version.id),
            ..dto::$output::default()
        };
        output.checksum_type =
            show_checksums!(output, Checksums::of($content.checksum.as_ref().filter(|_| whole)));
        output
    }};
}

pub(super) async fn get_object(
    s3: &Service,
    call: Call,
    mut input: dto::GetObjectInput,
) -> Answer<dto::GetObjectOutput> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    let wanted = Wanted { bucket: &input.bucket, key: &input.key, version_id: input.version_id.as_deref() };
    let version = find(&state, &call, &bucket, &wanted)?;
    let content = version.content.as_ref().ok_or_else(no_such_key)?;
    let conditions = Conditions {
        if_match: input.if_match.take(),
        if_none_match: input.if_none_match.take(),
        if_modified_since: input.if_modified_since.take(),
        if_unmodified_since: input.if_unmodified_since.take(),
    };
    conditions.check(&version, || not_modified(&version))?;
    if content.described.is_archived() {
        let message = "The operation is not valid for the object's storage class";
        return Err(ApiError::new("InvalidObjectState", 403, message).into());
    }
    let (bytes, partial) = range_of(content, input.range, input.part_number)?;
    let mut output = describe_output!(GetObjectOutput, input, version, content, bytes, partial);
    output.tag_count = i32::try_from(content.described.tags.len()).ok().filter(|count| *count > 0);
    output.body = Some(send::body(&*s3.engine.machine.objects, &content.blobs, bytes)?);
    Ok(output)
}

pub(super) async fn head_object(
    s3: &Service,
    call: Call,
    mut input: dto::HeadObjectInput,
) -> Answer<dto::HeadObjectOutput> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    let wanted = Wanted { bucket: &input.bucket, key: &input.key, version_id: input.version_id.as_deref() };
    let version = find(&state, &call, &bucket, &wanted)?;
    let content = version.content.as_ref().ok_or_else(no_such_key)?;
    let conditions = Conditions {
        if_match: input.if_match.take(),
        if_none_match: input.if_none_match.take(),
        if_modified_since: input.if_modified_since.take(),
        if_unmodified_since: input.if_unmodified_since.take(),
    };
    conditions.check(&version, || not_modified(&version))?;
    let (bytes, partial) = range_of(content, input.range, input.part_number)?;
    Ok(describe_output!(HeadObjectOutput, input, version, content, bytes, partial))
}
