//! Whether a caller may read a secret or a parameter: asked where the router does not know which one is meant. All
//! other requests it has checked before their handlers run.

use pileus_core::{ApiError, Tags};
use pileus_security::policy::{ContextKeys, Kind, parse};
use pileus_security::{Access, authorize, authorize_with};
use pileus_service::Caller;
use pileus_state::Tx;
use serde_json::Value as Json;

use crate::parameter::record::{self as parameter, Parameter};
use crate::secret::record::ManagedSecret;

/// Asks the caller's policies and the secret's own.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html>
///
/// # Errors
/// AWS's denial.
pub(crate) fn to_secret(
    tx: &Tx,
    caller: &Caller,
    action: &str,
    secret: &ManagedSecret,
    version_stage: Option<&str>,
) -> Result<(), ApiError> {
    let arn = secret.arn(tx.scope());
    let mut keys = tag_keys(&secret.tags);
    keys.insert("secretsmanager:secretid".into(), vec![arn.clone()]);
    if let Some(stage) = version_stage {
        keys.insert("secretsmanager:versionstage".into(), vec![stage.to_owned()]);
    }
    let access = Access {
        action: &format!("secretsmanager:{action}"),
        resource: &arn,
        owner: Some(&tx.scope().account),
        resource_policy: secret.policy.as_deref(),
        keys,
    };
    authorize_with(tx, caller, access)?;
    if caller.account == tx.scope().account {
        return Ok(());
    }
    // The key aws/secretsmanager, the only one here, does not decrypt for other accounts.
    Err(ApiError::client("AccessDeniedException", "Access to KMS is not allowed"))
}

/// Asks the caller's policies about a parameter, which may not be there.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html>
///
/// # Errors
/// AWS's denial.
pub(crate) fn to_parameter(
    tx: &Tx,
    caller: &Caller,
    action: &str,
    name: &str,
    found: Option<&Parameter>,
) -> Result<(), ApiError> {
    let name = found.map_or(name, |parameter| &parameter.name);
    let arn = if name.starts_with("arn:") { name.to_owned() } else { parameter::arn(tx.scope(), name) };
    let keys = found.map(|parameter| tag_keys(&parameter.tags)).unwrap_or_default();
    authorize(tx, caller, &format!("ssm:{action}"), &arn, keys)
}

/// What policies can ask about the tags of a resource.
fn tag_keys(tags: &Tags) -> ContextKeys {
    let key = |(key, value): (&String, &String)| {
        (format!("aws:resourcetag/{}", key.to_lowercase()), vec![value.clone()])
    };
    tags.iter().map(key).collect()
}

/// Checks a policy for a secret. True if it lets everybody in.
///
/// # Errors
/// It is no policy for a resource.
pub(crate) fn check_policy(document: &str) -> Result<bool, ApiError> {
    let malformed = |message: String| ApiError::client("MalformedPolicyDocumentException", message);
    parse(Kind::Resource, document)
        .map_err(|error| malformed(format!("This resource policy contains a syntax error: {error}")))?;
    let document: Json = serde_json::from_str(document).map_err(|error| malformed(error.to_string()))?;
    Ok(match &document["Statement"] {
        Json::Array(statements) => statements.iter().any(is_public),
        statement => is_public(statement),
    })
}

fn is_public(statement: &Json) -> bool {
    let everybody = |principal: &Json| match principal {
        Json::Array(names) => names.iter().any(|name| name == "*"),
        name => name == "*",
    };
    let principal = &statement["Principal"];
    let open = everybody(principal) || everybody(&principal["AWS"]);
    statement["Effect"] == "Allow" && open && statement["Condition"].is_null()
}
