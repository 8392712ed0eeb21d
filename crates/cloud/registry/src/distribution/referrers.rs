//! What refers to an image: its signatures, lists of materials, attestations.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers>

use std::sync::Arc;

use http::Response;
use pileus_service::Context;
use serde_json::{Value, json};

use super::answer::{self, Body, Refusal};
use super::{Request, check_repository};
use crate::Image;
use crate::image::{annotations, referrers};

/// The most referrers in one answer; nobody has more.
const MAX_REFERRERS: usize = 1000;

/// An index of them; an empty one where there are none, or no such image.
pub(super) fn list(
    cx: &Context,
    request: &Request,
    repository: &str,
    digest: &str,
) -> Result<Response<Body>, Refusal> {
    check_repository(cx, repository)?;
    let kind = request.artifact_type.as_ref();
    let wanted = |image: &Arc<Image>| {
        kind.is_none_or(|kind| image.manifest.artifact_media_type().as_ref() == Some(kind))
    };
    let found = referrers(cx.tx, repository, digest).into_iter().filter(wanted).take(MAX_REFERRERS);
    let manifests: Vec<Value> = found.map(|image| descriptor(&image)).collect();
    let document = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    Ok(answer::referrers(document.to_string().into_bytes(), kind.is_some()))
}

fn descriptor(image: &Image) -> Value {
    json!({
        "mediaType": image.manifest.media_type,
        "digest": image.digest,
        "size": image.body.len(),
        "artifactType": image.manifest.artifact_media_type(),
        "annotations": annotations(image),
    })
}
