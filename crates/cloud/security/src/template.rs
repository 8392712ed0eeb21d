//! Templates of ARNs and of condition values, filled in from a request. `authorization.toml` explains them.

use pileus_core::{Arn, Scope};
use pileus_model::Value;

/// The most texts that one template becomes.
const MAX_TEXTS: usize = 1000;

/// What EC2's ids begin with, and the types of their resources in ARNs.
const EC2_TYPES: [(&str, &str); 15] = [
    ("acl", "network-acl"),
    ("dopt", "dhcp-options"),
    ("eigw", "egress-only-internet-gateway"),
    ("eipalloc", "elastic-ip"),
    ("eni", "network-interface"),
    ("fl", "vpc-flow-log"),
    ("igw", "internet-gateway"),
    ("nat", "natgateway"),
    ("pl", "prefix-list"),
    ("rtb", "route-table"),
    ("sg", "security-group"),
    ("sgr", "security-group-rule"),
    ("subnet", "subnet"),
    ("vpc", "vpc"),
    ("vpce", "vpc-endpoint"),
];

/// Where values come from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) input: &'a Value,
    pub(crate) scope: &'a Scope,
    /// The name of the user who asks, if it is one.
    pub(crate) user: Option<&'a str>,
}

/// The texts that a template stands for; none where a value is missing.
pub(crate) fn expand(template: &str, source: &Source) -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        texts.iter_mut().for_each(|text| text.push_str(literal));
        let values = resolve(name, source);
        texts = join(&texts, &values, after.is_empty());
        rest = after;
    }
    texts.iter_mut().for_each(|text| text.push_str(rest));
    texts
}

/// Every text with every value. The last value may be an ARN that says all.
fn join(texts: &[String], values: &[String], last: bool) -> Vec<String> {
    let one = |text: &String, value: &String| match Arn::parse(value) {
        Some(_) if last => value.clone(),
        Some(arn) => format!("{text}{}", name(&arn)),
        // A path in an ARN begins with one slash.
        None if text.ends_with('/') => format!("{text}{}", value.strip_prefix('/').unwrap_or(value)),
        None => format!("{text}{value}"),
    };
    let pairs = texts.iter().flat_map(|text| values.iter().map(move |value| (text, value)));
    pairs.take(MAX_TEXTS).map(|(text, value)| one(text, value)).collect()
}

/// What follows the type: `web` of `cluster/web`, `/ecs/web` of `log-group:/ecs/web:*`.
fn name<'a>(arn: &Arn<'a>) -> &'a str {
    let name = arn.resource.split_once(['/', ':']).map_or(arn.resource, |(_, name)| name);
    name.strip_suffix(":*").unwrap_or(name)
}

/// The values of `A.B`, `A,B`, `A|default` or `A@id`.
fn resolve(name: &str, source: &Source) -> Vec<String> {
    let (names, default) =
        name.split_once('|').map_or((name, None), |(names, default)| (names, Some(default)));
    for name in names.split(',') {
        let (name, typed) = name.strip_suffix("@id").map_or((name, false), |name| (name, true));
        let mut values = values(name, source);
        if typed {
            values = values.iter().filter_map(|id| typed_id(id)).collect();
        }
        if !values.is_empty() {
            return values;
        }
    }
    default.map(str::to_owned).into_iter().collect()
}

fn values(name: &str, source: &Source) -> Vec<String> {
    match name {
        "region" => return vec![source.scope.region.clone()],
        "account" => return vec![source.scope.account.clone()],
        "caller" => return source.user.map(str::to_owned).into_iter().collect(),
        _ => {}
    }
    let mut found = vec![source.input];
    for part in name.split('.') {
        found = found.into_iter().flat_map(each).filter_map(|value| value.get(part)).collect();
    }
    found.into_iter().flat_map(each).filter_map(text).filter(|text| !text.is_empty()).collect()
}

/// The items of a list, else the value.
fn each(value: &Value) -> &[Value] {
    if let Value::List(items) = value { items } else { std::slice::from_ref(value) }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Integer(value) => Some(value.to_string()),
        _ => None,
    }
}

fn typed_id(id: &str) -> Option<String> {
    let prefix = id.split('-').next()?;
    let (_, kind) = EC2_TYPES.iter().find(|(known, _)| *known == prefix)?;
    Some(format!("{kind}/{id}"))
}
