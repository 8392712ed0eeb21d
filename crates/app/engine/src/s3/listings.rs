//! Listings of a bucket, as S3 writes them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pileus_core::ApiError;
use pileus_storage::Version;
use pileus_storage::error::{invalid_argument, not_implemented};
use pileus_storage::listing::{self, MAX_ENTRIES, Query};
use s3s::dto;

use super::convert::{count, etag, owner, size, timestamp};
use super::service::{Answer, Call, Service};

/// What stays as it is where a client asks for keys that are encoded for URLs.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// How a listing writes keys.
#[derive(Clone, Copy)]
struct Encoding(bool);

impl Encoding {
    fn of(encoding: Option<&dto::EncodingType>) -> Result<Self, ApiError> {
        match encoding.map(dto::EncodingType::as_str) {
            None => Ok(Self(false)),
            Some("url") => Ok(Self(true)),
            Some(_) => Err(invalid_argument("Invalid Encoding Method specified in Request")),
        }
    }

    fn text(self, key: &str) -> String {
        if self.0 { utf8_percent_encode(key, ENCODED).to_string() } else { key.to_owned() }
    }

    fn maybe(self, key: Option<&str>) -> Option<String> {
        key.map(|key| self.text(key))
    }

    fn prefixes(self, prefixes: &[String]) -> Option<Vec<dto::CommonPrefix>> {
        let common = |prefix: &String| dto::CommonPrefix { prefix: Some(self.text(prefix)) };
        (!prefixes.is_empty()).then(|| prefixes.iter().map(common).collect())
    }
}

fn limit(max: Option<i32>, name: &str) -> Result<usize, ApiError> {
    let max = max.unwrap_or(1000);
    let limit = usize::try_from(max);
    let message = format!("Argument {name} must be an integer between 0 and 2147483647");
    limit.map(|limit| limit.min(MAX_ENTRIES)).map_err(|_| invalid_argument(message))
}

fn delimiter(delimiter: Option<&str>) -> Option<&str> {
    delimiter.filter(|delimiter| !delimiter.is_empty())
}

/// An answer without entries can hold nothing, so it is never the first of several.
fn more<T>(page: &listing::Page<T>, limit: usize) -> Option<(String, Option<String>)> {
    page.next.clone().filter(|_| limit > 0)
}

fn check_attributes(attributes: Option<&Vec<dto::OptionalObjectAttributes>>) -> Result<(), ApiError> {
    // The one that there is, RestoreStatus, is of objects that have been restored, which none can be.
    match attributes.into_iter().flatten().find(|attribute| attribute.as_str() != "RestoreStatus") {
        None => Ok(()),
        Some(other) => Err(not_implemented(format_args!("the object attribute {}", other.as_str()))),
    }
}

fn object(encoding: Encoding, version: &Version, account: Option<&str>) -> dto::Object {
    let content = version.content.clone().unwrap_or_default();
    let algorithm = content.checksum.as_ref().map(|checksum| checksum.algorithm.name());
    dto::Object {
        checksum_algorithm: algorithm.map(|name| vec![dto::ChecksumAlgorithm::from_static(name)]),
        checksum_type: super::convert::Checksums::of(content.checksum.as_ref()).kind,
        e_tag: Some(etag(&content.etag)),
        key: Some(encoding.text(&version.key)),
        last_modified: Some(timestamp(version.modified)),
        owner: account.map(owner),
        restore_status: None,
        size: Some(size(content.size)),
        storage_class: Some(content.described.storage_class.into()),
    }
}

