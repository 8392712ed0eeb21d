//! What a metric alarm's datapoints come to: a pure function.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>

use pileus_aws::cloudwatch::PutMetricAlarmInput;

use super::StateValue;
use crate::metrics::{Point, Statistic};

/// Datapoints that are looked at beyond the evaluation periods, so that real ones can stand in for missing ones. The
/// documentation's examples look at five for three periods.
const BEYOND: usize = 2;

/// When an alarm goes off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Criteria {
    /// N: how many datapoints count.
    pub(super) periods: usize,
    /// M: how many of them must breach.
    pub(super) datapoints: usize,
    pub(super) threshold: f64,
    pub(super) comparison: Comparison,
    pub(super) missing: Treatment,
    /// With fewer samples than this a datapoint says nothing, and the alarm stays as it is.
    pub(super) significant: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparison {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Greater => "greater than",
            Self::GreaterOrEqual => "greater than or equal to",
            Self::Less => "less than",
            Self::LessOrEqual => "less than or equal to",
        }
    }
}

/// What a missing datapoint counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    Missing,
    Ignore,
    Breaching,
    NotBreaching,
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) state: StateValue,
    /// The real datapoints that counted, newest first.
    pub(super) real: Vec<Point>,
    /// How many missing ones counted as something.
    pub(super) filled: usize,
}

impl Criteria {
    /// Of an alarm that has been checked; what it leaves open is as AWS has it.
    pub(super) fn of(input: &PutMetricAlarmInput) -> Self {
        let whole = |number: Option<i64>| number.and_then(|number| usize::try_from(number).ok());
        let periods = whole(input.evaluation_periods).unwrap_or(1);
        let extended = input.extended_statistic.as_ref().and_then(|name| Statistic::extended(name).ok());
        let ignores = input.evaluate_low_sample_count_percentile.as_deref() == Some("ignore");
        Self {
            periods,
            datapoints: whole(input.datapoints_to_alarm).unwrap_or(periods),
            threshold: input.threshold.unwrap_or_default(),
            comparison: match input.comparison_operator.as_deref() {
                Some("GreaterThanOrEqualToThreshold") => Comparison::GreaterOrEqual,
                Some("LessThanThreshold") => Comparison::Less,
                Some("LessThanOrEqualToThreshold") => Comparison::LessOrEqual,
                _ => Comparison::Greater,
            },
            missing: match input.treat_missing_data.as_deref() {
                Some("ignore") => Treatment::Ignore,
                Some("breaching") => Treatment::Breaching,
                Some("notBreaching") => Treatment::NotBreaching,
                _ => Treatment::Missing,
            },
            significant: extended.filter(|_| ignores).map_or(0.0, Statistic::significant_samples),
        }
    }

    /// How many periods back the evaluation looks.
    pub(super) fn range(&self) -> usize {
        self.periods + BEYOND
    }

    pub(super) fn breaches(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Greater => value > self.threshold,
            Comparison::GreaterOrEqual => value >= self.threshold,
            Comparison::Less => value < self.threshold,
            Comparison::LessOrEqual => value <= self.threshold,
        }
    }
}

