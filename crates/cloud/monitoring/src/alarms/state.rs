//! How alarms change state, and whether they act: `SetAlarmState`, `EnableAlarmActions`, `DisableAlarmActions`,
//! `DeleteAlarms`.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html>

use pileus_aws::cloudwatch::{
    DeleteAlarmsInput, DisableAlarmActionsInput, EnableAlarmActionsInput, SetAlarmStateInput, ops,
};
use pileus_core::{ApiError, Timestamp};
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::Tx;

use super::{Alarm, Definition, State, StateValue, action, composite, delete, history, invalid, not_found};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::SetAlarmState>(set_alarm_state)
        .on::<ops::EnableAlarmActions>(enable_alarm_actions)
        .on::<ops::DisableAlarmActions>(disable_alarm_actions)
        .on::<ops::DeleteAlarms>(delete_alarms);
}

/// What an evaluation comes to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub value: StateValue,
    pub reason: String,
    pub reason_data: Option<String>,
    /// The newest datapoint that was looked at.
    pub datapoint: Option<f64>,
}

/// Brings an alarm into a state and queues the actions of a change. Nothing happens where there is no such alarm.
pub(super) fn enter(tx: &mut Tx, name: &str, change: Change, now: Timestamp) {
    let Some(old) = tx.get::<Alarm>(name) else { return };
    let changed = old.state.value != change.value;
    let state = State {
        value: change.value,
        reason: change.reason,
        reason_data: change.reason_data,
        updated: now,
        transitioned: if changed { now } else { old.state.transitioned },
    };
    let mut alarm = Alarm { state, ..Alarm::clone(&old) };
    if changed {
        history::state_changed(tx, &alarm, &old.state, now);
        if !composite::hold(tx, &mut alarm, now) {
            action::queue(tx, &alarm, old.state.value, change.datapoint, |_| true, now);
        }
    }
    tx.put(alarm);
}

/// Queues again the scaling policies of an alarm whose state lasts: AWS tells them every minute.
pub(super) fn repeat(tx: &mut Tx, name: &str, datapoint: Option<f64>, now: Timestamp) {
    let Some(alarm) = tx.get::<Alarm>(name) else { return };
    action::queue(tx, &alarm, alarm.state.value, datapoint, action::is_scaling, now);
}

fn set_alarm_state(cx: &mut Context, input: SetAlarmStateInput) -> Result<Unit, ApiError> {
    if cx.tx.get::<Alarm>(&input.alarm_name).is_none() {
        return Err(not_found(&input.alarm_name));
    }
    let data = input.state_reason_data;
    if data.as_ref().is_some_and(|data| serde_json::from_str::<serde_json::Value>(data).is_err()) {
        return Err(ApiError::client("InvalidFormat", "StateReasonData was not valid JSON."));
    }
    let value = StateValue::parse(&input.state_value).ok_or_else(|| invalid("StateValue is not a state."))?;
    let change = Change { value, reason: input.state_reason, reason_data: data, datapoint: None };
    enter(cx.tx, &input.alarm_name, change, cx.now);
    composite::settle(cx.tx, cx.now);
    Ok(Unit::default())
}

fn enable_alarm_actions(cx: &mut Context, input: EnableAlarmActionsInput) -> Result<Unit, ApiError> {
    set_actions_enabled(cx, &input.alarm_names, true);
    Ok(Unit::default())
}

fn disable_alarm_actions(cx: &mut Context, input: DisableAlarmActionsInput) -> Result<Unit, ApiError> {
    set_actions_enabled(cx, &input.alarm_names, false);
    Ok(Unit::default())
}

/// Unknown names are no error, as on AWS.
fn set_actions_enabled(cx: &mut Context, names: &[String], enabled: bool) {
    for name in names {
        let Some(alarm) = cx.tx.get::<Alarm>(name) else { continue };
        if alarm.definition.actions_enabled() == enabled {
            continue;
        }
        let mut alarm = Alarm::clone(&alarm);
        alarm.definition.enable_actions(enabled);
        history::configured(cx.tx, &alarm, history::Configured::Updated, cx.now);
        cx.tx.put(alarm);
    }
}

fn delete_alarms(cx: &mut Context, input: DeleteAlarmsInput) -> Result<Unit, ApiError> {
    let found: Vec<_> = input.alarm_names.iter().map(|name| cx.tx.get::<Alarm>(name)).collect();
    let composites =
        found.iter().flatten().filter(|alarm| matches!(alarm.definition, Definition::Composite(_)));
    if composites.count() > 1 {
        return Err(invalid("You can delete at most one composite alarm in one request."));
    }
    // What exists is deleted though other names are wrong, as on AWS.
    if let (Some(name), true) = (input.alarm_names.first(), found.iter().all(Option::is_none)) {
        return Err(not_found(name));
    }
    for name in &input.alarm_names {
        delete(cx.tx, name, cx.now);
    }
    Ok(Unit::default())
}
