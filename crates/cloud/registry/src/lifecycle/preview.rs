//! What a lifecycle policy would expire.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lpp_creation.html>

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_aws::ecr;
use pileus_core::{ApiError, Timestamp, paginate};
use pileus_service::{Context, Router};
use pileus_state::Record;
use serde::{Deserialize, Serialize};

use super::expire::expire;
use super::{candidates, policy, rules};
use crate::image;
use crate::repository::{bad_token, find, limit};

/// The latest preview of a repository: the policy that it is of. What it shows is worked out when it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LifecyclePreview {
    repository: String,
    text: String,
    started: Timestamp,
}

impl Record for LifecyclePreview {
    const KIND: &'static str = "ecr/lifecycle-preview";

    fn key(&self) -> String {
        self.repository.clone()
    }
}

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ecr::ops::StartLifecyclePolicyPreview>(start_lifecycle_policy_preview)
        .on::<ecr::ops::GetLifecyclePolicyPreview>(get_lifecycle_policy_preview);
}

fn start_lifecycle_policy_preview(
    cx: &mut Context,
    input: ecr::StartLifecyclePolicyPreviewRequest,
) -> Result<ecr::StartLifecyclePolicyPreviewResponse, ApiError> {
    let name = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?.name.clone();
    let text = match input.lifecycle_policy_text {
        Some(text) => text,
        None => policy(cx, &name)?.text.clone(),
    };
    rules::parse(&text)?;
    cx.tx.put(LifecyclePreview { repository: name.clone(), text: text.clone(), started: cx.now });
    Ok(ecr::StartLifecyclePolicyPreviewResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(name),
        lifecycle_policy_text: Some(text),
        status: Some("COMPLETE".into()),
    })
}

fn get_lifecycle_policy_preview(
    cx: &mut Context,
    input: ecr::GetLifecyclePolicyPreviewRequest,
) -> Result<ecr::GetLifecyclePolicyPreviewResponse, ApiError> {
    let name = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?.name.clone();
    let preview = preview(cx, &name)?;
    let expired = results(cx, &preview)?;
    let total = expired.len();
    let ids = input.image_ids.unwrap_or_default();
    let wanted = |result: &ecr::LifecyclePolicyPreviewResult| {
        let tags = result.image_tags.as_deref().unwrap_or_default();
        let named = |id: &ecr::ImageIdentifier| {
            id.image_digest.as_ref().is_none_or(|digest| Some(digest) == result.image_digest.as_ref())
                && id.image_tag.as_ref().is_none_or(|tag| tags.contains(tag))
        };
        let status = input.filter.as_ref().and_then(|filter| filter.tag_status.as_deref());
        (ids.is_empty() || ids.iter().any(named)) && image::has_status(status, !tags.is_empty())
    };
    let results = expired.into_iter().filter(wanted).collect();
    let key = |result: &ecr::LifecyclePolicyPreviewResult| result.image_digest.clone().unwrap_or_default();
    let (results, next_token) =
        paginate(results, key, input.next_token.as_deref(), limit(input.max_results), bad_token)?;
    Ok(ecr::GetLifecyclePolicyPreviewResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(name),
        lifecycle_policy_text: Some(preview.text.clone()),
        status: Some("COMPLETE".into()),
        next_token,
        preview_results: Some(results),
        summary: Some(ecr::LifecyclePolicyPreviewSummary {
            expiring_image_total_count: Some(i64::try_from(total).unwrap_or(i64::MAX)),
            transitioning_image_total_counts: None,
        }),
    })
}

fn preview(cx: &Context, repository: &str) -> Result<Arc<LifecyclePreview>, ApiError> {
    cx.tx.get::<LifecyclePreview>(repository).ok_or_else(|| {
        let message = format!(
            "Lifecycle policy preview does not exist for the repository with name '{repository}' in the registry with \
             id '{}'",
            cx.scope().account
        );
        ApiError::client("LifecyclePolicyPreviewNotFoundException", message)
    })
}

/// What the policy expires, in order of digest.
fn results(
    cx: &Context,
    preview: &LifecyclePreview,
) -> Result<Vec<ecr::LifecyclePolicyPreviewResult>, ApiError> {
    let candidates = candidates(cx.tx, image::images(cx.tx, &preview.repository));
    let expired = expire(&rules::parse(&preview.text)?, &candidates, preview.started);
    let priorities: BTreeMap<String, u32> = expired.into_iter().map(|it| (it.digest, it.priority)).collect();
    let result = |image: super::Candidate| {
        let priority = priorities.get(&image.digest)?;
        Some(ecr::LifecyclePolicyPreviewResult {
            image_tags: Some(image.tags),
            image_digest: Some(image.digest),
            image_pushed_at: Some(image.pushed),
            action: Some(ecr::LifecyclePolicyRuleAction {
                r#type: Some("EXPIRE".into()),
                target_storage_class: None,
            }),
            applied_rule_priority: Some(i64::from(*priority)),
            storage_class: None,
        })
    };
    let mut results: Vec<_> = candidates.into_iter().filter_map(result).collect();
    results.sort_by(|one, other| one.image_digest.cmp(&other.image_digest));
    Ok(results)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::KEEP_ONE;
    use super::*;
    use crate::testing::{cloud, push, repository};

    #[test]
    fn a_preview_shows_what_would_go_and_nothing_goes() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let one = push(&mut cloud, "web", "one", Some("v1"));
        cloud.advance(Duration::from_secs(1));
        push(&mut cloud, "web", "two", Some("v2"));
        let get =
            || ecr::GetLifecyclePolicyPreviewRequest { repository_name: "web".into(), ..Default::default() };
        let code = cloud.code::<ecr::ops::GetLifecyclePolicyPreview>(get());
        assert_eq!(code, "LifecyclePolicyPreviewNotFoundException");
        let start = |text: Option<&str>| ecr::StartLifecyclePolicyPreviewRequest {
            registry_id: None,
            repository_name: "web".into(),
            lifecycle_policy_text: text.map(Into::into),
        };
        let code = cloud.code::<ecr::ops::StartLifecyclePolicyPreview>(start(None));
        assert_eq!(code, "LifecyclePolicyNotFoundException");
        cloud.ok::<ecr::ops::StartLifecyclePolicyPreview>(start(Some(KEEP_ONE)));
        let got = cloud.ok::<ecr::ops::GetLifecyclePolicyPreview>(get());
        let [result] = <[_; 1]>::try_from(got.preview_results.unwrap()).unwrap();
        assert_eq!((result.image_digest, result.applied_rule_priority), (Some(one), Some(1)));
        assert_eq!(got.summary.unwrap().expiring_image_total_count, Some(1));
        let filter = ecr::LifecyclePolicyPreviewFilter { tag_status: Some("UNTAGGED".into()) };
        let none = ecr::GetLifecyclePolicyPreviewRequest { filter: Some(filter), ..get() };
        assert_eq!(cloud.ok::<ecr::ops::GetLifecyclePolicyPreview>(none).preview_results, Some(Vec::new()));
        assert_eq!(cloud.state.all::<crate::Image>().count(), 2);
    }
}
