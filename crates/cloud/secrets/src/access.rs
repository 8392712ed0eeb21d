//! Whether a caller may do a thing to a secret or a parameter.

use pileus_core::ApiError;
use pileus_security::policy::ContextKeys;
use pileus_service::Caller;
use pileus_state::Tx;

use crate::secret::record::ManagedSecret;

/// Asks the caller's policies about a secret.
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
    let mut keys: ContextKeys = tag_keys(&secret.tags);
    keys.insert("secretsmanager:secretid".into(), vec![arn.clone()]);
    if let Some(stage) = version_stage {
        keys.insert("secretsmanager:versionstage".into(), vec![stage.to_owned()]);
    }
    pileus_security::authorize(tx, caller, &format!("secretsmanager:{action}"), &arn, keys)
}

/// What policies can ask about the tags of a resource.
pub(crate) fn tag_keys(tags: &pileus_core::Tags) -> ContextKeys {
    let key = |(key, value): (&String, &String)| {
        (format!("aws:resourcetag/{}", key.to_lowercase()), vec![value.clone()])
    };
    tags.iter().map(key).collect()
}
