//! What a VPC's router must know to route: pure, from the spec alone.
//!
//! Every subnet has a routing table, chosen by the packet's source, that holds the subnet's routes and leaves the
//! VPC's own range (`local`) to the main table, where each interface has a host route. What no table knows is dropped
//! in silence, as in AWS. The way out is told by the next hop, which the firewall reads too: the host's end of the
//! edge stands for the internet gateway, a NAT gateway's private address for that NAT gateway, and a gateway endpoint's
//! address for that endpoint. So one subnet may use them all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use pileus_contract::fabric::{NatGatewaySpec, RouteTarget, SubnetSpec, VpcSpec};

use crate::message::MAIN;

/// The resolver's address in every VPC, besides base + 2.
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

/// Where a route leads, by names that mean something in the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Blackhole,
    /// The VPC's own range: up to the host routes.
    Local,
    /// To the interface of this address.
    Interface(Ipv4Addr),
    /// Out of the edge by this next hop.
    Edge(Ipv4Addr),
}

/// The wanted state of a router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routing {
    /// The router's own addresses.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// The subnets that have a table, and its number.
    pub rules: BTreeMap<Ipv4Net, u32>,
    pub routes: BTreeMap<(u32, Ipv4Net), Way>,
    /// Next hops on the edge that stand for NAT gateways and gateway endpoints.
    pub nat_hops: BTreeSet<Ipv4Addr>,
}

impl Routing {
    /// The routing of `vpc`, whose internet gateway is the next hop `internet`, as far as the interfaces in
    /// `attached` go.
    pub(crate) fn of(vpc: &VpcSpec, internet: Ipv4Addr, attached: &BTreeSet<Ipv4Addr>) -> Self {
        let mut routing = Self { addresses: own_addresses(vpc), ..Self::default() };
        routing.routes.insert((MAIN, any()), Way::Blackhole);
        for address in attached {
            routing.routes.insert((MAIN, Ipv4Net::from(*address)), Way::Interface(*address));
        }
        let endpoints = vpc.gateway_endpoints.iter().map(|endpoint| endpoint.address);
        routing.nat_hops = vpc.nat_gateways.iter().map(|nat| nat.private_address).chain(endpoints).collect();
        for subnet in &vpc.subnets {
            routing.add_subnet(vpc, subnet, internet, attached);
        }
        routing
    }

    fn add_subnet(
        &mut self,
        vpc: &VpcSpec,
        subnet: &SubnetSpec,
        internet: Ipv4Addr,
        attached: &BTreeSet<Ipv4Addr>,
    ) {
        let table = table_of(subnet);
        self.rules.insert(subnet.cidr.trunc(), table);
        self.routes.insert((table, any()), Way::Blackhole);
        self.routes.insert((table, vpc.cidr.trunc()), Way::Local);
        for route in &subnet.routes {
            let way = match &route.target {
                RouteTarget::InternetGateway => Way::Edge(internet),
                RouteTarget::NatGateway(id) => vpc
                    .nat_gateways
                    .iter()
                    .find(|nat| nat.id == *id)
                    .map_or(Way::Blackhole, |nat| Way::Edge(nat.private_address)),
                RouteTarget::GatewayEndpoint(id) => vpc
                    .gateway_endpoints
                    .iter()
                    .find(|endpoint| endpoint.id == *id)
                    .map_or(Way::Blackhole, |endpoint| Way::Edge(endpoint.address)),
                RouteTarget::Interface(id) => vpc
                    .interfaces
                    .iter()
                    .find(|interface| interface.id == *id && attached.contains(&interface.address))
                    .map_or(Way::Blackhole, |interface| Way::Interface(interface.address)),
                RouteTarget::Blackhole => Way::Blackhole,
            };
            self.routes.insert((table, route.destination.trunc()), way);
        }
    }
}

/// The subnet's routing table: its network address as a number, which no other subnet of the VPC has.
pub(crate) fn table_of(subnet: &SubnetSpec) -> u32 {
    subnet.cidr.network().into()
}

/// AWS reserves the first address after the base for the router.
pub(crate) fn gateway_of(subnet: &SubnetSpec) -> Ipv4Addr {
    nth(subnet.cidr, 1)
}

