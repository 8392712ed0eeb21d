//! The balancer's configuration for the reference architecture, what becomes of it in faults, and its metrics.

use std::collections::BTreeMap;

use pileus_aws::elbv2::{self, ops};
use pileus_contract::proxy::{
    EdgeRule, Health, LoadBalancerAttributes, ProxySpec, ProxyStats, RuleAction, UnhealthyReason,
};
use pileus_core::Scope;
use pileus_state::State;

use super::{TARGET, World, fixed, rule_input, spec};

fn running() -> (World, ProxySpec, String) {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web"), world.group("web"));
    let listener = world.listener(&balancer, 80, &group);
    world.cloud.ok::<ops::CreateRule>(rule_input(&listener, 7, "/old", fixed("410")));
    world.register(&group, TARGET);
    world.register(&group, "10.0.11.6");
    let spec = world.converge();
    (world, spec, group)
}

#[test]
fn the_reference_architecture() {
    let (_, spec, _) = running();
    let [balancer] = spec.load_balancers.as_slice() else { panic!("{spec:?}") };
    assert!(balancer.id.starts_with("app/web/"), "{}", balancer.id);
    assert!(balancer.internet_facing && balancer.dns_name.starts_with("web-"));
    assert_eq!(balancer.attributes, LoadBalancerAttributes::default());
    let everybody = EdgeRule { source: "0.0.0.0/0".parse().unwrap(), from_port: 80, to_port: 80 };
    assert_eq!(balancer.edge_ingress, [everybody]);
    let zones: Vec<_> = balancer.nodes.iter().map(|node| node.zone.as_str()).collect();
    assert_eq!(zones, ["us-east-1a", "us-east-1b"]);
    assert!(balancer.nodes[0].namespace.starts_with("/run/netns"));
    assert!(balancer.nodes[0].address.to_string().starts_with("10.0.1."));
    let rules = &balancer.listeners[0].rules;
    assert_eq!(rules.iter().map(|rule| rule.priority).collect::<Vec<_>>(), [7, 0]);
    let [group] = spec.target_groups.as_slice() else { panic!("{spec:?}") };
    assert_eq!(rules[1].action, RuleAction::Forward(vec![(group.id.clone(), 1)]));
    let targets: Vec<_> =
        group.targets.iter().map(|target| (target.zone.as_str(), target.draining)).collect();
    assert_eq!(targets, [("us-east-1a", false), ("us-east-1b", false)]);
}

#[test]
fn nothing_is_served_before_its_interfaces_are_there() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web"), world.group("web"));
    world.listener(&balancer, 80, &group);
    assert_eq!(spec(&world.cloud.state), ProxySpec::default());
}

#[test]
fn an_unused_group_is_not_checked() {
    let mut world = World::new();
    world.balancer("web");
    let group = world.group("spare");
    world.register(&group, TARGET);
    assert!(world.converge().target_groups.is_empty());
}

#[test]
fn a_restart_of_the_engine_takes_nothing_away() {
    let (world, before, _) = running();
    let after = spec(&without_observations(&world));
    assert_eq!(after.load_balancers, before.load_balancers);
    let targets = |spec: &ProxySpec| spec.target_groups[0].targets.len();
    assert_eq!(targets(&after), targets(&before));
}

/// The state as it is when the engine has read it back from disk.
fn without_observations(world: &World) -> State {
    let mut tx = pileus_state::Tx::new(&world.cloud.state, world.cloud.scope.clone());
    for ready in tx.list::<pileus_network::InterfaceReady>() {
        tx.delete::<pileus_network::InterfaceReady>(&ready.interface);
    }
    for health in tx.list::<crate::health::TargetHealth>() {
        tx.delete::<crate::health::TargetHealth>(&health.key);
    }
    world.cloud.state.with(&tx.into_changes())
}

#[test]
fn what_is_known_of_health_reaches_a_new_balancer_process() {
    let (mut world, spec_before, _) = running();
    world.report(&spec_before, TARGET, Health::Healthy);
    let known = &spec(&world.cloud.state).target_groups[0].targets[0].last_known;
    assert_eq!(known, &Some(Health::Healthy));
}

