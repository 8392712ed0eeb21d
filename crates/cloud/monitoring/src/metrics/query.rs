//! Reading metrics: `GetMetricData`, `GetMetricStatistics`, `ListMetrics`.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>

use std::collections::BTreeSet;
use std::time::Duration;

use pileus_aws::cloudwatch::{
    Datapoint, Dimension, GetMetricDataInput, GetMetricDataOutput, GetMetricStatisticsInput,
    GetMetricStatisticsOutput, ListMetricsInput, ListMetricsOutput, Metric, MetricDataQuery,
    MetricDataResult, ops,
};
use pileus_contract::{MetricKey, MetricPoint};
use pileus_core::{ApiError, Timestamp, paginate};
use pileus_service::{Context, Router};

use super::invalid;
use super::statistic::Statistic;

const MAX_QUERIES: usize = 500;
const MAX_DATAPOINTS: usize = 100_800;
const MAX_STATISTICS: usize = 1440;
const LIST_PAGE: usize = 500;

pub(super) fn operations(router: &mut Router) {
    router
        .on_bulk::<ops::GetMetricData>(get_metric_data)
        .on_bulk::<ops::GetMetricStatistics>(get_metric_statistics)
        .on_bulk::<ops::ListMetrics>(list_metrics);
}

fn get_metric_data(cx: &mut Context, input: GetMetricDataInput) -> Result<GetMetricDataOutput, ApiError> {
    if input.metric_data_queries.len() > MAX_QUERIES {
        return Err(invalid(format!(
            "The collection MetricDataQueries must not have a size greater than {MAX_QUERIES}."
        )));
    }
    check_ids(&input.metric_data_queries)?;
    check_range(input.start_time, input.end_time)?;
    if input.next_token.is_some() {
        // Every answer is whole, so no token has ever been issued.
        return Err(ApiError::client("InvalidNextToken", "The next token specified is invalid."));
    }
    let newest_first = input.scan_by.as_deref() != Some("TimestampAscending");
    let limit = input.max_datapoints.map_or(MAX_DATAPOINTS, |limit| limit as usize);
    let mut results = Vec::new();
    let mut left = limit;
    for query in &input.metric_data_queries {
        let mut result = answer(cx, query, &input)?;
        if query.return_data == Some(false) {
            continue;
        }
        if newest_first {
            result.reverse();
        }
        if result.len() > left {
            return Err(ApiError::not_implemented(format_args!(
                "cloudwatch:GetMetricData in pages: the answer has more than {limit} datapoints; ask for a shorter time"
            )));
        }
        left -= result.len();
        results.push(shape(query, result));
    }
    Ok(GetMetricDataOutput {
        metric_data_results: Some(results),
        next_token: None,
        messages: Some(Vec::new()),
    })
}

/// An id is what an expression would call the result by: lower case first, and one of its kind.
fn check_ids(queries: &[MetricDataQuery]) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    for (index, MetricDataQuery { id, .. }) in queries.iter().enumerate() {
        let named = id.starts_with(|first: char| first.is_ascii_lowercase())
            && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !named {
            return Err(ApiError::client(
                "ValidationError",
                format!(
                    "The value {id} for parameter MetricDataQueries.member.{}.Id is not matching the expected pattern \
                 ^[a-z][a-zA-Z0-9_]*$.",
                    index + 1
                ),
            ));
        }
        if !seen.insert(id) {
            return Err(ApiError::client(
                "ValidationError",
                format!("The values for parameter id in MetricDataQueries are not unique: {id}."),
            ));
        }
    }
    Ok(())
}

fn answer(
    cx: &Context,
    query: &MetricDataQuery,
    input: &GetMetricDataInput,
) -> Result<Vec<(Timestamp, f64)>, ApiError> {
    if query.expression.is_some() {
        return Err(ApiError::not_implemented("cloudwatch:GetMetricData with an Expression (metric math)"));
    }
    if query.account_id.as_ref().is_some_and(|account| *account != cx.scope().account) {
        return Err(ApiError::not_implemented("cloudwatch:GetMetricData across accounts"));
    }
    let stat = query
        .metric_stat
        .as_ref()
        .ok_or_else(|| invalid(format!("The query {} has neither MetricStat nor Expression.", query.id)))?;
    let name = |name: &Option<String>, what| {
        name.clone().ok_or_else(|| invalid(format!("The query {} has no Metric.{what}.", query.id)))
    };
    let key = MetricKey {
        namespace: name(&stat.metric.namespace, "Namespace")?,
        name: name(&stat.metric.metric_name, "MetricName")?,
        dimensions: super::dimensions(stat.metric.dimensions.clone())?,
    };
    let statistic = Statistic::parse(&stat.stat)?;
    let points = periods(cx, &key, input.start_time, input.end_time, stat.period)?;
    Ok(points.iter().filter_map(|point| Some((point.at, statistic.of(point)?))).collect())
}

