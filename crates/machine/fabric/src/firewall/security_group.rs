//! Security groups: a set of member addresses and two chains each, and two chains per interface that call them.
//!
//! Stateful, allow rules only, and a packet needs one rule of one group. A reference to another group is a look-up in
//! that group's members, so it follows them without any rule changing.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>

use pileus_contract::fabric::{GroupRuleSpec, InterfaceSpec, PeerSpec, SecurityGroupSpec, VpcSpec};

use super::Table;
use super::traffic::{traffic, within};
use crate::router::{EDGE, port_name};

/// Adds the groups and interfaces of `vpc`.
pub(super) fn add(table: &mut Table, vpc: &VpcSpec) {
    for group in &vpc.security_groups {
        add_group(table, vpc, group);
    }
    for interface in &vpc.interfaces {
        table.chain(format!("{}-in", interface.id), jumps(interface, "in"));
        table.chain(format!("{}-out", interface.id), jumps(interface, "out"));
    }
    let elements = |direction: &'static str| {
        vpc.interfaces.iter().map(move |interface| {
            let port = format!("\"{}\"", port_name(interface.address));
            (port, format!("jump {}-{direction}", interface.id))
        })
    };
    table.map("senders", "ifname : verdict", elements("out"));
    table.map("receivers", "ifname : verdict", elements("in"));
    // Two base chains, because `accept` in one leaves the packet to the next.
    let base = |priority: u8, rules: [String; 2]| {
        let mut all =
            vec!["ct state established,related accept".to_owned(), "ct state invalid drop".to_owned()];
        all.extend(rules);
        (format!("filter hook forward priority filter - {priority}; policy drop"), all)
    };
    let (hook, rules) = base(20, [format!("iifname \"{EDGE}\" accept"), "iifname vmap @senders".to_owned()]);
    table.base_chain("group_egress", &hook, rules);
    let (hook, rules) =
        base(10, [format!("oifname \"{EDGE}\" accept"), "oifname vmap @receivers".to_owned()]);
    table.base_chain("group_ingress", &hook, rules);
}

fn add_group(table: &mut Table, vpc: &VpcSpec, group: &SecurityGroupSpec) {
    let members = vpc
        .interfaces
        .iter()
        .filter(|interface| interface.security_groups.contains(&group.id))
        .map(|interface| interface.address.to_string());
    table.set(group.id.clone(), "ipv4_addr", members);
    let known = |id: &str| vpc.security_groups.iter().any(|group| group.id == id);
    let rules = |rules: &[GroupRuleSpec], side: &str| {
        rules.iter().filter_map(|rule| allow(rule, side, &known)).collect::<Vec<_>>()
    };
    table.chain(format!("{}-in", group.id), rules(&group.ingress, "saddr"));
    table.chain(format!("{}-out", group.id), rules(&group.egress, "daddr"));
}

/// The rule in the words of nft; `None` if it refers to a group of which nobody can be a member.
fn allow(rule: &GroupRuleSpec, side: &str, known: &impl Fn(&str) -> bool) -> Option<String> {
    let peer = match &rule.peer {
        PeerSpec::Cidr(net) => within(side, *net),
        PeerSpec::Group(id) if known(id) => format!("ip {side} @{id} "),
        PeerSpec::Group(_) => return None,
    };
    Some(format!("{}{peer}accept", traffic(&rule.traffic)))
}

fn jumps(interface: &InterfaceSpec, direction: &str) -> Vec<String> {
    interface.security_groups.iter().map(|group| format!("jump {group}-{direction}")).collect()
}
