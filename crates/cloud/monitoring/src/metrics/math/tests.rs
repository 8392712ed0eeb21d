//! Examples of the documentation, and what holds for all expressions.

use proptest::prelude::*;

use super::*;

struct Request {
    series: Vec<(String, Value)>,
    window: Window,
}

impl Scope for Request {
    fn query(&self, id: &str) -> Option<&Value> {
        self.series.iter().find(|(known, _)| known == id).map(|(_, value)| value)
    }

    fn metrics(&self) -> Vec<(&str, &Series)> {
        let series = self.series.iter().filter_map(|(id, value)| match value {
            Value::Series(series) => Some((id.as_str(), series)),
            _ => None,
        });
        series.collect()
    }

    fn window(&self) -> &Window {
        &self.window
    }
}

/// Series of one point a minute, `None` where there is none.
fn request(series: &[(&str, &[Option<f64>])]) -> Request {
    let longest = series.iter().map(|(_, values)| values.len()).max().unwrap_or(0) as i64;
    let series = series.iter().map(|(id, values)| {
        let points = (0..).zip(*values).filter_map(|(minute, value)| Some((minute_at(minute), (*value)?)));
        (
            (*id).to_owned(),
            Value::Series(Series { label: (*id).into(), period: 60, points: points.collect() }),
        )
    });
    let window = Window::new(minute_at(0), minute_at(longest.max(1))).expect("a window");
    Request { series: series.collect(), window }
}

fn minute_at(minute: i64) -> Timestamp {
    Timestamp::from_secs(minute * 60)
}

fn evaluate(request: &Request, text: &str) -> Result<Value, String> {
    match Parsed::new(text) {
        Ok(parsed) => parsed.value(request),
        Err(Refusal::Invalid(problem)) => Err(problem),
        Err(Refusal::Unsupported(what)) => Err(format!("unsupported: {what}")),
    }
}

fn values(request: &Request, text: &str) -> Vec<(i64, f64)> {
    match evaluate(request, text).unwrap_or_else(|problem| panic!("{text}: {problem}")) {
        Value::Series(series) => {
            series.points.into_iter().map(|(at, value)| (at.secs() / 60, value)).collect()
        }
        Value::Scalar(number) => vec![(-1, number)],
        Value::Array(_) => panic!("{text} is an array"),
    }
}

#[test]
fn expressions() {
    let request = request(&[
        ("m1", &[Some(10.0), Some(20.0), None, Some(40.0)]),
        ("m2", &[Some(2.0), Some(0.0), Some(3.0), Some(4.0)]),
    ]);
    for (text, expected) in [
        ("m1 + m2", &[(0, 12.0), (1, 20.0), (3, 44.0)][..]),
        ("m1 / m2", &[(0, 5.0), (3, 10.0)]),
        ("100 * m2 / 4", &[(0, 50.0), (1, 0.0), (2, 75.0), (3, 100.0)]),
        ("m1 > 15", &[(0, 0.0), (1, 1.0), (3, 1.0)]),
        ("IF(m1 > 15, m1, 0)", &[(0, 0.0), (1, 20.0), (3, 40.0)]),
        ("IF(m1 > 15, m1)", &[(1, 20.0), (3, 40.0)]),
        ("FILL(m1, 0)", &[(0, 10.0), (1, 20.0), (2, 0.0), (3, 40.0)]),
        ("FILL(m1, REPEAT)", &[(0, 10.0), (1, 20.0), (2, 20.0), (3, 40.0)]),
        ("FILL(m1, LINEAR)", &[(0, 10.0), (1, 20.0), (2, 30.0), (3, 40.0)]),
        ("SUM(METRICS())", &[(0, 12.0), (1, 20.0), (2, 3.0), (3, 44.0)]),
        ("SUM(METRICS(\"2\"))", &[(0, 2.0), (1, 0.0), (2, 3.0), (3, 4.0)]),
        ("AVG([m1, m2])", &[(0, 6.0), (1, 10.0), (2, 3.0), (3, 22.0)]),
        ("MAX(m1)", &[(-1, 40.0)]),
        ("m2 - MIN(m1)", &[(0, -8.0), (1, -10.0), (2, -7.0), (3, -6.0)]),
        ("DIFF(m2)", &[(1, -2.0), (2, 3.0), (3, 1.0)]),
        ("RATE(m1) * 60", &[(1, 10.0), (3, 10.0)]),
        ("RUNNING_SUM(m2)", &[(0, 2.0), (1, 2.0), (2, 5.0), (3, 9.0)]),
        ("m2 / PERIOD(m2) * 60", &[(0, 2.0), (1, 0.0), (2, 3.0), (3, 4.0)]),
        ("TIME_SERIES(5)", &[(0, 5.0), (1, 5.0), (2, 5.0), (3, 5.0)]),
        ("DATAPOINT_COUNT(m1)", &[(-1, 3.0)]),
        ("METRIC_COUNT(METRICS())", &[(-1, 2.0)]),
        ("CEIL(ABS(-m2 / 3))", &[(0, 1.0), (1, 0.0), (2, 1.0), (3, 2.0)]),
        ("STDDEV([m2, m2])", &[(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.0)]),
        ("FIRST(SORT(METRICS(), MAX, DESC, 1))", &[(0, 10.0), (1, 20.0), (3, 40.0)]),
        ("LAST(SLICE(METRICS(), 0, 1))", &[(0, 10.0), (1, 20.0), (3, 40.0)]),
        ("MINUTE(m1)", &[(0, 0.0), (1, 1.0), (3, 3.0)]),
    ] {
        assert_eq!(values(&request, text), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_evaluated_says_why() {
    let request = request(&[("m1", &[Some(1.0)])]);
    for text in [
        "m9",
        "[1]",
        "METRICS() + METRICS()",
        "SUM()",
        "SUM(m1, m1)",
        "FILL(m1)",
        "NOPE(m1)",
        "SORT(m1)",
        "\"a\"",
        "SLICE(m1)",
    ] {
        assert!(evaluate(&request, text).is_err(), "{text}");
    }
    for text in [
        "SEARCH('{AWS/ECS,ClusterName} CPU', 'Average', 300)",
        "SELECT AVG(CPU) FROM x",
        "ANOMALY_DETECTION_BAND(m1)",
    ] {
        let problem = evaluate(&request, text).expect_err("it is not there");
        assert!(problem.starts_with("unsupported"), "{text}: {problem}");
    }
}

proptest! {
    /// Whatever parses evaluates to something or says why not; every value of a series is finite.
    #[test]
    fn evaluation_never_panics(
        text in "(m1|m2|3|0|SUM\\(|ABS\\(|FILL\\(m1,|RATE\\(|IF\\(|METRICS\\(\\)|\\)|\\+|/|\\^|-|>|,|\\[|\\]){1,14}",
        points in proptest::collection::vec(proptest::option::of(-5.0_f64..5.0), 1..6),
    ) {
        let request = request(&[("m1", &points), ("m2", &[Some(0.0), Some(1e300)])]);
        if let Ok(Value::Series(series)) = evaluate(&request, &text) {
            prop_assert!(series.points.values().all(|value| value.is_finite()), "{text}");
        }
    }
}
