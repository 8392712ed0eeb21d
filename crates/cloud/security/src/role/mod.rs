//! Roles: who may assume them (the trust policy) and what they may do then.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html>

mod attached;
mod change;
mod inline;

use std::collections::{BTreeMap, BTreeSet};

use pileus_aws::iam::{
    CreateRoleRequest, CreateRoleResponse, DeleteRoleRequest, GetRoleRequest, GetRoleResponse,
    ListInstanceProfilesForRoleRequest, ListInstanceProfilesForRoleResponse, ListRolesRequest,
    ListRolesResponse, Role as Shape, RoleLastUsed, Tag, ops,
};
use pileus_core::{ApiError, Scope, Tags, Timestamp, tags};
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::global::globally;
use crate::managed_policy;
use crate::policy::{Kind, Malformed, Policy, parse};
use crate::text::{invalid, limit_exceeded, no_such_entity, page, url_encoded};

const MAX_ROLES: usize = 1000;
const MAX_TRUST_CHARACTERS: usize = 2048;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) name: String,
    /// `/`, or `/…/`.
    path: String,
    /// `AROA…`
    pub(crate) id: String,
    /// The trust policy, as it was given.
    trust: String,
    description: Option<String>,
    /// 3600..=43200 s.
    pub(crate) max_session_seconds: i64,
    created: Timestamp,
    tags: Tags,
    /// Documents by name, as they were given.
    inline: BTreeMap<String, String>,
    /// ARNs of managed policies.
    pub(crate) attached: BTreeSet<String>,
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

    /// All that is said of what it may do.
    pub(crate) fn policies(&self) -> Result<Vec<Policy>, Malformed> {
        let attached = self.attached.iter().filter_map(|arn| managed_policy::find(arn));
        let documents =
            attached.map(|policy| policy.document).chain(self.inline.values().map(String::as_str));
        documents.map(|document| parse(Kind::Identity, document)).collect()
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateRole>(|cx, input| globally(cx, |cx| create_role(cx, input)))
        .on::<ops::GetRole>(|cx, input| globally(cx, |cx| get_role(cx, &input)))
        .on::<ops::ListRoles>(|cx, input| globally(cx, |cx| list_roles(cx, &input)))
        .on::<ops::DeleteRole>(|cx, input| globally(cx, |cx| delete_role(cx, &input)))
        .on::<ops::ListInstanceProfilesForRole>(|cx, input| {
            globally(cx, |cx| list_instance_profiles_for_role(cx, &input))
        });
    inline::operations(router);
    attached::operations(router);
    change::operations(router);
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
        return Err(ApiError::new("EntityAlreadyExists", 409, message));
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
        inline: BTreeMap::new(),
        attached: BTreeSet::new(),
    };
    let shape = shape(cx.scope(), &role);
    cx.tx.put(role);
    Ok(CreateRoleResponse { role: Some(shape) })
}

fn check_trust(document: &str) -> Result<(), ApiError> {
    parse(Kind::Trust, document)?;
    if document.chars().filter(|c| !c.is_whitespace()).count() > MAX_TRUST_CHARACTERS {
        return Err(limit_exceeded(format!(
            "Cannot exceed quota for ACLSizePerRole: {MAX_TRUST_CHARACTERS}"
        )));
    }
    Ok(())
}

fn request_tags(list: Option<Vec<Tag>>) -> Result<Tags, ApiError> {
    let mut all = Tags::new();
    for tag in list.unwrap_or_default() {
        if all.insert(tag.key, tag.value).is_some() {
            let message = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(ApiError::client("InvalidInput", message));
        }
    }
    tags::check(&all, "InvalidInput")?;
    Ok(all)
}

fn get_role(cx: &mut Context, input: &GetRoleRequest) -> Result<GetRoleResponse, ApiError> {
    let role = find(cx.tx, &input.role_name)?;
    Ok(GetRoleResponse { role: Some(shape(cx.scope(), &role)) })
}

fn list_roles(cx: &mut Context, input: &ListRolesRequest) -> Result<ListRolesResponse, ApiError> {
    let prefix = input.path_prefix.as_deref().unwrap_or("/");
    if !prefix.starts_with('/') {
        return Err(invalid(format!("The path prefix {prefix} must begin with /")));
    }
    let roles = cx.tx.list::<Role>().into_iter().filter(|role| role.path.starts_with(prefix)).collect();
    let (roles, marker) = page(roles, |role| role.key(), input.marker.as_deref(), input.max_items)?;
    // A listing leaves out tags and last use.
    let listed = |role: &Role| Shape { tags: None, role_last_used: None, ..shape(cx.scope(), role) };
    let roles = roles.iter().map(|role| listed(role)).collect();
    Ok(ListRolesResponse { roles: Some(roles), is_truncated: Some(marker.is_some()), marker })
}

fn delete_role(cx: &mut Context, input: &DeleteRoleRequest) -> Result<Unit, ApiError> {
    let role = find(cx.tx, &input.role_name)?;
    let conflict = |what: &str| {
        ApiError::new("DeleteConflict", 409, format!("Cannot delete entity, must {what} first."))
    };
    if !role.attached.is_empty() {
        return Err(conflict("detach all policies"));
    }
    if !role.inline.is_empty() {
        return Err(conflict("delete policies"));
    }
    cx.tx.delete::<Role>(&role.key());
    Ok(Unit {})
}

/// There are no instance profiles, as there are no instances; Terraform asks before it deletes a role.
fn list_instance_profiles_for_role(
    cx: &mut Context,
    input: &ListInstanceProfilesForRoleRequest,
) -> Result<ListInstanceProfilesForRoleResponse, ApiError> {
    find(cx.tx, &input.role_name)?;
    Ok(ListInstanceProfilesForRoleResponse {
        instance_profiles: Some(Vec::new()),
        is_truncated: Some(false),
        marker: None,
    })
}

fn shape(scope: &Scope, role: &Role) -> Shape {
    let tags = role.tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() });
    Shape {
        path: Some(role.path.clone()),
        role_name: Some(role.name.clone()),
        role_id: Some(role.id.clone()),
        arn: Some(role.arn(scope)),
        create_date: Some(role.created),
        assume_role_policy_document: Some(url_encoded(&role.trust)),
        description: role.description.clone(),
        max_session_duration: Some(role.max_session_seconds),
        permissions_boundary: None,
        tags: Some(tags.collect()),
        role_last_used: Some(RoleLastUsed::default()),
    }
}
