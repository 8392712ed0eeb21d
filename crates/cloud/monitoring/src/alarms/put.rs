//! `PutMetricAlarm`: creates an alarm, or replaces its configuration and leaves its state as it is.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html>

use pileus_aws::cloudwatch::{PutMetricAlarmInput, ops};
use pileus_core::{ApiError, Arn, Tags, Timestamp, tags};
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::Tx;

use super::history::Configured;
use super::{Alarm, Definition, State, StateValue, composite, history, invalid};
use crate::metrics;

/// Alarms that a scope may have: AWS's limit is 5000 for a region.
const MAX_ALARMS: usize = 5000;
const DAY: i64 = 86_400;
const COMPARISONS: [&str; 4] = [
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanThreshold",
    "LessThanOrEqualToThreshold",
];

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::PutMetricAlarm>(put_metric_alarm);
}

fn put_metric_alarm(cx: &mut Context, input: PutMetricAlarmInput) -> Result<Unit, ApiError> {
    put(cx.tx, input, cx.now)?;
    Ok(Unit::default())
}

/// Puts a metric alarm in the transaction's scope: a new one begins in INSUFFICIENT_DATA, a known one keeps its state
/// and its tags.
///
/// # Errors
/// What AWS would not accept, and what Pileus does not implement.
pub fn put(tx: &mut Tx, mut input: PutMetricAlarmInput, now: Timestamp) -> Result<(), ApiError> {
    check(&input)?;
    let tags = tags_of(input.tags.take())?;
    input.actions_enabled.get_or_insert(true);
    let name = input.alarm_name.clone();
    upsert(tx, name, Definition::Metric(Box::new(input)), tags, now)
}

pub(super) fn tags_of(list: Option<Vec<pileus_aws::cloudwatch::Tag>>) -> Result<Tags, ApiError> {
    let found: Tags = list.into_iter().flatten().map(|tag| (tag.key, tag.value)).collect();
    tags::check(&found, "ValidationError")?;
    Ok(found)
}

/// Writes the definition of an alarm that has been checked.
pub(super) fn upsert(
    tx: &mut Tx,
    name: String,
    definition: Definition,
    tags: Tags,
    now: Timestamp,
) -> Result<(), ApiError> {
    let (alarm, what) = match tx.get::<Alarm>(&name) {
        Some(old) if old.definition.type_name() != definition.type_name() => {
            return Err(invalid(format!("An alarm of the other type has the name {name}.")));
        }
        Some(old) => {
            let composite = composite::Progress::default();
            (Alarm { definition, configured: now, composite, ..Alarm::clone(&old) }, Configured::Updated)
        }
        None => {
            if tx.list::<Alarm>().len() >= MAX_ALARMS {
                let message = format!("The region has {MAX_ALARMS} alarms already.");
                return Err(ApiError::client("LimitExceeded", message));
            }
            let state = State {
                value: StateValue::InsufficientData,
                reason: "Unchecked: Initial alarm creation".into(),
                reason_data: None,
                updated: now,
                transitioned: now,
            };
            let composite = composite::Progress::default();
            (Alarm { name, definition, configured: now, state, tags, composite }, Configured::Created)
        }
    };
    history::configured(tx, &alarm, what, now);
    tx.put(alarm);
    Ok(())
}

fn check(input: &PutMetricAlarmInput) -> Result<(), ApiError> {
    check_name(&input.alarm_name)?;
    for actions in [&input.ok_actions, &input.alarm_actions, &input.insufficient_data_actions] {
        for action in actions.iter().flatten() {
            check_action(action, true)?;
        }
    }
    check_comparison(input)?;
    let period = if input.metrics.is_some() { check_math(input)? } else { check_metric(input)? };
    check_periods(input, period)?;
    let choices = [
        (
            "TreatMissingData",
            &input.treat_missing_data,
            &["missing", "ignore", "breaching", "notBreaching"][..],
        ),
        (
            "EvaluateLowSampleCountPercentile",
            &input.evaluate_low_sample_count_percentile,
            &["evaluate", "ignore"],
        ),
    ];
    for (member, value, allowed) in choices {
        if let Some(value) = value.as_deref().filter(|value| !allowed.contains(value)) {
            return Err(invalid(format!("The value {value} is not supported for the parameter {member}.")));
        }
    }
    Ok(())
}

pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    if name.chars().any(char::is_control) {
        return Err(invalid("The alarm name must not contain control characters."));
    }
    Ok(())
}

