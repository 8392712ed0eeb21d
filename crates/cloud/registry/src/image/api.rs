//! Putting, getting and deleting images through the API.
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html>

use std::sync::Arc;

use pileus_aws::ecr;
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::Tx;

use super::{
    Image, ImageHistory, NewImage, PutError, by_digest, by_tag, is_referenced, put, remove, remove_tag, tags,
};
use crate::manifest::{ManifestError, is_digest};
use crate::repository::{find, invalid};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ecr::ops::PutImage>(put_image)
        .on::<ecr::ops::BatchGetImage>(batch_get_image)
        .on::<ecr::ops::BatchDeleteImage>(batch_delete_image);
}

fn put_image(cx: &mut Context, input: ecr::PutImageRequest) -> Result<ecr::PutImageResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let new = NewImage {
        body: input.image_manifest.as_bytes(),
        media_type: input.image_manifest_media_type.as_deref(),
        tag: input.image_tag.as_deref(),
        digest: input.image_digest.as_deref(),
    };
    let (image, changed) = put(cx, &repository, new).map_err(api_error)?;
    if !changed {
        let tag = input.image_tag.as_deref().unwrap_or("null");
        return Err(ApiError::client(
            "ImageAlreadyExistsException",
            format!(
                "Image with digest '{}' and tag '{tag}' already exists in the repository with name '{}' in registry \
                 with id '{}'",
                image.digest,
                repository.name,
                cx.scope().account
            ),
        ));
    }
    let image = shape(cx.tx, &image, input.image_tag);
    Ok(ecr::PutImageResponse { image: Some(image) })
}

fn api_error(error: PutError) -> ApiError {
    let code = match &error {
        PutError::Manifest(ManifestError::Unsupported(_)) => "UnsupportedImageTypeException",
        PutError::Manifest(cause) => {
            return invalid(format!(
                "Invalid parameter at 'imageManifest' failed to satisfy constraint: '{cause}'"
            ));
        }
        PutError::Tag(_) => "InvalidParameterException",
        PutError::Digest { .. } => "ImageDigestDoesNotMatchException",
        PutError::LayersNotFound(_) => "LayersNotFoundException",
        PutError::ImagesNotFound(_) => "ReferencedImagesNotFoundException",
        PutError::TagIsImmutable { .. } => "ImageTagAlreadyExistsException",
        PutError::Storage(_) => return ApiError::new("ServerException", 500, error.to_string()),
    };
    ApiError::client(code, error.to_string())
}

fn shape(tx: &Tx, image: &Image, tag: Option<String>) -> ecr::Image {
    ecr::Image {
        registry_id: Some(tx.scope().account.clone()),
        repository_name: Some(image.repository.clone()),
        image_id: Some(ecr::ImageIdentifier { image_digest: Some(image.digest.clone()), image_tag: tag }),
        image_manifest: Some(image.body.clone()),
        image_manifest_media_type: Some(image.manifest.media_type.clone()),
    }
}

/// The image that an identifier stands for, or AWS's code and reason why there is none.
pub(super) fn identified(
    tx: &Tx,
    repository: &str,
    id: &ecr::ImageIdentifier,
) -> Result<Arc<Image>, (&'static str, &'static str)> {
    let not_found = ("ImageNotFound", "Requested image not found");
    if id.image_digest.as_ref().is_some_and(|digest| !is_digest(digest)) {
        return Err(("InvalidImageDigest", "Invalid request parameters: image digest is not valid"));
    }
    match (&id.image_digest, &id.image_tag) {
        (Some(digest), None) => by_digest(tx, repository, digest).ok_or(not_found),
        (None, Some(tag)) => by_tag(tx, repository, tag).ok_or(not_found),
        (Some(digest), Some(tag)) => match by_tag(tx, repository, tag) {
            Some(image) if image.digest == *digest => Ok(image),
            Some(_) => Err(("ImageTagDoesNotMatchDigest", "The image tag does not match the image digest")),
            None => Err(not_found),
        },
        (None, None) => {
            Err(("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null"))
        }
    }
}

fn failure(id: ecr::ImageIdentifier, (code, reason): (&str, &str)) -> ecr::ImageFailure {
    ecr::ImageFailure {
        image_id: Some(id),
        failure_code: Some(code.to_owned()),
        failure_reason: Some(reason.to_owned()),
    }
}

