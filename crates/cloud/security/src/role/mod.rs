//! Roles: who may assume them (the trust policy) and what they may do then.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html>

mod change;
mod policies;
pub(crate) mod service_linked;

use pileus_aws::iam::{
    CreateRoleRequest, CreateRoleResponse, DeleteRoleRequest, GetRoleRequest, GetRoleResponse,
    ListRolesRequest, ListRolesResponse, Role as Shape, RoleLastUsed, ops,
};
use pileus_core::{ApiError, Scope, Tags, Timestamp};
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::global::globally;
use crate::grants::{Grantee, Grants, boundary, boundary_shape};
use crate::policy::{Kind, Malformed, Policy, parse};
use crate::profile::InstanceProfile;
use crate::text::{
    already_exists, characters, limit_exceeded, must_first, no_such_entity, page, path_prefix, request_tags,
    tag_list, url_encoded,
};

const MAX_ROLES: usize = 1000;
const MAX_TRUST_CHARACTERS: usize = 2048;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) name: String,
    /// `/`, or `/…/`.
    pub(crate) path: String,
    /// `AROA…`
    pub(crate) id: String,
    /// The trust policy, as it was given.
    trust: String,
    description: Option<String>,
    /// 3600..=43200 s.
    pub(crate) max_session_seconds: i64,
    pub(crate) created: Timestamp,
    pub(crate) tags: Tags,
    /// The ARN of a managed policy.
    #[serde(default)]
    pub(crate) boundary: Option<String>,
    #[serde(flatten)]
    pub(crate) grants: Grants,
}

impl Record for Role {
    const KIND: &'static str = "iam/role";

    /// Names that differ in case only are the same to IAM.
    fn key(&self) -> String {
        key(&self.name)
    }
}

pub(crate) fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

impl Role {
    pub(crate) fn arn(&self, scope: &Scope) -> String {
        scope.global().arn("iam", format_args!("role{}{}", self.path, self.name))
    }

    /// Who may assume it.
    pub(crate) fn trust(&self) -> Result<Policy, Malformed> {
        parse(Kind::Trust, &self.trust)
    }

    /// Whether AWS's services made it for themselves.
    fn is_service_linked(&self) -> bool {
        self.path.starts_with("/aws-service-role/")
    }
}

impl Grantee for Role {
    const NAME: &'static str = "role";
    const QUOTA: &'static str = "PoliciesPerRole";
    const MAX_INLINE: usize = 10_240;

    fn named(tx: &Tx, name: &str) -> Result<Self, ApiError> {
        let role = find(tx, name)?;
        if role.is_service_linked() {
            return Err(protected(&role));
        }
        Ok(role)
    }

    fn grants(&self) -> &Grants {
        &self.grants
    }

    fn grants_mut(&mut self) -> &mut Grants {
        &mut self.grants
    }
}

/// Only its service may change it.
fn protected(role: &Role) -> ApiError {
    let message = format!(
        "Cannot perform the operation on the protected role '{}' - this role is only modifiable by AWS",
        role.name
    );
    ApiError::client("UnmodifiableEntity", message)
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateRole>(|cx, input| globally(cx, |cx| create_role(cx, input)))
        .on::<ops::GetRole>(|cx, input| globally(cx, |cx| get_role(cx, &input)))
        .on::<ops::ListRoles>(|cx, input| globally(cx, |cx| list_roles(cx, &input)))
        .on::<ops::DeleteRole>(|cx, input| globally(cx, |cx| delete_role(cx, &input)));
    policies::operations(router);
    change::operations(router);
    service_linked::operations(router);
}

/// The role of this name in the (global) scope of the transaction.
pub(crate) fn find(tx: &Tx, name: &str) -> Result<Role, ApiError> {
    get(tx, name).ok_or_else(|| no_such_entity(format!("The role with name {name} cannot be found.")))
}

pub(crate) fn get(tx: &Tx, name: &str) -> Option<Role> {
    tx.get::<Role>(&key(name)).map(|role| Role::clone(&role))
}

