//! The way out and the way in: internet gateway, NAT gateway, and what must not pass.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};

use pileus_contract::fabric::{Fabric, RouteSpec, RouteTarget, VpcSpec};

use crate::reference::{interface, net, vpc};
use crate::world::{
    Answer, HOST, OUTSIDE, ask, at, connection, inside, ip, open, probe, router, serve, spec, world,
};

const NAT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

fn topology() -> VpcSpec {
    let mut vpc = vpc("vpc-1");
    let mut node = interface("public-a", "10.0.1.5", "sg-alb");
    node.public_address = Some(PUBLIC);
    vpc.interfaces = vec![
        node,
        interface("public-b", "10.0.2.5", "sg-alb"),
        interface("private-a", "10.0.10.5", "sg-task"),
        interface("private-b", "10.0.11.5", "sg-task"),
    ];
    vpc
}

#[test]
fn who_leaves_is_seen_with_a_public_address_or_not_at_all() {
    world(|world| {
        let fabric = world.fabric("ccccc1");
        fabric.apply(&spec(&topology())).unwrap();
        serve(&world.host, 8080);
        serve(&world.outside, 8080);
        let node = at(&fabric, "eni-10-0-1-5");
        assert_eq!(ask(&node, HOST, 8080), Answer::From(PUBLIC), "1:1 by the internet gateway");
        for task in ["eni-10-0-10-5", "eni-10-0-11-5"] {
            assert_eq!(ask(&at(&fabric, task), HOST, 8080), Answer::From(NAT), "by the NAT gateway");
        }
        assert_eq!(ask(&node, OUTSIDE, 8080), Answer::From(HOST), "masqueraded beyond the host");
        assert_eq!(ask(&at(&fabric, "eni-10-0-10-5"), OUTSIDE, 8080), Answer::From(HOST));
        let bare = at(&fabric, "eni-10-0-2-5");
        assert_eq!(probe(&bare, HOST, 8080), Answer::Silence, "no public address");
        assert_eq!(probe(&bare, OUTSIDE, 8080), Answer::Silence);
    });
}

#[test]
fn the_host_reaches_public_addresses_and_nothing_else() {
    world(|world| {
        let fabric = world.fabric("ccccc2");
        let mut vpc = topology();
        fabric.apply(&spec(&vpc)).unwrap();
        let node = at(&fabric, "eni-10-0-1-5");
        serve(&node, 80);
        serve(&node, 81);
        assert!(matches!(ask(&world.host, PUBLIC, 80), Answer::From(_)));
        assert_eq!(probe(&world.host, PUBLIC, 81), Answer::Silence, "the group does not allow it");
        assert_eq!(probe(&world.host, NAT, 80), Answer::Silence, "a NAT gateway takes no connections");
        assert_eq!(probe(&world.host, [10, 0, 1, 5], 80), Answer::Refused(ErrorKind::NetworkUnreachable));
        // Even with a route there is no way.
        let routes = ip("-4 route show");
        let edge = routes.lines().find(|line| line.starts_with("198.18.0.2 ")).unwrap();
        ip(&format!("route add 10.0.0.0/16 {}", edge.trim_start_matches("198.18.0.2 ").trim()));
        assert_eq!(probe(&world.host, [10, 0, 1, 5], 80), Answer::Silence);
        // A neighbour of the host has no business there either.
        inside(&world.outside, || ip(&format!("route add 198.18.0.0/24 via {HOST}")));
        assert_eq!(probe(&world.outside, PUBLIC, 80), Answer::Silence);
        vpc.interfaces[0].public_address = None;
        fabric.apply(&spec(&vpc)).unwrap();
        assert_eq!(probe(&world.host, PUBLIC, 80), Answer::Refused(ErrorKind::NetworkUnreachable));
        assert_eq!(probe(&node, HOST, 80), Answer::Silence);
    });
}

#[test]
fn one_subnet_may_use_both_gateways() {
    world(|world| {
        let fabric = world.fabric("ccccc3");
        let mut vpc = topology();
        let route =
            RouteSpec { destination: net("203.0.113.2/32"), target: RouteTarget::NatGateway("nat-1".into()) };
        vpc.subnets[0].routes.push(route);
        fabric.apply(&spec(&vpc)).unwrap();
        serve(&world.host, 8080);
        serve(&world.outside, 8080);
        // Without the host's own translation, to see what leaves the VPC.
        inside(&world.outside, || ip(&format!("route add 198.18.0.0/24 via {HOST}")));
        ip("-4 route show");
        let node = at(&fabric, "eni-10-0-1-5");
        assert_eq!(ask(&node, HOST, 8080), Answer::From(PUBLIC));
        let status = std::process::Command::new("nft")
            .args(["flush", "chain", "ip", "pileus_ccccc3", "translate_out"])
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(ask(&node, OUTSIDE, 8080), Answer::From(NAT));
    });
}

