//! Changes of VPC endpoints in place.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVpcEndpoint.html>

use std::collections::BTreeSet;

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::Context;

use super::create::{
    add_interface, check_groups, check_ip, check_private_dns, check_table, wanted_addresses,
};
use super::{VpcEndpoint, Way, bad, policy};
use crate::endpoints::Service;
use crate::resource::{Resource, find};
use crate::{Vpc, interface};

pub(super) fn modify_vpc_endpoint(
    cx: &mut Context,
    input: ec2::ModifyVpcEndpointRequest,
) -> Result<ec2::ModifyVpcEndpointResult, ApiError> {
    let found = find::<VpcEndpoint>(cx.tx, &input.vpc_endpoint_id)?;
    if !found.state.is_up() {
        return Err(VpcEndpoint::not_found(&found.id));
    }
    check_ip(&input.ip_address_type, &input.dns_options)?;
    let vpc = find::<Vpc>(cx.tx, &found.vpc)?;
    let service = Service::find(&found.service).ok_or_else(|| VpcEndpoint::not_found(&found.id))?;
    let mut endpoint = VpcEndpoint::clone(&found);
    match (input.reset_policy == Some(true), input.policy_document.is_some()) {
        (true, true) => {
            let message = "ResetPolicy and PolicyDocument cannot be given together.";
            return Err(ApiError::client("InvalidParameterCombination", message));
        }
        (true, false) => endpoint.policy = None,
        (false, true) => endpoint.policy = policy::check(input.policy_document.clone())?,
        (false, false) => {}
    }
    match &mut endpoint.way {
        Way::Gateway { tables, .. } => change_gateway(cx, &vpc, service, tables, &input)?,
        Way::Interface { .. } => change_interface(cx, &vpc, service, &mut endpoint, &input)?,
    }
    cx.tx.put(endpoint);
    Ok(ec2::ModifyVpcEndpointResult { r#return: Some(true) })
}

fn given(lists: &[&Option<Vec<String>>]) -> bool {
    lists.iter().any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
}

fn change_gateway(
    cx: &mut Context,
    vpc: &Vpc,
    service: &Service,
    tables: &mut BTreeSet<String>,
    input: &ec2::ModifyVpcEndpointRequest,
) -> Result<(), ApiError> {
    let others = [
        &input.add_subnet_ids,
        &input.remove_subnet_ids,
        &input.add_security_group_ids,
        &input.remove_security_group_ids,
    ];
    if given(&others) || input.private_dns_enabled == Some(true) || input.subnet_configurations.is_some() {
        return Err(bad("Subnets, security groups and private DNS are not supported for Gateway endpoints."));
    }
    for table in input.remove_route_table_ids.iter().flatten() {
        tables.remove(table);
    }
    for table in input.add_route_table_ids.iter().flatten() {
        if !tables.contains(table) {
            check_table(cx.tx, &vpc.id, service, table)?;
            tables.insert(table.clone());
        }
    }
    Ok(())
}

fn change_interface(
    cx: &mut Context,
    vpc: &Vpc,
    service: &Service,
    endpoint: &mut VpcEndpoint,
    input: &ec2::ModifyVpcEndpointRequest,
) -> Result<(), ApiError> {
    if given(&[&input.add_route_table_ids, &input.remove_route_table_ids]) {
        return Err(bad("Route tables are not supported for Interface endpoints."));
    }
    let Way::Interface { interfaces, groups, private_dns, .. } = &mut endpoint.way else { return Ok(()) };
    if input.private_dns_enabled == Some(true) && !*private_dns {
        check_private_dns(cx.tx, vpc, service)?;
    }
    *private_dns = input.private_dns_enabled.unwrap_or(*private_dns);
    change_groups(cx, vpc, groups, input)?;
    for subnet in input.remove_subnet_ids.iter().flatten() {
        if let Some(gone) = interfaces.remove(subnet) {
            interface::delete(cx.tx, &gone);
        }
    }
    let addresses = wanted_addresses(&input.subnet_configurations)?;
    for subnet in input.add_subnet_ids.iter().flatten() {
        let address = addresses.get(subnet).copied();
        add_interface(cx, vpc, &endpoint.id, interfaces, groups, subnet, address)?;
    }
    for id in interfaces.values() {
        interface::set_groups(cx.tx, id, groups.clone())?;
    }
    Ok(())
}

fn change_groups(
    cx: &Context,
    vpc: &Vpc,
    groups: &mut Vec<String>,
    input: &ec2::ModifyVpcEndpointRequest,
) -> Result<(), ApiError> {
    let added = input.add_security_group_ids.clone().unwrap_or_default();
    check_groups(cx.tx, vpc, &added)?;
    let removed = input.remove_security_group_ids.clone().unwrap_or_default();
    groups.retain(|group| !removed.contains(group));
    let new: Vec<String> = added.into_iter().filter(|group| !groups.contains(group)).collect();
    groups.extend(new);
    if groups.is_empty() {
        return Err(bad("An Interface endpoint has at least one security group."));
    }
    Ok(())
}
