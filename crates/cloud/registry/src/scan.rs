//! The scanning of images. Pileus has no database of vulnerabilities: a scan that is asked for, by hand or by a
//! setting, has failed, and says so.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html>

use pileus_aws::ecr;
use pileus_core::ApiError;
use pileus_core::filter::wildcard;
use pileus_service::{Context, Router};
use pileus_state::Tx;

use crate::account::RegistrySettings;
use crate::image::{self, ImageHistory};
use crate::repository::{Repository, arn, find, invalid};

const WHY: &str = "Pileus has no vulnerability database: images are not scanned.";

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ecr::ops::StartImageScan>(start_image_scan)
        .on::<ecr::ops::DescribeImageScanFindings>(describe_image_scan_findings)
        .on::<ecr::ops::GetRegistryScanningConfiguration>(get_registry_scanning_configuration)
        .on::<ecr::ops::PutRegistryScanningConfiguration>(put_registry_scanning_configuration)
        .on::<ecr::ops::BatchGetRepositoryScanningConfiguration>(batch_get_repository_scanning_configuration);
}

fn failed() -> ecr::ImageScanStatus {
    ecr::ImageScanStatus { status: Some("FAILED".into()), description: Some(WHY.into()) }
}

/// What has become of the scan of an image, if one was asked for.
pub(crate) fn status(tx: &Tx, repository: &Repository, digest: &str) -> Option<ecr::ImageScanStatus> {
    let asked = ImageHistory::of(tx, &repository.name, digest).scan_asked;
    (asked || on_push(tx, repository)).then(failed)
}

/// Whether images of a repository are to be scanned when they are pushed.
fn on_push(tx: &Tx, repository: &Repository) -> bool {
    repository.scan_on_push || !filters_for(tx, &repository.name).is_empty()
}

/// The registry's filters that a repository fits.
fn filters_for(tx: &Tx, repository: &str) -> Vec<ecr::ScanningRepositoryFilter> {
    let rules = RegistrySettings::of(tx).scanning;
    let on_push = rules.into_iter().filter(|rule| rule.scan_frequency == "SCAN_ON_PUSH");
    let filters = on_push.flat_map(|rule| rule.repository_filters);
    // A filter without a star is a prefix.
    let fits = |filter: &ecr::ScanningRepositoryFilter| {
        wildcard(&filter.filter, repository)
            || (!filter.filter.contains('*') && repository.starts_with(&filter.filter))
    };
    filters.filter(fits).collect()
}

fn start_image_scan(
    cx: &mut Context,
    input: ecr::StartImageScanRequest,
) -> Result<ecr::StartImageScanResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let image = image::known(cx.tx, &repository.name, &input.image_id)?;
    ImageHistory::note(cx.tx, &repository.name, &image.digest, |history| history.scan_asked = true);
    Ok(ecr::StartImageScanResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(repository.name.clone()),
        image_id: Some(input.image_id),
        image_scan_status: Some(failed()),
    })
}

fn describe_image_scan_findings(
    cx: &mut Context,
    input: ecr::DescribeImageScanFindingsRequest,
) -> Result<ecr::DescribeImageScanFindingsResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let image = image::known(cx.tx, &repository.name, &input.image_id)?;
    if input.next_token.is_some() {
        return Err(crate::repository::bad_token());
    }
    let status = status(cx.tx, &repository, &image.digest).ok_or_else(|| {
        let message = format!(
            "Image scan does not exist for the image with '{{imageDigest:'{}'}}' in the repository with name '{}' in \
             the registry with id '{}'",
            image.digest,
            repository.name,
            cx.scope().account
        );
        ApiError::client("ScanNotFoundException", message)
    })?;
    Ok(ecr::DescribeImageScanFindingsResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(repository.name.clone()),
        image_id: Some(ecr::ImageIdentifier {
            image_digest: Some(image.digest.clone()),
            image_tag: input.image_id.image_tag,
        }),
        image_scan_status: Some(status),
        image_scan_findings: None,
        next_token: None,
    })
}

fn shape(tx: &Tx) -> ecr::RegistryScanningConfiguration {
    let rules = RegistrySettings::of(tx).scanning;
    ecr::RegistryScanningConfiguration { scan_type: Some("BASIC".into()), rules: Some(rules) }
}

fn get_registry_scanning_configuration(
    cx: &mut Context,
    _: ecr::GetRegistryScanningConfigurationRequest,
) -> Result<ecr::GetRegistryScanningConfigurationResponse, ApiError> {
    Ok(ecr::GetRegistryScanningConfigurationResponse {
        registry_id: Some(cx.scope().account.clone()),
        scanning_configuration: Some(shape(cx.tx)),
    })
}

