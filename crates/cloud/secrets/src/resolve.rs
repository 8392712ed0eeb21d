//! What ECS injects into a container: the value that a `valueFrom` of a task definition stands for.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html>

use pileus_core::{ApiError, Arn, Scope, Secret, Timestamp};
use pileus_service::Caller;
use pileus_state::Tx;
use serde_json::Value as Json;

use crate::access;
use crate::parameter::record as parameter;
use crate::secret::note_access;
use crate::secret::record::{self as secret, Content};

/// Why a value cannot be injected: the end of ECS's `ResourceInitializationError`, after `unable to pull secrets or
/// registry auth: execution resource retrieval failed: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// `valueFrom` has none of the forms that ECS knows.
    #[error("unable to retrieve secret: unexpected ARN format with parameters when trying to retrieve {0}")]
    Malformed(String),
    /// Secrets Manager refuses, or has not, the value.
    #[error(
        "unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret \
         {arn} from secrets manager: {error}"
    )]
    SecretsManager { arn: String, error: ApiError },
    #[error(
        "unable to retrieve secret from asm: service call has been retried 1 time(s): retrieved secret from \
         Secrets Manager did not contain json key {0}"
    )]
    MissingKey(String),
    /// A key of a value is asked for that is no JSON object, or is binary.
    #[error(
        "unable to retrieve secret from asm: service call has been retried 1 time(s): the secret {0} is not a JSON \
         object in SecretString"
    )]
    NotAnObject(String),
    #[error(
        "unable to retrieve secrets from ssm: service call has been retried 1 time(s): fetching secret data from \
         SSM Parameter Store in {region}: {error}"
    )]
    Parameters { region: String, error: ApiError },
    #[error(
        "unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid parameters: {0}"
    )]
    InvalidParameters(String),
}

/// Reads the value that `value_from` stands for, as `caller`: the task's execution role. A bare parameter name is looked
/// for in the transaction's account and Region; an ARN says its own.
///
/// # Errors
/// The reference is malformed, there is no such value, or the caller may not read it.
pub fn resolve(
    tx: &mut Tx,
    caller: &Caller,
    value_from: &str,
    now: Timestamp,
) -> Result<Secret, ResolveError> {
    let Some(arn) = Arn::parse(value_from) else {
        return read_parameter(tx, caller, value_from);
    };
    let scope = Scope { partition: arn.partition.into(), ..Scope::new(arn.account, arn.region) };
    match arn.service {
        "ssm" => tx.within(scope, |tx| read_parameter(tx, caller, value_from)),
        "secretsmanager" => {
            let reference =
                Reference::parse(value_from).ok_or_else(|| ResolveError::Malformed(value_from.to_owned()))?;
            tx.within(scope, |tx| read_secret(tx, caller, &reference, now))
        }
        _ => Err(ResolveError::Malformed(value_from.to_owned())),
    }
}

/// `ARN`, or `ARN:json-key:version-stage:version-id` with any of the three empty.
#[derive(Debug, PartialEq)]
struct Reference<'a> {
    arn: &'a str,
    key: Option<&'a str>,
    stage: Option<&'a str>,
    version: Option<&'a str>,
}

impl<'a> Reference<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            [_, _, _, _, _, "secret", _] => Some(Self { arn: text, key: None, stage: None, version: None }),
            [_, _, _, _, _, "secret", _, key, stage, version] => {
                let rest = key.len() + stage.len() + version.len() + 3;
                let given = |part: &'a str| Some(part).filter(|part| !part.is_empty());
                let arn = &text[..text.len() - rest];
                let reference = Self { arn, key: given(key), stage: given(stage), version: given(version) };
                // ECS takes one or the other.
                (reference.stage.is_none() || reference.version.is_none()).then_some(reference)
            }
            _ => None,
        }
    }
}

fn read_secret(
    tx: &mut Tx,
    caller: &Caller,
    reference: &Reference,
    now: Timestamp,
) -> Result<Secret, ResolveError> {
    let failed = |error| ResolveError::SecretsManager { arn: reference.arn.to_owned(), error };
    let secret = secret::find_live(tx, reference.arn, now).map_err(failed)?;
    access::to_secret(tx, caller, "GetSecretValue", &secret, reference.stage).map_err(failed)?;
    let version = secret.choose(reference.version, reference.stage).map_err(failed)?;
    note_access(tx, &secret, &version.id, now);
    let text = match secret::content(tx, &secret.name, &version.id).map_err(failed)? {
        Content::String(text) => text,
        Content::Binary(_) => return Err(ResolveError::NotAnObject(reference.arn.to_owned())),
    };
    let Some(key) = reference.key else { return Ok(text) };
    match serde_json::from_str(text.reveal()) {
        Ok(Json::Object(mut object)) => match object.remove(key) {
            Some(Json::String(value)) => Ok(Secret::new(value)),
            Some(other) => Ok(Secret::new(other.to_string())),
            None => Err(ResolveError::MissingKey(key.to_owned())),
        },
        _ => Err(ResolveError::NotAnObject(reference.arn.to_owned())),
    }
}

