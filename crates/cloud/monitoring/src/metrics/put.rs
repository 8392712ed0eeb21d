//! `PutMetricData`: points of the user's own metrics.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>

use std::time::Duration;

use pileus_aws::cloudwatch::{MetricDatum, PutMetricDataInput, StatisticSet, ops};
use pileus_contract::{Measurement, MetricKey, MetricPoint};
use pileus_core::{ApiError, Timestamp};
use pileus_model::Unit;
use pileus_service::{Context, Router};

use super::{invalid, store_failed};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const MAX_AGE: Duration = Duration::from_secs(14 * 86_400);
const MAX_AHEAD: Duration = Duration::from_secs(2 * 3600);
const MAX_METRICS: usize = 1000;
const MAX_VALUES: usize = 150;
/// What the unit of samples without one is called.
const NO_UNIT: &str = "None";

pub(super) fn operations(router: &mut Router) {
    router.on_bulk::<ops::PutMetricData>(put_metric_data);
}

/// The unit of a metric that Pileus itself measures, by the name of the metric.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>
pub fn aws_unit(name: &str) -> &'static str {
    match name {
        "TargetResponseTime" => "Seconds",
        "NetworkRxBytes" | "NetworkTxBytes" => "Bytes/Second",
        "ProcessedBytes" | "StorageReadBytes" | "StorageWriteBytes" => "Bytes",
        "MemoryUtilized" | "MemoryReserved" => "Megabytes",
        "EphemeralStorageUtilized" | "EphemeralStorageReserved" => "Gigabytes",
        "CpuUtilized" | "CpuReserved" | "ConsumedLCUs" => NO_UNIT,
        _ if name.ends_with("Utilization") => "Percent",
        _ => "Count",
    }
}

fn put_metric_data(cx: &mut Context, input: PutMetricDataInput) -> Result<Unit, ApiError> {
    if input.namespace.starts_with("AWS/") {
        return Err(invalid("The value AWS/ for parameter Namespace is invalid."));
    }
    let data = input.metric_data.unwrap_or_default();
    if data.is_empty() {
        return Err(ApiError::client("MissingParameter", "The parameter MetricData is required."));
    }
    if data.len() > MAX_METRICS {
        return Err(invalid(format!(
            "The collection MetricData must not have a size greater than {MAX_METRICS}."
        )));
    }
    let points = data.into_iter().map(|datum| measurement(&input.namespace, datum, cx.now));
    let points = points.collect::<Result<Vec<_>, _>>()?;
    cx.bulk.metrics.put(cx.scope(), &points).map_err(store_failed)?;
    Ok(Unit::default())
}

fn measurement(namespace: &str, datum: MetricDatum, now: Timestamp) -> Result<Measurement, ApiError> {
    let resolution = match datum.storage_resolution {
        None | Some(60) => MINUTE,
        Some(1) => SECOND,
        Some(other) => {
            return Err(invalid(format!(
                "The value {other} for parameter MetricData.member.StorageResolution is invalid: it must be 1 or 60."
            )));
        }
    };
    let at = datum.timestamp.unwrap_or(now);
    if at < now - MAX_AGE || at > now + MAX_AHEAD {
        return Err(invalid(
            "The parameter MetricData.member.Timestamp must be between two weeks ago and two hours from now.",
        ));
    }
    let (at, dimensions) = (at.truncate(resolution), super::dimensions(datum.dimensions)?);
    let key = MetricKey { namespace: namespace.to_owned(), name: datum.metric_name, dimensions };
    let point = match (datum.value, datum.values, datum.statistic_values) {
        (Some(value), None, None) => MetricPoint::sample(at, finite(value)?),
        (None, Some(values), None) => distribution(at, &values, datum.counts.as_deref())?,
        (None, None, Some(set)) => statistic_set(at, &set)?,
        (None, None, None) => {
            let message = "At least one of the parameters MetricData.member.Value, Values and StatisticValues is required.";
            return Err(ApiError::client("MissingParameter", message));
        }
        _ => {
            return Err(ApiError::client(
                "InvalidParameterCombination",
                "The parameters MetricData.member.Value, Values and StatisticValues are mutually exclusive.",
            ));
        }
    };
    Ok(Measurement { key, unit: datum.unit.unwrap_or_else(|| NO_UNIT.into()), point })
}

/// Its single values are known only where they are all the same.
fn statistic_set(at: Timestamp, set: &StatisticSet) -> Result<MetricPoint, ApiError> {
    let (count, sum) = (finite(set.sample_count)?, finite(set.sum)?);
    let (min, max) = (finite(set.minimum)?, finite(set.maximum)?);
    if count <= 0.0 || min > max {
        return Err(invalid(
            "StatisticValues must have a positive SampleCount, and a Minimum not above its Maximum.",
        ));
    }
    let values = if min == max { vec![(min, count)] } else { Vec::new() };
    Ok(MetricPoint { at, count, sum, min, max, values })
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
        if count <= 0.0 {
            return Err(invalid("The members of the collection Counts must be positive."));
        }
        let part = MetricPoint {
            count,
            sum: value * count,
            values: vec![(value, count)],
            ..MetricPoint::sample(at, value)
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
