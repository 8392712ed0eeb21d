//! Policies on secrets.
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_resource-policies.html>

use pileus_aws::secretsmanager::{
    DeleteResourcePolicyRequest, DeleteResourcePolicyResponse, GetResourcePolicyRequest,
    GetResourcePolicyResponse, PutResourcePolicyRequest, PutResourcePolicyResponse,
    ValidateResourcePolicyRequest, ValidateResourcePolicyResponse, ValidationErrorsEntry, ops,
};
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use super::record::{ManagedSecret, find, find_live};
use crate::access;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::PutResourcePolicy>(put_resource_policy)
        .on::<ops::GetResourcePolicy>(get_resource_policy)
        .on::<ops::DeleteResourcePolicy>(delete_resource_policy)
        .on::<ops::ValidateResourcePolicy>(validate_resource_policy);
}

fn put_resource_policy(
    cx: &mut Context,
    input: PutResourcePolicyRequest,
) -> Result<PutResourcePolicyResponse, ApiError> {
    let mut secret = ManagedSecret::clone(&*find_live(cx.tx, &input.secret_id, cx.now)?);
    let public = access::check_policy(&input.resource_policy)?;
    if public && input.block_public_policy.unwrap_or(false) {
        let message = "The resource policy is not allowed as it allows broad access to the secret.";
        return Err(ApiError::client("PublicPolicyException", message));
    }
    let (arn, name) = (secret.arn(cx.scope()), secret.name.clone());
    secret.policy = Some(input.resource_policy);
    cx.tx.put(secret);
    Ok(PutResourcePolicyResponse { arn: Some(arn), name: Some(name) })
}

fn get_resource_policy(
    cx: &mut Context,
    input: GetResourcePolicyRequest,
) -> Result<GetResourcePolicyResponse, ApiError> {
    let secret = find(cx.tx, &input.secret_id, cx.now)?;
    Ok(GetResourcePolicyResponse {
        arn: Some(secret.arn(cx.scope())),
        name: Some(secret.name.clone()),
        resource_policy: secret.policy.clone(),
    })
}

fn delete_resource_policy(
    cx: &mut Context,
    input: DeleteResourcePolicyRequest,
) -> Result<DeleteResourcePolicyResponse, ApiError> {
    let secret = find_live(cx.tx, &input.secret_id, cx.now)?;
    cx.tx.put(ManagedSecret { policy: None, ..ManagedSecret::clone(&secret) });
    Ok(DeleteResourcePolicyResponse { arn: Some(secret.arn(cx.scope())), name: Some(secret.name.clone()) })
}

fn validate_resource_policy(
    cx: &mut Context,
    input: ValidateResourcePolicyRequest,
) -> Result<ValidateResourcePolicyResponse, ApiError> {
    if let Some(id) = &input.secret_id {
        find_live(cx.tx, id, cx.now)?;
    }
    let public = access::check_policy(&input.resource_policy)?;
    let error = || ValidationErrorsEntry {
        check_name: Some("PublicPolicy".into()),
        error_message: Some("The resource policy allows broad access to the secret.".into()),
    };
    Ok(ValidateResourcePolicyResponse {
        policy_validation_passed: Some(!public),
        validation_errors: Some(public.then(error).into_iter().collect()),
    })
}