fn put_registry_scanning_configuration(
    cx: &mut Context,
    input: ecr::PutRegistryScanningConfigurationRequest,
) -> Result<ecr::PutRegistryScanningConfigurationResponse, ApiError> {
    if input.scan_type.as_deref() == Some("ENHANCED") {
        return Err(ApiError::not_implemented("the scanType ENHANCED, which is Amazon Inspector's"));
    }
    let rules = input.rules.unwrap_or_default();
    if rules.iter().any(|rule| rule.scan_frequency == "CONTINUOUS_SCAN") {
        let constraint = "'CONTINUOUS_SCAN goes with the scanType ENHANCED'";
        return Err(invalid(format!(
            "Invalid parameter at 'rules' failed to satisfy constraint: {constraint}"
        )));
    }
    let settings = RegistrySettings::of(cx.tx);
    cx.tx.put(RegistrySettings { scanning: rules, ..settings });
    Ok(ecr::PutRegistryScanningConfigurationResponse { registry_scanning_configuration: Some(shape(cx.tx)) })
}

fn batch_get_repository_scanning_configuration(
    cx: &mut Context,
    input: ecr::BatchGetRepositoryScanningConfigurationRequest,
) -> Result<ecr::BatchGetRepositoryScanningConfigurationResponse, ApiError> {
    let (mut configurations, mut failures) = (Vec::new(), Vec::new());
    for name in input.repository_names {
        let Ok(repository) = find(cx.tx, None, &name) else {
            failures.push(ecr::RepositoryScanningConfigurationFailure {
                repository_name: Some(name),
                failure_code: Some("REPOSITORY_NOT_FOUND".into()),
                failure_reason: Some("REPOSITORY_NOT_FOUND".into()),
            });
            continue;
        };
        let on_push = on_push(cx.tx, &repository);
        configurations.push(ecr::RepositoryScanningConfiguration {
            repository_arn: Some(arn(cx.tx, &name)),
            scan_on_push: Some(on_push),
            scan_frequency: Some(if on_push { "SCAN_ON_PUSH" } else { "MANUAL" }.into()),
            applied_scan_filters: Some(filters_for(cx.tx, &name)),
            repository_name: Some(name),
        });
    }
    Ok(ecr::BatchGetRepositoryScanningConfigurationResponse {
        scanning_configurations: Some(configurations),
        failures: Some(failures),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, push, repository};

    #[test]
    fn a_scan_that_is_asked_for_has_failed() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        push(&mut cloud, "web", "one", Some("v1"));
        let id = ecr::ImageIdentifier { image_digest: None, image_tag: Some("v1".into()) };
        let findings = ecr::DescribeImageScanFindingsRequest {
            repository_name: "web".into(),
            image_id: id.clone(),
            ..Default::default()
        };
        let code = cloud.code::<ecr::ops::DescribeImageScanFindings>(findings.clone());
        assert_eq!(code, "ScanNotFoundException");
        let start =
            ecr::StartImageScanRequest { registry_id: None, repository_name: "web".into(), image_id: id };
        cloud.ok::<ecr::ops::StartImageScan>(start.clone());
        let status = cloud.ok::<ecr::ops::DescribeImageScanFindings>(findings).image_scan_status.unwrap();
        assert_eq!((status.status.as_deref(), status.description.as_deref()), (Some("FAILED"), Some(WHY)));
        let other = ecr::ImageIdentifier { image_digest: None, image_tag: Some("v2".into()) };
        let code =
            cloud.code::<ecr::ops::StartImageScan>(ecr::StartImageScanRequest { image_id: other, ..start });
        assert_eq!(code, "ImageNotFoundException");
    }

    #[test]
    fn the_registry_scans_by_filter() {
        let mut cloud = cloud();
        repository(&mut cloud, "prod-web");
        repository(&mut cloud, "web");
        let rule = |frequency: &str| ecr::RegistryScanningRule {
            scan_frequency: frequency.into(),
            repository_filters: vec![ecr::ScanningRepositoryFilter {
                filter: "prod".into(),
                filter_type: "WILDCARD".into(),
            }],
        };
        let put = |kind: &str, rule| ecr::PutRegistryScanningConfigurationRequest {
            scan_type: Some(kind.into()),
            rules: Some(vec![rule]),
        };
        let code = cloud
            .code::<ecr::ops::PutRegistryScanningConfiguration>(put("ENHANCED", rule("CONTINUOUS_SCAN")));
        assert_eq!(code, "UnsupportedOperation");
        let code =
            cloud.code::<ecr::ops::PutRegistryScanningConfiguration>(put("BASIC", rule("CONTINUOUS_SCAN")));
        assert_eq!(code, "InvalidParameterException");
        cloud.ok::<ecr::ops::PutRegistryScanningConfiguration>(put("BASIC", rule("SCAN_ON_PUSH")));
        let input = ecr::BatchGetRepositoryScanningConfigurationRequest {
            repository_names: vec!["prod-web".into(), "web".into(), "none".into()],
        };
        let output = cloud.ok::<ecr::ops::BatchGetRepositoryScanningConfiguration>(input);
        let on_push: Vec<_> =
            output.scanning_configurations.unwrap().iter().map(|it| it.scan_on_push.unwrap()).collect();
        assert_eq!((on_push, output.failures.unwrap().len()), (vec![true, false], 1));
    }
}
