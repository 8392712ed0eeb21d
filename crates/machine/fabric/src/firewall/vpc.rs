//! The whole table of a VPC's router.
//!
//! A packet's way: `arriving` (cut-off zones, forged sources, foreign destinations), translation in, routing, then on
//! the forward hook `edge`, `acl`, `group_egress`, `group_ingress`; at last translation out and `departing`. Every drop is silent.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use pileus_contract::fabric::VpcSpec;

use super::{Table, acl, nat, security_group};
use crate::router::{EDGE, port_name, subnet_of};
use crate::routing::resolvers;

/// The name of the table in the router's namespace.
const NAME: &str = "pileus";

/// The table of `vpc`, whose internet gateway is the next hop `internet`.
pub(crate) fn of_vpc(vpc: &VpcSpec, isolated_zones: &BTreeSet<String>, internet: Ipv4Addr) -> Table {
    let mut table = Table::new(NAME);
    add_borders(&mut table, vpc, isolated_zones);
    nat::add(&mut table, vpc, isolated_zones, internet);
    acl::add(&mut table, vpc, isolated_zones);
    security_group::add(&mut table, vpc);
    table
}

fn add_borders(table: &mut Table, vpc: &VpcSpec, isolated_zones: &BTreeSet<String>) {
    let port = |address| format!("\"{}\"", port_name(address));
    let isolated = vpc.interfaces.iter().filter(|interface| {
        subnet_of(vpc, &interface.subnet).is_some_and(|subnet| isolated_zones.contains(&subnet.zone))
    });
    table.set("isolated", "ifname", isolated.map(|interface| port(interface.address)));
    let sources = vpc.interfaces.iter().map(|interface| {
        let address = interface.address;
        format!("{} . {address}", port(address))
    });
    table.set("sources", "ifname . ipv4_addr", sources);
    table.base_chain(
        "arriving",
        "filter hook prerouting priority raw; policy accept",
        vec![
            "iifname \"lo\" accept".to_owned(),
            "iifname @isolated drop".to_owned(),
            format!("iifname \"{EDGE}\" ip daddr != @public drop"),
            format!("iifname != \"{EDGE}\" iifname . ip saddr != @sources drop"),
        ],
    );
    table.base_chain(
        "departing",
        "filter hook postrouting priority srcnat + 10; policy accept",
        vec!["oifname @isolated drop".to_owned(), format!("oifname \"{EDGE}\" ip saddr != @public drop")],
    );
    let [base, link_local] = resolvers(vpc);
    table.base_chain(
        "to_router",
        "filter hook input priority filter; policy drop",
        vec![
            "iifname \"lo\" accept".to_owned(),
            "ct state established,related accept".to_owned(),
            // Neither groups nor ACLs filter the resolver.
            format!("ip daddr {{ {base}, {link_local} }} meta l4proto {{ tcp, udp }} th dport 53 accept"),
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    const INTERNET: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

    fn with_interfaces() -> VpcSpec {
        let mut vpc = reference::vpc("vpc-1");
        let mut node = reference::interface("public-a", "10.0.1.5", "sg-alb");
        node.public_address = Some(Ipv4Addr::new(198, 18, 0, 2));
        vpc.interfaces = vec![node, reference::interface("private-a", "10.0.10.5", "sg-task")];
        vpc
    }

    #[test]
    fn the_table_of_the_reference_topology() {
        let table = of_vpc(&with_interfaces(), &BTreeSet::new(), INTERNET);
        expect_test::expect_file!["reference.nft"].assert_eq(&table.script_from(None).unwrap());
    }

    #[test]
    fn one_more_interface_adds_its_elements_and_chains_only() {
        let old = of_vpc(&with_interfaces(), &BTreeSet::new(), INTERNET);
        let mut vpc = with_interfaces();
        vpc.interfaces.push(reference::interface("private-b", "10.0.11.5", "sg-task"));
        let new = of_vpc(&vpc, &BTreeSet::new(), INTERNET);
        expect_test::expect![[r#"
            add chain ip pileus eni-10-0-11-5-in
            add chain ip pileus eni-10-0-11-5-out
            add rule ip pileus eni-10-0-11-5-in jump sg-task-in
            add rule ip pileus eni-10-0-11-5-out jump sg-task-out
            add element ip pileus entering_subnet { "e0a000b05" : jump subnet-private-b-in }
            add element ip pileus leaving_subnet { "e0a000b05" : jump subnet-private-b-out }
            add element ip pileus receivers { "e0a000b05" : jump eni-10-0-11-5-in }
            add element ip pileus senders { "e0a000b05" : jump eni-10-0-11-5-out }
            add element ip pileus sg-task { 10.0.11.5 }
            add element ip pileus sources { "e0a000b05" . 10.0.11.5 }
        "#]]
        .assert_eq(&new.script_from(Some(&old)).unwrap());
    }

    #[test]
    fn one_more_rule_adds_one_rule() {
        let old = of_vpc(&with_interfaces(), &BTreeSet::new(), INTERNET);
        let mut vpc = with_interfaces();
        let rule = reference::rule(
            pileus_contract::fabric::TrafficSpec::Tcp { from: 8000, to: 8080 },
            pileus_contract::fabric::PeerSpec::Cidr(reference::net("10.0.0.0/8")),
        );
        vpc.security_groups[0].ingress.push(rule);
        let new = of_vpc(&vpc, &BTreeSet::new(), INTERNET);
        expect_test::expect![[r#"
            add rule ip pileus sg-alb-in tcp dport 8000-8080 ip saddr 10.0.0.0/8 accept
        "#]]
        .assert_eq(&new.script_from(Some(&old)).unwrap());
    }

    #[test]
    fn a_cut_off_zone_adds_its_interfaces_to_a_set_and_takes_its_nat_gateway_away() {
        let old = of_vpc(&with_interfaces(), &BTreeSet::new(), INTERNET);
        let cut = BTreeSet::from(["us-east-1a".to_owned()]);
        let new = of_vpc(&with_interfaces(), &cut, INTERNET);
        expect_test::expect![[r#"
            delete element ip pileus entering_nat { 10.0.1.250, 198.18.0.1 }
            add element ip pileus isolated { "e0a000105", "e0a000a05" }
            delete element ip pileus leaving_nat { 10.0.1.250, 198.18.0.1 }
            delete element ip pileus nat_gateways { 10.0.1.250 }
            delete element ip pileus public { 198.18.0.1 }
        "#]]
        .assert_eq(&new.script_from(Some(&old)).unwrap());
    }
}
