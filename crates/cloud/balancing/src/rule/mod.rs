//! Rules of a listener: conditions, a priority, one action. The default rule is a rule without conditions; it comes
//! last, and goes with its listener.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-rules.html>

pub(crate) mod action;
mod condition;

use pileus_aws::elbv2::{
    CreateRuleInput, CreateRuleOutput, DeleteRuleInput, DeleteRuleOutput, DescribeRulesInput,
    DescribeRulesOutput, ModifyRuleInput, ModifyRuleOutput, Rule as Shape, RulePriorityPair,
    SetRulePrioritiesInput, SetRulePrioritiesOutput, ops,
};
use pileus_contract::proxy::Condition;
use pileus_core::{ApiError, IdGen, Scope, Tags};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use self::action::Chosen;
use crate::listener::{self, Listener};
use crate::load_balancer;
use crate::resource::{self, Resource, invalid};
use crate::tags;

/// Not counting default rules.
pub(crate) const MAX_PER_LOAD_BALANCER: usize = 100;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rule {
    /// `app/<name>/<hex>/<listener's hex>/<16 hex>`
    pub(crate) key: String,
    /// 1..=50000; `None` for the default rule.
    pub(crate) priority: Option<u32>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) chosen: Chosen,
    pub(crate) tags: Tags,
}

impl Record for Rule {
    const KIND: &'static str = "elbv2/rule";

    fn key(&self) -> String {
        self.key.clone()
    }
}

impl Resource for Rule {
    const PREFIX: &'static str = "listener-rule/";
    const NOUN: &'static str = "rule";
    const NOT_FOUND: &'static str = "RuleNotFound";

    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }
}

impl Rule {
    /// The default rule of a new listener.
    pub(crate) fn default_of(listener: &str, chosen: Chosen, ids: &mut IdGen) -> Self {
        let key = format!("{listener}/{}", ids.hex(16));
        Self { key, priority: None, conditions: Vec::new(), chosen, tags: Tags::new() }
    }

    /// The key of its listener.
    pub(crate) fn listener(&self) -> &str {
        self.key.rsplit_once('/').map_or("", |(listener, _)| listener)
    }

    /// The key of its load balancer.
    pub(crate) fn load_balancer(&self) -> &str {
        listener::load_balancer(self.listener())
    }

    /// Whether it sends requests to the target group with this key.
    pub(crate) fn forwards_to(&self, group: &str) -> bool {
        self.chosen.groups().any(|key| key == group)
    }

    /// Rules are evaluated by it, the default rule last.
    pub(crate) fn order(&self) -> u32 {
        self.priority.unwrap_or(u32::MAX)
    }

