//! A listener's rules: conditions tested in order of priority; the first rule whose conditions all hold acts.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use pileus_contract::proxy::Condition;

use super::action::Action;
use super::pattern::Pattern;
use crate::http1::RequestHead;
use crate::http1::forward::without_port;
use crate::http1::headers::Field;

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) conditions: Vec<Test>,
    pub(crate) action: Action,
}

/// A compiled [`Condition`]: holds when any of its values does.
#[derive(Debug)]
pub(crate) enum Test {
    Host(Vec<Pattern>),
    Path(Vec<Pattern>),
    Header { name: String, values: Vec<Pattern> },
    Method(Vec<String>),
    Query(Vec<(Option<Pattern>, Pattern)>),
    Source(Vec<Ipv4Net>),
}

/// What the conditions look at.
pub(crate) struct Facts<'a> {
    pub(crate) buffer: &'a [u8],
    pub(crate) head: &'a RequestHead,
    pub(crate) client: Ipv4Addr,
}

impl From<&Condition> for Test {
    fn from(condition: &Condition) -> Self {
        let insensitive = |texts: &[String]| texts.iter().map(|text| Pattern::insensitive(text)).collect();
        match condition {
            Condition::HostHeader(hosts) => Self::Host(insensitive(hosts)),
            Condition::PathPattern(paths) => {
                Self::Path(paths.iter().map(|path| Pattern::sensitive(path)).collect())
            }
            Condition::HttpHeader { name, values } => {
                Self::Header { name: name.clone(), values: insensitive(values) }
            }
            Condition::HttpRequestMethod(methods) => Self::Method(methods.clone()),
            Condition::QueryString(pairs) => Self::Query(
                pairs
                    .iter()
                    .map(|(key, value)| {
                        (key.as_deref().map(Pattern::insensitive), Pattern::insensitive(value))
                    })
                    .collect(),
            ),
            Condition::SourceIp(networks) => Self::Source(networks.clone()),
        }
    }
}

impl Test {
    fn holds(&self, facts: &Facts<'_>) -> bool {
        let Facts { buffer, head, client } = facts;
        match self {
            Self::Host(patterns) => any(patterns, without_port(head.host.in_(buffer))),
            Self::Path(patterns) => any(patterns, head.path.in_(buffer)),
            Self::Header { name, values } => {
                let named = |field: &&Field| field.name.in_(buffer).eq_ignore_ascii_case(name.as_bytes());
                head.fields.iter().filter(named).any(|field| any(values, field.value.in_(buffer)))
            }
            Self::Method(methods) => {
                let method = head.method.in_(buffer);
                methods.iter().any(|name| name.as_bytes() == method)
            }
            Self::Query(pairs) => {
                let query = head.query.in_(buffer);
                query
                    .split(|&byte| byte == b'&')
                    .filter(|pair| !pair.is_empty())
                    .any(|pair| any_pair(pairs, pair))
            }
            Self::Source(networks) => networks.iter().any(|network| network.contains(client)),
        }
    }
}

fn any(patterns: &[Pattern], subject: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.matches(subject))
}

fn any_pair(pairs: &[(Option<Pattern>, Pattern)], pair: &[u8]) -> bool {
    let equals = pair.iter().position(|&byte| byte == b'=');
    let (key, value) = match equals {
        Some(equals) => (&pair[..equals], &pair[equals + 1..]),
        None => (pair, &[][..]),
    };
    pairs.iter().any(|(expected_key, expected_value)| {
        expected_key.as_ref().is_none_or(|expected| expected.matches(key)) && expected_value.matches(value)
    })
}

