//! Lifecycle policies: images that are too old or too many go by themselves.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html>
//!
//! Where AWS says "within 24 hours", here it is within an hour of a repository's last change, and not in the middle of
//! a push.

mod expire;
mod preview;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use pileus_aws::ecr;
use pileus_core::{ApiError, Timestamp};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::Image;
use crate::image;
use crate::repository::find;
use expire::{Candidate, expire};

pub(crate) use preview::LifecyclePreview;

/// The policy of a repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LifecyclePolicy {
    repository: String,
    text: String,
    put: Timestamp,
    evaluated: Option<Timestamp>,
}

impl Record for LifecyclePolicy {
    const KIND: &'static str = "ecr/lifecycle-policy";

    fn key(&self) -> String {
        self.repository.clone()
    }
}

/// From putting a policy to its first evaluation: a moment to think better of it.
const FIRST: Duration = Duration::from_secs(60);
/// Between two evaluations.
const INTERVAL: Duration = Duration::from_secs(3600);
/// A repository that was pushed to is left alone for so long: the images of an index come before the index.
const QUIET: Duration = Duration::from_secs(300);
/// AWS's promise, which holds for a repository that is never quiet too.
const LATEST: Duration = Duration::from_secs(24 * 3600);

impl LifecyclePolicy {
    fn due(&self, newest: Option<Timestamp>) -> Timestamp {
        let last = self.evaluated.unwrap_or(self.put);
        let regular = self.evaluated.map_or(self.put + FIRST, |at| at + INTERVAL);
        newest.map_or(regular, |newest| regular.max((newest + QUIET).min(last + LATEST)))
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ecr::ops::PutLifecyclePolicy>(put_lifecycle_policy)
        .on::<ecr::ops::GetLifecyclePolicy>(get_lifecycle_policy)
        .on::<ecr::ops::DeleteLifecyclePolicy>(delete_lifecycle_policy);
    preview::operations(router);
}

/// Forgets the policy of a repository.
pub(crate) fn forget_repository(tx: &mut Tx, repository: &str) {
    tx.delete::<LifecyclePolicy>(repository);
    tx.delete::<LifecyclePreview>(repository);
}

/// Expires the images of all repositories of all accounts whose policies are due. Returns when the next one is.
pub fn apply(tx: &mut Tx, now: Timestamp) -> Option<Timestamp> {
    let policies: Vec<_> =
        tx.base().all::<LifecyclePolicy>().map(|(scope, it)| (scope.clone(), it)).collect();
    let next = policies.into_iter().map(|(scope, policy)| tx.within(scope, |tx| apply_one(tx, &policy, now)));
    next.min()
}

fn apply_one(tx: &mut Tx, policy: &LifecyclePolicy, now: Timestamp) -> Timestamp {
    let images = image::images(tx, &policy.repository);
    let newest = images.iter().map(|image| image.pushed).max();
    let due = policy.due(newest);
    if due > now {
        return due;
    }
    // What was accepted is valid; what an older version accepted and this one does not, does nothing.
    let rules = rules::parse(&policy.text).unwrap_or_default();
    for expired in expire(&rules, &candidates(tx, images), now) {
        image::remove_with_referrers(tx, &policy.repository, &expired.digest);
    }
    let evaluated = LifecyclePolicy { evaluated: Some(now), ..policy.clone() };
    let next = evaluated.due(newest);
    tx.put(evaluated);
    next
}

/// The images of a repository as rules see them. What refers to an image goes with it, and is nobody's concern.
fn candidates(tx: &Tx, images: Vec<Arc<Image>>) -> Vec<Candidate> {
    let held: std::collections::BTreeSet<&str> = images
        .iter()
        .flat_map(|index| index.manifest.manifests())
        .map(|image| image.digest.as_str())
        .collect();
    let known: std::collections::BTreeSet<&str> = images.iter().map(|image| image.digest.as_str()).collect();
    let refers =
        |image: &Image| image.manifest.subject.as_deref().is_some_and(|subject| known.contains(subject));
    let candidate = |image: &Arc<Image>| Candidate {
        digest: image.digest.clone(),
        tags: image::tags_of(tx, image),
        pushed: image.pushed,
        held: held.contains(image.digest.as_str()),
    };
    images.iter().filter(|image| !refers(image)).map(candidate).collect()
}

fn policy(cx: &Context, repository: &str) -> Result<Arc<LifecyclePolicy>, ApiError> {
    cx.tx.get::<LifecyclePolicy>(repository).ok_or_else(|| {
        let message = format!(
            "Lifecycle policy does not exist for the repository with name '{repository}' in the registry with id '{}'",
            cx.scope().account
        );
        ApiError::client("LifecyclePolicyNotFoundException", message)
    })
}

fn put_lifecycle_policy(
    cx: &mut Context,
    input: ecr::PutLifecyclePolicyRequest,
) -> Result<ecr::PutLifecyclePolicyResponse, ApiError> {
    let name = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?.name.clone();
    let text = input.lifecycle_policy_text;
    rules::parse(&text)?;
    let known = cx.tx.get::<LifecyclePolicy>(&name);
    if known.is_none_or(|known| known.text != text) {
        cx.tx.put(LifecyclePolicy {
            repository: name.clone(),
            text: text.clone(),
            put: cx.now,
            evaluated: None,
        });
    }
    Ok(ecr::PutLifecyclePolicyResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(name),
        lifecycle_policy_text: Some(text),
    })
}

