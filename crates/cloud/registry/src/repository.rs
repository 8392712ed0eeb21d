//! Repositories: the names under which images are kept.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/Repositories.html>

use std::collections::BTreeSet;
use std::sync::Arc;

use pileus_aws::ecr;
use pileus_core::filter::wildcard;
use pileus_core::{ApiError, Tags, Timestamp, paginate};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::{Image, host, image, layer, lifecycle, policy, settings};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repository {
    pub name: String,
    pub created: Timestamp,
    pub mutability: Mutability,
    pub scan_on_push: bool,
    pub tags: Tags,
}

/// Which tags can be moved to another image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mutability {
    pub immutable: bool,
    /// Patterns of the tags for which it is the other way round.
    pub exclusions: Vec<String>,
}

impl Mutability {
    pub(crate) fn is_immutable(&self, tag: &str) -> bool {
        self.immutable != self.exclusions.iter().any(|pattern| wildcard(pattern, tag))
    }
}

impl Record for Repository {
    const KIND: &'static str = "ecr/repository";

    fn key(&self) -> String {
        self.name.clone()
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ecr::ops::CreateRepository>(create_repository)
        .on::<ecr::ops::DeleteRepository>(delete_repository)
        .on::<ecr::ops::DescribeRepositories>(describe_repositories);
}

/// The repository of this name in the caller's registry; `registry` is the id that the request names, if any.
pub(crate) fn find(tx: &Tx, registry: Option<&str>, name: &str) -> Result<Arc<Repository>, ApiError> {
    let account = &tx.scope().account;
    let registry = registry.unwrap_or(account);
    let found = if registry == account { tx.get::<Repository>(name) } else { None };
    found.ok_or_else(|| {
        ApiError::client(
            "RepositoryNotFoundException",
            format!("The repository with name '{name}' does not exist in the registry with id '{registry}'"),
        )
    })
}

pub(crate) fn arn(tx: &Tx, name: &str) -> String {
    tx.scope().arn("ecr", format_args!("repository/{name}"))
}

pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameterException", message)
}

fn create_repository(
    cx: &mut Context,
    input: ecr::CreateRepositoryRequest,
) -> Result<ecr::CreateRepositoryResponse, ApiError> {
    let (name, account) = (input.repository_name, &cx.scope().account);
    if let Some(other) = input.registry_id.filter(|registry| registry != account) {
        return Err(invalid(format!("The registry with id '{other}' is not the caller's")));
    }
    if cx.tx.get::<Repository>(&name).is_some() {
        return Err(ApiError::client(
            "RepositoryAlreadyExistsException",
            format!("The repository with name '{name}' already exists in the registry with id '{account}'"),
        ));
    }
    if let Some(other) = input.encryption_configuration.filter(|it| it.encryption_type != "AES256") {
        let what = format!("the encryptionType {} of a repository", other.encryption_type);
        return Err(ApiError::not_implemented(what));
    }
    let repository = Repository {
        name,
        created: cx.now,
        mutability: settings::mutability(
            input.image_tag_mutability.as_deref().unwrap_or("MUTABLE"),
            input.image_tag_mutability_exclusion_filters.as_deref().unwrap_or_default(),
        )?,
        scan_on_push: input.image_scanning_configuration.and_then(|it| it.scan_on_push).unwrap_or(false),
        tags: settings::tags(input.tags.unwrap_or_default())?,
    };
    cx.tx.put(repository.clone());
    Ok(ecr::CreateRepositoryResponse { repository: Some(shape(cx, &repository)) })
}

fn delete_repository(
    cx: &mut Context,
    input: ecr::DeleteRepositoryRequest,
) -> Result<ecr::DeleteRepositoryResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let name = &repository.name;
    if !input.force.unwrap_or(false) && cx.tx.find::<Image>(|image| image.repository == *name).is_some() {
        return Err(ApiError::client(
            "RepositoryNotEmptyException",
            format!(
                "The repository with name '{name}' in registry with id '{}' cannot be deleted because it still \
                 contains images",
                cx.scope().account
            ),
        ));
    }
    image::forget_repository(cx.tx, name);
    layer::forget_repository(cx.tx, name);
    lifecycle::forget_repository(cx.tx, name);
    policy::forget_repository(cx.tx, name);
    cx.tx.delete::<Repository>(name);
    Ok(ecr::DeleteRepositoryResponse { repository: Some(shape(cx, &repository)) })
}

fn describe_repositories(
    cx: &mut Context,
    input: ecr::DescribeRepositoriesRequest,
) -> Result<ecr::DescribeRepositoriesResponse, ApiError> {
    let registry = input.registry_id.as_deref();
    let names = input.repository_names.unwrap_or_default();
    let repositories = if names.is_empty() {
        if registry.is_some_and(|registry| registry != cx.scope().account) {
            Vec::new()
        } else {
            cx.tx.list()
        }
    } else if input.next_token.is_some() || input.max_results.is_some() {
        return Err(invalid("'nextToken' and 'maxResults' cannot be used with 'repositoryNames'"));
    } else {
        let names: BTreeSet<String> = names.into_iter().collect();
        names.iter().map(|name| find(cx.tx, registry, name)).collect::<Result<_, _>>()?
    };
    let key = |repository: &Arc<Repository>| repository.name.clone();
    let (page, next_token) =
        paginate(repositories, key, input.next_token.as_deref(), limit(input.max_results), bad_token)?;
    let repositories = Some(page.iter().map(|repository| shape(cx, repository)).collect());
    Ok(ecr::DescribeRepositoriesResponse { repositories, next_token })
}

