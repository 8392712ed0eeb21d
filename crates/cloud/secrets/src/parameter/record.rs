//! What is kept of a parameter, and how one is found by its name, ARN, version or label.

use std::sync::Arc;

use pileus_core::{ApiError, Arn, Scope, Secret, Tags, Timestamp};
use pileus_service::Described;
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) tags: Tags,
    /// Oldest first; the last is the current one, so there is always one.
    pub(crate) versions: Vec<ParameterVersion>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ParameterVersion {
    pub(crate) number: i64,
    /// `String`, `StringList` or `SecureString`.
    pub(crate) kind: String,
    pub(crate) value: Secret,
    /// What stands for a `SecureString`'s value where it is not decrypted: says nothing of it.
    pub(crate) ciphertext: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) allowed_pattern: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) tier: String,
    pub(crate) data_type: String,
    pub(crate) labels: Vec<String>,
    pub(crate) modified: Timestamp,
    /// The ARN of who wrote it.
    pub(crate) user: String,
}

impl Record for Parameter {
    const KIND: &'static str = "ssm/parameter";

    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Parameter {
    pub(crate) fn arn(&self, scope: &Scope) -> String {
        arn(scope, &self.name)
    }

    pub(crate) fn current(&self) -> &ParameterVersion {
        self.versions.last().expect("a parameter is made with a version and keeps its last one")
    }

    pub(crate) fn version(&self, number: i64) -> Option<&ParameterVersion> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The version that a selector means: a number, a label, or none for the current one.
    pub(crate) fn choose(&self, selector: Option<&str>) -> Option<&ParameterVersion> {
        let Some(selector) = selector else { return Some(self.current()) };
        match selector.parse() {
            Ok(number) => self.version(number),
            Err(_) => self.labelled(selector),
        }
    }

    pub(crate) fn labelled(&self, label: &str) -> Option<&ParameterVersion> {
        self.versions.iter().find(|version| version.labels.iter().any(|own| own == label))
    }
}

impl ParameterVersion {
    /// The value as a reader sees it.
    pub(crate) fn shown(&self, decrypt: bool) -> &str {
        match &self.ciphertext {
            Some(ciphertext) if !decrypt => ciphertext,
            _ => self.value.reveal(),
        }
    }
}

/// The ARN of a parameter's name: the slash of a hierarchy is the one that every parameter's ARN has.
pub(crate) fn arn(scope: &Scope, name: &str) -> String {
    let slash = if name.starts_with('/') { "" } else { "/" };
    scope.arn("ssm", format_args!("parameter{slash}{name}"))
}

/// A reference taken apart: the name or ARN, and the version or label after the colon.
pub(crate) fn split(reference: &str) -> (&str, Option<&str>) {
    let name_at = if reference.starts_with("arn:") { reference.find('/').unwrap_or(0) } else { 0 };
    match reference[name_at..].split_once(':') {
        Some((name, selector)) => (&reference[..name_at + name.len()], Some(selector)),
        None => (reference, None),
    }
}

/// The parameter that a name or an ARN without selector stands for.
pub(crate) fn find(tx: &Tx, name_or_arn: &str) -> Option<Arc<Parameter>> {
    let Some(arn) = Arn::parse(name_or_arn) else { return tx.get::<Parameter>(name_or_arn) };
    let scope = tx.scope();
    if (arn.service, arn.account, arn.region) != ("ssm", &scope.account, &scope.region) {
        return None;
    }
    let path = arn.resource.strip_prefix("parameter").filter(|path| path.starts_with('/'))?;
    tx.get::<Parameter>(path).or_else(|| tx.get::<Parameter>(&path[1..]))
}

/// What policies see of the parameter that an ARN, perhaps with a selector, names.
pub(crate) fn described(tx: &Tx, arn: &str) -> Option<Described> {
    let (arn, _) = split(arn);
    let Some(parameter) = find(tx, arn) else {
        return Some(Described { arn: arn.to_owned(), ..Described::default() });
    };
    Some(Described { arn: parameter.arn(tx.scope()), tags: parameter.tags.clone(), policy: None })
}

/// The version that a reference with a selector stands for.
///
/// # Errors
/// There is no such parameter, or it has no such version or label.
pub(crate) fn chosen<'a>(
    parameter: Option<&'a Parameter>,
    name: &str,
    selector: Option<&str>,
) -> Result<(&'a Parameter, &'a ParameterVersion), ApiError> {
    let parameter = parameter.ok_or_else(|| not_found(name))?;
    let version = parameter.choose(selector).ok_or_else(|| {
        let selector = selector.unwrap_or_default();
        match selector.parse::<i64>() {
            Ok(number) => no_version(&parameter.name, number),
            Err(_) => ApiError::client(
                "ParameterVersionNotFound",
                format!(
                    "Systems Manager could not find label {selector} for parameter {}. Verify the label and try again.",
                    parameter.name
                ),
            ),
        }
    })?;
    Ok((parameter, version))
}

pub(crate) fn not_found(name: &str) -> ApiError {
    ApiError::client("ParameterNotFound", format!("Parameter {name} not found."))
}

pub(crate) fn no_version(name: &str, number: i64) -> ApiError {
    let message = format!(
        "Systems Manager could not find version {number} of {name}. Verify the version and try again."
    );
    ApiError::client("ParameterVersionNotFound", message)
}
