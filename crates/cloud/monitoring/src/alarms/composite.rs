//! Composite alarms: a rule over other alarms, and an alarm that may hold their actions back.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create_Composite_Alarm.html>

use std::collections::BTreeMap;
use std::time::Duration;

use pileus_aws::cloudwatch::{PutCompositeAlarmInput, ops};
use pileus_core::{ApiError, Timestamp};
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::Tx;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rule::Rule;
use super::state::{self, Change};
use super::{Alarm, Definition, StateValue, action, get, invalid, name_of, put};

/// How far a composite alarm has got.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The states of the children that it was last evaluated with; none before that.
    seen: Option<BTreeMap<String, StateValue>>,
    /// That the actions of its present state are being held back.
    pub(super) held: Option<Held>,
}

/// Why actions are held back, and until when at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) by: Suppressor,
    until: Option<Timestamp>,
    old: StateValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Suppressor {
    WaitPeriod,
    ExtensionPeriod,
    Alarm,
}

impl Suppressor {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WaitPeriod => "WaitPeriod",
            Self::ExtensionPeriod => "ExtensionPeriod",
            Self::Alarm => "Alarm",
        }
    }
}

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::PutCompositeAlarm>(put_composite_alarm);
}

fn put_composite_alarm(cx: &mut Context, mut input: PutCompositeAlarmInput) -> Result<Unit, ApiError> {
    check(cx.tx, &input)?;
    let tags = put::tags_of(input.tags.take())?;
    input.actions_enabled.get_or_insert(true);
    let name = input.alarm_name.clone();
    put::upsert(cx.tx, name, Definition::Composite(Box::new(input)), tags, cx.now)?;
    settle(cx.tx, cx.now);
    Ok(Unit::default())
}

fn check(tx: &Tx, input: &PutCompositeAlarmInput) -> Result<(), ApiError> {
    put::check_name(&input.alarm_name)?;
    for actions in [&input.ok_actions, &input.alarm_actions, &input.insufficient_data_actions] {
        for action in actions.iter().flatten() {
            put::check_action(action, false)?;
        }
    }
    let rule = Rule::parse(&input.alarm_rule)
        .map_err(|problem| invalid(format!("AlarmRule was not valid: {problem}.")))?;
    let missing: Vec<_> = rule.children().into_iter().filter(|child| get(tx, child).is_none()).collect();
    if !missing.is_empty() {
        return Err(invalid(format!(
            "Could not save the composite alarm as alarms [{}] in the alarm rule do not exist",
            missing.join(", ")
        )));
    }
    if depends_on(tx, &rule, &input.alarm_name, &mut Vec::new()) {
        return Err(invalid("The alarm rule makes a cycle of composite alarms."));
    }
    let periods = (input.actions_suppressor_wait_period, input.actions_suppressor_extension_period);
    match (&input.actions_suppressor, periods) {
        (None, (None, None)) => Ok(()),
        (Some(suppressor), (Some(wait), Some(extension))) if wait >= 0 && extension >= 0 => {
            let known = get(tx, name_of(suppressor)).is_some();
            if known {
                Ok(())
            } else {
                Err(invalid(format!("The actions suppressor {suppressor} does not exist.")))
            }
        }
        _ => Err(invalid(
            "ActionsSuppressor, ActionsSuppressorWaitPeriod and ActionsSuppressorExtensionPeriod must be given together, \
             with periods of 0 seconds or more.",
        )),
    }
}

/// Whether a rule looks at the alarm `name`, also by way of other composite alarms.
fn depends_on(tx: &Tx, rule: &Rule, name: &str, visited: &mut Vec<String>) -> bool {
    rule.children().into_iter().any(|child| {
        if child == name {
            return true;
        }
        if visited.iter().any(|known| known == child) {
            return false;
        }
        visited.push(child.to_owned());
        let inner = get(tx, child).and_then(|alarm| rule_of(&alarm));
        inner.is_some_and(|inner| depends_on(tx, &inner, name, visited))
    })
}

pub(super) fn rule_of(alarm: &Alarm) -> Option<Rule> {
    match &alarm.definition {
        Definition::Composite(input) => Rule::parse(&input.alarm_rule).ok(),
        Definition::Metric(_) => None,
    }
}

/// Evaluates every composite alarm of the transaction's scope whose children have changed state, and those above it;
/// goes on with actions that are held back. Returns when something held back is next due.
pub(super) fn settle(tx: &mut Tx, now: Timestamp) -> Option<Timestamp> {
    let composites = |tx: &Tx| {
        let mut alarms = tx.list::<Alarm>();
        alarms.retain(|alarm| matches!(alarm.definition, Definition::Composite(_)));
        alarms
    };
    // Rules form no cycle, so each round settles at least one more level.
    for _ in 0..=composites(tx).len() {
        let before: Vec<_> = composites(tx);
        let changed = before.iter().filter(|alarm| evaluate(tx, alarm, now)).count();
        if changed == 0 {
            break;
        }
    }
    let alarms = composites(tx);
    alarms.iter().filter_map(|alarm| release(tx, alarm, now)).min()
}

