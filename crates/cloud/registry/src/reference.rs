//! Image names: `<account>.dkr.ecr.<region>.amazonaws.com/<repository>[:<tag>][@<digest>]`, or the same under the
//! `localhost` name that `DescribeRepositories` gives.

use pileus_core::Scope;
use pileus_state::Tx;

use crate::manifest::{Content, is_digest};
use crate::{Repository, image};

/// What an image name stands for at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    pub repository: String,
    /// Of what is tagged: the image, or the index that it is in.
    pub digest: String,
    /// Of the manifest of the one image for the asked platform, in the blob store.
    pub manifest: String,
}

/// Why an image name stands for nothing that can be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("{0} is not an image name")]
    Malformed(String),
    #[error(
        "{0} is not in ECR: Pileus runs images of <account>.dkr.ecr.<region>.amazonaws.com or of the address that \
         DescribeRepositories gives; push it there"
    )]
    Elsewhere(String),
    #[error("{image} is in the registry of account {account}, which this account may not read")]
    OtherAccount { image: String, account: String },
    #[error("{image}: not found")]
    NotFound { image: String },
    #[error("{image} is not there for linux/{architecture}")]
    Platform { image: String, architecture: String },
}

/// An image name, taken apart.
#[derive(Debug, PartialEq)]
struct Reference<'a> {
    host: &'a str,
    repository: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

/// The registry and the repository that an image name is of; `None` where it is not of ECR.
pub fn repository_of(image: &str) -> Option<(Scope, String)> {
    let reference = parse(image)?;
    Some((registry(reference.host)?, reference.repository.to_owned()))
}

/// Finds the image that a name stands for, for an architecture as OCI calls it (`amd64`, `arm64`).
///
/// # Errors
/// The name is malformed, of another registry, or stands for no image.
pub fn resolve(tx: &mut Tx, image: &str, architecture: &str) -> Result<ResolvedImage, ResolveError> {
    let reference = parse(image).ok_or_else(|| ResolveError::Malformed(image.to_owned()))?;
    let scope = registry(reference.host).ok_or_else(|| ResolveError::Elsewhere(image.to_owned()))?;
    if scope.account != tx.scope().account {
        return Err(ResolveError::OtherAccount { image: image.to_owned(), account: scope.account });
    }
    tx.within(scope, |tx| look_up(tx, image, &reference, architecture))
}

fn look_up(
    tx: &Tx,
    name: &str,
    reference: &Reference,
    architecture: &str,
) -> Result<ResolvedImage, ResolveError> {
    let repository = reference.repository;
    let not_found = || ResolveError::NotFound { image: name.to_owned() };
    tx.get::<Repository>(repository).ok_or_else(not_found)?;
    let wanted = reference.digest.or(reference.tag).unwrap_or("latest");
    let found = image::by_reference(tx, repository, wanted).ok_or_else(not_found)?;
    let manifest = match &found.manifest.content {
        Content::Image { .. } => found.digest.clone(),
        Content::Index(images) => {
            let fits = images.iter().find(|image| {
                let platform = image.platform.as_ref();
                platform.is_some_and(|it| it.os == "linux" && it.architecture == architecture)
            });
            let missing =
                || ResolveError::Platform { image: name.to_owned(), architecture: architecture.to_owned() };
            fits.ok_or_else(missing)?.digest.clone()
        }
    };
    Ok(ResolvedImage { repository: repository.to_owned(), digest: found.digest.clone(), manifest })
}

/// The registry that a host name, with or without a port, stands for.
pub(crate) fn registry(host: &str) -> Option<Scope> {
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let (account, rest) = name.split_once(".dkr.ecr.")?;
    let region = rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".localhost"))?;
    let good = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let good = good && !region.is_empty() && !region.contains('.');
    good.then(|| Scope::new(account, region))
}

/// Whether a host name, with or without a port, is a registry's.
pub fn is_registry_host(host: &str) -> bool {
    registry(host).is_some()
}

/// `[host/]repository[:tag][@digest]`; the first part is a host if it has a dot or colon or is `localhost`.
fn parse(text: &str) -> Option<Reference<'_>> {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest).filter(|digest| is_digest(digest)).map(Some)?),
        None => (text, None),
    };
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => ("", name),
    };
    let (repository, tag) = match path.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag).filter(|tag| image::is_tag(tag)).map(Some)?),
        None => (path, None),
    };
    let part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
    repository.split('/').all(part).then_some(Reference { host, repository, tag, digest })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{cloud, digest, index, push, put, repository};

    const AWS: &str = "000000000000.dkr.ecr.us-east-1.amazonaws.com";
    const LOCAL: &str = "000000000000.dkr.ecr.us-east-1.localhost:4566";

    #[test]
    fn names_resolve_under_both_hosts_by_tag_and_digest() {
        let mut cloud = cloud();
        repository(&mut cloud, "team/web");
        let image = push(&mut cloud, "team/web", "one", Some("latest"));
        for host in [AWS, LOCAL] {
            for suffix in ["", ":latest", &format!("@{image}"), &format!(":v1@{image}")] {
                let name = format!("{host}/team/web{suffix}");
                let resolved = cloud.write(|cx| resolve(cx.tx, &name, "amd64")).unwrap();
                assert_eq!(
                    (resolved.repository.as_str(), &resolved.manifest),
                    ("team/web", &image),
                    "{name}"
                );
            }
        }
        let other_region = Scope::new(Scope::DEFAULT_ACCOUNT, "eu-west-1");
        cloud.scope = other_region;
        assert!(cloud.write(|cx| resolve(cx.tx, &format!("{AWS}/team/web"), "amd64")).is_ok());
    }

    #[test]
    fn names_that_stand_for_nothing_say_why() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let mut error = |image: String| cloud.write(|cx| resolve(cx.tx, &image, "amd64")).unwrap_err();
        assert!(matches!(error("nginx:latest".into()), ResolveError::Elsewhere(_)));
        assert!(matches!(error("public.ecr.aws/nginx".into()), ResolveError::Elsewhere(_)));
        assert!(matches!(error(format!("{AWS}/web:v1")), ResolveError::NotFound { .. }));
        assert!(matches!(error(format!("{AWS}/api")), ResolveError::NotFound { .. }));
        assert!(matches!(error(format!("{AWS}/web@sha256:x")), ResolveError::Malformed(_)));
        assert!(matches!(error(format!("{AWS}/")), ResolveError::Malformed(_)));
        let foreign = "111111111111.dkr.ecr.us-east-1.amazonaws.com/web".to_owned();
        assert!(matches!(error(foreign), ResolveError::OtherAccount { .. }));
    }

    #[test]
    fn an_index_resolves_to_the_image_of_the_platform() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let image = push(&mut cloud, "web", "one", None);
        let text = index(&[("amd64", "one")]);
        put(&mut cloud, "web", &text, Some("all"));
        let name = format!("{AWS}/web:all");
        let resolved = cloud.write(|cx| resolve(cx.tx, &name, "amd64")).unwrap();
        assert_eq!((resolved.manifest, resolved.digest), (image, digest(&text)));
        let missing = cloud.write(|cx| resolve(cx.tx, &name, "arm64"));
        assert!(matches!(missing, Err(ResolveError::Platform { .. })));
    }

    proptest! {
        /// No text makes the parser panic, and what it accepts is made of parts of the text.
        #[test]
        fn any_text_can_be_parsed(text in "[a-z0-9./:@-]{0,80}") {
            if let Some(reference) = parse(&text) {
                prop_assert!(text.contains(reference.repository) && text.starts_with(reference.host));
            }
        }
    }
}
