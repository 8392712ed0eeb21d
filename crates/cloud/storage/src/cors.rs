//! Which pages of other origins may use a bucket.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/cors.html>

use pileus_core::{ApiError, filter::wildcard};
use serde::{Deserialize, Serialize};

use crate::error::{invalid_request, malformed_xml};

const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];
const MAX_RULES: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRule {
    pub id: Option<String>,
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    pub headers: Vec<String>,
    pub exposed: Vec<String>,
    /// How long a browser may remember the answer, in seconds.
    pub max_age: Option<i32>,
}

/// # Errors
/// The rules break S3's form.
pub fn check(rules: &[CorsRule]) -> Result<(), ApiError> {
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(malformed_xml());
    }
    for rule in rules {
        if rule.origins.is_empty() || rule.methods.is_empty() {
            return Err(malformed_xml());
        }
        if let Some(method) = rule.methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            let message =
                format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}");
            return Err(invalid_request(message));
        }
        for (what, texts) in [("AllowedOrigin", &rule.origins), ("AllowedHeader", &rule.headers)] {
            if let Some(text) = texts.iter().find(|text| text.matches('*').count() > 1) {
                return Err(invalid_request(format!(
                    "{what} \"{text}\" can not have more than one wildcard."
                )));
            }
        }
    }
    Ok(())
}

/// The first rule that lets a page of `origin` make a request with this method and these headers.
pub fn allowing<'a>(
    rules: &'a [CorsRule],
    origin: &str,
    method: &str,
    headers: &[&str],
) -> Option<&'a CorsRule> {
    rules.iter().find(|rule| {
        rule.origins.iter().any(|allowed| wildcard(allowed, origin))
            && rule.methods.iter().any(|allowed| allowed == method)
            && headers.iter().all(|header| {
                let header = header.to_ascii_lowercase();
                rule.headers.iter().any(|allowed| wildcard(&allowed.to_ascii_lowercase(), &header))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rule = CorsRule {
            origins: vec!["http://*.example.com".into()],
            methods: vec!["PUT".into()],
            headers: vec!["x-amz-*".into(), "Content-Type".into()],
            ..CorsRule::default()
        };
        let rules = [rule];
        let fits = |origin, method, headers: &[&str]| allowing(&rules, origin, method, headers).is_some();
        assert!(fits("http://app.example.com", "PUT", &["X-Amz-Meta-A", "content-type"]));
        assert!(!fits("http://example.org", "PUT", &[]));
        assert!(!fits("http://app.example.com", "DELETE", &[]));
        assert!(!fits("http://app.example.com", "PUT", &["authorization"]));
        assert_eq!(check(&rules), Ok(()));
        let mut bad = rules[0].clone();
        bad.methods = vec!["PATCH".into()];
        assert_eq!(check(&[bad]).unwrap_err().code, "InvalidRequest");
    }
}
