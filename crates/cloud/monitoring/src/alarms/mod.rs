//! CloudWatch alarms: what they watch, the state they are in, and what is to be done when it changes.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html>
//!
//! An alarm's action is data: a [`PendingAction`] is written in the transaction that changes the state, and the engine
//! hands it to its owner (a scaling policy, an SNS topic). Other domains put, read and delete alarms in their own
//! transactions with [`put()`], [`get`], [`delete`], [`with_action`] and [`first_in_alarm`].

mod action;
mod composite;
mod describe;
mod evaluate;
mod history;
mod put;
mod reason;
mod rule;
mod state;
mod watch;

use std::fmt;
use std::sync::Arc;

use pileus_aws::cloudwatch::{PutCompositeAlarmInput, PutMetricAlarmInput};
use pileus_core::{ApiError, Scope, Tags, Timestamp};
use pileus_service::Router;
use pileus_state::{Record, Tables, Tx};
use serde::{Deserialize, Serialize};

pub use action::{PendingAction, done, pending};
pub use history::{History, HistoryKind};
pub use put::put;
pub use watch::{Verdict, apply, datapoints, evaluate_due, expire, next_due, settle};

pub(crate) fn tables(tables: &mut Tables) {
    tables.add::<Alarm>().add::<History>().add::<PendingAction>();
}

pub(crate) fn operations(router: &mut Router) {
    put::operations(router);
    composite::operations(router);
    describe::operations(router);
    state::operations(router);
    history::operations(router);
}

/// The three states of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StateValue {
    Ok,
    Alarm,
    InsufficientData,
}

impl StateValue {
    pub const ALL: [Self; 3] = [Self::Ok, Self::Alarm, Self::InsufficientData];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.name() == name)
    }
}

impl fmt::Display for StateValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an alarm watches and does, as it was put, but for its tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Definition {
    Metric(Box<PutMetricAlarmInput>),
    Composite(Box<PutCompositeAlarmInput>),
}

impl Definition {
    /// AWS's name for the type of alarm.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Metric(_) => "MetricAlarm",
            Self::Composite(_) => "CompositeAlarm",
        }
    }

    /// The ARNs of what is to be told of a change to `state`.
    pub fn actions(&self, state: StateValue) -> &[String] {
        let list = match (self, state) {
            (Self::Metric(input), StateValue::Ok) => &input.ok_actions,
            (Self::Metric(input), StateValue::Alarm) => &input.alarm_actions,
            (Self::Metric(input), StateValue::InsufficientData) => &input.insufficient_data_actions,
            (Self::Composite(input), StateValue::Ok) => &input.ok_actions,
            (Self::Composite(input), StateValue::Alarm) => &input.alarm_actions,
            (Self::Composite(input), StateValue::InsufficientData) => &input.insufficient_data_actions,
        };
        list.as_deref().unwrap_or_default()
    }

    pub fn actions_enabled(&self) -> bool {
        match self {
            Self::Metric(input) => input.actions_enabled,
            Self::Composite(input) => input.actions_enabled,
        }
        .unwrap_or(true)
    }

    fn enable_actions(&mut self, enabled: bool) {
        match self {
            Self::Metric(input) => input.actions_enabled = Some(enabled),
            Self::Composite(input) => input.actions_enabled = Some(enabled),
        }
    }

    pub fn description(&self) -> Option<&str> {
        match self {
            Self::Metric(input) => input.alarm_description.as_deref(),
            Self::Composite(input) => input.alarm_description.as_deref(),
        }
    }
}

/// A metric or composite alarm. Names are unique over both types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    pub name: String,
    pub definition: Definition,
    /// When it was last configured.
    pub configured: Timestamp,
    pub state: State,
    pub tags: Tags,
    /// The composite's part; empty for a metric alarm.
    pub(crate) composite: composite::Progress,
}

/// The state of an alarm and why it is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub value: StateValue,
    pub reason: String,
    /// A JSON document.
    pub reason_data: Option<String>,
    pub updated: Timestamp,
    /// When `value` last changed.
    pub transitioned: Timestamp,
}

impl Record for Alarm {
    const KIND: &'static str = "cloudwatch/alarm";

    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Alarm {
    pub fn arn(&self, scope: &Scope) -> String {
        arn(scope, &self.name)
    }

    /// The definition of a metric alarm.
    pub fn metric(&self) -> Option<&PutMetricAlarmInput> {
        match &self.definition {
            Definition::Metric(input) => Some(input),
            Definition::Composite(_) => None,
        }
    }
}

/// The ARN of the alarm of this name.
pub fn arn(scope: &Scope, name: &str) -> String {
    scope.arn("cloudwatch", format_args!("alarm:{name}"))
}

/// The name in an alarm's ARN; a plain name is itself.
pub(crate) fn name_of(identifier: &str) -> &str {
    identifier.splitn(7, ':').nth(6).filter(|_| identifier.starts_with("arn:")).unwrap_or(identifier)
}

/// The alarm of this name.
pub fn get(tx: &Tx, name: &str) -> Option<Arc<Alarm>> {
    tx.get::<Alarm>(name)
}

/// The alarms of the transaction's scope that have this ARN among the actions of some state.
pub fn with_action(tx: &Tx, action: &str) -> Vec<Arc<Alarm>> {
    let mut alarms = tx.list::<Alarm>();
    alarms.retain(|alarm| {
        let mut actions = StateValue::ALL.into_iter().flat_map(|state| alarm.definition.actions(state));
        actions.any(|arn| arn == action)
    });
    alarms
}

/// The first of these alarms, by name or ARN, that is in ALARM: what a deployment asks.
pub fn first_in_alarm(tx: &Tx, names: &[String]) -> Option<Arc<Alarm>> {
    let alarms = names.iter().filter_map(|name| get(tx, name_of(name)));
    alarms.into_iter().find(|alarm| alarm.state.value == StateValue::Alarm)
}

/// Deletes an alarm; false where there is none. Its history stays, as on AWS.
pub fn delete(tx: &mut Tx, name: &str, now: Timestamp) -> bool {
    let Some(alarm) = tx.delete::<Alarm>(name) else { return false };
    history::configured(tx, &alarm, history::Configured::Deleted, now);
    true
}

pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("ValidationError", message)
}

fn not_found(name: &str) -> ApiError {
    ApiError::new("ResourceNotFound", 404, format!("The alarm {name} does not exist."))
}

#[cfg(test)]
mod tests;
