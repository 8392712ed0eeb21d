//! The attributes of an application load balancer.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html>

use std::time::Duration;

use pileus_aws::elbv2::{
    DescribeLoadBalancerAttributesInput, DescribeLoadBalancerAttributesOutput, LoadBalancerAttribute,
    ModifyLoadBalancerAttributesInput, ModifyLoadBalancerAttributesOutput, ops,
};
use pileus_contract::proxy::{LoadBalancerAttributes, XffMode};
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use super::{LoadBalancer, Scheme};
use crate::attributes::{self, Attribute, Attributes, Support, Values};
use crate::resource;

const DELETION_PROTECTION: &str = "deletion_protection.enabled";
const DENY_IGW_TRAFFIC: &str = "ipv6.deny_all_igw_traffic";
const IDLE_TIMEOUT: &str = "idle_timeout.timeout_seconds";
const KEEP_ALIVE: &str = "client_keep_alive.seconds";
const DROP_INVALID_HEADERS: &str = "routing.http.drop_invalid_header_fields.enabled";
const PRESERVE_HOST: &str = "routing.http.preserve_host_header.enabled";
const TLS_HEADERS: &str = "routing.http.x_amzn_tls_version_and_cipher_suite.enabled";
const XFF_CLIENT_PORT: &str = "routing.http.xff_client_port.enabled";
const XFF_MODE: &str = "routing.http.xff_header_processing.mode";

static TABLE: &[Attribute] = &[
    row(DELETION_PROTECTION, "false", Values::Boolean, Support::Full),
    row("load_balancing.cross_zone.enabled", "true", Values::Boolean, Support::Fixed),
    row("access_logs.s3.enabled", "false", Values::Boolean, Support::Fixed),
    row("access_logs.s3.bucket", "", Values::Text, Support::Fixed),
    row("access_logs.s3.prefix", "", Values::Text, Support::Fixed),
    row("connection_logs.s3.enabled", "false", Values::Boolean, Support::Fixed),
    row("connection_logs.s3.bucket", "", Values::Text, Support::Fixed),
    row("connection_logs.s3.prefix", "", Values::Text, Support::Fixed),
    row("health_check_logs.s3.enabled", "false", Values::Boolean, Support::Fixed),
    row("health_check_logs.s3.bucket", "", Values::Text, Support::Fixed),
    row("health_check_logs.s3.prefix", "", Values::Text, Support::Fixed),
    row(DENY_IGW_TRAFFIC, "false", Values::Boolean, Support::Fixed),
    row("zonal_shift.config.enabled", "false", Values::Boolean, Support::Fixed),
    row(IDLE_TIMEOUT, "60", Values::Range(1, 4000), Support::Full),
    row(KEEP_ALIVE, "3600", Values::Range(60, 604_800), Support::Full),
    row(
        "routing.http.desync_mitigation_mode",
        "defensive",
        Values::OneOf(&["monitor", "defensive", "strictest"]),
        Support::Fixed,
    ),
    row(DROP_INVALID_HEADERS, "false", Values::Boolean, Support::Full),
    row(PRESERVE_HOST, "false", Values::Boolean, Support::Full),
    row(TLS_HEADERS, "false", Values::Boolean, Support::Full),
    row(XFF_CLIENT_PORT, "false", Values::Boolean, Support::Full),
    row(XFF_MODE, "append", Values::OneOf(&["append", "preserve", "remove"]), Support::Full),
    row("routing.http2.enabled", "true", Values::Boolean, Support::Fixed),
    row("waf.fail_open.enabled", "false", Values::Boolean, Support::Fixed),
];

const fn row(key: &'static str, default: &'static str, values: Values, support: Support) -> Attribute {
    Attribute { key, default, values, support }
}

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::DescribeLoadBalancerAttributes>(describe_load_balancer_attributes)
        .on::<ops::ModifyLoadBalancerAttributes>(modify_load_balancer_attributes);
}

/// The attributes of a new load balancer: one of them has another default on internal ones.
pub(super) fn initial(scheme: Scheme) -> Attributes {
    match scheme {
        Scheme::InternetFacing => Attributes::new(),
        Scheme::Internal => Attributes::from([(DENY_IGW_TRAFFIC.to_owned(), "true".to_owned())]),
    }
}

pub(super) fn deletion_protected(set: &Attributes) -> bool {
    is_true(set, DELETION_PROTECTION)
}

/// Those that the balancer carries out.
pub(super) fn contract(set: &Attributes) -> LoadBalancerAttributes {
    LoadBalancerAttributes {
        idle_timeout: seconds(set, IDLE_TIMEOUT),
        client_keep_alive: seconds(set, KEEP_ALIVE),
        preserve_host_header: is_true(set, PRESERVE_HOST),
        xff_client_port: is_true(set, XFF_CLIENT_PORT),
        xff_mode: match attributes::value(TABLE, set, XFF_MODE) {
            "preserve" => XffMode::Preserve,
            "remove" => XffMode::Remove,
            _ => XffMode::Append,
        },
        drop_invalid_header_fields: is_true(set, DROP_INVALID_HEADERS),
        tls_headers: is_true(set, TLS_HEADERS),
    }
}

fn is_true(set: &Attributes, key: &str) -> bool {
    attributes::value(TABLE, set, key) == "true"
}

fn seconds(set: &Attributes, key: &str) -> Duration {
    let seconds = attributes::value(TABLE, set, key).parse();
    Duration::from_secs(seconds.expect("the value was checked when it was set"))
}

fn describe_load_balancer_attributes(
    cx: &mut Context,
    input: DescribeLoadBalancerAttributesInput,
) -> Result<DescribeLoadBalancerAttributesOutput, ApiError> {
    let balancer = resource::find::<LoadBalancer>(cx.tx, &input.load_balancer_arn)?;
    Ok(DescribeLoadBalancerAttributesOutput { attributes: Some(shape(&balancer)) })
}

fn modify_load_balancer_attributes(
    cx: &mut Context,
    input: ModifyLoadBalancerAttributesInput,
) -> Result<ModifyLoadBalancerAttributesOutput, ApiError> {
    let mut balancer = LoadBalancer::clone(&*resource::find(cx.tx, &input.load_balancer_arn)?);
    let changes = input.attributes.into_iter().map(|attribute| (attribute.key, attribute.value));
    balancer.attributes = attributes::modify(TABLE, "Load balancer", &balancer.attributes, changes)?;
    let attributes = shape(&balancer);
    cx.tx.put(balancer);
    Ok(ModifyLoadBalancerAttributesOutput { attributes: Some(attributes) })
}

fn shape(balancer: &LoadBalancer) -> Vec<LoadBalancerAttribute> {
    let list = attributes::list(TABLE, &balancer.attributes).into_iter();
    list.map(|(key, value)| LoadBalancerAttribute { key: Some(key), value: Some(value) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        assert_eq!(contract(&Attributes::new()), LoadBalancerAttributes::default());
    }
}
