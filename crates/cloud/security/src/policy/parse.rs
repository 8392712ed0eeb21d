//! Reads policy documents and refuses, in IAM's words, what IAM refuses.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use std::collections::BTreeSet;

use pileus_core::ApiError;

use super::condition::{Condition, Operator};
use super::json::Json;
use super::principal::Principals;
use super::{Effect, Listed, Policy, Statement};

/// The longest document that is read at all, in bytes.
const MAX_LENGTH: usize = 131_072;

/// Why a document is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("This policy contains invalid Json: {0}")]
    Json(String),
    #[error("Syntax errors in policy.")]
    Syntax,
    #[error("Policy document must be version 2012-10-17 or greater.")]
    Version,
    #[error("Statement IDs (SID) in a single policy must be unique.")]
    RepeatedSid,
    #[error("Statement IDs (SID) must be alpha-numeric: {0}")]
    Sid(String),
    #[error("Invalid effect: {0}")]
    Effect(String),
    #[error("Policy statement must contain actions.")]
    NoAction,
    #[error("Policy statement must contain resources.")]
    NoResource,
    #[error("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")]
    NoVendor,
    #[error("Resource {0} must be in ARN format or \"*\".")]
    Resource(String),
    #[error("Policy document should not specify a principal.")]
    PrincipalInIdentityPolicy,
    #[error("Missing required field Principal")]
    NoPrincipal,
    #[error("Has prohibited field {0}")]
    Prohibited(&'static str),
    #[error("Invalid principal in policy: {0}")]
    Principal(String),
    #[error("AssumeRole policy may only specify STS AssumeRole actions.")]
    NotAssumeRole,
    #[error("Invalid Condition type : {0}.")]
    Operator(String),
    #[error("Unknown field {0}")]
    Field(String),
}

impl From<Malformed> for ApiError {
    fn from(problem: Malformed) -> Self {
        Self::client("MalformedPolicyDocument", problem.to_string())
    }
}

/// Where a policy is attached decides what must and must not be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To a role: what the role may do.
    Identity,
    /// A role's trust policy: who may assume it.
    Trust,
    /// A resource's own policy: who may do what with it. Without `Resource` it is about the resource that has it.
    Resource,
}

/// Reads a document.
///
/// # Errors
/// It is no policy of this kind.
pub fn parse(kind: Kind, document: &str) -> Result<Policy, Malformed> {
    if document.len() > MAX_LENGTH {
        return Err(Malformed::Syntax);
    }
    let json: Json = serde_json::from_str(document).map_err(|error| Malformed::Json(error.to_string()))?;
    let (mut variables, mut statements) = (false, None);
    for (field, value) in object(json)? {
        match field.as_str() {
            "Version" => {
                variables = match value {
                    Json::String(version) if version == "2012-10-17" => true,
                    Json::String(version) if version == "2008-10-17" => false,
                    _ => return Err(Malformed::Version),
                }
            }
            "Id" => drop(text(value)?),
            "Statement" => statements = Some(value),
            _ => return Err(Malformed::Field(field)),
        }
    }
    let statements = match statements.ok_or(Malformed::Syntax)? {
        Json::Array(items) => items,
        single => vec![single],
    };
    let statements: Vec<Statement> =
        statements.into_iter().map(|item| statement(kind, item)).collect::<Result<_, _>>()?;
    let mut sids = BTreeSet::new();
    if statements.is_empty() {
        return Err(Malformed::Syntax);
    }
    if !statements.iter().filter_map(|statement| statement.sid.as_ref()).all(|sid| sids.insert(sid)) {
        return Err(Malformed::RepeatedSid);
    }
    Ok(Policy { variables, statements })
}

