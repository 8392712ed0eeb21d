//! Putting events into a stream and reading them back in order.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>

use std::time::Duration;

use pileus_aws::logs::{
    GetLogEventsRequest, GetLogEventsResponse, InputLogEvent, OutputLogEvent, PutLogEventsRequest,
    PutLogEventsResponse, RejectedLogEventsInfo, ops,
};
use pileus_contract::{LogEvent, LogPosition, LogStreamId};
use pileus_core::{ApiError, Timestamp};
use pileus_service::{Context, Router};

use super::{group, invalid, invalid_token, store_failed, stream};

const MAX_BATCH_BYTES: usize = 1_048_576;
/// What AWS adds to each event's size.
const EVENT_OVERHEAD: usize = 26;
const MAX_BATCH_EVENTS: usize = 10_000;
const DAY: Duration = Duration::from_secs(86_400);
const MAX_AHEAD: Duration = Duration::from_secs(2 * 3600);
const MAX_AGE: Duration = Duration::from_secs(14 * 86_400);
/// How many events a page holds at most, and how many are looked at in one go.
const PAGE: usize = 10_000;

pub(super) fn operations(router: &mut Router) {
    router.on_bulk::<ops::PutLogEvents>(put_log_events).on_bulk::<ops::GetLogEvents>(get_log_events);
}

fn put_log_events(cx: &mut Context, input: PutLogEventsRequest) -> Result<PutLogEventsResponse, ApiError> {
    let group = group::find(cx.tx, &input.log_group_name)?;
    let stream = stream::find(cx.tx, &input.log_group_name, &input.log_stream_name)?.id(cx.scope());
    check_batch(&input.log_events)?;
    let oldest = group.retention_days.map(|days| cx.now - DAY * days as u32);
    let accepted = accept(&input.log_events, cx.now, oldest);
    let events: Vec<_> = input.log_events[accepted.from..accepted.to]
        .iter()
        .map(|event| LogEvent {
            timestamp: Timestamp::from_millis(event.timestamp),
            ingested: cx.now,
            message: event.message.clone(),
        })
        .collect();
    if !events.is_empty() {
        cx.bulk.logs.append(&stream, &events, None).map_err(store_failed)?;
        let measured = super::measurements(cx.tx, &stream, &events);
        if !measured.is_empty() {
            cx.bulk.metrics.put(cx.scope(), &measured).map_err(store_failed)?;
        }
    }
    let end = cx.bulk.logs.summary(&stream).map_err(store_failed)?.end;
    Ok(PutLogEventsResponse {
        next_sequence_token: Some(end.to_string()),
        rejected_log_events_info: accepted.rejected,
        rejected_entity_info: None,
    })
}

