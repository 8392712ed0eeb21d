//! Making a secret, and changing what is said of it.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html>

use pileus_aws::secretsmanager::{
    CreateSecretRequest, CreateSecretResponse, UpdateSecretRequest, UpdateSecretResponse, ops,
};
use pileus_core::{ApiError, Arn};
use pileus_service::{Context, Router};

use super::record::{Content, ManagedSecret, find_live, is_over, remove};
use super::{invalid_parameter, invalid_request, tags, value};

/// The key that encrypts secrets unless another is asked for.
const DEFAULT_KEY: &str = "alias/aws/secretsmanager";

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::CreateSecret>(create_secret).on::<ops::UpdateSecret>(update_secret);
}

fn create_secret(cx: &mut Context, input: CreateSecretRequest) -> Result<CreateSecretResponse, ApiError> {
    check_name(&input.name)?;
    check_key(input.kms_key_id.as_deref())?;
    let content = value::given(input.secret_string, input.secret_binary)?;
    let secret = ManagedSecret {
        name: input.name,
        suffix: cx.ids.alphanumeric(6),
        description: input.description.filter(|text| !text.is_empty()),
        kms_key_id: input.kms_key_id.filter(|key| !key.is_empty()),
        tags: tags::read(input.tags)?,
        policy: None,
        created: cx.now,
        changed: cx.now,
        accessed: None,
        deletion: None,
        versions: Vec::new(),
    };
    let token = value::token(cx, input.client_request_token);
    if let Some(existing) = cx.tx.get::<ManagedSecret>(&secret.name) {
        if !is_over(&existing, cx.now) {
            return again(cx, &existing, &token, content.as_ref());
        }
        remove(cx.tx, &existing);
    }
    let (arn, name) = (secret.arn(cx.scope()), secret.name.clone());
    let version_id =
        content.map(|content| value::add(cx, secret.clone(), token, content, None)).transpose()?;
    if version_id.is_none() {
        cx.tx.put(secret);
    }
    Ok(CreateSecretResponse { arn: Some(arn), name: Some(name), version_id, replication_status: None })
}

/// The same request once more has the same answer; another one for the name is refused.
fn again(
    cx: &Context,
    existing: &ManagedSecret,
    token: &str,
    content: Option<&Content>,
) -> Result<CreateSecretResponse, ApiError> {
    if existing.deletion.is_some() {
        let message =
            "You can't create this secret because a secret with this name is already scheduled for deletion.";
        return Err(invalid_request(message));
    }
    let same = content.is_some_and(|content| value::holds(cx.tx, existing, token, content));
    if !same {
        let message = format!("The operation failed because the secret {} already exists.", existing.name);
        return Err(ApiError::client("ResourceExistsException", message));
    }
    Ok(CreateSecretResponse {
        arn: Some(existing.arn(cx.scope())),
        name: Some(existing.name.clone()),
        version_id: Some(token.to_owned()),
        replication_status: None,
    })
}

fn update_secret(cx: &mut Context, input: UpdateSecretRequest) -> Result<UpdateSecretResponse, ApiError> {
    let mut secret = ManagedSecret::clone(&*find_live(cx.tx, &input.secret_id, cx.now)?);
    check_key(input.kms_key_id.as_deref())?;
    let content = value::given(input.secret_string, input.secret_binary)?;
    if let Some(description) = input.description {
        secret.description = Some(description).filter(|text| !text.is_empty());
    }
    if let Some(key) = input.kms_key_id {
        secret.kms_key_id = Some(key).filter(|key| !key.is_empty());
    }
    secret.changed = cx.now;
    let (arn, name) = (secret.arn(cx.scope()), secret.name.clone());
    let version_id = match content {
        Some(content) => {
            let token = value::token(cx, input.client_request_token);
            Some(value::add(cx, secret, token, content, None)?)
        }
        None => {
            cx.tx.put(secret);
            None
        }
    };
    Ok(UpdateSecretResponse { arn: Some(arn), name: Some(name), version_id })
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-!".contains(c);
    if name.chars().all(allowed) {
        return Ok(());
    }
    Err(invalid_parameter(
        "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
    ))
}

/// There is no KMS here: the service's own key is the only one.
fn check_key(key: Option<&str>) -> Result<(), ApiError> {
    let Some(key) = key.filter(|key| !key.is_empty()) else { return Ok(()) };
    let alias = Arn::parse(key).filter(|arn| arn.service == "kms").map_or(key, |arn| arn.resource);
    if alias == DEFAULT_KEY {
        return Ok(());
    }
    Err(ApiError::client(
        "EncryptionFailure",
        format!(
            "Secrets Manager can't encrypt the protected secret text using the provided KMS key. Check that the KMS \
             key is available, enabled, and not in an invalid state. Pileus has no KMS: {DEFAULT_KEY} is the only key."
        ),
    ))
}
