//! Layers of images, and how they are uploaded through the API: begun, sent in parts, completed.
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_InitiateLayerUpload.html>

use std::time::Duration;

use pileus_aws::ecr;
use pileus_core::{ApiError, IdGen, Timestamp};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::manifest::is_digest;
use crate::repository::{find, invalid};
use crate::{host, token};

/// That a repository has a blob: a layer or an image's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    pub repository: String,
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// When it was uploaded, or a client was last told that it is there.
    #[serde(default)]
    pub seen: Timestamp,
}

impl Record for Layer {
    const KIND: &'static str = "ecr/layer";

    fn key(&self) -> String {
        key(&self.repository, &self.digest)
    }
}

fn key(repository: &str, digest: &str) -> String {
    format!("{repository}@{digest}")
}

/// An upload that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    pub id: String,
    pub repository: String,
    pub begun: Timestamp,
}

impl Record for Upload {
    const KIND: &'static str = "ecr/upload";

    fn key(&self) -> String {
        self.id.clone()
    }
}

/// The largest layer, in bytes. AWS takes up to 52,000 MiB; a layer of more than this is a mistake.
pub(crate) const MAX_LAYER: u64 = 10 << 30;
/// The size in bytes of the parts that clients of the API are told to send.
const PART_SIZE: i64 = 10 << 20;
/// How exactly it is known when a client was last told of a layer.
const NOTED: Duration = Duration::from_secs(600);

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ecr::ops::BatchCheckLayerAvailability>(batch_check_layer_availability)
        .on::<ecr::ops::GetDownloadUrlForLayer>(get_download_url_for_layer)
        .on::<ecr::ops::InitiateLayerUpload>(initiate_layer_upload)
        .on_bulk::<ecr::ops::UploadLayerPart>(upload_layer_part)
        .on::<ecr::ops::CompleteLayerUpload>(complete_layer_upload);
}

/// The layer of a repository with this digest.
pub(crate) fn get(tx: &Tx, repository: &str, digest: &str) -> Option<std::sync::Arc<Layer>> {
    tx.get::<Layer>(&key(repository, digest))
}

/// Begins an upload to a repository.
pub(crate) fn begin(tx: &mut Tx, ids: &mut IdGen, now: Timestamp, repository: &str) -> String {
    let id = ids.uuid();
    tx.put(Upload { id: id.clone(), repository: repository.to_owned(), begun: now });
    id
}

/// Whether a repository has this upload.
pub(crate) fn is_upload(tx: &Tx, repository: &str, id: &str) -> bool {
    tx.get::<Upload>(id).is_some_and(|upload| upload.repository == repository)
}

/// Takes notice of an upload that has become a blob.
pub(crate) fn end(tx: &mut Tx, upload: &str, layer: Layer) {
    tx.delete::<Upload>(upload);
    tx.put(layer);
}

/// Forgets the layers and uploads of a repository.
pub(crate) fn forget_repository(tx: &mut Tx, repository: &str) {
    for layer in tx.list::<Layer>() {
        if layer.repository == repository {
            tx.delete::<Layer>(&layer.key());
        }
    }
    for upload in tx.list::<Upload>() {
        if upload.repository == repository {
            tx.delete::<Upload>(&upload.id);
        }
    }
}

/// Notes that a client has been told of a layer, and may be about to use it. Not noted more often than [`NOTED`].
pub(crate) fn note_seen(tx: &mut Tx, layer: &Layer, now: Timestamp) {
    if layer.seen + NOTED <= now {
        tx.put(Layer { seen: now, ..layer.clone() });
    }
}

fn batch_check_layer_availability(
    cx: &mut Context,
    input: ecr::BatchCheckLayerAvailabilityRequest,
) -> Result<ecr::BatchCheckLayerAvailabilityResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let (mut layers, mut failures) = (Vec::new(), Vec::new());
    for digest in input.layer_digests {
        if !is_digest(&digest) {
            failures.push(ecr::LayerFailure {
                layer_digest: Some(digest),
                failure_code: Some("InvalidLayerDigest".into()),
                failure_reason: Some("The layer digest is not a sha256 digest".into()),
            });
            continue;
        }
        let layer = get(cx.tx, &repository.name, &digest);
        if let Some(layer) = &layer {
            note_seen(cx.tx, layer, cx.now);
        }
        let availability = if layer.is_some() { "AVAILABLE" } else { "UNAVAILABLE" };
        layers.push(ecr::Layer {
            layer_digest: Some(digest),
            layer_availability: Some(availability.into()),
            layer_size: layer.map(|layer| i64::try_from(layer.size).unwrap_or(i64::MAX)),
            media_type: None,
        });
    }
    Ok(ecr::BatchCheckLayerAvailabilityResponse { layers: Some(layers), failures: Some(failures) })
}

