//! The names of the AWS APIs in a VPC, and of its endpoints.
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-aws-services.html>

use std::net::Ipv4Addr;

use pileus_contract::fabric::NameSpec;

use super::{VpcEndpoint, Way};
use crate::endpoints::{SERVICES, Service};
use crate::public_pool::ApiAddresses;

/// Host names that SDKs use for a service besides the regional one, whatever the region.
const GLOBAL: [(&str, &str); 2] = [("sts", "sts.amazonaws.com"), ("s3", "s3.amazonaws.com")];

/// The names of an endpoint: one for all its interfaces, and one for each zone.
pub(super) fn own(endpoint: &VpcEndpoint, region: &str) -> Option<String> {
    let Way::Interface { label, .. } = &endpoint.way else { return None };
    let service = Service::find(&endpoint.service)?;
    Some(format!("{}-{label}.{}", endpoint.id, base(service, region)))
}

pub(super) fn zonal(endpoint: &VpcEndpoint, region: &str, zone: &str) -> Option<String> {
    let Way::Interface { label, .. } = &endpoint.way else { return None };
    let service = Service::find(&endpoint.service)?;
    Some(format!("{}-{label}-{zone}.{}", endpoint.id, base(service, region)))
}

/// What the names of all endpoints of a service end in.
pub(super) fn base(service: &Service, region: &str) -> String {
    let host = service.host(region);
    format!("{}.vpce.amazonaws.com", host.trim_end_matches(".amazonaws.com"))
}

/// The private name of a service: a star where it has only names below its host name.
pub(super) fn private(service: &Service, region: &str) -> String {
    let host = service.host(region);
    if service.wildcard { format!("*.{host}") } else { host }
}

/// An interface endpoint that is there: itself, and its addresses with their zones.
pub(crate) struct Reachable<'a> {
    pub(crate) endpoint: &'a VpcEndpoint,
    pub(crate) addresses: Vec<(String, Ipv4Addr)>,
    /// Whether its service's own name leads to it.
    pub(crate) private: bool,
}

/// All names of the APIs in a VPC that has these endpoints.
pub(crate) fn of_vpc(region: &str, apis: ApiAddresses, endpoints: &[Reachable]) -> Vec<NameSpec> {
    let mut names = Vec::new();
    for service in SERVICES {
        let mut private = endpoints.iter().filter(|it| it.private && it.endpoint.service == service.name);
        let addresses = match private.find(|it| !it.addresses.is_empty()) {
            Some(endpoint) => endpoint.addresses.iter().map(|(_, address)| *address).collect(),
            None => vec![apis.of(service)],
        };
        add(&mut names, service, service.host(region), &addresses);
    }
    for (name, host) in GLOBAL {
        if let Some(service) = Service::find(name) {
            add(&mut names, service, host.to_owned(), &[apis.of(service)]);
        }
    }
    endpoints.iter().for_each(|endpoint| add_own(&mut names, endpoint, region));
    names
}

fn add(names: &mut Vec<NameSpec>, service: &Service, host: String, addresses: &[Ipv4Addr]) {
    if service.wildcard {
        names.push(NameSpec { name: format!("*.{host}"), addresses: addresses.to_vec() });
    }
    names.push(NameSpec { name: host, addresses: addresses.to_vec() });
}

fn add_own(names: &mut Vec<NameSpec>, reachable: &Reachable, region: &str) {
    let all: Vec<Ipv4Addr> = reachable.addresses.iter().map(|(_, address)| *address).collect();
    names.extend(own(reachable.endpoint, region).map(|name| NameSpec { name, addresses: all }));
    for (zone, address) in &reachable.addresses {
        let name = zonal(reachable.endpoint, region, zone);
        names.extend(name.map(|name| NameSpec { name, addresses: vec![*address] }));
    }
}
