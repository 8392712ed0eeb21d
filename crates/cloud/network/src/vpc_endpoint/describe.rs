//! How the API shows VPC endpoints.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_VpcEndpoint.html>

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::Context;
use pileus_state::Tx;

use super::{VpcEndpoint, Way, names};
use crate::endpoints::Service;
use crate::select::{Filters, Selection, one, select};
use crate::{SecurityGroup, Subnet, tags};

/// The hosted zone of AWS's own names of endpoints, in us-east-1; nothing depends on it.
const ENDPOINT_ZONE: &str = "Z7HUB22UULQXV";
const PRIVATE_ZONE: &str = "ZONEIDPENDING";

const FILTERS: Filters<VpcEndpoint> = &[
    ("ip-address-type", |_, _| one("ipv4")),
    ("service-name", |tx, it| service_name(tx, it).into_iter().collect()),
    ("service-region", |tx, _| one(&tx.scope().region)),
    ("vpc-endpoint-id", |_, it| one(&it.id)),
    ("vpc-endpoint-state", |_, it| one(it.state.name())),
    ("vpc-endpoint-type", |_, it| one(kind(it))),
    ("vpc-id", |_, it| one(&it.vpc)),
];

pub(super) fn describe_vpc_endpoints(
    cx: &mut Context,
    input: ec2::DescribeVpcEndpointsRequest,
) -> Result<ec2::DescribeVpcEndpointsResult, ApiError> {
    let selection = Selection {
        ids: &input.vpc_endpoint_ids,
        filters: &input.filters,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (endpoints, next_token) = select(cx.tx, selection, FILTERS)?;
    let vpc_endpoints = Some(endpoints.iter().map(|endpoint| shape(cx.tx, endpoint)).collect());
    Ok(ec2::DescribeVpcEndpointsResult { vpc_endpoints, next_token })
}

fn kind(endpoint: &VpcEndpoint) -> &'static str {
    match endpoint.way {
        Way::Interface { .. } => "Interface",
        Way::Gateway { .. } => "Gateway",
    }
}

fn service_name(tx: &Tx, endpoint: &VpcEndpoint) -> Option<String> {
    Service::find(&endpoint.service).map(|service| service.endpoint_name(&tx.scope().region))
}

pub(super) fn shape(tx: &Tx, endpoint: &VpcEndpoint) -> ec2::VpcEndpoint {
    let scope = tx.scope();
    let mut shape = ec2::VpcEndpoint {
        vpc_endpoint_id: Some(endpoint.id.clone()),
        vpc_endpoint_type: Some(kind(endpoint).into()),
        vpc_id: Some(endpoint.vpc.clone()),
        service_name: service_name(tx, endpoint),
        service_region: Some(scope.region.clone()),
        state: Some(endpoint.state.name().into()),
        policy_document: Some(endpoint.policy_document()),
        route_table_ids: Some(Vec::new()),
        subnet_ids: Some(Vec::new()),
        groups: Some(Vec::new()),
        ip_address_type: Some("ipv4".into()),
        private_dns_enabled: Some(false),
        requester_managed: Some(false),
        network_interface_ids: Some(Vec::new()),
        dns_entries: Some(Vec::new()),
        creation_timestamp: Some(endpoint.created),
        tags: tags::shapes(tx, &endpoint.id),
        owner_id: Some(scope.account.clone()),
        ..Default::default()
    };
    match &endpoint.way {
        Way::Gateway { tables, .. } => {
            shape.route_table_ids = Some(tables.iter().cloned().collect());
            shape.dns_options = dns_options("service-defined");
        }
        Way::Interface { interfaces, groups, private_dns, .. } => {
            shape.subnet_ids = Some(interfaces.keys().cloned().collect());
            shape.network_interface_ids = Some(interfaces.values().cloned().collect());
            shape.groups = Some(groups.iter().map(|id| group(tx, id)).collect());
            shape.private_dns_enabled = Some(*private_dns);
            shape.dns_options = dns_options("ipv4");
            shape.dns_entries = Some(dns_entries(tx, endpoint, *private_dns));
        }
    }
    shape
}

fn dns_options(record: &str) -> Option<ec2::DnsOptions> {
    Some(ec2::DnsOptions { dns_record_ip_type: Some(record.into()), ..Default::default() })
}

fn group(tx: &Tx, id: &str) -> ec2::SecurityGroupIdentifier {
    ec2::SecurityGroupIdentifier {
        group_id: Some(id.to_owned()),
        group_name: tx.get::<SecurityGroup>(id).map(|group| group.name.clone()),
    }
}

fn dns_entries(tx: &Tx, endpoint: &VpcEndpoint, private_dns: bool) -> Vec<ec2::DnsEntry> {
    let region = &tx.scope().region;
    let entry = |name: String, zone: &str| ec2::DnsEntry {
        dns_name: Some(name),
        hosted_zone_id: Some(zone.to_owned()),
    };
    let zones = endpoint.interfaces().filter_map(|(subnet, _)| Some(tx.get::<Subnet>(subnet)?.zone.clone()));
    let zonal = zones.filter_map(|zone| names::zonal(endpoint, region, &zone));
    let mut entries: Vec<_> = names::own(endpoint, region)
        .into_iter()
        .chain(zonal)
        .map(|name| entry(name, ENDPOINT_ZONE))
        .collect();
    if let Some(service) = Service::find(&endpoint.service).filter(|_| private_dns) {
        entries.push(entry(names::private(service, region), PRIVATE_ZONE));
    }
    entries
}
