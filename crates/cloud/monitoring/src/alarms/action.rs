//! Actions of alarms that have yet to be carried out.
//!
//! They are written with the change of state that causes them, so that none is lost to a crash; the engine reads
//! [`pending`], hands each to its owner, and ends it with [`done`] in the transaction of what the owner did.

use std::sync::Arc;

use pileus_core::{Scope, Timestamp};
use pileus_state::{Record, State as Snapshot, Tx};
use serde::{Deserialize, Serialize};

use super::{Alarm, StateValue, history};

/// One action of one alarm, because of one change of state (or, for scaling policies, because it lasts).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingAction {
    pub at: Timestamp,
    pub alarm: String,
    /// What is to be told: a scaling policy or an SNS topic.
    pub action: String,
    pub old: StateValue,
    pub new: StateValue,
    /// The newest datapoint that the evaluation saw; none where the state was set by hand.
    pub value: Option<f64>,
    /// Sent again because the state lasts; AWS does this for scaling policies only.
    pub repeated: bool,
}

impl Record for PendingAction {
    const KIND: &'static str = "cloudwatch/pending-action";

    fn key(&self) -> String {
        format!("{:016}/{}/{}", self.at.millis(), self.alarm, self.action)
    }
}

impl PendingAction {
    pub fn is_scaling(&self) -> bool {
        is_scaling(&self.action)
    }
}

pub(super) fn is_scaling(action: &str) -> bool {
    action.contains(":scalingPolicy:")
}

/// Queues the actions of an alarm's present state that `wanted` accepts.
pub(super) fn queue(
    tx: &mut Tx,
    alarm: &Alarm,
    old: StateValue,
    value: Option<f64>,
    wanted: impl Fn(&str) -> bool,
    now: Timestamp,
) {
    if !alarm.definition.actions_enabled() {
        return;
    }
    let new = alarm.state.value;
    for action in alarm.definition.actions(new).iter().filter(|action| wanted(action)) {
        let (alarm, action) = (alarm.name.clone(), action.clone());
        tx.put(PendingAction { at: now, alarm, action, old, new, value, repeated: old == new });
    }
}

/// Everything that has yet to be done, oldest first in its scope.
pub fn pending(state: &Snapshot) -> Vec<(Scope, Arc<PendingAction>)> {
    state.all::<PendingAction>().map(|(scope, action)| (scope.clone(), action)).collect()
}

/// Ends an action, in its scope, and notes the result in the alarm's history; an action that was sent again is noted only
/// where it failed.
pub fn done(tx: &mut Tx, action: &PendingAction, result: Result<(), &str>, now: Timestamp) {
    if tx.delete::<PendingAction>(&action.key()).is_none() {
        return;
    }
    let Some(alarm) = tx.get::<Alarm>(&action.alarm) else { return };
    if !(action.repeated && result.is_ok()) {
        history::acted(tx, &alarm, &action.action, result, now);
    }
}
