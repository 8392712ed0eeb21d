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
    /// `/v2/<name>/referrers/<digest>`
    Referrers { repository: String, digest: String },
}

/// What carrying out a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A snapshot of the state. It may leave notes in it, such as when an image was pulled; where it does, it is to be
    /// carried out again in a transaction.
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
    /// The layer that is to be taken from another repository, and that repository.
    pub(super) mount: Option<Mount>,
    /// Of basic authentication.
    pub(super) authorization: Option<Secret>,
    /// Of the address of a layer.
    pub(super) token: Option<Secret>,
    pub(super) content_type: Option<String>,
    pub(super) content_length: Option<u64>,
    /// Where a chunk belongs in its upload: its first and last byte.
    pub(super) chunk: Option<(u64, u64)>,
    /// The part of a blob that is asked for.
    pub(super) range: Option<ByteRange>,
    /// The digest that an upload is to have.
    pub(super) digest: Option<String>,
    /// The kind of referrers to list.
    pub(super) artifact_type: Option<String>,
    /// The most tags to list, and the tag after which to begin.
    pub(super) limit: Option<usize>,
    pub(super) after: Option<String>,
}

/// A layer of another repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) digest: String,
    pub(super) from: String,
}

/// A part of a blob, as HTTP's `Range: bytes=` names it. <https://www.rfc-editor.org/rfc/rfc9110#name-byte-ranges>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteRange {
    From(u64),
    /// First and last byte.
    Between(u64, u64),
    /// As many bytes at the end.
    Last(u64),
}

impl ByteRange {
    /// One range; of several, or of another unit, nothing is made: the whole blob may be sent then.
    fn parse(header: &str) -> Option<Self> {
        let (first, last) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
        Some(match (first, last) {
            ("", last) => Self::Last(last.parse().ok()?),
            (first, "") => Self::From(first.parse().ok()?),
            (first, last) => {
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                Self::Between(first, last).checked()?
            }
        })
    }

    fn checked(self) -> Option<Self> {
        match self {
            Self::Between(first, last) if first > last => None,
            range => Some(range),
        }
    }

