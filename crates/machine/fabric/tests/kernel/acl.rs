//! Network ACLs, routes and cut-off zones.

use pileus_contract::fabric::{AclRuleSpec, Fabric, RouteSpec, RouteTarget, TrafficSpec, VpcSpec};

use crate::reference::{anywhere, interface, net, rule, vpc};
use crate::world::{
    Answer, OUTSIDE, World, ask, at, connection, hears, hears_nothing, probe, serve, spec, world,
};

const TASK: [u8; 4] = [10, 0, 10, 5];
const NODE: [u8; 4] = [10, 0, 1, 5];

/// Everybody may speak to everybody, as far as groups go.
fn topology() -> VpcSpec {
    let mut vpc = vpc("vpc-1");
    for group in &mut vpc.security_groups {
        group.ingress = vec![rule(TrafficSpec::All, anywhere())];
    }
    vpc.interfaces = vec![
        interface("public-a", "10.0.1.5", "sg-alb"),
        interface("private-a", "10.0.10.5", "sg-task"),
        interface("private-a", "10.0.10.6", "sg-task"),
        interface("private-b", "10.0.11.5", "sg-task"),
    ];
    vpc
}

fn deny(from: u16, to: u16, peer: &str) -> AclRuleSpec {
    AclRuleSpec { allow: false, traffic: TrafficSpec::Tcp { from, to }, peer: net(peer) }
}

#[test]
fn an_acl_is_stateless_and_stands_at_the_border_only() {
    world(|world| {
        let fabric = world.fabric("bbbbb1");
        let mut vpc = topology();
        fabric.apply(&spec(&vpc)).unwrap();
        serve(&at(&fabric, "eni-10-0-10-5"), 3000);
        let node = at(&fabric, "eni-10-0-1-5");
        let mut open = connection(&node, TASK.into(), 3000);
        assert_eq!(hears(&mut open), Answer::From(NODE.into()));
        // Answers leave the task's subnet for high ports.
        vpc.subnets[2].acl_egress.insert(0, deny(1024, 65535, "10.0.1.0/24"));
        fabric.apply(&spec(&vpc)).unwrap();
        assert_eq!(hears_nothing(&mut open), Answer::Silence, "also in open connections");
        assert_eq!(probe(&node, TASK, 3000), Answer::Silence);
        let neighbour = at(&fabric, "eni-10-0-10-6");
        assert_eq!(ask(&neighbour, TASK, 3000), Answer::From([10, 0, 10, 6].into()), "the same subnet");
    });
}

#[test]
fn the_first_acl_rule_that_matches_decides_and_an_empty_list_denies() {
    world(|world| {
        let fabric = world.fabric("bbbbb2");
        let mut vpc = topology();
        vpc.subnets[2].acl_ingress.insert(0, deny(3000, 3000, "10.0.11.5/32"));
        fabric.apply(&spec(&vpc)).unwrap();
        serve(&at(&fabric, "eni-10-0-10-5"), 3000);
        let (node, other) = (at(&fabric, "eni-10-0-1-5"), at(&fabric, "eni-10-0-11-5"));
        assert_eq!(ask(&node, TASK, 3000), Answer::From(NODE.into()));
        assert_eq!(probe(&other, TASK, 3000), Answer::Silence);
        vpc.subnets[2].acl_ingress.clear();
        fabric.apply(&spec(&vpc)).unwrap();
        assert_eq!(probe(&node, TASK, 3000), Answer::Silence);
    });
}

#[test]
fn the_acl_of_the_nat_gateways_subnet_applies_to_what_passes_through_it() {
    world(|world| {
        let fabric = world.fabric("bbbbb3");
        let mut vpc = topology();
        fabric.apply(&spec(&vpc)).unwrap();
        serve(&world.outside, 80);
        let task = at(&fabric, "eni-10-0-10-5");
        let mut open = connection(&task, OUTSIDE, 80);
        assert!(matches!(hears(&mut open), Answer::From(_)));
        vpc.subnets[0].acl_egress.insert(0, deny(80, 80, "0.0.0.0/0"));
        fabric.apply(&spec(&vpc)).unwrap();
        assert_eq!(hears_nothing(&mut open), Answer::Silence);
        assert_eq!(probe(&task, OUTSIDE, 80), Answer::Silence);
    });
}

