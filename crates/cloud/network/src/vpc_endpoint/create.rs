//! New VPC endpoints.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVpcEndpoint.html>

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::Context;
use pileus_state::Tx;

use super::{EndpointState, VpcEndpoint, Way, bad, describe, names, of_vpc, policy};
use crate::endpoints::{Kind, Service};
use crate::interface::{self, NewInterface};
use crate::resource::{Resource, find, invalid, missing};
use crate::{
    Interface, RouteTable, SecurityGroup, Subnet, Vpc, prefix_list, public_pool, security_group, tags,
};

pub(super) fn create_vpc_endpoint(
    cx: &mut Context,
    input: ec2::CreateVpcEndpointRequest,
) -> Result<ec2::CreateVpcEndpointResult, ApiError> {
    let vpc = find::<Vpc>(cx.tx, &input.vpc_id)?;
    if let Some(region) = input.service_region.as_ref().filter(|region| **region != cx.scope().region) {
        return Err(ApiError::not_implemented(format!("a VPC endpoint to the other region {region}")));
    }
    let service = service(&input, &cx.scope().region)?;
    check_ip(&input.ip_address_type, &input.dns_options)?;
    let document = policy::check(input.policy_document.clone())?;
    let tags = tags::specified::<VpcEndpoint>(&input.tag_specifications)?;
    if let Some(same) = input.client_token.as_ref().and_then(|token| created_with(cx.tx, token)) {
        if same.vpc != vpc.id || same.service != service.name {
            let message = "The client token was used before with other parameters.";
            return Err(ApiError::client("IdempotentParameterMismatch", message));
        }
        let shape = describe::shape(cx.tx, &same);
        return Ok(ec2::CreateVpcEndpointResult {
            vpc_endpoint: Some(shape),
            client_token: input.client_token,
        });
    }
    let id = cx.ids.ec2(VpcEndpoint::PREFIX);
    let way = match service.endpoint {
        Kind::Gateway => gateway(cx, &vpc, service, &input, &id)?,
        _ => interface(cx, &vpc, service, &input, &id)?,
    };
    let endpoint = VpcEndpoint {
        id: id.clone(),
        vpc: vpc.id.clone(),
        service: service.name.to_owned(),
        way,
        policy: document,
        state: EndpointState::Pending,
        created: cx.now,
        client_token: input.client_token.clone(),
    };
    cx.tx.put(endpoint.clone());
    tags::put::<VpcEndpoint>(cx.tx, &id, tags);
    let shape = describe::shape(cx.tx, &endpoint);
    Ok(ec2::CreateVpcEndpointResult { vpc_endpoint: Some(shape), client_token: input.client_token })
}

fn created_with(tx: &Tx, token: &str) -> Option<std::sync::Arc<VpcEndpoint>> {
    tx.find::<VpcEndpoint>(|endpoint| endpoint.client_token.as_deref() == Some(token))
}

/// The service that is named, of the type that is asked for.
fn service(input: &ec2::CreateVpcEndpointRequest, region: &str) -> Result<&'static Service, ApiError> {
    let name = input.service_name.as_deref().ok_or_else(|| missing("serviceName"))?;
    let service = Service::of_endpoint_name(name, region).ok_or_else(|| {
        let message = format!("The Vpc Endpoint Service '{name}' does not exist");
        ApiError::client("InvalidServiceName", message)
    })?;
    let kind = match input.vpc_endpoint_type.as_deref().unwrap_or("Gateway") {
        "Gateway" => Kind::Gateway,
        "Interface" => Kind::Interface,
        other => return Err(ApiError::not_implemented(format!("the VpcEndpointType {other}"))),
    };
    match (kind, service.endpoint) {
        (Kind::Interface, Kind::Gateway) => {
            Err(ApiError::not_implemented(format!("an Interface endpoint of {name} (a Gateway endpoint is)")))
        }
        (kind, own) if kind == own => Ok(service),
        _ => Err(bad(format!("The VPC Endpoint Service {name} does not support Gateway type endpoints."))),
    }
}