    /// The first byte and the number of bytes in a blob of this size; `None` where it has none of them.
    pub(super) fn within(self, size: u64) -> Option<(u64, u64)> {
        let (first, last) = match self {
            Self::From(first) => (first, size.checked_sub(1)?),
            Self::Between(first, last) => (first, last.min(size.checked_sub(1)?)),
            Self::Last(0) => return None,
            Self::Last(count) => (size.saturating_sub(count), size.checked_sub(1)?),
        };
        (first <= last).then(|| (first, last - first + 1))
    }
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
        let limit = parameter("n").map(|limit| {
            limit.parse().map_err(|_| {
                let message = format!("n={limit} is not a number of tags");
                Refusal::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", message)
            })
        });
        let mount = parameter("mount").filter(|digest| is_digest(digest));
        let mount = mount.zip(parameter("from")).map(|(digest, from)| Mount { digest, from });
        let host = parts.uri.authority().map(ToString::to_string).or_else(|| text(header::HOST));
        Ok(Self {
            method: parts.method.clone(),
            route,
            mount,
            host: host.unwrap_or_default(),
            authorization: text(header::AUTHORIZATION).map(Secret::new),
            token: parameter("token").map(Secret::new),
            content_type: text(header::CONTENT_TYPE).map(without_parameters),
            content_length: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            chunk: text(header::CONTENT_RANGE).map(|range| chunk(&range)).transpose()?,
            range: text(header::RANGE).and_then(|range| ByteRange::parse(&range)),
            digest,
            artifact_type: parameter("artifactType"),
            limit: limit.transpose()?,
            after: parameter("last"),
        })
    }

    /// The repository that a layer is to be taken from. Who may not read it is to lose this wish.
    pub fn mount_source(&self) -> Option<&str> {
        self.mount.as_ref().map(|mount| mount.from.as_str())
    }

    /// Makes an ordinary upload of it.
    pub fn forget_mount(&mut self) {
        self.mount = None;
    }

    /// What carrying it out needs.
    pub fn work(&self) -> Work {
        match (&self.route, self.method.as_str()) {
            (_, "GET" | "HEAD") => Work::Read,
            (Route::Upload { .. }, "PATCH" | "PUT") => Work::Receive,
            (Route::Uploads { .. }, "POST") if self.digest.is_some() && self.mount.is_none() => Work::Receive,
            _ => Work::Write,
        }
    }

    /// The IAM action that it takes.
    pub fn action(&self) -> &'static str {
        match (&self.route, self.method.as_str()) {
            (Route::Base, _) => "ecr:GetAuthorizationToken",
            (Route::Manifest { .. }, "PUT") => "ecr:PutImage",
            (Route::Manifest { .. }, "DELETE") => "ecr:BatchDeleteImage",
            (Route::Manifest { .. }, _) => "ecr:BatchGetImage",
            (Route::Tags { .. }, _) => "ecr:ListImages",
            (Route::Blob { .. }, "HEAD") => "ecr:BatchCheckLayerAvailability",
            (Route::Blob { .. }, _) => "ecr:GetDownloadUrlForLayer",
            (Route::Uploads { .. }, _) => "ecr:InitiateLayerUpload",
            (Route::Upload { .. }, "PUT") => "ecr:CompleteLayerUpload",
            (Route::Upload { .. }, _) => "ecr:UploadLayerPart",
            (Route::Referrers { .. }, _) => "ecr:ListImageReferrers",
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
            | Route::Referrers { repository, .. }
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
fn chunk(range: &str) -> Result<(u64, u64), Refusal> {
    let bounds = range.trim().strip_prefix("bytes ").unwrap_or(range.trim());
    let bounds = bounds.split_once('/').map_or(bounds, |(bounds, _)| bounds);
    let parsed =
        bounds.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    parsed.filter(|(first, last)| first <= last).ok_or_else(|| {
        let message = format!("'{range}' is not a Content-Range");
        Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
    })
}

/// A repository's name has at most 256 bytes, a digest 71, a tag 128.
const MAX_PATH: usize = 1024;

/// Repository names have slashes in them, so a path is read from its end.
fn route(path: &str) -> Result<Route, Refusal> {
    let unknown = || {
        let message = format!("the registry has no {path}");
        Refusal::new(StatusCode::NOT_FOUND, "UNSUPPORTED", message)
    };
    if path.len() > MAX_PATH {
        let message = format!("a path of the registry has at most {MAX_PATH} bytes");
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NAME_INVALID", message));
    }
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
        [name @ .., "referrers", digest] => (name, ["referrers", digest]),
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
        "referrers" if !is_digest(&value) => {
            return Err(Refusal::digest(format!("{value} is not a sha256 digest")));
        }
        "referrers" => Route::Referrers { repository, digest: value },
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
        assert_eq!(chunk("5-9").ok(), Some((5, 9)));
        assert_eq!(chunk("bytes 5-9/*").ok(), Some((5, 9)));
        for bad in ["x-9", "", "-5", "5-", "9-5", "5-99999999999999999999"] {
            assert!(chunk(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_of_blobs_are_within_them() {
        for (header, size, part) in [
            ("bytes=0-0", 5, Some((0, 1))),
            ("bytes=2-", 5, Some((2, 3))),
            ("bytes=2-9", 5, Some((2, 3))),
            ("bytes=-2", 5, Some((3, 2))),
            ("bytes=-9", 5, Some((0, 5))),
            ("bytes=5-", 5, None),
            ("bytes=-0", 5, None),
            ("bytes=0-", 0, None),
        ] {
            assert_eq!(ByteRange::parse(header).unwrap().within(size), part, "{header} of {size}");
        }
        for ignored in ["bytes=3-2", "bytes=0-1,3-4", "lines=0-1", "bytes=x-", "bytes=-", ""] {
            assert_eq!(ByteRange::parse(ignored), None, "{ignored}");
        }
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

        /// Whatever part is asked for, what is sent is in the blob.
        #[test]
        fn any_part_is_within_the_blob(first: u64, last: u64, size: u64) {
            for range in [ByteRange::From(first), ByteRange::Between(first.min(last), last), ByteRange::Last(last)] {
                if let Some((first, length)) = range.within(size) {
                    prop_assert!(length > 0 && first + length <= size);
                }
            }
        }
    }
}