#[test]
fn the_longest_prefix_wins_and_a_black_hole_is_silent() {
    world(|world| {
        let fabric = world.fabric("bbbbb4");
        let mut vpc = topology();
        let hole = RouteSpec { destination: net("203.0.113.2/32"), target: RouteTarget::Blackhole };
        vpc.subnets[2].routes.push(hole);
        fabric.apply(&spec(&vpc)).unwrap();
        serve(&world.outside, 80);
        serve(&world.host, 80);
        let (holed, other) = (at(&fabric, "eni-10-0-10-5"), at(&fabric, "eni-10-0-11-5"));
        assert_eq!(probe(&holed, OUTSIDE, 80), Answer::Silence);
        assert_eq!(
            ask(&holed, crate::world::HOST, 80),
            Answer::From([198, 18, 0, 1].into()),
            "another prefix"
        );
        assert!(matches!(ask(&other, OUTSIDE, 80), Answer::From(_)), "another subnet");
        vpc.subnets[2].routes.pop();
        fabric.apply(&spec(&vpc)).unwrap();
        assert!(matches!(ask(&holed, OUTSIDE, 80), Answer::From(_)));
    });
}

#[test]
fn without_a_route_there_is_no_way_out_and_unused_addresses_are_silent() {
    world(|world| {
        let fabric = world.fabric("bbbbb5");
        let mut vpc = topology();
        vpc.subnets[2].routes.clear();
        fabric.apply(&spec(&vpc)).unwrap();
        serve(&world.outside, 80);
        let task = at(&fabric, "eni-10-0-10-5");
        assert_eq!(probe(&task, OUTSIDE, 80), Answer::Silence);
        assert_eq!(probe(&task, [10, 0, 10, 99], 80), Answer::Silence, "an unused address of the subnet");
        assert_eq!(probe(&task, [10, 0, 10, 1], 80), Answer::Silence, "the router");
    });
}

#[test]
fn a_route_to_an_interface_ends_at_it() {
    world(|world| {
        let fabric = world.fabric("bbbbb6");
        let mut vpc = topology();
        let target = RouteTarget::Interface("eni-10-0-11-5".into());
        vpc.subnets[2].routes.push(RouteSpec { destination: net("192.0.2.0/24"), target });
        fabric.apply(&spec(&vpc)).unwrap();
        let appliance = at(&fabric, "eni-10-0-11-5");
        crate::world::inside(&appliance, || crate::world::ip("addr add 192.0.2.7/32 dev lo"));
        let task = at(&fabric, "eni-10-0-10-5");
        let arrived = crate::world::datagram(&task, &appliance, [192, 0, 2, 7].into(), 9000, true);
        assert_eq!(arrived, Answer::From(TASK.into()));
        // Replaced, the interface is found again.
        vpc.interfaces[3].mac = [2, 0, 0, 0, 0, 9];
        fabric.apply(&spec(&vpc)).unwrap();
        let arrived = crate::world::datagram(&task, &appliance, [192, 0, 2, 7].into(), 9000, true);
        assert_eq!(arrived, Answer::From(TASK.into()));
    });
}

fn cut_off(world: &World, zone: &str) -> Vec<(&'static str, Answer)> {
    let fabric = world.fabric("bbbbb7");
    let mut spec = spec(&topology());
    fabric.apply(&spec).unwrap();
    serve(&at(&fabric, "eni-10-0-10-5"), 3000);
    serve(&at(&fabric, "eni-10-0-11-5"), 3000);
    serve(&world.outside, 80);
    let (node, neighbour) = (at(&fabric, "eni-10-0-1-5"), at(&fabric, "eni-10-0-10-6"));
    let other = at(&fabric, "eni-10-0-11-5");
    let mut open = connection(&node, TASK.into(), 3000);
    assert_eq!(hears(&mut open), Answer::From(NODE.into()));
    spec.isolated_zones.insert(zone.to_owned());
    fabric.apply(&spec).unwrap();
    let answers = vec![
        ("open", hears_nothing(&mut open)),
        ("within the zone", probe(&neighbour, TASK, 3000)),
        ("into the zone", probe(&other, TASK, 3000)),
        ("out by the other zone's NAT gateway", probe(&other, OUTSIDE, 80)),
    ];
    spec.isolated_zones.clear();
    fabric.apply(&spec).unwrap();
    assert_eq!(hears(&mut open), Answer::From(NODE.into()), "the zone is back");
    assert!(matches!(ask(&other, OUTSIDE, 80), Answer::From(_)), "and its NAT gateway");
    answers
}

#[test]
fn a_cut_off_zone_is_silent_to_everybody() {
    world(|world| {
        for (what, answer) in cut_off(world, "us-east-1a") {
            assert_eq!(answer, Answer::Silence, "{what}");
        }
    });
}
