//! Manifests by tag or digest, and the tags of a repository.

use http::{Method, Response, StatusCode};
use pileus_service::Context;
use serde_json::json;

use super::answer::{Body, Refusal, created, document, entity};
use super::{Content, Request, check_repository};
use crate::image::{self, NewImage, PutError};
use crate::manifest::ManifestError;

/// The most tags in one answer.
const MAX_TAGS: usize = 1000;

pub(super) fn handle(
    cx: &mut Context,
    request: &Request,
    content: Content,
    repository: &str,
    reference: &str,
) -> Result<Response<Body>, Refusal> {
    match (request.method.as_str(), content) {
        ("GET" | "HEAD", _) => get(cx, request, repository, reference),
        ("PUT", Content::Bytes(body)) => put(cx, request, body, repository, reference),
        _ => Err(Refusal::unsupported(request)),
    }
}

fn get(
    cx: &Context,
    request: &Request,
    repository: &str,
    reference: &str,
) -> Result<Response<Body>, Refusal> {
    check_repository(cx, repository)?;
    let image = image::by_reference(cx.tx, repository, reference).ok_or_else(|| {
        let message = format!("the repository '{repository}' has no image {reference}");
        Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    })?;
    let head = request.method == Method::HEAD;
    let body = if head { Vec::new() } else { image.body.clone().into_bytes() };
    Ok(entity(&image.manifest.media_type, &image.digest, image.body.len() as u64, Body::Bytes(body)))
}

/// A manifest that is there already is there: clients push again without harm.
fn put(
    cx: &mut Context,
    request: &Request,
    body: &[u8],
    repository: &str,
    reference: &str,
) -> Result<Response<Body>, Refusal> {
    let known = check_repository(cx, repository)?;
    let by_digest = reference.contains(':');
    let new = NewImage {
        body,
        media_type: request.content_type.as_deref(),
        tag: (!by_digest).then_some(reference),
        digest: by_digest.then_some(reference),
    };
    let (image, _) = image::put(cx, &known, new).map_err(refusal)?;
    Ok(created(&format!("/v2/{repository}/manifests/{}", image.digest), &image.digest))
}

fn refusal(error: PutError) -> Refusal {
    let code = match &error {
        PutError::Manifest(ManifestError::TooLarge) => {
            return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", error.to_string());
        }
        PutError::Storage(_) => {
            return Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error.to_string());
        }
        PutError::Manifest(_) => "MANIFEST_INVALID",
        PutError::Tag(_) | PutError::TagIsImmutable { .. } => "TAG_INVALID",
        PutError::Digest { .. } => "DIGEST_INVALID",
        PutError::LayersNotFound(_) | PutError::ImagesNotFound(_) => "MANIFEST_BLOB_UNKNOWN",
    };
    Refusal::new(StatusCode::BAD_REQUEST, code, error.to_string())
}

pub(super) fn tags(cx: &Context, request: &Request, repository: &str) -> Result<Response<Body>, Refusal> {
    check_repository(cx, repository)?;
    let all = image::tags(cx.tx, repository).into_iter().map(|tag| tag.tag.clone());
    let after = request.after.as_ref();
    let mut rest = all.filter(|tag| after.is_none_or(|after| tag > after));
    let limit = request.limit.unwrap_or(MAX_TAGS).clamp(1, MAX_TAGS);
    let page: Vec<String> = rest.by_ref().take(limit).collect();
    let next = rest.next().and(page.last());
    let link = next.map(|last| format!("</v2/{repository}/tags/list?n={limit}&last={last}>; rel=\"next\""));
    Ok(document(json!({ "name": repository, "tags": page }).to_string().into_bytes(), link))
}
