//! Groups: users that share policies.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_groups.html>

mod policies;

use pileus_aws::iam::{
    AddUserToGroupRequest, CreateGroupRequest, CreateGroupResponse, DeleteGroupRequest, GetGroupRequest,
    GetGroupResponse, Group as Shape, ListGroupsForUserRequest, ListGroupsForUserResponse, ListGroupsRequest,
    ListGroupsResponse, RemoveUserFromGroupRequest, UpdateGroupRequest, ops,
};
use pileus_core::{ApiError, Scope, Timestamp};
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::global::globally;
use crate::grants::{Grantee, Grants};
use crate::text::{already_exists, limit_exceeded, must_first, no_such_entity, page, path_prefix};
use crate::user::User;

const MAX_GROUPS: usize = 300;
const MAX_PER_USER: usize = 10;

/// A group; who is in it stands with the users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// `/`, or `/…/`.
    pub(crate) path: String,
    /// `AGPA…`
    pub(crate) id: String,
    pub(crate) created: Timestamp,
    #[serde(flatten)]
    pub(crate) grants: Grants,
}

impl Record for Group {
    const KIND: &'static str = "iam/group";

    /// Names that differ in case only are the same to IAM.
    fn key(&self) -> String {
        key(&self.name)
    }
}

pub(crate) fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

impl Group {
    pub(crate) fn arn(&self, scope: &Scope) -> String {
        scope.global().arn("iam", format_args!("group{}{}", self.path, self.name))
    }

    pub(crate) fn shape(&self, scope: &Scope) -> Shape {
        Shape {
            path: Some(self.path.clone()),
            group_name: Some(self.name.clone()),
            group_id: Some(self.id.clone()),
            arn: Some(self.arn(scope)),
            create_date: Some(self.created),
        }
    }
}

impl Grantee for Group {
    const NAME: &'static str = "group";
    const QUOTA: &'static str = "PoliciesPerGroup";
    const MAX_INLINE: usize = 5120;

    fn named(tx: &Tx, name: &str) -> Result<Self, ApiError> {
        let missing = || no_such_entity(format!("The group with name {name} cannot be found."));
        tx.get::<Self>(&key(name)).map(|group| Self::clone(&group)).ok_or_else(missing)
    }

    fn grants(&self) -> &Grants {
        &self.grants
    }

