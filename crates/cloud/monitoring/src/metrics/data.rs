//! `GetMetricData`: metrics and metric math, in pages.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>

use pileus_aws::cloudwatch::{GetMetricDataInput, GetMetricDataOutput, MetricDataResult, ops};
use pileus_core::{ApiError, Timestamp};
use pileus_service::{Context, Router};

use super::label::{self, Zone};
use super::query::Answer;
use super::{Queries, Reader, Window};

const MAX_DATAPOINTS: usize = 100_800;

pub(super) fn operations(router: &mut Router) {
    router.on_bulk::<ops::GetMetricData>(get_metric_data);
}

fn get_metric_data(cx: &mut Context, input: GetMetricDataInput) -> Result<GetMetricDataOutput, ApiError> {
    let window = Window::new(input.start_time, input.end_time)?;
    let queries = Queries::new(&input.metric_data_queries, Some(&cx.scope().account))?;
    let zone = input.label_options.and_then(|options| options.timezone).map(|zone| Zone::parse(&zone));
    let zone = zone.transpose()?.unwrap_or_default();
    let limit =
        input.max_datapoints.map_or(MAX_DATAPOINTS, |limit| limit.clamp(1, MAX_DATAPOINTS as i64) as usize);
    let from = input.next_token.as_deref().map_or(Ok((0, 0)), place)?;
    let answers = queries.answers(Reader { store: &*cx.bulk.metrics, scope: cx.scope() }, &window)?;
    let newest_first = input.scan_by.as_deref() != Some("TimestampAscending");
    let (pages, next) = page(&answers, from, limit, newest_first);
    let result = |(answer, points, whole): (&Answer, Vec<(Timestamp, f64)>, bool)| {
        let (timestamps, values) = points.into_iter().unzip();
        Ok(MetricDataResult {
            id: Some(answer.id.clone()),
            label: Some(label::dynamic(answer, zone)?),
            timestamps: Some(timestamps),
            values: Some(values),
            status_code: Some(if whole { "Complete" } else { "PartialData" }.into()),
            messages: None,
        })
    };
    Ok(GetMetricDataOutput {
        metric_data_results: Some(pages.into_iter().map(result).collect::<Result<_, ApiError>>()?),
        next_token: next.map(|(answer, point)| format!("{answer}:{point}")),
        messages: Some(Vec::new()),
    })
}

/// The place that a token names: an answer, and how many of its points have been handed out.
fn place(token: &str) -> Result<(usize, usize), ApiError> {
    let place =
        token.split_once(':').and_then(|(answer, point)| Some((answer.parse().ok()?, point.parse().ok()?)));
    place.ok_or_else(|| ApiError::client("InvalidNextToken", "The next token specified is invalid."))
}

/// An answer, those of its points that are on this page, and whether they are its last.
type Part<'a> = (&'a Answer, Vec<(Timestamp, f64)>, bool);

/// Up to `limit` points from a place on, and the place after them if there is more.
fn page(
    answers: &[Answer],
    (first, mut skipped): (usize, usize),
    limit: usize,
    newest_first: bool,
) -> (Vec<Part<'_>>, Option<(usize, usize)>) {
    let (mut parts, mut left) = (Vec::new(), limit);
    for (index, answer) in answers.iter().enumerate().skip(first) {
        let mut points: Vec<_> = answer.points.iter().map(|(at, value)| (*at, *value)).collect();
        if newest_first {
            points.reverse();
        }
        let rest = points.len().saturating_sub(skipped);
        if left == 0 && rest > 0 {
            return (parts, Some((index, skipped)));
        }
        let taken = rest.min(left);
        let points = points.into_iter().skip(skipped).take(taken).collect();
        parts.push((answer, points, taken == rest));
        if taken < rest {
            return (parts, Some((index, skipped + taken)));
        }
        (left, skipped) = (left - taken, 0);
    }
    (parts, None)
}

#[cfg(test)]
mod tests;