fn batch_get_image(
    cx: &mut Context,
    input: ecr::BatchGetImageRequest,
) -> Result<ecr::BatchGetImageResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let accepted = input.accepted_media_types.unwrap_or_default();
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for id in input.image_ids {
        match identified(cx.tx, &repository.name, &id) {
            Ok(image) if !accepted.is_empty() && !accepted.contains(&image.manifest.media_type) => {
                failures
                    .push(failure(id, ("ImageNotFound", "The image is of none of the accepted media types")));
            }
            Ok(image) => {
                ImageHistory::note_pull(cx.tx, &repository.name, &image.digest, cx.now);
                found.push(shape(cx.tx, &image, id.image_tag));
            }
            Err(reason) => failures.push(failure(id, reason)),
        }
    }
    Ok(ecr::BatchGetImageResponse { images: Some(found), failures: Some(failures) })
}

fn batch_delete_image(
    cx: &mut Context,
    input: ecr::BatchDeleteImageRequest,
) -> Result<ecr::BatchDeleteImageResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for id in input.image_ids {
        match delete(cx.tx, &repository.name, &id) {
            Ok(ids) => deleted.extend(ids),
            Err(reason) => failures.push(failure(id, reason)),
        }
    }
    Ok(ecr::BatchDeleteImageResponse { image_ids: Some(deleted), failures: Some(failures) })
}

/// A tag alone is removed, and its image with the last one; a digest removes the image and all its tags.
pub(crate) fn delete(
    tx: &mut Tx,
    repository: &str,
    id: &ecr::ImageIdentifier,
) -> Result<Vec<ecr::ImageIdentifier>, (&'static str, &'static str)> {
    let digest = identified(tx, repository, id)?.digest.clone();
    let named =
        |tag: Option<String>| ecr::ImageIdentifier { image_digest: Some(digest.clone()), image_tag: tag };
    let others = tags(tx, repository);
    let last =
        !others.iter().any(|other| other.digest == digest && Some(&other.tag) != id.image_tag.as_ref());
    if let (None, Some(tag), false) = (&id.image_digest, &id.image_tag, last) {
        remove_tag(tx, repository, tag);
        return Ok(vec![named(Some(tag.clone()))]);
    }
    if is_referenced(tx, repository, &digest) {
        return Err(("ImageReferencedByManifestList", "Requested image is referenced by a manifest list"));
    }
    let tags = remove(tx, repository, &digest);
    if tags.is_empty() {
        return Ok(vec![named(None)]);
    }
    Ok(tags.into_iter().map(|tag| named(Some(tag))).collect())
}

#[cfg(test)]
mod tests {
    use pileus_kit::Cloud;

    use super::*;
    use crate::testing::{cloud, digest, index, layer, manifest, push, repository};

    fn put(text: &str, tag: Option<&str>) -> ecr::PutImageRequest {
        ecr::PutImageRequest {
            repository_name: "web".into(),
            image_manifest: text.into(),
            image_tag: tag.map(Into::into),
            ..Default::default()
        }
    }

    fn id(digest: Option<&str>, tag: Option<&str>) -> ecr::ImageIdentifier {
        ecr::ImageIdentifier { image_digest: digest.map(Into::into), image_tag: tag.map(Into::into) }
    }

    fn get(cloud: &mut Cloud, id: ecr::ImageIdentifier) -> Result<ecr::Image, String> {
        let input = ecr::BatchGetImageRequest {
            repository_name: "web".into(),
            image_ids: vec![id],
            ..Default::default()
        };
        let output = cloud.ok::<ecr::ops::BatchGetImage>(input);
        match output.failures.unwrap().pop() {
            Some(failure) => Err(failure.failure_code.unwrap()),
            None => Ok(output.images.unwrap().remove(0)),
        }
    }

    fn delete(cloud: &mut Cloud, id: ecr::ImageIdentifier) -> ecr::BatchDeleteImageResponse {
        let input = ecr::BatchDeleteImageRequest {
            repository_name: "web".into(),
            image_ids: vec![id],
            ..Default::default()
        };
        cloud.ok::<ecr::ops::BatchDeleteImage>(input)
    }

