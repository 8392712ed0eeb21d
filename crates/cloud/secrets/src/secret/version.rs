//! The versions of a secret, and moving labels between them.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>

use pileus_aws::secretsmanager::{
    ListSecretVersionIdsRequest, ListSecretVersionIdsResponse, SecretVersionsListEntry,
    UpdateSecretVersionStageRequest, UpdateSecretVersionStageResponse, ops,
};
use pileus_core::{ApiError, paginate};
use pileus_service::{Context, Router};

use super::record::{CURRENT, ManagedSecret, Version, find, find_live, not_found};
use super::{bad_token, invalid_parameter, limit, stage};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::ListSecretVersionIds>(list_secret_version_ids)
        .on::<ops::UpdateSecretVersionStage>(update_secret_version_stage);
}

fn list_secret_version_ids(
    cx: &mut Context,
    input: ListSecretVersionIdsRequest,
) -> Result<ListSecretVersionIdsResponse, ApiError> {
    let secret = find(cx.tx, &input.secret_id, cx.now)?;
    let all = input.include_deprecated.unwrap_or(false);
    let versions: Vec<&Version> =
        secret.versions.iter().filter(|version| all || !version.stages.is_empty()).collect();
    let key = |version: &&Version| format!("{:016x}{}", version.created.millis(), version.id);
    let token = input.next_token.as_deref();
    let (page, next_token) = paginate(versions, key, token, limit(input.max_results, 100), bad_token)?;
    let default_key = || vec!["DefaultEncryptionKey".to_owned()];
    let entry = |version: &Version| SecretVersionsListEntry {
        version_id: Some(version.id.clone()),
        version_stages: Some(version.stages.clone()).filter(|stages| !stages.is_empty()),
        last_accessed_date: version.accessed,
        created_date: Some(version.created),
        kms_key_ids: Some(secret.kms_key_id.clone().map_or_else(default_key, |key| vec![key])),
    };
    Ok(ListSecretVersionIdsResponse {
        versions: Some(page.into_iter().map(entry).collect()),
        next_token,
        arn: Some(secret.arn(cx.scope())),
        name: Some(secret.name.clone()),
    })
}

fn update_secret_version_stage(
    cx: &mut Context,
    input: UpdateSecretVersionStageRequest,
) -> Result<UpdateSecretVersionStageResponse, ApiError> {
    let mut secret = ManagedSecret::clone(&*find_live(cx.tx, &input.secret_id, cx.now)?);
    let (label, from, to) = (&input.version_stage, input.remove_from_version_id, input.move_to_version_id);
    for id in [&from, &to].into_iter().flatten() {
        if secret.version(id).is_none() {
            let message = "Secrets Manager can't find the specified secret value for VersionId:";
            return Err(not_found(format!("{message} {id}")));
        }
    }
    let holder = secret.holder(label).map(|version| version.id.clone());
    check_move(label, holder.as_deref(), from.as_deref(), to.as_deref())?;
    match &to {
        Some(to) => stage::attach(&mut secret, to, label),
        None => stage::detach(&mut secret, label),
    }
    secret.changed = cx.now;
    let (arn, name) = (secret.arn(cx.scope()), secret.name.clone());
    cx.tx.put(secret);
    Ok(UpdateSecretVersionStageResponse { arn: Some(arn), name: Some(name) })
}

/// A label that is on a version must be said to leave it, and `AWSCURRENT` must always be somewhere.
fn check_move(
    label: &str,
    holder: Option<&str>,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<(), ApiError> {
    match (from, to) {
        (None, None) => {
            Err(invalid_parameter("You must specify RemoveFromVersionId, MoveToVersionId, or both."))
        }
        (Some(_), None) if label == CURRENT => Err(invalid_parameter(
            "You can only move staging label AWSCURRENT to a different secret version. It can't be completely \
             removed.",
        )),
        (None, Some(to)) if holder.is_some_and(|holder| holder != to) => Err(invalid_parameter(format!(
            "The parameter RemoveFromVersionId can't be empty. Staging label {label} is currently attached to \
             version {}, so you must explicitly reference that version in RemoveFromVersionId.",
            holder.unwrap_or_default()
        ))),
        (Some(from), _) if holder != Some(from) => Err(invalid_parameter(format!(
            "The staging label {label} is not attached to the version {from} in RemoveFromVersionId."
        ))),
        _ => Ok(()),
    }
}
