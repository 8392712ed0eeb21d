//! Metric math: expressions over time series.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>
//!
//! A value is a scalar, a time series, or an array of time series. Where two time series meet, only the times that both
//! have count; a point that comes to no finite number (a division by zero) is no point.

mod function;
mod parse;

use std::collections::BTreeMap;

use pileus_core::Timestamp;

use super::Window;
use parse::{Expression, Operator};

/// Points that the values of one request may come to: AWS's limit for an answer.
const MAX_POINTS: usize = 100_800;

pub(super) type Points = BTreeMap<Timestamp, f64>;

/// A time series with what its points lie apart, in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Series {
    pub(super) label: String,
    pub(super) period: i64,
    pub(super) points: Points,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Scalar(f64),
    Series(Series),
    Array(Vec<Series>),
}

/// What an expression can see.
pub(super) trait Scope {
    /// The value of the query with this id.
    fn query(&self, id: &str) -> Option<&Value>;

    /// The metrics (not the expressions) of the request, with their ids.
    fn metrics(&self) -> Vec<(&str, &Series)>;

    fn window(&self) -> &Window;
}

/// An expression that has been read.
#[derive(Clone, Debug)]
pub(super) struct Parsed(Expression);

/// Functions of CloudWatch that Pileus does not have.
const UNSUPPORTED: [&str; 7] = [
    "SEARCH",
    "ANOMALY_DETECTION_BAND",
    "DB_PERF_INSIGHTS",
    "INSIGHT_RULE_METRIC",
    "LAMBDA",
    "SERVICE_QUOTA",
    "PREDICTIVE_SCALING_FORECAST",
];

pub(super) enum Refusal {
    /// It is no expression: what is wrong.
    Invalid(String),
    /// CloudWatch knows it, Pileus does not: what it is called.
    Unsupported(String),
}

impl Parsed {
    pub(super) fn new(text: &str) -> Result<Self, Refusal> {
        if text.trim_start().get(..6).is_some_and(|start| start.eq_ignore_ascii_case("SELECT")) {
            return Err(Refusal::Unsupported("Metrics Insights queries (SELECT)".into()));
        }
        let expression = Expression::parse(text).map_err(Refusal::Invalid)?;
        for name in expression.calls() {
            if UNSUPPORTED.contains(&name) {
                return Err(Refusal::Unsupported(format!("the metric math function {name}")));
            }
            if !function::exists(name) {
                return Err(Refusal::Invalid(format!("unknown function {name}")));
            }
        }
        Ok(Self(expression))
    }

    /// The ids of the queries that it needs.
    pub(super) fn ids(&self) -> Vec<&str> {
        self.0.ids()
    }

    /// Whether it takes all metrics of the request.
    pub(super) fn takes_all(&self) -> bool {
        self.0.calls().contains(&"METRICS")
    }

    /// # Errors
    /// What does not fit together, for the client.
    pub(super) fn value(&self, scope: &dyn Scope) -> Result<Value, String> {
        value_of(&self.0, scope)
    }
}

fn value_of(expression: &Expression, scope: &dyn Scope) -> Result<Value, String> {
    let value = match expression {
        Expression::Number(number) => Value::Scalar(*number),
        Expression::Text(text) => return Err(format!("the text \"{text}\" is no value")),
        Expression::Word(word) => return Err(format!("unexpected {word}")),
        Expression::Id(id) => scope.query(id).cloned().ok_or_else(|| format!("unknown id {id}"))?,
        Expression::List(parts) => {
            let mut array = Vec::new();
            for part in parts {
                match value_of(part, scope)? {
                    Value::Scalar(_) => return Err("an array holds time series, not scalars".into()),
                    Value::Series(series) => array.push(series),
                    Value::Array(inner) => array.extend(inner),
                }
            }
            Value::Array(array)
        }
        Expression::Call(name, arguments) => function::call(name, arguments, scope)?,
        Expression::Negative(part) => map(value_of(part, scope)?, |number| -number),
        Expression::Binary(operator, left, right) => {
            let (left, right) = (value_of(left, scope)?, value_of(right, scope)?);
            combine(left, right, |left, right| apply(*operator, left, right))?
        }
    };
    finite(value)
}

