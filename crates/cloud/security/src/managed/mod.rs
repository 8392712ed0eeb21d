//! Managed policies: those of the account, with their versions, and those of AWS.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-vs-inline.html>

mod aws;
mod change;
mod list;
mod version;

pub(crate) use self::list::candidates as policies;
pub(crate) use self::version::shape as version_shape;

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_aws::iam::{self, GetPolicyRequest, GetPolicyResponse, ops};
use pileus_core::{ApiError, Arn, Scope, Tags, Timestamp};
use pileus_service::{Context, Router};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use crate::global::globally;
use crate::group::Group;
use crate::policy::{Kind, Malformed, Policy, parse};
use crate::role::Role;
use crate::text::{no_such_entity, tag_list};
use crate::user::User;

/// A customer managed policy in the global scope of its account, or one of AWS's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ManagedPolicy {
    pub(crate) name: String,
    /// `/`, or `/…/`.
    pub(crate) path: String,
    /// `ANPA…`
    pub(crate) id: String,
    pub(crate) description: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// By their numbers: `v1` is 1. Numbers are not used again.
    pub(crate) versions: BTreeMap<u32, Version>,
    pub(crate) default: u32,
    pub(crate) last: u32,
    pub(crate) tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// As it was given.
    pub(crate) document: String,
    pub(crate) created: Timestamp,
}

impl Record for ManagedPolicy {
    const KIND: &'static str = "iam/policy";

    /// Names that differ in case only are the same to IAM.
    fn key(&self) -> String {
        key(&self.name)
    }
}

pub(crate) fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

impl ManagedPolicy {
    pub(crate) fn arn(&self, scope: &Scope) -> String {
        scope.global().arn("iam", format_args!("policy{}{}", self.path, self.name))
    }

    /// The document in force.
    pub(crate) fn document(&self) -> &str {
        self.versions.get(&self.default).map_or("", |version| &version.document)
    }
}

pub(crate) fn operations(router: &mut Router) {
    router.on::<ops::GetPolicy>(|cx, input| globally(cx, |cx| get_policy(cx, &input)));
    change::operations(router);
    version::operations(router);
    list::operations(router);
}

/// The policy that `arn` names, AWS's or the account's own, as the state has it.
pub(crate) fn policy(state: &State, scope: &Scope, arn: &str) -> Option<Result<Policy, Malformed>> {
    if let Some(policy) = aws::parsed(arn) {
        return Some(Ok(policy.clone()));
    }
    let found = state.get::<ManagedPolicy>(scope, &key(Arn::parse(arn)?.name()))?;
    (found.arn(scope) == arn).then(|| parse(Kind::Identity, found.document()))
}

/// The policy that `arn` names, in the (global) scope of the transaction.
pub(crate) fn find(tx: &Tx, arn: &str) -> Option<Arc<ManagedPolicy>> {
    if let Some(policy) = aws::find(arn) {
        return Some(policy.clone());
    }
    let found = tx.get::<ManagedPolicy>(&key(Arn::parse(arn)?.name()))?;
    (found.arn(tx.scope()) == arn).then_some(found)
}

/// The same for operations that are about it.
pub(crate) fn existing(tx: &Tx, arn: &str) -> Result<Arc<ManagedPolicy>, ApiError> {
    find(tx, arn).ok_or_else(|| no_such_entity(format!("Policy {arn} was not found.")))
}

/// The same for those who attach it.
pub(crate) fn attachable(tx: &Tx, arn: &str) -> Result<Arc<ManagedPolicy>, ApiError> {
    let missing = || no_such_entity(format!("Policy {arn} does not exist or is not attachable."));
    find(tx, arn).ok_or_else(missing)
}

fn get_policy(cx: &mut Context, input: &GetPolicyRequest) -> Result<GetPolicyResponse, ApiError> {
    let policy = existing(cx.tx, &input.policy_arn)?;
    let tags = Some(tag_list(&policy.tags));
    Ok(GetPolicyResponse { policy: Some(iam::Policy { tags, ..shape(cx.tx, &policy, &input.policy_arn) }) })
}

/// How many have the policy attached, and as their boundary.
pub(crate) fn uses(tx: &Tx, arn: &str) -> (usize, usize) {
    let (roles, users, groups) = (tx.list::<Role>(), tx.list::<User>(), tx.list::<Group>());
    let grants = roles.iter().map(|role| &role.grants).chain(users.iter().map(|user| &user.grants));
    let grants = grants.chain(groups.iter().map(|group| &group.grants));
    let boundaries = roles.iter().map(|role| &role.boundary).chain(users.iter().map(|user| &user.boundary));
    (
        grants.filter(|grants| grants.attached.contains(arn)).count(),
        boundaries.filter(|boundary| boundary.as_deref() == Some(arn)).count(),
    )
}

/// A policy without its tags, which listings leave out.
pub(crate) fn shape(tx: &Tx, policy: &ManagedPolicy, arn: &str) -> iam::Policy {
    let (attached, bounding) = uses(tx, arn);
    iam::Policy {
        policy_name: Some(policy.name.clone()),
        policy_id: Some(policy.id.clone()),
        arn: Some(arn.to_owned()),
        path: Some(policy.path.clone()),
        default_version_id: Some(format!("v{}", policy.default)),
        attachment_count: i64::try_from(attached).ok(),
        permissions_boundary_usage_count: i64::try_from(bounding).ok(),
        is_attachable: Some(true),
        description: policy.description.clone(),
        create_date: Some(policy.created),
        update_date: Some(policy.updated),
        tags: None,
    }
}
