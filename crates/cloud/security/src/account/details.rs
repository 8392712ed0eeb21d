//! Everything that IAM has of an account, in one listing.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html>

use std::sync::Arc;

use pileus_aws::iam::{
    AttachedPolicy, GetAccountAuthorizationDetailsRequest, GetAccountAuthorizationDetailsResponse,
    GroupDetail, ManagedPolicyDetail, PolicyDetail, PolicyVersion, RoleDetail, UserDetail, ops,
};
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::{Record as _, Tx};

use crate::global::globally;
use crate::grants::{Grants, attached};
use crate::group::Group;
use crate::managed::{self, ManagedPolicy, policies, version_shape};
use crate::profile::InstanceProfile;
use crate::role::{self, Role};
use crate::text::{page, url_encoded};
use crate::user::User;

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::GetAccountAuthorizationDetails>(|cx, input| globally(cx, |cx| details(cx, &input)));
}

/// One entry, in the order of the listing.
enum Entry {
    User(Arc<User>),
    Group(Arc<Group>),
    Role(Arc<Role>),
    Policy(String, Arc<ManagedPolicy>),
}

impl Entry {
    fn all(tx: &Tx) -> Vec<Self> {
        let mut entries: Vec<Self> = tx.list::<User>().into_iter().map(Self::User).collect();
        entries.extend(tx.list::<Group>().into_iter().map(Self::Group));
        entries.extend(tx.list::<Role>().into_iter().map(Self::Role));
        entries.extend(policies(tx, "Local").into_iter().map(|(arn, policy)| Self::Policy(arn, policy)));
        // Of AWS's policies only those in use, as in AWS.
        let used = policies(tx, "AWS").into_iter().filter(|(arn, _)| managed::uses(tx, arn) != (0, 0));
        entries.extend(used.map(|(arn, policy)| Self::Policy(arn, policy)));
        entries.sort_by_key(Self::order);
        entries
    }

    fn order(&self) -> String {
        match self {
            Self::User(user) => format!("1{}", user.key()),
            Self::Group(group) => format!("2{}", group.key()),
            Self::Role(role) => format!("3{}", role.key()),
            Self::Policy(arn, _) => format!("4{arn}"),
        }
    }

    /// The name of its kind in the request's filter.
    fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "User",
            Self::Group(_) => "Group",
            Self::Role(_) => "Role",
            Self::Policy(arn, _) if arn.starts_with("arn:aws:iam::aws:") => "AWSManagedPolicy",
            Self::Policy(..) => "LocalManagedPolicy",
        }
    }
}

fn details(
    cx: &mut Context,
    input: &GetAccountAuthorizationDetailsRequest,
) -> Result<GetAccountAuthorizationDetailsResponse, ApiError> {
    let mut entries = Entry::all(cx.tx);
    if let Some(kinds) = input.filter.as_ref().filter(|kinds| !kinds.is_empty()) {
        entries.retain(|entry| kinds.iter().any(|kind| kind == entry.kind()));
    }
    let (entries, marker) = page(entries, Entry::order, input.marker.as_deref(), input.max_items)?;
    let (mut users, mut groups, mut roles, mut policies) = (vec![], vec![], vec![], vec![]);
    for entry in entries {
        match entry {
            Entry::User(user) => users.push(user_detail(cx.tx, &user)),
            Entry::Group(group) => groups.push(group_detail(cx.tx, &group)),
            Entry::Role(role) => roles.push(role_detail(cx.tx, &role)),
            Entry::Policy(arn, policy) => policies.push(policy_detail(cx.tx, &arn, &policy)),
        }
    }
    Ok(GetAccountAuthorizationDetailsResponse {
        user_detail_list: Some(users),
        group_detail_list: Some(groups),
        role_detail_list: Some(roles),
        policies: Some(policies),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}

fn parts(grants: &Grants) -> (Option<Vec<PolicyDetail>>, Option<Vec<AttachedPolicy>>) {
    let inline = grants.inline.iter().map(|(name, document)| PolicyDetail {
        policy_name: Some(name.clone()),
        policy_document: Some(url_encoded(document)),
    });
    (Some(inline.collect()), Some(grants.attached.iter().cloned().map(attached).collect()))
}

fn user_detail(tx: &Tx, user: &User) -> UserDetail {
    let shape = user.shape(tx.scope());
    let (user_policy_list, attached_managed_policies) = parts(&user.grants);
    let groups = user.groups.iter().filter_map(|key| tx.get::<Group>(key)).map(|group| group.name.clone());
    UserDetail {
        path: shape.path,
        user_name: shape.user_name,
        user_id: shape.user_id,
        arn: shape.arn,
        create_date: shape.create_date,
        user_policy_list,
        group_list: Some(groups.collect()),
        attached_managed_policies,
        permissions_boundary: shape.permissions_boundary,
        tags: shape.tags,
    }
}

fn group_detail(tx: &Tx, group: &Group) -> GroupDetail {
    let shape = group.shape(tx.scope());
    let (group_policy_list, attached_managed_policies) = parts(&group.grants);
    GroupDetail {
        path: shape.path,
        group_name: shape.group_name,
        group_id: shape.group_id,
        arn: shape.arn,
        create_date: shape.create_date,
        group_policy_list,
        attached_managed_policies,
    }
}

fn role_detail(tx: &Tx, role: &Role) -> RoleDetail {
    let shape = role::shape(tx.scope(), role);
    let (role_policy_list, attached_managed_policies) = parts(&role.grants);
    let profiles = tx.list::<InstanceProfile>().into_iter();
    let profiles = profiles.filter(|profile| profile.role == Some(role.key()));
    RoleDetail {
        path: shape.path,
        role_name: shape.role_name,
        role_id: shape.role_id,
        arn: shape.arn,
        create_date: shape.create_date,
        assume_role_policy_document: shape.assume_role_policy_document,
        instance_profile_list: Some(profiles.map(|profile| profile.shape(tx)).collect()),
        role_policy_list,
        attached_managed_policies,
        permissions_boundary: shape.permissions_boundary,
        tags: shape.tags,
        role_last_used: shape.role_last_used,
    }
}

fn policy_detail(tx: &Tx, arn: &str, policy: &ManagedPolicy) -> ManagedPolicyDetail {
    let shape = managed::shape(tx, policy, arn);
    let versions = policy.versions.iter().rev().map(|(number, version)| PolicyVersion {
        document: Some(url_encoded(&version.document)),
        ..version_shape(policy, *number)
    });
    ManagedPolicyDetail {
        policy_name: shape.policy_name,
        policy_id: shape.policy_id,
        arn: shape.arn,
        path: shape.path,
        default_version_id: shape.default_version_id,
        attachment_count: shape.attachment_count,
        permissions_boundary_usage_count: shape.permissions_boundary_usage_count,
        is_attachable: shape.is_attachable,
        description: shape.description,
        create_date: shape.create_date,
        update_date: shape.update_date,
        policy_version_list: Some(versions.collect()),
    }
}
