//! Which managed policies there are, and who has them.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListPolicies.html>

use std::sync::Arc;

use pileus_aws::iam::{
    ListEntitiesForPolicyRequest, ListEntitiesForPolicyResponse, ListPoliciesRequest, ListPoliciesResponse,
    PolicyGroup, PolicyRole, PolicyUser, ops,
};
use pileus_core::ApiError;
use pileus_service::{Context, Router};
use pileus_state::Tx;

use super::{ManagedPolicy, aws, existing, shape, uses};
use crate::global::globally;
use crate::grants::Grants;
use crate::group::Group;
use crate::role::Role;
use crate::text::page;
use crate::user::User;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::ListPolicies>(|cx, input| globally(cx, |cx| list_policies(cx, &input)))
        .on::<ops::ListEntitiesForPolicy>(|cx, input| globally(cx, |cx| list_entities(cx, &input)));
}

fn list_policies(cx: &mut Context, input: &ListPoliciesRequest) -> Result<ListPoliciesResponse, ApiError> {
    let prefix = input.path_prefix.as_deref().unwrap_or("/");
    let mut policies = candidates(cx.tx, input.scope.as_deref().unwrap_or("All"));
    policies.retain(|(_, policy)| policy.path.starts_with(prefix));
    let wanted = input.policy_usage_filter.as_deref();
    if input.only_attached == Some(true) || wanted.is_some() {
        policies.retain(|(arn, _)| match (uses(cx.tx, arn), wanted) {
            ((attached, _), Some("PermissionsPolicy")) => attached > 0,
            ((_, bounding), Some("PermissionsBoundary")) => bounding > 0,
            ((attached, bounding), _) => attached + bounding > 0,
        });
    }
    let (policies, marker) =
        page(policies, |(arn, _)| arn.clone(), input.marker.as_deref(), input.max_items)?;
    let shapes = policies.iter().map(|(arn, policy)| shape(cx.tx, policy, arn)).collect();
    Ok(ListPoliciesResponse { policies: Some(shapes), is_truncated: Some(marker.is_some()), marker })
}

/// `All`, `AWS` or `Local`, by ARN.
pub(crate) fn candidates(tx: &Tx, scope: &str) -> Vec<(String, Arc<ManagedPolicy>)> {
    let mut policies = Vec::new();
    if scope != "Local" {
        policies.extend(aws::all().map(|(arn, policy)| (arn.to_owned(), policy.clone())));
    }
    if scope != "AWS" {
        policies
            .extend(tx.list::<ManagedPolicy>().into_iter().map(|policy| (policy.arn(tx.scope()), policy)));
    }
    policies.sort_by(|left, right| left.0.cmp(&right.0));
    policies
}

/// One of those who have a policy, in the order of the listing.
enum Entity {
    Group(Arc<Group>),
    Role(Arc<Role>),
    User(Arc<User>),
}

impl Entity {
    fn all(tx: &Tx) -> Vec<Self> {
        let groups = tx.list::<Group>().into_iter().map(Self::Group);
        let roles = tx.list::<Role>().into_iter().map(Self::Role);
        groups.chain(roles).chain(tx.list::<User>().into_iter().map(Self::User)).collect()
    }

    fn order(&self) -> String {
        match self {
            Self::Group(group) => format!("1{}", group.name),
            Self::Role(role) => format!("2{}", role.name),
            Self::User(user) => format!("3{}", user.name),
        }
    }

    fn parts(&self) -> (&'static str, &str, &Grants, Option<&str>) {
        match self {
            Self::Group(group) => ("Group", &group.path, &group.grants, None),
            Self::Role(role) => ("Role", &role.path, &role.grants, role.boundary.as_deref()),
            Self::User(user) => ("User", &user.path, &user.grants, user.boundary.as_deref()),
        }
    }

    fn is_meant(&self, input: &ListEntitiesForPolicyRequest) -> bool {
        let (kind, path, grants, boundary) = self.parts();
        let attached = grants.attached.contains(&input.policy_arn);
        let bounded = boundary == Some(input.policy_arn.as_str());
        let used = match input.policy_usage_filter.as_deref() {
            Some("PermissionsPolicy") => attached,
            Some("PermissionsBoundary") => bounded,
            _ => attached || bounded,
        };
        let of_kind = input.entity_filter.as_deref().is_none_or(|wanted| wanted == kind);
        used && of_kind && path.starts_with(input.path_prefix.as_deref().unwrap_or("/"))
    }
}

fn list_entities(
    cx: &mut Context,
    input: &ListEntitiesForPolicyRequest,
) -> Result<ListEntitiesForPolicyResponse, ApiError> {
    existing(cx.tx, &input.policy_arn)?;
    let mut entities = Entity::all(cx.tx);
    entities.retain(|entity| entity.is_meant(input));
    entities.sort_by_key(Entity::order);
    let (entities, marker) = page(entities, Entity::order, input.marker.as_deref(), input.max_items)?;
    let (mut groups, mut roles, mut users) = (Vec::new(), Vec::new(), Vec::new());
    for entity in entities {
        match entity {
            Entity::Group(group) => groups
                .push(PolicyGroup { group_name: Some(group.name.clone()), group_id: Some(group.id.clone()) }),
            Entity::Role(role) => {
                roles.push(PolicyRole { role_name: Some(role.name.clone()), role_id: Some(role.id.clone()) });
            }
            Entity::User(user) => {
                users.push(PolicyUser { user_name: Some(user.name.clone()), user_id: Some(user.id.clone()) });
            }
        }
    }
    Ok(ListEntitiesForPolicyResponse {
        policy_groups: Some(groups),
        policy_users: Some(users),
        policy_roles: Some(roles),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}
