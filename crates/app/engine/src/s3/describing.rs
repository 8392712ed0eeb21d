//! What a client says of an object when it puts one, and what every answer about objects says.

use std::collections::BTreeMap;

use pileus_core::{ApiError, Tags};
use pileus_storage::bucket;
use pileus_storage::error::invalid_argument;
use pileus_storage::object::{Description, NULL_VERSION};
use s3s::dto;

pub(super) const MAX_TAGS: usize = 10;

/// What the headers of a request say of an object.
macro_rules! describe {
    ($input:expr) => {
        $crate::s3::describing::description($crate::s3::describing::Described {
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
