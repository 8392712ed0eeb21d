//! What a request asks for.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use pileus_core::Secret;

use super::Refusal;
use crate::manifest::is_digest;

/// The thing that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`
    Base,
    /// `/v2/<name>/manifests/<tag or digest>`
    Manifest { repository: String, reference: String },
    /// `/v2/<name>/tags/list`
    Tags { repository: String },
    /// `/v2/<name>/blobs/<digest>`
    Blob { repository: String, digest: String },
    /// `/v2/<name>/blobs/uploads/`
    Uploads { repository: String },
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload { repository: String, id: String },
}

/// What carrying out a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A snapshot of the state.
    Read,
    /// A transaction, and the body if there is one.
    Write,
    /// The body as a stream, then a transaction.
    Receive,
}

/// A request, taken apart.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub route: Route,
    /// The name, and port if any, that the client reached the registry by.
    pub host: String,
    /// Of basic authentication.
    pub(super) authorization: Option<Secret>,
    /// Of the address of a layer.
    pub(super) token: Option<Secret>,
    pub(super) content_type: Option<String>,
    pub(super) content_length: Option<u64>,
    /// The first byte of a chunk in its upload.
    pub(super) first_byte: Option<u64>,
    /// The digest that an upload is to have.
    pub(super) digest: Option<String>,
    /// The most tags to list, and the tag after which to begin.
    pub(super) limit: Option<usize>,
    pub(super) after: Option<String>,
}

impl Request {
    /// # Errors
    /// The path is none of the registry's, or a parameter is malformed.
    pub fn parse(parts: &Parts) -> Result<Self, Refusal> {
        let text = |name| header_text(&parts.headers, name);
        let route = route(parts.uri.path())?;
        let parameter = |name: &str| query_value(parts.uri.query().unwrap_or_default(), name);
        let digest = parameter("digest");
        if let Some(bad) = digest.as_ref().filter(|digest| !is_digest(digest)) {
            return Err(Refusal::digest(format!("{bad} is not a sha256 digest")));
        }
        let host = parts.uri.authority().map(ToString::to_string).or_else(|| text(header::HOST));
        Ok(Self {
            method: parts.method.clone(),
            route,
            host: host.unwrap_or_default(),
            authorization: text(header::AUTHORIZATION).map(Secret::new),
            token: parameter("token").map(Secret::new),
            content_type: text(header::CONTENT_TYPE).map(without_parameters),
            content_length: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            first_byte: text(header::CONTENT_RANGE).map(|range| first_byte(&range)).transpose()?,
            digest,
            limit: parameter("n").and_then(|limit| limit.parse().ok()),
            after: parameter("last"),
        })
    }

    /// What carrying it out needs.
    pub fn work(&self) -> Work {
        match (&self.route, self.method.as_str()) {
            (_, "GET" | "HEAD") => Work::Read,
            (Route::Upload { .. }, "PATCH" | "PUT") => Work::Receive,
            _ => Work::Write,
        }
    }

    /// The IAM action that it takes.
    pub fn action(&self) -> &'static str {
        match (&self.route, self.method.as_str()) {
            (Route::Base, _) => "ecr:GetAuthorizationToken",
            (Route::Manifest { .. }, "PUT") => "ecr:PutImage",
            (Route::Manifest { .. }, _) => "ecr:BatchGetImage",
            (Route::Tags { .. }, _) => "ecr:ListImages",
            (Route::Blob { .. }, "HEAD") => "ecr:BatchCheckLayerAvailability",
            (Route::Blob { .. }, _) => "ecr:GetDownloadUrlForLayer",
            (Route::Uploads { .. }, _) => "ecr:InitiateLayerUpload",
            (Route::Upload { .. }, "PUT") => "ecr:CompleteLayerUpload",
            (Route::Upload { .. }, _) => "ecr:UploadLayerPart",
        }
    }

    /// The repository that it is about, if it is about one.
    pub fn repository(&self) -> Option<&str> {
        match &self.route {
            Route::Base => None,
            Route::Manifest { repository, .. }
            | Route::Tags { repository }
            | Route::Blob { repository, .. }
            | Route::Uploads { repository }
            | Route::Upload { repository, .. } => Some(repository),
        }
    }
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// `type/subtype` of a content type.
fn without_parameters(content_type: String) -> String {
    content_type.split_once(';').map_or(content_type.as_str(), |(kind, _)| kind.trim()).to_owned()
}