pub(super) async fn list_objects(
    s3: &Service,
    _: Call,
    input: dto::ListObjectsInput,
) -> Answer<dto::ListObjectsOutput> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    check_attributes(input.optional_object_attributes.as_ref())?;
    let (encoding, limit) = (Encoding::of(input.encoding_type.as_ref())?, limit(input.max_keys, "maxKeys")?);
    let prefix = input.prefix.unwrap_or_default();
    let page = listing::objects(
        &state,
        &Query {
            bucket: &input.bucket,
            prefix: &prefix,
            delimiter: delimiter(input.delimiter.as_deref()),
            after: input.marker.as_deref().unwrap_or_default(),
            after_id: None,
            limit,
        },
    );
    let next = more(&page, limit);
    Ok(dto::ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.text(&prefix)),
        marker: Some(encoding.text(input.marker.as_deref().unwrap_or_default())),
        max_keys: Some(count(limit)),
        is_truncated: Some(next.is_some()),
        contents: Some(page.items.iter().map(|item| object(encoding, item, Some(&bucket.owner))).collect()),
        common_prefixes: encoding.prefixes(&page.prefixes),
        // As on AWS, without a delimiter the last key says where to go on.
        next_marker: next.filter(|_| input.delimiter.is_some()).map(|(key, _)| encoding.text(&key)),
        delimiter: encoding.maybe(input.delimiter.as_deref()),
        encoding_type: input.encoding_type,
        request_charged: None,
    })
}

/// A continuation token is the key to go on after, as hexadecimal digits.
fn token(key: &str) -> String {
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn key_of_token(token: &str) -> Result<String, ApiError> {
    let pairs =
        token.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let bytes = pairs.collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty());
    let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    key.ok_or_else(|| invalid_argument("The continuation token provided is incorrect"))
}

pub(super) async fn list_objects_v2(
    s3: &Service,
    _: Call,
    input: dto::ListObjectsV2Input,
) -> Answer<dto::ListObjectsV2Output> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    check_attributes(input.optional_object_attributes.as_ref())?;
    let (encoding, limit) = (Encoding::of(input.encoding_type.as_ref())?, limit(input.max_keys, "max-keys")?);
    let prefix = input.prefix.unwrap_or_default();
    let after = match &input.continuation_token {
        Some(token) => key_of_token(token)?,
        None => input.start_after.clone().unwrap_or_default(),
    };
    let page = listing::objects(
        &state,
        &Query {
            bucket: &input.bucket,
            prefix: &prefix,
            delimiter: delimiter(input.delimiter.as_deref()),
            after: &after,
            after_id: None,
            limit,
        },
    );
    let next = more(&page, limit);
    let account = input.fetch_owner.unwrap_or(false).then_some(bucket.owner.as_str());
    Ok(dto::ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoding.text(&prefix)),
        max_keys: Some(count(limit)),
        key_count: Some(count(page.items.len() + page.prefixes.len())),
        continuation_token: input.continuation_token,
        is_truncated: Some(next.is_some()),
        next_continuation_token: next.map(|(key, _)| token(&key)),
        contents: Some(page.items.iter().map(|item| object(encoding, item, account)).collect()),
        common_prefixes: encoding.prefixes(&page.prefixes),
        delimiter: encoding.maybe(input.delimiter.as_deref()),
        start_after: encoding.maybe(input.start_after.as_deref()),
        encoding_type: input.encoding_type,
        request_charged: None,
    })
}

