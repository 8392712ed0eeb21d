//! Condition operators.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use ipnet::IpNet;
use pileus_core::Timestamp;

use super::Request;
use super::pattern::{Pattern, plain};

/// `operator: { key: values }`. Holds when one of the values matches, negated operators when none does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) operator: Operator,
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operator {
    set: Set,
    compare: Compare,
    negated: bool,
    if_exists: bool,
}

/// How a key with several values is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Set {
    Single,
    ForAllValues,
    ForAnyValue,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Compare {
    String,
    StringIgnoringCase,
    StringLike,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Ip,
    Arn,
    /// Whether the key is absent.
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    /// Reads a name such as `ForAnyValue:StringNotLikeIfExists`; case does not matter.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let (set, name) = match name.split_once(':') {
            None => (Set::Single, name.as_str()),
            Some(("forallvalues", rest)) => (Set::ForAllValues, rest),
            Some(("foranyvalue", rest)) => (Set::ForAnyValue, rest),
            Some(_) => return None,
        };
        let (name, if_exists) = name.strip_suffix("ifexists").map_or((name, false), |name| (name, true));
        let (compare, negated) = comparison(name)?;
        let null = compare == Compare::Null;
        (!null || (!if_exists && set == Set::Single)).then_some(Self { set, compare, negated, if_exists })
    }
}

/// What a plain operator compares, and whether it is negated.
fn comparison(name: &str) -> Option<(Compare, bool)> {
    let order = |rest: &str| {
        Some(match rest {
            "equals" => (Order::Equal, false),
            "notequals" => (Order::Equal, true),
            "lessthan" => (Order::Less, false),
            "lessthanequals" => (Order::LessOrEqual, false),
            "greaterthan" => (Order::Greater, false),
            "greaterthanequals" => (Order::GreaterOrEqual, false),
            _ => return None,
        })
    };
    if let Some(rest) = name.strip_prefix("numeric") {
        return order(rest).map(|(order, negated)| (Compare::Number(order), negated));
    }
    if let Some(rest) = name.strip_prefix("date") {
        return order(rest).map(|(order, negated)| (Compare::Date(order), negated));
    }
    Some(match name {
        "stringequals" => (Compare::String, false),
        "stringnotequals" => (Compare::String, true),
        "stringequalsignorecase" => (Compare::StringIgnoringCase, false),
        "stringnotequalsignorecase" => (Compare::StringIgnoringCase, true),
        "stringlike" => (Compare::StringLike, false),
        "stringnotlike" => (Compare::StringLike, true),
        "bool" => (Compare::Bool, false),
        "binaryequals" => (Compare::Binary, false),
        "ipaddress" => (Compare::Ip, false),
        "notipaddress" => (Compare::Ip, true),
        "arnequals" | "arnlike" => (Compare::Arn, false),
        "arnnotequals" | "arnnotlike" => (Compare::Arn, true),
        "null" => (Compare::Null, false),
        _ => return None,
    })
}

impl Condition {
    /// `variables` is the request again where the policy's version knows variables.
    pub(super) fn holds(&self, request: &Request, variables: Option<&Request>) -> bool {
        let found = request.values(&self.key).unwrap_or_default();
        if self.operator.compare == Compare::Null {
            return self.values.iter().any(|value| value.eq_ignore_ascii_case("true") == found.is_empty());
        }
        if found.is_empty() {
            return self.operator.if_exists
                || match self.operator.set {
                    Set::Single => self.operator.negated,
                    Set::ForAllValues => true,
                    Set::ForAnyValue => false,
                };
        }
        let passes = |value: &String| {
            let matches =
                self.values.iter().any(|wanted| self.operator.compare.matches(wanted, value, variables));
            matches != self.operator.negated
        };
        match (self.operator.set, self.operator.negated) {
            (Set::ForAllValues, _) | (Set::Single, true) => found.iter().all(passes),
            (Set::ForAnyValue, _) | (Set::Single, false) => found.iter().any(passes),
        }
    }
}

impl Compare {
    fn matches(self, wanted: &str, found: &str, variables: Option<&Request>) -> bool {
        let pattern = || Pattern::new(wanted, variables);
        match self {
            Self::String | Self::Binary => plain(wanted, variables).is_some_and(|wanted| wanted == found),
            Self::StringIgnoringCase => {
                plain(wanted, variables).is_some_and(|wanted| wanted.to_lowercase() == found.to_lowercase())
            }
            Self::StringLike => pattern().is_some_and(|pattern| pattern.matches(found)),
            Self::Arn => pattern().is_some_and(|pattern| pattern.matches_arn(found)),
            Self::Bool => wanted.eq_ignore_ascii_case(found),
            Self::Number(order) => {
                let (Ok(wanted), Ok(found)) = (wanted.parse::<f64>(), found.parse::<f64>()) else {
                    return false;
                };
                order.holds(&found, &wanted)
            }
            Self::Date(order) => {
                let (Some(wanted), Some(found)) = (date(wanted), date(found)) else { return false };
                order.holds(&found, &wanted)
            }
            Self::Ip => {
                let (Some(wanted), Ok(found)) = (network(wanted), found.parse::<std::net::IpAddr>()) else {
                    return false;
                };
                wanted.contains(&found)
            }
            Self::Null => false,
        }
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, found: &T, wanted: &T) -> bool {
        match self {
            Self::Equal => found == wanted,
            Self::Less => found < wanted,
            Self::LessOrEqual => found <= wanted,
            Self::Greater => found > wanted,
            Self::GreaterOrEqual => found >= wanted,
        }
    }
}

