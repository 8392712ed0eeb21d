//! `DescribeAlarms`, `DescribeAlarmsForMetric`, and the shapes of alarms.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html>

use std::collections::BTreeSet;
use std::sync::Arc;

use pileus_aws::cloudwatch::{
    CompositeAlarm, DescribeAlarmsForMetricInput, DescribeAlarmsForMetricOutput, DescribeAlarmsInput,
    DescribeAlarmsOutput, Dimension, MetricAlarm, PutCompositeAlarmInput, PutMetricAlarmInput, ops,
};
use pileus_core::{ApiError, Scope, paginate};
use pileus_service::{Context, Router};
use serde::Serialize;

use super::{Alarm, Definition, StateValue, composite, invalid, not_found};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::DescribeAlarms>(describe_alarms)
        .on::<ops::DescribeAlarmsForMetric>(describe_alarms_for_metric);
}

pub(super) fn invalid_token() -> ApiError {
    ApiError::client("InvalidNextToken", "The next token specified is invalid.")
}

/// What of an alarm's relatives is shown.
#[derive(Clone, Copy, PartialEq)]
enum Detail {
    All,
    State,
    Name,
}

fn describe_alarms(cx: &mut Context, input: DescribeAlarmsInput) -> Result<DescribeAlarmsOutput, ApiError> {
    let (alarms, detail) = match (&input.children_of_alarm_name, &input.parents_of_alarm_name) {
        (None, None) => (matching(cx, &input)?, Detail::All),
        (Some(_), Some(_)) => {
            return Err(invalid("ChildrenOfAlarmName and ParentsOfAlarmName cannot both be specified."));
        }
        (Some(parent), None) => (children(cx, &input, parent)?, Detail::State),
        (None, Some(child)) => (parents(cx, &input, child)?, Detail::Name),
    };
    let limit = input.max_records.unwrap_or(50) as usize;
    let key = |alarm: &Arc<Alarm>| alarm.name.clone();
    let (page, next_token) = paginate(alarms, key, input.next_token.as_deref(), limit, invalid_token)?;
    let (mut metric_alarms, mut composite_alarms) = (Vec::new(), Vec::new());
    for alarm in &page {
        match &alarm.definition {
            Definition::Metric(input) => metric_alarms.push(metric_shape(cx.scope(), alarm, input, detail)),
            Definition::Composite(input) => {
                composite_alarms.push(composite_shape(cx.scope(), alarm, input, detail));
            }
        }
    }
    let (metric_alarms, composite_alarms) = (Some(metric_alarms), Some(composite_alarms));
    Ok(DescribeAlarmsOutput { composite_alarms, metric_alarms, next_token })
}

fn matching(cx: &Context, input: &DescribeAlarmsInput) -> Result<Vec<Arc<Alarm>>, ApiError> {
    if input.alarm_names.is_some() && input.alarm_name_prefix.is_some() {
        return Err(invalid("AlarmNames and AlarmNamePrefix cannot both be specified."));
    }
    // Without types only metric alarms are wanted, as on AWS.
    let types = input.alarm_types.clone().unwrap_or_else(|| vec!["MetricAlarm".into()]);
    let mut alarms = match &input.alarm_names {
        Some(names) => {
            let names: BTreeSet<&String> = names.iter().collect();
            names.into_iter().filter_map(|name| cx.tx.get::<Alarm>(name)).collect()
        }
        None => cx.tx.list::<Alarm>(),
    };
    alarms.retain(|alarm| {
        types.iter().any(|wanted| wanted == alarm.definition.type_name())
            && input.alarm_name_prefix.as_ref().is_none_or(|prefix| alarm.name.starts_with(prefix))
            && input.state_value.as_ref().is_none_or(|state| state == alarm.state.value.name())
            && input.action_prefix.as_ref().is_none_or(|prefix| acts(alarm, prefix))
    });
    Ok(alarms)
}

fn acts(alarm: &Alarm, prefix: &str) -> bool {
    let mut actions = StateValue::ALL.into_iter().flat_map(|state| alarm.definition.actions(state));
    actions.any(|action| action.starts_with(prefix))
}

/// Relatives are asked for alone.
fn check_alone(input: &DescribeAlarmsInput) -> Result<(), ApiError> {
    let alone = input.alarm_names.is_none()
        && input.alarm_name_prefix.is_none()
        && input.alarm_types.is_none()
        && input.state_value.is_none()
        && input.action_prefix.is_none();
    let message =
        "ChildrenOfAlarmName and ParentsOfAlarmName allow no other parameters but MaxRecords and NextToken.";
    if alone { Ok(()) } else { Err(invalid(message)) }
}

fn children(cx: &Context, input: &DescribeAlarmsInput, parent: &str) -> Result<Vec<Arc<Alarm>>, ApiError> {
    check_alone(input)?;
    let parent = cx.tx.get::<Alarm>(parent).ok_or_else(|| not_found(parent))?;
    let rule = composite::rule_of(&parent)
        .ok_or_else(|| invalid(format!("The alarm {} is not a composite alarm.", parent.name)))?;
    Ok(rule.children().into_iter().filter_map(|name| cx.tx.get::<Alarm>(name)).collect())
}

fn parents(cx: &Context, input: &DescribeAlarmsInput, child: &str) -> Result<Vec<Arc<Alarm>>, ApiError> {
    check_alone(input)?;
    let mut alarms = cx.tx.list::<Alarm>();
    alarms.retain(|alarm| composite::rule_of(alarm).is_some_and(|rule| rule.children().contains(child)));
    Ok(alarms)
}

