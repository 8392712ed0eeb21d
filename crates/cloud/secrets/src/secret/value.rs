//! The values of secrets: a version for each.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>

use std::time::Duration;

use pileus_aws::secretsmanager::{
    APIErrorType, BatchGetSecretValueRequest, BatchGetSecretValueResponse, GetSecretValueRequest,
    GetSecretValueResponse, PutSecretValueRequest, PutSecretValueResponse, SecretValueEntry, ops,
};
use pileus_core::{ApiError, Secret, Timestamp, paginate};
use pileus_model::Blob;
use pileus_service::{Context, Router};
use pileus_state::Tx;

use super::record::{
    CURRENT, Content, ManagedSecret, Version, VersionValue, content, find_live, forget_value,
};
use super::{bad_token, filter, invalid_parameter, invalid_request, limit, stage};
use crate::access;

/// What AWS dates accesses by.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// More versions than this, all younger than a day, are refused.
const MAX_VERSIONS: usize = 1000;
const MAX_STAGES: usize = 20;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::PutSecretValue>(put_secret_value)
        .on::<ops::GetSecretValue>(get_secret_value)
        .on::<ops::BatchGetSecretValue>(batch_get_secret_value);
}

/// What a request gives as content.
pub(super) fn given(text: Option<String>, binary: Option<Blob>) -> Result<Option<Content>, ApiError> {
    match (text, binary) {
        (Some(_), Some(_)) => Err(invalid_parameter(
            "You can't specify both a binary secret value and a string secret value in the same secret.",
        )),
        (Some(text), None) => Ok(Some(Content::String(Secret::new(text)))),
        (None, Some(bytes)) => Ok(Some(Content::binary(&bytes))),
        (None, None) => Ok(None),
    }
}

/// The id of a version to be: the client's token, or a new one.
pub(super) fn token(cx: &mut Context, token: Option<String>) -> String {
    token.unwrap_or_else(|| cx.ids.uuid())
}

/// Whether a version is there already, with this content.
pub(super) fn holds(tx: &Tx, secret: &ManagedSecret, id: &str, wanted: &Content) -> bool {
    secret.version(id).is_some() && content(tx, &secret.name, id).is_ok_and(|own| own == *wanted)
}

/// Stores the secret with a new version, which gets the labels, or `AWSCURRENT` where none are given or it is the first.
/// Returns its id. The version may be there already, with the same content: then nothing happens.
///
/// # Errors
/// Another content has this id, or there are too many versions.
pub(super) fn add(
    cx: &mut Context,
    mut secret: ManagedSecret,
    id: String,
    wanted: Content,
    stages: Option<&[String]>,
) -> Result<String, ApiError> {
    if secret.version(&id).is_some() {
        if holds(cx.tx, &secret, &id, &wanted) {
            return Ok(id);
        }
        let message = format!(
            "You can't use ClientRequestToken {id} because that value is already in use for a version of secret {}.",
            secret.arn(cx.scope())
        );
        return Err(ApiError::client("ResourceExistsException", message));
    }
    let first = secret.versions.is_empty();
    secret.versions.push(Version { id: id.clone(), created: cx.now, accessed: None, stages: Vec::new() });
    for label in stages.unwrap_or_default() {
        stage::attach(&mut secret, &id, label);
    }
    if stages.is_none() || first {
        stage::attach(&mut secret, &id, CURRENT);
    }
    for old in stage::expired(&secret, cx.now) {
        forget_value(cx.tx, &secret.name, &old);
        secret.versions.retain(|version| version.id != old);
    }
    if secret.versions.len() > MAX_VERSIONS {
        let message = "The secret has too many versions that are younger than 24 hours.";
        return Err(ApiError::client("LimitExceededException", message));
    }
    secret.changed = cx.now;
    cx.tx.put(VersionValue { secret: secret.name.clone(), version: id.clone(), content: wanted });
    cx.tx.put(secret);
    Ok(id)
}

