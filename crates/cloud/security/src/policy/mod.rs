//! Policies: what they say, and what follows from them for a request.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

mod condition;
mod evaluate;
mod json;
mod parse;
mod pattern;
mod principal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::condition::Condition;
pub use self::evaluate::{Applying, Relation, Source, Verdict, evaluate, through_endpoint};
pub use self::parse::{Kind, Malformed, parse};
use self::pattern::Pattern;
use self::principal::Principals;
pub use self::principal::{Principal, Reach};

/// A parsed policy document.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Whether `${…}` stands for a value of the request: since version 2012-10-17.
    variables: bool,
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    sid: Option<String>,
    effect: Effect,
    /// Of trust policies and of resources' policies only.
    principals: Principals,
    actions: Listed,
    resources: Listed,
    conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// `Action` and `Resource`, or `NotAction` and `NotResource`.
#[derive(Clone, Debug, PartialEq)]
enum Listed {
    Only(Vec<String>),
    AllBut(Vec<String>),
}

/// Condition keys in lower case, such as `aws:sourceip`, with their values.
pub type ContextKeys = BTreeMap<String, Vec<String>>;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `service:Operation`
    pub action: &'a str,
    /// An ARN, or `*` for operations that know no resource: then an allow must be for all resources.
    pub resource: &'a str,
    pub keys: &'a ContextKeys,
}

impl Request<'_> {
    fn values(&self, key: &str) -> Option<&[String]> {
        self.keys.get(&key.to_ascii_lowercase()).map(Vec::as_slice).filter(|values| !values.is_empty())
    }
}

impl Policy {
    /// The policy that allows everything: what an account's root has.
    pub fn administrator() -> Self {
        let statement = Statement {
            sid: None,
            effect: Effect::Allow,
            principals: Principals::default(),
            actions: Listed::Only(vec!["*".into()]),
            resources: Listed::Only(vec!["*".into()]),
            conditions: Vec::new(),
        };
        Self { variables: false, statements: vec![statement] }
    }

    /// The condition keys that it mentions, in conditions and in variables, as they are written.
    pub fn context_keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for statement in &self.statements {
            keys.extend(statement.conditions.iter().map(|condition| condition.key.clone()));
            if self.variables {
                let values = statement.conditions.iter().flat_map(|condition| &condition.values);
                let texts = statement.resources.patterns().iter().chain(values);
                keys.extend(texts.flat_map(|text| pattern::variables(text)));
            }
        }
        keys
    }

    /// The statements of one effect that apply to a request.
    fn applying<'a>(
        &'a self,
        effect: Effect,
        request: &'a Request<'a>,
    ) -> impl Iterator<Item = &'a Statement> {
        let variables = self.variables.then_some(request);
        let statements = self.statements.iter().filter(move |statement| statement.effect == effect);
        statements.filter(move |statement| statement.applies(request, variables))
    }
}

impl Statement {
    fn applies(&self, request: &Request, variables: Option<&Request>) -> bool {
        let action = |pattern: &str| {
            Pattern::new(pattern, None).is_some_and(|pattern| pattern.matches_ignoring_case(request.action))
        };
        let resource = |pattern: &str| {
            Pattern::new(pattern, variables).is_some_and(|pattern| pattern.matches_arn(request.resource))
        };
        self.actions.includes(action)
            && self.resources.includes(resource)
            && self.conditions.iter().all(|condition| condition.holds(request, variables))
    }
}

impl Listed {
    fn patterns(&self) -> &[String] {
        match self {
            Self::Only(patterns) | Self::AllBut(patterns) => patterns,
        }
    }

    fn includes(&self, matches: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Only(patterns) => patterns.iter().any(|pattern| matches(pattern)),
            Self::AllBut(patterns) => !patterns.iter().any(|pattern| matches(pattern)),
        }
    }
}
