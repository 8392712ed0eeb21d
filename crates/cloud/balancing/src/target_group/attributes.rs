//! The attributes of a target group.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html>

use std::time::Duration;

use pileus_aws::elbv2::{
    DescribeTargetGroupAttributesInput, DescribeTargetGroupAttributesOutput,
    ModifyTargetGroupAttributesInput, ModifyTargetGroupAttributesOutput, TargetGroupAttribute, ops,
};
use pileus_contract::proxy::Algorithm;
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use super::TargetGroup;
use crate::attributes::{self, Attribute, Attributes, Support, Values};
use crate::resource;

const DELAY: &str = "deregistration_delay.timeout_seconds";
const ALGORITHM: &str = "load_balancing.algorithm.type";
const LEAST_OUTSTANDING: &str = "least_outstanding_requests";

/// The kind and durations of stickiness may be set freely: they mean nothing while it is off, and it stays off.
static TABLE: &[Attribute] = &[
    row(DELAY, "300", Values::Range(0, 3600), Support::Full),
    row("stickiness.enabled", "false", Values::Boolean, Support::Fixed),
    row("stickiness.type", "lb_cookie", Values::OneOf(&["lb_cookie", "app_cookie"]), Support::Full),
    row("stickiness.lb_cookie.duration_seconds", "86400", Values::Range(1, 604_800), Support::Full),
    row("stickiness.app_cookie.duration_seconds", "86400", Values::Range(1, 604_800), Support::Full),
    row("stickiness.app_cookie.cookie_name", "", Values::Text, Support::Full),
    row("slow_start.duration_seconds", "0", Values::Range(30, 900), Support::Fixed),
    row(
        ALGORITHM,
        "round_robin",
        Values::OneOf(&["round_robin", LEAST_OUTSTANDING, "weighted_random"]),
        Support::Only(&["round_robin", LEAST_OUTSTANDING]),
    ),
    row("load_balancing.algorithm.anomaly_mitigation", "off", Values::OneOf(&["on", "off"]), Support::Fixed),
    // Of an application load balancer it is always on, so these two say the same.
    row(
        "load_balancing.cross_zone.enabled",
        "use_load_balancer_configuration",
        Values::OneOf(&["true", "false", "use_load_balancer_configuration"]),
        Support::Only(&["true", "use_load_balancer_configuration"]),
    ),
    row("target_group_health.dns_failover.minimum_healthy_targets.count", "1", Values::Text, Support::Fixed),
    row(
        "target_group_health.dns_failover.minimum_healthy_targets.percentage",
        "off",
        Values::Text,
        Support::Fixed,
    ),
    row(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
        "1",
        Values::Range(1, 1000),
        Support::Fixed,
    ),
    row(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        "off",
        Values::Range(1, 100),
        Support::Fixed,
    ),
];

const fn row(key: &'static str, default: &'static str, values: Values, support: Support) -> Attribute {
    Attribute { key, default, values, support }
}

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::DescribeTargetGroupAttributes>(describe_target_group_attributes)
        .on::<ops::ModifyTargetGroupAttributes>(modify_target_group_attributes);
}

pub(super) fn deregistration_delay(set: &Attributes) -> Duration {
    let seconds = attributes::value(TABLE, set, DELAY).parse();
    Duration::from_secs(seconds.expect("the value was checked when it was set"))
}

pub(super) fn algorithm(set: &Attributes) -> Algorithm {
    match attributes::value(TABLE, set, ALGORITHM) {
        LEAST_OUTSTANDING => Algorithm::LeastOutstandingRequests,
        _ => Algorithm::RoundRobin,
    }
}

fn describe_target_group_attributes(
    cx: &mut Context,
    input: DescribeTargetGroupAttributesInput,
) -> Result<DescribeTargetGroupAttributesOutput, ApiError> {
    let group = resource::find::<TargetGroup>(cx.tx, &input.target_group_arn)?;
    Ok(DescribeTargetGroupAttributesOutput { attributes: Some(shape(&group)) })
}

fn modify_target_group_attributes(
    cx: &mut Context,
    input: ModifyTargetGroupAttributesInput,
) -> Result<ModifyTargetGroupAttributesOutput, ApiError> {
    let mut group = TargetGroup::clone(&*resource::find(cx.tx, &input.target_group_arn)?);
    let changes = input.attributes.into_iter().map(|attribute| (attribute.key, attribute.value));
    group.attributes = attributes::modify(TABLE, "Target group", &group.attributes, changes)?;
    let attributes = shape(&group);
    cx.tx.put(group);
    Ok(ModifyTargetGroupAttributesOutput { attributes: Some(attributes) })
}

fn shape(group: &TargetGroup) -> Vec<TargetGroupAttribute> {
    let list = attributes::list(TABLE, &group.attributes).into_iter();
    list.map(|(key, value)| TargetGroupAttribute { key: Some(key), value: Some(value) }).collect()
}
