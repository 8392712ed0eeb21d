//! S3, whose protocol (restXml, streamed bodies, signatures of chunks) the crate `s3s` speaks. Records and rules are
//! `pileus_storage`'s, bytes are in a store of blobs of their own; this joins them.
//!
//! A write is: bytes to a blob that is on disk, then one transaction that names it. What was killed in between is a blob
//! that no record names, and goes with the next [`sweep`].

mod access;
mod actions;
mod addressing;
mod attributes;
mod buckets;
mod configuration;
mod convert;
mod copies;
mod cors;
mod deletions;
mod describing;
mod lifecycle;
mod listings;
mod objects;
mod reading;
mod receive;
mod send;
mod service;
mod settings;
mod sweep;
mod uploads;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Body as _, Incoming};
use pileus_core::{ApiError, IdGen};
use pileus_storage::checksum::{Algorithm, Digests};
use pileus_storage::error::{invalid_request, not_implemented};
use pileus_storage::object::{Content, Description, Precondition};
use pileus_storage::{bucket, object};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};

use self::access::{Gate, Keys};
use self::addressing::Hosts;
use self::convert::Refused;
use self::service::{CreationTags, Service};
use crate::api::Engine;

pub(crate) use self::sweep::{expire, sweep};

/// How long a client may pause in the middle of a body.
const PAUSE: Duration = Duration::from_secs(60);
/// The largest document, in bytes: 10,000 parts of an upload with their checksums.
const MAX_DOCUMENT: usize = 8 << 20;
/// The largest document that makes a bucket, in bytes.
const MAX_CREATION: usize = 1 << 16;

type Body = BoxBody<Bytes, io::Error>;

/// S3 as the server sees it.
#[derive(Clone)]
pub(crate) struct S3 {
    engine: Arc<Engine>,
    service: S3Service,
}

/// Whether a request is for S3 and not for another API.
pub(crate) fn claims<B>(request: &Request<B>) -> bool {
    let mut parts = Request::new(()).into_parts().0;
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.headers = request.headers().clone();
    addressing::is_s3(&parts)
}

impl S3 {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        let mut builder = S3ServiceBuilder::new(Service { engine: engine.clone() });
        builder.set_auth(Keys(engine.clone()));
        builder.set_access(Gate(engine.clone()));
        builder.set_host(Hosts);
        let mut limits = S3Config::default();
        limits.xml_max_body_size = MAX_DOCUMENT;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(limits))));
        Self { engine: engine.clone(), service: builder.build() }
    }

    /// Answers a request. Its host has been found to be local; whether it comes from a web page is judged here, by the
    /// bucket's rules.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let (version, expects, has_body) =
            (parts.version, parts.headers.contains_key(header::EXPECT), !body.is_end_stream());
        let mut response = match self.admit(&mut parts) {
            Err(refused) => written(refused),
            Ok(Admitted::Preflight(response)) => response.map(|()| empty()),
            Ok(Admitted::Request(allowed)) => {
                let mut response = self.serve(Request::from_parts(parts, body)).await;
                if let Some(allowed) = allowed {
                    allowed.add_to(&mut response);
                }
                response
            }
        };
        // AWS says "100 Continue" in any case. A body that nobody reads gets none, and botocore then mistakes what comes
        // next on the connection.
        let continued = has_body && response.status().is_success();
        if expects && !continued && version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let id = self.engine.ids(|ids| ids.hex(16)).to_uppercase();
        for name in ["x-amz-request-id", "x-amz-id-2"] {
            if let Ok(value) = HeaderValue::from_str(&id) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }

    fn admit(&self, parts: &mut Parts) -> Result<Admitted, Refused> {
        let form = addressing::text(&parts.headers, "content-type").unwrap_or_default().to_ascii_lowercase();
        if parts.method == Method::POST && form.starts_with("multipart/form-data") {
            // Refused here, since `s3s` would read all of it first.
            return Err(not_implemented("uploads from forms (PostObject)").into());
        }
        let state = self.engine.db.snapshot();
        if parts.method == Method::OPTIONS {
            return Ok(Admitted::Preflight(cors::preflight(&state, parts)?));
        }
        let allowed = cors::judge(&state, parts)?;
        lift_headers(parts);
        Ok(Admitted::Request(allowed))
    }

    async fn serve(&self, request: Request<Incoming>) -> Response<Body> {
        let request = match with_tags(request.map(paced)).await {
            Ok(request) => request,
            Err(refused) => return written(refused),
        };
        match self.service.call(request).await {
            Ok(response) => response.map(|body| body.map_err(io::Error::other).boxed()),
            Err(error) => {
                let error: s3s::StdError = error.into();
                tracing::error!(%error, "a request to S3 failed");
                let message = "We encountered an internal error. Please try again.";
                written(ApiError::new("InternalError", 500, message).into())
            }
        }
    }
}