fn describe_alarms_for_metric(
    cx: &mut Context,
    input: DescribeAlarmsForMetricInput,
) -> Result<DescribeAlarmsForMetricOutput, ApiError> {
    let wanted = sorted(input.dimensions.clone());
    let watches = |alarm: &PutMetricAlarmInput| {
        alarm.metric_name.as_ref() == Some(&input.metric_name)
            && alarm.namespace.as_ref() == Some(&input.namespace)
            && sorted(alarm.dimensions.clone()) == wanted
            && (input.statistic.is_none() || alarm.statistic == input.statistic)
            && (input.extended_statistic.is_none() || alarm.extended_statistic == input.extended_statistic)
            && (input.period.is_none() || alarm.period == input.period)
            && (input.unit.is_none() || alarm.unit == input.unit)
    };
    let alarms = cx.tx.list::<Alarm>();
    let found =
        alarms.iter().filter_map(|alarm| Some((alarm, alarm.metric().filter(|input| watches(input))?)));
    let shapes = found.map(|(alarm, input)| metric_shape(cx.scope(), alarm, input, Detail::All)).collect();
    Ok(DescribeAlarmsForMetricOutput { metric_alarms: Some(shapes) })
}

fn sorted(dimensions: Option<Vec<Dimension>>) -> Vec<(String, String)> {
    let dimensions = dimensions.into_iter().flatten();
    let mut sorted: Vec<_> = dimensions.map(|dimension| (dimension.name, dimension.value)).collect();
    sorted.sort_unstable();
    sorted
}

/// An alarm as history shows what was configured.
pub(super) fn definition(scope: &Scope, alarm: &Alarm) -> impl Serialize + use<> {
    match &alarm.definition {
        Definition::Metric(input) => serde_json::to_value(metric_shape(scope, alarm, input, Detail::All)),
        Definition::Composite(input) => {
            serde_json::to_value(composite_shape(scope, alarm, input, Detail::All))
        }
    }
    .unwrap_or_default()
}

fn metric_shape(scope: &Scope, alarm: &Alarm, input: &PutMetricAlarmInput, detail: Detail) -> MetricAlarm {
    let mut shape = MetricAlarm {
        alarm_name: Some(alarm.name.clone()),
        alarm_arn: Some(alarm.arn(scope)),
        ..Default::default()
    };
    if detail == Detail::Name {
        return shape;
    }
    shape.state_value = Some(alarm.state.value.name().into());
    shape.state_updated_timestamp = Some(alarm.state.updated);
    if detail == Detail::State {
        return shape;
    }
    let input = input.clone();
    MetricAlarm {
        alarm_description: input.alarm_description,
        alarm_configuration_updated_timestamp: Some(alarm.configured),
        actions_enabled: input.actions_enabled,
        ok_actions: Some(input.ok_actions.unwrap_or_default()),
        alarm_actions: Some(input.alarm_actions.unwrap_or_default()),
        insufficient_data_actions: Some(input.insufficient_data_actions.unwrap_or_default()),
        state_reason: Some(alarm.state.reason.clone()),
        state_reason_data: alarm.state.reason_data.clone(),
        state_transitioned_timestamp: Some(alarm.state.transitioned),
        metric_name: input.metric_name,
        namespace: input.namespace,
        statistic: input.statistic,
        extended_statistic: input.extended_statistic,
        dimensions: Some(input.dimensions.unwrap_or_default()),
        period: input.period,
        unit: input.unit,
        evaluation_periods: input.evaluation_periods,
        datapoints_to_alarm: input.datapoints_to_alarm,
        threshold: input.threshold,
        comparison_operator: input.comparison_operator,
        treat_missing_data: input.treat_missing_data,
        evaluate_low_sample_count_percentile: input.evaluate_low_sample_count_percentile,
        metrics: input.metrics,
        ..shape
    }
}

fn composite_shape(
    scope: &Scope,
    alarm: &Alarm,
    input: &PutCompositeAlarmInput,
    detail: Detail,
) -> CompositeAlarm {
    let mut shape = CompositeAlarm {
        alarm_name: Some(alarm.name.clone()),
        alarm_arn: Some(alarm.arn(scope)),
        ..Default::default()
    };
    if detail == Detail::Name {
        return shape;
    }
    shape.state_value = Some(alarm.state.value.name().into());
    shape.state_updated_timestamp = Some(alarm.state.updated);
    if detail == Detail::State {
        return shape;
    }
    let input = input.clone();
    let held = alarm.composite.held.as_ref();
    CompositeAlarm {
        alarm_description: input.alarm_description,
        alarm_configuration_updated_timestamp: Some(alarm.configured),
        actions_enabled: input.actions_enabled,
        ok_actions: Some(input.ok_actions.unwrap_or_default()),
        alarm_actions: Some(input.alarm_actions.unwrap_or_default()),
        insufficient_data_actions: Some(input.insufficient_data_actions.unwrap_or_default()),
        state_reason: Some(alarm.state.reason.clone()),
        state_reason_data: alarm.state.reason_data.clone(),
        state_transitioned_timestamp: Some(alarm.state.transitioned),
        alarm_rule: Some(input.alarm_rule),
        actions_suppressed_by: held.map(|held| held.by.name().into()),
        actions_suppressed_reason: held.map(|held| format!("Actions suppressed by {}", held.by.name())),
        actions_suppressor: input.actions_suppressor,
        actions_suppressor_wait_period: input.actions_suppressor_wait_period,
        actions_suppressor_extension_period: input.actions_suppressor_extension_period,
        ..shape
    }
}
