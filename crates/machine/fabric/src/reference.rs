//! The reference topology, for tests: two zones, two public and two private subnets, one NAT gateway.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use pileus_contract::fabric::{
    AclRuleSpec, GroupRuleSpec, InterfaceSpec, NatGatewaySpec, PeerSpec, RouteSpec, RouteTarget,
    SecurityGroupSpec, SubnetSpec, TrafficSpec, VpcSpec,
};

pub(crate) fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a CIDR block in a test")
}

pub(crate) fn allow_all() -> Vec<AclRuleSpec> {
    vec![AclRuleSpec { allow: true, traffic: TrafficSpec::All, peer: net("0.0.0.0/0") }]
}

pub(crate) fn rule(traffic: TrafficSpec, peer: PeerSpec) -> GroupRuleSpec {
    GroupRuleSpec { traffic, peer }
}

pub(crate) fn anywhere() -> PeerSpec {
    PeerSpec::Cidr(net("0.0.0.0/0"))
}

fn subnet(name: &str, cidr: &str, zone: &str, target: RouteTarget) -> SubnetSpec {
    SubnetSpec {
        id: format!("subnet-{name}"),
        cidr: net(cidr),
        zone: zone.to_owned(),
        routes: vec![RouteSpec { destination: net("0.0.0.0/0"), target }],
        acl_ingress: allow_all(),
        acl_egress: allow_all(),
    }
}

/// The VPC without interfaces. Groups: `sg-alb` accepts 80 from anywhere, `sg-task` 3000 from `sg-alb`.
pub(crate) fn vpc(id: &str) -> VpcSpec {
    let nat = || RouteTarget::NatGateway("nat-1".to_owned());
    let group = |id: &str, ingress| SecurityGroupSpec {
        id: id.to_owned(),
        ingress,
        egress: vec![rule(TrafficSpec::All, anywhere())],
    };
    VpcSpec {
        id: id.to_owned(),
        cidr: net("10.0.0.0/16"),
        subnets: vec![
            subnet("public-a", "10.0.1.0/24", "us-east-1a", RouteTarget::InternetGateway),
            subnet("public-b", "10.0.2.0/24", "us-east-1b", RouteTarget::InternetGateway),
            subnet("private-a", "10.0.10.0/24", "us-east-1a", nat()),
            subnet("private-b", "10.0.11.0/24", "us-east-1b", nat()),
        ],
        interfaces: Vec::new(),
        security_groups: vec![
            group("sg-alb", vec![rule(TrafficSpec::Tcp { from: 80, to: 80 }, anywhere())]),
            group(
                "sg-task",
                vec![rule(TrafficSpec::Tcp { from: 3000, to: 3000 }, PeerSpec::Group("sg-alb".to_owned()))],
            ),
        ],
        nat_gateways: vec![NatGatewaySpec {
            id: "nat-1".to_owned(),
            subnet: "subnet-public-a".to_owned(),
            private_address: Ipv4Addr::new(10, 0, 1, 250),
            public_address: Ipv4Addr::new(198, 18, 0, 1),
        }],
        gateway_endpoints: Vec::new(),
        counts_flows: false,
        names: Vec::new(),
    }
}

/// An interface of that VPC, whose id and MAC follow from its address.
pub(crate) fn interface(subnet: &str, address: &str, group: &str) -> InterfaceSpec {
    let address: Ipv4Addr = address.parse().expect("an address in a test");
    let [a, b, c, d] = address.octets();
    InterfaceSpec {
        id: format!("eni-{a}-{b}-{c}-{d}"),
        subnet: format!("subnet-{subnet}"),
        address,
        mac: [2, 0, a, b, c, d],
        public_address: None,
        security_groups: vec![group.to_owned()],
    }
}
