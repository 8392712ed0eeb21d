//! `GetMetricStatistics`: the statistics of one metric.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html>

use pileus_aws::cloudwatch::{Datapoint, GetMetricStatisticsInput, GetMetricStatisticsOutput, ops};
use pileus_contract::{MetricKey, MetricPoint};
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use super::{Reader, Statistic, Window, series};

const MAX_DATAPOINTS: usize = 1440;

pub(super) fn operations(router: &mut Router) {
    router.on_bulk::<ops::GetMetricStatistics>(get_metric_statistics);
}

fn get_metric_statistics(
    cx: &mut Context,
    input: GetMetricStatisticsInput,
) -> Result<GetMetricStatisticsOutput, ApiError> {
    let window = Window::new(input.start_time, input.end_time)?;
    series::check_period(input.period)?;
    let combination = |message: String| ApiError::client("InvalidParameterCombination", message);
    let (plain, extended) =
        (input.statistics.unwrap_or_default(), input.extended_statistics.unwrap_or_default());
    if plain.is_empty() && extended.is_empty() {
        return Err(combination(
            "At least one of Statistics and ExtendedStatistics must be specified.".into(),
        ));
    }
    let asked = window.periods(input.period, MAX_DATAPOINTS + 1).count();
    if asked > MAX_DATAPOINTS {
        return Err(combination(format!(
            "You have requested more than {MAX_DATAPOINTS} datapoints, the limit. You may reduce the datapoints requested by \
             increasing Period, or decreasing the time range."
        )));
    }
    let extended = extended.into_iter().map(|name| Ok((Statistic::extended(&name)?, name)));
    let extended = extended.collect::<Result<Vec<_>, ApiError>>()?;
    let key = MetricKey {
        namespace: input.namespace,
        name: input.metric_name.clone(),
        dimensions: super::dimensions(input.dimensions)?,
    };
    let reader = Reader { store: &*cx.bulk.metrics, scope: cx.scope() };
    let mut datapoints = Vec::new();
    for (unit, points) in reader.periods(&key, input.unit.as_deref(), &window, input.period)? {
        datapoints.extend(points.iter().map(|point| datapoint(point, &unit, &plain, &extended)));
    }
    Ok(GetMetricStatisticsOutput { label: Some(input.metric_name), datapoints: Some(datapoints) })
}

fn datapoint(
    point: &MetricPoint,
    unit: &str,
    plain: &[String],
    extended: &[(Statistic, String)],
) -> Datapoint {
    let asked = |name: &str, statistic: Statistic| {
        plain.iter().any(|asked| asked == name).then(|| statistic.of(point)).flatten()
    };
    let values = extended.iter().filter_map(|(stat, name)| Some((name.clone(), stat.of(point)?))).collect();
    Datapoint {
        timestamp: Some(point.at),
        sample_count: asked("SampleCount", Statistic::SampleCount),
        average: asked("Average", Statistic::Average),
        sum: asked("Sum", Statistic::Sum),
        minimum: asked("Minimum", Statistic::Minimum),
        maximum: asked("Maximum", Statistic::Maximum),
        unit: Some(unit.to_owned()),
        extended_statistics: (!extended.is_empty()).then_some(values),
    }
}
