//! The history of alarms: configurations, changes of state, actions. Kept 30 days, as on AWS.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarmHistory.html>

use std::time::Duration;

use pileus_aws::cloudwatch::{AlarmHistoryItem, DescribeAlarmHistoryInput, DescribeAlarmHistoryOutput, ops};
use pileus_core::{ApiError, Timestamp, paginate};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Alarm, State, describe};

const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Items that a scope keeps, however new they are.
const MAX_ITEMS: usize = 20_000;
/// AWS's longest HistoryData and HistorySummary.
const MAX_DATA: usize = 4095;
const MAX_SUMMARY: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HistoryKind {
    ConfigurationUpdate,
    StateUpdate,
    Action,
}

impl HistoryKind {
    fn name(self) -> &'static str {
        match self {
            Self::ConfigurationUpdate => "ConfigurationUpdate",
            Self::StateUpdate => "StateUpdate",
            Self::Action => "Action",
        }
    }
}

/// One item of an alarm's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    pub at: Timestamp,
    /// Tells items of the same millisecond apart, in their order.
    pub number: u32,
    pub alarm: String,
    pub alarm_type: String,
    pub kind: HistoryKind,
    pub summary: String,
    /// A JSON document.
    pub data: String,
}

impl Record for History {
    const KIND: &'static str = "cloudwatch/alarm-history";

    fn key(&self) -> String {
        key(self.at, self.number)
    }
}

fn key(at: Timestamp, number: u32) -> String {
    format!("{:016}-{number:08}", at.millis())
}

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::DescribeAlarmHistory>(describe_alarm_history);
}

#[derive(Clone, Copy)]
pub(super) enum Configured {
    Created,
    Updated,
    Deleted,
}

pub(super) fn configured(tx: &mut Tx, alarm: &Alarm, what: Configured, now: Timestamp) {
    let shape = serde_json::to_value(describe::definition(tx.scope(), alarm)).unwrap_or(Value::Null);
    let (kind, word, member) = match what {
        Configured::Created => ("Create", "created", "createdAlarm"),
        Configured::Updated => ("Update", "updated", "updatedAlarm"),
        Configured::Deleted => ("Delete", "deleted", "deletedAlarm"),
    };
    let data = json!({ "version": "1.0", "type": kind, member: shape });
    add(tx, alarm, HistoryKind::ConfigurationUpdate, format!("Alarm \"{}\" {word}", alarm.name), data, now);
}

pub(super) fn state_changed(tx: &mut Tx, alarm: &Alarm, old: &State, now: Timestamp) {
    let shape = |state: &State| {
        let data = state.reason_data.as_ref().and_then(|data| serde_json::from_str::<Value>(data).ok());
        let mut shape = json!({ "stateValue": state.value.name(), "stateReason": state.reason });
        if let Some(data) = data {
            shape["stateReasonData"] = data;
        }
        shape
    };
    let data = json!({ "version": "1.0", "oldState": shape(old), "newState": shape(&alarm.state) });
    let summary = format!("Alarm updated from {} to {}", old.value, alarm.state.value);
    add(tx, alarm, HistoryKind::StateUpdate, summary, data, now);
}

pub(super) fn acted(tx: &mut Tx, alarm: &Alarm, action: &str, result: Result<(), &str>, now: Timestamp) {
    let summary = match result {
        Ok(()) => format!("Successfully executed action {action}"),
        Err(_) => format!("Failed to execute action {action}"),
    };
    let mut data = json!({
        "actionState": if result.is_ok() { "Succeeded" } else { "Failed" },
        "stateUpdateTimestamp": alarm.state.updated.millis(),
        "notificationResource": action,
    });
    if let Err(error) = result {
        data["error"] = error.into();
    }
    add(tx, alarm, HistoryKind::Action, summary, data, now);
}

fn add(tx: &mut Tx, alarm: &Alarm, kind: HistoryKind, summary: String, data: Value, now: Timestamp) {
    let number = (0..).find(|number| tx.get::<History>(&key(now, *number)).is_none()).unwrap_or(u32::MAX);
    let mut data = data.to_string();
    if data.len() > MAX_DATA {
        data = json!({ "version": "1.0", "truncated": true }).to_string();
    }
    tx.put(History {
        at: now,
        number,
        alarm: alarm.name.clone(),
        alarm_type: alarm.definition.type_name().into(),
        kind,
        summary: summary.chars().take(MAX_SUMMARY).collect(),
        data,
    });
}

/// Lets go of what is older than 30 days, in the transaction's scope.
pub(super) fn expire(tx: &mut Tx, now: Timestamp) {
    let items = tx.list::<History>();
    let surplus = items.len().saturating_sub(MAX_ITEMS);
    for (index, item) in items.iter().enumerate() {
        if index < surplus || item.at < now - KEPT {
            tx.delete::<History>(&item.key());
        }
    }
}

fn describe_alarm_history(
    cx: &mut Context,
    input: DescribeAlarmHistoryInput,
) -> Result<DescribeAlarmHistoryOutput, ApiError> {
    let types = input.alarm_types.unwrap_or_else(|| vec!["MetricAlarm".into()]);
    let mut items = cx.tx.list::<History>();
    items.retain(|item| {
        input.alarm_name.as_ref().is_none_or(|name| *name == item.alarm)
            && input.history_item_type.as_ref().is_none_or(|kind| kind == item.kind.name())
            && input.start_date.is_none_or(|start| item.at >= start)
            && input.end_date.is_none_or(|end| item.at <= end)
            && types.contains(&item.alarm_type)
    });
    let newest_first = input.scan_by.as_deref() != Some("TimestampAscending");
    if newest_first {
        items.reverse();
    }
    // What a page is cut by must ascend in either order.
    let position = |item: &std::sync::Arc<History>| {
        let millis = if newest_first { i64::MAX / 2 - item.at.millis() } else { item.at.millis() };
        let number = if newest_first { u32::MAX - item.number } else { item.number };
        format!("{millis:020}-{number:010}")
    };
    let limit = input.max_records.unwrap_or(100) as usize;
    let (page, next_token) =
        paginate(items, position, input.next_token.as_deref(), limit, describe::invalid_token)?;
    let shape = |item: &std::sync::Arc<History>| AlarmHistoryItem {
        alarm_name: Some(item.alarm.clone()),
        alarm_type: Some(item.alarm_type.clone()),
        timestamp: Some(item.at),
        history_item_type: Some(item.kind.name().into()),
        history_summary: Some(item.summary.clone()),
        history_data: Some(item.data.clone()),
        ..Default::default()
    };
    Ok(DescribeAlarmHistoryOutput { alarm_history_items: Some(page.iter().map(shape).collect()), next_token })
}
