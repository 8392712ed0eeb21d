//! The host's own service on the internet, gateway endpoints that lead to it, and sockets at interfaces.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};

use pileus_contract::fabric::{
    ApiSpec, Fabric, FabricSpec, GatewayEndpointSpec, PeerSpec, RouteSpec, RouteTarget, TrafficSpec, VpcSpec,
};

use crate::reference::{interface, net, rule, vpc};
use crate::world::{Answer, HOST, ask, at, inside, ip, probe, serve, world};

const NAT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const ENDPOINT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);
const STORAGE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 253);
const API: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 254);

/// The service really listens on 4566 of all the host.
fn with_api(vpc: &VpcSpec) -> FabricSpec {
    let api = ApiSpec { addresses: BTreeSet::from([STORAGE, API]), listener: SocketAddrV4::new(API, 4566) };
    FabricSpec { vpcs: vec![vpc.clone()], api: Some(api), ..FabricSpec::default() }
}

#[test]
fn who_has_a_way_out_finds_the_service_and_nobody_else_does() {
    world(|world| {
        let fabric = world.fabric("eeeee1");
        let mut vpc = vpc("vpc-1");
        let mut node = interface("public-a", "10.0.1.5", "sg-alb");
        node.public_address = Some(PUBLIC);
        vpc.interfaces = vec![node, interface("private-a", "10.0.10.5", "sg-task")];
        fabric.apply(&with_api(&vpc)).unwrap();
        serve(&world.host, 4566);
        let (node, task) = (at(&fabric, "eni-10-0-1-5"), at(&fabric, "eni-10-0-10-5"));
        for (address, port) in [(API, 443), (API, 80), (STORAGE, 443)] {
            assert_eq!(ask(&node, address, port), Answer::From(PUBLIC), "{address}:{port}");
            assert_eq!(ask(&task, address, port), Answer::From(NAT), "{address}:{port}");
        }
        assert_eq!(probe(&task, API, 22), Answer::Silence, "other ports of the host are not there");
        assert_eq!(probe(&task, API, 4566), Answer::Silence);
        inside(&world.outside, || ip(&format!("route add 198.18.0.0/24 via {HOST}")));
        assert_eq!(probe(&world.outside, API, 4566), Answer::Silence, "a neighbour of the host");
        vpc.subnets[2].routes.clear();
        fabric.apply(&with_api(&vpc)).unwrap();
        assert_eq!(probe(&task, API, 443), Answer::Silence, "no route");
        // Another process takes over what is there.
        let next = world.fabric("eeeee1");
        next.apply(&with_api(&vpc)).unwrap();
        assert_eq!(ask(&node, API, 443), Answer::From(PUBLIC));
    });
}

#[test]
fn a_gateway_endpoint_leads_to_its_destinations_only() {
    world(|world| {
        let fabric = world.fabric("eeeee2");
        let mut vpc = vpc("vpc-1");
        vpc.interfaces = vec![interface("private-a", "10.0.10.5", "sg-task")];
        vpc.subnets[2].routes = vec![RouteSpec {
            destination: net("198.18.0.253/32"),
            target: RouteTarget::GatewayEndpoint("vpce-1".into()),
        }];
        let endpoint = GatewayEndpointSpec { id: "vpce-1".into(), address: ENDPOINT };
        vpc.gateway_endpoints = vec![endpoint];
        fabric.apply(&with_api(&vpc)).unwrap();
        serve(&world.host, 4566);
        let task = at(&fabric, "eni-10-0-10-5");
        assert_eq!(ask(&task, STORAGE, 443), Answer::From(ENDPOINT));
        assert_eq!(probe(&task, API, 443), Answer::Silence);
        // Groups and ACLs hold on this way as on any other.
        vpc.security_groups[1].egress =
            vec![rule(TrafficSpec::Tcp { from: 443, to: 443 }, PeerSpec::Cidr(net("198.18.0.254/32")))];
        fabric.apply(&with_api(&vpc)).unwrap();
        assert_eq!(probe(&task, STORAGE, 443), Answer::Silence);
        vpc.security_groups[1].egress =
            vec![rule(TrafficSpec::Tcp { from: 443, to: 443 }, PeerSpec::Cidr(net("198.18.0.253/32")))];
        fabric.apply(&with_api(&vpc)).unwrap();
        assert_eq!(ask(&task, STORAGE, 443), Answer::From(ENDPOINT));
        assert_eq!(probe(&task, STORAGE, 80), Answer::Silence);
        vpc.gateway_endpoints.clear();
        fabric.apply(&with_api(&vpc)).unwrap();
        assert_eq!(probe(&task, STORAGE, 443), Answer::Silence, "the endpoint is gone");
    });
}

#[test]
fn a_socket_at_an_interface_obeys_its_groups() {
    world(|world| {
        let fabric = world.fabric("eeeee3");
        let mut vpc = vpc("vpc-1");
        vpc.interfaces = vec![
            interface("private-a", "10.0.10.5", "sg-task"),
            interface("private-b", "10.0.11.9", "sg-alb"),
        ];
        fabric.apply(&with_api(&vpc)).unwrap();
        for port in [80, 443] {
            let listener = fabric.listen("eni-10-0-11-9", port).unwrap();
            listener.set_nonblocking(false).unwrap();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    let peer = stream.peer_addr().unwrap().ip();
                    stream.write_all(format!("{peer}\n").as_bytes()).unwrap();
                }
            });
        }
        let task = at(&fabric, "eni-10-0-10-5");
        assert_eq!(ask(&task, [10, 0, 11, 9], 80), Answer::From([10, 0, 10, 5].into()));
        assert_eq!(probe(&task, [10, 0, 11, 9], 443), Answer::Silence);
        assert!(fabric.listen("eni-10-0-11-9", 80).is_err(), "in use");
        assert!(fabric.listen("eni-10-0-11-99", 80).is_err(), "no such interface");
    });
}