fn get_download_url_for_layer(
    cx: &mut Context,
    input: ecr::GetDownloadUrlForLayerRequest,
) -> Result<ecr::GetDownloadUrlForLayerResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let (name, digest) = (&repository.name, input.layer_digest);
    if get(cx.tx, name, &digest).is_none() {
        return Err(not_found(cx, name, &[&digest]));
    }
    let token = token::for_layer(cx, &digest);
    let host = host(cx.scope(), cx.endpoint);
    Ok(ecr::GetDownloadUrlForLayerResponse {
        download_url: Some(format!("http://{host}/v2/{name}/blobs/{digest}?token={token}")),
        layer_digest: Some(digest),
    })
}

pub(crate) fn not_found(cx: &Context, repository: &str, digests: &[&str]) -> ApiError {
    ApiError::client(
        "LayersNotFoundException",
        format!(
            "Layers with digests '[{}]' do not exist in the repository with name '{repository}' in the registry with \
             id '{}'",
            digests.join(", "),
            cx.scope().account
        ),
    )
}

fn initiate_layer_upload(
    cx: &mut Context,
    input: ecr::InitiateLayerUploadRequest,
) -> Result<ecr::InitiateLayerUploadResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let id = begin(cx.tx, cx.ids, cx.now, &repository.name);
    Ok(ecr::InitiateLayerUploadResponse { upload_id: Some(id), part_size: Some(PART_SIZE) })
}

fn check_upload(tx: &Tx, repository: &str, id: &str) -> Result<(), ApiError> {
    if is_upload(tx, repository, id) {
        return Ok(());
    }
    let message = format!("Upload with id '{id}' does not exist in the repository with name '{repository}'");
    Err(ApiError::client("UploadNotFoundException", message))
}

/// Parts come one after the other. A bulk operation: no record changes.
fn upload_layer_part(
    cx: &mut Context,
    input: ecr::UploadLayerPartRequest,
) -> Result<ecr::UploadLayerPartResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let id = input.upload_id;
    check_upload(cx.tx, &repository.name, &id)?;
    let (first, part) = (input.part_first_byte, input.layer_part_blob);
    let length = i64::try_from(part.len()).unwrap_or(i64::MAX);
    if part.is_empty() || first.checked_add(length - 1) != Some(input.part_last_byte) {
        return Err(invalid("The part's first and last byte do not fit its length"));
    }
    let have = cx.bulk.blobs.uploaded(&id).unwrap_or(0);
    let offset = u64::try_from(first).ok().filter(|offset| *offset == have).ok_or_else(|| {
        let message = format!("The layer part begins at byte {first}; the next byte of the upload is {have}");
        ApiError::client("InvalidLayerPartException", message)
    })?;
    let received = cx.bulk.blobs.upload(&id, offset, &mut part.as_slice(), MAX_LAYER);
    let received = received.map_err(|error| ApiError::new("ServerException", 500, error.to_string()))?;
    Ok(ecr::UploadLayerPartResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(repository.name.clone()),
        upload_id: Some(id),
        last_byte_received: Some(i64::try_from(received).unwrap_or(i64::MAX) - 1),
    })
}

fn complete_layer_upload(
    cx: &mut Context,
    input: ecr::CompleteLayerUploadRequest,
) -> Result<ecr::CompleteLayerUploadResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let (name, id) = (&repository.name, input.upload_id);
    check_upload(cx.tx, name, &id)?;
    let [digest] = <[String; 1]>::try_from(input.layer_digests)
        .map_err(|_| invalid("A layer is completed with exactly one digest"))?;
    if !is_digest(&digest) {
        return Err(invalid(format!("The layer digest {digest} is not a sha256 digest")));
    }
    if get(cx.tx, name, &digest).is_some() {
        let message = format!(
            "Layer with digest '{digest}' already exists in the repository with name '{name}' in the registry with \
             id '{}'",
            cx.scope().account
        );
        return Err(ApiError::client("LayerAlreadyExistsException", message));
    }
    if cx.bulk.blobs.uploaded(&id).is_none() {
        return Err(ApiError::client("EmptyUploadException", format!("Upload with id '{id}' has no parts")));
    }
    let size = cx.bulk.blobs.finish(&id, &digest);
    let size = size.map_err(|error| ApiError::client("InvalidLayerException", error.to_string()))?;
    end(cx.tx, &id, Layer { repository: name.clone(), digest: digest.clone(), size, seen: cx.now });
    Ok(ecr::CompleteLayerUploadResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(name.clone()),
        upload_id: Some(id),
        layer_digest: Some(digest),
    })
}

