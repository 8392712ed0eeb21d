//! Between S3's shapes as `s3s` has them and our own.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use pileus_core::{ApiError, Tags, Timestamp};
use pileus_storage::bucket::canonical_id;
use pileus_storage::checksum::{Algorithm, Checksum};
use pileus_storage::error::malformed_xml;
use pileus_storage::object::Precondition;
use s3s::dto::{self, ETag, ETagCondition, TimestampFormat};
use s3s::{S3Error, S3ErrorCode};

/// Why a request gets no other answer: an error of ours or of `s3s`.
#[derive(Debug)]
pub(super) struct Refused(pub(super) S3Error);

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        let code = S3ErrorCode::from_bytes(error.code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
        let mut converted = S3Error::with_message(code, error.message);
        converted
            .set_status_code(StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
        Self(converted)
    }
}

impl From<S3Error> for Refused {
    fn from(error: S3Error) -> Self {
        Self(error)
    }
}

pub(super) fn timestamp(time: Timestamp) -> dto::Timestamp {
    let since_epoch = Duration::from_millis(u64::try_from(time.millis()).unwrap_or(0));
    (SystemTime::UNIX_EPOCH + since_epoch).into()
}

/// The other way.
pub(super) fn time(time: &dto::Timestamp) -> Result<Timestamp, ApiError> {
    Timestamp::parse(&formatted(time, TimestampFormat::DateTime)).ok_or_else(malformed_xml)
}

/// As `Expires` and `Last-Modified` are written.
pub(super) fn http_date(time: &dto::Timestamp) -> String {
    formatted(time, TimestampFormat::HttpDate)
}

fn formatted(time: &dto::Timestamp, format: TimestampFormat) -> String {
    let mut text = Vec::new();
    // Years that have no four digits have no text either.
    let written = time.format(format, &mut text);
    if written.is_ok() { String::from_utf8_lossy(&text).into_owned() } else { String::new() }
}

pub(super) fn etag(etag: &str) -> ETag {
    ETag::Strong(etag.to_owned())
}

pub(super) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(super) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The condition of a write.
pub(super) fn precondition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> Result<Precondition, ApiError> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Precondition::None),
        (Some(ETagCondition::Any), None) => Ok(Precondition::Matches("*".into())),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Precondition::Matches(etag.value().to_owned())),
        (None, Some(ETagCondition::Any)) => Ok(Precondition::Absent),
        (_, Some(_)) => Err(ApiError::new(
            "NotImplemented",
            501,
            "A header you provided implies functionality that is not implemented: If-None-Match of a write takes only *.",
        )),
    }
}

pub(super) fn owner(account: &str) -> dto::Owner {
    dto::Owner { display_name: None, id: Some(canonical_id(account)) }
}

/// The one grant that there is.
pub(super) fn grants(account: &str) -> Vec<dto::Grant> {
    let grantee = dto::Grantee {
        display_name: None,
        email_address: None,
        id: Some(canonical_id(account)),
        type_: dto::Type::from_static(dto::Type::CANONICAL_USER),
        uri: None,
    };
    let permission = dto::Permission::from_static(dto::Permission::FULL_CONTROL);
    vec![dto::Grant { grantee: Some(grantee), permission: Some(permission) }]
}

pub(super) fn tag_set(tags: &Tags) -> Vec<dto::Tag> {
    tags.iter().map(|(key, value)| dto::Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

pub(super) fn tag_pairs(tags: Vec<dto::Tag>) -> Result<Vec<(String, String)>, ApiError> {
    tags.into_iter().map(|tag| Some((tag.key?, tag.value?))).collect::<Option<_>>().ok_or_else(malformed_xml)
}

/// The fields in which each answer and request has a checksum.
#[derive(Clone, Debug, Default)]
pub(super) struct Checksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
    pub(super) kind: Option<dto::ChecksumType>,
}

impl Checksums {
    /// The fields of a checksum that an answer shows.
    pub(super) fn of(checksum: Option<&Checksum>) -> Self {
        let Some(checksum) = checksum else { return Self::default() };
        let kind =
            if checksum.composite { dto::ChecksumType::COMPOSITE } else { dto::ChecksumType::FULL_OBJECT };
        let kind = Some(dto::ChecksumType::from_static(kind));
        Self { kind, ..Self::only(checksum.algorithm, Some(checksum.value.clone())) }
    }

    pub(super) fn only(algorithm: Algorithm, value: Option<String>) -> Self {
        let mut fields = Self::default();
        match algorithm {
            Algorithm::Crc32 => fields.crc32 = value,
            Algorithm::Crc32c => fields.crc32c = value,
            Algorithm::Crc64Nvme => fields.crc64nvme = value,
            Algorithm::Sha1 => fields.sha1 = value,
            Algorithm::Sha256 => fields.sha256 = value,
        }
        fields
    }

    /// The one that a request states, if it states one.
    ///
    /// # Errors
    /// It states several.
    pub(super) fn stated(self) -> Result<Option<(Algorithm, String)>, ApiError> {
        let fields = [
            (Algorithm::Crc32, self.crc32),
            (Algorithm::Crc32c, self.crc32c),
            (Algorithm::Crc64Nvme, self.crc64nvme),
            (Algorithm::Sha1, self.sha1),
            (Algorithm::Sha256, self.sha256),
        ];
        let mut stated = fields.into_iter().filter_map(|(algorithm, value)| Some((algorithm, value?)));
        let first = stated.next();
        if stated.next().is_some() {
            let message =
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
            return Err(ApiError::client("InvalidRequest", message));
        }
        Ok(first)
    }
}

/// The checksum fields of a shape that has them.
macro_rules! checksums {
    ($shape:expr) => {
        $crate::s3::convert::Checksums {
            crc32: $shape.checksum_crc32.take(),
            crc32c: $shape.checksum_crc32c.take(),
            crc64nvme: $shape.checksum_crc64nvme.take(),
            sha1: $shape.checksum_sha1.take(),
            sha256: $shape.checksum_sha256.take(),
            kind: None,
        }
    };
}

/// Shows checksums in a shape that has fields for them.
macro_rules! show_checksums {
    ($shape:expr, $checksums:expr) => {{
        let checksums = $checksums;
        $shape.checksum_crc32 = checksums.crc32;
        $shape.checksum_crc32c = checksums.crc32c;
        $shape.checksum_crc64nvme = checksums.crc64nvme;
        $shape.checksum_sha1 = checksums.sha1;
        $shape.checksum_sha256 = checksums.sha256;
        checksums.kind
    }};
}

pub(super) use {checksums, show_checksums};
