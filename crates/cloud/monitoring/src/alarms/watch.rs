//! Watching metrics: which alarms are due, what they find, and what becomes of it.
//!
//! Alarms with periods of a minute or more are evaluated every minute, those with shorter ones every ten seconds; the
//! window slides, so that a period of five minutes ends with the minute that has just passed.

use std::collections::BTreeSet;
use std::time::Duration;

use pileus_aws::cloudwatch::PutMetricAlarmInput;
use pileus_contract::{MetricKey, MetricStore};
use pileus_core::{ApiError, Scope, Timestamp};
use pileus_state::{State as Snapshot, Tx};

use super::evaluate::{Criteria, evaluate};
use super::state::{self, Change};
use super::{Alarm, Definition, StateValue, composite, history, reason};
use crate::metrics::{self, Point, Queries, Reader, Statistic, Window};

/// How long after a period's end its last points may come.
const LATE: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_secs(60);
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// What the evaluation of one alarm found.
#[derive(Clone, Debug)]
pub struct Verdict {
    scope: Scope,
    alarm: String,
    /// The configuration that was evaluated: a newer one makes the verdict void.
    configured: Timestamp,
    /// The state to be in, `None` to stay.
    change: Option<Change>,
}

fn period(input: &PutMetricAlarmInput) -> i64 {
    let of_metrics = || metrics::alarm_period(input.metrics.as_deref()?).ok();
    input.period.or_else(of_metrics).unwrap_or(60)
}

fn cadence(input: &PutMetricAlarmInput) -> Duration {
    if period(input) < 60 { TEN_SECONDS } else { MINUTE }
}

/// Metric alarms with how often they are evaluated.
fn metric_alarms(state: &Snapshot) -> impl Iterator<Item = (&Scope, std::sync::Arc<Alarm>, Duration)> {
    let alarms = state.all::<Alarm>();
    alarms.filter_map(|(scope, alarm)| {
        let cadence = cadence(alarm.metric()?);
        Some((scope, alarm, cadence))
    })
}

/// When the next alarm is due after `last`; none where there are no metric alarms.
pub fn next_due(state: &Snapshot, last: Timestamp) -> Option<Timestamp> {
    let next = |cadence| (last - LATE).truncate(cadence) + cadence + LATE;
    metric_alarms(state).map(|(.., cadence)| next(cadence)).min()
}

/// Evaluates the metric alarms that have come due since `last`.
///
/// # Errors
/// Metrics that could not be read.
pub fn evaluate_due(
    state: &Snapshot,
    store: &dyn MetricStore,
    last: Timestamp,
    now: Timestamp,
) -> Result<Vec<Verdict>, ApiError> {
    let end = |cadence| (now - LATE).truncate(cadence);
    let due = metric_alarms(state).filter(|(.., cadence)| end(*cadence) > (last - LATE).truncate(*cadence));
    let verdict = |(scope, alarm, cadence): (&Scope, std::sync::Arc<Alarm>, Duration)| {
        Ok(Verdict {
            scope: scope.clone(),
            alarm: alarm.name.clone(),
            configured: alarm.configured,
            change: change(&alarm, Reader { store, scope }, end(cadence), now)?,
        })
    };
    due.map(verdict).collect()
}

/// What an alarm's datapoints up to `end` call for.
fn change(alarm: &Alarm, reader: Reader, end: Timestamp, now: Timestamp) -> Result<Option<Change>, ApiError> {
    let Definition::Metric(input) = &alarm.definition else { return Ok(None) };
    let criteria = Criteria::of(input);
    let range = match range(input, &criteria, reader, end) {
        Ok(range) => range,
        // An expression that comes to nothing that can be watched; no other alarm should wait for it.
        Err(error) if error.status < 500 => return Ok(Some(unwatchable(&error))),
        Err(error) => return Err(error),
    };
    let finding = evaluate(&criteria, &range);
    Ok(finding.map(|finding| Change {
        value: finding.state,
        reason: reason::text(&criteria, &finding, alarm.state.value),
        reason_data: Some(reason::data(input, period(input), &finding, now)),
        datapoint: finding.real.first().map(|point| point.value),
    }))
}

/// The datapoints of an alarm's evaluation range up to `end`, oldest first, `None` where there is none.
fn range(
    input: &PutMetricAlarmInput,
    criteria: &Criteria,
    reader: Reader,
    end: Timestamp,
) -> Result<Vec<Option<Point>>, ApiError> {
    let period = period(input);
    let step = Duration::from_secs(u64::try_from(period).unwrap_or(60));
    let starts: Vec<Timestamp> = (1..=criteria.range()).rev().map(|age| end - step * age as u32).collect();
    let start = starts.first().copied().unwrap_or(end - step);
    let points = points(input, reader, &Window { start, end, origin: end }, period)?;
    Ok(starts.iter().map(|start| points.iter().find(|point| point.at == *start).copied()).collect())
}

