//! `PutMetricData`: points of the user's own metrics.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>

use std::time::Duration;

use pileus_aws::cloudwatch::{MetricDatum, PutMetricDataInput, ops};
use pileus_contract::{MetricKey, MetricPoint};
use pileus_core::{ApiError, Timestamp};
use pileus_model::Unit;
use pileus_service::{Context, Router};

use super::invalid;

/// The finest period that is kept.
const RESOLUTION: Duration = Duration::from_secs(60);
const MAX_AGE: Duration = Duration::from_secs(14 * 86_400);
const MAX_AHEAD: Duration = Duration::from_secs(2 * 3600);
const MAX_METRICS: usize = 1000;
const MAX_VALUES: usize = 150;

pub(super) fn operations(router: &mut Router) {
    router.on_bulk::<ops::PutMetricData>(put_metric_data);
}

fn put_metric_data(cx: &mut Context, input: PutMetricDataInput) -> Result<Unit, ApiError> {
    if input.namespace.starts_with("AWS/") {
        return Err(invalid("The value AWS/ for parameter Namespace is invalid."));
    }
    let data = input.metric_data.unwrap_or_default();
    if data.len() > MAX_METRICS {
        return Err(invalid(format!(
            "The collection MetricData must not have a size greater than {MAX_METRICS}."
        )));
    }
    let points = data.into_iter().map(|datum| point(&input.namespace, datum, cx.now));
    let points = points.collect::<Result<Vec<_>, _>>()?;
    let stored = cx.bulk.metrics.put(cx.scope(), &points);
    stored.map_err(|error| ApiError::new("InternalServiceError", 500, error.to_string()))?;
    Ok(Unit::default())
}

fn point(namespace: &str, datum: MetricDatum, now: Timestamp) -> Result<(MetricKey, MetricPoint), ApiError> {
    if datum.storage_resolution.is_some_and(|resolution| resolution != 60) {
        return Err(ApiError::not_implemented(
            "cloudwatch:PutMetricData with a StorageResolution other than 60",
        ));
    }
    let at = datum.timestamp.unwrap_or(now);
    if at < now - MAX_AGE || at > now + MAX_AHEAD {
        return Err(invalid(
            "The parameter MetricData.member.Timestamp must be between two weeks ago and two hours from now.",
        ));
    }
    let (at, dimensions) = (at.truncate(RESOLUTION), super::dimensions(datum.dimensions)?);
    let key = MetricKey { namespace: namespace.to_owned(), name: datum.metric_name, dimensions };
    let point = match (datum.value, datum.values, datum.statistic_values) {
        (Some(value), None, None) => MetricPoint::sample(at, finite(value)?),
        (None, Some(values), None) => distribution(at, &values, datum.counts.as_deref())?,
        (None, None, Some(set)) => MetricPoint {
            at,
            count: finite(set.sample_count)?,
            sum: finite(set.sum)?,
            min: finite(set.minimum)?,
            max: finite(set.maximum)?,
            values: Vec::new(),
        },
        _ => return Err(invalid("A metric datum has exactly one of Value, Values and StatisticValues.")),
    };
    Ok((key, point))
}

fn distribution(at: Timestamp, values: &[f64], counts: Option<&[f64]>) -> Result<MetricPoint, ApiError> {
    if values.is_empty() || values.len() > MAX_VALUES {
        return Err(invalid(format!("The collection Values must have between 1 and {MAX_VALUES} members.")));
    }
    let ones = vec![1.0; values.len()];
    let counts = counts.unwrap_or(&ones);
    if counts.len() != values.len() {
        return Err(invalid("The collections Values and Counts must have the same size."));
    }
    let mut whole: Option<MetricPoint> = None;
    for (&value, &count) in values.iter().zip(counts) {
        let (value, count) = (finite(value)?, finite(count)?);
        let part = MetricPoint {
            at,
            count,
            sum: value * count,
            min: value,
            max: value,
            values: vec![(value, count)],
        };
        match &mut whole {
            Some(whole) => whole.merge(&part),
            None => whole = Some(part),
        }
    }
    whole.ok_or_else(|| invalid("The collection Values is empty."))
}

/// AWS refuses NaN, infinities and magnitudes above 2^360.
fn finite(value: f64) -> Result<f64, ApiError> {
    if value.is_finite() && value.abs() <= 2_f64.powi(360) {
        return Ok(value);
    }
    Err(invalid(format!("The value {value} for parameter MetricData.member.Value is invalid.")))
}
