//! All networks of the state as one value for the machine.
//!
//! Only what the machine must know is in it: an interface of a NAT gateway is part of the gateway, an IPv6 rule has
//! nothing to match, and a route whose target is gone is a black hole.

use std::sync::Arc;

use ipnet::Ipv4Net;
use pileus_contract::FabricSpec;
use pileus_contract::fabric::{
    AclRuleSpec, GatewayEndpointSpec, GroupRuleSpec, InterfaceSpec, NameSpec, NatGatewaySpec, PeerSpec,
    RouteSpec, RouteTarget, SecurityGroupSpec, SubnetSpec, VpcSpec,
};
use pileus_core::Scope;
use pileus_state::State;

use crate::network_acl::Entry;
use crate::route_table::Lookup;
use crate::security_group::Peer;
use crate::vpc::private_domain;
use crate::vpc_endpoint::Way;
use crate::vpc_endpoint::names::{self, Reachable};
use crate::{
    Interface, InternetGateway, NatGateway, NetworkAcl, RouteTable, Rule, SecurityGroup, Subnet, Vpc,
    VpcEndpoint, flow_log, interface, prefix_list, public_pool,
};

/// The networks of every account and region.
pub fn fabric_spec(state: &State) -> FabricSpec {
    let vpcs = state.all::<Vpc>().map(|(scope, vpc)| Network { state, scope, vpc }.spec());
    FabricSpec { vpcs: vpcs.collect(), ..FabricSpec::default() }
}

/// One VPC in its scope.
struct Network<'a> {
    state: &'a State,
    scope: &'a Scope,
    vpc: Arc<Vpc>,
}

impl Lookup for Network<'_> {
    fn internet_gateway(&self, id: &str, vpc: &str) -> bool {
        let gateway = self.state.get::<InternetGateway>(self.scope, id);
        gateway.is_some_and(|gateway| gateway.vpc.as_deref() == Some(vpc))
    }

    fn nat_gateway(&self, id: &str) -> bool {
        self.state.get::<NatGateway>(self.scope, id).is_some_and(|gateway| gateway.state.is_up())
    }

    fn interface(&self, id: &str) -> bool {
        self.state.get::<Interface>(self.scope, id).is_some()
    }

    fn prefix_list(&self, id: &str) -> Vec<Ipv4Net> {
        prefix_list::blocks(self.state, &self.scope.region, id)
    }
}

