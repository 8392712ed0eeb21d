//! What the balancer has done and seen, written down: load balancers become active, targets get their health.

use std::collections::BTreeSet;

use pileus_contract::proxy::{Health, ProxyEvent, ProxySpec};
use pileus_core::{Scope, Timestamp};
use pileus_state::{Record as _, State, Tx};

use crate::health::TargetHealth;
use crate::load_balancer::LoadBalancer;
use crate::target::{self, Target};
use crate::target_group::{self, TargetGroup};

/// Takes note that the balancer serves by `applied`: a load balancer that it knows with all its nodes is active, a
/// target that it knows is being checked, and what was known of a target that it no longer has is forgotten.
pub fn settle(tx: &mut Tx, applied: &ProxySpec, now: Timestamp) {
    let state = tx.base();
    for (scope, balancer) in state.all::<LoadBalancer>().filter(|(_, balancer)| !balancer.active) {
        let spec = applied.load_balancers.iter().find(|spec| spec.id == balancer.key);
        if spec.is_some_and(|spec| spec.nodes.len() == balancer.nodes.len()) {
            tx.within(scope.clone(), |tx| {
                tx.update(&balancer.key, |balancer: &mut LoadBalancer| balancer.active = true)
            });
        }
    }
    let known = known_targets(applied);
    for (scope, target) in state.all::<Target>() {
        let unreported = state.get::<TargetHealth>(scope, &target.key()).is_none();
        if unreported && known.contains(&target.key()) {
            let record = TargetHealth { key: target.key(), health: Health::Initial, since: now };
            tx.within(scope.clone(), |tx| tx.put(record));
        }
    }
    for (scope, health) in state.all::<TargetHealth>().filter(|(_, health)| !known.contains(&health.key)) {
        tx.within(scope.clone(), |tx| tx.delete::<TargetHealth>(&health.key));
    }
}

/// The keys of the targets in a spec.
fn known_targets(spec: &ProxySpec) -> BTreeSet<String> {
    let groups =
        spec.target_groups.iter().filter_map(|group| Some((target_group::key_of(&group.id)?, group)));
    groups
        .flat_map(|(key, group)| {
            group.targets.iter().map(move |target| target::key(key, target.address, target.port))
        })
        .collect()
}

/// Takes note of an event of the balancer. Those that are not about health change nothing here.
pub fn observe(tx: &mut Tx, event: &ProxyEvent) {
    let ProxyEvent::Health { target_group, address, port, health, at } = event else { return };
    let Some(group) = target_group::key_of(target_group) else { return };
    let Some(scope) = scope_of(tx.base(), group) else { return };
    let key = target::key(group, *address, *port);
    tx.within(scope, |tx| {
        if tx.get::<Target>(&key).is_none() {
            return;
        }
        let since = match tx.get::<TargetHealth>(&key) {
            Some(known) if known.health == *health => known.since,
            _ => *at,
        };
        tx.put(TargetHealth { key, health: health.clone(), since });
    });
}

fn scope_of(state: &State, group: &str) -> Option<Scope> {
    state.all::<TargetGroup>().find(|(_, known)| known.key == group).map(|(scope, _)| scope.clone())
}
