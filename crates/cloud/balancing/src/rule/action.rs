//! Actions: forward, redirect, fixed response. A rule has exactly one of them.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html>

use std::collections::BTreeSet;

use pileus_aws::elbv2::{
    Action, FixedResponseActionConfig, ForwardActionConfig, RedirectActionConfig,
    TargetGroupStickinessConfig, TargetGroupTuple,
};
use pileus_contract::proxy::RuleAction;
use pileus_core::{ApiError, Scope};
use pileus_state::Tx;
use serde::{Deserialize, Serialize};

use super::Rule;
use crate::load_balancer::LoadBalancer;
use crate::resource::{self, invalid};
use crate::target_group::{self, TargetGroup};

const MAX_GROUPS_PER_ACTION: usize = 5;
const MAX_GROUPS_PER_LOAD_BALANCER: usize = 100;
const CONTENT_TYPES: [&str; 5] =
    ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];

/// What the balancer does, and what besides it a client gave that means nothing to the balancer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chosen {
    pub(crate) action: RuleAction,
    /// The duration of a stickiness that is switched off, to be shown again.
    stickiness_seconds: Option<i64>,
}

impl Chosen {
    /// The keys of the target groups that it forwards to.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        let groups: &[_] = match &self.action {
            RuleAction::Forward(groups) => groups,
            _ => &[],
        };
        groups.iter().filter_map(|(id, _)| target_group::key_of(id))
    }
}

/// The action of a rule of `balancer`.
///
/// # Errors
/// There is not exactly one, it is of a kind that is not carried out here, or a target group does not fit.
pub(crate) fn parse(tx: &Tx, balancer: &LoadBalancer, actions: Vec<Action>) -> Result<Chosen, ApiError> {
    let mut actions = actions.into_iter();
    let (Some(action), None) = (actions.next(), actions.next()) else {
        return Err(invalid(
            "You must specify exactly one action of type forward, redirect or fixed-response",
        ));
    };
    let mut stickiness_seconds = None;
    let parsed = match action.r#type.as_str() {
        "forward" => {
            let groups;
            (groups, stickiness_seconds) = forward(tx, balancer, action)?;
            RuleAction::Forward(groups)
        }
        "redirect" => redirect(action.redirect_config)?,
        "fixed-response" => fixed_response(action.fixed_response_config)?,
        other => return Err(ApiError::not_implemented(format_args!("listener actions of type '{other}'"))),
    };
    Ok(Chosen { action: parsed, stickiness_seconds })
}

type Weighted = Vec<(String, u32)>;

fn forward(tx: &Tx, balancer: &LoadBalancer, action: Action) -> Result<(Weighted, Option<i64>), ApiError> {
    let config = action.forward_config.unwrap_or_default();
    let stickiness = config.target_group_stickiness_config.unwrap_or_default();
    if stickiness.enabled == Some(true) {
        return Err(ApiError::not_implemented("target group stickiness in forward actions"));
    }
    let tuples = config.target_groups.unwrap_or_default().into_iter();
    let mut named: Vec<(String, i64)> =
        tuples.map(|tuple| (tuple.target_group_arn.unwrap_or_default(), tuple.weight.unwrap_or(1))).collect();
    match action.target_group_arn {
        Some(arn) if named.is_empty() => named.push((arn, 1)),
        Some(arn) if named.len() != 1 || named[0].0 != arn => {
            return Err(invalid(
                "You cannot specify both a target group ARN and other target groups to forward to",
            ));
        }
        _ => {}
    }
    if named.is_empty() {
        return Err(invalid("A target group ARN must be specified"));
    }
    if named.len() > MAX_GROUPS_PER_ACTION {
        let message = format!("An action can forward to at most {MAX_GROUPS_PER_ACTION} target groups");
        return Err(ApiError::client("TooManyTargetGroups", message));
    }
    let groups = named.into_iter().map(|(arn, weight)| weighted(tx, balancer, &arn, weight));
    let groups: Weighted = groups.collect::<Result<_, _>>()?;
    check_groups(tx, balancer, &groups)?;
    Ok((groups, stickiness.duration_seconds))
}

/// A target group that `balancer` may use, by its id.
fn weighted(tx: &Tx, balancer: &LoadBalancer, arn: &str, weight: i64) -> Result<(String, u32), ApiError> {
    let weight = u32::try_from(weight).ok().filter(|&weight| weight <= 999);
    let weight = weight.ok_or_else(|| invalid("Target group weight must be from 0 to 999"))?;
    let group = resource::find::<TargetGroup>(tx, arn)?;
    if group.vpc != balancer.vpc {
        let message = format!(
            "The target group '{arn}' is in VPC '{}', the load balancer in VPC '{}'",
            group.vpc, balancer.vpc
        );
        return Err(ApiError::client("InvalidConfigurationRequest", message));
    }
    if target_group::user_of(tx, &group.key).is_some_and(|user| user != balancer.key) {
        let message = format!(
            "The following target groups cannot be associated with more than one load balancer: {arn}"
        );
        return Err(ApiError::client("TargetGroupAssociationLimit", message));
    }
    Ok((target_group::id(&group.key), weight))
}

