//! Uploads of blobs: whole, or in chunks one after the other.

use std::io::Read;

use http::{Response, StatusCode};
use pileus_contract::Bulk;
use pileus_service::Context;
use pileus_state::Tx;

use super::answer::{Body, Refusal, created, empty, progress, range};
use super::{Content, Request, Route, check_repository};
use crate::Repository;
use crate::layer::{self, Layer, MAX_LAYER, Upload};

/// What has become of the body of a request.
pub enum Received {
    /// A chunk: this is the answer.
    Answer(Response<Body>),
    /// The end of an upload: it is a blob now, and [`handle`](super::handle) makes it known.
    Stored(Stored),
}

/// An upload that has become a blob, which no repository has yet.
pub struct Stored(Layer);

/// Takes in the body of a request of [`Work::Receive`](super::Work::Receive). Reads the state, changes only blobs;
/// may take as long as the client does.
///
/// # Errors
/// What the registry answers instead.
pub fn receive(tx: &Tx, bulk: &Bulk, request: &Request, body: &mut dyn Read) -> Result<Received, Refusal> {
    let Route::Upload { repository, id } = &request.route else { return Err(Refusal::unsupported(request)) };
    let have = check(tx, bulk, repository, id)?;
    if request.first_byte.is_some_and(|first| first != have) {
        let message = format!("the chunk does not continue the upload, of which there are {have} bytes");
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        return Err(Refusal {
            range: Some(range(have)),
            ..Refusal::new(status, "BLOB_UPLOAD_INVALID", message)
        });
    }
    if request.content_length.is_some_and(|length| have.saturating_add(length) > MAX_LAYER) {
        let message = format!("a layer has at most {MAX_LAYER} bytes");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message));
    }
    let last = request.method == http::Method::PUT;
    let digest = match (&request.digest, last) {
        (None, true) => return Err(Refusal::digest("an upload is completed with ?digest=<digest>")),
        (digest, _) => digest.as_deref(),
    };
    let length = bulk.blobs.upload(id, have, body, MAX_LAYER).map_err(|error| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "BLOB_UPLOAD_INVALID", error.to_string())
    })?;
    match digest.filter(|_| last) {
        None => Ok(Received::Answer(progress(StatusCode::ACCEPTED, repository, id, length))),
        Some(digest) => {
            let size = bulk.blobs.finish(id, digest).map_err(|error| Refusal::digest(error.to_string()))?;
            let layer = Layer { repository: repository.clone(), digest: digest.to_owned(), size };
            Ok(Received::Stored(Stored(layer)))
        }
    }
}

/// The present length of an upload that has begun.
fn check(tx: &Tx, bulk: &Bulk, repository: &str, id: &str) -> Result<u64, Refusal> {
    if tx.get::<Repository>(repository).is_none() || !layer::is_upload(tx, repository, id) {
        let message = format!("the repository '{repository}' has no upload {id}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message));
    }
    Ok(bulk.blobs.uploaded(id).unwrap_or(0))
}

/// Begins an upload. Mounting from another repository and single-request uploads begin one too, as the protocol
/// allows: a client goes on with the session that it gets.
pub(super) fn begin(cx: &mut Context, repository: &str) -> Result<Response<Body>, Refusal> {
    check_repository(cx, repository)?;
    let id = layer::begin(cx.tx, cx.ids, cx.now, repository);
    Ok(progress(StatusCode::ACCEPTED, repository, &id, 0))
}

/// Asks for the state of an upload, abandons it, or makes known what it has become.
pub(super) fn handle(
    cx: &mut Context,
    request: &Request,
    content: Content,
    repository: &str,
    id: &str,
) -> Result<Response<Body>, Refusal> {
    let have = check(cx.tx, cx.bulk, repository, id)?;
    match (request.method.as_str(), content) {
        ("GET" | "HEAD", _) => Ok(progress(StatusCode::NO_CONTENT, repository, id, have)),
        ("DELETE", _) => {
            cx.bulk.blobs.abandon(id).map_err(|error| {
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error.to_string())
            })?;
            cx.tx.delete::<Upload>(id);
            Ok(empty(StatusCode::NO_CONTENT))
        }
        ("PUT", Content::Stored(Stored(layer))) => {
            let digest = layer.digest.clone();
            layer::end(cx.tx, id, layer);
            Ok(created(&format!("/v2/{repository}/blobs/{digest}"), &digest))
        }
        _ => Err(Refusal::unsupported(request)),
    }
}
