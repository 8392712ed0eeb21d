//! Putting metrics and reading them back, by each of the reading operations.

use std::time::Duration;

use pileus_aws::cloudwatch::{
    Dimension, DimensionFilter, GetMetricStatisticsInput, LabelOptions, ListMetricsInput, Metric,
    MetricDataQuery, MetricDatum, MetricStat, PutMetricDataInput, StatisticSet,
};
use pileus_kit::Cloud;

use super::*;

fn start(cloud: &Cloud) -> Timestamp {
    cloud.now.truncate(Duration::from_secs(300))
}

fn put(cloud: &mut Cloud, data: Vec<MetricDatum>) {
    let input = PutMetricDataInput { namespace: "App".into(), metric_data: Some(data) };
    cloud.ok::<ops::PutMetricData>(input);
}

fn datum(cloud: &Cloud, second: u64, value: f64) -> MetricDatum {
    MetricDatum {
        metric_name: "Depth".into(),
        dimensions: Some(vec![Dimension { name: "Queue".into(), value: "a".into() }]),
        timestamp: Some(start(cloud) + Duration::from_secs(second)),
        value: Some(value),
        unit: Some("Count".into()),
        ..Default::default()
    }
}

fn cloud() -> Cloud {
    let mut cloud = Cloud::new(crate::tables, crate::operations);
    let data =
        [(7, 1.0), (8, 3.0), (67, 5.0), (367, 7.0)].map(|(second, value)| datum(&cloud, second, value));
    put(&mut cloud, data.into());
    cloud
}

fn metric_query(id: &str, stat: &str, period: i64) -> MetricDataQuery {
    let metric = Metric {
        namespace: Some("App".into()),
        metric_name: Some("Depth".into()),
        dimensions: Some(vec![Dimension { name: "Queue".into(), value: "a".into() }]),
    };
    let metric_stat = Some(MetricStat { metric, period, stat: stat.into(), unit: None });
    MetricDataQuery { id: id.into(), metric_stat, ..Default::default() }
}

fn math(id: &str, expression: &str) -> MetricDataQuery {
    MetricDataQuery { id: id.into(), expression: Some(expression.into()), ..Default::default() }
}

fn input(cloud: &Cloud, queries: Vec<MetricDataQuery>) -> GetMetricDataInput {
    GetMetricDataInput {
        metric_data_queries: queries,
        start_time: start(cloud),
        end_time: start(cloud) + Duration::from_secs(600),
        scan_by: Some("TimestampAscending".into()),
        ..Default::default()
    }
}

fn query(cloud: &Cloud, stat: &str, period: i64) -> GetMetricDataInput {
    input(cloud, vec![metric_query("q", stat, period)])
}

fn values(output: GetMetricDataOutput) -> Vec<Vec<f64>> {
    output.metric_data_results.into_iter().flatten().filter_map(|result| result.values).collect()
}

#[test]
fn samples_come_together_in_periods() {
    let mut cloud = cloud();
    for (stat, period, expected) in [
        ("Average", 60, vec![2.0, 5.0, 7.0]),
        ("Sum", 300, vec![9.0, 7.0]),
        ("p50", 300, vec![3.0, 7.0]),
        ("tm50", 300, vec![5.0 / 3.0, 7.0]),
        ("SampleCount", 300, vec![3.0, 1.0]),
    ] {
        let input = query(&cloud, stat, period);
        assert_eq!(values(cloud.ok::<ops::GetMetricData>(input)), [expected], "{stat} by {period}");
    }
    let input = GetMetricDataInput { scan_by: None, ..query(&cloud, "Sum", 60) };
    assert_eq!(values(cloud.ok::<ops::GetMetricData>(input)), [[7.0, 5.0, 4.0]], "newest first by default");
}

#[test]
fn high_resolution_is_kept() {
    let mut cloud = cloud();
    let fine = [(121, 1.0), (125, 2.0), (131, 4.0)].map(|(second, value)| MetricDatum {
        metric_name: "Fine".into(),
        dimensions: None,
        storage_resolution: Some(1),
        ..datum(&cloud, second, value)
    });
    put(&mut cloud, fine.into());
    for (period, expected) in [(1, vec![1.0, 2.0, 4.0]), (10, vec![3.0, 4.0]), (60, vec![7.0])] {
        let mut input = query(&cloud, "Sum", period);
        let stat = input.metric_data_queries[0].metric_stat.as_mut().expect("a metric");
        (stat.metric.metric_name, stat.metric.dimensions) = (Some("Fine".into()), None);
        assert_eq!(values(cloud.ok::<ops::GetMetricData>(input)), [expected], "by {period}");
    }
}