fn shape(query: &MetricDataQuery, points: Vec<(Timestamp, f64)>) -> MetricDataResult {
    let metric = query.metric_stat.as_ref().and_then(|stat| stat.metric.metric_name.clone());
    let (timestamps, values) = points.into_iter().unzip();
    MetricDataResult {
        id: Some(query.id.clone()),
        label: query.label.clone().or(metric),
        timestamps: Some(timestamps),
        values: Some(values),
        status_code: Some("Complete".into()),
        messages: None,
    }
}

fn get_metric_statistics(
    cx: &mut Context,
    input: GetMetricStatisticsInput,
) -> Result<GetMetricStatisticsOutput, ApiError> {
    check_range(input.start_time, input.end_time)?;
    let (plain, extended) =
        (input.statistics.unwrap_or_default(), input.extended_statistics.unwrap_or_default());
    if plain.is_empty() == extended.is_empty() {
        let message = "Exactly one of the parameters Statistics and ExtendedStatistics must be specified.";
        return Err(ApiError::client("InvalidParameterCombination", message));
    }
    let extended = extended.into_iter().map(|name| Ok((Statistic::parse(&name)?, name)));
    let extended = extended.collect::<Result<Vec<_>, ApiError>>()?;
    let key = MetricKey {
        namespace: input.namespace,
        name: input.metric_name.clone(),
        dimensions: super::dimensions(input.dimensions)?,
    };
    let points = periods(cx, &key, input.start_time, input.end_time, input.period)?;
    if points.len() > MAX_STATISTICS {
        let message = format!(
            "You have requested up to {} datapoints, which exceeds the limit of {MAX_STATISTICS}.",
            points.len()
        );
        return Err(ApiError::client("InvalidParameterCombination", message));
    }
    let datapoint = |point: &MetricPoint| {
        let asked = |name: &str, statistic: Statistic| {
            plain.iter().any(|asked| asked == name).then(|| statistic.of(point)).flatten()
        };
        let extended =
            extended.iter().filter_map(|(stat, name)| Some((name.clone(), stat.of(point)?))).collect();
        Datapoint {
            timestamp: Some(point.at),
            sample_count: asked("SampleCount", Statistic::SampleCount),
            average: asked("Average", Statistic::Average),
            sum: asked("Sum", Statistic::Sum),
            minimum: asked("Minimum", Statistic::Minimum),
            maximum: asked("Maximum", Statistic::Maximum),
            unit: None,
            extended_statistics: plain.is_empty().then_some(extended),
        }
    };
    let datapoints = points.iter().map(datapoint).collect();
    Ok(GetMetricStatisticsOutput { label: Some(input.metric_name), datapoints: Some(datapoints) })
}

fn check_range(start: Timestamp, end: Timestamp) -> Result<(), ApiError> {
    if start >= end {
        return Err(ApiError::client(
            "ValidationError",
            "The parameter StartTime must be less than the parameter EndTime.",
        ));
    }
    Ok(())
}

/// The points of a metric, brought together in periods of `period` seconds; periods without samples are absent.
fn periods(
    cx: &Context,
    key: &MetricKey,
    start: Timestamp,
    end: Timestamp,
    period: i64,
) -> Result<Vec<MetricPoint>, ApiError> {
    if period < 60 || period % 60 != 0 {
        let message =
            "The value for parameter Period must be a multiple of 60 (Pileus keeps points of one minute).";
        return Err(invalid(message));
    }
    let period = Duration::from_secs(period as u64);
    let mut periods: Vec<MetricPoint> = Vec::new();
    for mut point in cx.bulk.metrics.read(cx.scope(), key, start.truncate(period), end) {
        point.at = point.at.truncate(period);
        match periods.last_mut() {
            Some(last) if last.at == point.at => last.merge(&point),
            _ => periods.push(point),
        }
    }
    Ok(periods)
}

fn list_metrics(cx: &mut Context, input: ListMetricsInput) -> Result<ListMetricsOutput, ApiError> {
    if input.recently_active.is_some() {
        return Err(ApiError::not_implemented("cloudwatch:ListMetrics with RecentlyActive"));
    }
    let filters = input.dimensions.unwrap_or_default();
    let wanted = |key: &MetricKey| {
        input.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
            && input.metric_name.as_ref().is_none_or(|name| *name == key.name)
            && filters.iter().all(|filter| {
                let value = key.dimensions.get(&filter.name);
                value.is_some_and(|value| filter.value.as_ref().is_none_or(|wanted| wanted == value))
            })
    };
    let mut keys = cx.bulk.metrics.list(cx.scope());
    keys.retain(wanted);
    let text = |key: &MetricKey| format!("{}\0{}\0{:?}", key.namespace, key.name, key.dimensions);
    keys.sort_by_cached_key(text);
    let invalid_token = || ApiError::client("InvalidParameterValue", "The next token specified is invalid.");
    let (page, next_token) = paginate(keys, text, input.next_token.as_deref(), LIST_PAGE, invalid_token)?;
    let metric = |key: MetricKey| Metric {
        namespace: Some(key.namespace),
        metric_name: Some(key.name),
        dimensions: Some(key.dimensions.into_iter().map(|(name, value)| Dimension { name, value }).collect()),
    };
    Ok(ListMetricsOutput {
        metrics: Some(page.into_iter().map(metric).collect()),
        next_token,
        owning_accounts: None,
    })
}

