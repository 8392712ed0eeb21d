//! Access keys: the long-term credentials of users, and of an account's root.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html>

use std::time::Duration;

use pileus_aws::iam::{
    AccessKey as Shape, AccessKeyLastUsed, AccessKeyMetadata, CreateAccessKeyRequest,
    CreateAccessKeyResponse, DeleteAccessKeyRequest, GetAccessKeyLastUsedRequest,
    GetAccessKeyLastUsedResponse, ListAccessKeysRequest, ListAccessKeysResponse, UpdateAccessKeyRequest, ops,
};
use pileus_core::{ApiError, Scope, Secret, Timestamp};
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use super::{User, own_name};
use crate::global::globally;
use crate::grants::Grantee as _;
use crate::mint::{LONG_TERM, Mint, account_of};
use crate::text::{invalid, limit_exceeded, no_such_entity, page};

const MAX_PER_USER: usize = 2;
/// How often a use is noted; AWS is not more exact.
const NOTED: Duration = Duration::from_secs(15 * 60);

/// An access key in the global scope of its account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccessKey {
    /// `AKIA…`
    pub(crate) id: String,
    pub(crate) secret: Secret,
    /// Absent: the account's root.
    pub(crate) user: Option<String>,
    /// Of the user as it was; the account's number for root.
    user_id: String,
    pub(crate) active: bool,
    created: Timestamp,
    used: Option<Use>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Use {
    at: Timestamp,
    service: String,
    region: String,
}

impl Record for AccessKey {
    const KIND: &'static str = "iam/access-key";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl AccessKey {
    pub(crate) fn is_of(&self, user: &User) -> bool {
        self.user.is_some() && self.user_id == user.id
    }

    fn status(&self) -> String {
        if self.active { "Active" } else { "Inactive" }.to_owned()
    }
}

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateAccessKey>(|cx, input| globally(cx, |cx| create_access_key(cx, input)))
        .on::<ops::UpdateAccessKey>(|cx, input| globally(cx, |cx| update_access_key(cx, input)))
        .on::<ops::DeleteAccessKey>(|cx, input| globally(cx, |cx| delete_access_key(cx, input)))
        .on::<ops::ListAccessKeys>(|cx, input| globally(cx, |cx| list_access_keys(cx, input)))
        .on::<ops::GetAccessKeyLastUsed>(|cx, input| globally(cx, |cx| last_used(cx, &input)));
}

fn held(tx: &Tx, user: &User) -> Vec<AccessKey> {
    tx.list::<AccessKey>().iter().filter(|key| key.is_of(user)).map(|key| AccessKey::clone(key)).collect()
}

fn create_access_key(
    cx: &mut Context,
    input: CreateAccessKeyRequest,
) -> Result<CreateAccessKeyResponse, ApiError> {
    let user = User::named(cx.tx, &own_name(cx, input.user_name)?)?;
    if held(cx.tx, &user).len() >= MAX_PER_USER {
        return Err(limit_exceeded(format!("Cannot exceed quota for AccessKeysPerUser: {MAX_PER_USER}")));
    }
    let mut mint = Mint { ids: cx.ids, entropy: cx.entropy };
    let key = AccessKey {
        id: mint.access_key(LONG_TERM, &cx.tx.scope().account),
        secret: mint.secret::<30>(),
        user: Some(user.name.clone()),
        user_id: user.id,
        active: true,
        created: cx.now,
        used: None,
    };
    let shape = Shape {
        user_name: Some(user.name),
        access_key_id: Some(key.id.clone()),
        status: Some(key.status()),
        secret_access_key: Some(key.secret.reveal().to_owned()),
        create_date: Some(key.created),
    };
    cx.tx.put(key);
    Ok(CreateAccessKeyResponse { access_key: Some(shape) })
}

/// The key of this id that the user of the request holds.
fn find(cx: &Context, user: Option<String>, id: &str) -> Result<AccessKey, ApiError> {
    let missing = || no_such_entity(format!("The Access Key with id {id} cannot be found."));
    let user = User::named(cx.tx, &own_name(cx, user)?)?;
    let key = cx.tx.get::<AccessKey>(id).filter(|key| key.is_of(&user));
    key.map(|key| AccessKey::clone(&key)).ok_or_else(missing)
}

