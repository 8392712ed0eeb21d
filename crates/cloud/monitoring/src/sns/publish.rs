//! Publishing to topics: by clients, and by alarms.
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>

use std::collections::BTreeMap;

use pileus_aws::cloudwatch::PutMetricAlarmInput;
use pileus_aws::sns::{MessageAttributeValue, PublishInput, PublishResponse, ops};
use pileus_core::{ApiError, Arn, IdGen, Scope, Timestamp};
use pileus_service::{Context, Router};
use pileus_state::Tx;
use serde_json::{Value, json};

use super::message::{self, Message};
use super::{delivery, invalid, subscription, topic};
use crate::alarms::{Alarm, PendingAction, StateValue};

const MAX_MESSAGE: usize = 262_144;
const MAX_SUBJECT: usize = 100;

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::Publish>(publish);
}

fn publish(cx: &mut Context, input: PublishInput) -> Result<PublishResponse, ApiError> {
    let ((Some(arn), None) | (None, Some(arn))) = (&input.topic_arn, &input.target_arn) else {
        return Err(invalid("TopicArn or TargetArn Reason: no value for required parameter"));
    };
    let topic = topic::find(cx.tx, arn)?;
    let attributes = input.message_attributes.unwrap_or_default();
    check_attributes(&attributes)?;
    let size: usize = attributes
        .iter()
        .map(|(name, value)| name.len() + value.string_value.as_ref().map_or(0, String::len))
        .sum();
    if input.message.is_empty() {
        return Err(invalid("Empty message"));
    }
    if input.message.len() + size > MAX_MESSAGE {
        return Err(invalid("Message too long"));
    }
    let subject = input.subject.as_deref();
    let plain = |subject: &str| {
        let starts = subject.starts_with(|c: char| c.is_ascii_graphic());
        starts && subject.len() <= MAX_SUBJECT && !subject.chars().any(char::is_control)
    };
    if subject.is_some_and(|subject| !plain(subject)) {
        return Err(invalid("Subject"));
    }
    let text = match input.message_structure.as_deref() {
        None => input.message.clone(),
        Some("json") => for_http(&input.message)?,
        Some(other) => return Err(invalid(format_args!("MessageStructure {other}"))),
    };
    let id = cx.ids.uuid();
    let message = Message { id: &id, subject, text: &text, attributes: &attributes };
    send(cx.tx, &topic.name, &message, cx.endpoint, cx.ids, cx.now)?;
    Ok(PublishResponse { message_id: Some(id), sequence_number: None })
}

fn check_attributes(attributes: &BTreeMap<String, MessageAttributeValue>) -> Result<(), ApiError> {
    for (name, attribute) in attributes {
        if attribute.binary_value.is_some() {
            return Err(ApiError::not_implemented("binary message attributes"));
        }
        if !["String", "Number", "String.Array"].contains(&attribute.data_type.as_str()) {
            return Err(ApiError::client(
                "ParameterValueInvalid",
                format!("The message attribute '{name}' has an invalid message attribute type."),
            ));
        }
        if attribute.string_value.as_deref().unwrap_or_default().is_empty() {
            return Err(ApiError::client(
                "ParameterValueInvalid",
                format!("The message attribute '{name}' must contain a value."),
            ));
        }
    }
    Ok(())
}

/// What a message with a text for each protocol says to HTTP endpoints.
fn for_http(message: &str) -> Result<String, ApiError> {
    let no_json = || invalid("Message Structure - JSON message body failed to parse");
    let document: Value = serde_json::from_str(message).map_err(|_| no_json())?;
    let text = |protocol: &str| document.get(protocol).and_then(Value::as_str).map(str::to_owned);
    let default = text("default")
        .ok_or_else(|| invalid("Message Structure - No default entry in JSON message body"))?;
    Ok(text("http").unwrap_or(default))
}

fn send(
    tx: &mut Tx,
    topic: &str,
    message: &Message,
    endpoint: &str,
    ids: &mut IdGen,
    now: Timestamp,
) -> Result<(), ApiError> {
    for subscription in subscription::confirmed(tx, topic) {
        let body = match subscription.raw {
            true => message.text.to_owned(),
            false => message::notification(tx.scope(), &subscription, message, endpoint, now),
        };
        delivery::queue(tx, &subscription, "Notification", body, ids.uuid(), now)?;
    }
    Ok(())
}

