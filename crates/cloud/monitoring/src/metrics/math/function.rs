//! The functions of metric math.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html#metric-math-syntax-functions-list>

use std::collections::BTreeMap;

use pileus_core::Timestamp;

use super::parse::Expression;
use super::{MAX_POINTS, Points, Scope, Series, Value, map, value_of};

/// What becomes of many numbers.
type Aggregate = fn(&[f64]) -> f64;
/// What becomes of a point and the one before it.
type Step = fn((Timestamp, f64), (Timestamp, f64)) -> f64;

const PLAIN: [&str; 13] = [
    "IF",
    "FILL",
    "METRICS",
    "METRIC_COUNT",
    "DATAPOINT_COUNT",
    "PERIOD",
    "RUNNING_SUM",
    "TIME_SERIES",
    "FIRST",
    "LAST",
    "SORT",
    "SLICE",
    "REMOVE_EMPTY",
];

pub(super) fn exists(name: &str) -> bool {
    PLAIN.contains(&name)
        || aggregate(name).is_some()
        || pointwise(name).is_some()
        || step(name).is_some()
        || calendar(name).is_some()
}

fn aggregate(name: &str) -> Option<Aggregate> {
    Some(match name {
        "SUM" => |values| values.iter().sum(),
        "AVG" => |values| values.iter().sum::<f64>() / values.len() as f64,
        "MIN" => |values| values.iter().copied().fold(f64::INFINITY, f64::min),
        "MAX" => |values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "STDDEV" => |values| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
        },
        _ => return None,
    })
}

fn pointwise(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "ABS" => f64::abs,
        "CEIL" => f64::ceil,
        "FLOOR" => f64::floor,
        "LOG" => f64::ln,
        "LOG10" => f64::log10,
        _ => return None,
    })
}

fn step(name: &str) -> Option<Step> {
    Some(match name {
        "DIFF" => |(_, before), (_, value)| value - before,
        "DIFF_TIME" => |(earlier, _), (at, _)| at.since(earlier).as_secs_f64(),
        "RATE" => |(earlier, before), (at, value)| (value - before) / at.since(earlier).as_secs_f64(),
        _ => return None,
    })
}

/// A point's time in UTC, as strftime calls the part; the day of the week is 1 to 7 from Monday.
fn calendar(name: &str) -> Option<&'static str> {
    Some(match name {
        "MINUTE" => "%-M",
        "HOUR" => "%-H",
        "DAY" => "%u",
        "DATE" => "%-d",
        "MONTH" => "%-m",
        "YEAR" => "%Y",
        "EPOCH" => "%s",
        _ => return None,
    })
}

pub(super) fn call(name: &str, arguments: &[Expression], scope: &dyn Scope) -> Result<Value, String> {
    let argument = |index: usize| {
        let expression = arguments.get(index).ok_or_else(|| format!("{name} needs more arguments"))?;
        value_of(expression, scope)
    };
    let only = || match arguments.len() {
        1 => argument(0),
        count => Err(format!("{name} takes one argument, not {count}")),
    };
    if let Some(aggregate) = aggregate(name) {
        return aggregated(&only()?, aggregate);
    }
    if let Some(f) = pointwise(name) {
        return Ok(map(only()?, f));
    }
    if let Some(step) = step(name) {
        return each(only()?, name, |series| stepped(series, step));
    }
    if let Some(part) = calendar(name) {
        let read = |at: &Timestamp| at.format(part).parse().unwrap_or(0.0);
        return each(only()?, name, |series| {
            let points = series.points.keys().map(|at| (*at, read(at))).collect();
            Series { points, ..series }
        });
    }
    match name {
        "IF" => condition(
            &argument(0)?,
            &argument(1)?,
            arguments.get(2).map(|_| argument(2)).transpose()?.as_ref(),
        ),
        "FILL" => fill(argument(0)?, arguments, scope),
        "METRICS" => metrics(arguments, scope),
        "METRIC_COUNT" => Ok(Value::Scalar(array(only()?, name)?.len() as f64)),
        "DATAPOINT_COUNT" => Ok(match only()? {
            Value::Series(series) => Value::Scalar(series.points.len() as f64),
            Value::Array(list) => {
                Value::Scalar(list.iter().map(|series| series.points.len()).sum::<usize>() as f64)
            }
            Value::Scalar(_) => return Err("DATAPOINT_COUNT takes time series".into()),
        }),
        "PERIOD" => match only()? {
            Value::Series(series) => Ok(Value::Scalar(series.period as f64)),
            _ => Err("PERIOD takes one time series".into()),
        },
        "RUNNING_SUM" => each(only()?, name, running_sum),
        "TIME_SERIES" => match only()? {
            Value::Scalar(number) => Ok(Value::Series(constant(number, scope))),
            _ => Err("TIME_SERIES takes a scalar".into()),
        },
        "FIRST" => ends(array(only()?, name)?.into_iter().next()),
        "LAST" => ends(array(only()?, name)?.pop()),
        "SORT" => sort(array(argument(0)?, name)?, arguments),
        "SLICE" => slice(array(argument(0)?, name)?, arguments),
        "REMOVE_EMPTY" => {
            let mut list = array(only()?, name)?;
            list.retain(|series| !series.points.is_empty());
            Ok(Value::Array(list))
        }
        _ => Err(format!("unknown function {name}")),
    }
}

