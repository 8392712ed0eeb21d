//! Network ACLs: stateless rules where a packet crosses the border of a subnet, the first match decides.
//!
//! They come before anything that knows connections. A NAT gateway stands in a subnet of its own, so what passes
//! through it crosses that subnet's border both ways too.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>

use std::collections::BTreeSet;

use pileus_contract::fabric::{AclRuleSpec, SubnetSpec, VpcSpec};

use super::Table;
use super::traffic::{traffic, within};
use crate::router::{EDGE, port_name};
use crate::routing::working_nat_gateways;

/// Adds the ACLs of every subnet of `vpc`.
pub(super) fn add(table: &mut Table, vpc: &VpcSpec, isolated_zones: &BTreeSet<String>) {
    for subnet in &vpc.subnets {
        table.chain(format!("{}-in", subnet.id), rules(subnet, &subnet.acl_ingress, "saddr"));
        table.chain(format!("{}-out", subnet.id), rules(subnet, &subnet.acl_egress, "daddr"));
    }
    for (name, direction) in [("leaving_subnet", "out"), ("entering_subnet", "in")] {
        let elements = vpc.interfaces.iter().map(|interface| {
            let port = format!("\"{}\"", port_name(interface.address));
            (port, format!("jump {}-{direction}", interface.subnet))
        });
        table.map(name, "ifname : verdict", elements);
    }
    for (name, direction) in [("leaving_nat", "out"), ("entering_nat", "in")] {
        let elements = working_nat_gateways(vpc, isolated_zones).flat_map(|(nat, subnet)| {
            [nat.private_address, nat.public_address]
                .map(|address| (address.to_string(), format!("jump {}-{direction}", subnet.id)))
        });
        table.map(name, "ipv4_addr : verdict", elements.collect::<Vec<_>>());
    }
    // On the way out the next hop names the NAT gateway; on the way back the address that it lent does.
    let through_nat = ["entering_nat", "leaving_nat"].map(|map| {
        [
            format!("oifname \"{EDGE}\" rt ip nexthop vmap @{map}"),
            format!("iifname \"{EDGE}\" ct direction reply ct reply ip daddr vmap @{map}"),
        ]
    });
    let mut all = vec!["iifname vmap @leaving_subnet".to_owned()];
    all.extend(through_nat.into_iter().flatten());
    all.push("oifname vmap @entering_subnet".to_owned());
    table.base_chain("acl", "filter hook forward priority filter - 30; policy accept", all);
}

fn rules(subnet: &SubnetSpec, acl: &[AclRuleSpec], side: &str) -> Vec<String> {
    // Inside the subnet there is no border.
    let mut rules = vec![format!("ip {side} {} return", subnet.cidr.trunc())];
    rules.extend(acl.iter().map(|rule| {
        let verdict = if rule.allow { "return" } else { "drop" };
        format!("{}{}{verdict}", traffic(&rule.traffic), within(side, rule.peer))
    }));
    rules.push("drop".to_owned());
    rules
}
