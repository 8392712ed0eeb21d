//! Filter patterns: terms, JSON conditions in braces, space-delimited fields in brackets.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>

mod condition;
mod fields;
mod json;
mod terms;

use std::collections::BTreeMap;

use pileus_core::ApiError;

use super::invalid;

pub(super) use condition::regex;

/// A parsed pattern. The empty one matches everything.
#[derive(Debug)]
pub(super) enum Pattern {
    Terms(terms::Terms),
    Json(json::Json),
    Fields(fields::Fields),
}

/// A message that matches, and what can be taken out of it: `$.latency` of JSON, `$bytes` of fields.
#[derive(Debug)]
pub(super) enum Match {
    Text,
    Json(serde_json::Value),
    Fields(BTreeMap<String, String>),
}

impl Pattern {
    /// # Errors
    /// It is no pattern.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let text = text.trim();
        let parsed = match text.chars().next() {
            Some('{') => json::Json::parse(text).map(Self::Json),
            Some('[') => fields::Fields::parse(text).map(Self::Fields),
            _ => terms::Terms::parse(text).map(Self::Terms),
        };
        parsed.map_err(|problem| invalid(format!("Invalid metric filter pattern: {problem}")))
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        self.find(message).is_some()
    }

    /// Case matters, as on AWS.
    pub(super) fn find(&self, message: &str) -> Option<Match> {
        match self {
            Self::Terms(terms) => terms.matches(message).then_some(Match::Text),
            Self::Json(json) => json.find(message).map(Match::Json),
            Self::Fields(fields) => fields.find(message).map(Match::Fields),
        }
    }

    /// What `TestMetricFilter` shows of a match: the properties or fields that the pattern names.
    pub(super) fn extracted(&self, found: &Match) -> BTreeMap<String, String> {
        match (self, found) {
            (Self::Json(json), Match::Json(document)) => {
                let named = json.selectors().into_iter();
                named.filter_map(|selector| Some((selector.to_string(), selector.text(document)?))).collect()
            }
            (_, Match::Fields(fields)) => {
                fields.iter().map(|(name, value)| (format!("${name}"), value.clone())).collect()
            }
            _ => BTreeMap::new(),
        }
    }

    /// Whether a selector (`$.a.b`, `$field`) means something for this pattern.
    pub(super) fn knows(&self, selector: &str) -> bool {
        match self {
            Self::Json(_) => json::Selector::parse(selector).is_ok(),
            Self::Fields(fields) => selector.strip_prefix('$').is_some_and(|name| fields.names(name)),
            Self::Terms(_) => false,
        }
    }
}

impl Match {
    /// What a selector finds in the message.
    pub(super) fn value(&self, selector: &str) -> Option<String> {
        match self {
            Self::Text => None,
            Self::Json(document) => json::Selector::parse(selector).ok()?.text(document),
            Self::Fields(fields) => fields.get(selector.strip_prefix('$')?).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, message: &str) -> bool {
        Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).matches(message)
    }

    #[test]
    fn json_conditions() {
        let event = r#"{"level":"error","status":503,"user":{"type":"Root","tags":["a","b"]},"ok":true,"none":null,
            "path":"/api/users","latency":1.5e2,"a.b":1}"#;
        for (pattern, expected) in [
            ("{ $.level = \"error\" }", true),
            ("{ $.level = error }", true),
            ("{ $.level = \"err*\" }", true),
            ("{ $.level = \"Error\" }", false),
            ("{ $.level != \"info\" }", true),
            ("{ $.missing != \"info\" }", false),
            ("{ $.status = 503 }", true),
            ("{ $.status = 5* }", true),
            ("{ $.status >= 500 && $.status < 600 }", true),
            ("{ $.status > 503 }", false),
            ("{ $.latency = 150 }", true),
            ("{ $.user.type = \"Root\" && $.user.invokedBy NOT EXISTS }", true),
            ("{ $.user.tags[1] = \"b\" }", true),
            ("{ $.user.tags[*] = \"b\" }", true),
            ("{ $.user.tags[0] = \"b\" }", false),
            ("{ $.['a.b'] = 1 }", true),
            ("{ $.ok IS TRUE }", true),
            ("{ $.ok IS FALSE }", false),
            ("{ $.none IS NULL }", true),
            ("{ $.level = \"info\" || ($.status = 503 && $.ok IS TRUE) }", true),
            ("{ ($.level = \"info\" || $.status = 503) && $.ok IS FALSE }", false),
            ("{ $.path = %^/api/.+% }", true),
            ("{ $.level = \"error\"}", true),
        ] {
            assert_eq!(matches(pattern, event), expected, "{pattern}");
        }
        assert!(!matches("{ $.level = \"error\" }", "level=error"), "it is no JSON");
    }

    #[test]
    fn space_delimited_fields() {
        let line = r#"127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;
        for (pattern, expected) in [
            ("[ip, server, user, time, request, status, bytes]", true),
            ("[ip, server, user, time, request, status = 4*, bytes]", true),
            ("[ip, server, user, time, request, status = 200, bytes]", false),
            ("[ip, server, user, time, request, status_code = 404 || status_code = 410, bytes]", true),
            ("[..., status = 4*, bytes > 1000]", true),
            ("[..., bytes > 1000 && bytes <= 1500]", false),
            ("[ip != 127.*, ...]", false),
            ("[ip, ..., bytes]", true),
            ("[ip, server]", false),
            ("[ip, server, user, time, request = \"GET *\", ...]", true),
            ("[ip, server, user, time, request = %HTTP/1\\.[01]%, status, bytes]", true),
        ] {
            assert_eq!(matches(pattern, line), expected, "{pattern}");
        }
    }

    #[test]
    fn values_are_taken_out() {
        let pattern = Pattern::parse("{ $.latency > 1 }").expect("a pattern");
        let found = pattern.find(r#"{"latency":2.5,"route":"/a"}"#).expect("it matches");
        assert_eq!(found.value("$.route").as_deref(), Some("/a"));
        assert_eq!(pattern.extracted(&found), BTreeMap::from([("$.latency".to_owned(), "2.5".to_owned())]));
        let pattern = Pattern::parse("[method, size]").expect("a pattern");
        let found = pattern.find("GET 12").expect("it matches");
        assert_eq!(found.value("$size").as_deref(), Some("12"));
        assert!(pattern.knows("$size") && !pattern.knows("$weight") && !pattern.knows("$.size"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in [
            "{",
            "{ }",
            "{ $.a }",
            "{ $.a = }",
            "{ a = 1 }",
            "{ $.a = 1 && }",
            "{ ($.a = 1 }",
            "{ $.a IS MAYBE }",
            "[a",
            "[a = ]",
            "[..., a, ...]",
            "{ $.a = 1 } x",
            "\"open",
            "%(%",
            "{ $.a > \"x\" }",
        ] {
            assert_eq!(Pattern::parse(pattern).expect_err(pattern).code, "InvalidParameterException");
        }
        assert!(Pattern::parse(&format!("{{ {}", "(".repeat(900))).is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(
            pattern in "[\\[{]?[a$.=<>!&|()\\[\\]*%\"' ,?1é-]{0,30}[\\]}]?",
            message in "\\PC{0,30}",
        ) {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                let _ = pattern.matches(&message);
            }
        }
    }
}
