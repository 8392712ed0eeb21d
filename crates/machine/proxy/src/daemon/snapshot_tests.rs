//! What a new snapshot takes over from the one before, and how the edge finds a load balancer.

use std::time::Duration;

use pileus_contract::proxy::{ListenerSpec, NodeSpec, RuleAction, RuleSpec, TargetSpec, UnhealthyReason};

use super::*;

fn lb(name: &str, internet_facing: bool) -> LoadBalancerSpec {
    let rule =
        RuleSpec { priority: 0, conditions: vec![], action: RuleAction::Forward(vec![("g".into(), 1)]) };
    LoadBalancerSpec {
        id: format!("app/{name}/1"),
        dns_name: format!("{name}.elb.localhost"),
        internet_facing,
        nodes: vec![NodeSpec {
            zone: "a".into(),
            address: Ipv4Addr::LOCALHOST,
            namespace: "/proc/self/ns/net".into(),
        }],
        listeners: vec![ListenerSpec { port: 80, tls: None, rules: vec![rule] }],
        edge_ingress: vec![],
        attributes: LoadBalancerAttributes::default(),
    }
}

fn target(port: u16, draining: bool) -> TargetSpec {
    let address = Ipv4Addr::LOCALHOST;
    TargetSpec { address, port, zone: "a".into(), draining, last_known: Some(Health::Healthy) }
}

fn spec(targets: Vec<TargetSpec>, load_balancers: Vec<LoadBalancerSpec>) -> ProxySpec {
    let health_check = HealthCheckSpec {
        path: "/".into(),
        port: None,
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        healthy_threshold: 5,
        unhealthy_threshold: 2,
        matcher: vec![(200, 200)],
    };
    let group = TargetGroupSpec { id: "g".into(), health_check, targets, algorithm: Algorithm::RoundRobin };
    ProxySpec { load_balancers, target_groups: vec![group] }
}

fn compiled(spec: &ProxySpec, previous: &Snapshot) -> Snapshot {
    let home = Arc::new(Home::open().expect("/proc"));
    let (snapshot, failures) = compile(spec, previous, &home, 2);
    assert!(failures.is_empty(), "{failures:?}");
    snapshot
}

#[test]
fn targets_and_nodes_live_on() {
    let first = compiled(
        &spec(vec![target(1, false), target(2, false)], vec![lb("web", true)]),
        &Snapshot::default(),
    );
    first.groups[0].targets[0].shared.set_standing(Standing::Unhealthy);
    first.groups[0].targets[1].shared.request_began(1);
    let second = compiled(
        &spec(vec![target(2, true), target(1, false), target(3, false)], vec![lb("web", true)]),
        &first,
    );
    let [two, one, three] = &second.groups[0].targets[..] else { panic!("three targets") };
    assert_eq!(one.shared.standing(), Standing::Unhealthy, "what this process knows wins");
    assert_eq!((two.shared.in_flight(), two.draining), (1, true));
    assert_eq!(three.shared.standing(), Standing::Healthy, "what was known before counts for a new one");
    assert!(Arc::ptr_eq(&first.load_balancers[0].nodes[0], &second.load_balancers[0].nodes[0]));
    let third = compiled(&spec(vec![target(2, false)], vec![]), &second);
    assert_eq!(third.groups[0].targets[0].shared.in_flight(), 0, "back from draining means registered anew");
}

#[test]
fn unknown_health_is_initial() {
    let mut unknown = target(1, false);
    unknown.last_known = None;
    let mut unhealthy = target(2, false);
    unhealthy.last_known = Some(Health::Unhealthy(UnhealthyReason::Timeout));
    let snapshot = compiled(&spec(vec![unknown, unhealthy], vec![]), &Snapshot::default());
    let standings: Vec<_> =
        snapshot.groups[0].targets.iter().map(|target| target.shared.standing()).collect();
    assert_eq!(standings, [Standing::Initial, Standing::Unhealthy]);
}

#[test]
fn the_edge_picks_by_name_and_an_only_one_takes_all() {
    let find = |lbs: Vec<LoadBalancerSpec>, host: &str| {
        let snapshot = compiled(&spec(vec![], lbs), &Snapshot::default());
        snapshot.edge.get(&80).and_then(|edge| edge.find(host.as_bytes())).map(|entry| entry.load_balancer)
    };
    let two = || vec![lb("one", true), lb("two", true), lb("inner", false)];
    assert_eq!(find(two(), "two.elb.localhost"), Some(1));
    assert_eq!(find(two(), "ONE.ELB.localhost."), Some(0));
    assert_eq!(find(two(), "localhost"), None);
    assert_eq!(find(two(), "inner.elb.localhost"), None, "internal");
    assert_eq!(find(two(), &"x".repeat(300)), None);
    assert_eq!(find(vec![lb("inner", false), lb("one", true)], "localhost"), Some(1));
}

#[test]
fn a_missing_namespace_costs_only_its_node() {
    let mut broken = lb("web", true);
    let lost = NodeSpec { zone: "b".into(), address: Ipv4Addr::LOCALHOST, namespace: "/nowhere".into() };
    broken.nodes.push(lost);
    let home = Arc::new(Home::open().expect("/proc"));
    let (snapshot, failures) = compile(&spec(vec![], vec![broken]), &Snapshot::default(), &home, 1);
    assert_eq!(snapshot.load_balancers[0].nodes.len(), 1);
    assert_eq!((failures.len(), &failures[0].ports[..]), (1, &[80][..]));
}