/// The action of the first rule that holds, and how many rules with conditions were looked at
/// (`RuleEvaluations`). `None` where there is not even a default rule.
pub(crate) fn evaluate<'r>(rules: &'r [Rule], facts: &Facts<'_>) -> (Option<&'r Action>, u64) {
    let mut evaluated = 0;
    for rule in rules {
        evaluated += u64::from(!rule.conditions.is_empty());
        if rule.conditions.iter().all(|condition| condition.holds(facts)) {
            return (Some(&rule.action), evaluated);
        }
    }
    (None, evaluated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::action::Fixed;

    /// Whether `condition` holds for a request for `target` with `fields`, from 192.0.2.7.
    fn holds(condition: &Condition, target: &str, fields: &str) -> bool {
        let text = format!("GET {target} HTTP/1.1\r\nHost: Web.Example:8080\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        assert_eq!(head.parse(text.as_bytes()), Ok(true), "{text}");
        let facts = Facts { buffer: text.as_bytes(), head: &head, client: Ipv4Addr::new(192, 0, 2, 7) };
        Test::from(condition).holds(&facts)
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn hosts_paths_and_methods() {
        let host = |patterns: &[&str]| holds(&Condition::HostHeader(strings(patterns)), "/", "");
        assert!(host(&["other", "*.EXAMPLE"]));
        assert!(!host(&["web.example.com"]));
        let path =
            |pattern: &str, target: &str| holds(&Condition::PathPattern(strings(&[pattern])), target, "");
        assert!(path("/api/*", "/api/x?y=/z"));
        assert!(!path("/api/*", "/API/x"));
        assert!(!path("*y*", "/api/x?y"), "the query is no part of the path");
        let method = |name: &str| holds(&Condition::HttpRequestMethod(strings(&[name])), "/", "");
        assert!(method("GET") && !method("get") && !method("POST"));
    }

    #[test]
    fn headers_any_of_several_lines() {
        let header = |value: &str| {
            let condition = Condition::HttpHeader { name: "x-a".into(), values: strings(&[value]) };
            holds(&condition, "/", "X-A: one\r\nX-B: two\r\nX-A: Three\r\n")
        };
        assert!(header("ONE") && header("th*") && !header("two"));
    }

    #[test]
    fn queries_by_key_and_value() {
        let query = |key: Option<&str>, value: &str, target: &str| {
            holds(&Condition::QueryString(vec![(key.map(str::to_owned), value.to_owned())]), target, "")
        };
        assert!(query(Some("version"), "v1", "/?a=b&Version=V1"));
        assert!(query(None, "b", "/?a=b&c"));
        assert!(query(Some("c"), "", "/?a=b&c"));
        assert!(!query(Some("c"), "b", "/?a=b&c"));
        assert!(!query(None, "*", "/"));
    }

    #[test]
    fn sources_by_network() {
        let source =
            |network: &str| holds(&Condition::SourceIp(vec![network.parse().expect("CIDR")]), "/", "");
        assert!(source("192.0.2.0/24") && !source("10.0.0.0/8"));
    }

    #[test]
    fn the_first_rule_whose_conditions_all_hold_acts() {
        let fixed = |status| Action::Fixed(Fixed { status, content_type: String::new(), body: Vec::new() });
        let path = |path: &str| Test::Path(vec![Pattern::sensitive(path)]);
        let rules = [
            Rule { conditions: vec![path("/a*"), Test::Method(strings(&["POST"]))], action: fixed(201) },
            Rule { conditions: vec![path("/a*")], action: fixed(202) },
            Rule { conditions: vec![path("/ab")], action: fixed(203) },
            Rule { conditions: vec![], action: fixed(204) },
        ];
        let status = |target: &str| {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut head = RequestHead::default();
            assert_eq!(head.parse(text.as_bytes()), Ok(true));
            let facts = Facts { buffer: text.as_bytes(), head: &head, client: Ipv4Addr::LOCALHOST };
            match evaluate(&rules, &facts) {
                (Some(Action::Fixed(fixed)), evaluated) => (fixed.status, evaluated),
                other => panic!("unexpected {other:?}"),
            }
        };
        assert_eq!(status("/ab"), (202, 2));
        assert_eq!(status("/c"), (204, 3));
    }
}