impl Network<'_> {
    fn spec(&self) -> VpcSpec {
        let interfaces: Vec<_> = self.interfaces().collect();
        let domain = private_domain(self.scope);
        let name =
            |it: &Arc<Interface>| NameSpec { name: it.private_name(&domain), addresses: vec![it.address] };
        let endpoints: Vec<_> = self.endpoints().collect();
        let reachable: Vec<_> = endpoints.iter().map(|endpoint| self.reachable(endpoint)).collect();
        let apis = public_pool::apis(self.state);
        let mut names = names::of_vpc(&self.scope.region, apis, &reachable);
        names.extend(interfaces.iter().map(name));
        VpcSpec {
            id: self.vpc.id.clone(),
            cidr: self.vpc.cidr,
            subnets: self.subnets(),
            names,
            interfaces: interfaces.iter().map(|interface| interface_spec(interface)).collect(),
            security_groups: self.security_groups(),
            nat_gateways: self.nat_gateways(),
            gateway_endpoints: endpoints.iter().filter_map(|it| gateway_endpoint(it)).collect(),
            counts_flows: flow_log::concerns(self.state, self.scope, &self.vpc.id),
        }
    }

    /// The interfaces that have a namespace of their own.
    fn interfaces(&self) -> impl Iterator<Item = Arc<Interface>> {
        let all = self.state.list::<Interface>(self.scope);
        all.filter(|it| it.vpc == self.vpc.id && it.interface_type != interface::NAT_GATEWAY)
    }

    fn endpoints(&self) -> impl Iterator<Item = Arc<VpcEndpoint>> {
        let all = self.state.list::<VpcEndpoint>(self.scope);
        all.filter(|endpoint| endpoint.vpc == self.vpc.id && endpoint.state.is_up())
    }

    fn reachable<'a>(&self, endpoint: &'a VpcEndpoint) -> Reachable<'a> {
        let address = |(_, id): (&String, &String)| {
            let interface = self.state.get::<Interface>(self.scope, id)?;
            Some((interface.zone.clone(), interface.address))
        };
        let private =
            matches!(endpoint.way, Way::Interface { private_dns: true, .. }) && self.vpc.dns_hostnames;
        Reachable { endpoint, addresses: endpoint.interfaces().filter_map(address).collect(), private }
    }

    /// The routes that gateway endpoints put into a route table.
    fn endpoint_routes(&self, table: &str) -> Vec<RouteSpec> {
        let mine =
            self.endpoints().filter(|it| it.gateway().is_some_and(|(_, tables)| tables.contains(table)));
        let blocks = prefix_list::of_s3(self.state, &self.scope.region).blocks;
        let routes = mine.flat_map(|endpoint| {
            let target = RouteTarget::GatewayEndpoint(endpoint.id.clone());
            blocks
                .iter()
                .map(|block| RouteSpec { destination: *block, target: target.clone() })
                .collect::<Vec<_>>()
        });
        routes.collect()
    }

    fn subnets(&self) -> Vec<SubnetSpec> {
        let subnets = self.state.list::<Subnet>(self.scope).filter(|subnet| subnet.vpc == self.vpc.id);
        subnets.map(|subnet| self.subnet(&subnet)).collect()
    }

    fn subnet(&self, subnet: &Subnet) -> SubnetSpec {
        let table = self.route_table(&subnet.id);
        let own =
            table.iter().flat_map(|table| &table.routes).flat_map(|route| route.specs(&self.vpc.id, self));
        let routes = own.chain(table.iter().flat_map(|table| self.endpoint_routes(&table.id)));
        let mut acls = self.state.list::<NetworkAcl>(self.scope);
        let acl = acls.find(|acl| acl.associations.contains_key(&subnet.id));
        SubnetSpec {
            id: subnet.id.clone(),
            cidr: subnet.cidr,
            zone: subnet.zone.clone(),
            routes: routes.collect(),
            acl_ingress: acl.as_ref().map(|acl| acl_rules(&acl.ingress)).unwrap_or_default(),
            acl_egress: acl.as_ref().map(|acl| acl_rules(&acl.egress)).unwrap_or_default(),
        }
    }

    /// The subnet's own table, else the main one.
    fn route_table(&self, subnet: &str) -> Option<Arc<RouteTable>> {
        let tables = || self.state.list::<RouteTable>(self.scope).filter(|table| table.vpc == self.vpc.id);
        let own = tables().find(|table| table.associations.contains_key(subnet));
        own.or_else(|| tables().find(|table| table.main.is_some()))
    }

    fn security_groups(&self) -> Vec<SecurityGroupSpec> {
        let groups = self.state.list::<SecurityGroup>(self.scope).filter(|group| group.vpc == self.vpc.id);
        groups.map(|group| self.security_group(&group.id)).collect()
    }

    fn security_group(&self, id: &str) -> SecurityGroupSpec {
        let rules = |egress| {
            let rules = self.state.list::<Rule>(self.scope);
            let mine = rules.filter(move |rule| rule.group == id && rule.egress == egress);
            mine.flat_map(|rule| self.group_rules(&rule)).collect()
        };
        SecurityGroupSpec { id: id.to_owned(), ingress: rules(false), egress: rules(true) }
    }

    fn group_rules(&self, rule: &Rule) -> Vec<GroupRuleSpec> {
        let blocks = rule.blocks(self.state, self.scope).into_iter().map(PeerSpec::Cidr);
        let group = match &rule.peer {
            Peer::Group(id) => Some(PeerSpec::Group(id.clone())),
            _ => None,
        };
        let spec = |peer| GroupRuleSpec { traffic: rule.traffic.clone(), peer };
        blocks.chain(group).map(spec).collect()
    }

    fn nat_gateways(&self) -> Vec<NatGatewaySpec> {
        let gateways = self.state.list::<NatGateway>(self.scope);
        let up = gateways.filter(|gateway| gateway.vpc == self.vpc.id && gateway.state.is_up());
        up.filter_map(|gateway| nat_gateway(&gateway)).collect()
    }
}

fn interface_spec(interface: &Interface) -> InterfaceSpec {
    InterfaceSpec {
        id: interface.id.clone(),
        subnet: interface.subnet.clone(),
        address: interface.address,
        mac: interface.mac,
        public_address: interface.public.as_ref().map(|public| public.address),
        security_groups: interface.groups.clone(),
    }
}