fn put_secret_value(
    cx: &mut Context,
    input: PutSecretValueRequest,
) -> Result<PutSecretValueResponse, ApiError> {
    let secret = ManagedSecret::clone(&*find_live(cx.tx, &input.secret_id, cx.now)?);
    let content = given(input.secret_string, input.secret_binary)?
        .ok_or_else(|| invalid_request("You must provide either SecretString or SecretBinary."))?;
    let (arn, name) = (secret.arn(cx.scope()), secret.name.clone());
    let token = token(cx, input.client_request_token);
    let id = add(cx, secret, token, content, input.version_stages.as_deref())?;
    let stored = cx.tx.get::<ManagedSecret>(&name);
    let stages = stored.and_then(|secret| Some(secret.version(&id)?.stages.clone())).unwrap_or_default();
    if stages.len() > MAX_STAGES {
        let message = format!("A version can have at most {MAX_STAGES} staging labels.");
        return Err(ApiError::client("LimitExceededException", message));
    }
    Ok(PutSecretValueResponse {
        arn: Some(arn),
        name: Some(name),
        version_id: Some(id),
        version_stages: Some(stages),
    })
}

fn get_secret_value(
    cx: &mut Context,
    input: GetSecretValueRequest,
) -> Result<GetSecretValueResponse, ApiError> {
    let entry = read(cx, &input.secret_id, input.version_id.as_deref(), input.version_stage.as_deref())?;
    Ok(GetSecretValueResponse {
        arn: entry.arn,
        name: entry.name,
        version_id: entry.version_id,
        secret_binary: entry.secret_binary,
        secret_string: entry.secret_string,
        version_stages: entry.version_stages,
        created_date: entry.created_date,
    })
}

fn read(
    cx: &mut Context,
    secret_id: &str,
    version_id: Option<&str>,
    version_stage: Option<&str>,
) -> Result<SecretValueEntry, ApiError> {
    let secret = find_live(cx.tx, secret_id, cx.now)?;
    let version = secret.choose(version_id, version_stage)?;
    let (secret_string, secret_binary) = match content(cx.tx, &secret.name, &version.id)? {
        Content::String(text) => (Some(text.reveal().to_owned()), None),
        Content::Binary(text) => (None, Some(Content::bytes(&text)?)),
    };
    note_access(cx.tx, &secret, &version.id, cx.now);
    Ok(SecretValueEntry {
        arn: Some(secret.arn(cx.scope())),
        name: Some(secret.name.clone()),
        version_id: Some(version.id.clone()),
        secret_binary,
        secret_string,
        version_stages: Some(version.stages.clone()),
        created_date: Some(version.created),
    })
}

/// Once a day for a secret and a version: AWS dates accesses by the day.
pub(crate) fn note_access(tx: &mut Tx, secret: &ManagedSecret, version: &str, now: Timestamp) {
    let today = Some(now.truncate(DAY));
    if secret.accessed == today && secret.version(version).is_some_and(|own| own.accessed == today) {
        return;
    }
    tx.update::<ManagedSecret>(&secret.name, |secret| {
        secret.accessed = today;
        for own in secret.versions.iter_mut().filter(|own| own.id == version) {
            own.accessed = today;
        }
    });
}

fn batch_get_secret_value(
    cx: &mut Context,
    input: BatchGetSecretValueRequest,
) -> Result<BatchGetSecretValueResponse, ApiError> {
    let (ids, next_token) = match (input.secret_id_list, input.filters) {
        (Some(ids), None) if input.max_results.is_none() && input.next_token.is_none() => (ids, None),
        (None, Some(filters)) => {
            let live = cx.tx.list::<ManagedSecret>().into_iter().filter(|secret| secret.deletion.is_none());
            let names = live.filter(|secret| filter::matches(secret, &filters));
            let names: Vec<String> = names.map(|secret| secret.name.clone()).collect();
            let token = input.next_token.as_deref();
            paginate(names, String::clone, token, limit(input.max_results, 20), bad_token)?
        }
        (Some(_), None) => {
            return Err(invalid_parameter("MaxResults and NextToken can only be used with Filters."));
        }
        _ => {
            let message = "Either 'SecretIdList' or 'Filters' must be provided, but not both.";
            return Err(invalid_parameter(message));
        }
    };
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for id in ids {
        // The router has asked about the batch, not about each secret in it.
        let allowed = find_live(cx.tx, &id, cx.now)
            .and_then(|secret| access::to_secret(cx.tx, cx.caller, "GetSecretValue", &secret, None));
        match allowed.and_then(|()| read(cx, &id, None, None)) {
            Ok(entry) => values.push(entry),
            Err(error) => errors.push(APIErrorType {
                secret_id: Some(id),
                error_code: Some(error.code.into_owned()),
                message: Some(error.message),
            }),
        }
    }
    Ok(BatchGetSecretValueResponse { secret_values: Some(values), next_token, errors: Some(errors) })
}