#[cfg(test)]
mod tests {
    use pileus_aws::cloudwatch::{MetricDatum, MetricStat, PutMetricDataInput};
    use pileus_kit::Cloud;

    use super::*;

    fn cloud() -> Cloud {
        let mut cloud = Cloud::new(crate::tables, crate::operations);
        let start = cloud.now.truncate(Duration::from_secs(300));
        let datum = |minute: u64, value: f64| MetricDatum {
            metric_name: "Depth".into(),
            dimensions: Some(vec![Dimension { name: "Queue".into(), value: "a".into() }]),
            timestamp: Some(start + Duration::from_secs(minute * 60 + 7)),
            value: Some(value),
            ..Default::default()
        };
        let data = vec![datum(0, 1.0), datum(0, 3.0), datum(1, 5.0), datum(6, 7.0)];
        let input = PutMetricDataInput { namespace: "App".into(), metric_data: Some(data) };
        cloud.ok::<ops::PutMetricData>(input);
        cloud
    }

    fn query(cloud: &Cloud, stat: &str, period: i64) -> GetMetricDataInput {
        let start = cloud.now.truncate(Duration::from_secs(300));
        let metric = Metric {
            namespace: Some("App".into()),
            metric_name: Some("Depth".into()),
            dimensions: Some(vec![Dimension { name: "Queue".into(), value: "a".into() }]),
        };
        let metric_stat = Some(MetricStat { metric, period, stat: stat.into() });
        GetMetricDataInput {
            metric_data_queries: vec![MetricDataQuery { id: "q".into(), metric_stat, ..Default::default() }],
            start_time: start,
            end_time: start + Duration::from_secs(3600),
            scan_by: Some("TimestampAscending".into()),
            ..Default::default()
        }
    }

    #[test]
    fn samples_come_together_in_periods() {
        let mut cloud = cloud();
        for (stat, period, expected) in [
            ("Average", 60, vec![2.0, 5.0, 7.0]),
            ("Sum", 300, vec![9.0, 7.0]),
            ("p50", 300, vec![3.0, 7.0]),
            ("SampleCount", 300, vec![3.0, 1.0]),
        ] {
            let input = query(&cloud, stat, period);
            let results = cloud.ok::<ops::GetMetricData>(input).metric_data_results.expect("results");
            assert_eq!(results[0].values.as_deref(), Some(&expected[..]), "{stat} by {period}");
        }
        let input = GetMetricDataInput { scan_by: None, ..query(&cloud, "Sum", 60) };
        let results = cloud.ok::<ops::GetMetricData>(input).metric_data_results.expect("results");
        assert_eq!(results[0].values, Some(vec![7.0, 5.0, 4.0]), "newest first by default");
    }

    #[test]
    fn what_cannot_be_answered_is_named() {
        let mut cloud = cloud();
        let mut math = query(&cloud, "Sum", 60);
        math.metric_data_queries[0].expression = Some("m1*2".into());
        assert_eq!(cloud.code::<ops::GetMetricData>(math), "UnsupportedOperation");
        let fine = query(&cloud, "Sum", 10);
        assert_eq!(cloud.code::<ops::GetMetricData>(fine), "InvalidParameterValue");
        let input = query(&cloud, "Sum", 60);
        let backwards = GetMetricDataInput { end_time: input.start_time, ..input };
        assert_eq!(cloud.code::<ops::GetMetricData>(backwards), "ValidationError");
        for ids in [&["Q"][..], &["1"], &["q-1"], &["q", "q"]] {
            let mut input = query(&cloud, "Sum", 60);
            let metric = input.metric_data_queries.remove(0);
            let named = |id: &&str| MetricDataQuery { id: (*id).into(), ..metric.clone() };
            input.metric_data_queries = ids.iter().map(named).collect();
            assert_eq!(cloud.code::<ops::GetMetricData>(input), "ValidationError", "{ids:?}");
        }
    }

    #[test]
    fn lists_by_namespace_and_dimension() {
        let mut cloud = cloud();
        let listed = cloud.ok::<ops::ListMetrics>(ListMetricsInput::default()).metrics.expect("a list");
        assert_eq!(listed.len(), 1);
        let other = ListMetricsInput { namespace: Some("AWS/ECS".into()), ..Default::default() };
        assert_eq!(cloud.ok::<ops::ListMetrics>(other).metrics, Some(vec![]));
    }
}
