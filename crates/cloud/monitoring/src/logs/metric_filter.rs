//! Metric filters: log events that match a pattern become points of a metric, as they are ingested.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/MonitoringLogData.html>

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pileus_aws::logs::{
    DeleteMetricFilterRequest, DescribeMetricFiltersRequest, DescribeMetricFiltersResponse,
    DescribeSubscriptionFiltersRequest, DescribeSubscriptionFiltersResponse,
    MetricFilter as MetricFilterShape, MetricFilterMatchRecord, MetricTransformation, PutMetricFilterRequest,
    TestMetricFilterRequest, TestMetricFilterResponse, ops,
};
use pileus_contract::{LogEvent, Measurement, MetricKey, MetricPoint};
use pileus_core::{ApiError, Timestamp, paginate};
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use super::pattern::{Match, Pattern};
use super::{group, invalid, invalid_token};

const MINUTE: Duration = Duration::from_secs(60);
const MAX_FILTERS: usize = 100;
const MAX_DIMENSIONS: usize = 3;
/// Values of dimensions that one batch of events may make: each combination is a metric of its own.
const MAX_METRICS: usize = 1000;

/// A metric filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricFilter {
    pub group: String,
    pub name: String,
    pub pattern: String,
    pub transformation: MetricTransformation,
    pub created: Timestamp,
}

impl Record for MetricFilter {
    const KIND: &'static str = "logs/metric-filter";

    fn key(&self) -> String {
        format!("{}:{}", self.group, self.name)
    }
}

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::PutMetricFilter>(put_metric_filter)
        .on::<ops::DescribeMetricFilters>(describe_metric_filters)
        .on::<ops::DeleteMetricFilter>(delete_metric_filter)
        .on::<ops::TestMetricFilter>(test_metric_filter)
        .on::<ops::DescribeSubscriptionFilters>(describe_subscription_filters);
}

/// The filters of a group.
pub(super) fn of_group(tx: &Tx, group: &str) -> Vec<Arc<MetricFilter>> {
    let mut filters = tx.list::<MetricFilter>();
    filters.retain(|filter| filter.group == group);
    filters
}

fn put_metric_filter(cx: &mut Context, input: PutMetricFilterRequest) -> Result<Unit, ApiError> {
    let group = group::find(cx.tx, &input.log_group_name)?.name;
    let mut transformations = input.metric_transformations.into_iter();
    let (Some(transformation), None) = (transformations.next(), transformations.next()) else {
        return Err(invalid("A metric filter has exactly one metric transformation."));
    };
    check(&Pattern::parse(&input.filter_pattern)?, &transformation)?;
    let (name, pattern) = (input.filter_name, input.filter_pattern);
    let filter = MetricFilter { group, name, pattern, transformation, created: cx.now };
    let known = cx.tx.get::<MetricFilter>(&filter.key());
    if known.is_none() && of_group(cx.tx, &filter.group).len() >= MAX_FILTERS {
        return Err(ApiError::client("LimitExceededException", "Resource limit exceeded."));
    }
    let created = known.map_or(filter.created, |known| known.created);
    cx.tx.put(MetricFilter { created, ..filter });
    Ok(Unit::default())
}

fn check(pattern: &Pattern, transformation: &MetricTransformation) -> Result<(), ApiError> {
    let value = &transformation.metric_value;
    let known = if value.starts_with('$') {
        pattern.knows(value)
    } else {
        value.parse::<f64>().is_ok_and(f64::is_finite)
    };
    if !known {
        return Err(invalid(format!(
            "Invalid metric transformation: the value {value} is neither a number nor of the pattern."
        )));
    }
    let dimensions = transformation.dimensions.clone().unwrap_or_default();
    if !dimensions.is_empty() && transformation.default_value.is_some() {
        return Err(invalid(
            "Invalid metric transformation: dimensions and default value are mutually exclusive properties.",
        ));
    }
    if dimensions.len() > MAX_DIMENSIONS {
        return Err(invalid(format!(
            "Invalid metric transformation: there can be at most {MAX_DIMENSIONS} dimensions."
        )));
    }
    match dimensions.values().find(|selector| !pattern.knows(selector)) {
        Some(selector) => {
            Err(invalid(format!("Invalid metric transformation: the pattern does not know {selector}.")))
        }
        None => Ok(()),
    }
}