pub(super) async fn list_object_versions(
    s3: &Service,
    _: Call,
    input: dto::ListObjectVersionsInput,
) -> Answer<dto::ListObjectVersionsOutput> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    check_attributes(input.optional_object_attributes.as_ref())?;
    let (encoding, limit) = (Encoding::of(input.encoding_type.as_ref())?, limit(input.max_keys, "maxKeys")?);
    let (prefix, marker) = (input.prefix.unwrap_or_default(), input.version_id_marker.as_deref());
    let marker = marker.filter(|marker| !marker.is_empty());
    if marker.is_some() && input.key_marker.as_ref().is_none_or(String::is_empty) {
        return Err(invalid_argument("A version-id marker cannot be specified without a key marker.").into());
    }
    let page = listing::versions(
        &state,
        &Query {
            bucket: &input.bucket,
            prefix: &prefix,
            delimiter: delimiter(input.delimiter.as_deref()),
            after: input.key_marker.as_deref().unwrap_or_default(),
            after_id: marker,
            limit,
        },
    );
    let (mut versions, mut markers) = (Vec::new(), Vec::new());
    for listed in &page.items {
        let object = object(encoding, &listed.version, Some(&bucket.owner));
        let (latest, id) = (Some(listed.latest), Some(listed.version.id.clone()));
        if listed.version.is_marker() {
            markers.push(dto::DeleteMarkerEntry {
                is_latest: latest,
                key: object.key,
                last_modified: object.last_modified,
                owner: object.owner,
                version_id: id,
            });
        } else {
            versions.push(dto::ObjectVersion {
                checksum_algorithm: object.checksum_algorithm,
                checksum_type: object.checksum_type,
                e_tag: object.e_tag,
                is_latest: latest,
                key: object.key,
                last_modified: object.last_modified,
                owner: object.owner,
                restore_status: None,
                size: object.size,
                storage_class: object.storage_class.map(|class| class.as_str().to_owned().into()),
                version_id: id,
            });
        }
    }
    let (next_key, next_id) = more(&page, limit).map_or((None, None), |(key, id)| (Some(key), id));
    Ok(dto::ListObjectVersionsOutput {
        common_prefixes: encoding.prefixes(&page.prefixes),
        delete_markers: Some(markers),
        delimiter: encoding.maybe(input.delimiter.as_deref()),
        encoding_type: input.encoding_type,
        is_truncated: Some(next_key.is_some()),
        key_marker: Some(encoding.text(input.key_marker.as_deref().unwrap_or_default())),
        max_keys: Some(count(limit)),
        name: Some(input.bucket),
        next_key_marker: encoding.maybe(next_key.as_deref()),
        next_version_id_marker: next_id,
        prefix: Some(encoding.text(&prefix)),
        request_charged: None,
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        versions: Some(versions),
    })
}

pub(super) async fn list_multipart_uploads(
    s3: &Service,
    _: Call,
    input: dto::ListMultipartUploadsInput,
) -> Answer<dto::ListMultipartUploadsOutput> {
    let (state, bucket) = s3.read(&input.bucket).await?;
    let (encoding, limit) =
        (Encoding::of(input.encoding_type.as_ref())?, limit(input.max_uploads, "max-uploads")?);
    let prefix = input.prefix.unwrap_or_default();
    let page = listing::uploads(
        &state,
        &Query {
            bucket: &input.bucket,
            prefix: &prefix,
            delimiter: delimiter(input.delimiter.as_deref()),
            after: input.key_marker.as_deref().unwrap_or_default(),
            after_id: input.upload_id_marker.as_deref().filter(|marker| !marker.is_empty()),
            limit,
        },
    );
    let uploads = page.items.iter().map(|upload| dto::MultipartUpload {
        checksum_algorithm: upload
            .chosen
            .then(|| dto::ChecksumAlgorithm::from_static(upload.algorithm.name())),
        checksum_type: super::uploads::kind(upload),
        initiated: Some(timestamp(upload.begun)),
        initiator: Some(super::uploads::initiator(upload)),
        key: Some(encoding.text(&upload.key)),
        owner: Some(owner(&bucket.owner)),
        storage_class: Some(upload.described.storage_class.clone().into()),
        upload_id: Some(upload.id.clone()),
    });
    let uploads = uploads.collect();
    let (next_key, next_id) = more(&page, limit).map_or((None, None), |(key, id)| (Some(key), id));
    Ok(dto::ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: encoding.prefixes(&page.prefixes),
        delimiter: encoding.maybe(input.delimiter.as_deref()),
        encoding_type: input.encoding_type,
        is_truncated: Some(next_key.is_some()),
        key_marker: Some(encoding.text(input.key_marker.as_deref().unwrap_or_default())),
        max_uploads: Some(count(limit)),
        next_key_marker: encoding.maybe(next_key.as_deref()),
        next_upload_id_marker: next_id,
        prefix: Some(encoding.text(&prefix)),
        request_charged: None,
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        uploads: Some(uploads),
    })
}