/// Reads the tags of a bucket that is to be made, which `s3s` would leave out.
async fn with_tags(request: Request<s3s::Body>) -> Result<Request<s3s::Body>, Refused> {
    let only_named = request.uri().query().is_none_or(|query| query.starts_with("x-id="));
    if request.method() != Method::PUT || !only_named || addressing::has_key(request.uri(), request.headers())
    {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    let read = Limited::new(body, MAX_CREATION).collect().await;
    let body = read.map_err(|error| invalid_request(format!("The body cannot be read: {error}")))?.to_bytes();
    if let Some(tags) = buckets::tags(&body)? {
        parts.extensions.insert(CreationTags(tags));
    }
    Ok(Request::from_parts(parts, body.into()))
}

/// A body whose sender may not pause for long.
fn paced(body: Incoming) -> s3s::Body {
    if body.is_end_stream() {
        return s3s::Body::empty();
    }
    let frames = futures_util::stream::unfold(body, |mut body| async move {
        let frame = match tokio::time::timeout(PAUSE, body.frame()).await {
            Ok(frame) => frame?.map_err(io::Error::other),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, receive::PAUSED)),
        };
        Some((frame, body))
    });
    s3s::Body::http_body_unsync(StreamBody::new(frames))
}

enum Admitted {
    Request(Option<cors::Allowed>),
    Preflight(Response<()>),
}

fn empty() -> Body {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed()
}

fn written(refused: Refused) -> Response<Body> {
    match refused.0.to_http_response() {
        Ok(response) => response.map(|body| body.map_err(io::Error::other).boxed()),
        Err(error) => {
            tracing::error!(%error, "an error of S3 cannot be written");
            Response::new(empty())
        }
    }
}

/// A presigned URL may carry headers as parameters, which the signature covers. Checksums stay behind: SDKs put that of
/// an empty body there.
fn lift_headers(parts: &mut Parts) {
    let Some(query) = parts.uri.query().filter(|query| query.contains("X-Amz-Signature=")) else { return };
    let mut lifted = HeaderMap::new();
    for (name, _) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let lower = name.to_ascii_lowercase();
        let meant =
            name.starts_with("x-amz-") && !lower.contains("checksum") && !parts.headers.contains_key(&lower);
        let value = access::parameter(query, name).and_then(|value| HeaderValue::from_str(&value).ok());
        if let (true, Some(value), Ok(name)) = (meant, value, HeaderName::from_bytes(lower.as_bytes())) {
            lifted.insert(name, value);
        }
    }
    parts.headers.extend(lifted);
}

/// Puts an object in the engine's own name: a log, for one. The bucket must be there; its policy is the caller's to ask.
///
/// # Errors
/// There is no such bucket, the key breaks a rule, or the bytes cannot be stored.
#[allow(dead_code, reason = "the way for what delivers files: flow logs and access logs")]
pub(crate) async fn write_object(
    engine: &Engine,
    bucket: &str,
    key: &str,
    content_type: &str,
    bytes: &[u8],
) -> Result<(), ApiError> {
    let mut digests = Digests::new(Algorithm::Crc64Nvme);
    digests.update(bytes);
    let digested = digests.finish();
    let blobs = receive::blob(&digested);
    if let Some(blob) = &blobs {
        let store = || engine.machine.objects.put(&blob.digest, &mut { bytes }, blob.size);
        tokio::task::block_in_place(store).map_err(receive::failed)?;
    }
    let content = Content {
        size: digested.size,
        blobs: blobs.into_iter().collect(),
        etag: digested.md5,
        checksum: Some(digested.checksum),
        parts: Vec::new(),
        described: Description {
            headers: [("content-type".to_owned(), content_type.to_owned())].into(),
            storage_class: "STANDARD".to_owned(),
            ..Description::default()
        },
    };
    let put = |tx: &mut pileus_state::Tx, now, ids: &mut IdGen| {
        let bucket = bucket::get(tx, bucket)?;
        object::put(tx, now, ids, &bucket, key, content, &Precondition::None)
    };
    service::write(engine, put).await.map(drop)
}
