//! The queries of `GetMetricData` and of alarms on metric math: metrics and expressions that name each other.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html>

use std::collections::BTreeMap;

use pileus_aws::cloudwatch::{MetricDataQuery, MetricStat};
use pileus_contract::MetricKey;
use pileus_core::{ApiError, Timestamp};

use super::math::{Parsed, Points, Refusal, Scope, Series, Value};
use super::{Reader, Statistic, Window, series, validation};

const MAX_QUERIES: usize = 500;
/// What an alarm may watch.
const MAX_ALARM_METRICS: usize = 10;

/// Queries that have been checked: every id is known, no expression needs itself.
#[derive(Debug)]
pub(crate) struct Queries {
    list: Vec<Query>,
    /// The order in which they can be evaluated.
    order: Vec<usize>,
}

#[derive(Debug)]
struct Query {
    id: String,
    label: Option<String>,
    returned: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    Metric { key: MetricKey, unit: Option<String>, statistic: Statistic, stat: String, period: i64 },
    Math(Parsed),
}

/// One time series of the answer to a query.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) label: String,
    pub(super) points: Points,
    pub(super) period: i64,
    /// The metric, for labels that show parts of it.
    pub(super) metric: Option<(MetricKey, String)>,
}

impl Queries {
    /// # Errors
    /// `account` may not be read, or a query is not one.
    pub(crate) fn new(queries: &[MetricDataQuery], account: Option<&str>) -> Result<Self, ApiError> {
        if queries.len() > MAX_QUERIES {
            return Err(validation(format!(
                "The collection MetricDataQueries must not have a size greater than {MAX_QUERIES}."
            )));
        }
        let list = queries.iter().enumerate().map(|(index, query)| Query::new(index, query, account));
        let list = list.collect::<Result<Vec<_>, _>>()?;
        let order = order(&list)?;
        Ok(Self { list, order })
    }

    /// Reads and computes everything that is to be returned, in the order of the queries.
    pub(super) fn answers(&self, reader: Reader, window: &Window) -> Result<Vec<Answer>, ApiError> {
        let values = self.values(reader, window)?;
        let mut answers = Vec::new();
        for query in self.list.iter().filter(|query| query.returned) {
            match values.values.get(query.id.as_str()) {
                Some(Value::Series(series)) => answers.push(query.answer(series.clone(), false)),
                Some(Value::Array(list)) => {
                    answers.extend(list.iter().map(|series| query.answer(series.clone(), true)));
                }
                Some(Value::Scalar(_)) => {
                    return Err(expression_error(
                        &query.id,
                        "it comes to a scalar; TIME_SERIES makes a time series of it",
                    ));
                }
                None => {}
            }
        }
        Ok(answers)
    }

    /// The values of the one query that an alarm watches.
    pub(crate) fn watched(
        &self,
        reader: Reader,
        window: &Window,
    ) -> Result<BTreeMap<Timestamp, f64>, ApiError> {
        Ok(self.answers(reader, window)?.into_iter().next().map(|answer| answer.points).unwrap_or_default())
    }

    fn values<'a>(&'a self, reader: Reader, window: &'a Window) -> Result<Values<'a>, ApiError> {
        let mut values = Values { queries: self, window, values: BTreeMap::new() };
        for index in &self.order {
            let query = &self.list[*index];
            let value = match &query.what {
                What::Metric { key, unit, statistic, period, .. } => {
                    let points = reader.values(key, unit.as_deref(), *statistic, window, *period)?;
                    let points = points.iter().map(|point| (point.at, point.value)).collect();
                    Value::Series(Series { label: query.label(""), period: *period, points })
                }
                What::Math(parsed) => {
                    parsed.value(&values).map_err(|problem| expression_error(&query.id, &problem))?
                }
            };
            values.values.insert(&query.id, value);
        }
        Ok(values)
    }

    fn metrics(&self) -> impl Iterator<Item = (&str, i64)> {
        self.list.iter().filter_map(|query| match &query.what {
            What::Metric { period, .. } => Some((query.id.as_str(), *period)),
            What::Math(_) => None,
        })
    }
}

/// Checks what an alarm watches and returns its period in seconds.
///
/// # Errors
/// What the alarm could not evaluate.
pub(crate) fn alarm_period(queries: &[MetricDataQuery]) -> Result<i64, ApiError> {
    let checked = Queries::new(queries, None)?;
    if checked.list.iter().filter(|query| query.returned).count() != 1 {
        return Err(validation("Exactly one element of the metrics list should return data."));
    }
    let periods: Vec<i64> = checked.metrics().map(|(_, period)| period).collect();
    if periods.len() > MAX_ALARM_METRICS {
        return Err(validation(format!("An alarm can watch at most {MAX_ALARM_METRICS} metrics.")));
    }
    match periods.first() {
        None => Err(validation("The metrics list has no metric, only expressions.")),
        Some(first) if periods.iter().any(|period| period != first) => {
            Err(validation("The metrics of an alarm must all have the same Period."))
        }
        Some(first) => Ok(*first),
    }
}

fn expression_error(id: &str, problem: &str) -> ApiError {
    validation(format!("Error in expression '{id}': {problem}"))
}

