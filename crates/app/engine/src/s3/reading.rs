//! Which version of an object a reader gets, whether the conditions of its request hold, and which bytes it asks for.

use std::ops::Range;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use pileus_core::ApiError;
use pileus_security::policy::ContextKeys;
use pileus_state::State;
use pileus_storage::bucket::Bucket;
use pileus_storage::error::{no_such_key, precondition_failed};
use pileus_storage::object::{self, Content, Found, Version};
use s3s::dto::{self, ETagCondition};
use s3s::s3_error;

use super::access::permit;
use super::convert::{Refused, http_date, time, timestamp};
use super::service::{Answer, Call};

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
pub(super) fn not_modified(version: &Version) -> Refused {
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
pub(super) fn range_of(
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
