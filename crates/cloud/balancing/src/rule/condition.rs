//! Conditions: what a request must look like for a rule to apply.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html>

use ipnet::Ipv4Net;
use pileus_aws::elbv2::{
    HostHeaderConditionConfig, HttpHeaderConditionConfig, HttpRequestMethodConditionConfig,
    PathPatternConditionConfig, QueryStringConditionConfig, QueryStringKeyValuePair, RuleCondition,
    SourceIpConditionConfig,
};
use pileus_contract::proxy::Condition;
use pileus_core::ApiError;

use crate::resource::invalid;

const MAX_VALUES: usize = 5;
const MAX_WILDCARDS: usize = 5;
const MAX_LENGTH: usize = 128;

/// The conditions of a rule, checked one by one and together.
pub(super) fn parse_all(conditions: Vec<RuleCondition>) -> Result<Vec<Condition>, ApiError> {
    if conditions.is_empty() {
        return Err(invalid("A rule must have at least one condition"));
    }
    let conditions: Vec<Condition> = conditions.into_iter().map(parse).collect::<Result<_, _>>()?;
    let single = ["host-header", "http-request-method", "path-pattern", "source-ip"];
    for field in single {
        if conditions.iter().filter(|condition| field_of(condition) == field).count() > 1 {
            return Err(invalid(format!("A rule can only have one '{field}' condition")));
        }
    }
    let patterns: Vec<String> = conditions.iter().flat_map(patterns).collect();
    if patterns.len() > MAX_VALUES {
        return Err(invalid(format!("A rule can have at most '{MAX_VALUES}' condition values")));
    }
    let wildcards = patterns.iter().flat_map(|pattern| pattern.chars()).filter(|c| matches!(c, '*' | '?'));
    if wildcards.count() > MAX_WILDCARDS {
        return Err(invalid(format!("A rule can have at most '{MAX_WILDCARDS}' condition wildcards")));
    }
    Ok(conditions)
}

fn parse(condition: RuleCondition) -> Result<Condition, ApiError> {
    let field = condition.field.unwrap_or_default();
    let values = condition.values;
    match field.as_str() {
        "host-header" => {
            let values = condition.host_header_config.and_then(|config| config.values).or(values);
            texts(&field, values, host_char).map(Condition::HostHeader)
        }
        "path-pattern" => {
            let values = condition.path_pattern_config.and_then(|config| config.values).or(values);
            texts(&field, values, path_char).map(Condition::PathPattern)
        }
        "http-header" => header(condition.http_header_config.unwrap_or_default()),
        "http-request-method" => {
            let values = condition.http_request_method_config.and_then(|config| config.values);
            texts(&field, values, |c| c.is_ascii_uppercase() || matches!(c, '-' | '_'))
                .map(Condition::HttpRequestMethod)
        }
        "query-string" => query(condition.query_string_config.and_then(|config| config.values)),
        "source-ip" => source(condition.source_ip_config.and_then(|config| config.values)),
        _ => Err(invalid(format!(
            "Condition field '{field}' must be one of '[path-pattern, host-header, http-header, http-request-method, query-string, source-ip]'"
        ))),
    }
}

/// The values of a condition, of which there must be one or more made of characters that `allowed` knows.
fn texts(
    field: &str,
    values: Option<Vec<String>>,
    allowed: fn(char) -> bool,
) -> Result<Vec<String>, ApiError> {
    let values = values.filter(|values| !values.is_empty());
    let values =
        values.ok_or_else(|| invalid(format!("A condition value must be specified for '{field}'")))?;
    for value in &values {
        if value.is_empty() || value.chars().count() > MAX_LENGTH {
            return Err(invalid(format!(
                "The '{field}' condition value '{value}' must have 1 to {MAX_LENGTH} characters"
            )));
        }
        if !value.chars().all(allowed) {
            return Err(invalid(format!(
                "The '{field}' condition value '{value}' contains a character that is not valid"
            )));
        }
    }
    Ok(values)
}

fn host_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-.*?".contains(c)
}

fn path_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.$/~\"'@:+&*?".contains(c)
}

fn printable(c: char) -> bool {
    matches!(c, ' '..='~')
}

fn header(config: HttpHeaderConditionConfig) -> Result<Condition, ApiError> {
    let name = config.http_header_name.unwrap_or_default();
    let token = |c: char| c.is_ascii_alphanumeric() || "*?-!#$%&'+.^_`|~".contains(c);
    if name.is_empty() || name.len() > 40 || !name.chars().all(token) {
        return Err(invalid(format!("The HTTP header name '{name}' is not valid")));
    }
    if name.eq_ignore_ascii_case("host") {
        return Err(invalid("The HTTP header name 'Host' is not valid; use a 'host-header' condition"));
    }
    Ok(Condition::HttpHeader { name, values: texts("http-header", config.values, printable)? })
}