fn describe_metric_filters(
    cx: &mut Context,
    input: DescribeMetricFiltersRequest,
) -> Result<DescribeMetricFiltersResponse, ApiError> {
    if input.metric_name.is_some() != input.metric_namespace.is_some() {
        return Err(invalid("metricName and metricNamespace must be given together."));
    }
    if let Some(name) = &input.log_group_name {
        group::find(cx.tx, name)?;
    }
    let mut filters = cx.tx.list::<MetricFilter>();
    filters.retain(|filter| {
        input.log_group_name.as_ref().is_none_or(|group| *group == filter.group)
            && input.filter_name_prefix.as_ref().is_none_or(|prefix| filter.name.starts_with(prefix))
            && input.metric_name.as_ref().is_none_or(|name| *name == filter.transformation.metric_name)
            && input
                .metric_namespace
                .as_ref()
                .is_none_or(|name| *name == filter.transformation.metric_namespace)
    });
    let limit = input.limit.unwrap_or(50) as usize;
    let key = |filter: &Arc<MetricFilter>| filter.key();
    let (page, next_token) = paginate(filters, key, input.next_token.as_deref(), limit, invalid_token)?;
    let shape = |filter: &Arc<MetricFilter>| MetricFilterShape {
        filter_name: Some(filter.name.clone()),
        filter_pattern: Some(filter.pattern.clone()),
        metric_transformations: Some(vec![filter.transformation.clone()]),
        creation_time: Some(filter.created.millis()),
        log_group_name: Some(filter.group.clone()),
        ..Default::default()
    };
    Ok(DescribeMetricFiltersResponse { metric_filters: Some(page.iter().map(shape).collect()), next_token })
}

fn delete_metric_filter(cx: &mut Context, input: DeleteMetricFilterRequest) -> Result<Unit, ApiError> {
    group::find(cx.tx, &input.log_group_name)?;
    let key = format!("{}:{}", input.log_group_name, input.filter_name);
    let deleted = cx.tx.delete::<MetricFilter>(&key);
    let missing =
        || ApiError::client("ResourceNotFoundException", "The specified metric filter does not exist.");
    deleted.map(|_| Unit::default()).ok_or_else(missing)
}

fn test_metric_filter(
    _: &mut Context,
    input: TestMetricFilterRequest,
) -> Result<TestMetricFilterResponse, ApiError> {
    let pattern = Pattern::parse(&input.filter_pattern)?;
    let record = |(number, message): (i64, String)| {
        let found = pattern.find(&message)?;
        Some(MetricFilterMatchRecord {
            event_number: Some(number),
            extracted_values: Some(pattern.extracted(&found)),
            event_message: Some(message),
        })
    };
    let matches = (1..).zip(input.log_event_messages).filter_map(record).collect();
    Ok(TestMetricFilterResponse { matches: Some(matches) })
}

/// There are none: nothing here could be a destination, so `PutSubscriptionFilter` is not implemented.
fn describe_subscription_filters(
    cx: &mut Context,
    input: DescribeSubscriptionFiltersRequest,
) -> Result<DescribeSubscriptionFiltersResponse, ApiError> {
    group::find(cx.tx, &input.log_group_name)?;
    Ok(DescribeSubscriptionFiltersResponse { subscription_filters: Some(Vec::new()), next_token: None })
}

/// What events that a group has just taken in are as metrics, by the group's filters.
pub(super) fn measure(filters: &[Arc<MetricFilter>], events: &[LogEvent]) -> Vec<Measurement> {
    filters.iter().flat_map(|filter| of_filter(filter, events)).collect()
}