/// The datapoints that an evaluation at `now` counts, oldest first: what a scaling policy scales by. None of a composite
/// alarm.
///
/// # Errors
/// Metrics that could not be read.
pub fn datapoints(
    store: &dyn MetricStore,
    scope: &Scope,
    alarm: &Alarm,
    now: Timestamp,
) -> Result<Vec<f64>, ApiError> {
    let Some(input) = alarm.metric() else { return Ok(Vec::new()) };
    let (criteria, end) = (Criteria::of(input), (now - LATE).truncate(cadence(input)));
    let range = range(input, &criteria, Reader { store, scope }, end)?;
    let real: Vec<f64> = range.into_iter().flatten().map(|point| point.value).collect();
    Ok(real[real.len().saturating_sub(criteria.periods)..].to_vec())
}

fn unwatchable(error: &ApiError) -> Change {
    Change {
        value: StateValue::InsufficientData,
        reason: format!("Insufficient Data: the alarm cannot be evaluated. {}", error.message),
        reason_data: None,
        datapoint: None,
    }
}

fn points(
    input: &PutMetricAlarmInput,
    reader: Reader,
    window: &Window,
    period: i64,
) -> Result<Vec<Point>, ApiError> {
    if let Some(queries) = &input.metrics {
        let account = Some(reader.scope.account.as_str());
        let points = Queries::new(queries, account)?.watched(reader, window)?;
        // How many samples stand behind the result of an expression cannot be said.
        let point = |(at, value)| Point { at, value, samples: f64::INFINITY };
        return Ok(points.into_iter().map(point).collect());
    }
    let statistic = input.statistic.as_ref().or(input.extended_statistic.as_ref());
    let key = MetricKey {
        namespace: input.namespace.clone().unwrap_or_default(),
        name: input.metric_name.clone().unwrap_or_default(),
        dimensions: metrics::dimensions(input.dimensions.clone())?,
    };
    let statistic = Statistic::parse(statistic.map_or("Average", String::as_str))?;
    reader.values(&key, input.unit.as_deref(), statistic, window, period)
}

/// Brings alarms into the states that were found, queues their actions, and settles the composite alarms above them.
pub fn apply(tx: &mut Tx, verdicts: &[Verdict], now: Timestamp) {
    for verdict in verdicts {
        let Some(change) = &verdict.change else { continue };
        tx.within(verdict.scope.clone(), |tx| match tx.get::<Alarm>(&verdict.alarm) {
            Some(alarm) if alarm.configured != verdict.configured => {}
            Some(alarm) if alarm.state.value == change.value => {
                state::repeat(tx, &alarm.name, change.datapoint, now);
            }
            Some(alarm) => state::enter(tx, &alarm.name, change.clone(), now),
            None => {}
        });
    }
}

/// Settles the composite alarms of every scope; returns when actions that are held back are next due.
pub fn settle(tx: &mut Tx, now: Timestamp) -> Option<Timestamp> {
    let wakes = scopes(tx).into_iter().filter_map(|scope| tx.within(scope, |tx| composite::settle(tx, now)));
    wakes.min()
}

/// Lets go of history that is no longer kept.
pub fn expire(tx: &mut Tx, now: Timestamp) {
    let scopes: BTreeSet<Scope> =
        tx.base().all::<history::History>().map(|(scope, _)| scope.clone()).collect();
    for scope in scopes {
        tx.within(scope, |tx| history::expire(tx, now));
    }
}

