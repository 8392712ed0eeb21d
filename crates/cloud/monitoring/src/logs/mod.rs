//! Amazon CloudWatch Logs.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/>

mod event;
mod filter;
mod group;
mod insights;
mod metric_filter;
mod pattern;
mod stream;

use pileus_contract::{LogEvent, LogStreamId, Measurement};
use pileus_core::ApiError;
use pileus_service::Router;
use pileus_state::Tx;

pub use group::{LogGroup, create as create_group, expiries};
pub use insights::Query;
pub use metric_filter::MetricFilter;
pub use stream::{LogStream, ensure as ensure_stream};

pub(crate) fn operations(router: &mut Router) {
    group::operations(router);
    stream::operations(router);
    event::operations(router);
    filter::operations(router);
    metric_filter::operations(router);
    insights::operations(router);
}

/// The metrics of events that a stream has just taken in, by the metric filters of its group.
pub fn measurements(tx: &Tx, stream: &LogStreamId, events: &[LogEvent]) -> Vec<Measurement> {
    metric_filter::measure(&metric_filter::of_group(tx, &stream.group), events)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameterException", message)
}

fn invalid_token() -> ApiError {
    invalid("The specified nextToken is invalid.")
}

/// A failure of the store is ours; the client cannot mend it.
fn store_failed(error: pileus_contract::MachineError) -> ApiError {
    ApiError::new("ServiceUnavailableException", 503, error.to_string())
}