fn statement(kind: Kind, json: Json) -> Result<Statement, Malformed> {
    let (mut sid, mut effect, mut principals) = (None, None, None);
    let (mut actions, mut resources, mut conditions) = (None, None, Vec::new());
    for (field, value) in object(json)? {
        match field.as_str() {
            "Sid" => sid = Some(check_sid(text(value)?)?),
            "Effect" => effect = Some(parse_effect(text(value)?)?),
            "NotPrincipal" if kind == Kind::Trust => return Err(Malformed::Prohibited("NotPrincipal")),
            "Principal" | "NotPrincipal" if principals.is_none() => {
                let all_but = field == "NotPrincipal";
                principals = Some(Principals { all_but, ..parse_principals(value)? });
            }
            "Action" if actions.is_none() => {
                actions = Some(Listed::Only(check_actions(kind, texts(value)?)?));
            }
            "NotAction" if actions.is_none() && kind != Kind::Trust => {
                actions = Some(Listed::AllBut(check_actions(kind, texts(value)?)?));
            }
            "Resource" | "NotResource" if kind == Kind::Trust => {
                return Err(Malformed::Prohibited("Resource"));
            }
            "Resource" if resources.is_none() => {
                resources = Some(Listed::Only(check_resources(texts(value)?)?));
            }
            "NotResource" if resources.is_none() => {
                resources = Some(Listed::AllBut(check_resources(texts(value)?)?));
            }
            "Condition" if conditions.is_empty() => conditions = parse_conditions(value)?,
            "Principal" | "NotPrincipal" | "Action" | "NotAction" | "Resource" | "NotResource" => {
                return Err(Malformed::Syntax);
            }
            _ => return Err(Malformed::Field(field)),
        }
    }
    match kind {
        Kind::Identity if principals.is_some() => return Err(Malformed::PrincipalInIdentityPolicy),
        Kind::Trust | Kind::Resource if principals.is_none() => return Err(Malformed::NoPrincipal),
        Kind::Identity | Kind::Trust | Kind::Resource => {}
    }
    let resources = match kind {
        Kind::Identity => resources.ok_or(Malformed::NoResource)?,
        Kind::Trust | Kind::Resource => resources.unwrap_or_else(|| Listed::Only(vec!["*".into()])),
    };
    Ok(Statement {
        sid,
        effect: effect.ok_or(Malformed::Syntax)?,
        principals: principals.unwrap_or_default(),
        actions: actions.ok_or(Malformed::NoAction)?,
        resources,
        conditions,
    })
}

fn object(json: Json) -> Result<Vec<(String, Json)>, Malformed> {
    if let Json::Object(entries) = json { Ok(entries) } else { Err(Malformed::Syntax) }
}

fn text(json: Json) -> Result<String, Malformed> {
    if let Json::String(text) = json { Ok(text) } else { Err(Malformed::Syntax) }
}

/// One text or a list of them.
fn texts(json: Json) -> Result<Vec<String>, Malformed> {
    match json {
        Json::Array(items) if !items.is_empty() => items.into_iter().map(text).collect(),
        single => Ok(vec![text(single)?]),
    }
}

fn check_sid(sid: String) -> Result<String, Malformed> {
    if sid.chars().all(|c| c.is_ascii_alphanumeric()) { Ok(sid) } else { Err(Malformed::Sid(sid)) }
}

fn parse_effect(effect: String) -> Result<Effect, Malformed> {
    match effect.as_str() {
        "Allow" => Ok(Effect::Allow),
        "Deny" => Ok(Effect::Deny),
        _ => Err(Malformed::Effect(effect)),
    }
}

fn check_actions(kind: Kind, actions: Vec<String>) -> Result<Vec<String>, Malformed> {
    for action in &actions {
        let vendor = action.split_once(':');
        let named = vendor.is_some_and(|(vendor, name)| !vendor.is_empty() && !name.is_empty());
        if !named && (action != "*" || kind == Kind::Trust) {
            return Err(Malformed::NoVendor);
        }
        if kind == Kind::Trust && !vendor.is_some_and(|(vendor, _)| vendor.eq_ignore_ascii_case("sts")) {
            return Err(Malformed::NotAssumeRole);
        }
    }
    Ok(actions)
}

fn check_resources(resources: Vec<String>) -> Result<Vec<String>, Malformed> {
    for resource in &resources {
        let arn = resource.starts_with("arn:") && resource.split(':').count() >= 6;
        if resource != "*" && !arn {
            return Err(Malformed::Resource(resource.clone()));
        }
    }
    Ok(resources)
}

fn parse_principals(json: Json) -> Result<Principals, Malformed> {
    let mut principals = Principals::default();
    match json {
        Json::String(all) if all == "*" => principals.aws.push(all),
        Json::Object(entries) => {
            for (kind, value) in entries {
                match kind.as_str() {
                    "AWS" => principals.aws = check_aws(texts(value)?)?,
                    "Service" => principals.services = texts(value)?,
                    "Federated" => drop(texts(value)?),
                    _ => return Err(Malformed::Principal(format!("\"{kind}\""))),
                }
            }
        }
        _ => return Err(Malformed::Syntax),
    }
    Ok(principals)
}

/// `*`, an account's number, or the ARN of an account's root, a user, a role or a role session.
fn check_aws(principals: Vec<String>) -> Result<Vec<String>, Malformed> {
    for principal in &principals {
        let account = principal.len() == 12 && principal.bytes().all(|byte| byte.is_ascii_digit());
        let arn = pileus_core::Arn::parse(principal)
            .is_some_and(|arn| matches!(arn.service, "iam" | "sts") && !arn.account.is_empty());
        let wildcard_in_arn = principal.contains('*') && principal != "*";
        if !(principal == "*" || account || arn) || wildcard_in_arn {
            return Err(Malformed::Principal(format!("\"AWS\":\"{principal}\"")));
        }
    }
    Ok(principals)
}