#[test]
fn what_the_balancer_no_longer_has_is_forgotten() {
    let (mut world, before, group) = running();
    world.report(&before, TARGET, Health::Healthy);
    let listeners = world.cloud.ok::<ops::DescribeLoadBalancers>(Default::default()).load_balancers.unwrap();
    let balancer = listeners[0].load_balancer_arn.clone().unwrap();
    let input =
        elbv2::DescribeListenersInput { load_balancer_arn: Some(balancer.clone()), ..Default::default() };
    let listener =
        world.cloud.ok::<ops::DescribeListeners>(input).listeners.unwrap().remove(0).listener_arn.unwrap();
    world.cloud.ok::<ops::DeleteListener>(elbv2::DeleteListenerInput { listener_arn: listener });
    world.converge();
    world.listener(&balancer, 80, &group);
    assert_eq!(world.health(&group)[0].2.as_deref(), Some("Elb.RegistrationInProgress"));
}

#[test]
fn events_of_unknown_targets_change_nothing() {
    let (mut world, before, _) = running();
    let version = world.cloud.state.version_of::<crate::health::TargetHealth>();
    world.report(&before, "10.0.10.200", Health::Healthy);
    assert_eq!(world.cloud.state.version_of::<crate::health::TargetHealth>(), version);
}

#[test]
fn attributes_and_security_groups_reach_the_balancer() {
    let (mut world, before, _) = running();
    let scope = world.cloud.scope.clone();
    let arn = scope.arn("elasticloadbalancing", format!("loadbalancer/{}", before.load_balancers[0].id));
    let attribute = |key: &str, value: &str| elbv2::LoadBalancerAttribute {
        key: Some(key.into()),
        value: Some(value.into()),
    };
    world.cloud.ok::<ops::ModifyLoadBalancerAttributes>(elbv2::ModifyLoadBalancerAttributesInput {
        load_balancer_arn: arn,
        attributes: vec![
            attribute("idle_timeout.timeout_seconds", "5"),
            attribute("routing.http.preserve_host_header.enabled", "true"),
        ],
    });
    let attributes = &spec(&world.cloud.state).load_balancers[0].attributes;
    assert_eq!((attributes.idle_timeout.as_secs(), attributes.preserve_host_header), (5, true));
}

#[test]
fn counts_become_metrics_of_the_right_account() {
    let (mut world, spec, _) = running();
    world.report(&spec, TARGET, Health::Healthy);
    world.report(&spec, "10.0.11.6", Health::Unhealthy(UnhealthyReason::Timeout));
    let stats = ProxyStats {
        load_balancer: spec.load_balancers[0].id.clone(),
        target_group: Some(spec.target_groups[0].id.clone()),
        zone: "us-east-1a".into(),
        counts: BTreeMap::from([("RequestCount".into(), 4)]),
        response_times: vec![(2000, 4)],
    };
    let stranger = ProxyStats { load_balancer: "app/other/1".into(), ..stats.clone() };
    let points = crate::metrics(&world.cloud.state, &[stats, stranger], world.cloud.now);
    let named = |name: &str| points.iter().filter(|(_, key, _)| key.name == name).collect::<Vec<_>>();
    assert_eq!((named("RequestCount").len(), named("TargetResponseTime").len()), (4, 4));
    assert!(points.iter().all(|(scope, _, _)| *scope == Scope::new("000000000000", "us-east-1")));
    let per_target = named("RequestCountPerTarget");
    assert_eq!((per_target.len(), per_target[0].2.sum), (2, 2.0));
    let hosts = crate::host_counts(&world.cloud.state, world.cloud.now);
    let sums = |name: &str, zone: Option<&str>| -> f64 {
        let of = |key: &&(Scope, pileus_contract::MetricKey, pileus_contract::MetricPoint)| {
            key.1.name == name && key.1.dimensions.get("AvailabilityZone").map(String::as_str) == zone
        };
        hosts.iter().find(of).expect("the metric is there").2.sum
    };
    assert_eq!((sums("HealthyHostCount", None), sums("UnHealthyHostCount", None)), (1.0, 1.0));
    assert_eq!(
        (sums("HealthyHostCount", Some("us-east-1b")), sums("UnHealthyHostCount", Some("us-east-1b"))),
        (0.0, 1.0)
    );
}