    fn grants_mut(&mut self) -> &mut Grants {
        &mut self.grants
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateGroup>(|cx, input| globally(cx, |cx| create_group(cx, input)))
        .on::<ops::GetGroup>(|cx, input| globally(cx, |cx| get_group(cx, &input)))
        .on::<ops::UpdateGroup>(|cx, input| globally(cx, |cx| update_group(cx, input)))
        .on::<ops::DeleteGroup>(|cx, input| globally(cx, |cx| delete_group(cx, &input)))
        .on::<ops::ListGroups>(|cx, input| globally(cx, |cx| list_groups(cx, &input)))
        .on::<ops::AddUserToGroup>(|cx, input| globally(cx, |cx| add_user(cx, &input)))
        .on::<ops::RemoveUserFromGroup>(|cx, input| globally(cx, |cx| remove_user(cx, &input)))
        .on::<ops::ListGroupsForUser>(|cx, input| globally(cx, |cx| groups_of_user(cx, &input)));
    policies::operations(router);
}

fn check_free(tx: &Tx, name: &str) -> Result<(), ApiError> {
    match tx.get::<Group>(&key(name)) {
        Some(_) => Err(already_exists(format!("Group with name {name} already exists."))),
        None => Ok(()),
    }
}

fn create_group(cx: &mut Context, input: CreateGroupRequest) -> Result<CreateGroupResponse, ApiError> {
    check_free(cx.tx, &input.group_name)?;
    if cx.tx.list::<Group>().len() >= MAX_GROUPS {
        return Err(limit_exceeded(format!("Cannot exceed quota for GroupsPerAccount: {MAX_GROUPS}")));
    }
    let group = Group {
        id: format!("AGPA{}", cx.ids.base32(17)),
        name: input.group_name,
        path: input.path.unwrap_or_else(|| "/".into()),
        created: cx.now,
        grants: Grants::default(),
    };
    let shape = group.shape(cx.scope());
    cx.tx.put(group);
    Ok(CreateGroupResponse { group: Some(shape) })
}

fn members(tx: &Tx, group: &Group) -> Vec<std::sync::Arc<User>> {
    let key = group.key();
    tx.list::<User>().into_iter().filter(|user| user.groups.contains(&key)).collect()
}

fn get_group(cx: &mut Context, input: &GetGroupRequest) -> Result<GetGroupResponse, ApiError> {
    let group = Group::named(cx.tx, &input.group_name)?;
    let users = members(cx.tx, &group);
    let (users, marker) = page(users, |user| user.key(), input.marker.as_deref(), input.max_items)?;
    Ok(GetGroupResponse {
        group: Some(group.shape(cx.scope())),
        users: Some(users.iter().map(|user| user.listed(cx.scope())).collect()),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}

/// A new name or path; the members stay.
fn update_group(cx: &mut Context, input: UpdateGroupRequest) -> Result<Unit, ApiError> {
    let mut group = Group::named(cx.tx, &input.group_name)?;
    let (old, members) = (group.key(), members(cx.tx, &group));
    if let Some(path) = input.new_path {
        group.path = path;
    }
    if let Some(name) = input.new_group_name {
        if key(&name) != old {
            check_free(cx.tx, &name)?;
        }
        group.name = name;
    }
    for member in members {
        cx.tx.update::<User>(&member.key(), |user| {
            user.groups.remove(&old);
            user.groups.insert(group.key());
        });
    }
    cx.tx.delete::<Group>(&old);
    cx.tx.put(group);
    Ok(Unit {})
}

fn delete_group(cx: &mut Context, input: &DeleteGroupRequest) -> Result<Unit, ApiError> {
    let group = Group::named(cx.tx, &input.group_name)?;
    if !members(cx.tx, &group).is_empty() {
        return Err(must_first("remove users from group"));
    }
    if !group.grants.attached.is_empty() {
        return Err(must_first("detach all policies"));
    }
    if !group.grants.inline.is_empty() {
        return Err(must_first("delete policies"));
    }
    cx.tx.delete::<Group>(&group.key());
    Ok(Unit {})
}

fn list_groups(cx: &mut Context, input: &ListGroupsRequest) -> Result<ListGroupsResponse, ApiError> {
    let prefix = path_prefix(input.path_prefix.as_deref())?;
    let groups = cx.tx.list::<Group>().into_iter().filter(|group| group.path.starts_with(prefix)).collect();
    let (groups, marker) = page(groups, |group| group.key(), input.marker.as_deref(), input.max_items)?;
    let groups = groups.iter().map(|group| group.shape(cx.scope())).collect();
    Ok(ListGroupsResponse { groups: Some(groups), is_truncated: Some(marker.is_some()), marker })
}

/// Adding who is in it succeeds, as in AWS.
fn add_user(cx: &mut Context, input: &AddUserToGroupRequest) -> Result<Unit, ApiError> {
    let group = Group::named(cx.tx, &input.group_name)?;
    let mut user = User::named(cx.tx, &input.user_name)?;
    user.groups.insert(group.key());
    if user.groups.len() > MAX_PER_USER {
        return Err(limit_exceeded(format!("Cannot exceed quota for GroupsPerUser: {MAX_PER_USER}")));
    }
    cx.tx.put(user);
    Ok(Unit {})
}

fn remove_user(cx: &mut Context, input: &RemoveUserFromGroupRequest) -> Result<Unit, ApiError> {
    let group = Group::named(cx.tx, &input.group_name)?;
    let mut user = User::named(cx.tx, &input.user_name)?;
    if !user.groups.remove(&group.key()) {
        let message = format!("User {} is not in group {}.", input.user_name, input.group_name);
        return Err(no_such_entity(message));
    }
    cx.tx.put(user);
    Ok(Unit {})
}

fn groups_of_user(
    cx: &mut Context,
    input: &ListGroupsForUserRequest,
) -> Result<ListGroupsForUserResponse, ApiError> {
    let user = User::named(cx.tx, &input.user_name)?;
    let groups = user.groups.iter().filter_map(|key| cx.tx.get::<Group>(key)).collect::<Vec<_>>();
    let (groups, marker) = page(groups, |group| group.key(), input.marker.as_deref(), input.max_items)?;
    let groups = groups.iter().map(|group| group.shape(cx.scope())).collect();
    Ok(ListGroupsForUserResponse { groups: Some(groups), is_truncated: Some(marker.is_some()), marker })
}
