//! Why an alarm is in its state, in AWS's words and as its data.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricAlarm.html>

use pileus_aws::cloudwatch::PutMetricAlarmInput;
use pileus_core::Timestamp;
use serde_json::json;

use super::StateValue;
use super::composite::amazon;
use super::evaluate::{Criteria, Finding, Treatment};
use crate::metrics::Point;

/// AWS's longest StateReason, and how many datapoints fit into one.
const MAX_REASON: usize = 1023;
const MAX_SHOWN: usize = 10;

pub(super) fn text(criteria: &Criteria, finding: &Finding, old: StateValue) -> String {
    let periods = criteria.periods;
    if finding.state == StateValue::InsufficientData {
        let verb = if periods == 1 { "was" } else { "were" };
        return format!("Insufficient Data: {} {verb} unknown.", count(periods, "datapoint"));
    }
    let treated = treated(criteria, finding.filled);
    let alarming = finding.state == StateValue::Alarm;
    let told: Vec<&Point> =
        finding.real.iter().filter(|point| criteria.breaches(point.value) == alarming).collect();
    if told.is_empty() {
        return match treated {
            Some(treated) => {
                format!(
                    "Threshold Crossed: no datapoints were received for {} and {treated}.",
                    count(periods, "period")
                )
            }
            None => "Threshold Crossed: no datapoints were received.".into(),
        };
    }
    let verb = if told.len() == 1 { "was" } else { "were" };
    let not = if alarming { "" } else { "not " };
    let shown: Vec<String> = told.iter().take(MAX_SHOWN).map(|point| show(point)).collect();
    let more = if told.len() > MAX_SHOWN { ", ..." } else { "" };
    let compared = format!(
        "[{}{more}] {verb} {not}{} the threshold ({:?})",
        shown.join(", "),
        criteria.comparison.words(),
        criteria.threshold
    );
    let text = match treated {
        Some(treated) => {
            format!("Threshold Crossed: {} {compared} and {treated}.", count(told.len(), "datapoint"))
        }
        None => {
            let least = if alarming { criteria.datapoints } else { periods - criteria.datapoints + 1 };
            format!(
                "Threshold Crossed: {} out of the last {periods} datapoints {compared} (minimum {} for {} -> {} transition).",
                told.len(),
                count(least, "datapoint"),
                if old == finding.state || old == StateValue::InsufficientData {
                    opposite(finding.state)
                } else {
                    old
                },
                finding.state
            )
        }
    };
    text.chars().take(MAX_REASON).collect()
}

fn opposite(state: StateValue) -> StateValue {
    if state == StateValue::Alarm { StateValue::Ok } else { StateValue::Alarm }
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// What the missing datapoints counted as, where they counted.
fn treated(criteria: &Criteria, filled: usize) -> Option<String> {
    let name = match criteria.missing {
        Treatment::Breaching => "Breaching",
        Treatment::NotBreaching => "NonBreaching",
        Treatment::Missing | Treatment::Ignore => return None,
    };
    let verb = if filled == 1 { "was" } else { "were" };
    (filled > 0).then(|| format!("{} {verb} treated as [{name}]", count(filled, "missing datapoint")))
}

/// A datapoint and its time: `80.0 (22/11/26 20:00:00)`.
fn show(point: &Point) -> String {
    format!("{:?} ({})", point.value, point.at.format("%d/%m/%y %H:%M:%S"))
}

pub(super) fn data(input: &PutMetricAlarmInput, period: i64, finding: &Finding, now: Timestamp) -> String {
    let points: Vec<&Point> = finding.real.iter().take(MAX_SHOWN).collect();
    let oldest_first = points.iter().rev();
    let evaluated = points.iter().map(|point| {
        let mut shape = json!({ "timestamp": amazon(point.at), "value": point.value });
        if point.samples.is_finite() {
            shape["sampleCount"] = point.samples.into();
        }
        shape
    });
    let mut data = json!({
        "version": "1.0",
        "queryDate": amazon(now),
        "period": period,
        "recentDatapoints": oldest_first.map(|point| point.value).collect::<Vec<_>>(),
        "threshold": input.threshold,
        "evaluatedDatapoints": evaluated.collect::<Vec<_>>(),
    });
    if let Some(oldest) = points.last() {
        data["startDate"] = amazon(oldest.at).into();
    }
    if let Some(statistic) = input.statistic.as_ref().or(input.extended_statistic.as_ref()) {
        data["statistic"] = statistic.as_str().into();
    }
    if let Some(unit) = &input.unit {
        data["unit"] = unit.as_str().into();
    }
    data.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::evaluate::{Comparison, evaluate};
    use super::*;

    fn reason(missing: Treatment, values: &[Option<f64>], old: StateValue) -> String {
        let (comparison, significant) = (Comparison::Greater, 0.0);
        let criteria =
            Criteria { periods: 3, datapoints: 2, threshold: 70.0, comparison, missing, significant };
        let at = Timestamp::parse("2026-11-22T20:00:00Z").expect("a time");
        let range: Vec<_> =
            values.iter().map(|value| Some(Point { at, value: (*value)?, samples: 1.0 })).collect();
        text(&criteria, &evaluate(&criteria, &range).expect("a finding"), old)
    }

    #[test]
    fn in_the_words_of_aws() {
        let at = "(22/11/26 20:00:00)";
        assert_eq!(
            reason(Treatment::Missing, &[Some(1.0), Some(80.0), Some(75.5)], StateValue::Ok),
            format!(
                "Threshold Crossed: 2 out of the last 3 datapoints [75.5 {at}, 80.0 {at}] were greater than the threshold \
                 (70.0) (minimum 2 datapoints for OK -> ALARM transition)."
            )
        );
        assert_eq!(
            reason(Treatment::Missing, &[Some(1.0), Some(2.0), Some(75.5)], StateValue::Alarm),
            format!(
                "Threshold Crossed: 2 out of the last 3 datapoints [2.0 {at}, 1.0 {at}] were not greater than the \
                 threshold (70.0) (minimum 2 datapoints for ALARM -> OK transition)."
            )
        );
        assert_eq!(
            reason(Treatment::Missing, &[None, None, None], StateValue::Ok),
            "Insufficient Data: 3 datapoints were unknown."
        );
        assert_eq!(
            reason(Treatment::Breaching, &[None, None, None], StateValue::Ok),
            "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as \
             [Breaching]."
        );
        assert_eq!(
            reason(Treatment::NotBreaching, &[Some(3.0), None, None], StateValue::Ok),
            format!(
                "Threshold Crossed: 1 datapoint [3.0 {at}] was not greater than the threshold (70.0) and 2 missing \
                 datapoints were treated as [NonBreaching]."
            )
        );
    }
}
