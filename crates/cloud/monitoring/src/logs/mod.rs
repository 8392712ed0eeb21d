//! Amazon CloudWatch Logs.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/>

mod event;
mod filter;
mod group;
mod pattern;
mod stream;

use pileus_core::ApiError;
use pileus_service::Router;

pub use group::{LogGroup, create as create_group, expiries};
pub use stream::{LogStream, ensure as ensure_stream};

pub(crate) fn operations(router: &mut Router) {
    group::operations(router);
    stream::operations(router);
    event::operations(router);
    filter::operations(router);
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
