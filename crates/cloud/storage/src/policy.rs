//! What S3 itself wants to know of a bucket's policy: whether it is public, and whether it speaks of this bucket.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html>

use pileus_core::{ApiError, filter::wildcard};
use serde_json::Value;

/// Condition keys that, with a fixed value, make an allow for everybody one for some.
const NARROWING: &[&str] = &[
    "aws:principalarn",
    "aws:principalaccount",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:sourceip",
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourceowner",
    "aws:userid",
    "s3:dataaccesspointarn",
    "s3:dataaccesspointaccount",
];

/// Whether some statement allows something to everybody.
pub fn is_public(document: &str) -> bool {
    statements(document).iter().any(|statement| {
        statement["Effect"] == "Allow" && names_everybody(statement) && !is_narrowed(&statement["Condition"])
    })
}

/// # Errors
/// A statement's resource is not the bucket `arn` nor an object of it.
pub fn check_resources(document: &str, arn: &str) -> Result<(), ApiError> {
    let ours = |resource: &str| {
        let (bucket, _) = resource.split_once('/').unwrap_or((resource, ""));
        bucket == arn || (bucket.contains(['*', '?']) && wildcard(bucket, arn)) || resource == "*"
    };
    for statement in statements(document) {
        let resources = ["Resource", "NotResource"].iter().flat_map(|key| texts(&statement[*key]));
        if let Some(foreign) = resources.into_iter().find(|resource| !ours(resource)) {
            let message = format!("Policy has invalid resource: {foreign}");
            return Err(ApiError::client("MalformedPolicy", message));
        }
    }
    Ok(())
}

fn statements(document: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(document).unwrap_or_default();
    match &document["Statement"] {
        Value::Array(statements) => statements.clone(),
        one => vec![one.clone()],
    }
}

fn names_everybody(statement: &Value) -> bool {
    let principal = &statement["Principal"];
    // Everybody but some is most of the world.
    !statement["NotPrincipal"].is_null()
        || texts(principal).contains(&"*")
        || texts(&principal["AWS"]).iter().any(|named| named.contains('*'))
}

fn is_narrowed(conditions: &Value) -> bool {
    let Value::Object(operators) = conditions else { return false };
    operators.iter().any(|(operator, keys)| {
        let Value::Object(keys) = keys else { return false };
        let positive = !operator.contains("Not") && !operator.ends_with("IfExists") && operator != "Null";
        let fixed = |value: &Value| {
            texts(value)
                .iter()
                .all(|text| !text.contains(['*', '?', '$']) && *text != "0.0.0.0/0" && *text != "::/0")
        };
        positive
            && keys
                .iter()
                .any(|(key, value)| NARROWING.contains(&key.to_ascii_lowercase().as_str()) && fixed(value))
    })
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(statement: &str) -> String {
        format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#)
    }

    #[test]
    fn an_allow_for_everybody_is_public() {
        for (statement, expected) in [
            (r#"{"Effect":"Allow","Principal":"*"}"#, true),
            (r#"[{"Effect":"Allow","Principal":{"AWS":["*"]}}]"#, true),
            (r#"{"Effect":"Deny","Principal":"*"}"#, false),
            (r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::1:root"}}"#, false),
            (r#"{"Effect":"Allow","Principal":{"Service":"logging.s3.amazonaws.com"}}"#, false),
            (
                r#"{"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"aws:SourceVpce":"vpce-1"}}}"#,
                false,
            ),
            (
                r#"{"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}}"#,
                true,
            ),
            (
                r#"{"Effect":"Allow","Principal":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}"#,
                true,
            ),
        ] {
            assert_eq!(is_public(&document(statement)), expected, "{statement}");
        }
    }

    #[test]
    fn a_policy_speaks_of_its_own_bucket() {
        for (resource, good) in [
            ("arn:aws:s3:::abc", true),
            ("arn:aws:s3:::abc/*", true),
            ("arn:aws:s3:::abcd/*", false),
            ("arn:aws:s3:::*", true),
            ("*", true),
            ("arn:aws:sqs:us-east-1:1:abc", false),
        ] {
            let statement = document(&format!(r#"{{"Effect":"Allow","Resource":["{resource}"]}}"#));
            assert_eq!(check_resources(&statement, "arn:aws:s3:::abc").is_ok(), good, "{resource}");
        }
    }
}