fn check_batch(events: &[InputLogEvent]) -> Result<(), ApiError> {
    if events.len() > MAX_BATCH_EVENTS {
        return Err(invalid(format!(
            "Upload too large: {} events exceed the limit of {MAX_BATCH_EVENTS}",
            events.len()
        )));
    }
    let bytes: usize = events.iter().map(|event| event.message.len() + EVENT_OVERHEAD).sum();
    if bytes > MAX_BATCH_BYTES {
        return Err(invalid(format!(
            "Upload too large: {bytes} bytes exceed the limit of {MAX_BATCH_BYTES}"
        )));
    }
    if !events.is_sorted_by_key(|event| event.timestamp) {
        return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    let span = events.last().map_or(0, |last| last.timestamp - events[0].timestamp);
    if span > DAY.as_millis() as i64 {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(())
}

/// The part of a batch, `from..to`, that is neither too old nor too new.
struct Accepted {
    from: usize,
    to: usize,
    rejected: Option<RejectedLogEventsInfo>,
}

fn accept(events: &[InputLogEvent], now: Timestamp, expired_before: Option<Timestamp>) -> Accepted {
    let older_than = |time: Timestamp| events.partition_point(|event| event.timestamp < time.millis());
    let too_old = older_than(now - MAX_AGE);
    let expired = expired_before.map_or(0, older_than);
    let too_new = events.partition_point(|event| event.timestamp <= (now + MAX_AHEAD).millis());
    let end = |index: usize| (index > 0).then_some(index as i64);
    let info = RejectedLogEventsInfo {
        too_new_log_event_start_index: (too_new < events.len()).then_some(too_new as i64),
        too_old_log_event_end_index: end(too_old),
        expired_log_event_end_index: end(expired),
    };
    let from = too_old.max(expired).min(too_new);
    Accepted { from, to: too_new, rejected: (info != RejectedLogEventsInfo::default()).then_some(info) }
}

/// Pages go by position: a forward token `f/P` asks for events from position P on, a backward token `b/P` for those
/// before P. At either end the token comes back unchanged, by which clients know that there is no more.
fn get_log_events(cx: &mut Context, input: GetLogEventsRequest) -> Result<GetLogEventsResponse, ApiError> {
    let group =
        group::find_one(cx.tx, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let stream = stream::find(cx.tx, &group.name, &input.log_stream_name)?.id(cx.scope());
    let within = |event: &LogEvent| {
        input.start_time.is_none_or(|start| event.timestamp.millis() >= start)
            && input.end_time.is_none_or(|end| event.timestamp.millis() < end)
    };
    let limit = input.limit.map_or(PAGE, |limit| limit as usize);
    let end = cx.bulk.logs.summary(&stream).map_err(store_failed)?.end;
    let cursor = match input.next_token.as_deref() {
        Some(token) => parse_token(token).ok_or_else(invalid_token)?,
        None if input.start_from_head.unwrap_or(false) => Cursor::From(0),
        None => Cursor::Before(end),
    };
    let (events, from, to) = match cursor {
        Cursor::From(from) => forward(cx, &stream, from, limit, within)?,
        Cursor::Before(before) => backward(cx, &stream, before.min(end), limit, within)?,
    };
    let shape = |event: LogEvent| OutputLogEvent {
        timestamp: Some(event.timestamp.millis()),
        message: Some(event.message),
        ingestion_time: Some(event.ingested.millis()),
    };
    Ok(GetLogEventsResponse {
        events: Some(events.into_iter().map(shape).collect()),
        next_forward_token: Some(format!("f/{to:056}")),
        next_backward_token: Some(format!("b/{from:056}")),
    })
}

enum Cursor {
    From(LogPosition),
    Before(LogPosition),
}

fn parse_token(token: &str) -> Option<Cursor> {
    let (direction, position) = token.split_once('/')?;
    let position = position.parse().ok()?;
    match direction {
        "f" => Some(Cursor::From(position)),
        "b" => Some(Cursor::Before(position)),
        _ => None,
    }
}

/// Events and the range of positions that they were taken from.
type Page = (Vec<LogEvent>, LogPosition, LogPosition);

fn forward(
    cx: &Context,
    stream: &LogStreamId,
    from: LogPosition,
    limit: usize,
    within: impl Fn(&LogEvent) -> bool,
) -> Result<Page, ApiError> {
    let (mut events, mut next) = (Vec::new(), from);
    loop {
        let read = cx.bulk.logs.read(stream, next, PAGE).map_err(store_failed)?;
        if read.is_empty() {
            return Ok((events, from, next));
        }
        for (position, event) in read {
            next = position + 1;
            if within(&event) {
                events.push(event);
                if events.len() == limit {
                    return Ok((events, from, next));
                }
            }
        }
    }
}

fn backward(
    cx: &Context,
    stream: &LogStreamId,
    before: LogPosition,
    limit: usize,
    within: impl Fn(&LogEvent) -> bool,
) -> Result<Page, ApiError> {
    let (mut newest_first, mut first) = (Vec::new(), before);
    while first > 0 && newest_first.len() < limit {
        let from = first.saturating_sub(PAGE as u64);
        let read = cx.bulk.logs.read(stream, from, (first - from) as usize).map_err(store_failed)?;
        let known = read.into_iter().filter(|(position, _)| *position < first).collect::<Vec<_>>();
        first = from;
        for (position, event) in known.into_iter().rev() {
            if within(&event) {
                newest_first.push(event);
                if newest_first.len() == limit {
                    first = position;
                    break;
                }
            }
        }
    }
    newest_first.reverse();
    Ok((newest_first, first, before))
}

#[cfg(test)]
mod tests {
    use pileus_aws::logs::{CreateLogGroupRequest, CreateLogStreamRequest};
    use pileus_kit::Cloud;

    use super::*;

    fn cloud() -> Cloud {
        let mut cloud = Cloud::new(crate::tables, crate::operations);
        cloud.ok::<ops::CreateLogGroup>(CreateLogGroupRequest {
            log_group_name: "g".into(),
            ..Default::default()
        });
        let stream = CreateLogStreamRequest { log_group_name: "g".into(), log_stream_name: "s".into() };
        cloud.ok::<ops::CreateLogStream>(stream);
        cloud
    }

    fn put(offsets: &[i64], now: Timestamp) -> PutLogEventsRequest {
        let event = |&offset: &i64| InputLogEvent {
            timestamp: now.millis() + offset * 1000,
            message: format!("at {offset}"),
        };
        PutLogEventsRequest {
            log_group_name: "g".into(),
            log_stream_name: "s".into(),
            log_events: offsets.iter().map(event).collect(),
            ..Default::default()
        }
    }

    fn get(limit: i64, head: bool, token: Option<String>) -> GetLogEventsRequest {
        GetLogEventsRequest {
            log_group_name: Some("g".into()),
            log_stream_name: "s".into(),
            limit: Some(limit),
            start_from_head: Some(head),
            next_token: token,
            ..Default::default()
        }
    }

    fn messages(output: &GetLogEventsResponse) -> Vec<&str> {
        output.events.iter().flatten().filter_map(|event| event.message.as_deref()).collect()
    }

    #[test]
    fn pages_go_both_ways_and_end_with_the_same_token() {
        let mut cloud = cloud();
        let batch = put(&[-5, -4, -3, -2, -1], cloud.now);
        cloud.ok::<ops::PutLogEvents>(batch);
        let first = cloud.ok::<ops::GetLogEvents>(get(2, true, None));
        assert_eq!(messages(&first), ["at -5", "at -4"]);
        let second = cloud.ok::<ops::GetLogEvents>(get(9, true, first.next_forward_token));
        assert_eq!(messages(&second), ["at -3", "at -2", "at -1"]);
        let end = cloud.ok::<ops::GetLogEvents>(get(9, true, second.next_forward_token.clone()));
        assert_eq!((messages(&end).len(), end.next_forward_token), (0, second.next_forward_token));
        let tail = cloud.ok::<ops::GetLogEvents>(get(2, false, None));
        assert_eq!(messages(&tail), ["at -2", "at -1"]);
        let before = cloud.ok::<ops::GetLogEvents>(get(2, false, tail.next_backward_token));
        assert_eq!(messages(&before), ["at -4", "at -3"]);
        assert_eq!(
            cloud.code::<ops::GetLogEvents>(get(2, true, Some("x".into()))),
            "InvalidParameterException"
        );
    }

    #[test]
    fn events_out_of_time_are_rejected_one_by_one() {
        let mut cloud = cloud();
        let hour = 3600;
        let batch = put(&[-15 * 24 * hour, -1], cloud.now);
        assert_eq!(
            cloud.code::<ops::PutLogEvents>(batch),
            "InvalidParameterException",
            "it spans more than a day"
        );
        let batch = put(&[-1, -2], cloud.now);
        assert_eq!(cloud.code::<ops::PutLogEvents>(batch), "InvalidParameterException", "it is out of order");
        let batch = put(&[0, hour, 3 * hour], cloud.now);
        let rejected = cloud.ok::<ops::PutLogEvents>(batch).rejected_log_events_info.expect("one is too new");
        assert_eq!(rejected.too_new_log_event_start_index, Some(2));
        let old = put(&[-15 * 24 * hour], cloud.now);
        let rejected = cloud.ok::<ops::PutLogEvents>(old).rejected_log_events_info.expect("it is too old");
        assert_eq!(rejected.too_old_log_event_end_index, Some(1));
        assert_eq!(messages(&cloud.ok::<ops::GetLogEvents>(get(9, true, None))), ["at 0", "at 3600"]);
    }
}
