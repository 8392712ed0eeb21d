//! The forms of text and errors that IAM's operations share.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pileus_core::ApiError;

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
