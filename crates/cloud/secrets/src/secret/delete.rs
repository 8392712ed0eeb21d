//! Deleting a secret, which takes effect after a recovery window, and bringing one back.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html>

use std::time::Duration;

use pileus_aws::secretsmanager::{
    DeleteSecretRequest, DeleteSecretResponse, RestoreSecretRequest, RestoreSecretResponse, ops,
};
use pileus_core::{ApiError, Arn, Timestamp};
use pileus_service::{Context, Router};
use pileus_state::Tx;

use super::record::{Deletion, ManagedSecret, find, is_over, remove};
use super::{invalid_parameter, invalid_request};

const DEFAULT_WINDOW: i64 = 30;
const DAY: u64 = 24 * 3600;

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::DeleteSecret>(delete_secret).on::<ops::RestoreSecret>(restore_secret);
}

fn delete_secret(cx: &mut Context, input: DeleteSecretRequest) -> Result<DeleteSecretResponse, ApiError> {
    let force = input.force_delete_without_recovery.unwrap_or(false);
    if force && input.recovery_window_in_days.is_some() {
        return Err(invalid_parameter(
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
        ));
    }
    let days = input.recovery_window_in_days.unwrap_or(DEFAULT_WINDOW);
    let days = u64::try_from(days).ok().filter(|days| (7..=30).contains(days)).ok_or_else(|| {
        invalid_parameter("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
    })?;
    let secret = match find(cx.tx, &input.secret_id, cx.now) {
        Ok(secret) => secret,
        Err(_) if force => return Ok(gone_already(cx, input.secret_id)),
        Err(error) => return Err(error),
    };
    let due = if force { cx.now } else { cx.now + Duration::from_secs(days * DAY) };
    if force {
        remove(cx.tx, &secret);
    } else if secret.deletion.is_some() {
        let message =
            "You can't perform this operation on the secret because it was already scheduled for deletion.";
        return Err(invalid_request(message));
    } else {
        let deletion = Some(Deletion { asked: cx.now, due });
        cx.tx.put(ManagedSecret { deletion, ..ManagedSecret::clone(&secret) });
    }
    Ok(DeleteSecretResponse {
        arn: Some(secret.arn(cx.scope())),
        name: Some(secret.name.clone()),
        deletion_date: Some(due),
    })
}

/// A forced deletion may be tried again: what is not there any more is deleted.
fn gone_already(cx: &Context, id: String) -> DeleteSecretResponse {
    let (arn, name) = match Arn::parse(&id).and_then(|arn| arn.resource.strip_prefix("secret:")) {
        Some(name) => (id.clone(), name.to_owned()),
        None => (cx.scope().arn("secretsmanager", format_args!("secret:{id}")), id),
    };
    DeleteSecretResponse { arn: Some(arn), name: Some(name), deletion_date: Some(cx.now) }
}

fn restore_secret(cx: &mut Context, input: RestoreSecretRequest) -> Result<RestoreSecretResponse, ApiError> {
    let secret = find(cx.tx, &input.secret_id, cx.now)?;
    cx.tx.put(ManagedSecret { deletion: None, ..ManagedSecret::clone(&secret) });
    Ok(RestoreSecretResponse { arn: Some(secret.arn(cx.scope())), name: Some(secret.name.clone()) })
}

/// Forgets the secrets, in every account and Region, whose recovery window has ended.
pub fn purge(tx: &mut Tx, now: Timestamp) {
    let all = tx.base().all::<ManagedSecret>();
    let over: Vec<_> = all.filter(|(_, secret)| is_over(secret, now)).collect();
    for (scope, secret) in over {
        tx.within(scope.clone(), |tx| remove(tx, &secret));
    }
}
