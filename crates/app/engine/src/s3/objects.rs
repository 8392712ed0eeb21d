//! Objects: put, read, described, tagged and deleted.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use pileus_core::{ApiError, Tags};
use pileus_security::policy::ContextKeys;
use pileus_state::State;
use pileus_storage::bucket::{self, Bucket};
use pileus_storage::checksum::Algorithm;
use pileus_storage::error::{invalid_argument, malformed_xml, no_such_key, precondition_failed};
use pileus_storage::object::{self, Content, Description, Found, NULL_VERSION, Precondition, Version};
use s3s::dto::{self, ETagCondition, TimestampFormat};
use s3s::s3_error;

use super::access::permit;
use super::convert::{
    Checksums, Refused, checksums, etag, grants, http_date, owner, precondition, show_checksums, size,
    tag_pairs, tag_set, time, timestamp,
};
use super::receive::{Expected, blob, receive};
use super::send;
use super::service::{Answer, Call, Service};

const MAX_TAGS: usize = 10;
/// The most keys of one batch of deletions.
const MAX_DELETIONS: usize = 1000;

/// What the headers of a request say of an object.
macro_rules! describe {
    ($input:expr) => {
        $crate::s3::objects::description($crate::s3::objects::Described {
            headers: [
                ("cache-control", $input.cache_control.take()),
                ("content-disposition", $input.content_disposition.take()),
                ("content-encoding", $input.content_encoding.take()),
                ("content-language", $input.content_language.take()),
                ("content-type", $input.content_type.take()),
                ("expires", $input.expires.take().map(|expires| $crate::s3::convert::http_date(&expires))),
            ],
            metadata: $input.metadata.take(),
            tagging: $input.tagging.take(),
            storage_class: $input.storage_class.take(),
        })
    };
}
pub(super) use describe;

/// See [`describe`].
pub(super) struct Described {
    pub(super) headers: [(&'static str, Option<String>); 6],
    pub(super) metadata: Option<dto::Metadata>,
    pub(super) tagging: Option<String>,
    pub(super) storage_class: Option<dto::StorageClass>,
}

pub(super) fn description(described: Described) -> Result<Description, ApiError> {
    let headers = described.headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut headers: BTreeMap<_, _> = headers.collect();
    headers.entry("content-type".to_owned()).or_insert_with(|| "binary/octet-stream".to_owned());
    // What only says how the body was sent is no part of the object.
    if let Some(encoding) = headers.remove("content-encoding") {
        let codings: Vec<_> =
            encoding.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
        if !codings.is_empty() && !codings[0].is_empty() {
            headers.insert("content-encoding".to_owned(), codings.join(","));
        }
    }
    let class = described.storage_class.map(|class| class.as_str().to_owned());
    Ok(Description {
        headers,
        metadata: described.metadata.unwrap_or_default().into_iter().collect(),
        tags: header_tags(described.tagging.as_deref().unwrap_or_default())?,
        storage_class: class.unwrap_or_else(|| "STANDARD".to_owned()),
    })
}

/// Tags as a header has them: `key=value&…`, encoded as in a URL.
fn header_tags(header: &str) -> Result<Tags, ApiError> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned)
    };
    let mut pairs = Vec::new();
    for pair in header.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Ok(key), Ok(value)) = (decode(key), decode(value)) else {
            let message = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters \
                           without tag name duplicates.";
            return Err(invalid_argument(message));
        };
        pairs.push((key, value));
    }
    bucket::check_tags(&pairs, MAX_TAGS)
}

pub(super) fn encryption() -> Option<dto::ServerSideEncryption> {
    Some(dto::ServerSideEncryption::from_static(dto::ServerSideEncryption::AES256))
}

/// The id of a version, where its bucket keeps versions.
pub(super) fn shown_id(id: &str) -> Option<String> {
    (id != NULL_VERSION).then(|| id.to_owned())
}

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

/// What a reader asks for.
pub(super) struct Wanted<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    pub(super) version_id: Option<&'a str>,
}