#[cfg(test)]
mod tests {
    use pileus_kit::Cloud;

    use super::*;
    use crate::testing::{cloud, digest, repository};

    fn begin(cloud: &mut Cloud, repository: &str) -> String {
        let input = ecr::InitiateLayerUploadRequest { repository_name: repository.into(), registry_id: None };
        cloud.ok::<ecr::ops::InitiateLayerUpload>(input).upload_id.unwrap()
    }

    fn part(repository: &str, id: &str, first: i64, content: &str) -> ecr::UploadLayerPartRequest {
        ecr::UploadLayerPartRequest {
            registry_id: None,
            repository_name: repository.into(),
            upload_id: id.into(),
            part_first_byte: first,
            part_last_byte: first + content.len() as i64 - 1,
            layer_part_blob: content.into(),
        }
    }

    fn complete(repository: &str, id: &str, digest: &str) -> ecr::CompleteLayerUploadRequest {
        ecr::CompleteLayerUploadRequest {
            registry_id: None,
            repository_name: repository.into(),
            upload_id: id.into(),
            layer_digests: vec![digest.into()],
        }
    }

    fn availability(cloud: &mut Cloud, repository: &str, digest: &str) -> String {
        let input = ecr::BatchCheckLayerAvailabilityRequest {
            registry_id: None,
            repository_name: repository.into(),
            layer_digests: vec![digest.into()],
        };
        let output = cloud.ok::<ecr::ops::BatchCheckLayerAvailability>(input);
        output.layers.unwrap().remove(0).layer_availability.unwrap()
    }

    #[test]
    fn a_layer_is_uploaded_in_parts_and_belongs_to_its_repository() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        repository(&mut cloud, "api");
        let (id, digest) = (begin(&mut cloud, "web"), digest("hello"));
        assert_eq!(availability(&mut cloud, "web", &digest), "UNAVAILABLE");
        let first = cloud.ok::<ecr::ops::UploadLayerPart>(part("web", &id, 0, "he"));
        assert_eq!(first.last_byte_received, Some(1));
        for (bad, code) in [
            (part("web", &id, 0, "he"), "InvalidLayerPartException"),
            (part("web", &id, 3, "lo"), "InvalidLayerPartException"),
            (part("api", &id, 2, "llo"), "UploadNotFoundException"),
            (
                ecr::UploadLayerPartRequest { part_last_byte: 9, ..part("web", &id, 2, "llo") },
                "InvalidParameterException",
            ),
        ] {
            assert_eq!(cloud.code::<ecr::ops::UploadLayerPart>(bad), code);
        }
        cloud.ok::<ecr::ops::UploadLayerPart>(part("web", &id, 2, "llo"));
        cloud.ok::<ecr::ops::CompleteLayerUpload>(complete("web", &id, &digest));
        assert_eq!(availability(&mut cloud, "web", &digest), "AVAILABLE");
        assert_eq!(availability(&mut cloud, "api", &digest), "UNAVAILABLE");
        let again = begin(&mut cloud, "web");
        let code = cloud.code::<ecr::ops::CompleteLayerUpload>(complete("web", &again, &digest));
        assert_eq!(code, "LayerAlreadyExistsException");
    }

    #[test]
    fn an_upload_must_have_its_digest() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let id = begin(&mut cloud, "web");
        let empty = complete("web", &id, &digest("bye"));
        assert_eq!(cloud.code::<ecr::ops::CompleteLayerUpload>(empty.clone()), "EmptyUploadException");
        cloud.ok::<ecr::ops::UploadLayerPart>(part("web", &id, 0, "hello"));
        assert_eq!(cloud.code::<ecr::ops::CompleteLayerUpload>(empty), "InvalidLayerException");
        // The upload is still there.
        cloud.ok::<ecr::ops::CompleteLayerUpload>(complete("web", &id, &digest("hello")));
    }

    #[test]
    fn a_download_url_is_given_for_layers_that_are_there() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        crate::testing::layer(&mut cloud, "web", "hello");
        let ask = |digest: String| ecr::GetDownloadUrlForLayerRequest {
            registry_id: None,
            repository_name: "web".into(),
            layer_digest: digest,
        };
        let url = cloud.ok::<ecr::ops::GetDownloadUrlForLayer>(ask(digest("hello"))).download_url.unwrap();
        let start = format!(
            "http://000000000000.dkr.ecr.us-east-1.localhost:4566/v2/web/blobs/{}?token=",
            digest("hello")
        );
        assert!(url.starts_with(&start), "{url}");
        let code = cloud.code::<ecr::ops::GetDownloadUrlForLayer>(ask(digest("bye")));
        assert_eq!(code, "LayersNotFoundException");
    }
}
