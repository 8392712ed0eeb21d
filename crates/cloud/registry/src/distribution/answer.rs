//! Responses of the registry, and its refusals in the form of the distribution protocol.

use std::path::PathBuf;

use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use super::Request;

/// What a response carries. Its length is in the response's headers.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    Bytes(Vec<u8>),
    /// Bytes of a file.
    File {
        path: PathBuf,
        first: u64,
        length: u64,
    },
}

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Why a request is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    pub status: StatusCode,
    /// One of the protocol's codes, such as `NAME_UNKNOWN`.
    pub code: &'static str,
    pub message: String,
    /// Where an upload stands: sent along when a chunk does not fit.
    pub(super) range: Option<String>,
    /// The size of a blob that lacks the part that was asked for.
    pub(super) size: Option<u64>,
}

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), range: None, size: None }
    }

    /// The principal may not do it.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    pub(super) fn digest(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(super) fn no_such_part(size: u64) -> Self {
        let message = format!("the blob has {size} bytes, and none of those that were asked for");
        Self { size: Some(size), ..Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", message) }
    }

    pub(super) fn unsupported(request: &Request) -> Self {
        let message = format!("the registry does not implement {} here", request.method);
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }
}

impl From<Refusal> for Response<Body> {
    fn from(refusal: Refusal) -> Self {
        let error = json!({ "code": refusal.code, "message": refusal.message, "detail": null });
        let document = json!({ "errors": [error] }).to_string().into_bytes();
        let mut response = with(refusal.status, document.len() as u64, Body::Bytes(document));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        if refusal.status == StatusCode::UNAUTHORIZED {
            let challenge = "Basic realm=\"ECR\",service=\"ecr.amazonaws.com\"";
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(range) = refusal.range {
            set(&mut response, header::RANGE, &range);
        }
        if let Some(size) = refusal.size {
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
        }
        response
    }
}

fn with(status: StatusCode, length: u64, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Sets a header whose value is made of checked names, digests and numbers.
fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

pub(super) fn empty(status: StatusCode) -> Response<Body> {
    with(status, 0, Body::Bytes(Vec::new()))
}

/// A manifest or blob; `body` is empty for HEAD, `length` is not.
pub(super) fn entity(media_type: &str, digest: &str, length: u64, body: Body) -> Response<Body> {
    let mut response = with(StatusCode::OK, length, body);
    set(&mut response, header::CONTENT_TYPE, media_type);
    set(&mut response, CONTENT_DIGEST, digest);
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    response
}

/// A part of a blob.
pub(super) fn part(digest: &str, size: u64, body: Body, first: u64, length: u64) -> Response<Body> {
    let mut response = entity("application/octet-stream", digest, length, body);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let range = format!("bytes {first}-{}/{size}", first + length - 1);
    set(&mut response, header::CONTENT_RANGE, &range);
    response
}

/// The referrers of an image, and whether only those of the kind that was asked for.
pub(super) fn referrers(document: Vec<u8>, filtered: bool) -> Response<Body> {
    let mut response = with(StatusCode::OK, document.len() as u64, Body::Bytes(document));
    set(&mut response, header::CONTENT_TYPE, "application/vnd.oci.image.index.v1+json");
    if filtered {
        set(&mut response, FILTERS, "artifactType");
    }
    response
}

/// Tells that the image which a manifest refers to is known as such.
pub(super) fn set_subject(response: &mut Response<Body>, digest: &str) {
    set(response, SUBJECT, digest);
}

pub(super) fn document(document: Vec<u8>, link: Option<String>) -> Response<Body> {
    let mut response = with(StatusCode::OK, document.len() as u64, Body::Bytes(document));
    set(&mut response, header::CONTENT_TYPE, "application/json; charset=utf-8");
    if let Some(link) = link {
        set(&mut response, header::LINK, &link);
    }
    response
}

/// A manifest or blob is there now.
pub(super) fn created(location: &str, digest: &str) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    set(&mut response, header::LOCATION, location);
    set(&mut response, CONTENT_DIGEST, digest);
    response
}

/// Where an upload goes on, and how much of it is there.
pub(super) fn progress(status: StatusCode, repository: &str, id: &str, length: u64) -> Response<Body> {
    let mut response = empty(status);
    set(&mut response, header::LOCATION, &format!("/v2/{repository}/blobs/uploads/{id}"));
    set(&mut response, header::RANGE, &range(length));
    set(&mut response, UPLOAD_ID, id);
    response
}

/// The protocol's way to say how much is there: the first and last byte, `0-0` for none.
pub(super) fn range(length: u64) -> String {
    format!("0-{}", length.saturating_sub(1))
}