#[test]
fn expressions_see_queries_and_each_other() {
    let mut cloud = cloud();
    let hidden = MetricDataQuery { return_data: Some(false), ..metric_query("m1", "Sum", 60) };
    let queries = vec![math("twice", "once * 2"), math("once", "m1 + 1"), hidden];
    let output = cloud.ok::<ops::GetMetricData>(input(&cloud, queries));
    assert_eq!(values(output), [[10.0, 12.0, 16.0], [5.0, 6.0, 8.0]]);
    let array = vec![
        metric_query("m1", "Sum", 300),
        MetricDataQuery { label: Some("All".into()), ..math("e", "METRICS()") },
    ];
    let output = cloud.ok::<ops::GetMetricData>(input(&cloud, array));
    let labels: Vec<_> =
        output.metric_data_results.into_iter().flatten().filter_map(|result| result.label).collect();
    assert_eq!(labels, ["Depth", "All Depth"]);
}

#[test]
fn pages_join_up() {
    let mut cloud = cloud();
    let queries = vec![metric_query("a", "Sum", 60), math("b", "a * 10")];
    let (mut joined, mut next_token, mut pages) = (Vec::new(), None, 0);
    loop {
        let page =
            GetMetricDataInput { max_datapoints: Some(2), next_token, ..input(&cloud, queries.clone()) };
        let output = cloud.ok::<ops::GetMetricData>(page);
        next_token = output.next_token.clone();
        joined.extend(values(output).concat());
        pages += 1;
        if next_token.is_none() {
            break;
        }
    }
    assert_eq!((joined, pages), (vec![4.0, 5.0, 7.0, 40.0, 50.0, 70.0], 3));
    let bad = GetMetricDataInput { next_token: Some("x".into()), ..query(&cloud, "Sum", 60) };
    assert_eq!(cloud.code::<ops::GetMetricData>(bad), "InvalidNextToken");
}

#[test]
fn labels_show_figures() {
    let mut cloud = cloud();
    let label = "${PROP('Dim.Queue')}: ${MAX} at ${MAX_TIME}, ${PROP('Stat')} of ${LABEL}";
    let labelled = MetricDataQuery { label: Some(label.into()), ..metric_query("q", "Sum", 60) };
    let zone = Some(LabelOptions { timezone: Some("+0100".into()) });
    let input = GetMetricDataInput { label_options: zone, ..input(&cloud, vec![labelled]) };
    let output = cloud.ok::<ops::GetMetricData>(input);
    let at = start(&cloud) + Duration::from_secs(360 + 3600);
    let expected = format!("a: 7 at {}, Sum of Depth", at.format("%Y-%m-%d %H:%M:%S"));
    assert_eq!(output.metric_data_results.expect("results")[0].label, Some(expected));
}

#[test]
fn what_cannot_be_answered_is_named() {
    let mut cloud = cloud();
    for (queries, code) in [
        (vec![math("e", "SEARCH('x', 'Sum', 60)")], "UnsupportedOperation"),
        (vec![math("e", "m1 * 2")], "ValidationError"),
        (vec![math("e", "e + 1")], "ValidationError"),
        (vec![math("e", "1 + 1")], "ValidationError"),
        (vec![metric_query("q", "Sum", 45)], "ValidationError"),
        (vec![metric_query("q", "Most", 60)], "ValidationError"),
        (vec![metric_query("Q", "Sum", 60)], "ValidationError"),
        (vec![metric_query("q-1", "Sum", 60)], "ValidationError"),
        (vec![metric_query("q", "Sum", 60), metric_query("q", "Sum", 60)], "ValidationError"),
    ] {
        let input = input(&cloud, queries.clone());
        assert_eq!(cloud.code::<ops::GetMetricData>(input), code, "{queries:?}");
    }
    let input = query(&cloud, "Sum", 60);
    let backwards = GetMetricDataInput { end_time: input.start_time, ..input };
    assert_eq!(cloud.code::<ops::GetMetricData>(backwards), "ValidationError");
}

