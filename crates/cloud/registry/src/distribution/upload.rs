//! Uploads of blobs: whole, or in chunks one after the other.

use std::io::Read;
use std::sync::Arc;

use http::{Response, StatusCode};
use pileus_contract::{Bulk, MachineError};
use pileus_service::Context;
use pileus_state::Tx;

use super::answer::{Body, Refusal, created, empty, progress, range};
use super::request::Mount;
use super::{Content, Request, Route};
use crate::account::RegistrySettings;
use crate::layer::{self, Layer, MAX_LAYER, Upload};
use crate::{Repository, repository};

/// What has become of the body of a request.
pub enum Received {
    /// A chunk: this is the answer.
    Answer(Response<Body>),
    /// The end of an upload: it is a blob now, and [`handle`](super::handle) makes it known.
    Stored(Stored),
}

/// An upload that has become a blob, which no repository has yet.
pub struct Stored {
    digest: String,
    size: u64,
}

/// Takes in the body of a request of [`Work::Receive`](super::Work::Receive). Reads the state, changes only blobs;
/// may take as long as the client does.
///
/// # Errors
/// What the registry answers instead. An upload is then as it was before.
pub fn receive(tx: &Tx, bulk: &Bulk, request: &Request, body: &mut dyn Read) -> Result<Received, Refusal> {
    match (&request.route, &request.digest) {
        (Route::Upload { repository, id }, digest) => {
            receive_chunk(tx, bulk, request, body, (repository, id, digest.as_deref()))
        }
        (Route::Uploads { repository }, Some(digest)) => {
            known_repository(tx, repository)?;
            check_size(request, 0)?;
            let size = bulk
                .blobs
                .put(digest, body, MAX_LAYER)
                .map_err(|error| Refusal::digest(error.to_string()))?;
            Ok(Received::Stored(Stored { digest: digest.clone(), size }))
        }
        _ => Err(Refusal::unsupported(request)),
    }
}

fn receive_chunk(
    tx: &Tx,
    bulk: &Bulk,
    request: &Request,
    body: &mut dyn Read,
    (repository, id, digest): (&str, &str, Option<&str>),
) -> Result<Received, Refusal> {
    let have = check(tx, bulk, repository, id)?;
    check_chunk(request, have)?;
    check_size(request, have)?;
    let digest = match (digest, request.method == http::Method::PUT) {
        (None, true) => return Err(Refusal::digest("an upload is completed with ?digest=<digest>")),
        (digest, last) => digest.filter(|_| last),
    };
    let length = bulk.blobs.upload(id, have, body, MAX_LAYER).map_err(failed)?;
    let Some(digest) = digest else {
        return Ok(Received::Answer(progress(StatusCode::ACCEPTED, repository, id, length)));
    };
    match bulk.blobs.finish(id, digest) {
        Ok(size) => Ok(Received::Stored(Stored { digest: digest.to_owned(), size })),
        Err(error) => {
            bulk.blobs.rewind(id, have).map_err(failed)?;
            Err(Refusal::digest(error.to_string()))
        }
    }
}

fn failed(error: MachineError) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "BLOB_UPLOAD_INVALID", error.to_string())
}

/// A chunk that says where it belongs belongs at the end, and is as long as it says.
fn check_chunk(request: &Request, have: u64) -> Result<(), Refusal> {
    let Some((first, last)) = request.chunk else { return Ok(()) };
    if first != have {
        let message = format!("the chunk does not continue the upload, of which there are {have} bytes");
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        return Err(Refusal {
            range: Some(range(have)),
            ..Refusal::new(status, "BLOB_UPLOAD_INVALID", message)
        });
    }
    if request.content_length.is_some_and(|length| length != 0 && length - 1 != last - first) {
        let message = "the chunk is not as long as its Content-Range says";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message));
    }
    Ok(())
}

fn check_size(request: &Request, have: u64) -> Result<(), Refusal> {
    if request.content_length.is_some_and(|length| have.saturating_add(length) > MAX_LAYER) {
        let message = format!("a layer has at most {MAX_LAYER} bytes");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message));
    }
    Ok(())
}

fn known_repository(tx: &Tx, repository: &str) -> Result<(), Refusal> {
    let found = repository::find(tx, None, repository);
    found.map(drop).map_err(|error| Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", error.message))
}

/// The present length of an upload that has begun.
fn check(tx: &Tx, bulk: &Bulk, repository: &str, id: &str) -> Result<u64, Refusal> {
    if tx.get::<Repository>(repository).is_none() || !layer::is_upload(tx, repository, id) {
        let message = format!("the repository '{repository}' has no upload {id}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message));
    }
    Ok(bulk.blobs.uploaded(id).unwrap_or(0))
}

/// Begins an upload, unless its whole body came along or the layer is to be had from another repository.
pub(super) fn begin(
    cx: &mut Context,
    request: &Request,
    content: Content,
    repository: &str,
) -> Result<Response<Body>, Refusal> {
    known_repository(cx.tx, repository)?;
    if let Content::Stored(Stored { digest, size }) = content {
        return Ok(put(cx, repository, digest, size));
    }
    if let Some(mounted) = request.mount.as_ref().and_then(|mount| take_from(cx, mount)) {
        return Ok(put(cx, repository, mounted.digest.clone(), mounted.size));
    }
    let id = layer::begin(cx.tx, cx.ids, cx.now, repository);
    Ok(progress(StatusCode::ACCEPTED, repository, &id, 0))
}

/// The layer of another repository, if it has it.
fn take_from(cx: &Context, mount: &Mount) -> Option<Arc<Layer>> {
    let allowed = RegistrySettings::of(cx.tx).blob_mounting;
    layer::get(cx.tx, &mount.from, &mount.digest).filter(|_| allowed)
}

/// Gives a repository a blob that is there.
fn put(cx: &mut Context, repository: &str, digest: String, size: u64) -> Response<Body> {
    let response = created(&format!("/v2/{repository}/blobs/{digest}"), &digest);
    cx.tx.put(Layer { repository: repository.to_owned(), digest, size, seen: cx.now });
    response
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
            cx.bulk.blobs.abandon(id).map_err(failed)?;
            cx.tx.delete::<Upload>(id);
            Ok(empty(StatusCode::NO_CONTENT))
        }
        ("PUT", Content::Stored(Stored { digest, size })) => {
            cx.tx.delete::<Upload>(id);
            Ok(put(cx, repository, digest, size))
        }
        _ => Err(Refusal::unsupported(request)),
    }
}
