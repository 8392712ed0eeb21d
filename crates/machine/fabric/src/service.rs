//! The host's service that VPCs call over the internet: where it is found, and who gets through to it.
//!
//! The host's end of every edge has the address at which the service listens, so it is there as long as any VPC is.
//! What VPCs send to one of the service's addresses, on the ports of HTTP, is led to it. The port that it really
//! listens on is any free one: the host's own ports 80 and 443 may be in use.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use pileus_contract::fabric::ApiSpec;

use crate::firewall::Table;
use crate::message;
use crate::netlink::Request;

/// Adds to the host's table of `instance` the way to its service.
pub(crate) fn add(table: &mut Table, instance: &str, api: Option<&ApiSpec>) {
    let Some(ApiSpec { addresses, listener }) = api else { return };
    let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let vpcs = format!("iifname \"pl{instance}*\"");
    table.base_chain(
        "service",
        "nat hook prerouting priority dstnat; policy accept",
        vec![format!("{vpcs} ip daddr {{ {addresses} }} tcp dport {{ 80, 443 }} dnat to {listener}")],
    );
    table.base_chain(
        "service_guard",
        "filter hook input priority filter; policy accept",
        vec![
            format!("{vpcs} ip daddr {} ct status dnat accept", listener.ip()),
            // The host's neighbours, and the VPCs on other ports.
            format!("iifname != \"lo\" ip daddr {{ {addresses} }} drop"),
        ],
    );
}

/// The changes that give the links of `wanted`, by index, their address, and take it from others that have one.
pub(crate) fn addresses(known: &BTreeMap<u32, Ipv4Addr>, wanted: &BTreeMap<u32, Ipv4Addr>) -> Vec<Request> {
    let gone = known.iter().filter(|(index, address)| wanted.get(index) != Some(address));
    let new = wanted.iter().filter(|(index, address)| known.get(index) != Some(address));
    gone.map(|(index, address)| message::delete_address(*index, Ipv4Net::from(*address)))
        .chain(new.map(|(index, address)| message::add_address(*index, Ipv4Net::from(*address))))
        .collect()
}