fn check_groups(tx: &Tx, balancer: &LoadBalancer, groups: &Weighted) -> Result<(), ApiError> {
    let mut unique: BTreeSet<&str> = groups.iter().filter_map(|(id, _)| target_group::key_of(id)).collect();
    if unique.len() < groups.len() {
        return Err(invalid("A target group can only be specified once in an action"));
    }
    let rules = tx.list::<Rule>();
    for rule in rules.iter().filter(|rule| rule.load_balancer() == balancer.key) {
        unique.extend(rule.chosen.groups());
    }
    if unique.len() > MAX_GROUPS_PER_LOAD_BALANCER {
        let message =
            format!("A load balancer can forward to at most {MAX_GROUPS_PER_LOAD_BALANCER} target groups");
        return Err(ApiError::client("TooManyUniqueTargetGroupsPerLoadBalancer", message));
    }
    Ok(())
}

fn redirect(config: Option<RedirectActionConfig>) -> Result<RuleAction, ApiError> {
    let config = config.ok_or_else(|| invalid("A redirect action must have a RedirectConfig"))?;
    let or = |value: Option<String>, default: &str| value.unwrap_or_else(|| default.to_owned());
    let (protocol, host) = (or(config.protocol, "#{protocol}"), or(config.host, "#{host}"));
    let (port, path) = (or(config.port, "#{port}"), or(config.path, "/#{path}"));
    if port != "#{port}" && !port.parse().is_ok_and(|port: u16| port > 0) {
        return Err(invalid(format!("The redirect port '{port}' must be from 1 to 65535 or '#{{port}}'")));
    }
    if !path.starts_with('/') {
        return Err(invalid(format!("The redirect path '{path}' must begin with '/'")));
    }
    let same = (&*protocol, &*host, &*port, &*path) == ("#{protocol}", "#{host}", "#{port}", "/#{path}");
    if same {
        let message = "The redirect configuration must change at least one of protocol, host, port and path";
        return Err(ApiError::client("InvalidLoadBalancerAction", message));
    }
    let status = if config.status_code == "HTTP_301" { 301 } else { 302 };
    Ok(RuleAction::Redirect { status, protocol, host, port, path, query: or(config.query, "#{query}") })
}

fn fixed_response(config: Option<FixedResponseActionConfig>) -> Result<RuleAction, ApiError> {
    let config = config.ok_or_else(|| invalid("A fixed-response action must have a FixedResponseConfig"))?;
    let status = config.status_code.parse().ok();
    let status = status.filter(|status: &u16| matches!(status, 200..=299 | 400..=599));
    let status = status.ok_or_else(|| {
        invalid(format!("The response code '{}' must be 2XX, 4XX or 5XX", config.status_code))
    })?;
    let content_type = config.content_type.unwrap_or_default();
    if !content_type.is_empty() && !CONTENT_TYPES.contains(&content_type.as_str()) {
        let types = CONTENT_TYPES.join(", ");
        return Err(invalid(format!("The content type '{content_type}' must be one of '[{types}]'")));
    }
    Ok(RuleAction::FixedResponse { status, content_type, body: config.message_body.unwrap_or_default() })
}

/// As the API shows it, with AWS's defaults filled in.
pub(crate) fn shape(scope: &Scope, chosen: &Chosen) -> Action {
    let mut shape = Action { order: Some(1), ..Action::default() };
    match &chosen.action {
        RuleAction::Forward(groups) => {
            shape.r#type = "forward".into();
            let tuple = |(id, weight): &(String, u32)| TargetGroupTuple {
                target_group_arn: target_group::key_of(id)
                    .map(|key| resource::arn::<TargetGroup>(scope, key)),
                weight: Some((*weight).into()),
            };
            let tuples: Vec<_> = groups.iter().map(tuple).collect();
            if let [only] = tuples.as_slice() {
                shape.target_group_arn.clone_from(&only.target_group_arn);
            }
            let duration_seconds = chosen.stickiness_seconds;
            shape.forward_config = Some(ForwardActionConfig {
                target_groups: Some(tuples),
                target_group_stickiness_config: Some(TargetGroupStickinessConfig {
                    enabled: Some(false),
                    duration_seconds,
                }),
            });
        }
        RuleAction::Redirect { status, protocol, host, port, path, query } => {
            shape.r#type = "redirect".into();
            shape.redirect_config = Some(RedirectActionConfig {
                protocol: Some(protocol.clone()),
                host: Some(host.clone()),
                port: Some(port.clone()),
                path: Some(path.clone()),
                query: Some(query.clone()),
                status_code: format!("HTTP_{status}"),
            });
        }
        RuleAction::FixedResponse { status, content_type, body } => {
            shape.r#type = "fixed-response".into();
            let given = |text: &String| (!text.is_empty()).then(|| text.clone());
            shape.fixed_response_config = Some(FixedResponseActionConfig {
                message_body: given(body),
                status_code: status.to_string(),
                content_type: given(content_type),
            });
        }
    }
    shape
}