#[test]
fn statistics_tell_units_apart() {
    let mut cloud = cloud();
    let seconds = MetricDatum { unit: Some("Seconds".into()), ..datum(&cloud, 7, 100.0) };
    put(&mut cloud, vec![seconds]);
    let input = |unit: Option<&str>, cloud: &Cloud| GetMetricStatisticsInput {
        namespace: "App".into(),
        metric_name: "Depth".into(),
        dimensions: Some(vec![Dimension { name: "Queue".into(), value: "a".into() }]),
        start_time: start(cloud),
        end_time: start(cloud) + Duration::from_secs(60),
        period: 60,
        statistics: Some(vec!["Sum".into(), "Maximum".into()]),
        extended_statistics: Some(vec!["p100".into()]),
        unit: unit.map(str::to_owned),
    };
    let all = cloud.ok::<ops::GetMetricStatistics>(input(None, &cloud)).datapoints.expect("a list");
    let units: Vec<_> = all.iter().map(|point| (point.unit.as_deref(), point.sum)).collect();
    assert_eq!(units, [(Some("Count"), Some(4.0)), (Some("Seconds"), Some(100.0))]);
    let some = cloud.ok::<ops::GetMetricStatistics>(input(Some("Count"), &cloud)).datapoints.expect("a list");
    assert_eq!((some.len(), some[0].maximum, some[0].average), (1, Some(3.0), None));
    assert_eq!(some[0].extended_statistics.as_ref().and_then(|values| values.get("p100")), Some(&3.0));
    let long = GetMetricStatisticsInput {
        end_time: cloud.now + Duration::from_secs(86_400 * 2),
        ..input(None, &cloud)
    };
    assert_eq!(cloud.code::<ops::GetMetricStatistics>(long), "InvalidParameterCombination");
}

#[test]
fn data_that_is_no_data_is_refused() {
    let mut cloud = cloud();
    let base = datum(&cloud, 7, 1.0);
    let set = |min, max| Some(StatisticSet { sample_count: 2.0, sum: 3.0, minimum: min, maximum: max });
    for (datum, code) in [
        (MetricDatum { value: None, ..base.clone() }, "MissingParameter"),
        (MetricDatum { statistic_values: set(1.0, 2.0), ..base.clone() }, "InvalidParameterCombination"),
        (
            MetricDatum { value: None, statistic_values: set(3.0, 2.0), ..base.clone() },
            "InvalidParameterValue",
        ),
        (MetricDatum { value: Some(f64::NAN), ..base.clone() }, "InvalidParameterValue"),
        (MetricDatum { storage_resolution: Some(5), ..base.clone() }, "InvalidParameterValue"),
        (
            MetricDatum {
                value: None,
                values: Some(vec![1.0]),
                counts: Some(vec![1.0, 2.0]),
                ..base.clone()
            },
            "InvalidParameterValue",
        ),
        (
            MetricDatum { timestamp: Some(cloud.now + Duration::from_secs(3 * 3600)), ..base.clone() },
            "InvalidParameterValue",
        ),
    ] {
        let input = PutMetricDataInput { namespace: "App".into(), metric_data: Some(vec![datum.clone()]) };
        assert_eq!(cloud.code::<ops::PutMetricData>(input), code, "{datum:?}");
    }
    let input = PutMetricDataInput { namespace: "AWS/ECS".into(), metric_data: Some(vec![base]) };
    assert_eq!(cloud.code::<ops::PutMetricData>(input), "InvalidParameterValue");
}

#[test]
fn lists_by_namespace_dimension_and_activity() {
    let mut cloud = cloud();
    let count = |cloud: &mut Cloud, input: ListMetricsInput| {
        cloud.ok::<ops::ListMetrics>(input).metrics.expect("a list").len()
    };
    assert_eq!(count(&mut cloud, ListMetricsInput::default()), 1);
    let other = ListMetricsInput { namespace: Some("AWS/ECS".into()), ..Default::default() };
    assert_eq!(count(&mut cloud, other), 0);
    let filter = DimensionFilter { name: "Queue".into(), value: Some("b".into()) };
    let other = ListMetricsInput { dimensions: Some(vec![filter]), ..Default::default() };
    assert_eq!(count(&mut cloud, other), 0);
    cloud.advance(Duration::from_secs(4 * 3600));
    let active = ListMetricsInput { recently_active: Some("PT3H".into()), ..Default::default() };
    assert_eq!(count(&mut cloud, active), 0);
    assert_eq!(count(&mut cloud, ListMetricsInput::default()), 1);
    cloud.advance(Duration::from_secs(15 * 86_400));
    assert_eq!(count(&mut cloud, ListMetricsInput::default()), 0);
}