/// Only IPv4 is real.
pub(super) fn check_ip(
    kind: &Option<String>,
    dns: &Option<ec2::DnsOptionsSpecification>,
) -> Result<(), ApiError> {
    let record = dns.as_ref().and_then(|dns| dns.dns_record_ip_type.as_deref());
    for other in [kind.as_deref(), record].into_iter().flatten() {
        if !["ipv4", "service-defined"].contains(&other) {
            return Err(ApiError::not_implemented(format!("the IP address type {other} of a VPC endpoint")));
        }
    }
    let Some(dns) = dns else { return Ok(()) };
    if dns.private_dns_only_for_inbound_resolver_endpoint == Some(true) {
        return Err(bad(
            "PrivateDnsOnlyForInboundResolverEndpoint is only supported for interface endpoints of S3.",
        ));
    }
    if dns.private_dns_preference.is_some() || dns.private_dns_specified_domains.is_some() {
        return Err(ApiError::not_implemented("PrivateDnsPreference of a VPC endpoint"));
    }
    Ok(())
}

fn gateway(
    cx: &mut Context,
    vpc: &Vpc,
    service: &Service,
    input: &ec2::CreateVpcEndpointRequest,
    id: &str,
) -> Result<Way, ApiError> {
    let has = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if has(&input.subnet_ids) || has(&input.security_group_ids) || input.subnet_configurations.is_some() {
        return Err(bad("Subnets and security groups are not supported for Gateway endpoints."));
    }
    if input.private_dns_enabled == Some(true) {
        return Err(bad("Private DNS is not supported for Gateway endpoints."));
    }
    let tables: BTreeSet<String> = input.route_table_ids.iter().flatten().cloned().collect();
    for table in &tables {
        check_table(cx.tx, &vpc.id, service, table)?;
    }
    Ok(Way::Gateway { tables, address: public_pool::take(cx.tx, id)? })
}

/// Whether a route to the endpoint can be put into a table.
pub(super) fn check_table(tx: &Tx, vpc: &str, service: &Service, table: &str) -> Result<(), ApiError> {
    let table = find::<RouteTable>(tx, table)?;
    if table.vpc != vpc {
        return Err(bad(format!("Route table {} does not belong to {vpc}", table.id)));
    }
    let list = prefix_list::of_s3(tx.base(), &tx.scope().region).id;
    let routed = table.routes.iter().any(|route| route.leads_to_list(&list));
    let other =
        of_vpc(tx, vpc, service, |it| it.gateway().is_some_and(|(_, tables)| tables.contains(&table.id)));
    if routed || other.is_some() {
        let message =
            format!("route table {} already has a route with destination-prefix-list-id {list}", table.id);
        return Err(ApiError::client("RouteAlreadyExists", message));
    }
    Ok(())
}

fn interface(
    cx: &mut Context,
    vpc: &Vpc,
    service: &Service,
    input: &ec2::CreateVpcEndpointRequest,
    id: &str,
) -> Result<Way, ApiError> {
    if input.route_table_ids.as_ref().is_some_and(|tables| !tables.is_empty()) {
        return Err(bad("Route tables are not supported for Interface endpoints."));
    }
    let private_dns = input.private_dns_enabled.unwrap_or(true);
    if private_dns {
        check_private_dns(cx.tx, vpc, service)?;
    }
    let groups = match input.security_group_ids.clone().filter(|groups| !groups.is_empty()) {
        Some(groups) => groups,
        None => vec![security_group::default_of(cx.tx, &vpc.id).id.clone()],
    };
    check_groups(cx.tx, vpc, &groups)?;
    let mut interfaces = BTreeMap::new();
    let addresses = wanted_addresses(&input.subnet_configurations)?;
    let subnets = input.subnet_ids.iter().flatten().chain(addresses.keys());
    for subnet in subnets.cloned().collect::<BTreeSet<_>>() {
        add_interface(cx, vpc, id, &mut interfaces, &groups, &subnet, addresses.get(&subnet).copied())?;
    }
    Ok(Way::Interface { interfaces, groups, private_dns, label: cx.ids.alphanumeric(8).to_lowercase() })
}

