//! Log streams: the events of one source, in order.

use pileus_aws::logs::{
    CreateLogStreamRequest, DeleteLogStreamRequest, DescribeLogStreamsRequest, DescribeLogStreamsResponse,
    LogStream as LogStreamShape, ops,
};
use pileus_contract::LogStreamId;
use pileus_core::{ApiError, Scope, Timestamp, paginate};
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use super::{group, invalid, invalid_token, store_failed};

/// A log stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogStream {
    pub group: String,
    pub name: String,
    pub created: Timestamp,
}

impl LogStream {
    /// What its events are stored under.
    pub fn id(&self, scope: &Scope) -> LogStreamId {
        LogStreamId { scope: scope.clone(), group: self.group.clone(), stream: self.name.clone() }
    }

    /// Group names contain no colon.
    pub(super) fn key_of(group: &str, name: &str) -> String {
        format!("{group}:{name}")
    }
}

impl Record for LogStream {
    const KIND: &'static str = "logs/stream";

    fn key(&self) -> String {
        Self::key_of(&self.group, &self.name)
    }
}

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateLogStream>(create_log_stream)
        .on::<ops::DeleteLogStream>(delete_log_stream)
        .on_bulk::<ops::DescribeLogStreams>(describe_log_streams);
}

/// The stream of this name in a group that exists, created where it is missing.
///
/// # Errors
/// `ResourceNotFoundException` where there is no such group.
pub fn ensure(tx: &mut Tx, group: &str, name: &str, now: Timestamp) -> Result<LogStreamId, ApiError> {
    group::find(tx, group)?;
    let stream = LogStream { group: group.to_owned(), name: name.to_owned(), created: now };
    if tx.get::<LogStream>(&stream.key()).is_none() {
        tx.put(stream.clone());
    }
    Ok(stream.id(tx.scope()))
}

/// # Errors
/// `ResourceNotFoundException` where there is no such stream.
pub(super) fn find(tx: &Tx, group: &str, name: &str) -> Result<LogStream, ApiError> {
    let stream = tx.get::<LogStream>(&LogStream::key_of(group, name)).map(|stream| LogStream::clone(&stream));
    stream.ok_or_else(|| {
        ApiError::client("ResourceNotFoundException", "The specified log stream does not exist.")
    })
}

fn create_log_stream(cx: &mut Context, input: CreateLogStreamRequest) -> Result<Unit, ApiError> {
    let group = group::find(cx.tx, &input.log_group_name)?;
    let stream = LogStream { group: group.name, name: input.log_stream_name, created: cx.now };
    if cx.tx.get::<LogStream>(&stream.key()).is_some() {
        return Err(ApiError::client(
            "ResourceAlreadyExistsException",
            "The specified log stream already exists",
        ));
    }
    cx.tx.put(stream);
    Ok(Unit::default())
}

fn delete_log_stream(cx: &mut Context, input: DeleteLogStreamRequest) -> Result<Unit, ApiError> {
    group::find(cx.tx, &input.log_group_name)?;
    let stream = find(cx.tx, &input.log_group_name, &input.log_stream_name)?;
    cx.tx.delete::<LogStream>(&stream.key());
    cx.bulk.logs.delete(&stream.id(cx.tx.scope())).map_err(store_failed)?;
    Ok(Unit::default())
}

fn describe_log_streams(
    cx: &mut Context,
    input: DescribeLogStreamsRequest,
) -> Result<DescribeLogStreamsResponse, ApiError> {
    let group =
        group::find_one(cx.tx, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let by_time = input.order_by.as_deref() == Some("LastEventTime");
    if by_time && input.log_stream_name_prefix.is_some() {
        return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let prefix = input.log_stream_name_prefix.unwrap_or_default();
    let mut streams = Vec::new();
    for stream in cx.tx.list::<LogStream>() {
        if stream.group == group.name && stream.name.starts_with(&prefix) {
            streams.push(shape(cx, &stream)?);
        }
    }
    // What the page is cut by: time and name, or the name alone.
    let key = |stream: &LogStreamShape| {
        let name = stream.log_stream_name.as_deref().unwrap_or_default();
        let time = if by_time { stream.last_event_timestamp.unwrap_or(0) } else { 0 };
        format!("{time:020}{name}")
    };
    streams.sort_by_cached_key(key);
    let descending = input.descending.unwrap_or(false);
    if descending {
        streams.reverse();
    }
    let numbered: Vec<_> = streams.into_iter().enumerate().collect();
    let position = |(index, _): &(usize, LogStreamShape)| format!("{index:020}");
    let limit = input.limit.unwrap_or(50) as usize;
    let (page, next_token) = paginate(numbered, position, input.next_token.as_deref(), limit, invalid_token)?;
    let log_streams = page.into_iter().map(|(_, stream)| stream).collect();
    Ok(DescribeLogStreamsResponse { log_streams: Some(log_streams), next_token })
}

fn shape(cx: &Context, stream: &LogStream) -> Result<LogStreamShape, ApiError> {
    let summary = cx.bulk.logs.summary(&stream.id(cx.scope())).map_err(store_failed)?;
    Ok(LogStreamShape {
        log_stream_name: Some(stream.name.clone()),
        creation_time: Some(stream.created.millis()),
        first_event_timestamp: summary.first_event.map(Timestamp::millis),
        last_event_timestamp: summary.last_event.map(Timestamp::millis),
        last_ingestion_time: summary.last_ingestion.map(Timestamp::millis),
        upload_sequence_token: Some(summary.end.to_string()),
        arn: Some(format!("{}:log-stream:{}", group::arn(cx.scope(), &stream.group), stream.name)),
        // AWS reports 0 for streams since 2019; a group has the figure.
        stored_bytes: Some(0),
    })
}