/// The addresses at which the VPC's resolver is asked.
pub(crate) fn resolvers(vpc: &VpcSpec) -> [Ipv4Addr; 2] {
    [nth(vpc.cidr, 2), RESOLVER]
}

/// Whether anything in the subnet is routed to the internet gateway, that is, whether the subnet is public.
pub(crate) fn is_public(subnet: &SubnetSpec) -> bool {
    subnet.routes.iter().any(|route| route.target == RouteTarget::InternetGateway)
}

/// The NAT gateways that work: their own subnet is public and their zone is not cut off.
pub(crate) fn working_nat_gateways<'a>(
    vpc: &'a VpcSpec,
    isolated_zones: &'a BTreeSet<String>,
) -> impl Iterator<Item = (&'a NatGatewaySpec, &'a SubnetSpec)> {
    vpc.nat_gateways.iter().filter_map(|nat| {
        let subnet = vpc.subnets.iter().find(|subnet| subnet.id == nat.subnet)?;
        (is_public(subnet) && !isolated_zones.contains(&subnet.zone)).then_some((nat, subnet))
    })
}

fn own_addresses(vpc: &VpcSpec) -> BTreeSet<Ipv4Addr> {
    vpc.subnets.iter().map(gateway_of).chain(resolvers(vpc)).collect()
}

fn nth(net: Ipv4Net, offset: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()).wrapping_add(offset))
}

fn any() -> Ipv4Net {
    Ipv4Net::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    #[test]
    fn a_subnet_has_its_own_table_with_local_and_its_routes() {
        let vpc = reference::vpc("vpc-1");
        let attached = BTreeSet::from([Ipv4Addr::new(10, 0, 10, 5)]);
        let routing = Routing::of(&vpc, Ipv4Addr::new(169, 254, 1, 1), &attached);
        let lines: Vec<String> = routing
            .routes
            .iter()
            .map(|((table, net), way)| {
                let table = if *table == MAIN { "main".into() } else { Ipv4Addr::from(*table).to_string() };
                format!("{table}: {net} {way:?}")
            })
            .collect();
        expect_test::expect![[r#"
            main: 0.0.0.0/0 Blackhole
            main: 10.0.10.5/32 Interface(10.0.10.5)
            10.0.1.0: 0.0.0.0/0 Edge(169.254.1.1)
            10.0.1.0: 10.0.0.0/16 Local
            10.0.2.0: 0.0.0.0/0 Edge(169.254.1.1)
            10.0.2.0: 10.0.0.0/16 Local
            10.0.10.0: 0.0.0.0/0 Edge(10.0.1.250)
            10.0.10.0: 10.0.0.0/16 Local
            10.0.11.0: 0.0.0.0/0 Edge(10.0.1.250)
            10.0.11.0: 10.0.0.0/16 Local"#]]
        .assert_eq(&lines.join("\n"));
        assert!(routing.addresses.contains(&Ipv4Addr::new(10, 0, 0, 2)));
    }

    #[test]
    fn a_route_to_what_is_gone_is_a_black_hole() {
        let mut vpc = reference::vpc("vpc-1");
        vpc.nat_gateways.clear();
        let routing = Routing::of(&vpc, Ipv4Addr::new(169, 254, 1, 1), &BTreeSet::new());
        let private = (u32::from(Ipv4Addr::new(10, 0, 10, 0)), any());
        assert_eq!(routing.routes.get(&private), Some(&Way::Blackhole));
    }

    #[test]
    fn a_nat_gateway_works_only_in_a_public_subnet_of_a_zone_that_is_there() {
        let mut vpc = reference::vpc("vpc-1");
        let none = BTreeSet::new();
        assert_eq!(working_nat_gateways(&vpc, &none).count(), 1);
        let cut = BTreeSet::from(["us-east-1a".to_owned()]);
        assert_eq!(working_nat_gateways(&vpc, &cut).count(), 0);
        vpc.subnets[0].routes.clear();
        assert_eq!(working_nat_gateways(&vpc, &none).count(), 0);
    }
}