/// Private DNS needs the VPC's DNS names, and one endpoint of a service can have it.
pub(super) fn check_private_dns(tx: &Tx, vpc: &Vpc, service: &Service) -> Result<(), ApiError> {
    if !vpc.dns_hostnames {
        return Err(bad(format!(
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for \
             {}",
            vpc.id
        )));
    }
    let taken = |it: &VpcEndpoint| matches!(it.way, Way::Interface { private_dns: true, .. });
    if of_vpc(tx, &vpc.id, service, taken).is_some() {
        return Err(bad(format!(
            "private-dns-enabled cannot be set because there is already a conflicting DNS domain for {} in the VPC {}",
            names::private(service, &tx.scope().region),
            vpc.id
        )));
    }
    Ok(())
}

pub(super) fn check_groups(tx: &Tx, vpc: &Vpc, groups: &[String]) -> Result<(), ApiError> {
    for group in groups {
        if find::<SecurityGroup>(tx, group)?.vpc != vpc.id {
            return Err(bad(format!("Security group {group} does not belong to {}", vpc.id)));
        }
    }
    Ok(())
}

/// The addresses that are asked for, by subnet.
pub(super) fn wanted_addresses(
    configurations: &Option<Vec<ec2::SubnetConfiguration>>,
) -> Result<BTreeMap<String, Ipv4Addr>, ApiError> {
    let mut addresses = BTreeMap::new();
    for configuration in configurations.iter().flatten() {
        let subnet =
            configuration.subnet_id.clone().ok_or_else(|| missing("SubnetConfiguration.SubnetId"))?;
        let Some(text) = &configuration.ipv4 else { continue };
        let address =
            text.parse().map_err(|_| invalid(format!("Value ({text}) for parameter Ipv4 is invalid.")))?;
        addresses.insert(subnet, address);
    }
    Ok(addresses)
}

/// Makes the interface of the endpoint `id` in a subnet, unless it is there.
pub(super) fn add_interface(
    cx: &mut Context,
    vpc: &Vpc,
    id: &str,
    interfaces: &mut BTreeMap<String, String>,
    groups: &[String],
    subnet: &str,
    address: Option<Ipv4Addr>,
) -> Result<(), ApiError> {
    let subnet = find::<Subnet>(cx.tx, subnet)?;
    if subnet.vpc != vpc.id {
        return Err(bad(format!("Subnet {} does not belong to {}", subnet.id, vpc.id)));
    }
    if interfaces.contains_key(&subnet.id) {
        return Ok(());
    }
    let same_zone =
        |other: &String| cx.tx.get::<Subnet>(other).is_some_and(|other| other.zone == subnet.zone);
    if interfaces.keys().any(same_zone) {
        let message = format!("Found another VPC endpoint subnet in the availability zone of {}", subnet.id);
        return Err(ApiError::client("DuplicateSubnetsInSameZone", message));
    }
    let new = NewInterface {
        subnet: subnet.id.clone(),
        groups: groups.to_vec(),
        description: format!("VPC Endpoint Interface {id}"),
        requester: Some("amazon-vpc-endpoints".into()),
        attachment_owner: Some("amazon-aws".into()),
        address,
        ..Default::default()
    };
    let made = interface::create(cx.tx, cx.ids, cx.now, new)?;
    cx.tx.update::<Interface>(&made.id, |it| interface::VPC_ENDPOINT.clone_into(&mut it.interface_type));
    interfaces.insert(subnet.id.clone(), made.id);
    Ok(())
}