fn read_parameter(tx: &mut Tx, caller: &Caller, reference: &str) -> Result<Secret, ResolveError> {
    let (name, selector) = parameter::split(reference);
    let found = parameter::find(tx, name);
    access::to_parameter(tx, caller, "GetParameters", name, found.as_deref())
        .map_err(|error| ResolveError::Parameters { region: tx.scope().region.clone(), error })?;
    let version = found.as_ref().and_then(|parameter| parameter.choose(selector));
    version
        .map(|version| version.value.clone())
        .ok_or_else(|| ResolveError::InvalidParameters(reference.to_owned()))
}

#[cfg(test)]
mod tests {
    use pileus_aws::{iam, secretsmanager, ssm};
    use pileus_kit::Cloud;

    use super::*;

    const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"arn:aws:secretsmanager:*:*:secret:db-*"},
        {"Effect":"Allow","Action":"ssm:GetParameters","Resource":"arn:aws:ssm:*:*:parameter/app/*"}]}"#;
    const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

    /// A cloud with two secrets, two parameters and an execution role that may read one of each.
    fn furnished() -> (Cloud, Caller, [String; 2]) {
        let mut cloud = Cloud::new(
            |tables| {
                crate::tables(tables);
                pileus_security::tables(tables);
            },
            |router| {
                crate::operations(router);
                pileus_security::operations(router);
            },
        );
        let arns = ["db", "other"].map(|name| {
            let input = secretsmanager::CreateSecretRequest {
                name: name.into(),
                secret_string: Some(r#"{"password":"hunter2","port":5432}"#.into()),
                ..Default::default()
            };
            cloud.ok::<secretsmanager::ops::CreateSecret>(input).arn.unwrap()
        });
        for name in ["/app/token", "/other"] {
            let kind = Some("SecureString".into());
            let (name, value) = (name.into(), "t0ken".into());
            let input = ssm::PutParameterRequest { name, value, r#type: kind, ..Default::default() };
            cloud.ok::<ssm::ops::PutParameter>(input);
        }
        cloud.ok::<iam::ops::CreateRole>(iam::CreateRoleRequest {
            role_name: "exec".into(),
            assume_role_policy_document: TRUST.into(),
            ..Default::default()
        });
        cloud.ok::<iam::ops::PutRolePolicy>(iam::PutRolePolicyRequest {
            role_name: "exec".into(),
            policy_name: "read".into(),
            policy_document: POLICY.into(),
        });
        let caller = Caller {
            arn: "arn:aws:sts::000000000000:assumed-role/exec/task".into(),
            account: "000000000000".into(),
            user_id: "AROA:task".into(),
            session: None,
        };
        (cloud, caller, arns)
    }

    #[test]
    fn values_are_read_as_the_execution_role() {
        let (mut cloud, caller, [db, other]) = furnished();
        let mut read = |reference: &str| {
            let value = cloud.write(|cx| resolve(cx.tx, &caller, reference, cx.now));
            value.map(|value| value.reveal().to_owned()).map_err(|error| error.to_string())
        };
        assert_eq!(read(&db).unwrap(), r#"{"password":"hunter2","port":5432}"#);
        assert_eq!(read(&format!("{db}:password::")).unwrap(), "hunter2");
        assert_eq!(read(&format!("{db}:port:AWSCURRENT:")).unwrap(), "5432");
        assert_eq!(read("/app/token").unwrap(), "t0ken");
        assert_eq!(read("arn:aws:ssm:us-east-1:000000000000:parameter/app/token").unwrap(), "t0ken");
        for (reference, told) in [
            (format!("{db}:user::"), "did not contain json key user"),
            (format!("{db}::AWSPENDING:"), "staging label: AWSPENDING"),
            (format!("{db}:user"), "unexpected ARN format"),
            (other, "because no identity-based policy allows the secretsmanager:GetSecretValue action"),
            ("/other".into(), "not authorized to perform: ssm:GetParameters on resource"),
            ("/app/none".into(), "invalid parameters: /app/none"),
            (format!("{db}x"), "can't find the specified secret"),
        ] {
            let error = read(&reference).unwrap_err();
            assert!(error.contains(told), "{reference}: {error}");
        }
    }

    #[test]
    fn references_are_taken_apart() {
        let arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:db/main-AbCdEf";
        let plain = Reference { arn, key: None, stage: None, version: None };
        assert_eq!(Reference::parse(arn), Some(plain));
        let text = format!("{arn}:password::v1");
        let parsed = Reference::parse(&text).unwrap();
        assert_eq!(parsed, Reference { arn, key: Some("password"), stage: None, version: Some("v1") });
        let text = format!("{arn}::AWSPREVIOUS:");
        assert_eq!(Reference::parse(&text).unwrap().stage, Some("AWSPREVIOUS"));
        for bad in [format!("{arn}:key"), format!("{arn}:key:stage:id"), format!("{arn}:a:b:c:d")] {
            assert_eq!(Reference::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_parameter_is_named_with_or_without_a_selector() {
        assert_eq!(parameter::split("/a/b:3"), ("/a/b", Some("3")));
        let arn = "arn:aws:ssm:us-east-1:000000000000:parameter/a/b";
        assert_eq!(parameter::split(arn), (arn, None));
        let labelled = format!("{arn}:prod");
        assert_eq!(parameter::split(&labelled), (arn, Some("prod")));
    }
}