impl Query {
    fn new(index: usize, query: &MetricDataQuery, account: Option<&str>) -> Result<Self, ApiError> {
        let id = &query.id;
        let named = id.starts_with(|first: char| first.is_ascii_lowercase())
            && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !named {
            return Err(validation(format!(
                "The value {id} for parameter MetricDataQueries.member.{}.Id is not matching the expected pattern \
                 ^[a-z][a-zA-Z0-9_]*$.",
                index + 1
            )));
        }
        if query.account_id.as_deref().is_some_and(|other| Some(other) != account) {
            return Err(ApiError::not_implemented("metrics of other accounts (MetricDataQuery.AccountId)"));
        }
        let what = match (&query.metric_stat, &query.expression) {
            (Some(stat), None) => metric(id, stat)?,
            (None, Some(expression)) => {
                What::Math(Parsed::new(expression).map_err(|refusal| match refusal {
                    Refusal::Invalid(problem) => expression_error(id, &problem),
                    Refusal::Unsupported(what) => ApiError::not_implemented(what),
                })?)
            }
            _ => {
                return Err(validation(format!(
                    "The query {id} must have one of MetricStat and Expression."
                )));
            }
        };
        Ok(Self {
            id: id.clone(),
            label: query.label.clone(),
            returned: query.return_data.unwrap_or(true),
            what,
        })
    }

    /// What its answer is called; `member` is the label of one of several series.
    fn label(&self, member: &str) -> String {
        match (&self.label, &self.what) {
            (Some(label), _) if member.is_empty() => label.clone(),
            (Some(label), _) => format!("{label} {member}"),
            (None, What::Metric { key, .. }) => key.name.clone(),
            (None, What::Math(_)) if member.is_empty() => self.id.clone(),
            (None, What::Math(_)) => member.to_owned(),
        }
    }

    fn answer(&self, series: Series, member: bool) -> Answer {
        let label = self.label(if member { &series.label } else { "" });
        let metric = match &self.what {
            What::Metric { key, stat, .. } => Some((key.clone(), stat.clone())),
            What::Math(_) => None,
        };
        Answer { id: self.id.clone(), label, points: series.points, period: series.period, metric }
    }
}

fn metric(id: &str, stat: &MetricStat) -> Result<What, ApiError> {
    let name = |name: &Option<String>, what| {
        name.clone().ok_or_else(|| validation(format!("The query {id} has no Metric.{what}.")))
    };
    let key = MetricKey {
        namespace: name(&stat.metric.namespace, "Namespace")?,
        name: name(&stat.metric.metric_name, "MetricName")?,
        dimensions: super::dimensions(stat.metric.dimensions.clone())?,
    };
    series::check_period(stat.period)?;
    let (unit, period) = (stat.unit.clone(), stat.period);
    let statistic = Statistic::parse(&stat.stat).map_err(|error| validation(error.message))?;
    Ok(What::Metric { key, unit, statistic, stat: stat.stat.clone(), period })
}

/// Each query after those that it names.
fn order(list: &[Query]) -> Result<Vec<usize>, ApiError> {
    let mut index = BTreeMap::new();
    for (position, query) in list.iter().enumerate() {
        if index.insert(query.id.as_str(), position).is_some() {
            return Err(validation(format!(
                "The values for parameter id in MetricDataQueries are not unique: {}.",
                query.id
            )));
        }
    }
    let mut needs: Vec<Vec<usize>> = Vec::new();
    for query in list {
        let mut needed = Vec::new();
        if let What::Math(parsed) = &query.what {
            for id in parsed.ids() {
                let unknown = || expression_error(&query.id, &format!("unknown id {id}"));
                needed.push(*index.get(id).ok_or_else(unknown)?);
            }
            if parsed.takes_all() {
                needed
                    .extend((0..list.len()).filter(|other| matches!(list[*other].what, What::Metric { .. })));
            }
        }
        needs.push(needed);
    }
    let mut order: Vec<usize> = Vec::new();
    let mut placed = vec![false; list.len()];
    while order.len() < list.len() {
        let ready = |at: &usize| !placed[*at] && needs[*at].iter().all(|needed| placed[*needed]);
        let next: Vec<usize> = (0..list.len()).filter(ready).collect();
        if next.is_empty() {
            return Err(validation("The expressions of MetricDataQueries need each other in a circle."));
        }
        next.iter().for_each(|at| placed[*at] = true);
        order.extend(next);
    }
    Ok(order)
}

/// What has been computed so far.
struct Values<'a> {
    queries: &'a Queries,
    window: &'a Window,
    values: BTreeMap<&'a str, Value>,
}

impl Scope for Values<'_> {
    fn query(&self, id: &str) -> Option<&Value> {
        self.values.get(id)
    }

    fn metrics(&self) -> Vec<(&str, &Series)> {
        let metrics = self.queries.metrics().filter_map(|(id, _)| match self.values.get(id) {
            Some(Value::Series(series)) => Some((id, series)),
            _ => None,
        });
        metrics.collect()
    }

    fn window(&self) -> &Window {
        self.window
    }
}