/// The state that the datapoints of the evaluation range (oldest first, `None` where there is none) call for; `None`
/// where the alarm is to stay as it is.
///
/// Real datapoints count before missing ones: only what the newest N lack is filled.
pub(super) fn evaluate(criteria: &Criteria, range: &[Option<Point>]) -> Option<Finding> {
    let known: Vec<(usize, Point)> =
        (1..).zip(range.iter().rev()).filter_map(|(age, point)| Some((age, (*point)?))).collect();
    let real: Vec<Point> = known.iter().map(|(_, point)| *point).take(criteria.periods).collect();
    if real.iter().any(|point| point.samples < criteria.significant) {
        return None;
    }
    let breaching = real.iter().filter(|point| criteria.breaches(point.value)).count();
    let filled = criteria.periods - real.len();
    let enough = |count: usize| if count >= criteria.datapoints { StateValue::Alarm } else { StateValue::Ok };
    let state = match criteria.missing {
        _ if filled == 0 => enough(breaching),
        Treatment::Breaching => enough(breaching + filled),
        Treatment::NotBreaching => enough(breaching),
        Treatment::Missing if real.is_empty() => StateValue::InsufficientData,
        // Some breach and some do not, or enough do: what is missing would not change it, or must not.
        _ if breaching >= criteria.datapoints || breaching < real.len() => enough(breaching),
        // All that there are breach, but they are too few: the oldest tells whether the others were due long ago.
        // Until then the alarm waits, so as not to go off early.
        Treatment::Missing if known.last().is_some_and(|(age, _)| *age >= criteria.datapoints) => {
            StateValue::Alarm
        }
        Treatment::Missing | Treatment::Ignore => return None,
    };
    Some(Finding { state, real, filled })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TREATMENTS: [Treatment; 4] =
        [Treatment::Missing, Treatment::Ignore, Treatment::Breaching, Treatment::NotBreaching];

    fn criteria(datapoints: usize, periods: usize, missing: Treatment) -> Criteria {
        let (threshold, comparison, significant) = (0.5, Comparison::Greater, 0.0);
        Criteria { periods, datapoints, threshold, comparison, missing, significant }
    }

    /// `0` is within the threshold, `X` breaches it, `-` is missing; the newest is on the right.
    fn range(text: &str) -> Vec<Option<Point>> {
        let point = |value| Some(Point { at: pileus_core::Timestamp::default(), value, samples: 1.0 });
        text.chars()
            .map(|sign| match sign {
                '0' => point(0.0),
                'X' => point(1.0),
                _ => None,
            })
            .collect()
    }

    fn state(datapoints: usize, periods: usize, missing: Treatment, text: &str) -> Option<StateValue> {
        evaluate(&criteria(datapoints, periods, missing), &range(text)).map(|finding| finding.state)
    }

    const OK: Option<StateValue> = Some(StateValue::Ok);
    const ALARM: Option<StateValue> = Some(StateValue::Alarm);
    const INSUFFICIENT: Option<StateValue> = Some(StateValue::InsufficientData);
    const RETAIN: Option<StateValue> = None;

    /// The columns of the documentation's tables: missing, ignore, breaching, notBreaching; and how many are filled.
    fn check_table(datapoints: usize, rows: &[(&str, usize, [Option<StateValue>; 4])]) {
        for (text, filled, expected) in rows {
            let found = TREATMENTS.map(|missing| state(datapoints, 3, missing, text));
            assert_eq!(found, *expected, "{datapoints} out of 3 on {text}");
            let breaching = evaluate(&criteria(datapoints, 3, Treatment::Breaching), &range(text));
            assert_eq!(breaching.expect("it never stays").filled, *filled, "{text}");
        }
    }

    /// "How alarm state is evaluated when data is missing", first table: 3 out of 3.
    #[test]
    fn missing_data_with_three_out_of_three() {
        check_table(
            3,
            &[
                ("0-X-X", 0, [OK, OK, OK, OK]),
                ("0----", 2, [OK, OK, OK, OK]),
                ("-----", 3, [INSUFFICIENT, RETAIN, ALARM, OK]),
                ("0XX-X", 0, [ALARM, ALARM, ALARM, ALARM]),
                ("--X--", 2, [ALARM, RETAIN, ALARM, OK]),
            ],
        );
    }

    /// The same page, second table: 2 out of 3.
    #[test]
    fn missing_data_with_two_out_of_three() {
        check_table(
            2,
            &[
                ("0-X-X", 0, [ALARM, ALARM, ALARM, ALARM]),
                ("00X0X", 0, [ALARM, ALARM, ALARM, ALARM]),
                ("0-X--", 1, [OK, OK, ALARM, OK]),
                ("----0", 2, [OK, OK, ALARM, OK]),
                ("---X-", 2, [ALARM, RETAIN, ALARM, OK]),
            ],
        );
    }

    /// "Avoiding premature transitions": one new breaching datapoint is not enough, though all others are missing.
    #[test]
    fn an_alarm_does_not_go_off_early() {
        assert_eq!(state(3, 3, Treatment::Missing, "----X"), RETAIN);
        assert_eq!(state(3, 3, Treatment::Missing, "---X-"), RETAIN);
        assert_eq!(state(3, 3, Treatment::Missing, "---XX"), RETAIN);
        assert_eq!(state(1, 1, Treatment::Missing, "--X"), ALARM);
        assert_eq!(state(1, 3, Treatment::Missing, "0---X"), ALARM, "1 out of 3 needs no more");
    }

    #[test]
    fn comparisons_and_low_samples() {
        let input = |comparison: &str| PutMetricAlarmInput {
            comparison_operator: Some(comparison.into()),
            threshold: Some(5.0),
            ..Default::default()
        };
        for (comparison, expected) in [
            ("GreaterThanThreshold", [false, false, true]),
            ("GreaterThanOrEqualToThreshold", [false, true, true]),
            ("LessThanThreshold", [true, false, false]),
            ("LessThanOrEqualToThreshold", [true, true, false]),
        ] {
            let criteria = Criteria::of(&input(comparison));
            assert_eq!([4.0, 5.0, 6.0].map(|value| criteria.breaches(value)), expected, "{comparison}");
        }
        let percentile = PutMetricAlarmInput {
            extended_statistic: Some("p90".into()),
            evaluate_low_sample_count_percentile: Some("ignore".into()),
            ..input("GreaterThanThreshold")
        };
        let criteria = Criteria::of(&percentile);
        let point = |samples| [Some(Point { at: pileus_core::Timestamp::default(), value: 9.0, samples })];
        assert_eq!(evaluate(&criteria, &point(99.0)), None);
        assert_eq!(evaluate(&criteria, &point(101.0)).map(|finding| finding.state), ALARM);
    }

    proptest! {
        /// With N real datapoints their treatment does not matter, and M of the newest N decide.
        #[test]
        fn real_datapoints_decide(text in "[0X-]{1,12}", periods in 1_usize..6, datapoints in 1_usize..6) {
            let datapoints = datapoints.min(periods);
            let real: String = text.chars().filter(|sign| *sign != '-').collect();
            let found = TREATMENTS.map(|missing| state(datapoints, periods, missing, &text));
            if real.len() >= periods {
                let breaching = real.chars().rev().take(periods).filter(|sign| *sign == 'X').count();
                let expected = if breaching >= datapoints { ALARM } else { OK };
                prop_assert_eq!(found, [expected; 4]);
            }
        }

        /// One more datapoint over the threshold never ends an alarm, and what counts as good never raises one that what
        /// counts as bad would not.
        #[test]
        fn breaching_more_never_ends_an_alarm(text in "[0X-]{5}", at in 0_usize..5, datapoints in 1_usize..4) {
            let mut worse: Vec<char> = text.chars().collect();
            if worse[at] == '0' {
                worse[at] = 'X';
            }
            let worse: String = worse.into_iter().collect();
            for missing in TREATMENTS {
                if state(datapoints, 3, missing, &text) == ALARM {
                    prop_assert_eq!(state(datapoints, 3, missing, &worse), ALARM);
                }
            }
            if state(datapoints, 3, Treatment::NotBreaching, &text) == ALARM {
                prop_assert_eq!(state(datapoints, 3, Treatment::Breaching, &text), ALARM);
            }
        }
    }
}