fn array(value: Value, name: &str) -> Result<Vec<Series>, String> {
    match value {
        Value::Array(list) => Ok(list),
        Value::Series(series) => Ok(vec![series]),
        Value::Scalar(_) => Err(format!("{name} takes an array of time series, not a scalar")),
    }
}

fn each(value: Value, name: &str, f: impl Fn(Series) -> Series) -> Result<Value, String> {
    match value {
        Value::Series(series) => Ok(Value::Series(f(series))),
        Value::Array(list) => Ok(Value::Array(list.into_iter().map(f).collect())),
        Value::Scalar(_) => Err(format!("{name} takes time series, not a scalar")),
    }
}

/// Of a series one number, of an array a series: at each time what its members have there.
fn aggregated(value: &Value, aggregate: Aggregate) -> Result<Value, String> {
    match value {
        Value::Scalar(number) => Ok(Value::Scalar(*number)),
        Value::Series(series) => {
            let values: Vec<f64> = series.points.values().copied().collect();
            // Nothing at all comes to nothing, as on AWS: an empty series.
            if values.is_empty() {
                return Ok(Value::Series(Series { label: String::new(), ..series.clone() }));
            }
            Ok(Value::Scalar(aggregate(&values)))
        }
        Value::Array(list) => {
            let mut columns: BTreeMap<Timestamp, Vec<f64>> = BTreeMap::new();
            for (at, value) in list.iter().flat_map(|series| &series.points) {
                columns.entry(*at).or_default().push(*value);
            }
            let points = columns.into_iter().map(|(at, values)| (at, aggregate(&values))).collect();
            let period = list.iter().map(|series| series.period).max().unwrap_or(60);
            Ok(Value::Series(Series { label: String::new(), period, points }))
        }
    }
}

/// The first point has none before it, so it goes.
fn stepped(series: Series, step: Step) -> Series {
    let points = series.points.iter().zip(series.points.iter().skip(1));
    let points =
        points.map(|((earlier, before), (at, value))| (*at, step((*earlier, *before), (*at, *value))));
    Series { points: points.collect(), ..series }
}

fn running_sum(series: Series) -> Series {
    let mut sum = 0.0;
    let points = series.points.into_iter().map(|(at, value)| {
        sum += value;
        (at, sum)
    });
    Series { points: points.collect(), ..series }
}

/// The same number at every period of the window.
fn constant(number: f64, scope: &dyn Scope) -> Series {
    let metrics = scope.metrics();
    let period = metrics.iter().map(|(_, series)| series.period).max().unwrap_or(60);
    let points = scope.window().periods(period, MAX_POINTS).map(|at| (at, number)).collect();
    Series { label: String::new(), period, points }
}

/// Where the condition is not 0 the first value, else the second; without a second nothing there.
fn condition(test: &Value, yes: &Value, no: Option<&Value>) -> Result<Value, String> {
    let no_arrays = "IF takes scalars and single time series";
    let at = |value: &Value, time: &Timestamp| match value {
        Value::Scalar(number) => Some(*number),
        Value::Series(series) => series.points.get(time).copied(),
        Value::Array(_) => None,
    };
    for value in [Some(test), Some(yes), no].into_iter().flatten() {
        if matches!(value, Value::Array(_)) {
            return Err(no_arrays.into());
        }
    }
    match test {
        Value::Scalar(number) => match (*number != 0.0, no) {
            (true, _) => Ok(yes.clone()),
            (false, Some(no)) => Ok(no.clone()),
            (false, None) => Ok(Value::Series(Series { period: 60, ..Series::default() })),
        },
        Value::Series(series) => {
            let chosen = series.points.iter().filter_map(|(time, truth)| {
                let value = if *truth != 0.0 { Some(yes) } else { no };
                Some((*time, at(value?, time)?))
            });
            let points = chosen.collect();
            Ok(Value::Series(Series { label: String::new(), period: series.period, points }))
        }
        Value::Array(_) => Err(no_arrays.into()),
    }
}

