//! The account as a whole: its alias, and how much of everything it has.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountSummary.html>

mod details;

use std::collections::BTreeMap;

use pileus_aws::iam::{
    CreateAccountAliasRequest, DeleteAccountAliasRequest, GetAccountSummaryResponse,
    ListAccountAliasesRequest, ListAccountAliasesResponse, ops,
};
use pileus_core::ApiError;
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::Record;
use serde::{Deserialize, Serialize};

use crate::global::globally;
use crate::group::Group;
use crate::managed::ManagedPolicy;
use crate::profile::InstanceProfile;
use crate::role::Role;
use crate::text::{already_exists, invalid, no_such_entity};
use crate::user::User;
use crate::user::key::AccessKey;

/// What there is to say of an account, in its global scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    alias: String,
}

impl Account {
    const KEY: &'static str = "account";
}

impl Record for Account {
    const KIND: &'static str = "iam/account";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateAccountAlias>(|cx, input| globally(cx, |cx| create_alias(cx, input)))
        .on::<ops::DeleteAccountAlias>(|cx, input| globally(cx, |cx| delete_alias(cx, &input)))
        .on::<ops::ListAccountAliases>(|cx, input| globally(cx, |cx| list_aliases(cx, &input)))
        .on::<ops::GetAccountSummary>(|cx, _| globally(cx, account_summary));
    details::operations(router);
}

/// An account has one alias; a new one takes the place of the old.
fn create_alias(cx: &mut Context, input: CreateAccountAliasRequest) -> Result<Unit, ApiError> {
    let alias = input.account_alias;
    // The model's pattern looks ahead, which the validation cannot.
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if !alias.split('-').all(word) {
        return Err(invalid(
            "The account alias must contain only digits, lowercase letters, and hyphens, not two in a row.",
        ));
    }
    let mut taken = cx.tx.base().all::<Account>();
    if taken.any(|(_, account)| account.alias == alias) {
        return Err(already_exists(format!("The account alias {alias} already exists.")));
    }
    cx.tx.put(Account { alias });
    Ok(Unit {})
}

fn delete_alias(cx: &mut Context, input: &DeleteAccountAliasRequest) -> Result<Unit, ApiError> {
    let found = cx.tx.get::<Account>(Account::KEY).filter(|account| account.alias == input.account_alias);
    if found.is_none() {
        let message = format!("The account alias {} cannot be found.", input.account_alias);
        return Err(no_such_entity(message));
    }
    cx.tx.delete::<Account>(Account::KEY);
    Ok(Unit {})
}

fn list_aliases(
    cx: &mut Context,
    _: &ListAccountAliasesRequest,
) -> Result<ListAccountAliasesResponse, ApiError> {
    let alias = cx.tx.get::<Account>(Account::KEY).map(|account| account.alias.clone());
    Ok(ListAccountAliasesResponse {
        account_aliases: Some(alias.into_iter().collect()),
        is_truncated: Some(false),
        marker: None,
    })
}

fn account_summary(cx: &mut Context) -> Result<GetAccountSummaryResponse, ApiError> {
    let tx = &*cx.tx;
    let policies = tx.list::<ManagedPolicy>();
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let root_keys = tx.list::<AccessKey>().iter().filter(|key| key.user.is_none()).count();
    let summary: BTreeMap<String, i64> = [
        ("Users", count(tx.list::<User>().len())),
        ("UsersQuota", 5000),
        ("Groups", count(tx.list::<Group>().len())),
        ("GroupsQuota", 300),
        ("GroupsPerUserQuota", 10),
        ("Roles", count(tx.list::<Role>().len())),
        ("RolesQuota", 1000),
        ("RolePolicySizeQuota", 10_240),
        ("UserPolicySizeQuota", 2048),
        ("GroupPolicySizeQuota", 5120),
        ("AssumeRolePolicySizeQuota", 2048),
        ("Policies", count(policies.len())),
        ("PoliciesQuota", 1500),
        ("PolicySizeQuota", 6144),
        ("PolicyVersionsInUse", count(policies.iter().map(|policy| policy.versions.len()).sum())),
        ("VersionsPerPolicyQuota", 5),
        ("AttachedPoliciesPerUserQuota", 10),
        ("AttachedPoliciesPerGroupQuota", 10),
        ("AttachedPoliciesPerRoleQuota", 10),
        ("InstanceProfiles", count(tx.list::<InstanceProfile>().len())),
        ("InstanceProfilesQuota", 1000),
        ("AccessKeysPerUserQuota", 2),
        ("AccountAccessKeysPresent", count(root_keys)),
        ("AccountMFAEnabled", 0),
        ("AccountPasswordPresent", 0),
        ("MFADevices", 0),
        ("MFADevicesInUse", 0),
        ("ServerCertificates", 0),
        ("Providers", 0),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    Ok(GetAccountSummaryResponse { summary_map: Some(summary) })
}