    fn priority_text(&self) -> String {
        self.priority.map_or_else(|| "default".to_owned(), |priority| priority.to_string())
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateRule>(create_rule)
        .on::<ops::DescribeRules>(describe_rules)
        .on::<ops::ModifyRule>(modify_rule)
        .on::<ops::SetRulePriorities>(set_rule_priorities)
        .on::<ops::DeleteRule>(delete_rule);
}

/// The rules of a listener, in order of evaluation.
pub(crate) fn of_listener(tx: &Tx, listener: &str) -> Vec<Rule> {
    let rules = tx.list::<Rule>().into_iter().filter(|rule| rule.listener() == listener);
    let mut rules: Vec<Rule> = rules.map(|rule| Rule::clone(&rule)).collect();
    rules.sort_by_key(Rule::order);
    rules
}

fn create_rule(cx: &mut Context, input: CreateRuleInput) -> Result<CreateRuleOutput, ApiError> {
    let listener = resource::find::<Listener>(cx.tx, &input.listener_arn)?;
    let balancer = load_balancer::of_key(cx.tx, listener.load_balancer())?;
    let priority = u32::try_from(input.priority).map_err(|_| invalid("A rule priority must be positive"))?;
    if of_listener(cx.tx, &listener.key).iter().any(|rule| rule.priority == Some(priority)) {
        return Err(ApiError::client("PriorityInUse", format!("Priority '{priority}' is currently in use")));
    }
    let rules = cx.tx.list::<Rule>();
    let ours = rules.iter().filter(|rule| rule.priority.is_some() && rule.load_balancer() == balancer.key);
    if ours.count() >= MAX_PER_LOAD_BALANCER {
        let message = format!("A load balancer can have at most {MAX_PER_LOAD_BALANCER} rules");
        return Err(ApiError::client("TooManyRules", message));
    }
    let rule = Rule {
        key: format!("{}/{}", listener.key, cx.ids.hex(16)),
        priority: Some(priority),
        conditions: condition::parse_all(input.conditions)?,
        chosen: action::parse(cx.tx, &balancer, input.actions)?,
        tags: tags::of_request(input.tags)?,
    };
    let shape = shape(cx.scope(), &rule);
    cx.tx.put(rule);
    Ok(CreateRuleOutput { rules: Some(vec![shape]) })
}

fn describe_rules(cx: &mut Context, input: DescribeRulesInput) -> Result<DescribeRulesOutput, ApiError> {
    let mut rules: Vec<Rule> = match (&input.listener_arn, &input.rule_arns) {
        (Some(arn), None) => of_listener(cx.tx, &resource::find::<Listener>(cx.tx, arn)?.key),
        (None, Some(arns)) => arns
            .iter()
            .map(|arn| Ok(Rule::clone(&*resource::find(cx.tx, arn)?)))
            .collect::<Result<_, ApiError>>()?,
        _ => return Err(invalid("You must specify either listener or rule ARNs")),
    };
    let order = |rule: &Rule| format!("{:010}/{}", rule.order(), rule.key);
    rules.sort_by_key(order);
    let (rules, next_marker) = resource::page(rules, order, input.marker.as_deref(), input.page_size)?;
    let rules = rules.iter().map(|rule| shape(cx.scope(), rule)).collect();
    Ok(DescribeRulesOutput { rules: Some(rules), next_marker })
}

fn modify_rule(cx: &mut Context, input: ModifyRuleInput) -> Result<ModifyRuleOutput, ApiError> {
    let mut rule = changeable(cx.tx, &input.rule_arn, "modified")?;
    if let Some(conditions) = input.conditions {
        rule.conditions = condition::parse_all(conditions)?;
    }
    if let Some(actions) = input.actions {
        let balancer = load_balancer::of_key(cx.tx, rule.load_balancer())?;
        rule.chosen = action::parse(cx.tx, &balancer, actions)?;
    }
    let shape = shape(cx.scope(), &rule);
    cx.tx.put(rule);
    Ok(ModifyRuleOutput { rules: Some(vec![shape]) })
}

/// Gives rules new priorities, all at once, so that two may change places.
fn set_rule_priorities(
    cx: &mut Context,
    input: SetRulePrioritiesInput,
) -> Result<SetRulePrioritiesOutput, ApiError> {
    let mut moved = Vec::new();
    for RulePriorityPair { rule_arn, priority } in input.rule_priorities {
        let (Some(arn), Some(priority)) = (rule_arn, priority) else {
            return Err(invalid("You must specify both a rule ARN and a priority"));
        };
        let mut rule = changeable(cx.tx, &arn, "modified")?;
        rule.priority =
            Some(u32::try_from(priority).map_err(|_| invalid("A rule priority must be positive"))?);
        cx.tx.put(rule.clone());
        moved.push(rule);
    }
    for rule in &moved {
        let same = |other: &Rule| other.key != rule.key && other.priority == rule.priority;
        if of_listener(cx.tx, rule.listener()).iter().any(same) {
            let message = format!("Priority '{}' is currently in use", rule.priority_text());
            return Err(ApiError::client("PriorityInUse", message));
        }
    }
    let rules = moved.iter().map(|rule| shape(cx.scope(), rule)).collect();
    Ok(SetRulePrioritiesOutput { rules: Some(rules) })
}

fn delete_rule(cx: &mut Context, input: DeleteRuleInput) -> Result<DeleteRuleOutput, ApiError> {
    let rule = changeable(cx.tx, &input.rule_arn, "deleted")?;
    cx.tx.delete::<Rule>(&rule.key);
    Ok(DeleteRuleOutput {})
}

/// The rule, unless it is a default rule, which only its listener's operations touch.
fn changeable(tx: &Tx, arn: &str, verb: &str) -> Result<Rule, ApiError> {
    let rule = resource::find::<Rule>(tx, arn)?;
    if rule.priority.is_none() {
        return Err(ApiError::client(
            "OperationNotPermitted",
            format!("Default rule '{arn}' cannot be {verb}"),
        ));
    }
    Ok(Rule::clone(&rule))
}

fn shape(scope: &Scope, rule: &Rule) -> Shape {
    Shape {
        rule_arn: Some(rule.arn(scope)),
        priority: Some(rule.priority_text()),
        conditions: Some(rule.conditions.iter().map(condition::shape).collect()),
        actions: Some(vec![action::shape(scope, &rule.chosen)]),
        is_default: Some(rule.priority.is_none()),
        transforms: None,
    }
}
