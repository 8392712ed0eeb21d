//! Users: who has long-term credentials.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_users.html>

mod absent;
mod change;
pub(crate) mod key;
mod policies;

use std::collections::BTreeSet;
use std::sync::Arc;

use pileus_aws::iam::{
    CreateUserRequest, CreateUserResponse, DeleteUserRequest, GetUserRequest, GetUserResponse,
    ListUsersRequest, ListUsersResponse, User as Shape, ops,
};
use pileus_core::{ApiError, Scope, Tags, Timestamp};
use pileus_model::Unit;
use pileus_service::{Caller, Context, Router};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use self::key::AccessKey;
use crate::global::globally;
use crate::grants::{Grantee, Grants, boundary, boundary_shape};
use crate::text::{
    already_exists, invalid, limit_exceeded, must_first, no_such_entity, page, path_prefix, request_tags,
    tag_list,
};

const MAX_USERS: usize = 5000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
    /// `/`, or `/…/`.
    pub(crate) path: String,
    /// `AIDA…`
    pub(crate) id: String,
    pub(crate) created: Timestamp,
    pub(crate) tags: Tags,
    /// Keys of groups.
    pub(crate) groups: BTreeSet<String>,
    /// The ARN of a managed policy.
    pub(crate) boundary: Option<String>,
    #[serde(flatten)]
    pub(crate) grants: Grants,
}

impl Record for User {
    const KIND: &'static str = "iam/user";

    /// Names that differ in case only are the same to IAM.
    fn key(&self) -> String {
        key(&self.name)
    }
}

pub(crate) fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// The user of this name as the state has it.
pub(crate) fn named(state: &State, scope: &Scope, name: &str) -> Option<Arc<User>> {
    state.get::<User>(scope, &key(name))
}

impl User {
    pub(crate) fn arn(&self, scope: &Scope) -> String {
        scope.global().arn("iam", format_args!("user{}{}", self.path, self.name))
    }

    pub(crate) fn caller(&self, scope: &Scope, session: Option<String>) -> Caller {
        Caller { arn: self.arn(scope), account: scope.account.clone(), user_id: self.id.clone(), session }
    }

    pub(crate) fn shape(&self, scope: &Scope) -> Shape {
        Shape {
            path: Some(self.path.clone()),
            user_name: Some(self.name.clone()),
            user_id: Some(self.id.clone()),
            arn: Some(self.arn(scope)),
            create_date: Some(self.created),
            password_last_used: None,
            permissions_boundary: boundary_shape(self.boundary.as_deref()),
            tags: Some(tag_list(&self.tags)).filter(|tags| !tags.is_empty()),
        }
    }

    /// A listing leaves out tags and boundary.
    pub(crate) fn listed(&self, scope: &Scope) -> Shape {
        Shape { tags: None, permissions_boundary: None, ..self.shape(scope) }
    }
}

impl Grantee for User {
    const NAME: &'static str = "user";
    const QUOTA: &'static str = "PoliciesPerUser";
    const MAX_INLINE: usize = 2048;

    fn named(tx: &Tx, name: &str) -> Result<Self, ApiError> {
        let missing = || no_such_entity(format!("The user with name {name} cannot be found."));
        tx.get::<Self>(&key(name)).map(|user| Self::clone(&user)).ok_or_else(missing)
    }

    fn grants(&self) -> &Grants {
        &self.grants
    }

    fn grants_mut(&mut self) -> &mut Grants {
        &mut self.grants
    }
}

/// The name that a request gives, or that of the user who makes it.
fn own_name(cx: &Context, given: Option<String>) -> Result<String, ApiError> {
    let own = || {
        let arn = pileus_core::Arn::parse(&cx.caller.arn)?;
        (arn.service == "iam" && arn.resource.starts_with("user/")).then(|| arn.name().to_owned())
    };
    given.or_else(own).ok_or_else(|| invalid("Must specify userName when calling with non-User credentials"))
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateUser>(|cx, input| globally(cx, |cx| create_user(cx, input)))
        .on::<ops::GetUser>(|cx, input| globally(cx, |cx| get_user(cx, input)))
        .on::<ops::DeleteUser>(|cx, input| globally(cx, |cx| delete_user(cx, &input)))
        .on::<ops::ListUsers>(|cx, input| globally(cx, |cx| list_users(cx, &input)));
    absent::operations(router);
    change::operations(router);
    key::operations(router);
    policies::operations(router);
}

fn check_free(tx: &Tx, name: &str) -> Result<(), ApiError> {
    match tx.get::<User>(&key(name)) {
        Some(_) => Err(already_exists(format!("User with name {name} already exists."))),
        None => Ok(()),
    }
}

fn create_user(cx: &mut Context, input: CreateUserRequest) -> Result<CreateUserResponse, ApiError> {
    check_free(cx.tx, &input.user_name)?;
    if cx.tx.list::<User>().len() >= MAX_USERS {
        return Err(limit_exceeded(format!("Cannot exceed quota for UsersPerAccount: {MAX_USERS}")));
    }
    let user = User {
        id: format!("AIDA{}", cx.ids.base32(17)),
        name: input.user_name,
        path: input.path.unwrap_or_else(|| "/".into()),
        created: cx.now,
        tags: request_tags(input.tags)?,
        groups: BTreeSet::new(),
        boundary: boundary(cx, input.permissions_boundary)?,
        grants: Grants::default(),
    };
    let shape = user.shape(cx.scope());
    cx.tx.put(user);
    Ok(CreateUserResponse { user: Some(shape) })
}

/// Without a name it is about the caller, who may be the account's root.
fn get_user(cx: &mut Context, input: GetUserRequest) -> Result<GetUserResponse, ApiError> {
    if input.user_name.is_none() && cx.caller.arn.ends_with(":root") {
        let root = Shape {
            user_id: Some(cx.caller.user_id.clone()),
            arn: Some(cx.caller.arn.clone()),
            path: Some("/".into()),
            create_date: Some(Timestamp::from_secs(0)),
            ..Default::default()
        };
        return Ok(GetUserResponse { user: Some(root) });
    }
    let user = User::named(cx.tx, &own_name(cx, input.user_name)?)?;
    Ok(GetUserResponse { user: Some(user.shape(cx.scope())) })
}

fn delete_user(cx: &mut Context, input: &DeleteUserRequest) -> Result<Unit, ApiError> {
    let user = User::named(cx.tx, &input.user_name)?;
    let holds = |key: &AccessKey| key.is_of(&user);
    if cx.tx.find::<AccessKey>(holds).is_some() {
        return Err(must_first("delete access keys"));
    }
    if !user.groups.is_empty() {
        return Err(must_first("remove users from group"));
    }
    if !user.grants.attached.is_empty() {
        return Err(must_first("detach all policies"));
    }
    if !user.grants.inline.is_empty() {
        return Err(must_first("delete policies"));
    }
    cx.tx.delete::<User>(&user.key());
    Ok(Unit {})
}

fn list_users(cx: &mut Context, input: &ListUsersRequest) -> Result<ListUsersResponse, ApiError> {
    let prefix = path_prefix(input.path_prefix.as_deref())?;
    let users = cx.tx.list::<User>().into_iter().filter(|user| user.path.starts_with(prefix)).collect();
    let (users, marker) = page(users, |user| user.key(), input.marker.as_deref(), input.max_items)?;
    let users = users.iter().map(|user| user.listed(cx.scope())).collect();
    Ok(ListUsersResponse { users: Some(users), is_truncated: Some(marker.is_some()), marker })
}
