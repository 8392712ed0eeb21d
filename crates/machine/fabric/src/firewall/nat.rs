//! The internet gateway's 1:1 translation and the source translation of NAT gateways and gateway endpoints.
//!
//! The next hop says which of them a packet takes. Whatever would leave with an address that is not public, or
//! come in for one that is not ours, is dropped in silence.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html>

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use pileus_contract::fabric::{InterfaceSpec, VpcSpec};

use super::Table;
use crate::router::{EDGE, subnet_of};
use crate::routing::{is_public, working_nat_gateways};

/// The addresses that tasks must not reach through the edge: on the host they may lead to the metadata of the cloud
/// that the host itself runs in.
const LINK_LOCAL: &str = "169.254.0.0/16";

/// The public addresses at which `vpc` can be reached or from which it speaks.
pub(crate) fn public_addresses(vpc: &VpcSpec, isolated_zones: &BTreeSet<String>) -> BTreeSet<Ipv4Addr> {
    let nat = working_nat_gateways(vpc, isolated_zones).map(|(nat, _)| nat.public_address);
    let endpoints = vpc.gateway_endpoints.iter().map(|endpoint| endpoint.address);
    translated(vpc).map(|(_, public)| public).chain(nat).chain(endpoints).collect()
}

/// Adds the translations of `vpc`, whose internet gateway is the next hop `internet`.
pub(super) fn add(table: &mut Table, vpc: &VpcSpec, isolated_zones: &BTreeSet<String>, internet: Ipv4Addr) {
    let public = public_addresses(vpc, isolated_zones);
    table.set("public", "ipv4_addr", public.iter().map(ToString::to_string));
    let pairs =
        || translated(vpc).map(|(interface, public)| (interface.address.to_string(), public.to_string()));
    table.map("public_of", "ipv4_addr : ipv4_addr", pairs());
    table.map("private_of", "ipv4_addr : ipv4_addr", pairs().map(|(private, public)| (public, private)));
    let gateways = working_nat_gateways(vpc, isolated_zones)
        .map(|(nat, _)| (nat.private_address.to_string(), nat.public_address.to_string()));
    let endpoints = vpc.gateway_endpoints.iter().map(|endpoint| endpoint.address.to_string());
    let endpoints = endpoints.map(|address| (address.clone(), address));
    table.map("nat_gateways", "ipv4_addr : ipv4_addr", gateways.chain(endpoints));
    table.base_chain(
        "translate_in",
        "nat hook prerouting priority dstnat; policy accept",
        vec![format!("iifname \"{EDGE}\" dnat to ip daddr map @private_of")],
    );
    table.base_chain(
        "translate_out",
        "nat hook postrouting priority srcnat; policy accept",
        vec![
            format!("oifname \"{EDGE}\" rt ip nexthop {internet} snat to ip saddr map @public_of"),
            format!("oifname \"{EDGE}\" snat to rt ip nexthop map @nat_gateways"),
        ],
    );
    table.base_chain(
        "edge",
        "filter hook forward priority filter - 40; policy accept",
        vec![
            format!("oifname \"{EDGE}\" ct direction original ip daddr {LINK_LOCAL} drop"),
            // Answers to connections from outside go through the internet gateway or nowhere.
            format!("oifname \"{EDGE}\" ct direction reply rt ip nexthop != {internet} drop"),
            format!("iifname \"{EDGE}\" ct state established,related accept"),
            format!("iifname \"{EDGE}\" ct status dnat accept"),
            format!("iifname \"{EDGE}\" drop"),
        ],
    );
}

/// The interfaces with a public address in subnets that have an internet gateway.
fn translated(vpc: &VpcSpec) -> impl Iterator<Item = (&InterfaceSpec, Ipv4Addr)> {
    vpc.interfaces.iter().filter_map(|interface| {
        let public = interface.public_address?;
        let subnet = subnet_of(vpc, &interface.subnet)?;
        is_public(subnet).then_some((interface, public))
    })
}