fn query_value(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    percent_decode_str(value).decode_utf8().ok().map(Cow::into_owned)
}

/// `<first>-<last>`, as the distribution protocol has it, or HTTP's `bytes <first>-<last>/<length>`.
fn first_byte(range: &str) -> Result<u64, Refusal> {
    let bounds = range.trim().strip_prefix("bytes ").unwrap_or(range.trim());
    let first = bounds.split_once('-').and_then(|(first, _)| first.parse().ok());
    first.ok_or_else(|| {
        let message = format!("'{range}' is not a Content-Range");
        Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
    })
}

/// Repository names have slashes in them, so a path is read from its end.
fn route(path: &str) -> Result<Route, Refusal> {
    let unknown = || {
        let message = format!("the registry has no {path}");
        Refusal::new(StatusCode::NOT_FOUND, "UNSUPPORTED", message)
    };
    let rest = path.strip_prefix("/v2").ok_or_else(unknown)?;
    if rest.is_empty() || rest == "/" {
        return Ok(Route::Base);
    }
    let parts: Vec<&str> = rest.split('/').skip(1).collect();
    let (name, what) = match parts.as_slice() {
        [name @ .., "blobs", "uploads", ""] | [name @ .., "blobs", "uploads"] => (name, ["uploads", ""]),
        [name @ .., "blobs", "uploads", id] => (name, ["upload", id]),
        [name @ .., "tags", "list"] => (name, ["tags", ""]),
        [name @ .., "manifests", reference] => (name, ["manifest", reference]),
        [name @ .., "blobs", digest] => (name, ["blob", digest]),
        _ => return Err(unknown()),
    };
    if name.is_empty() || name.iter().any(|part| part.is_empty()) {
        return Err(unknown());
    }
    let repository = name.join("/");
    let value = what[1].to_owned();
    Ok(match what[0] {
        "uploads" => Route::Uploads { repository },
        "upload" => Route::Upload { repository, id: value },
        "tags" => Route::Tags { repository },
        "manifest" => Route::Manifest { repository, reference: value },
        _ => Route::Blob { repository, digest: value },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let name = |name: &str| name.to_owned();
        for (path, expected) in [
            ("/v2/", Route::Base),
            ("/v2", Route::Base),
            ("/v2/a/b/manifests/v1", Route::Manifest { repository: name("a/b"), reference: name("v1") }),
            ("/v2/a/tags/list", Route::Tags { repository: name("a") }),
            ("/v2/a/blobs/sha256:x", Route::Blob { repository: name("a"), digest: name("sha256:x") }),
            ("/v2/a/blobs/uploads/", Route::Uploads { repository: name("a") }),
            ("/v2/a/blobs/uploads/u", Route::Upload { repository: name("a"), id: name("u") }),
            (
                "/v2/blobs/manifests/manifests/x",
                Route::Manifest { repository: name("blobs/manifests"), reference: name("x") },
            ),
        ] {
            assert_eq!(route(path).ok(), Some(expected), "{path}");
        }
        for path in
            ["/v1/", "/v2x", "/v2/_catalog", "/v2/manifests/x", "/v2//manifests/x", "/v2/a//tags/list"]
        {
            assert!(route(path).is_err(), "{path}");
        }
    }

    #[test]
    fn ranges_are_read_in_both_forms() {
        assert_eq!(first_byte("5-9").ok(), Some(5));
        assert_eq!(first_byte("bytes 5-9/*").ok(), Some(5));
        assert!(first_byte("x-9").is_err() && first_byte("").is_err() && first_byte("-5").is_err());
    }

    #[test]
    fn query_values_are_decoded() {
        assert_eq!(query_value("a=1&digest=sha256%3Ax&b=", "digest").as_deref(), Some("sha256:x"));
        assert_eq!(query_value("a=1", "b"), None);
        assert_eq!(query_value("a=%ff", "a"), None);
    }

    proptest! {
        /// No path makes the router panic.
        #[test]
        fn any_path_can_be_routed(path in "/v2/[a-z/:.]{0,40}") {
            let _ = route(&path);
        }
    }
}