fn acl_rules(entries: &[Entry]) -> Vec<AclRuleSpec> {
    let rule =
        |entry: &Entry| AclRuleSpec { allow: entry.allow, traffic: entry.traffic.clone(), peer: entry.peer };
    entries.iter().map(rule).collect()
}

fn gateway_endpoint(endpoint: &VpcEndpoint) -> Option<GatewayEndpointSpec> {
    let (address, _) = endpoint.gateway()?;
    Some(GatewayEndpointSpec { id: endpoint.id.clone(), address })
}

fn nat_gateway(gateway: &NatGateway) -> Option<NatGatewaySpec> {
    let addresses = gateway.addresses.as_ref()?;
    Some(NatGatewaySpec {
        id: gateway.id.clone(),
        subnet: gateway.subnet.clone(),
        private_address: addresses.private,
        public_address: addresses.public,
    })
}

#[cfg(test)]
mod tests {
    use pileus_aws::ec2;
    use pileus_contract::fabric::TrafficSpec;
    use pileus_kit::Cloud;

    use super::*;
    use crate::testing::{
        associate, cloud, group, interface, internet_gateway, nat_gateway, route_table, subnet, subnet_input,
        vpc,
    };

    fn route(cloud: &mut Cloud, table: &str, gateway: Option<&str>, nat: Option<&str>) {
        cloud.ok::<ec2::ops::CreateRoute>(ec2::CreateRouteRequest {
            route_table_id: table.into(),
            destination_cidr_block: Some("0.0.0.0/0".into()),
            gateway_id: gateway.map(Into::into),
            nat_gateway_id: nat.map(Into::into),
            ..Default::default()
        });
    }

    fn allow(cloud: &mut Cloud, group: &str, port: i64, cidr: Option<&str>, from: Option<&str>) {
        let range = |cidr: &str| ec2::IpRange { description: None, cidr_ip: Some(cidr.into()) };
        let pair = |group: &str| ec2::UserIdGroupPair { group_id: Some(group.into()), ..Default::default() };
        let permission = ec2::IpPermission {
            ip_protocol: Some("tcp".into()),
            from_port: Some(port),
            to_port: Some(port),
            ip_ranges: Some(cidr.map(range).into_iter().collect()),
            user_id_group_pairs: Some(from.map(pair).into_iter().collect()),
            ..Default::default()
        };
        cloud.ok::<ec2::ops::AuthorizeSecurityGroupIngress>(ec2::AuthorizeSecurityGroupIngressRequest {
            group_id: Some(group.into()),
            ip_permissions: Some(vec![permission]),
            ..Default::default()
        });
    }

    /// The reference architecture: two zones with a public and a private subnet each, one NAT gateway, and two groups.
    struct Architecture {
        public: Vec<String>,
        private: Vec<String>,
        nat: String,
        balancer: String,
        tasks: String,
    }

    fn architecture(cloud: &mut Cloud) -> Architecture {
        let vpc = vpc(cloud, "10.0.0.0/16");
        let mut make = |cidr: &str, zone: &str| {
            let input =
                ec2::CreateSubnetRequest { availability_zone: Some(zone.into()), ..subnet_input(&vpc, cidr) };
            cloud.ok::<ec2::ops::CreateSubnet>(input).subnet.unwrap().subnet_id.unwrap()
        };
        let public = vec![make("10.0.1.0/24", "us-east-1a"), make("10.0.2.0/24", "us-east-1b")];
        let private = vec![make("10.0.10.0/24", "us-east-1a"), make("10.0.11.0/24", "us-east-1b")];
        let gateway = internet_gateway(cloud, &vpc);
        let nat = nat_gateway(cloud, &public[0]);
        let (out, inner) = (route_table(cloud, &vpc), route_table(cloud, &vpc));
        route(cloud, &out, Some(&gateway), None);
        route(cloud, &inner, None, Some(&nat));
        public.iter().for_each(|subnet| drop(associate(cloud, &out, subnet)));
        private.iter().for_each(|subnet| drop(associate(cloud, &inner, subnet)));
        let (balancer, tasks) = (group(cloud, &vpc, "balancer"), group(cloud, &vpc, "tasks"));
        allow(cloud, &balancer, 80, Some("0.0.0.0/0"), None);
        allow(cloud, &tasks, 3000, None, Some(&balancer));
        allow(cloud, &balancer, 9000, None, Some(&tasks));
        Architecture { public, private, nat, balancer, tasks }
    }