fn of_filter(filter: &MetricFilter, events: &[LogEvent]) -> Vec<Measurement> {
    // Only patterns that could be read are kept.
    let Ok(pattern) = Pattern::parse(&filter.pattern) else { return Vec::new() };
    let mut points: BTreeMap<(Timestamp, BTreeMap<String, String>), MetricPoint> = BTreeMap::new();
    for event in events {
        let at = event.timestamp.truncate(MINUTE);
        let matched = pattern.find(&event.message).and_then(|found| value(&filter.transformation, &found));
        if let Some((value, dimensions)) = matched {
            let known = points.len() < MAX_METRICS || points.contains_key(&(at, dimensions.clone()));
            let sample = MetricPoint::sample(at, value);
            if known {
                points.entry((at, dimensions)).and_modify(|point| point.merge(&sample)).or_insert(sample);
            }
        }
    }
    // A minute with events of which none matched has the default value.
    if let Some(default) = filter.transformation.default_value {
        for at in events.iter().map(|event| event.timestamp.truncate(MINUTE)) {
            points.entry((at, BTreeMap::new())).or_insert_with(|| MetricPoint::sample(at, default));
        }
    }
    let transformation = &filter.transformation;
    let measurement = |((_, dimensions), point)| Measurement {
        key: MetricKey {
            namespace: transformation.metric_namespace.clone(),
            name: transformation.metric_name.clone(),
            dimensions,
        },
        unit: transformation.unit.clone().unwrap_or_else(|| "None".into()),
        point,
    };
    points.into_iter().map(measurement).collect()
}