fn create_role(cx: &mut Context, input: CreateRoleRequest) -> Result<CreateRoleResponse, ApiError> {
    check_trust(&input.assume_role_policy_document)?;
    if get(cx.tx, &input.role_name).is_some() {
        let message = format!("Role with name {} already exists.", input.role_name);
        return Err(already_exists(message));
    }
    if cx.tx.list::<Role>().len() >= MAX_ROLES {
        return Err(limit_exceeded(format!("Cannot exceed quota for RolesPerAccount: {MAX_ROLES}")));
    }
    let role = Role {
        id: format!("AROA{}", cx.ids.base32(17)),
        name: input.role_name,
        path: input.path.unwrap_or_else(|| "/".into()),
        trust: input.assume_role_policy_document,
        description: input.description.filter(|text| !text.is_empty()),
        max_session_seconds: input.max_session_duration.unwrap_or(3600),
        created: cx.now,
        tags: request_tags(input.tags)?,
        boundary: boundary(cx, input.permissions_boundary)?,
        grants: Grants::default(),
    };
    let shape = shape(cx.scope(), &role);
    cx.tx.put(role);
    Ok(CreateRoleResponse { role: Some(shape) })
}

fn check_trust(document: &str) -> Result<(), ApiError> {
    parse(Kind::Trust, document)?;
    if characters(document) > MAX_TRUST_CHARACTERS {
        return Err(limit_exceeded(format!(
            "Cannot exceed quota for ACLSizePerRole: {MAX_TRUST_CHARACTERS}"
        )));
    }
    Ok(())
}

fn get_role(cx: &mut Context, input: &GetRoleRequest) -> Result<GetRoleResponse, ApiError> {
    let role = find(cx.tx, &input.role_name)?;
    Ok(GetRoleResponse { role: Some(shape(cx.scope(), &role)) })
}

fn list_roles(cx: &mut Context, input: &ListRolesRequest) -> Result<ListRolesResponse, ApiError> {
    let prefix = path_prefix(input.path_prefix.as_deref())?;
    let roles = cx.tx.list::<Role>().into_iter().filter(|role| role.path.starts_with(prefix)).collect();
    let (roles, marker) = page(roles, |role| role.key(), input.marker.as_deref(), input.max_items)?;
    // A listing leaves out tags and last use.
    let listed = |role: &Role| Shape {
        tags: None,
        role_last_used: None,
        permissions_boundary: None,
        ..shape(cx.scope(), role)
    };
    let roles = roles.iter().map(|role| listed(role)).collect();
    Ok(ListRolesResponse { roles: Some(roles), is_truncated: Some(marker.is_some()), marker })
}

fn delete_role(cx: &mut Context, input: &DeleteRoleRequest) -> Result<Unit, ApiError> {
    let role = find(cx.tx, &input.role_name)?;
    if role.is_service_linked() {
        return Err(protected(&role));
    }
    if cx.tx.find::<InstanceProfile>(|profile| profile.role.as_deref() == Some(&role.key())).is_some() {
        return Err(must_first("remove roles from instance profile"));
    }
    if !role.grants.attached.is_empty() {
        return Err(must_first("detach all policies"));
    }
    if !role.grants.inline.is_empty() {
        return Err(must_first("delete policies"));
    }
    cx.tx.delete::<Role>(&role.key());
    Ok(Unit {})
}

pub(crate) fn shape(scope: &Scope, role: &Role) -> Shape {
    Shape {
        path: Some(role.path.clone()),
        role_name: Some(role.name.clone()),
        role_id: Some(role.id.clone()),
        arn: Some(role.arn(scope)),
        create_date: Some(role.created),
        assume_role_policy_document: Some(url_encoded(&role.trust)),
        description: role.description.clone(),
        max_session_duration: Some(role.max_session_seconds),
        permissions_boundary: boundary_shape(role.boundary.as_deref()),
        tags: Some(tag_list(&role.tags)),
        role_last_used: Some(RoleLastUsed::default()),
    }
}
