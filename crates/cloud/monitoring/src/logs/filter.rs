//! `FilterLogEvents`: a search over the streams of a group, in order of time. `aws logs tail` lives on it.

use pileus_aws::logs::{FilterLogEventsRequest, FilterLogEventsResponse, FilteredLogEvent, ops};
use pileus_contract::{LogEvent, LogPosition};
use pileus_core::{ApiError, Timestamp, paginate};
use pileus_service::{Context, Router};

use super::pattern::Pattern;
use super::stream::LogStream;
use super::{group, invalid, invalid_token, store_failed};

/// A page's size at most, and by default.
const PAGE: usize = 10_000;

pub(super) fn operations(router: &mut Router) {
    router.on_bulk::<ops::FilterLogEvents>(filter_log_events);
}

fn filter_log_events(
    cx: &mut Context,
    input: FilterLogEventsRequest,
) -> Result<FilterLogEventsResponse, ApiError> {
    let group =
        group::find_one(cx.tx, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let pattern = Pattern::parse(input.filter_pattern.as_deref().unwrap_or_default())?;
    let (names, prefix) = (input.log_stream_names, input.log_stream_name_prefix);
    if names.is_some() && prefix.is_some() {
        return Err(invalid("Cannot specify both logStreamNames and logStreamNamePrefix."));
    }
    let start = Timestamp::from_millis(input.start_time.unwrap_or(0));
    let end = input.end_time.map_or(Timestamp::from_millis(i64::MAX), Timestamp::from_millis);
    let chosen = |stream: &LogStream| {
        stream.group == group.name
            && names.as_ref().is_none_or(|names| names.contains(&stream.name))
            && prefix.as_ref().is_none_or(|prefix| stream.name.starts_with(prefix))
    };
    let mut found = Vec::new();
    for stream in cx.tx.list::<LogStream>() {
        if chosen(&stream) {
            search(cx, &stream, start, |position, event| {
                if event.timestamp >= start && event.timestamp < end && pattern.matches(&event.message) {
                    found.push((event, stream.name.clone(), position));
                }
            })?;
        }
    }
    found.sort_by(|(a, a_stream, a_at), (b, b_stream, b_at)| {
        (a.timestamp, a_stream, a_at).cmp(&(b.timestamp, b_stream, b_at))
    });
    let limit = input.limit.map_or(PAGE, |limit| limit as usize).min(PAGE);
    let key = |(event, stream, position): &(LogEvent, String, LogPosition)| {
        format!("{:020}/{stream}/{position:020}", event.timestamp.millis())
    };
    let (page, next_token) = paginate(found, key, input.next_token.as_deref(), limit, invalid_token)?;
    let events = page.into_iter().map(|(event, stream, position)| shape(event, stream, position)).collect();
    Ok(FilterLogEventsResponse { events: Some(events), searched_log_streams: Some(Vec::new()), next_token })
}

/// Visits the events of a stream from about `start` on.
fn search(
    cx: &Context,
    stream: &LogStream,
    start: Timestamp,
    mut visit: impl FnMut(LogPosition, LogEvent),
) -> Result<(), ApiError> {
    let id = stream.id(cx.scope());
    let mut from = cx.bulk.logs.seek(&id, start).map_err(store_failed)?;
    loop {
        let read = cx.bulk.logs.read(&id, from, PAGE).map_err(store_failed)?;
        if read.is_empty() {
            return Ok(());
        }
        for (position, event) in read {
            from = position + 1;
            visit(position, event);
        }
    }
}

fn shape(event: LogEvent, stream: String, position: LogPosition) -> FilteredLogEvent {
    // Unique in its group: clients drop events whose id they have seen.
    let event_id = format!("{:020}{position:020}{:016x}", event.timestamp.millis(), fnv(&stream));
    FilteredLogEvent {
        log_stream_name: Some(stream),
        timestamp: Some(event.timestamp.millis()),
        message: Some(event.message),
        ingestion_time: Some(event.ingested.millis()),
        event_id: Some(event_id),
    }
}

/// FNV-1a, to tell streams apart in an event's id.
fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use pileus_aws::logs::{
        CreateLogGroupRequest, CreateLogStreamRequest, InputLogEvent, PutLogEventsRequest,
    };
    use pileus_kit::Cloud;

    use super::*;

    fn cloud() -> Cloud {
        let mut cloud = Cloud::new(crate::tables, crate::operations);
        cloud.ok::<ops::CreateLogGroup>(CreateLogGroupRequest {
            log_group_name: "g".into(),
            ..Default::default()
        });
        for (stream, offset) in [("web/1", 0), ("web/2", 1), ("db/1", 2)] {
            let name = CreateLogStreamRequest { log_group_name: "g".into(), log_stream_name: stream.into() };
            cloud.ok::<ops::CreateLogStream>(name);
            let event = |n: i64| InputLogEvent {
                timestamp: cloud.now.millis() + n * 10 + offset,
                message: format!("{stream} {}", if n % 2 == 0 { "even" } else { "odd" }),
            };
            let batch = PutLogEventsRequest {
                log_group_name: "g".into(),
                log_stream_name: stream.into(),
                log_events: (0..4).map(event).collect(),
                ..Default::default()
            };
            cloud.ok::<ops::PutLogEvents>(batch);
        }
        cloud
    }

    fn input() -> FilterLogEventsRequest {
        FilterLogEventsRequest { log_group_name: Some("g".into()), ..Default::default() }
    }

    fn messages(output: &FilterLogEventsResponse) -> Vec<&str> {
        output.events.iter().flatten().filter_map(|event| event.message.as_deref()).collect()
    }

    #[test]
    fn streams_are_interleaved_by_time_and_pages_join_up() {
        let mut cloud = cloud();
        let all = cloud.ok::<ops::FilterLogEvents>(input());
        assert_eq!(messages(&all)[..4], ["web/1 even", "web/2 even", "db/1 even", "web/1 odd"]);
        let (mut paged, mut next_token) = (Vec::new(), None);
        loop {
            let page = FilterLogEventsRequest { limit: Some(5), next_token, ..input() };
            let page = cloud.ok::<ops::FilterLogEvents>(page);
            paged.extend(page.events.into_iter().flatten());
            next_token = page.next_token;
            if next_token.is_none() {
                break;
            }
        }
        assert_eq!(Some(paged), all.events);
    }

    #[test]
    fn searches_by_pattern_stream_and_time() {
        let mut cloud = cloud();
        let start = Some(cloud.now.millis() + 10);
        let some = FilterLogEventsRequest {
            filter_pattern: Some("odd".into()),
            log_stream_name_prefix: Some("web/".into()),
            start_time: start,
            end_time: start.map(|start| start + 10),
            ..input()
        };
        assert_eq!(messages(&cloud.ok::<ops::FilterLogEvents>(some)), ["web/1 odd", "web/2 odd"]);
        let both = FilterLogEventsRequest {
            log_stream_name_prefix: Some("w".into()),
            log_stream_names: Some(vec!["web/1".into()]),
            ..input()
        };
        assert_eq!(cloud.code::<ops::FilterLogEvents>(both), "InvalidParameterException");
    }
}
