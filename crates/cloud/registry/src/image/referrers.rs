//! Artifacts that refer to an image: signatures, lists of materials, attestations.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers>

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_aws::ecr;
use pileus_core::{ApiError, paginate};
use pileus_service::{Context, Router};
use pileus_state::Tx;
use serde::Deserialize;

use super::{Image, images};
use crate::repository::{bad_token, find, limit};

pub(super) fn operations(router: &mut Router) {
    router.on::<ecr::ops::ListImageReferrers>(list_image_referrers);
}

/// The images of a repository that refer to this one, which need not be there itself.
pub(crate) fn referrers(tx: &Tx, repository: &str, subject: &str) -> Vec<Arc<Image>> {
    let mut images = images(tx, repository);
    images.retain(|image| image.manifest.subject.as_deref() == Some(subject));
    images
}

/// The annotations of an image, from its manifest.
pub(crate) fn annotations(image: &Image) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Annotated {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    serde_json::from_str::<Annotated>(&image.body).map(|it| it.annotations).unwrap_or_default()
}

fn list_image_referrers(
    cx: &mut Context,
    input: ecr::ListImageReferrersRequest,
) -> Result<ecr::ListImageReferrersResponse, ApiError> {
    let repository = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?;
    let filter = input.filter.unwrap_or_default();
    let types = filter.artifact_types.unwrap_or_default();
    let active = filter.artifact_status.is_none_or(|status| status == "ACTIVE" || status == "ANY");
    let mut found = referrers(cx.tx, &repository.name, &input.subject_id.image_digest);
    found.retain(|image| {
        active
            && (types.is_empty()
                || image.manifest.artifact_media_type().is_some_and(|it| types.contains(&it)))
    });
    let key = |image: &Arc<Image>| image.digest.clone();
    let (page, next_token) =
        paginate(found, key, input.next_token.as_deref(), limit(input.max_results), bad_token)?;
    let shape = |image: &Arc<Image>| ecr::ImageReferrer {
        digest: Some(image.digest.clone()),
        media_type: Some(image.manifest.media_type.clone()),
        artifact_type: image.manifest.artifact_media_type(),
        size: Some(i64::try_from(image.body.len()).unwrap_or(i64::MAX)),
        annotations: Some(annotations(image)),
        artifact_status: Some("ACTIVE".into()),
    };
    Ok(ecr::ListImageReferrersResponse { referrers: Some(page.iter().map(shape).collect()), next_token })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, digest, layer, manifest, push, put, repository};

    #[test]
    fn a_signature_is_found_by_what_it_signs_and_goes_with_it() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let image = push(&mut cloud, "web", "one", Some("v1"));
        layer(&mut cloud, "web", "signed");
        let signature = manifest("signed").replace(
            r#""layers""#,
            &format!(
                r#""artifactType":"a/signature","annotations":{{"by":"me"}},
                   "subject":{{"mediaType":"x","digest":"{image}","size":3}},"layers""#
            ),
        );
        put(&mut cloud, "web", &signature, None);
        let list = |types: &[&str]| ecr::ListImageReferrersRequest {
            repository_name: "web".into(),
            subject_id: ecr::SubjectIdentifier { image_digest: image.clone() },
            filter: Some(ecr::ListImageReferrersFilter {
                artifact_types: Some(types.iter().map(|it| (*it).to_owned()).collect()),
                artifact_status: None,
            }),
            ..Default::default()
        };
        let found = cloud.ok::<ecr::ops::ListImageReferrers>(list(&["a/signature"])).referrers.unwrap();
        assert_eq!(found[0].digest.as_ref(), Some(&digest(&signature)));
        assert_eq!(found[0].annotations.as_ref().unwrap()["by"], "me");
        let none = cloud.ok::<ecr::ops::ListImageReferrers>(list(&["b"])).referrers.unwrap();
        assert!(none.is_empty());
        cloud.write(|cx| super::super::remove_with_referrers(cx.tx, "web", &image));
        assert_eq!(cloud.state.all::<Image>().count(), 0);
    }
}
