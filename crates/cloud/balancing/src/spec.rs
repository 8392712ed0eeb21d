//! The balancer's whole configuration, rendered from the state: every load balancer of every scope with its listeners
//! and rules, and the target groups that they use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use pileus_contract::proxy::{
    EdgeRule, ListenerSpec, LoadBalancerSpec, NodeSpec, ProxySpec, RuleAction, RuleSpec, TargetGroupSpec,
    TargetSpec,
};
use pileus_core::Scope;
use pileus_network::{interface, security_group};
use pileus_state::{Record as _, State, Tx};

use crate::health::TargetHealth;
use crate::listener::Listener;
use crate::load_balancer::{LoadBalancer, Node};
use crate::rule::Rule;
use crate::target::Target;
use crate::target_group::{self, TargetGroup};

/// What the balancer is to do. `namespace` tells where an interface's network namespace is.
///
/// A node appears when its interface is ready and stays from then on: what is known of interfaces is lost with the
/// engine, and a restart of it must not take the nodes away. A load balancer appears with its first node, a target
/// group with a load balancer that uses it.
pub fn proxy_spec(state: &State, namespace: &dyn Fn(&str) -> PathBuf) -> ProxySpec {
    let listeners = Listeners::of(state);
    let mut load_balancers = Vec::new();
    let mut used: BTreeMap<(Scope, String), BTreeSet<String>> = BTreeMap::new();
    for (scope, balancer) in state.all::<LoadBalancer>() {
        let spec = load_balancer(state, scope, &balancer, listeners.specs(scope, &balancer.key), namespace);
        if spec.nodes.is_empty() {
            continue;
        }
        let zones = || balancer.nodes.iter().map(|node| node.zone.clone());
        for id in forwarded(&spec) {
            used.entry((scope.clone(), id.clone())).or_default().extend(zones());
        }
        load_balancers.push(spec);
    }
    ProxySpec { load_balancers, target_groups: target_groups(state, &used) }
}

/// The listeners of every load balancer, with their rules in order.
struct Listeners(BTreeMap<(Scope, String), Vec<ListenerSpec>>);

impl Listeners {
    fn of(state: &State) -> Self {
        let mut rules: BTreeMap<(Scope, String), Vec<RuleSpec>> = BTreeMap::new();
        for (scope, rule) in state.all::<Rule>() {
            rules.entry((scope.clone(), rule.listener().to_owned())).or_default().push(RuleSpec {
                priority: rule.priority.unwrap_or(0),
                conditions: rule.conditions.clone(),
                action: rule.chosen.action.clone(),
            });
        }
        let mut listeners: BTreeMap<_, Vec<ListenerSpec>> = BTreeMap::new();
        for (scope, listener) in state.all::<Listener>() {
            let mut rules = rules.remove(&(scope.clone(), listener.key())).unwrap_or_default();
            // The default rule's 0 wraps around to the end.
            rules.sort_by_key(|rule| rule.priority.wrapping_sub(1));
            let balancer = (scope.clone(), listener.load_balancer().to_owned());
            let tls = listener.secure.as_ref().and_then(|secure| secure.spec(state));
            listeners.entry(balancer).or_default().push(ListenerSpec { port: listener.port, tls, rules });
        }
        Self(listeners)
    }

    fn specs(&self, scope: &Scope, balancer: &str) -> Vec<ListenerSpec> {
        let mut listeners = self.0.get(&(scope.clone(), balancer.to_owned())).cloned().unwrap_or_default();
        listeners.sort_by_key(|listener| listener.port);
        listeners
    }
}

fn load_balancer(
    state: &State,
    scope: &Scope,
    balancer: &LoadBalancer,
    listeners: Vec<ListenerSpec>,
    namespace: &dyn Fn(&str) -> PathBuf,
) -> LoadBalancerSpec {
    let tx = Tx::new(state, scope.clone());
    let there = |node: &&Node| balancer.active || interface::is_ready(&tx, &node.interface);
    let nodes = balancer.nodes.iter().filter(there).map(|node| NodeSpec {
        zone: node.zone.clone(),
        address: node.address,
        namespace: namespace(&node.interface),
    });
    let sources = security_group::tcp_sources(state, scope, &balancer.security_groups).into_iter();
    LoadBalancerSpec {
        id: balancer.key.clone(),
        dns_name: balancer.dns_name.to_ascii_lowercase(),
        internet_facing: balancer.scheme.is_internet_facing(),
        nodes: nodes.collect(),
        listeners,
        edge_ingress: sources
            .map(|(source, from_port, to_port)| EdgeRule { source, from_port, to_port })
            .collect(),
        attributes: balancer.contract_attributes(),
    }
}

fn forwarded(spec: &LoadBalancerSpec) -> impl Iterator<Item = &String> {
    let rules = spec.listeners.iter().flat_map(|listener| &listener.rules);
    rules
        .flat_map(|rule| match &rule.action {
            RuleAction::Forward(groups) => groups.as_slice(),
            _ => &[],
        })
        .map(|(id, _)| id)
}

/// The groups in `used`, each with the targets in the zones that its load balancer is enabled in.
fn target_groups(state: &State, used: &BTreeMap<(Scope, String), BTreeSet<String>>) -> Vec<TargetGroupSpec> {
    let mut targets: BTreeMap<(Scope, String), Vec<TargetSpec>> = BTreeMap::new();
    for (scope, target) in state.all::<Target>() {
        let id = (scope.clone(), target_group::id(&target.group));
        if used.get(&id).is_some_and(|zones| zones.contains(&target.zone)) {
            let health = state.get::<TargetHealth>(scope, &target.key());
            targets.entry(id).or_default().push(TargetSpec {
                address: target.address,
                port: target.port,
                zone: target.zone.clone(),
                draining: target.draining_since.is_some(),
                last_known: health.map(|record| record.health.clone()),
            });
        }
    }
    let groups = state.all::<TargetGroup>().filter_map(|(scope, group)| {
        let id = (scope.clone(), target_group::id(&group.key));
        used.contains_key(&id).then(|| TargetGroupSpec {
            health_check: group.health_check.spec(),
            targets: targets.remove(&id).unwrap_or_default(),
            algorithm: group.algorithm(),
            id: id.1,
        })
    });
    groups.collect()
}
