//! What is kept of a secret, and how one is found by its name or ARN.
//!
//! The values are records of their own, so that labelling or tagging a secret does not write them anew.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_core::{ApiError, Arn, Scope, Secret, Tags, Timestamp};
use pileus_service::Described;
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

/// The labels that Secrets Manager itself moves.
pub(crate) const CURRENT: &str = "AWSCURRENT";
pub(crate) const PREVIOUS: &str = "AWSPREVIOUS";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ManagedSecret {
    pub(crate) name: String,
    /// The six characters after the name in the ARN: a secret made anew under an old name is another one.
    pub(crate) suffix: String,
    pub(crate) description: Option<String>,
    pub(crate) kms_key_id: Option<String>,
    pub(crate) tags: Tags,
    pub(crate) policy: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) changed: Timestamp,
    /// The day of the last access.
    pub(crate) accessed: Option<Timestamp>,
    pub(crate) deletion: Option<Deletion>,
    /// Oldest first.
    pub(crate) versions: Vec<Version>,
}

/// A secret on its way out, which `RestoreSecret` can still bring back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deletion {
    pub(crate) asked: Timestamp,
    pub(crate) due: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) created: Timestamp,
    /// The day of the last access.
    pub(crate) accessed: Option<Timestamp>,
    /// None: the version is deprecated.
    pub(crate) stages: Vec<String>,
}

/// What a version holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct VersionValue {
    pub(crate) secret: String,
    pub(crate) version: String,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Content {
    String(Secret),
    /// In base64.
    Binary(Secret),
}

impl Record for ManagedSecret {
    const KIND: &'static str = "secretsmanager/secret";

    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Record for VersionValue {
    const KIND: &'static str = "secretsmanager/value";

    fn key(&self) -> String {
        Self::key_of(&self.secret, &self.version)
    }
}

impl VersionValue {
    fn key_of(secret: &str, version: &str) -> String {
        format!("{secret}:{version}")
    }
}

impl ManagedSecret {
    pub(crate) fn arn(&self, scope: &Scope) -> String {
        scope.arn("secretsmanager", format_args!("secret:{}-{}", self.name, self.suffix))
    }

    pub(crate) fn version(&self, id: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    pub(crate) fn holder(&self, stage: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.stages.iter().any(|own| own == stage))
    }

    /// The version that a request for a value means: by id, by label, or the current one.
    ///
    /// # Errors
    /// There is no such version, or the one with that id has not that label.
    pub(crate) fn choose(&self, id: Option<&str>, stage: Option<&str>) -> Result<&Version, ApiError> {
        let Some(id) = id else {
            let stage = stage.unwrap_or(CURRENT);
            return self.holder(stage).ok_or_else(|| {
                let message = "Secrets Manager can't find the specified secret value for staging label:";
                not_found(format!("{message} {stage}"))
            });
        };
        let version = self.version(id).ok_or_else(|| {
            not_found(format!("Secrets Manager can't find the specified secret value for VersionId: {id}"))
        })?;
        if stage.is_some_and(|stage| !version.stages.iter().any(|own| own == stage)) {
            let message = "You provided a VersionStage that is not associated to the provided VersionId.";
            return Err(ApiError::client("InvalidRequestException", message));
        }
        Ok(version)
    }
}

impl Content {
    pub(crate) fn binary(bytes: &[u8]) -> Self {
        Self::Binary(Secret::new(STANDARD.encode(bytes)))
    }

    /// The bytes of a binary content.
    ///
    /// # Errors
    /// The record is damaged.
    pub(crate) fn bytes(base64: &Secret) -> Result<Vec<u8>, ApiError> {
        STANDARD.decode(base64.reveal()).map_err(|_| ApiError::internal("A stored secret is damaged."))
    }
}

/// The content of a version.
///
/// # Errors
/// The records do not agree: a fault of ours.
pub(crate) fn content(tx: &Tx, secret: &str, version: &str) -> Result<Content, ApiError> {
    let value = tx.get::<VersionValue>(&VersionValue::key_of(secret, version));
    value
        .map(|value| value.content.clone())
        .ok_or_else(|| ApiError::internal(format!("The value of version {version} is not there.")))
}

/// Forgets a version's content.
pub(crate) fn forget_value(tx: &mut Tx, secret: &str, version: &str) {
    tx.delete::<VersionValue>(&VersionValue::key_of(secret, version));
}

pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::client("ResourceNotFoundException", message)
}

/// The secret that a name, an ARN, or an ARN without its last six characters stands for. One whose recovery window has
/// ended is not there any more.
///
/// # Errors
/// There is no such secret in this account and Region.
pub(crate) fn find(tx: &Tx, id: &str, now: Timestamp) -> Result<Arc<ManagedSecret>, ApiError> {
    lookup(tx, id)
        .filter(|secret| !is_over(secret, now))
        .ok_or_else(|| not_found("Secrets Manager can't find the specified secret."))
}

/// What policies see of the secret that an ARN names.
pub(crate) fn described(tx: &Tx, arn: &str) -> Option<Described> {
    let secret = lookup(tx, arn)?;
    Some(Described { arn: secret.arn(tx.scope()), tags: secret.tags.clone(), policy: secret.policy.clone() })
}

fn lookup(tx: &Tx, id: &str) -> Option<Arc<ManagedSecret>> {
    let Some(arn) = Arn::parse(id) else { return tx.get::<ManagedSecret>(id) };
    let scope = tx.scope();
    if (arn.service, arn.account, arn.region) != ("secretsmanager", &scope.account, &scope.region) {
        return None;
    }
    let name = arn.resource.strip_prefix("secret:")?;
    let whole = name
        .rsplit_once('-')
        .and_then(|(name, suffix)| tx.get::<ManagedSecret>(name).filter(|secret| secret.suffix == suffix));
    whole.or_else(|| tx.get::<ManagedSecret>(name))
}

/// The same for an operation that a secret on its way out refuses.
///
/// # Errors
/// There is no such secret, or it is marked for deletion.
pub(crate) fn find_live(tx: &Tx, id: &str, now: Timestamp) -> Result<Arc<ManagedSecret>, ApiError> {
    let secret = find(tx, id, now)?;
    if secret.deletion.is_some() {
        let message = "You can't perform this operation on the secret because it was marked for deletion.";
        return Err(ApiError::client("InvalidRequestException", message));
    }
    Ok(secret)
}

pub(crate) fn is_over(secret: &ManagedSecret, now: Timestamp) -> bool {
    secret.deletion.as_ref().is_some_and(|deletion| deletion.due <= now)
}

/// Forgets a secret with all its versions.
pub(crate) fn remove(tx: &mut Tx, secret: &ManagedSecret) {
    for version in &secret.versions {
        forget_value(tx, &secret.name, &version.id);
    }
    tx.delete::<ManagedSecret>(&secret.name);
}