fn scopes(tx: &Tx) -> BTreeSet<Scope> {
    let alarms = tx.base().all::<Alarm>();
    let composites = alarms.filter(|(_, alarm)| matches!(alarm.definition, Definition::Composite(_)));
    composites.map(|(scope, _)| scope.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pileus_aws::cloudwatch::{Metric, MetricDatum, MetricStat};
    use pileus_aws::cloudwatch::{MetricDataQuery, PutMetricDataInput, SetAlarmStateInput, ops};
    use pileus_contract::{Measurement, MetricPoint};
    use pileus_kit::Cloud;

    use super::super::tests::{cloud, high};
    use super::super::{get, pending};
    use super::*;

    fn measure(cloud: &Cloud, value: f64) {
        let (namespace, name) = ("AWS/ECS".into(), "CPUUtilization".into());
        let key = MetricKey { namespace, name, dimensions: BTreeMap::new() };
        let point = MetricPoint::sample(cloud.now.truncate(MINUTE), value);
        let data = [Measurement { key, unit: "Percent".into(), point }];
        cloud.bulk.metrics.put(&cloud.scope, &data).expect("it is stored");
    }

    /// Lets the clock go on to when the next alarm is due, evaluates, and returns the state.
    fn pass(cloud: &mut Cloud, name: &str) -> StateValue {
        let last = cloud.now;
        cloud.now = next_due(&cloud.state, last).expect("there is an alarm");
        let verdicts =
            evaluate_due(&cloud.state, &*cloud.bulk.metrics, last, cloud.now).expect("they are read");
        cloud.write(|cx| apply(cx.tx, &verdicts, cx.now));
        cloud.write(|cx| settle(cx.tx, cx.now));
        cloud.write(|cx| get(cx.tx, name)).expect("it exists").state.value
    }

    /// CPU over 70 % for two minutes: the alarm goes off after the second, tells the policy each minute, and ends.
    #[test]
    fn the_reference_alarm() {
        let mut cloud = cloud();
        cloud.now = cloud.now.truncate(MINUTE) + Duration::from_secs(10);
        cloud.ok::<ops::PutMetricAlarm>(high("high"));
        let mut states = Vec::new();
        for value in [50.0, 80.0, 90.0, 95.0, 60.0] {
            measure(&cloud, value);
            states.push(pass(&mut cloud, "high"));
        }
        use StateValue::{Alarm, Ok};
        // The first datapoint alone is within the threshold, which two out of two cannot breach any more.
        assert_eq!(states, [Ok, Ok, Alarm, Alarm, Ok]);
        let told: Vec<_> = pending(&cloud.state)
            .iter()
            .filter(|(_, action)| action.is_scaling())
            .map(|(_, action)| (action.new, action.repeated, action.value))
            .collect();
        assert_eq!(told, [(Alarm, false, Some(90.0)), (Alarm, true, Some(95.0))]);
        let alarm = cloud.write(|cx| get(cx.tx, "high")).expect("it exists");
        assert!(
            alarm.state.reason.starts_with("Threshold Crossed: 1 out of the last 2 datapoints [60.0 ("),
            "{}",
            alarm.state.reason
        );
    }

    #[test]
    fn a_metric_that_ends_leaves_insufficient_data() {
        let mut cloud = cloud();
        cloud.now = cloud.now.truncate(MINUTE) + Duration::from_secs(10);
        cloud.ok::<ops::PutMetricAlarm>(high("high"));
        measure(&cloud, 1.0);
        let states: Vec<_> = (0..5).map(|_| pass(&mut cloud, "high")).collect();
        use StateValue::{InsufficientData, Ok};
        assert_eq!(
            states,
            [Ok, Ok, Ok, Ok, InsufficientData],
            "the range is two periods longer than the evaluation"
        );
    }

    #[test]
    fn a_state_set_by_hand_lasts_until_the_next_evaluation() {
        let mut cloud = cloud();
        cloud.now = cloud.now.truncate(MINUTE) + Duration::from_secs(10);
        cloud.ok::<ops::PutMetricAlarm>(high("high"));
        let input = SetAlarmStateInput {
            alarm_name: "high".into(),
            state_value: "ALARM".into(),
            state_reason: "test".into(),
            ..Default::default()
        };
        cloud.ok::<ops::SetAlarmState>(input);
        measure(&cloud, 1.0);
        assert_eq!(pass(&mut cloud, "high"), StateValue::Ok);
    }

    /// 20-second periods are evaluated every ten seconds; an expression is watched like a metric.
    #[test]
    fn high_resolution_and_metric_math() {
        let mut cloud = cloud();
        cloud.now = cloud.now.truncate(MINUTE) + Duration::from_secs(5);
        let metric =
            Metric { namespace: Some("App".into()), metric_name: Some("Errors".into()), dimensions: None };
        let stat = MetricStat { metric, period: 20, stat: "Sum".into(), unit: None };
        let queries = vec![
            MetricDataQuery {
                id: "m".into(),
                metric_stat: Some(stat),
                return_data: Some(false),
                ..Default::default()
            },
            MetricDataQuery { id: "e".into(), expression: Some("m * 10".into()), ..Default::default() },
        ];
        let input = PutMetricAlarmInput {
            namespace: None,
            metric_name: None,
            statistic: None,
            period: None,
            evaluation_periods: Some(1),
            metrics: Some(queries.clone()),
            ..high("math")
        };
        cloud.ok::<ops::PutMetricAlarm>(input.clone());
        let datum = MetricDatum {
            metric_name: "Errors".into(),
            value: Some(8.0),
            storage_resolution: Some(1),
            ..Default::default()
        };
        let data = PutMetricDataInput { namespace: "App".into(), metric_data: Some(vec![datum]) };
        cloud.ok::<ops::PutMetricData>(data);
        assert_eq!(pass(&mut cloud, "math"), StateValue::Alarm);
        assert_eq!(cloud.now, cloud.now.truncate(MINUTE) + Duration::from_secs(12));
        assert_eq!(pass(&mut cloud, "math"), StateValue::Alarm, "80 in the 20 seconds to :20");
        for (queries, code) in [
            (vec![queries[1].clone()], "ValidationError"),
            (vec![queries[0].clone()], "ValidationError"),
            (
                vec![MetricDataQuery { expression: Some("SEARCH('x')".into()), ..queries[1].clone() }],
                "UnsupportedOperation",
            ),
        ] {
            let input = PutMetricAlarmInput { metrics: Some(queries), ..input.clone() };
            assert_eq!(cloud.code::<ops::PutMetricAlarm>(input), code);
        }
    }
}
