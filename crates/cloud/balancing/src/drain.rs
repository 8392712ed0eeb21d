//! The end of draining: a target that was deregistered is forgotten when its group's deregistration delay has passed,
//! idle or not, as AWS shows it; or at once when no load balancer uses the group any more.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html#deregistration-delay>

use std::collections::BTreeSet;

use pileus_core::{Scope, Timestamp};
use pileus_state::{Record as _, State, Tx};

use crate::rule::Rule;
use crate::target::{self, Target};
use crate::target_group::TargetGroup;

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Forget the target, unless it has been registered anew since.
    EndDraining { scope: Scope, target: String, since: Timestamp },
}

/// What is due at `now`, and when to look again.
pub fn plan(state: &State, now: Timestamp) -> (Vec<Action>, Option<Timestamp>) {
    let used = used_groups(state);
    let mut actions = Vec::new();
    let mut wake_at: Option<Timestamp> = None;
    for (scope, target) in state.all::<Target>() {
        let Some(since) = target.draining_since else { continue };
        let group = state.get::<TargetGroup>(scope, &target.group);
        let in_use = used.contains(&(scope.clone(), target.group.clone()));
        let end = match group {
            Some(group) if in_use => since + group.deregistration_delay(),
            _ => now,
        };
        if end <= now {
            actions.push(Action::EndDraining { scope: scope.clone(), target: target.key(), since });
        } else {
            wake_at = Some(wake_at.map_or(end, |earlier| earlier.min(end)));
        }
    }
    (actions, wake_at)
}

/// Carries out an action of [`plan`].
pub fn apply(tx: &mut Tx, action: &Action) {
    let Action::EndDraining { scope, target, since } = action;
    tx.within(scope.clone(), |tx| {
        let unchanged = tx.get::<Target>(target).is_some_and(|target| target.draining_since == Some(*since));
        if unchanged {
            target::delete(tx, target);
        }
    });
}

/// The keys of the groups that rules forward to.
fn used_groups(state: &State) -> BTreeSet<(Scope, String)> {
    let mut used = BTreeSet::new();
    for (scope, rule) in state.all::<Rule>() {
        used.extend(rule.chosen.groups().map(|group| (scope.clone(), group.to_owned())));
    }
    used
}