/// Drops the points that are no finite numbers; refuses a value of too many points.
fn finite(mut value: Value) -> Result<Value, String> {
    let list = match &mut value {
        Value::Scalar(_) => return Ok(value),
        Value::Series(series) => std::slice::from_mut(series),
        Value::Array(list) => list.as_mut_slice(),
    };
    list.iter_mut().for_each(|series| series.points.retain(|_, value| value.is_finite()));
    let points: usize = list.iter().map(|series| series.points.len()).sum();
    if points > MAX_POINTS {
        Err(format!("it comes to more than {MAX_POINTS} datapoints"))
    } else {
        Ok(value)
    }
}

fn apply(operator: Operator, left: f64, right: f64) -> f64 {
    let truth = |value: bool| if value { 1.0 } else { 0.0 };
    match operator {
        Operator::Or => truth(left != 0.0 || right != 0.0),
        Operator::And => truth(left != 0.0 && right != 0.0),
        Operator::Equal => truth(left == right),
        Operator::NotEqual => truth(left != right),
        Operator::Less => truth(left < right),
        Operator::LessOrEqual => truth(left <= right),
        Operator::Greater => truth(left > right),
        Operator::GreaterOrEqual => truth(left >= right),
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::Power => left.powf(right),
    }
}

fn map_series(series: Series, f: impl Fn(f64) -> f64) -> Series {
    let points = series.points.into_iter().map(|(at, value)| (at, f(value)));
    Series { points: points.collect(), ..series }
}

fn map(value: Value, f: impl Fn(f64) -> f64) -> Value {
    match value {
        Value::Scalar(number) => Value::Scalar(f(number)),
        Value::Series(series) => Value::Series(map_series(series, f)),
        Value::Array(array) => Value::Array(array.into_iter().map(|series| map_series(series, &f)).collect()),
    }
}

fn join(left: &Series, right: &Series, f: impl Fn(f64, f64) -> f64) -> Series {
    let both = left.points.iter().filter_map(|(at, a)| Some((*at, f(*a, *right.points.get(at)?))));
    Series { label: String::new(), period: left.period.max(right.period), points: both.collect() }
}

fn combine(left: Value, right: Value, f: impl Fn(f64, f64) -> f64) -> Result<Value, String> {
    let array =
        |array: Vec<Series>, f: &dyn Fn(Series) -> Series| Value::Array(array.into_iter().map(f).collect());
    Ok(match (left, right) {
        (Value::Scalar(a), Value::Scalar(b)) => Value::Scalar(f(a, b)),
        (Value::Series(a), Value::Scalar(b)) => Value::Series(map_series(a, |a| f(a, b))),
        (Value::Scalar(a), Value::Series(b)) => Value::Series(map_series(b, |b| f(a, b))),
        (Value::Series(a), Value::Series(b)) => Value::Series(join(&a, &b, f)),
        (Value::Array(list), Value::Scalar(b)) => array(list, &|a| map_series(a, |a| f(a, b))),
        (Value::Scalar(a), Value::Array(list)) => array(list, &|b| map_series(b, |b| f(a, b))),
        (Value::Array(list), Value::Series(b)) => {
            array(list, &|a| Series { label: a.label.clone(), ..join(&a, &b, &f) })
        }
        (Value::Series(a), Value::Array(list)) => {
            array(list, &|b| Series { label: b.label.clone(), ..join(&a, &b, &f) })
        }
        (Value::Array(_), Value::Array(_)) => {
            return Err(
                "two arrays of time series cannot be combined; aggregate one of them, as with SUM".into()
            );
        }
    })
}

#[cfg(test)]
mod tests;
