//! The forms of text and errors that IAM's operations share.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pileus_aws::iam::Tag;
use pileus_core::{ApiError, Tags, tags};

/// RFC 3986's unreserved characters stay as they are.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A policy document as IAM's answers carry it.
pub(crate) fn url_encoded(document: &str) -> String {
    utf8_percent_encode(document, RESERVED).to_string()
}

pub(crate) fn no_such_entity(message: impl Into<String>) -> ApiError {
    ApiError::new("NoSuchEntity", 404, message)
}

pub(crate) fn limit_exceeded(message: impl Into<String>) -> ApiError {
    ApiError::new("LimitExceeded", 409, message)
}

pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("ValidationError", message)
}

/// One page of `items`, which are ordered by `key`: 100 at a time unless the client asks for fewer.
pub(crate) fn page<T>(
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    marker: Option<&str>,
    max_items: Option<i64>,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let size = max_items.and_then(|size| usize::try_from(size).ok()).unwrap_or(100);
    let bad = || invalid(format!("Invalid Marker: {}", marker.unwrap_or_default()));
    pileus_core::paginate(items, key, marker, size, bad)
}

pub(crate) fn already_exists(message: impl Into<String>) -> ApiError {
    ApiError::new("EntityAlreadyExists", 409, message)
}

pub(crate) fn conflict(message: impl Into<String>) -> ApiError {
    ApiError::new("DeleteConflict", 409, message)
}

/// `what` is what must be done before an entity can be deleted.
pub(crate) fn must_first(what: &str) -> ApiError {
    conflict(format!("Cannot delete entity, must {what} first."))
}

/// The length of a document as IAM counts it: without white space.
pub(crate) fn characters(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

/// The tags of a request that creates something.
pub(crate) fn request_tags(list: Option<Vec<Tag>>) -> Result<Tags, ApiError> {
    let mut all = Tags::new();
    for tag in list.unwrap_or_default() {
        if all.keys().any(|key| key.eq_ignore_ascii_case(&tag.key)) {
            let message = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(ApiError::client("InvalidInput", message));
        }
        all.insert(tag.key, tag.value);
    }
    tags::check(&all, "InvalidInput")?;
    Ok(all)
}

/// Adds the tags of a request to those that are there.
pub(crate) fn add_tags(tags: &mut Tags, list: Vec<Tag>) -> Result<(), ApiError> {
    tags.extend(request_tags(Some(list))?);
    tags::check(tags, "InvalidInput")
}

pub(crate) fn tag_list(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
}

/// A path prefix of a listing.
pub(crate) fn path_prefix(prefix: Option<&str>) -> Result<&str, ApiError> {
    match prefix {
        None => Ok("/"),
        Some(prefix) if prefix.starts_with('/') => Ok(prefix),
        Some(prefix) => Err(invalid(format!("The path prefix {prefix} must begin with /"))),
    }
}
