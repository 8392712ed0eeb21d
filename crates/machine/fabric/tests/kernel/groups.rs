//! Security groups: who may connect to whom.

use std::net::Ipv4Addr;

use pileus_contract::fabric::{Fabric, PeerSpec, TrafficSpec, VpcSpec};

use crate::reference::{anywhere, interface, net, rule, vpc};
use crate::world::{Answer, ask, at, connection, datagram, hears, probe, serve, spec, world};

const NODE: [u8; 4] = [10, 0, 1, 5];
const TASK: [u8; 4] = [10, 0, 10, 5];

/// One balancer node in a public subnet, two tasks in one private subnet and one in the other.
fn topology() -> VpcSpec {
    let mut vpc = vpc("vpc-1");
    vpc.interfaces = vec![
        interface("public-a", "10.0.1.5", "sg-alb"),
        interface("private-a", "10.0.10.5", "sg-task"),
        interface("private-a", "10.0.10.6", "sg-task"),
        interface("private-b", "10.0.11.5", "sg-task"),
    ];
    vpc
}

#[test]
fn a_task_answers_the_balancer_on_its_port_and_nobody_else() {
    world(|world| {
        let fabric = world.fabric("aaaaa1");
        fabric.apply(&spec(&topology())).unwrap();
        let task = at(&fabric, "eni-10-0-10-5");
        serve(&task, 3000);
        serve(&task, 3001);
        let node = at(&fabric, "eni-10-0-1-5");
        assert_eq!(ask(&node, TASK, 3000), Answer::From(NODE.into()), "the source is the private address");
        assert_eq!(probe(&node, TASK, 3001), Answer::Silence, "another port");
        let neighbour = at(&fabric, "eni-10-0-10-6");
        assert_eq!(probe(&neighbour, TASK, 3000), Answer::Silence, "the same subnet, another group");
        let other = at(&fabric, "eni-10-0-11-5");
        assert_eq!(probe(&other, TASK, 3000), Answer::Silence, "another subnet");
        assert_eq!(probe(&world.host, TASK, 3000), Answer::Refused(std::io::ErrorKind::NetworkUnreachable));
    });
}

#[test]
fn a_group_reference_follows_its_members() {
    world(|world| {
        let fabric = world.fabric("aaaaa2");
        let mut vpc = topology();
        fabric.apply(&spec(&vpc)).unwrap();
        serve(&at(&fabric, "eni-10-0-10-5"), 3000);
        let joins = at(&fabric, "eni-10-0-11-5");
        assert_eq!(probe(&joins, TASK, 3000), Answer::Silence);
        vpc.interfaces[3].security_groups.push("sg-alb".into());
        fabric.apply(&spec(&vpc)).unwrap();
        assert_eq!(ask(&joins, TASK, 3000), Answer::From(Ipv4Addr::new(10, 0, 11, 5)));
        vpc.interfaces[3].security_groups.pop();
        fabric.apply(&spec(&vpc)).unwrap();
        assert_eq!(probe(&joins, TASK, 3000), Answer::Silence);
    });
}

#[test]
fn established_connections_outlive_the_rule_that_let_them_in() {
    world(|world| {
        let fabric = world.fabric("aaaaa3");
        let mut vpc = topology();
        fabric.apply(&spec(&vpc)).unwrap();
        serve(&at(&fabric, "eni-10-0-10-5"), 3000);
        let node = at(&fabric, "eni-10-0-1-5");
        let mut stream = connection(&node, TASK.into(), 3000);
        assert_eq!(hears(&mut stream), Answer::From(NODE.into()));
        vpc.security_groups[1].ingress.clear();
        fabric.apply(&spec(&vpc)).unwrap();
        assert_eq!(hears(&mut stream), Answer::From(NODE.into()), "as on AWS");
        assert_eq!(probe(&node, TASK, 3000), Answer::Silence, "a new one");
    });
}

#[test]
fn egress_rules_hold_and_answers_need_none() {
    world(|world| {
        let fabric = world.fabric("aaaaa4");
        let mut vpc = topology();
        // The task may send nothing, and still answers.
        vpc.security_groups[1].egress.clear();
        // The node may send to port 3000 of private-a only.
        vpc.security_groups[0].egress =
            vec![rule(TrafficSpec::Tcp { from: 3000, to: 3000 }, PeerSpec::Cidr(net("10.0.10.0/24")))];
        fabric.apply(&spec(&vpc)).unwrap();
        for task in ["eni-10-0-10-5", "eni-10-0-11-5"] {
            serve(&at(&fabric, task), 3000);
        }
        let node = at(&fabric, "eni-10-0-1-5");
        serve(&node, 80);
        assert_eq!(ask(&node, TASK, 3000), Answer::From(NODE.into()));
        assert_eq!(probe(&node, [10, 0, 11, 5], 3000), Answer::Silence);
        assert_eq!(probe(&at(&fabric, "eni-10-0-10-5"), NODE, 80), Answer::Silence);
    });
}

#[test]
fn rules_tell_protocols_apart() {
    world(|world| {
        let fabric = world.fabric("aaaaa5");
        let mut vpc = topology();
        vpc.security_groups[1].ingress = vec![rule(TrafficSpec::Udp { from: 5000, to: 5010 }, anywhere())];
        fabric.apply(&spec(&vpc)).unwrap();
        let (node, task) = (at(&fabric, "eni-10-0-1-5"), at(&fabric, "eni-10-0-10-5"));
        serve(&task, 5005);
        assert_eq!(datagram(&node, &task, TASK.into(), 5010, true), Answer::From(NODE.into()));
        assert_eq!(datagram(&node, &task, TASK.into(), 5011, false), Answer::Silence);
        assert_eq!(probe(&node, TASK, 5005), Answer::Silence, "TCP");
    });
}

#[test]
fn a_forged_source_address_goes_nowhere() {
    world(|world| {
        let fabric = world.fabric("aaaaa6");
        fabric.apply(&spec(&topology())).unwrap();
        serve(&at(&fabric, "eni-10-0-10-5"), 3000);
        // The neighbour takes the balancer's address, whose group may connect.
        let forger = at(&fabric, "eni-10-0-10-6");
        crate::world::inside(&forger, || {
            crate::world::ip("addr add 10.0.1.5/32 dev eth0");
            crate::world::ip("route replace default via 10.0.10.1 dev eth0 onlink src 10.0.1.5");
        });
        assert_eq!(probe(&forger, TASK, 3000), Answer::Silence);
    });
}