/// What a series without a point at a time gets there.
type Filler = Box<dyn Fn(&Points, Timestamp) -> Option<f64>>;

/// Gives the periods without a point one: the last value, a line between neighbours, or a number.
fn fill(what: Value, arguments: &[Expression], scope: &dyn Scope) -> Result<Value, String> {
    let with = arguments.get(1).filter(|_| arguments.len() == 2).ok_or("FILL takes two arguments")?;
    let filler: Filler = match with {
        Expression::Word(word) if word == "REPEAT" => {
            Box::new(|points, at| before(points, at).map(|(_, value)| value))
        }
        Expression::Word(word) if word == "LINEAR" => Box::new(between),
        Expression::Word(word) => return Err(format!("FILL takes REPEAT, LINEAR or a value, not {word}")),
        other => match value_of(other, scope)? {
            Value::Scalar(number) => Box::new(move |_, _| Some(number)),
            Value::Series(series) => Box::new(move |_, at| series.points.get(&at).copied()),
            Value::Array(_) => return Err("FILL takes a scalar or one time series to fill with".into()),
        },
    };
    each(what, "FILL", |series| {
        let mut points = series.points.clone();
        for at in scope.window().periods(series.period, MAX_POINTS) {
            if let (false, Some(value)) = (points.contains_key(&at), filler(&series.points, at)) {
                points.insert(at, value);
            }
        }
        Series { points, ..series }
    })
}

fn before(points: &Points, at: Timestamp) -> Option<(Timestamp, f64)> {
    points.range(..at).next_back().map(|(at, value)| (*at, *value))
}

fn between(points: &Points, at: Timestamp) -> Option<f64> {
    let ((t0, v0), (t1, v1)) = (before(points, at)?, points.range(at..).next()?);
    let share = at.since(t0).as_secs_f64() / t1.since(t0).as_secs_f64();
    Some(v0 + (v1 - v0) * share)
}

/// All metrics of the request, or those whose ids contain a text.
fn metrics(arguments: &[Expression], scope: &dyn Scope) -> Result<Value, String> {
    let part = match arguments {
        [] => "",
        [Expression::Text(text)] => text,
        _ => return Err("METRICS takes nothing or a text that ids contain".into()),
    };
    let all = scope.metrics().into_iter().filter(|(id, _)| id.contains(part));
    Ok(Value::Array(all.map(|(_, series)| series.clone()).collect()))
}

fn ends(series: Option<Series>) -> Result<Value, String> {
    series.map(Value::Series).ok_or_else(|| "the array of time series is empty".into())
}

/// `SORT(array, AVG, DESC, 10)`.
fn sort(mut list: Vec<Series>, arguments: &[Expression]) -> Result<Value, String> {
    let usage = "SORT takes an array, AVG, MIN, MAX, SUM or STDDEV, ASC or DESC, and how many to keep";
    let (by, order) = match &arguments[1..] {
        [Expression::Word(by), Expression::Word(order), ..] if arguments.len() <= 4 => (by, order.as_str()),
        _ => return Err(usage.into()),
    };
    let by = aggregate(by).ok_or(usage)?;
    let figure = |series: &Series| by(&series.points.values().copied().collect::<Vec<_>>());
    list.sort_by_cached_key(|series| Ordered(figure(series)));
    match order {
        "ASC" => {}
        "DESC" => list.reverse(),
        _ => return Err(usage.into()),
    }
    if let Some(limit) = arguments.get(3) {
        list.truncate(index(limit).ok_or(usage)?);
    }
    Ok(Value::Array(list))
}

#[derive(PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// `SLICE(array, start, end)`; `end` is not in it, and is the array's without one.
fn slice(list: Vec<Series>, arguments: &[Expression]) -> Result<Value, String> {
    let usage = "SLICE takes an array, the first index, and the index after the last";
    if arguments.len() > 3 {
        return Err(usage.into());
    }
    let start = arguments.get(1).and_then(index).ok_or(usage)?;
    let end = arguments.get(2).map_or(Some(list.len()), index).ok_or(usage)?;
    Ok(Value::Array(list.into_iter().take(end).skip(start).collect()))
}

fn index(expression: &Expression) -> Option<usize> {
    match expression {
        Expression::Number(number) if number.fract() == 0.0 && *number >= 0.0 => Some(*number as usize),
        _ => None,
    }
}
