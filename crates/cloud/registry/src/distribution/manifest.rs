//! Manifests by tag or digest, and the tags of a repository.

use http::{Method, Response, StatusCode};
use pileus_aws::ecr;
use pileus_service::Context;
use serde_json::json;

use super::answer::{Body, Refusal, created, document, empty, entity, set_subject};
use super::{Content, Request, check_repository};
use crate::image::{self, ImageHistory, NewImage, PutError};
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
        ("DELETE", _) => delete(cx, repository, reference),
        _ => Err(Refusal::unsupported(request)),
    }
}

fn get(
    cx: &mut Context,
    request: &Request,
    repository: &str,
    reference: &str,
) -> Result<Response<Body>, Refusal> {
    check_repository(cx, repository)?;
    let image =
        image::by_reference(cx.tx, repository, reference).ok_or_else(|| unknown(repository, reference))?;
    let head = request.method == Method::HEAD;
    if !head {
        ImageHistory::note_pull(cx.tx, repository, &image.digest, cx.now);
    }
    let body = if head { Vec::new() } else { image.body.clone().into_bytes() };
    Ok(entity(&image.manifest.media_type, &image.digest, image.body.len() as u64, Body::Bytes(body)))
}

fn unknown(repository: &str, reference: &str) -> Refusal {
    let message = format!("the repository '{repository}' has no image {reference}");
    Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
}

/// A digest takes the image with all its tags; a tag goes alone, but with the image if it is the last.
fn delete(cx: &mut Context, repository: &str, reference: &str) -> Result<Response<Body>, Refusal> {
    check_repository(cx, repository)?;
    let (digest, tag) =
        if reference.contains(':') { (Some(reference), None) } else { (None, Some(reference)) };
    let id =
        ecr::ImageIdentifier { image_digest: digest.map(str::to_owned), image_tag: tag.map(str::to_owned) };
    match image::delete(cx.tx, repository, &id) {
        Ok(_) => Ok(empty(StatusCode::ACCEPTED)),
        Err(("ImageReferencedByManifestList", reason)) => Err(Refusal::denied(reason)),
        Err(_) => Err(unknown(repository, reference)),
    }
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
    let mut response = created(&format!("/v2/{repository}/manifests/{}", image.digest), &image.digest);
    if let Some(subject) = &image.manifest.subject {
        set_subject(&mut response, subject);
    }
    Ok(response)
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
    let limit = request.limit.unwrap_or(MAX_TAGS).min(MAX_TAGS);
    let page: Vec<String> = rest.by_ref().take(limit).collect();
    let next = rest.next().and(page.last());
    let link = next.map(|last| format!("</v2/{repository}/tags/list?n={limit}&last={last}>; rel=\"next\""));
    Ok(document(json!({ "name": repository, "tags": page }).to_string().into_bytes(), link))
}