fn parse_conditions(json: Json) -> Result<Vec<Condition>, Malformed> {
    let mut conditions = Vec::new();
    for (name, keys) in object(json)? {
        let operator = Operator::parse(&name).ok_or(Malformed::Operator(name))?;
        for (key, values) in object(keys)? {
            if !key.contains(':') {
                return Err(Malformed::NoVendor);
            }
            let values = match values {
                Json::Array(items) => items.into_iter().map(scalar).collect::<Result<_, _>>()?,
                single => vec![scalar(single)?],
            };
            conditions.push(Condition { operator: operator.clone(), key, values });
        }
    }
    Ok(conditions)
}

/// Condition values may be written as numbers and booleans too.
fn scalar(json: Json) -> Result<String, Malformed> {
    match json {
        Json::String(text) | Json::Number(text) => Ok(text),
        Json::Bool(value) => Ok(value.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => Err(Malformed::Syntax),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: Kind, statement: &str) -> Option<String> {
        let document = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
        parse(kind, &document).err().map(|problem| problem.to_string())
    }

    #[test]
    fn identity_policies() {
        for (statement, expected) in [
            (r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#, None),
            (
                r#"[{"Sid":"A","Effect":"Deny","NotAction":["s3:Get*"],"NotResource":["arn:aws:s3:::b/*"]}]"#,
                None,
            ),
            (r#"{"Effect":"Allow","Action":"s3:*"}"#, Some("Policy statement must contain resources.")),
            (r#"{"Effect":"Allow","Resource":"*"}"#, Some("Policy statement must contain actions.")),
            (r#"{"Action":"s3:*","Resource":"*"}"#, Some("Syntax errors in policy.")),
            (r#"{"Effect":"allow","Action":"s3:*","Resource":"*"}"#, Some("Invalid effect: allow")),
            (
                r#"{"Effect":"Allow","Action":"GetObject","Resource":"*"}"#,
                Some("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
            ),
            (
                r#"{"Effect":"Allow","Action":"s3:*","Resource":"bucket"}"#,
                Some("Resource bucket must be in ARN format or \"*\"."),
            ),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}"#,
                Some("Policy document should not specify a principal."),
            ),
            (
                r#"[{"Sid":"A","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"A","Effect":"Allow","Action":"*","Resource":"*"}]"#,
                Some("Statement IDs (SID) in a single policy must be unique."),
            ),
            (
                r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringMatches":{"aws:x":"y"}}}"#,
                Some("Invalid Condition type : StringMatches."),
            ),
            (
                r#"{"Effect":"Allow","Action":"*","Resource":"*","Resources":"*"}"#,
                Some("Unknown field Resources"),
            ),
            ("[]", Some("Syntax errors in policy.")),
            ("7", Some("Syntax errors in policy.")),
        ] {
            assert_eq!(problem(Kind::Identity, statement).as_deref(), expected, "{statement}");
        }
    }

    #[test]
    fn trust_policies() {
        for (statement, expected) in [
            (
                r#"{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}"#,
                None,
            ),
            (r#"{"Effect":"Allow","Principal":{"AWS":["000000000000"]},"Action":"sts:AssumeRole"}"#, None),
            (r#"{"Effect":"Allow","Action":"sts:AssumeRole"}"#, Some("Missing required field Principal")),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}"#,
                Some("Has prohibited field Resource"),
            ),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}"#,
                Some("AssumeRole policy may only specify STS AssumeRole actions."),
            ),
            (
                r#"{"Effect":"Allow","Principal":{"AWS":"alice"},"Action":"sts:AssumeRole"}"#,
                Some("Invalid principal in policy: \"AWS\":\"alice\""),
            ),
        ] {
            assert_eq!(problem(Kind::Trust, statement).as_deref(), expected, "{statement}");
        }
    }

    #[test]
    fn documents() {
        for (document, expected) in [
            (r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#.to_owned(), None),
            (r#"{"Version":"2020-01-01","Statement":[]}"#.to_owned(), Some(Malformed::Version)),
            (r#"{"Version":"2012-10-17"}"#.to_owned(), Some(Malformed::Syntax)),
            (" ".repeat(MAX_LENGTH + 1), Some(Malformed::Syntax)),
        ] {
            assert_eq!(parse(Kind::Identity, &document).err(), expected);
        }
        let twice = r#"{"Statement":{"Effect":"Deny","Effect":"Allow","Action":"*","Resource":"*"}}"#;
        assert!(matches!(parse(Kind::Identity, twice), Err(Malformed::Json(_))), "a key may stand only once");
        assert!(matches!(parse(Kind::Identity, "{"), Err(Malformed::Json(_))));
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(Kind::Identity, &deep), Err(Malformed::Json(_))));
    }
}
