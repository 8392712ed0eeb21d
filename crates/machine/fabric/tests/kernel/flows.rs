//! Flows: what came, what the sender's side let out, what the receiver's side let in.

use pileus_contract::fabric::Fabric;

use crate::reference::{interface, vpc};
use crate::world::{Answer, ask, at, probe, serve, spec, world};

#[test]
fn accepted_and_refused_packets_are_counted_where_it_was_decided() {
    world(|world| {
        let fabric = world.fabric("aaaaf1");
        let mut vpc = vpc("vpc-1");
        vpc.interfaces =
            vec![interface("public-a", "10.0.1.5", "sg-alb"), interface("private-a", "10.0.10.5", "sg-task")];
        fabric.apply(&spec(&vpc)).unwrap();
        assert!(fabric.flows("vpc-1").is_err(), "nobody asked to count");
        vpc.counts_flows = true;
        fabric.apply(&spec(&vpc)).unwrap();
        let (node, task) = (at(&fabric, "eni-10-0-1-5"), [10, 0, 10, 5]);
        serve(&at(&fabric, "eni-10-0-10-5"), 3000);
        assert_eq!(ask(&node, task, 3000), Answer::From([10, 0, 1, 5].into()));
        assert_eq!(probe(&node, task, 3001), Answer::Silence);
        let flows = fabric.flows("vpc-1").unwrap();
        let to = |port: u16| {
            let flow = flows.iter().find(|it| {
                it.flow.destination_port == port && it.flow.destination == std::net::Ipv4Addr::from(task)
            });
            flow.unwrap_or_else(|| panic!("no flow to {port} in {flows:?}")).clone()
        };
        let good = to(3000);
        assert_eq!(good.flow.protocol, 6);
        assert!(good.received.packets >= 3 && good.received.bytes > 100, "{good:?}");
        assert_eq!((good.arrived, good.sent), (good.received, good.received));
        let refused = to(3001);
        assert!(refused.sent.packets >= 1 && refused.received.packets == 0, "{refused:?}");
        // A change of the filter does not lose the counts; to count no more does.
        vpc.security_groups[0].ingress.clear();
        fabric.apply(&spec(&vpc)).unwrap();
        assert!(fabric.flows("vpc-1").unwrap().len() >= flows.len());
        vpc.counts_flows = false;
        fabric.apply(&spec(&vpc)).unwrap();
        assert!(fabric.flows("vpc-1").is_err());
    });
}