/// Evaluates one alarm if its children are not as it last saw them; whether it did.
fn evaluate(tx: &mut Tx, alarm: &Alarm, now: Timestamp) -> bool {
    let Some(rule) = rule_of(alarm) else { return false };
    // A child that has been deleted is not in any state that a rule could want of it but this one.
    let state_of = |name: &str| get(tx, name).map_or(StateValue::InsufficientData, |child| child.state.value);
    let seen: BTreeMap<String, StateValue> =
        rule.children().into_iter().map(|child| (child.to_owned(), state_of(child))).collect();
    let before = alarm.composite.seen.as_ref();
    if before == Some(&seen) {
        return false;
    }
    let value = if rule.holds(&state_of) { StateValue::Alarm } else { StateValue::Ok };
    let trigger =
        seen.iter().find(|(name, state)| before.and_then(|before| before.get(*name)) != Some(*state));
    let (reason, reason_data) = reason(tx, &rule, trigger.map(|(name, _)| name.as_str()), now);
    tx.update::<Alarm>(&alarm.name, |alarm| alarm.composite.seen = Some(seen));
    if value != alarm.state.value {
        state::enter(
            tx,
            &alarm.name,
            Change { value, reason, reason_data: Some(reason_data), datapoint: None },
            now,
        );
    }
    true
}

/// Why the rule came out as it did: the child that changed last.
fn reason(tx: &Tx, rule: &Rule, trigger: Option<&str>, now: Timestamp) -> (String, String) {
    let shape = |name: &str| {
        let child = get(tx, name)?;
        let state =
            json!({ "value": child.state.value.name(), "timestamp": amazon(child.state.transitioned) });
        Some((child.clone(), json!({ "arn": child.arn(tx.scope()), "state": state })))
    };
    match trigger.and_then(shape) {
        Some((child, data)) => {
            let at = child.state.transitioned.format("%A %d %B, %Y %H:%M:%S UTC");
            let reason = format!("{} transitioned to {} at {at}", child.arn(tx.scope()), child.state.value);
            (reason, json!({ "triggeringAlarms": [data] }).to_string())
        }
        None => {
            let children: Vec<_> =
                rule.children().into_iter().filter_map(shape).map(|(_, data)| data).collect();
            let reason =
                format!("The alarm rule was evaluated at {}", now.format("%A %d %B, %Y %H:%M:%S UTC"));
            (reason, json!({ "triggeringAlarms": children }).to_string())
        }
    }
}

/// The form of time in AWS's reason data.
pub(super) fn amazon(time: Timestamp) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.3f+0000")
}

/// Holds back the actions of an alarm that has just changed state if it has a suppressor; whether it does.
pub(super) fn hold(tx: &Tx, alarm: &mut Alarm, now: Timestamp) -> bool {
    let Definition::Composite(input) = &alarm.definition else { return false };
    let Some(suppressor) = &input.actions_suppressor else { return false };
    let old = get(tx, &alarm.name).map_or(alarm.state.value, |old| old.state.value);
    let wait = seconds(input.actions_suppressor_wait_period);
    alarm.composite.held = Some(match suppresses(tx, suppressor) {
        true => Held { by: Suppressor::Alarm, until: None, old },
        false => Held { by: Suppressor::WaitPeriod, until: Some(now + wait), old },
    });
    true
}

fn suppresses(tx: &Tx, suppressor: &str) -> bool {
    get(tx, name_of(suppressor)).is_some_and(|alarm| alarm.state.value == StateValue::Alarm)
}

fn seconds(period: Option<i64>) -> Duration {
    Duration::from_secs(u64::try_from(period.unwrap_or(0)).unwrap_or(0))
}

/// Goes on with the held back actions of an alarm: they are due, go on waiting, or wait for the suppressor to end.
/// Returns when they are next to be looked at.
fn release(tx: &mut Tx, alarm: &Alarm, now: Timestamp) -> Option<Timestamp> {
    let held = alarm.composite.held.clone()?;
    let Definition::Composite(input) = &alarm.definition else { return None };
    let suppressed = input.actions_suppressor.as_ref().is_some_and(|suppressor| suppresses(tx, suppressor));
    let extension = seconds(input.actions_suppressor_extension_period);
    let next = match held.by {
        _ if suppressed => Some(Held { by: Suppressor::Alarm, until: None, ..held }),
        Suppressor::Alarm => {
            Some(Held { by: Suppressor::ExtensionPeriod, until: Some(now + extension), ..held })
        }
        _ if held.until.is_some_and(|until| until > now) => Some(held),
        _ => {
            action::queue(tx, alarm, held.old, None, |_| true, now);
            None
        }
    };
    let until = next.as_ref().and_then(|held| held.until);
    tx.update::<Alarm>(&alarm.name, |alarm| alarm.composite.held = next);
    until
}
