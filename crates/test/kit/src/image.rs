//! Container images for tests: as small as an image can be, pushed through the ECR API.

use pileus_aws::ecr::{self, ops};
use sha2::{Digest as _, Sha256};

use crate::Cloud;

/// Pushes an image made of `content` to a repository, which is created when it is missing; returns its digest. The
/// cloud must have the registry's operations.
///
/// # Panics
/// The registry refuses it.
pub fn push_image(cloud: &mut Cloud, repository: &str, content: &str, tag: Option<&str>) -> String {
    let create = ecr::CreateRepositoryRequest { repository_name: repository.into(), ..Default::default() };
    if let Err(error) = cloud.call::<ops::CreateRepository>(create) {
        assert_eq!(error.code, "RepositoryAlreadyExistsException", "{error}");
    }
    let digest = push_layer(cloud, repository, content);
    let blob = format!(
        r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":{}}}"#,
        content.len()
    );
    let input = ecr::PutImageRequest {
        repository_name: repository.into(),
        image_manifest: format!(r#"{{"schemaVersion":2,"config":{blob},"layers":[{blob}]}}"#),
        image_tag: tag.map(Into::into),
        ..Default::default()
    };
    let image = cloud.ok::<ops::PutImage>(input).image.and_then(|image| image.image_id);
    image.and_then(|id| id.image_digest).expect("an image that was put has a digest")
}

fn push_layer(cloud: &mut Cloud, repository: &str, content: &str) -> String {
    let begin = ecr::InitiateLayerUploadRequest { repository_name: repository.into(), ..Default::default() };
    let upload_id = cloud.ok::<ops::InitiateLayerUpload>(begin).upload_id.unwrap_or_default();
    cloud.ok::<ops::UploadLayerPart>(ecr::UploadLayerPartRequest {
        repository_name: repository.into(),
        upload_id: upload_id.clone(),
        part_first_byte: 0,
        part_last_byte: content.len() as i64 - 1,
        layer_part_blob: content.as_bytes().to_vec(),
        ..Default::default()
    });
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(content)));
    cloud.ok::<ops::CompleteLayerUpload>(ecr::CompleteLayerUploadRequest {
        repository_name: repository.into(),
        upload_id,
        layer_digests: vec![digest.clone()],
        ..Default::default()
    });
    digest
}