/// The version that a reader asks for, as one that may learn of it.
pub(super) fn find(state: &State, call: &Call, bucket: &Bucket, wanted: &Wanted) -> Answer<Arc<Version>> {
    match object::find(state, wanted.bucket, wanted.key, wanted.version_id) {
        Ok(Found::Object(version)) => Ok(version),
        Ok(Found::Marker(marker)) => {
            let mut error = if wanted.version_id.is_some() {
                Refused::from(not_allowed()).0
            } else {
                Refused::from(hidden(state, call, bucket, no_such_key())).0
            };
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
            if let Ok(id) = HeaderValue::from_str(&marker.id) {
                headers.insert("x-amz-version-id", id);
            }
            error.set_headers(headers);
            Err(error.into())
        }
        Err(error) => Err(hidden(state, call, bucket, error).into()),
    }
}

fn not_allowed() -> ApiError {
    ApiError::new("MethodNotAllowed", 405, "The specified method is not allowed against this resource.")
}

/// Who may not list a bucket does not learn what is not in it.
fn hidden(state: &State, call: &Call, bucket: &Bucket, error: ApiError) -> ApiError {
    let may_list =
        permit(state, &call.asker, "s3:ListBucket", &bucket.arn(), Some(bucket), ContextKeys::new());
    match may_list {
        Ok(()) => error,
        Err(_) => pileus_storage::error::access_denied(),
    }
}

/// The conditions of a read.
pub(super) struct Conditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<dto::Timestamp>,
    pub(super) if_unmodified_since: Option<dto::Timestamp>,
}

impl Conditions {
    /// RFC 9110, 13.2.2.
    ///
    /// # Errors
    /// One does not hold. `not_modified` makes the error for what the client has already.
    pub(super) fn check(&self, version: &Version, not_modified: impl Fn() -> Refused) -> Answer<()> {
        let etag = version.content.as_ref().map_or("", |content| content.etag.as_str());
        let fits = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(wanted) => wanted.value() == etag,
        };
        // HTTP's dates have whole seconds.
        let since = |date: &dto::Timestamp| time(date).map(|date| version.modified.secs() > date.secs());
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !fits(condition) => return Err(precondition_failed().into()),
            (None, Some(date)) if since(date)? => return Err(precondition_failed().into()),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if fits(condition) => Err(not_modified()),
            (None, Some(date)) if !since(date)? => Err(not_modified()),
            _ => Ok(()),
        }
    }
}

/// 304, with the headers by which the client knows what it has.
fn not_modified(version: &Version) -> Refused {
    let mut error = s3_error!(NotModified);
    error.set_status_code(http::StatusCode::NOT_MODIFIED);
    let mut headers = HeaderMap::new();
    let content = version.content.as_ref();
    if let Some(etag) =
        content.and_then(|content| HeaderValue::from_str(&format!("\"{}\"", content.etag)).ok())
    {
        headers.insert("etag", etag);
    }
    if let Ok(date) = HeaderValue::from_str(&http_date(&timestamp(version.modified))) {
        headers.insert("last-modified", date);
    }
    error.set_headers(headers);
    error.into()
}

/// The bytes that are asked for, and whether that is only a part of the object.
fn range_of(
    content: &Content,
    range: Option<dto::Range>,
    part: Option<i32>,
) -> Result<(Range<u64>, bool), ApiError> {
    let unsatisfiable = || ApiError::new("InvalidRange", 416, "The requested range is not satisfiable");
    match (range, part) {
        (None, None) => Ok((0..content.size, false)),
        (Some(_), Some(_)) => Err(ApiError::client(
            "InvalidRequest",
            "Cannot specify both Range header and partNumber query parameter",
        )),
        (Some(range), None) => Ok((range.check(content.size).map_err(|_| unsatisfiable())?, true)),
        (None, Some(number)) => {
            let number = pileus_storage::upload::check_number(number)?;
            let wrong =
                || ApiError::new("InvalidPartNumber", 416, "The requested partnumber is not satisfiable");
            if content.parts.is_empty() {
                return if number == 1 { Ok((0..content.size, content.size > 0)) } else { Err(wrong()) };
            }
            // Parts of an object are counted from one, whatever their numbers were.
            let index = usize::try_from(number - 1).ok().filter(|index| *index < content.parts.len());
            let index = index.ok_or_else(wrong)?;
            let start = content.parts[..index].iter().map(|part| part.size).sum();
            Ok((start..start + content.parts[index].size, true))
        }
    }
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
