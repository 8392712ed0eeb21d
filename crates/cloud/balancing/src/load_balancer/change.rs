//! Changes of a load balancer that is there: its subnets, its security groups; its quotas.

use pileus_aws::elbv2::{
    DescribeAccountLimitsInput, DescribeAccountLimitsOutput, Limit, SetIpAddressTypeInput,
    SetIpAddressTypeOutput, SetSecurityGroupsInput, SetSecurityGroupsOutput, SetSubnetsInput,
    SetSubnetsOutput, ops,
};
use pileus_core::ApiError;
use pileus_network::interface;
use pileus_service::{Context, Router};

use super::placement::{self, Asked};
use super::{ADDRESSES, LoadBalancer, MAX_PER_REGION, check_addresses, node, zone};
use crate::{listener, resource, rule, target, target_group};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::SetSubnets>(set_subnets)
        .on::<ops::SetSecurityGroups>(set_security_groups)
        .on::<ops::SetIpAddressType>(set_ip_address_type)
        .on::<ops::DescribeAccountLimits>(describe_account_limits);
}

/// Replaces the subnets: nodes in those that stay keep their interface.
fn set_subnets(cx: &mut Context, input: SetSubnetsInput) -> Result<SetSubnetsOutput, ApiError> {
    check_addresses(input.ip_address_type.as_deref().unwrap_or(ADDRESSES))?;
    let mut balancer = LoadBalancer::clone(&*resource::find(cx.tx, &input.load_balancer_arn)?);
    let asked = Asked { subnets: input.subnets.as_deref(), mappings: input.subnet_mappings.as_deref() };
    let present: Vec<String> = balancer.nodes.iter().map(|node| node.subnet.clone()).collect();
    let (vpc, subnets) = placement::find_subnets(cx.tx, &asked, &present)?;
    if vpc != balancer.vpc {
        let message = format!("The subnets must be in the load balancer's VPC {}", balancer.vpc);
        return Err(ApiError::client("InvalidConfigurationRequest", message));
    }
    let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut balancer.nodes)
        .into_iter()
        .partition(|node| subnets.iter().any(|subnet| subnet.id == node.subnet));
    for node in gone {
        interface::delete(cx.tx, &node.interface);
    }
    for subnet in &subnets {
        let there = kept.iter().find(|node| node.subnet == subnet.id).cloned();
        let node = match there {
            Some(node) => node,
            None => node(cx, &balancer.key, subnet, &balancer.security_groups, balancer.scheme)?,
        };
        balancer.nodes.push(node);
    }
    let zones = balancer.nodes.iter().map(zone).collect();
    cx.tx.put(balancer);
    Ok(SetSubnetsOutput {
        availability_zones: Some(zones),
        ip_address_type: Some(ADDRESSES.into()),
        ..SetSubnetsOutput::default()
    })
}

fn set_security_groups(
    cx: &mut Context,
    input: SetSecurityGroupsInput,
) -> Result<SetSecurityGroupsOutput, ApiError> {
    let mut balancer = LoadBalancer::clone(&*resource::find(cx.tx, &input.load_balancer_arn)?);
    let groups = placement::groups(cx.tx, &balancer.vpc, &input.security_groups)?;
    for node in &balancer.nodes {
        interface::set_groups(cx.tx, &node.interface, groups.clone())?;
    }
    balancer.security_groups.clone_from(&groups);
    cx.tx.put(balancer);
    Ok(SetSecurityGroupsOutput { security_group_ids: Some(groups), ..SetSecurityGroupsOutput::default() })
}

fn set_ip_address_type(
    cx: &mut Context,
    input: SetIpAddressTypeInput,
) -> Result<SetIpAddressTypeOutput, ApiError> {
    resource::find::<LoadBalancer>(cx.tx, &input.load_balancer_arn)?;
    check_addresses(&input.ip_address_type)?;
    Ok(SetIpAddressTypeOutput { ip_address_type: Some(input.ip_address_type) })
}

/// The quotas that are kept here, under AWS's names.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>
fn describe_account_limits(
    _: &mut Context,
    input: DescribeAccountLimitsInput,
) -> Result<DescribeAccountLimitsOutput, ApiError> {
    let limits = [
        ("application-load-balancers", MAX_PER_REGION),
        ("certificates-per-application-load-balancer", listener::MAX_CERTIFICATES),
        ("listeners-per-application-load-balancer", listener::MAX_PER_LOAD_BALANCER),
        ("rules-per-application-load-balancer", rule::MAX_PER_LOAD_BALANCER),
        ("target-groups", target_group::MAX_PER_REGION),
        ("targets-per-application-load-balancer", target::MAX_PER_GROUP),
    ];
    let (limits, next_marker) = resource::page(
        limits.to_vec(),
        |(name, _)| (*name).to_owned(),
        input.marker.as_deref(),
        input.page_size,
    )?;
    let limit = |(name, max): (&str, usize)| Limit { name: Some(name.into()), max: Some(max.to_string()) };
    Ok(DescribeAccountLimitsOutput { limits: Some(limits.into_iter().map(limit).collect()), next_marker })
}
