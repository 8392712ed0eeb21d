//! Listing images.
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html>

use std::sync::Arc;

use pileus_aws::ecr;
use pileus_core::{ApiError, paginate};
use pileus_service::{Context, Router};
use pileus_state::Tx;

use super::{Image, ImageHistory, images, known, tags_of};
use crate::repository::{bad_token, find, invalid, limit};
use crate::{Repository, scan};

pub(super) fn operations(router: &mut Router) {
    router.on::<ecr::ops::DescribeImages>(describe_images).on::<ecr::ops::ListImages>(list_images);
}

/// Whether an image with or without tags is wanted.
pub(crate) fn has_status(status: Option<&str>, tagged: bool) -> bool {
    match status {
        Some("TAGGED") => tagged,
        Some("UNTAGGED") => !tagged,
        _ => true,
    }
}

/// Whether images in use are wanted: there are no others, as nothing is archived.
fn is_active(status: Option<&str>) -> bool {
    status.is_none_or(|status| status == "ACTIVE" || status == "ANY")
}

/// An image with its tags.
fn with_tags(tx: &Tx, image: Arc<Image>) -> (Arc<Image>, Vec<String>) {
    let tags = tags_of(tx, &image);
    (image, tags)
}

fn list_images(cx: &mut Context, input: ecr::ListImagesRequest) -> Result<ecr::ListImagesResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let filter = input.filter.unwrap_or_default();
    let status = filter.tag_status;
    let mut ids = Vec::new();
    for image in images(cx.tx, &repository.name) {
        let (image, tags) = with_tags(cx.tx, image);
        if !is_active(filter.image_status.as_deref()) || !has_status(status.as_deref(), !tags.is_empty()) {
            continue;
        }
        let id = |tag| ecr::ImageIdentifier { image_digest: Some(image.digest.clone()), image_tag: tag };
        if tags.is_empty() {
            ids.push(id(None));
        }
        ids.extend(tags.into_iter().map(|tag| id(Some(tag))));
    }
    let key = |id: &ecr::ImageIdentifier| {
        let tag = id.image_tag.as_deref().unwrap_or_default();
        format!("{}:{tag}", id.image_digest.as_deref().unwrap_or_default())
    };
    let (ids, next_token) =
        paginate(ids, key, input.next_token.as_deref(), limit(input.max_results), bad_token)?;
    Ok(ecr::ListImagesResponse { image_ids: Some(ids), next_token })
}

fn describe_images(
    cx: &mut Context,
    input: ecr::DescribeImagesRequest,
) -> Result<ecr::DescribeImagesResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let ids = input.image_ids.unwrap_or_default();
    if !ids.is_empty() && (input.next_token.is_some() || input.max_results.is_some()) {
        return Err(invalid("'nextToken' and 'maxResults' cannot be used with 'imageIds'"));
    }
    let mut found = if ids.is_empty() {
        images(cx.tx, &repository.name)
    } else {
        ids.iter().map(|id| known(cx.tx, &repository.name, id)).collect::<Result<Vec<_>, _>>()?
    };
    found.sort_by(|one, other| one.digest.cmp(&other.digest));
    found.dedup();
    let filter = input.filter.unwrap_or_default();
    let active = is_active(filter.image_status.as_deref());
    let status = filter.tag_status;
    let found = found.into_iter().map(|image| with_tags(cx.tx, image));
    let found = found.filter(|(_, tags)| active && has_status(status.as_deref(), !tags.is_empty())).collect();
    let key = |(image, _): &(Arc<Image>, Vec<String>)| image.digest.clone();
    let (page, next_token) =
        paginate(found, key, input.next_token.as_deref(), limit(input.max_results), bad_token)?;
    let details = page.into_iter().map(|(image, tags)| detail(cx.tx, &repository, &image, tags));
    Ok(ecr::DescribeImagesResponse { image_details: Some(details.collect()), next_token })
}

pub(super) fn not_found(tx: &Tx, repository: &str, id: &ecr::ImageIdentifier) -> ApiError {
    let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "null".to_owned());
    ApiError::client(
        "ImageNotFoundException",
        format!(
            "The image with imageId {{imageDigest:'{}', imageTag:'{}'}} does not exist within the repository with \
             name '{repository}' in the registry with id '{}'",
            text(&id.image_digest),
            text(&id.image_tag),
            tx.scope().account
        ),
    )
}

fn detail(tx: &Tx, repository: &Repository, image: &Image, tags: Vec<String>) -> ecr::ImageDetail {
    ecr::ImageDetail {
        registry_id: Some(tx.scope().account.clone()),
        repository_name: Some(image.repository.clone()),
        image_digest: Some(image.digest.clone()),
        image_tags: (!tags.is_empty()).then_some(tags),
        image_size_in_bytes: Some(i64::try_from(image.size).unwrap_or(i64::MAX)),
        image_pushed_at: Some(image.pushed),
        image_scan_status: scan::status(tx, repository, &image.digest),
        image_manifest_media_type: Some(image.manifest.media_type.clone()),
        artifact_media_type: image.manifest.artifact_media_type(),
        last_recorded_pull_time: ImageHistory::of(tx, &image.repository, &image.digest).pulled,
        subject_manifest_digest: image.manifest.subject.clone(),
        image_status: Some("ACTIVE".into()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, push, repository};

    #[test]
    fn images_are_described_with_tags_and_sizes() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let one = push(&mut cloud, "web", "one", Some("v1"));
        push(&mut cloud, "web", "two", None);
        let all = || ecr::DescribeImagesRequest { repository_name: "web".into(), ..Default::default() };
        assert_eq!(cloud.ok::<ecr::ops::DescribeImages>(all()).image_details.unwrap().len(), 2);
        let id = |tag: &str| ecr::ImageIdentifier { image_digest: None, image_tag: Some(tag.into()) };
        let named = ecr::DescribeImagesRequest { image_ids: Some(vec![id("v1")]), ..all() };
        let detail = cloud.ok::<ecr::ops::DescribeImages>(named).image_details.unwrap().remove(0);
        assert_eq!((detail.image_digest, detail.image_tags), (Some(one), Some(vec!["v1".into()])));
        // The configuration and the layer are the same three bytes.
        assert_eq!(detail.image_size_in_bytes, Some(6));
        assert_eq!(detail.image_pushed_at, Some(cloud.now));
        let unknown = ecr::DescribeImagesRequest { image_ids: Some(vec![id("v2")]), ..all() };
        assert_eq!(cloud.code::<ecr::ops::DescribeImages>(unknown), "ImageNotFoundException");
    }

    #[test]
    fn images_are_listed_by_tag_status_and_in_pages() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        push(&mut cloud, "web", "one", Some("v1"));
        push(&mut cloud, "web", "two", None);
        let list = |status: &str| ecr::ListImagesRequest {
            repository_name: "web".into(),
            filter: Some(ecr::ListImagesFilter { tag_status: Some(status.into()), image_status: None }),
            ..Default::default()
        };
        for (status, count) in [("ANY", 2), ("TAGGED", 1), ("UNTAGGED", 1)] {
            assert_eq!(
                cloud.ok::<ecr::ops::ListImages>(list(status)).image_ids.unwrap().len(),
                count,
                "{status}"
            );
        }
        let page = ecr::ListImagesRequest { max_results: Some(1), ..list("ANY") };
        let first = cloud.ok::<ecr::ops::ListImages>(page.clone());
        let second =
            cloud.ok::<ecr::ops::ListImages>(ecr::ListImagesRequest { next_token: first.next_token, ..page });
        assert_ne!(first.image_ids, second.image_ids);
        assert_eq!(second.next_token, None);
    }
}
