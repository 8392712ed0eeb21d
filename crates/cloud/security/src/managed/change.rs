//! Customer managed policies come, are tagged, and go.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html>

use std::collections::BTreeMap;

use pileus_aws::iam::{
    CreatePolicyRequest, CreatePolicyResponse, DeletePolicyRequest, ListPolicyTagsRequest,
    ListPolicyTagsResponse, Policy, TagPolicyRequest, UntagPolicyRequest, ops,
};
use pileus_core::{ApiError, Tags};
use pileus_model::Unit;
use pileus_service::{Context, Router};

use super::{ManagedPolicy, Version, existing, key, shape, uses};
use crate::global::globally;
use crate::policy::{Kind, parse};
use crate::text::{
    add_tags, already_exists, characters, conflict, limit_exceeded, page, request_tags, tag_list,
};

const MAX_POLICIES: usize = 1500;
/// White space is not counted.
const MAX_CHARACTERS: usize = 6144;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::CreatePolicy>(|cx, input| globally(cx, |cx| create_policy(cx, input)))
        .on::<ops::DeletePolicy>(|cx, input| globally(cx, |cx| delete_policy(cx, &input)))
        .on::<ops::TagPolicy>(|cx, input| globally(cx, |cx| tag_policy(cx, input)))
        .on::<ops::UntagPolicy>(|cx, input| globally(cx, |cx| untag_policy(cx, &input)))
        .on::<ops::ListPolicyTags>(|cx, input| globally(cx, |cx| list_policy_tags(cx, &input)));
}

fn create_policy(cx: &mut Context, input: CreatePolicyRequest) -> Result<CreatePolicyResponse, ApiError> {
    check_document(&input.policy_document)?;
    if cx.tx.get::<ManagedPolicy>(&key(&input.policy_name)).is_some() {
        let message =
            format!("A policy called {} already exists. Duplicate names are not allowed.", input.policy_name);
        return Err(already_exists(message));
    }
    if cx.tx.list::<ManagedPolicy>().len() >= MAX_POLICIES {
        return Err(limit_exceeded(format!("Cannot exceed quota for PoliciesPerAccount: {MAX_POLICIES}")));
    }
    let version = Version { document: input.policy_document, created: cx.now };
    let policy = ManagedPolicy {
        id: format!("ANPA{}", cx.ids.base32(17)),
        name: input.policy_name,
        path: input.path.unwrap_or_else(|| "/".into()),
        description: input.description.filter(|text| !text.is_empty()),
        created: cx.now,
        updated: cx.now,
        versions: BTreeMap::from([(1, version)]),
        default: 1,
        last: 1,
        tags: request_tags(input.tags)?,
    };
    let tags = Some(tag_list(&policy.tags)).filter(|tags| !tags.is_empty());
    let shape = Policy { tags, ..shape(cx.tx, &policy, &policy.arn(cx.scope())) };
    cx.tx.put(policy);
    Ok(CreatePolicyResponse { policy: Some(shape) })
}

pub(super) fn check_document(document: &str) -> Result<(), ApiError> {
    parse(Kind::Identity, document)?;
    if characters(document) > MAX_CHARACTERS {
        return Err(limit_exceeded(format!("Cannot exceed quota for PolicySize: {MAX_CHARACTERS}")));
    }
    Ok(())
}

/// The policy to be changed: AWS's cannot be.
pub(super) fn own(cx: &Context, arn: &str) -> Result<ManagedPolicy, ApiError> {
    if arn.starts_with("arn:aws:iam::aws:") {
        let message = format!("Policy {arn} is an AWS managed policy and cannot be changed or deleted.");
        return Err(ApiError::new("AccessDenied", 403, message));
    }
    existing(cx.tx, arn).map(|policy| ManagedPolicy::clone(&policy))
}

fn delete_policy(cx: &mut Context, input: &DeletePolicyRequest) -> Result<Unit, ApiError> {
    let policy = own(cx, &input.policy_arn)?;
    if uses(cx.tx, &input.policy_arn) != (0, 0) {
        return Err(conflict("Cannot delete a policy attached to entities."));
    }
    if policy.versions.len() > 1 {
        return Err(conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. \
             The default version is deleted with the policy.",
        ));
    }
    cx.tx.delete::<ManagedPolicy>(&key(&policy.name));
    Ok(Unit {})
}

fn tag_policy(cx: &mut Context, input: TagPolicyRequest) -> Result<Unit, ApiError> {
    let mut policy = own(cx, &input.policy_arn)?;
    add_tags(&mut policy.tags, input.tags)?;
    cx.tx.put(policy);
    Ok(Unit {})
}

fn untag_policy(cx: &mut Context, input: &UntagPolicyRequest) -> Result<Unit, ApiError> {
    let mut policy = own(cx, &input.policy_arn)?;
    policy.tags.retain(|key, _| !input.tag_keys.contains(key));
    cx.tx.put(policy);
    Ok(Unit {})
}

fn list_policy_tags(
    cx: &mut Context,
    input: &ListPolicyTagsRequest,
) -> Result<ListPolicyTagsResponse, ApiError> {
    let tags: &Tags = &existing(cx.tx, &input.policy_arn)?.tags;
    let (tags, marker) =
        page(tag_list(tags), |tag| tag.key.clone(), input.marker.as_deref(), input.max_items)?;
    Ok(ListPolicyTagsResponse { tags: Some(tags), is_truncated: Some(marker.is_some()), marker })
}