    #[test]
    fn the_reference_architecture() {
        let mut cloud = cloud();
        let built = architecture(&mut cloud);
        let node = interface(&mut cloud, &built.public[0], &[&built.balancer]);
        let task = interface(&mut cloud, &built.private[1], &[&built.tasks]);
        let spec = fabric_spec(&cloud.state).vpcs.remove(0);
        let routes =
            |id: &String| spec.subnets.iter().find(|subnet| subnet.id == *id).unwrap().routes.clone();
        let all = |target| vec![RouteSpec { destination: Default::default(), target }];
        for subnet in &built.public {
            assert_eq!(routes(subnet), all(RouteTarget::InternetGateway));
        }
        for subnet in &built.private {
            assert_eq!(routes(subnet), all(RouteTarget::NatGateway(built.nat.clone())));
        }
        for subnet in &spec.subnets {
            assert_eq!((subnet.acl_ingress.len(), subnet.acl_egress.len()), (1, 1));
        }
        let rules = |id: &String| spec.security_groups.iter().find(|group| group.id == *id).unwrap();
        let tcp = |port| TrafficSpec::Tcp { from: port, to: port };
        let expected = GroupRuleSpec { traffic: tcp(3000), peer: PeerSpec::Group(built.balancer.clone()) };
        assert_eq!(rules(&built.tasks).ingress, [expected]);
        assert_eq!(rules(&built.balancer).ingress.len(), 2);
        assert_eq!(rules(&built.tasks).egress[0].traffic, TrafficSpec::All);
        assert_eq!(spec.nat_gateways[0].subnet, built.public[0]);
        // The interface of the NAT gateway is not one of these.
        let mut ids: Vec<_> = spec.interfaces.iter().map(|interface| interface.id.clone()).collect();
        ids.sort();
        let mut expected = vec![node.id.clone(), task.id.clone()];
        expected.sort();
        assert_eq!(ids, expected);
        let name = spec.names.iter().find(|name| name.addresses == [task.address]).unwrap();
        assert_eq!(name.name, "ip-10-0-11-4.ec2.internal");
        let open = crate::security_group::tcp_sources(&cloud.state, &cloud.scope, &node.groups);
        assert_eq!(open, [(Default::default(), 80, 80)]);
    }

    #[test]
    fn a_route_to_what_is_gone_is_a_black_hole() {
        let mut cloud = cloud();
        let built = architecture(&mut cloud);
        cloud.ok::<ec2::ops::DeleteNatGateway>(ec2::DeleteNatGatewayRequest { nat_gateway_id: built.nat });
        let spec = fabric_spec(&cloud.state).vpcs.remove(0);
        assert!(spec.nat_gateways.is_empty());
        let private = spec.subnets.iter().find(|subnet| subnet.id == built.private[0]).unwrap();
        assert_eq!(private.routes[0].target, RouteTarget::Blackhole);
    }

    #[test]
    fn a_subnet_without_a_table_follows_the_main_one() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        subnet(&mut cloud, &vpc, "10.0.1.0/24");
        assert_eq!(fabric_spec(&cloud.state).vpcs[0].subnets[0].routes, []);
        let gateway = internet_gateway(&mut cloud, &vpc);
        let tables = cloud.ok::<ec2::ops::DescribeRouteTables>(Default::default()).route_tables.unwrap();
        route(&mut cloud, tables[0].route_table_id.as_ref().unwrap(), Some(&gateway), None);
        let routes = fabric_spec(&cloud.state).vpcs[0].subnets[0].routes.clone();
        assert_eq!(routes[0].target, RouteTarget::InternetGateway);
    }

    #[test]
    fn every_scope_is_in_it() {
        let mut cloud = cloud();
        vpc(&mut cloud, "10.0.0.0/16");
        cloud.scope = Scope::new("111111111111", "eu-west-1");
        let second = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &second, "10.0.1.0/24");
        interface(&mut cloud, &subnet, &[]);
        let spec = fabric_spec(&cloud.state);
        assert_eq!(spec.vpcs.len(), 2);
        let there = spec.vpcs.iter().find(|vpc| vpc.id == second).unwrap();
        assert_eq!(there.names.last().unwrap().name, "ip-10-0-1-4.eu-west-1.compute.internal");
    }
}