/// Tells a topic of an alarm's change, in the alarm's scope. `endpoint` is where the engine is reached.
///
/// # Errors
/// What stands in the alarm's history of the action that failed.
pub fn notify(
    tx: &mut Tx,
    action: &PendingAction,
    endpoint: &str,
    ids: &mut IdGen,
    now: Timestamp,
) -> Result<(), String> {
    let arn = Arn::parse(&action.action).ok_or_else(|| format!("{} is no ARN", action.action))?;
    let alarm = tx.get::<Alarm>(&action.alarm).ok_or("the alarm is no more")?;
    let region = region_name(&tx.scope().region);
    let text = document(tx.scope(), &alarm, action, &region).to_string();
    let subject: String =
        format!("{}: \"{}\" in {region}", action.new, alarm.name).chars().take(MAX_SUBJECT).collect();
    let scope =
        Scope { partition: arn.partition.into(), account: arn.account.into(), region: arn.region.into() };
    tx.within(scope, |tx| {
        let topic = topic::find(tx, &action.action).map_err(|error| error.message)?;
        let id = ids.uuid();
        let message = Message { id: &id, subject: Some(&subject), text: &text, attributes: &BTreeMap::new() };
        send(tx, &topic.name, &message, endpoint, ids, now).map_err(|error| error.message)
    })
}

fn region_name(region: &str) -> String {
    let known = [
        ("us-east-1", "US East (N. Virginia)"),
        ("us-east-2", "US East (Ohio)"),
        ("us-west-1", "US West (N. California)"),
        ("us-west-2", "US West (Oregon)"),
        ("eu-west-1", "EU (Ireland)"),
        ("eu-central-1", "EU (Frankfurt)"),
    ];
    let name = known.into_iter().find(|(code, _)| *code == region).map(|(_, name)| name);
    name.unwrap_or(region).to_owned()
}

fn document(scope: &Scope, alarm: &Alarm, action: &PendingAction, region: &str) -> Value {
    let time = |at: Timestamp| at.format("%Y-%m-%dT%H:%M:%S%.3f+0000");
    let actions = |state| alarm.definition.actions(state);
    let trigger = alarm.metric().map_or_else(|| json!({}), trigger);
    json!({
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.definition.description(),
        "AWSAccountId": scope.account,
        "AlarmConfigurationUpdatedTimestamp": time(alarm.configured),
        "NewStateValue": action.new.name(),
        "NewStateReason": alarm.state.reason,
        "StateChangeTime": time(action.at),
        "Region": region,
        "AlarmArn": alarm.arn(scope),
        "OldStateValue": action.old.name(),
        "OKActions": actions(StateValue::Ok),
        "AlarmActions": actions(StateValue::Alarm),
        "InsufficientDataActions": actions(StateValue::InsufficientData),
        "Trigger": trigger,
    })
}

fn trigger(input: &PutMetricAlarmInput) -> Value {
    let dimensions = input.dimensions.iter().flatten();
    let dimensions = dimensions.map(|dimension| json!({ "value": dimension.value, "name": dimension.name }));
    let statistic = match &input.statistic {
        Some(name) if name == "SampleCount" => Some("SAMPLE_COUNT".to_owned()),
        Some(name) => Some(name.to_uppercase()),
        None => None,
    };
    json!({
        "MetricName": input.metric_name,
        "Namespace": input.namespace,
        "StatisticType": if input.extended_statistic.is_some() { "ExtendedStatistic" } else { "Statistic" },
        "Statistic": statistic,
        "ExtendedStatistic": input.extended_statistic,
        "Unit": input.unit,
        "Dimensions": dimensions.collect::<Vec<_>>(),
        "Period": input.period,
        "EvaluationPeriods": input.evaluation_periods,
        "DatapointsToAlarm": input.datapoints_to_alarm,
        "ComparisonOperator": input.comparison_operator,
        "Threshold": input.threshold,
        "TreatMissingData": input.treat_missing_data.as_deref().unwrap_or("missing"),
        "EvaluateLowSampleCountPercentile": input.evaluate_low_sample_count_percentile.as_deref().unwrap_or(""),
    })
}
