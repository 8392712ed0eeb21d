//! Versions of managed policies.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html>

use pileus_aws::iam::{
    CreatePolicyVersionRequest, CreatePolicyVersionResponse, DeletePolicyVersionRequest,
    GetPolicyVersionRequest, GetPolicyVersionResponse, ListPolicyVersionsRequest, ListPolicyVersionsResponse,
    PolicyVersion, SetDefaultPolicyVersionRequest, ops,
};
use pileus_core::ApiError;
use pileus_model::Unit;
use pileus_service::{Context, Router};

use super::change::{check_document, own};
use super::{ManagedPolicy, Version, existing};
use crate::global::globally;
use crate::text::{conflict, limit_exceeded, no_such_entity, page, url_encoded};

const MAX_VERSIONS: usize = 5;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::CreatePolicyVersion>(|cx, input| globally(cx, |cx| create_version(cx, input)))
        .on::<ops::GetPolicyVersion>(|cx, input| globally(cx, |cx| get_version(cx, &input)))
        .on::<ops::DeletePolicyVersion>(|cx, input| globally(cx, |cx| delete_version(cx, &input)))
        .on::<ops::ListPolicyVersions>(|cx, input| globally(cx, |cx| list_versions(cx, &input)))
        .on::<ops::SetDefaultPolicyVersion>(|cx, input| globally(cx, |cx| set_default_version(cx, &input)));
}

fn create_version(
    cx: &mut Context,
    input: CreatePolicyVersionRequest,
) -> Result<CreatePolicyVersionResponse, ApiError> {
    let mut policy = own(cx, &input.policy_arn)?;
    check_document(&input.policy_document)?;
    if policy.versions.len() >= MAX_VERSIONS {
        return Err(limit_exceeded(format!(
            "A managed policy can have up to {MAX_VERSIONS} versions. Before you create a new version, you must delete \
             an existing version."
        )));
    }
    policy.last += 1;
    policy.versions.insert(policy.last, Version { document: input.policy_document, created: cx.now });
    if input.set_as_default == Some(true) {
        policy.default = policy.last;
    }
    policy.updated = cx.now;
    let shape = shape(&policy, policy.last);
    cx.tx.put(policy);
    Ok(CreatePolicyVersionResponse { policy_version: Some(shape) })
}

/// The number of the version that `id` names.
fn number(policy: &ManagedPolicy, arn: &str, id: &str) -> Result<u32, ApiError> {
    let number = id.strip_prefix('v').and_then(|number| number.parse().ok());
    number.filter(|number| policy.versions.contains_key(number)).ok_or_else(|| {
        no_such_entity(format!("Policy {arn} version {id} does not exist or is not attachable."))
    })
}

fn get_version(
    cx: &mut Context,
    input: &GetPolicyVersionRequest,
) -> Result<GetPolicyVersionResponse, ApiError> {
    let policy = existing(cx.tx, &input.policy_arn)?;
    let number = number(&policy, &input.policy_arn, &input.version_id)?;
    let document = policy.versions.get(&number).map(|version| url_encoded(&version.document));
    let version = PolicyVersion { document, ..shape(&policy, number) };
    Ok(GetPolicyVersionResponse { policy_version: Some(version) })
}

fn delete_version(cx: &mut Context, input: &DeletePolicyVersionRequest) -> Result<Unit, ApiError> {
    let mut policy = own(cx, &input.policy_arn)?;
    let number = number(&policy, &input.policy_arn, &input.version_id)?;
    if number == policy.default {
        return Err(conflict("Cannot delete the default version of a policy."));
    }
    policy.versions.remove(&number);
    cx.tx.put(policy);
    Ok(Unit {})
}

fn list_versions(
    cx: &mut Context,
    input: &ListPolicyVersionsRequest,
) -> Result<ListPolicyVersionsResponse, ApiError> {
    let policy = existing(cx.tx, &input.policy_arn)?;
    // The newest comes first.
    let numbers: Vec<u32> = policy.versions.keys().rev().copied().collect();
    let order = |number: &u32| format!("{:010}", u32::MAX - number);
    let (numbers, marker) = page(numbers, order, input.marker.as_deref(), input.max_items)?;
    let versions = numbers.into_iter().map(|number| shape(&policy, number)).collect();
    Ok(ListPolicyVersionsResponse { versions: Some(versions), is_truncated: Some(marker.is_some()), marker })
}

fn set_default_version(cx: &mut Context, input: &SetDefaultPolicyVersionRequest) -> Result<Unit, ApiError> {
    let mut policy = own(cx, &input.policy_arn)?;
    policy.default = number(&policy, &input.policy_arn, &input.version_id)?;
    policy.updated = cx.now;
    cx.tx.put(policy);
    Ok(Unit {})
}

/// A version without its document, which listings leave out.
pub(crate) fn shape(policy: &ManagedPolicy, number: u32) -> PolicyVersion {
    PolicyVersion {
        document: None,
        version_id: Some(format!("v{number}")),
        is_default_version: Some(number == policy.default),
        create_date: policy.versions.get(&number).map(|version| version.created),
    }
}
