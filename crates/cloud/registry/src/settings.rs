//! What can be changed of a repository: its tags, whether image tags can be moved, whether images are scanned.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html>

use pileus_aws::ecr;
use pileus_core::{ApiError, Arn, Tags, tags};
use pileus_service::{Context, Router};
use pileus_state::Tx;

use crate::repository::{Mutability, Repository, find, invalid};

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ecr::ops::PutImageTagMutability>(put_image_tag_mutability)
        .on::<ecr::ops::PutImageScanningConfiguration>(put_image_scanning_configuration)
        .on::<ecr::ops::ListTagsForResource>(list_tags_for_resource)
        .on::<ecr::ops::TagResource>(tag_resource)
        .on::<ecr::ops::UntagResource>(untag_resource);
}

/// The most exclusion filters of a repository.
const MAX_FILTERS: usize = 5;

/// The setting that a request describes.
pub(crate) fn mutability(
    mode: &str,
    filters: &[ecr::ImageTagMutabilityExclusionFilter],
) -> Result<Mutability, ApiError> {
    let excludes = mode.ends_with("_WITH_EXCLUSION");
    if excludes == filters.is_empty() || filters.len() > MAX_FILTERS {
        return Err(invalid(format!(
            "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: '{mode} takes \
             {} exclusion filters'",
            if excludes { "1 to 5" } else { "no" }
        )));
    }
    let exclusions = filters.iter().map(|filter| filter.filter.clone()).collect();
    Ok(Mutability { immutable: mode.starts_with("IMMUTABLE"), exclusions })
}

/// The setting as the API shows it.
pub(crate) fn mutability_shape(
    mutability: &Mutability,
) -> (String, Option<Vec<ecr::ImageTagMutabilityExclusionFilter>>) {
    let mode = if mutability.immutable { "IMMUTABLE" } else { "MUTABLE" };
    if mutability.exclusions.is_empty() {
        return (mode.to_owned(), None);
    }
    let filter = |filter: &String| ecr::ImageTagMutabilityExclusionFilter {
        filter_type: "WILDCARD".into(),
        filter: filter.clone(),
    };
    (format!("{mode}_WITH_EXCLUSION"), Some(mutability.exclusions.iter().map(filter).collect()))
}

/// The tags of a request; no key comes twice.
pub(crate) fn tags(list: Vec<ecr::Tag>) -> Result<Tags, ApiError> {
    let mut tags = Tags::new();
    for tag in list {
        if tags.insert(tag.key.clone(), tag.value).is_some() {
            let message = format!("Duplicate tag key '{}'", tag.key);
            return Err(ApiError::client("InvalidTagParameterException", message));
        }
    }
    check(&tags)?;
    Ok(tags)
}

fn check(tags: &Tags) -> Result<(), ApiError> {
    if tags.len() > tags::MAX_TAGS {
        let message = format!("A repository can have at most {} tags.", tags::MAX_TAGS);
        return Err(ApiError::client("TooManyTagsException", message));
    }
    tags::check(tags, "InvalidTagParameterException")
}

fn put_image_tag_mutability(
    cx: &mut Context,
    input: ecr::PutImageTagMutabilityRequest,
) -> Result<ecr::PutImageTagMutabilityResponse, ApiError> {
    let name = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?.name.clone();
    let filters = input.image_tag_mutability_exclusion_filters.unwrap_or_default();
    let mutability = mutability(&input.image_tag_mutability, &filters)?;
    let (mode, filters) = mutability_shape(&mutability);
    cx.tx.update::<Repository>(&name, |repository| repository.mutability = mutability);
    Ok(ecr::PutImageTagMutabilityResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(name),
        image_tag_mutability: Some(mode),
        image_tag_mutability_exclusion_filters: filters,
    })
}

fn put_image_scanning_configuration(
    cx: &mut Context,
    input: ecr::PutImageScanningConfigurationRequest,
) -> Result<ecr::PutImageScanningConfigurationResponse, ApiError> {
    let name = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?.name.clone();
    let scan_on_push = input.image_scanning_configuration.scan_on_push.unwrap_or(false);
    cx.tx.update::<Repository>(&name, |repository| repository.scan_on_push = scan_on_push);
    Ok(ecr::PutImageScanningConfigurationResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(name),
        image_scanning_configuration: Some(ecr::ImageScanningConfiguration {
            scan_on_push: Some(scan_on_push),
        }),
    })
}