/// The value and dimensions that a matching event has; none where its value is no number or it lacks a dimension.
fn value(transformation: &MetricTransformation, found: &Match) -> Option<(f64, BTreeMap<String, String>)> {
    let text = &transformation.metric_value;
    let number = if text.starts_with('$') { found.value(text)?.parse() } else { text.parse() };
    let number = number.ok().filter(|number: &f64| number.is_finite())?;
    let dimensions = transformation.dimensions.iter().flatten();
    let dimensions = dimensions.map(|(name, selector)| {
        let value = found.value(selector)?;
        (!value.is_empty() && value.len() <= 1024).then(|| (name.clone(), value))
    });
    Some((number, dimensions.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use pileus_aws::logs::{
        CreateLogGroupRequest, CreateLogStreamRequest, DeleteLogGroupRequest, InputLogEvent,
        PutLogEventsRequest,
    };
    use pileus_kit::Cloud;

    use super::*;

    fn cloud() -> Cloud {
        let mut cloud = Cloud::new(crate::tables, crate::operations);
        let group = CreateLogGroupRequest { log_group_name: "g".into(), ..Default::default() };
        cloud.ok::<ops::CreateLogGroup>(group);
        let stream = CreateLogStreamRequest { log_group_name: "g".into(), log_stream_name: "s".into() };
        cloud.ok::<ops::CreateLogStream>(stream);
        cloud
    }

    fn filter(name: &str, pattern: &str, value: &str) -> PutMetricFilterRequest {
        PutMetricFilterRequest {
            log_group_name: "g".into(),
            filter_name: name.into(),
            filter_pattern: pattern.into(),
            metric_transformations: vec![MetricTransformation {
                metric_name: name.into(),
                metric_namespace: "App".into(),
                metric_value: value.into(),
                ..Default::default()
            }],
        }
    }

    fn write(cloud: &mut Cloud, messages: &[&str]) {
        let timestamp = cloud.now.millis();
        let log_events =
            messages.iter().map(|message| InputLogEvent { timestamp, message: (*message).into() }).collect();
        let (log_group_name, log_stream_name) = ("g".into(), "s".into());
        let batch = PutLogEventsRequest { log_group_name, log_stream_name, log_events, ..Default::default() };
        cloud.ok::<ops::PutLogEvents>(batch);
    }

    fn points(cloud: &Cloud, name: &str) -> Vec<(BTreeMap<String, String>, f64, f64)> {
        let (from, to) = (cloud.now - Duration::from_secs(3600), cloud.now + Duration::from_secs(3600));
        let keys = cloud.bulk.metrics.list(&cloud.scope).into_iter().filter(|(key, _)| key.name == name);
        let points = keys.flat_map(|(key, _)| {
            let series = cloud.bulk.metrics.read(&cloud.scope, &key, from, to).expect("it can be read");
            let points = series.into_iter().flat_map(|series| series.points);
            points.map(|point| (key.dimensions.clone(), point.count, point.sum)).collect::<Vec<_>>()
        });
        points.collect()
    }

    #[test]
    fn events_become_points() {
        let mut cloud = cloud();
        cloud.ok::<ops::PutMetricFilter>(filter("Errors", "{ $.level = \"error\" }", "1"));
        let mut latency = filter("Latency", "{ $.ms = * }", "$.ms");
        latency.metric_transformations[0].dimensions =
            Some([("Route".to_owned(), "$.route".to_owned())].into());
        cloud.ok::<ops::PutMetricFilter>(latency);
        let mut ends = filter("Ends", "END", "1");
        ends.metric_transformations[0].default_value = Some(0.0);
        cloud.ok::<ops::PutMetricFilter>(ends);
        write(
            &mut cloud,
            &[
                r#"{"level":"error","ms":12,"route":"/a"}"#,
                r#"{"level":"info","ms":30,"route":"/a"}"#,
                r#"{"level":"error","ms":"slow","route":"/b"}"#,
                "plain",
            ],
        );
        assert_eq!(points(&cloud, "Errors"), [(BTreeMap::new(), 2.0, 2.0)]);
        let route = BTreeMap::from([("Route".to_owned(), "/a".to_owned())]);
        assert_eq!(points(&cloud, "Latency"), [(route, 2.0, 42.0)]);
        assert_eq!(points(&cloud, "Ends"), [(BTreeMap::new(), 1.0, 0.0)]);
    }

    #[test]
    fn a_filter_lives_from_put_to_delete() {
        let mut cloud = cloud();
        cloud.ok::<ops::PutMetricFilter>(filter("a", "ERROR", "1"));
        cloud.ok::<ops::PutMetricFilter>(filter("a", "WARN", "2"));
        let describe =
            DescribeMetricFiltersRequest { log_group_name: Some("g".into()), ..Default::default() };
        let filters = cloud.ok::<ops::DescribeMetricFilters>(describe).metric_filters.expect("a list");
        assert_eq!((filters.len(), filters[0].filter_pattern.as_deref()), (1, Some("WARN")));
        let delete = || DeleteMetricFilterRequest { log_group_name: "g".into(), filter_name: "a".into() };
        cloud.ok::<ops::DeleteMetricFilter>(delete());
        assert_eq!(cloud.code::<ops::DeleteMetricFilter>(delete()), "ResourceNotFoundException");
        cloud.ok::<ops::PutMetricFilter>(filter("a", "WARN", "2"));
        cloud.ok::<ops::DeleteLogGroup>(DeleteLogGroupRequest { log_group_name: "g".into() });
        assert_eq!(cloud.state.all::<MetricFilter>().count(), 0, "it goes with its group");
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let mut cloud = cloud();
        let mut both = filter("x", "[a, b]", "$a");
        both.metric_transformations[0].dimensions = Some([("B".to_owned(), "$b".to_owned())].into());
        both.metric_transformations[0].default_value = Some(0.0);
        for input in [
            filter("x", "{ $.a", "1"),
            filter("x", "ERROR", "$.a"),
            filter("x", "[a]", "$b"),
            filter("x", "a", "one"),
            both,
        ] {
            assert_eq!(
                cloud.code::<ops::PutMetricFilter>(input.clone()),
                "InvalidParameterException",
                "{input:?}"
            );
        }
        let missing = PutMetricFilterRequest { log_group_name: "h".into(), ..filter("x", "", "1") };
        assert_eq!(cloud.code::<ops::PutMetricFilter>(missing), "ResourceNotFoundException");
    }

    #[test]
    fn a_pattern_is_tried_out() {
        let mut cloud = cloud();
        let input = TestMetricFilterRequest {
            filter_pattern: "[ip, status = 4*]".into(),
            log_event_messages: vec!["10.0.0.1 200".into(), "10.0.0.2 404".into()],
        };
        let matches = cloud.ok::<ops::TestMetricFilter>(input).matches.expect("a list");
        assert_eq!((matches.len(), matches[0].event_number), (1, Some(2)));
        let values = matches[0].extracted_values.as_ref().expect("fields");
        assert_eq!(values.get("$status").map(String::as_str), Some("404"));
    }
}
