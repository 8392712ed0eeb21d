//! The OCI distribution protocol under `/v2/`: how container tools push and pull.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>
//!
//! A server takes a request through four steps: [`Request::parse`], [`authenticate`], for a request of
//! [`Work::Receive`] [`receive`] with the body as a stream and a snapshot of the state, and [`handle`], in a
//! transaction unless it is [`Work::Read`]. Every step may refuse; a [`Refusal`] is a response.

mod answer;
mod auth;
mod manifest;
mod referrers;
mod request;
mod upload;

use http::{Method, Response, StatusCode};
use pileus_service::Context;

pub use answer::{Body, Refusal};
pub use auth::{Principal, authenticate};
pub use request::{Request, Route, Work};
pub use upload::{Received, Stored, receive};

use crate::layer;
use crate::repository;

/// What came with a request, for [`handle`].
pub enum Content<'a> {
    None,
    /// The body of a request of [`Work::Write`], of at most [`MAX_BODY`] bytes.
    Bytes(&'a [u8]),
    /// What [`receive`] has made of the body.
    Stored(Stored),
}

/// The largest body in bytes of a request of [`Work::Write`].
pub const MAX_BODY: usize = crate::manifest::MAX_MANIFEST;

/// Carries out a request in the scope of its principal.
///
/// # Errors
/// What the registry answers instead; nothing is to be committed then.
pub fn handle(cx: &mut Context, request: &Request, content: Content) -> Result<Response<Body>, Refusal> {
    let read = request.method == Method::GET || request.method == Method::HEAD;
    match &request.route {
        Route::Base if read => Ok(answer::empty(StatusCode::OK)),
        Route::Manifest { repository, reference } => {
            manifest::handle(cx, request, content, repository, reference)
        }
        Route::Tags { repository } if read => manifest::tags(cx, request, repository),
        Route::Blob { repository, digest } if read => blob(cx, request, repository, digest),
        Route::Uploads { repository } if request.method == Method::POST => {
            upload::begin(cx, request, content, repository)
        }
        Route::Referrers { repository, digest } if read => referrers::list(cx, request, repository, digest),
        Route::Upload { repository, id } => upload::handle(cx, request, content, repository, id),
        _ => Err(Refusal::unsupported(request)),
    }
}

/// The repository must exist: ECR makes none by itself.
fn check_repository(cx: &Context, name: &str) -> Result<std::sync::Arc<crate::Repository>, Refusal> {
    repository::find(cx.tx, None, name)
        .map_err(|error| Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", error.message))
}

fn blob(cx: &mut Context, request: &Request, name: &str, digest: &str) -> Result<Response<Body>, Refusal> {
    check_repository(cx, name)?;
    let unknown = |message: String| Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", message);
    let layer = layer::get(cx.tx, name, digest)
        .ok_or_else(|| unknown(format!("the repository '{name}' has no blob {digest}")))?;
    let path = cx.bulk.blobs.path(digest).map_err(|error| unknown(error.to_string()))?;
    if request.method == Method::HEAD {
        // Who asks for a layer is about to push an image with it.
        layer::note_seen(cx.tx, &layer, cx.now);
        return Ok(answer::entity("application/octet-stream", digest, layer.size, Body::Bytes(Vec::new())));
    }
    let Some(range) = request.range else {
        let body = Body::File { path, first: 0, length: layer.size };
        return Ok(answer::entity("application/octet-stream", digest, layer.size, body));
    };
    let (first, length) = range.within(layer.size).ok_or_else(|| Refusal::no_such_part(layer.size))?;
    Ok(answer::part(digest, layer.size, Body::File { path, first, length }, first, length))
}

#[cfg(test)]
mod tests;