/// The name of the repository with this ARN.
fn by_arn(tx: &Tx, text: &str) -> Result<String, ApiError> {
    let scope = tx.scope();
    let bad = || {
        invalid(format!(
            "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN {text}'"
        ))
    };
    let arn =
        Arn::parse(text).filter(|arn| arn.service == "ecr" && arn.region == scope.region).ok_or_else(bad)?;
    let name = arn.resource.strip_prefix("repository/").ok_or_else(bad)?;
    Ok(find(tx, Some(arn.account), name)?.name.clone())
}

fn list_tags_for_resource(
    cx: &mut Context,
    input: ecr::ListTagsForResourceRequest,
) -> Result<ecr::ListTagsForResourceResponse, ApiError> {
    let name = by_arn(cx.tx, &input.resource_arn)?;
    let tags = find(cx.tx, None, &name)?.tags.clone().into_iter();
    Ok(ecr::ListTagsForResourceResponse {
        tags: Some(tags.map(|(key, value)| ecr::Tag { key, value }).collect()),
    })
}

fn tag_resource(
    cx: &mut Context,
    input: ecr::TagResourceRequest,
) -> Result<ecr::TagResourceResponse, ApiError> {
    let name = by_arn(cx.tx, &input.resource_arn)?;
    let mut all = find(cx.tx, None, &name)?.tags.clone();
    all.extend(tags(input.tags)?);
    check(&all)?;
    cx.tx.update::<Repository>(&name, |repository| repository.tags = all);
    Ok(ecr::TagResourceResponse {})
}

fn untag_resource(
    cx: &mut Context,
    input: ecr::UntagResourceRequest,
) -> Result<ecr::UntagResourceResponse, ApiError> {
    let name = by_arn(cx.tx, &input.resource_arn)?;
    let gone = |key: &String| input.tag_keys.contains(key);
    cx.tx.update::<Repository>(&name, |repository| repository.tags.retain(|key, _| !gone(key)));
    Ok(ecr::UntagResourceResponse {})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, repository};

    #[test]
    fn exclusions_turn_the_mode_round() {
        let filter = |pattern: &str| ecr::ImageTagMutabilityExclusionFilter {
            filter_type: "WILDCARD".into(),
            filter: pattern.into(),
        };
        let release = mutability("IMMUTABLE_WITH_EXCLUSION", &[filter("latest*")]).unwrap();
        assert!(release.is_immutable("v1") && !release.is_immutable("latest-dev"));
        let open = mutability("MUTABLE_WITH_EXCLUSION", &[filter("v*")]).unwrap();
        assert!(open.is_immutable("v1") && !open.is_immutable("latest"));
        assert_eq!(mutability_shape(&open).0, "MUTABLE_WITH_EXCLUSION");
        assert!(mutability("MUTABLE_WITH_EXCLUSION", &[]).is_err());
        assert!(mutability("IMMUTABLE", &[filter("v*")]).is_err());
    }

    #[test]
    fn tags_are_set_listed_and_removed() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let arn = "arn:aws:ecr:us-east-1:000000000000:repository/web".to_owned();
        let tag = |key: &str| ecr::Tag { key: key.into(), value: "x".into() };
        let set = |tags| ecr::TagResourceRequest { resource_arn: arn.clone(), tags };
        cloud.ok::<ecr::ops::TagResource>(set(vec![tag("a"), tag("b")]));
        let twice = set(vec![tag("a"), tag("a")]);
        assert_eq!(cloud.code::<ecr::ops::TagResource>(twice), "InvalidTagParameterException");
        let many = set((0..50).map(|n| tag(&n.to_string())).collect());
        assert_eq!(cloud.code::<ecr::ops::TagResource>(many), "TooManyTagsException");
        cloud.ok::<ecr::ops::UntagResource>(ecr::UntagResourceRequest {
            resource_arn: arn.clone(),
            tag_keys: vec!["a".into()],
        });
        let list = |arn: &str| ecr::ListTagsForResourceRequest { resource_arn: arn.into() };
        assert_eq!(cloud.ok::<ecr::ops::ListTagsForResource>(list(&arn)).tags, Some(vec![tag("b")]));
        for (arn, code) in [
            ("arn:aws:ecr:us-east-1:000000000000:repository/api", "RepositoryNotFoundException"),
            ("arn:aws:ecr:us-east-1:111111111111:repository/web", "RepositoryNotFoundException"),
            ("arn:aws:ecs:us-east-1:000000000000:cluster/web", "InvalidParameterException"),
        ] {
            assert_eq!(cloud.code::<ecr::ops::ListTagsForResource>(list(arn)), code);
        }
    }
}