/// The page size of ECR's listings: 100 unless the request says.
pub(crate) fn limit(max_results: Option<i64>) -> usize {
    max_results.and_then(|max| usize::try_from(max).ok()).unwrap_or(100)
}

pub(crate) fn bad_token() -> ApiError {
    invalid("Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'")
}

fn shape(cx: &Context, repository: &Repository) -> ecr::Repository {
    let scope = cx.scope();
    let (mutability, filters) = settings::mutability_shape(&repository.mutability);
    ecr::Repository {
        repository_arn: Some(arn(cx.tx, &repository.name)),
        registry_id: Some(scope.account.clone()),
        repository_name: Some(repository.name.clone()),
        repository_uri: Some(format!("{}/{}", host(scope, cx.endpoint), repository.name)),
        created_at: Some(repository.created),
        image_tag_mutability: Some(mutability),
        image_tag_mutability_exclusion_filters: filters,
        image_scanning_configuration: Some(ecr::ImageScanningConfiguration {
            scan_on_push: Some(repository.scan_on_push),
        }),
        encryption_configuration: Some(ecr::EncryptionConfiguration {
            encryption_type: "AES256".into(),
            kms_key: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, push, repository};

    fn names(cloud: &mut pileus_kit::Cloud, names: &[&str]) -> Result<Vec<String>, String> {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let input = ecr::DescribeRepositoriesRequest {
            repository_names: (!names.is_empty()).then_some(names),
            ..Default::default()
        };
        let output =
            cloud.call::<ecr::ops::DescribeRepositories>(input).map_err(|error| error.code.into_owned())?;
        Ok(output
            .repositories
            .unwrap()
            .into_iter()
            .filter_map(|repository| repository.repository_name)
            .collect())
    }

    #[test]
    fn a_repository_is_created_described_and_deleted() {
        let mut cloud = cloud();
        let create =
            || ecr::CreateRepositoryRequest { repository_name: "team/web".into(), ..Default::default() };
        let created = cloud.ok::<ecr::ops::CreateRepository>(create()).repository.unwrap();
        let uri = "000000000000.dkr.ecr.us-east-1.localhost:4566/team/web";
        assert_eq!(created.repository_uri.as_deref(), Some(uri));
        assert_eq!(
            created.repository_arn.as_deref(),
            Some("arn:aws:ecr:us-east-1:000000000000:repository/team/web")
        );
        assert_eq!(created.image_tag_mutability.as_deref(), Some("MUTABLE"));
        assert_eq!(cloud.code::<ecr::ops::CreateRepository>(create()), "RepositoryAlreadyExistsException");
        repository(&mut cloud, "api");
        assert_eq!(names(&mut cloud, &[]), Ok(vec!["api".into(), "team/web".into()]));
        assert_eq!(names(&mut cloud, &["api"]), Ok(vec!["api".into()]));
        assert_eq!(names(&mut cloud, &["ape"]), Err("RepositoryNotFoundException".into()));
        let delete =
            ecr::DeleteRepositoryRequest { repository_name: "team/web".into(), ..Default::default() };
        cloud.ok::<ecr::ops::DeleteRepository>(delete.clone());
        assert_eq!(cloud.code::<ecr::ops::DeleteRepository>(delete), "RepositoryNotFoundException");
    }

    #[test]
    fn bad_repositories_are_refused() {
        let mut cloud = cloud();
        let create =
            |name: &str| ecr::CreateRepositoryRequest { repository_name: name.into(), ..Default::default() };
        for name in ["Web", "a", "-web", "web//api", "web/", ""] {
            let code = cloud.code::<ecr::ops::CreateRepository>(create(name));
            assert_eq!(code, "InvalidParameterException", "{name}");
        }
        let kms = ecr::EncryptionConfiguration { encryption_type: "KMS".into(), kms_key: None };
        let kms = ecr::CreateRepositoryRequest { encryption_configuration: Some(kms), ..create("web") };
        assert_eq!(cloud.code::<ecr::ops::CreateRepository>(kms), "UnsupportedOperation");
        let foreign =
            ecr::CreateRepositoryRequest { registry_id: Some("111111111111".into()), ..create("web") };
        assert_eq!(cloud.code::<ecr::ops::CreateRepository>(foreign), "InvalidParameterException");
    }

    #[test]
    fn a_repository_with_images_is_deleted_only_by_force() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        push(&mut cloud, "web", "one", Some("latest"));
        let delete = ecr::DeleteRepositoryRequest { repository_name: "web".into(), ..Default::default() };
        assert_eq!(cloud.code::<ecr::ops::DeleteRepository>(delete.clone()), "RepositoryNotEmptyException");
        cloud.ok::<ecr::ops::DeleteRepository>(ecr::DeleteRepositoryRequest { force: Some(true), ..delete });
        assert_eq!(cloud.state.all::<Image>().count() + cloud.state.all::<crate::Layer>().count(), 0);
        assert_eq!(cloud.state.all::<crate::ImageTag>().count(), 0);
    }
}
