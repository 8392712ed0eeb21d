//! Inline policies of a role.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html>

use pileus_aws::iam::{
    DeleteRolePolicyRequest, GetRolePolicyRequest, GetRolePolicyResponse, ListRolePoliciesRequest,
    ListRolePoliciesResponse, PutRolePolicyRequest, ops,
};
use pileus_core::ApiError;
use pileus_model::Unit;
use pileus_service::{Context, Router};

use super::find;
use crate::global::globally;
use crate::policy::{Kind, parse};
use crate::text::{limit_exceeded, no_such_entity, page, url_encoded};

/// Characters of all inline policies of a role together, white space not counted.
const MAX_CHARACTERS: usize = 10_240;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::PutRolePolicy>(|cx, input| globally(cx, |cx| put_role_policy(cx, input)))
        .on::<ops::GetRolePolicy>(|cx, input| globally(cx, |cx| get_role_policy(cx, &input)))
        .on::<ops::DeleteRolePolicy>(|cx, input| globally(cx, |cx| delete_role_policy(cx, &input)))
        .on::<ops::ListRolePolicies>(|cx, input| globally(cx, |cx| list_role_policies(cx, &input)));
}

fn put_role_policy(cx: &mut Context, input: PutRolePolicyRequest) -> Result<Unit, ApiError> {
    let mut role = find(cx.tx, &input.role_name)?;
    parse(Kind::Identity, &input.policy_document)?;
    role.inline.insert(input.policy_name, input.policy_document);
    let characters =
        role.inline.values().flat_map(|document| document.chars()).filter(|c| !c.is_whitespace());
    if characters.count() > MAX_CHARACTERS {
        let message =
            format!("Maximum policy size of {MAX_CHARACTERS} bytes exceeded for role {}", role.name);
        return Err(limit_exceeded(message));
    }
    cx.tx.put(role);
    Ok(Unit {})
}

fn no_policy(name: &str) -> ApiError {
    no_such_entity(format!("The role policy with name {name} cannot be found."))
}

fn get_role_policy(
    cx: &mut Context,
    input: &GetRolePolicyRequest,
) -> Result<GetRolePolicyResponse, ApiError> {
    let role = find(cx.tx, &input.role_name)?;
    let document = role.inline.get(&input.policy_name).ok_or_else(|| no_policy(&input.policy_name))?;
    Ok(GetRolePolicyResponse {
        policy_document: Some(url_encoded(document)),
        policy_name: Some(input.policy_name.clone()),
        role_name: Some(role.name),
    })
}

fn delete_role_policy(cx: &mut Context, input: &DeleteRolePolicyRequest) -> Result<Unit, ApiError> {
    let mut role = find(cx.tx, &input.role_name)?;
    role.inline.remove(&input.policy_name).ok_or_else(|| no_policy(&input.policy_name))?;
    cx.tx.put(role);
    Ok(Unit {})
}

fn list_role_policies(
    cx: &mut Context,
    input: &ListRolePoliciesRequest,
) -> Result<ListRolePoliciesResponse, ApiError> {
    let names = find(cx.tx, &input.role_name)?.inline.into_keys().collect();
    let (names, marker) = page(names, String::clone, input.marker.as_deref(), input.max_items)?;
    Ok(ListRolePoliciesResponse { policy_names: Some(names), is_truncated: Some(marker.is_some()), marker })
}
