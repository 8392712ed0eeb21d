//! Labels that show figures of their time series: `Busy: ${MAX} at ${MAX_TIME}`.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/graph-dynamic-labels.html>

use std::time::Duration;

use pileus_core::{ApiError, Timestamp};

use super::query::Answer;
use super::validation;

/// How far a label's times are from UTC.
#[derive(Clone, Copy, Default)]
pub(super) struct Zone {
    east: bool,
    offset: Duration,
}

impl Zone {
    /// From `+0130` or `-0500`.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let refused =
            || validation(format!("The value {text} for parameter LabelOptions.Timezone is invalid."));
        let (sign, digits) = text.split_at_checked(1).ok_or_else(refused)?;
        let digits = Some(digits)
            .filter(|digits| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or_else(refused)?;
        if !matches!(sign, "+" | "-") || number / 100 > 15 || number % 100 > 59 {
            return Err(refused());
        }
        Ok(Self { east: sign == "+", offset: Duration::from_secs(number / 100 * 3600 + number % 100 * 60) })
    }

    fn show(self, at: Timestamp) -> String {
        let local = if self.east { at + self.offset } else { at - self.offset };
        local.format("%Y-%m-%d %H:%M:%S")
    }
}

/// The label with its figures put in; a figure of a series without points is `--`.
///
/// # Errors
/// A figure that CloudWatch does not know.
pub(super) fn dynamic(answer: &Answer, zone: Zone) -> Result<String, ApiError> {
    let (mut shown, mut rest) = (String::new(), answer.label.as_str());
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else { break };
        shown.push_str(before);
        shown.push_str(&figure(answer, name, zone)?);
        rest = after;
    }
    shown.push_str(rest);
    Ok(shown)
}

fn figure(answer: &Answer, name: &str, zone: Zone) -> Result<String, ApiError> {
    let unknown = || validation(format!("The label of {} has the unknown part ${{{name}}}.", answer.id));
    let points = &answer.points;
    if name == "LABEL" {
        return Ok(answer.metric.as_ref().map_or_else(|| answer.id.clone(), |(key, _)| key.name.clone()));
    }
    if name == "DATAPOINT_COUNT" {
        return Ok(points.len().to_string());
    }
    if let Some(property) = name.strip_prefix("PROP('").and_then(|rest| rest.strip_suffix("')")) {
        return property_of(answer, property).ok_or_else(unknown);
    }
    let (figure, time) = name.strip_suffix("_TIME").map_or((name, false), |figure| (figure, true));
    let sum: f64 = points.values().sum();
    let by_value = |a: &(&Timestamp, &f64), b: &(&Timestamp, &f64)| a.1.total_cmp(b.1);
    let point = match figure {
        "AVG" if !time => points.first_key_value().map(|(at, _)| (*at, sum / points.len() as f64)),
        "SUM" if !time => points.first_key_value().map(|(at, _)| (*at, sum)),
        "MAX" => points.iter().max_by(by_value).map(|(at, value)| (*at, *value)),
        "MIN" => points.iter().min_by(by_value).map(|(at, value)| (*at, *value)),
        "FIRST" => points.first_key_value().map(|(at, value)| (*at, *value)),
        "LAST" => points.last_key_value().map(|(at, value)| (*at, *value)),
        _ => return Err(unknown()),
    };
    Ok(point.map_or_else(|| "--".into(), |(at, value)| if time { zone.show(at) } else { value.to_string() }))
}

fn property_of(answer: &Answer, property: &str) -> Option<String> {
    let (key, stat) = answer.metric.as_ref()?;
    Some(match property {
        "MetricName" => key.name.clone(),
        "Namespace" => key.namespace.clone(),
        "Stat" => stat.clone(),
        "Period" => answer.period.to_string(),
        _ => key.dimensions.get(property.strip_prefix("Dim.")?)?.clone(),
    })
}