#[test]
fn a_nat_gateway_needs_a_public_subnet() {
    world(|world| {
        let fabric = world.fabric("ccccc4");
        let mut vpc = topology();
        vpc.subnets[0].routes.clear();
        fabric.apply(&spec(&vpc)).unwrap();
        serve(&world.host, 8080);
        let task = at(&fabric, "eni-10-0-10-5");
        assert_eq!(probe(&task, HOST, 8080), Answer::Silence);
        vpc.subnets[0].routes = topology().subnets[0].routes.clone();
        fabric.apply(&spec(&vpc)).unwrap();
        assert_eq!(ask(&task, HOST, 8080), Answer::From(NAT));
        vpc.nat_gateways.clear();
        fabric.apply(&spec(&vpc)).unwrap();
        assert_eq!(probe(&task, HOST, 8080), Answer::Silence);
    });
}

#[test]
fn a_vpc_reaches_its_own_and_others_public_addresses_through_the_host() {
    world(|world| {
        let fabric = world.fabric("ccccc5");
        let one = topology();
        let mut two = vpc("vpc-2");
        two.nat_gateways[0].public_address = Ipv4Addr::new(198, 18, 0, 3);
        two.interfaces = vec![interface("private-a", "10.0.10.7", "sg-task")];
        let mut both = spec(&one);
        both.vpcs.push(two);
        fabric.apply(&both).unwrap();
        serve(&at(&fabric, "eni-10-0-1-5"), 80);
        assert_eq!(ask(&at(&fabric, "eni-10-0-10-5"), PUBLIC, 80), Answer::From(NAT));
        let foreign = at(&fabric, "eni-10-0-10-7");
        assert_eq!(ask(&foreign, PUBLIC, 80), Answer::From(Ipv4Addr::new(198, 18, 0, 3)));
        assert_eq!(
            probe(&foreign, [10, 0, 1, 5], 80),
            Answer::Silence,
            "the private address is another VPC's"
        );
    });
}

#[test]
fn link_local_addresses_of_the_host_cannot_be_reached() {
    world(|world| {
        let fabric = world.fabric("ccccc6");
        fabric.apply(&spec(&topology())).unwrap();
        // As where the host is itself a virtual machine of a cloud.
        ip("addr add 169.254.169.254/32 dev lo");
        serve(&world.host, 80);
        for interface in ["eni-10-0-1-5", "eni-10-0-10-5"] {
            assert_eq!(probe(&at(&fabric, interface), [169, 254, 169, 254], 80), Answer::Silence);
        }
        assert!(ip("-4 addr show").contains("169.254.169.254"));
    });
}

#[test]
fn nothing_has_ipv6_but_loopback() {
    world(|world| {
        let fabric = world.fabric("ccccc7");
        fabric.apply(&spec(&topology())).unwrap();
        inside(&open(&router(&fabric, "vpc-1")), || assert_eq!(ip("-6 addr show dev edge"), ""));
        inside(&at(&fabric, "eni-10-0-1-5"), || {
            assert_eq!(ip("-6 addr show dev eth0"), "");
            assert!(TcpListener::bind("[::]:80").is_ok(), "applications listen on it");
        });
        assert!(world.traces().contains("forwarding 1"));
    });
}

#[test]
fn a_narrower_way_beyond_the_host_is_discovered() {
    world(|world| {
        let fabric = world.fabric("ccccc8");
        fabric.apply(&spec(&topology())).unwrap();
        // Only the host knows, and must say so through the translations.
        ip("link set uplink mtu 1000");
        let listener = inside(&world.outside, || TcpListener::bind("0.0.0.0:9000").unwrap());
        let received = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
        });
        let mut stream = connection(&at(&fabric, "eni-10-0-10-5"), OUTSIDE, 9000);
        stream.write_all(&[0; 100_000]).unwrap();
        drop(stream);
        assert_eq!(received.join().unwrap(), 100_000);
    });
}