fn get_lifecycle_policy(
    cx: &mut Context,
    input: ecr::GetLifecyclePolicyRequest,
) -> Result<ecr::GetLifecyclePolicyResponse, ApiError> {
    let name = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?.name.clone();
    let policy = policy(cx, &name)?;
    Ok(ecr::GetLifecyclePolicyResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(name),
        lifecycle_policy_text: Some(policy.text.clone()),
        last_evaluated_at: policy.evaluated,
    })
}

fn delete_lifecycle_policy(
    cx: &mut Context,
    input: ecr::DeleteLifecyclePolicyRequest,
) -> Result<ecr::DeleteLifecyclePolicyResponse, ApiError> {
    let name = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?.name.clone();
    let policy = policy(cx, &name)?;
    cx.tx.delete::<LifecyclePolicy>(&name);
    Ok(ecr::DeleteLifecyclePolicyResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(name),
        lifecycle_policy_text: Some(policy.text.clone()),
        last_evaluated_at: policy.evaluated,
    })
}

#[cfg(test)]
mod tests {
    use pileus_kit::Cloud;

    use super::*;
    use crate::testing::{cloud, index, push, put, repository};

    pub(super) const KEEP_ONE: &str = r#"{"rules":[{"rulePriority":1,"description":"keep one",
        "selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}"#;

    fn put_policy(text: &str) -> ecr::PutLifecyclePolicyRequest {
        ecr::PutLifecyclePolicyRequest {
            registry_id: None,
            repository_name: "web".into(),
            lifecycle_policy_text: text.into(),
        }
    }

    fn get() -> ecr::GetLifecyclePolicyRequest {
        ecr::GetLifecyclePolicyRequest { registry_id: None, repository_name: "web".into() }
    }

    fn apply_now(cloud: &mut Cloud) -> Option<Timestamp> {
        cloud.write(|cx| apply(cx.tx, cx.now))
    }

    #[test]
    fn a_policy_is_put_got_and_deleted() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        assert_eq!(cloud.code::<ecr::ops::GetLifecyclePolicy>(get()), "LifecyclePolicyNotFoundException");
        cloud.ok::<ecr::ops::PutLifecyclePolicy>(put_policy(KEEP_ONE));
        let got = cloud.ok::<ecr::ops::GetLifecyclePolicy>(get());
        assert_eq!((got.lifecycle_policy_text.as_deref(), got.last_evaluated_at), (Some(KEEP_ONE), None));
        let bad = put_policy(&KEEP_ONE.replace("any", "tagged"));
        assert_eq!(cloud.code::<ecr::ops::PutLifecyclePolicy>(bad), "InvalidParameterException");
        let delete = ecr::DeleteLifecyclePolicyRequest { registry_id: None, repository_name: "web".into() };
        cloud.ok::<ecr::ops::DeleteLifecyclePolicy>(delete.clone());
        let code = cloud.code::<ecr::ops::DeleteLifecyclePolicy>(delete);
        assert_eq!(code, "LifecyclePolicyNotFoundException");
    }

    #[test]
    fn a_quiet_repository_is_cleaned_up() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        cloud.ok::<ecr::ops::PutLifecyclePolicy>(put_policy(KEEP_ONE));
        push(&mut cloud, "web", "one", Some("v1"));
        cloud.advance(Duration::from_secs(1));
        let two = push(&mut cloud, "web", "two", Some("v2"));
        cloud.advance(FIRST);
        let due = apply_now(&mut cloud);
        assert_eq!((due, cloud.state.all::<Image>().count()), (Some(cloud.now + (QUIET - FIRST)), 2));
        cloud.advance(QUIET);
        assert_eq!(apply_now(&mut cloud), Some(cloud.now + INTERVAL));
        let left: Vec<_> = cloud.state.all::<Image>().map(|(_, image)| image.digest.clone()).collect();
        assert_eq!(left, [two]);
        assert_eq!(cloud.state.all::<crate::ImageTag>().count(), 1);
        let got = cloud.ok::<ecr::ops::GetLifecyclePolicy>(get());
        assert_eq!(got.last_evaluated_at, Some(cloud.now));
    }

    #[test]
    fn a_busy_repository_is_cleaned_up_within_a_day() {
        let policy = |evaluated| LifecyclePolicy {
            repository: String::new(),
            text: String::new(),
            put: Timestamp::from_secs(0),
            evaluated,
        };
        let at = |seconds| Timestamp::from_secs(seconds);
        assert_eq!(policy(None).due(None), at(60));
        assert_eq!(policy(None).due(Some(at(1000))), at(1300));
        assert_eq!(policy(None).due(Some(at(86_300))), at(86_400));
        assert_eq!(policy(Some(at(100))).due(Some(at(50))), at(3700));
    }

    #[test]
    fn an_index_goes_before_its_images() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        push(&mut cloud, "web", "one", None);
        put(&mut cloud, "web", &index(&[("amd64", "one")]), Some("all"));
        cloud.advance(Duration::from_secs(9));
        push(&mut cloud, "web", "two", Some("v2"));
        cloud.ok::<ecr::ops::PutLifecyclePolicy>(put_policy(KEEP_ONE));
        for left in [2, 1] {
            cloud.advance(INTERVAL);
            apply_now(&mut cloud);
            assert_eq!(cloud.state.all::<Image>().count(), left);
        }
    }
}