/// ISO 8601, or seconds since the epoch.
fn date(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| Some(Timestamp::from_secs(text.parse().ok()?)))
}

/// A range, or a single address.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ContextKeys;

    fn holds(operator: &str, key: &str, values: &[&str], found: &[&str]) -> bool {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let mut keys = ContextKeys::from([("aws:username".to_owned(), texts(&["alice"]))]);
        if !found.is_empty() {
            keys.insert("test:key".into(), texts(found));
        }
        let request = Request { action: "s3:GetObject", resource: "*", keys: &keys };
        let operator = Operator::parse(operator).expect("an operator");
        Condition { operator, key: key.into(), values: texts(values) }.holds(&request, Some(&request))
    }

    #[test]
    fn operators() {
        for (operator, values, found, expected) in [
            ("StringEquals", vec!["a", "b"], vec!["b"], true),
            ("StringEquals", vec!["a"], vec!["A"], false),
            ("StringEquals", vec!["a*"], vec!["ab"], false),
            ("StringEquals", vec!["${aws:username}"], vec!["alice"], true),
            ("StringNotEquals", vec!["a", "b"], vec!["b"], false),
            ("StringNotEquals", vec!["a", "b"], vec!["c"], true),
            ("StringEqualsIgnoreCase", vec!["a"], vec!["A"], true),
            ("stringlike", vec!["web-?*"], vec!["web-1x"], true),
            ("StringNotLike", vec!["web-*"], vec!["web-1"], false),
            ("NumericLessThan", vec!["10"], vec!["9.5"], true),
            ("NumericLessThanEquals", vec!["10"], vec!["10"], true),
            ("NumericGreaterThan", vec!["10"], vec!["ten"], false),
            ("NumericNotEquals", vec!["10"], vec!["10.0"], false),
            ("DateGreaterThan", vec!["2026-01-01T00:00:00Z"], vec!["2026-06-01T00:00:00Z"], true),
            ("DateLessThan", vec!["0"], vec!["2026-06-01T00:00:00Z"], false),
            ("Bool", vec!["true"], vec!["TRUE"], true),
            ("BinaryEquals", vec!["QmluYXJ5"], vec!["QmluYXJ5"], true),
            ("IpAddress", vec!["10.0.0.0/8", "192.0.2.1"], vec!["10.9.8.7"], true),
            ("IpAddress", vec!["192.0.2.1"], vec!["192.0.2.2"], false),
            ("NotIpAddress", vec!["2001:db8::/32"], vec!["2001:db8::1"], false),
            ("ArnEquals", vec!["arn:aws:ecs:*:1:*"], vec!["arn:aws:ecs:eu-west-1:1:task/x"], true),
            ("ArnNotLike", vec!["arn:aws:ecs:*:1:*"], vec!["arn:aws:ecs:eu-west-1:2:task/x"], true),
        ] {
            assert_eq!(
                holds(operator, "test:key", &values, &found),
                expected,
                "{operator} {values:?} {found:?}"
            );
        }
    }

    #[test]
    fn absent_keys() {
        for (operator, expected) in [
            ("StringEquals", false),
            ("StringEqualsIfExists", true),
            ("StringNotEquals", true),
            ("Bool", false),
            ("ForAllValues:StringEquals", true),
            ("ForAnyValue:StringEquals", false),
        ] {
            assert_eq!(holds(operator, "test:key", &["x"], &[]), expected, "{operator}");
        }
        assert!(holds("Null", "test:key", &["true"], &[]));
        assert!(!holds("Null", "test:key", &["true"], &["x"]));
        assert!(holds("Null", "Test:Key", &["false"], &["x"]), "case of keys does not matter");
    }

    #[test]
    fn sets() {
        for (operator, found, expected) in [
            ("ForAllValues:StringEquals", vec!["a", "b"], true),
            ("ForAllValues:StringEquals", vec!["a", "x"], false),
            ("ForAnyValue:StringEquals", vec!["x", "b"], true),
            ("ForAnyValue:StringEquals", vec!["x", "y"], false),
            ("ForAllValues:StringNotEquals", vec!["x", "y"], true),
            ("ForAllValues:StringNotEquals", vec!["x", "a"], false),
        ] {
            assert_eq!(holds(operator, "test:key", &["a", "b"], &found), expected, "{operator} {found:?}");
        }
    }

    #[test]
    fn unknown_operators() {
        for name in ["StringMatches", "ForSomeValues:StringEquals", "NullIfExists", "", "Numeric"] {
            assert_eq!(Operator::parse(name), None, "{name}");
        }
    }
}
