//! Which action a request gets: a listener's rules, compiled, and evaluated without allocation. Pure.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-rules.html>

pub(crate) mod action;
pub(crate) mod pattern;
pub(crate) mod rules;

pub(crate) use action::{Action, Forward, Redirect, RedirectFacts};
pub(crate) use rules::{Facts, Rule, evaluate};