fn update_access_key(cx: &mut Context, input: UpdateAccessKeyRequest) -> Result<Unit, ApiError> {
    let mut key = find(cx, input.user_name, &input.access_key_id)?;
    key.active = match input.status.as_str() {
        "Active" => true,
        "Inactive" => false,
        other => return Err(invalid(format!("Status {other} cannot be set."))),
    };
    cx.tx.put(key);
    Ok(Unit {})
}

fn delete_access_key(cx: &mut Context, input: DeleteAccessKeyRequest) -> Result<Unit, ApiError> {
    let key = find(cx, input.user_name, &input.access_key_id)?;
    cx.tx.delete::<AccessKey>(&key.id);
    Ok(Unit {})
}

fn list_access_keys(
    cx: &mut Context,
    input: ListAccessKeysRequest,
) -> Result<ListAccessKeysResponse, ApiError> {
    let user = User::named(cx.tx, &own_name(cx, input.user_name)?)?;
    let keys = held(cx.tx, &user);
    let (keys, marker) = page(keys, |key| key.id.clone(), input.marker.as_deref(), input.max_items)?;
    let shape = |key: AccessKey| AccessKeyMetadata {
        user_name: key.user.clone(),
        status: Some(key.status()),
        create_date: Some(key.created),
        access_key_id: Some(key.id),
    };
    Ok(ListAccessKeysResponse {
        access_key_metadata: Some(keys.into_iter().map(shape).collect()),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}

fn last_used(
    cx: &mut Context,
    input: &GetAccessKeyLastUsedRequest,
) -> Result<GetAccessKeyLastUsedResponse, ApiError> {
    let id = &input.access_key_id;
    let key = cx.tx.get::<AccessKey>(id);
    let key = key.ok_or_else(|| no_such_entity(format!("The Access Key with id {id} cannot be found.")))?;
    let unknown = || "N/A".to_owned();
    Ok(GetAccessKeyLastUsedResponse {
        user_name: key.user.clone(),
        access_key_last_used: Some(AccessKeyLastUsed {
            last_used_date: key.used.as_ref().map(|used| used.at),
            service_name: Some(key.used.as_ref().map_or_else(unknown, |used| used.service.clone())),
            region: Some(key.used.as_ref().map_or_else(unknown, |used| used.region.clone())),
        }),
    })
}

fn scope_of(id: &str) -> Option<Scope> {
    Some(Scope::new(&account_of(id)?, Scope::DEFAULT_REGION).global())
}

/// Whether the use of a key should be noted: it is long ago that one was.
pub fn use_is_news(state: &State, id: &str, now: Timestamp) -> bool {
    let key = scope_of(id).and_then(|scope| state.get::<AccessKey>(&scope, id));
    key.is_some_and(|key| key.used.as_ref().is_none_or(|used| used.at + NOTED <= now))
}

/// Notes that a key was used: for `GetAccessKeyLastUsed`.
pub fn note_use(tx: &mut Tx, id: &str, service: &str, region: &str, now: Timestamp) {
    let used = Use { at: now, service: service.to_owned(), region: region.to_owned() };
    if let Some(scope) = scope_of(id) {
        tx.within(scope, |tx| tx.update::<AccessKey>(id, |key| key.used = Some(used)));
    }
}

/// The access key of the default account's root, made where there is none: the first credential of a strict engine.
pub fn root_key(tx: &mut Tx, mint: &mut Mint, now: Timestamp) -> (String, Secret) {
    let scope = Scope::new(Scope::DEFAULT_ACCOUNT, Scope::DEFAULT_REGION).global();
    tx.within(scope, |tx| {
        if let Some(key) = tx.find::<AccessKey>(|key| key.user.is_none()) {
            return (key.id.clone(), key.secret.clone());
        }
        let account = tx.scope().account.clone();
        let key = AccessKey {
            id: mint.access_key(LONG_TERM, &account),
            secret: mint.secret::<30>(),
            user: None,
            user_id: account,
            active: true,
            created: now,
            used: None,
        };
        tx.put(key.clone());
        (key.id, key.secret)
    })
}