    #[test]
    fn an_image_is_pushed_found_and_its_tag_moves() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let one = push(&mut cloud, "web", "one", Some("latest"));
        let two = push(&mut cloud, "web", "two", Some("latest"));
        assert_eq!(cloud.bulk.blobs.size(&one), Some(manifest("one").len() as u64));
        let found = get(&mut cloud, id(None, Some("latest"))).unwrap();
        assert_eq!(found.image_manifest.as_deref(), Some(manifest("two").as_str()));
        assert_eq!(found.image_id.unwrap().image_digest.as_ref(), Some(&two));
        for (id, code) in [
            (id(None, Some("v1")), "ImageNotFound"),
            (id(Some(&digest("x")), None), "ImageNotFound"),
            (id(Some("x"), None), "InvalidImageDigest"),
            (id(Some(&one), Some("latest")), "ImageTagDoesNotMatchDigest"),
            (id(None, None), "MissingDigestAndTag"),
        ] {
            assert_eq!(get(&mut cloud, id).map(|_| ()), Err(code.to_owned()));
        }
    }

    #[test]
    fn pushing_the_same_again_and_without_layers_is_refused() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let text = manifest("one");
        assert_eq!(cloud.code::<ecr::ops::PutImage>(put(&text, None)), "LayersNotFoundException");
        push(&mut cloud, "web", "one", Some("latest"));
        let code = cloud.code::<ecr::ops::PutImage>(put(&text, Some("latest")));
        assert_eq!(code, "ImageAlreadyExistsException");
        assert_eq!(cloud.code::<ecr::ops::PutImage>(put(&text, None)), "ImageAlreadyExistsException");
        cloud.ok::<ecr::ops::PutImage>(put(&text, Some("v1")));
        let other = ecr::PutImageRequest { image_digest: Some(digest("x")), ..put(&text, Some("v2")) };
        assert_eq!(cloud.code::<ecr::ops::PutImage>(other), "ImageDigestDoesNotMatchException");
        assert_eq!(cloud.code::<ecr::ops::PutImage>(put("{", Some("v2"))), "InvalidParameterException");
        let old = r#"{"schemaVersion":1}"#;
        assert_eq!(cloud.code::<ecr::ops::PutImage>(put(old, Some("v2"))), "UnsupportedImageTypeException");
    }

    #[test]
    fn an_immutable_tag_stays() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        push(&mut cloud, "web", "one", Some("v1"));
        cloud.ok::<ecr::ops::PutImageTagMutability>(ecr::PutImageTagMutabilityRequest {
            repository_name: "web".into(),
            image_tag_mutability: "IMMUTABLE".into(),
            ..Default::default()
        });
        layer(&mut cloud, "web", "two");
        let code = cloud.code::<ecr::ops::PutImage>(put(&manifest("two"), Some("v1")));
        assert_eq!(code, "ImageTagAlreadyExistsException");
        cloud.ok::<ecr::ops::PutImage>(put(&manifest("two"), Some("v2")));
    }

    #[test]
    fn the_last_tag_takes_the_image_with_it() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let digest = push(&mut cloud, "web", "one", Some("latest"));
        cloud.ok::<ecr::ops::PutImage>(put(&manifest("one"), Some("v1")));
        let gone = delete(&mut cloud, id(None, Some("v1"))).image_ids.unwrap();
        assert_eq!(gone, [id(Some(&digest), Some("v1"))]);
        assert!(get(&mut cloud, id(Some(&digest), None)).is_ok());
        delete(&mut cloud, id(None, Some("latest")));
        assert!(get(&mut cloud, id(Some(&digest), None)).is_err());
        let failures = delete(&mut cloud, id(None, Some("latest"))).failures.unwrap();
        assert_eq!(failures[0].failure_code.as_deref(), Some("ImageNotFound"));
    }

    #[test]
    fn a_digest_takes_all_tags_with_it() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let digest = push(&mut cloud, "web", "one", Some("latest"));
        cloud.ok::<ecr::ops::PutImage>(put(&manifest("one"), Some("v1")));
        assert_eq!(delete(&mut cloud, id(Some(&digest), None)).image_ids.unwrap().len(), 2);
        assert_eq!(cloud.state.all::<crate::ImageTag>().count(), 0);
    }

    #[test]
    fn an_index_holds_its_images() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let text = index(&[("amd64", "one")]);
        assert_eq!(
            cloud.code::<ecr::ops::PutImage>(put(&text, Some("all"))),
            "ReferencedImagesNotFoundException"
        );
        let image = push(&mut cloud, "web", "one", None);
        cloud.ok::<ecr::ops::PutImage>(put(&text, Some("all")));
        let failures = delete(&mut cloud, id(Some(&image), None)).failures.unwrap();
        assert_eq!(failures[0].failure_code.as_deref(), Some("ImageReferencedByManifestList"));
        assert!(delete(&mut cloud, id(None, Some("all"))).failures.unwrap().is_empty());
        assert!(delete(&mut cloud, id(Some(&image), None)).failures.unwrap().is_empty());
    }
}