/// Whether Pileus can carry out an action. `scaling`: whether a scaling policy may be one.
pub(super) fn check_action(action: &str, scaling: bool) -> Result<(), ApiError> {
    let Some(arn) = Arn::parse(action) else {
        return Err(invalid(format!("Invalid arn syntax: {action}")));
    };
    match arn.service {
        "sns" if !arn.resource.contains(':') => Ok(()),
        "autoscaling" if scaling && arn.resource.starts_with("scalingPolicy:") => Ok(()),
        "autoscaling" if arn.resource.starts_with("scalingPolicy:") => {
            Err(invalid(format!("Composite alarms cannot have Auto Scaling actions: {action}")))
        }
        "sns" | "autoscaling" => Err(invalid(format!("Invalid arn syntax: {action}"))),
        service => Err(ApiError::not_implemented(format_args!("the alarm action {action} (of {service})"))),
    }
}

fn check_comparison(input: &PutMetricAlarmInput) -> Result<(), ApiError> {
    let Some(comparison) = input.comparison_operator.as_deref() else {
        return Err(invalid("The parameter ComparisonOperator is required."));
    };
    if !COMPARISONS.contains(&comparison) {
        return Err(ApiError::not_implemented(format_args!(
            "cloudwatch:PutMetricAlarm with the ComparisonOperator {comparison} (anomaly detection)"
        )));
    }
    match input.threshold {
        Some(threshold) if threshold.is_finite() => Ok(()),
        Some(_) => Err(invalid("The parameter Threshold must be a finite number.")),
        None => Err(invalid("The parameter Threshold is required.")),
    }
}

/// An alarm on one metric; returns its period in seconds.
fn check_metric(input: &PutMetricAlarmInput) -> Result<i64, ApiError> {
    let required = |given: bool, member: &str| {
        if given { Ok(()) } else { Err(invalid(format!("The parameter {member} is required."))) }
    };
    required(input.metric_name.is_some(), "MetricName")?;
    required(input.namespace.is_some(), "Namespace")?;
    match (&input.statistic, &input.extended_statistic) {
        (Some(_), None) => {}
        (None, Some(extended)) => drop(metrics::Statistic::extended(extended).map_err(to_validation)?),
        (Some(_), Some(_)) => {
            return Err(invalid(
                "Statistic and ExtendedStatistic cannot both be specified for a metric alarm.",
            ));
        }
        (None, None) => return Err(invalid("One of Statistic and ExtendedStatistic must be specified.")),
    }
    metrics::dimensions(input.dimensions.clone()).map_err(to_validation)?;
    input.period.ok_or_else(|| invalid("The parameter Period is required."))
}

/// An alarm on a list of metrics and expressions; returns the period in seconds of what it watches.
fn check_math(input: &PutMetricAlarmInput) -> Result<i64, ApiError> {
    let alone = input.metric_name.is_none()
        && input.namespace.is_none()
        && input.statistic.is_none()
        && input.extended_statistic.is_none()
        && input.dimensions.is_none()
        && input.period.is_none()
        && input.unit.is_none();
    if !alone {
        return Err(invalid(
            "The parameters MetricName, Namespace, Dimensions, Period, Unit, Statistic and ExtendedStatistic must not be \
             given together with Metrics.",
        ));
    }
    metrics::alarm_period(input.metrics.as_deref().unwrap_or_default()).map_err(to_validation)
}

fn to_validation(error: ApiError) -> ApiError {
    if error.code == "UnsupportedOperation" { error } else { invalid(error.message) }
}

fn check_periods(input: &PutMetricAlarmInput, period: i64) -> Result<(), ApiError> {
    if !(matches!(period, 10 | 20 | 30) || (period >= 60 && period % 60 == 0)) {
        return Err(invalid("Invalid Period: it must be 10, 20, 30 or a multiple of 60."));
    }
    let periods =
        input.evaluation_periods.ok_or_else(|| invalid("The parameter EvaluationPeriods is required."))?;
    let longest = if period >= 3600 { 7 * DAY } else { DAY };
    if periods.checked_mul(period).is_none_or(|seconds| seconds > longest) {
        return Err(invalid(format!(
            "Metrics cannot be checked across more than {} ({periods} periods of {period} seconds).",
            if period >= 3600 { "seven days" } else { "a day" }
        )));
    }
    if input.datapoints_to_alarm.is_some_and(|datapoints| datapoints > periods) {
        return Err(invalid("DatapointsToAlarm must be less than or equal to EvaluationPeriods."));
    }
    Ok(())
}