fn query(pairs: Option<Vec<QueryStringKeyValuePair>>) -> Result<Condition, ApiError> {
    let mut parsed = Vec::new();
    for pair in pairs.unwrap_or_default() {
        let value = texts("query-string", Some(vec![pair.value.unwrap_or_default()]), printable)?;
        let key = pair.key.map(|key| texts("query-string", Some(vec![key]), printable)).transpose()?;
        parsed.push((key.map(|key| key.concat()), value.concat()));
    }
    if parsed.is_empty() {
        return Err(invalid("A condition value must be specified for 'query-string'"));
    }
    Ok(Condition::QueryString(parsed))
}

fn source(values: Option<Vec<String>>) -> Result<Condition, ApiError> {
    let values = texts("source-ip", values, |c| c.is_ascii_hexdigit() || ".:/".contains(c))?;
    let network = |value: String| {
        if value.contains(':') {
            return Err(ApiError::not_implemented("IPv6 ranges in 'source-ip' conditions"));
        }
        value.parse::<Ipv4Net>().map_err(|_| invalid(format!("The CIDR block '{value}' is not valid")))
    };
    values.into_iter().map(network).collect::<Result<_, _>>().map(Condition::SourceIp)
}

fn field_of(condition: &Condition) -> &'static str {
    match condition {
        Condition::HostHeader(_) => "host-header",
        Condition::PathPattern(_) => "path-pattern",
        Condition::HttpHeader { .. } => "http-header",
        Condition::HttpRequestMethod(_) => "http-request-method",
        Condition::QueryString(_) => "query-string",
        Condition::SourceIp(_) => "source-ip",
    }
}

/// The values of a condition as texts.
fn patterns(condition: &Condition) -> Vec<String> {
    match condition {
        Condition::HostHeader(values)
        | Condition::PathPattern(values)
        | Condition::HttpHeader { values, .. }
        | Condition::HttpRequestMethod(values) => values.clone(),
        Condition::QueryString(pairs) => pairs
            .iter()
            .map(|(key, value)| format!("{}{value}", key.as_deref().unwrap_or_default()))
            .collect(),
        Condition::SourceIp(networks) => networks.iter().map(ToString::to_string).collect(),
    }
}

/// As the API shows it: hosts and paths also in the older member `Values`.
pub(super) fn shape(condition: &Condition) -> RuleCondition {
    let mut shape = RuleCondition { field: Some(field_of(condition).into()), ..RuleCondition::default() };
    let values = Some(patterns(condition));
    match condition {
        Condition::HostHeader(_) => {
            shape.values.clone_from(&values);
            shape.host_header_config = Some(HostHeaderConditionConfig { values });
        }
        Condition::PathPattern(_) => {
            shape.values.clone_from(&values);
            shape.path_pattern_config = Some(PathPatternConditionConfig { values });
        }
        Condition::HttpHeader { name, .. } => {
            let http_header_name = Some(name.clone());
            shape.http_header_config = Some(HttpHeaderConditionConfig { http_header_name, values });
        }
        Condition::HttpRequestMethod(_) => {
            shape.http_request_method_config = Some(HttpRequestMethodConditionConfig { values });
        }
        Condition::QueryString(pairs) => {
            let pair = |(key, value): &(Option<String>, String)| QueryStringKeyValuePair {
                key: key.clone(),
                value: Some(value.clone()),
            };
            let values = Some(pairs.iter().map(pair).collect());
            shape.query_string_config = Some(QueryStringConditionConfig { values });
        }
        Condition::SourceIp(_) => shape.source_ip_config = Some(SourceIpConditionConfig { values }),
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(values: &[&str]) -> RuleCondition {
        let values = Some(values.iter().map(|&value| value.to_owned()).collect());
        RuleCondition { field: Some("path-pattern".into()), values, ..RuleCondition::default() }
    }

    #[test]
    fn what_is_shown_is_read_back_as_it_was() {
        let all = [
            Condition::HostHeader(vec!["*.example.com".into()]),
            Condition::PathPattern(vec!["/api/*".into()]),
            Condition::HttpHeader { name: "X-Env".into(), values: vec!["test".into()] },
            Condition::HttpRequestMethod(vec!["POST".into()]),
            Condition::QueryString(vec![(Some("v".into()), "1".into()), (None, "x".into())]),
            Condition::SourceIp(vec!["10.0.0.0/8".parse().unwrap()]),
        ];
        for condition in all {
            assert_eq!(parse(shape(&condition)), Ok(condition));
        }
    }

    #[test]
    fn the_old_member_still_works() {
        assert_eq!(parse_all(vec![path(&["/a"])]), Ok(vec![Condition::PathPattern(vec!["/a".into()])]));
    }

    #[test]
    fn quotas_and_characters() {
        for conditions in [
            vec![],
            vec![path(&[])],
            vec![path(&["/a"]), path(&["/b"])],
            vec![path(&["/1", "/2", "/3", "/4", "/5", "/6"])],
            vec![path(&["/*/*/*/*/*/*"])],
            vec![path(&["/with space"])],
            vec![path(&[&"x".repeat(129)])],
            vec![RuleCondition { field: Some("cookie".into()), ..RuleCondition::default() }],
        ] {
            assert!(parse_all(conditions.clone()).is_err(), "{conditions:?}");
        }
    }
}
