//! Amazon SNS, as far as alarms need it: topics, subscriptions of HTTP endpoints, and what is on its way to them.
//! <https://docs.aws.amazon.com/sns/latest/api/>
//!
//! A message is a record for each subscription until it is delivered or given up, so that none is lost to a crash; the
//! engine sends what is [`due`] and reports with [`attempted`]. Messages are not signed: they have no `Signature`,
//! `SignatureVersion` and `SigningCertURL`.

mod delivery;
mod message;
mod publish;
mod subscription;
mod topic;

use pileus_core::{ApiError, Arn, Scope};
use pileus_service::Router;
use pileus_state::Tables;

pub use delivery::{Delivery, Outcome, attempted, due, next_attempt};
pub use publish::notify;
pub use subscription::{Subscription, confirm, expire, unsubscribe};
pub use topic::Topic;

pub(crate) fn tables(tables: &mut Tables) {
    tables.add::<Topic>().add::<Subscription>().add::<Delivery>();
}

pub(crate) fn operations(router: &mut Router) {
    topic::operations(router);
    subscription::operations(router);
    publish::operations(router);
}

fn invalid(message: impl std::fmt::Display) -> ApiError {
    ApiError::client("InvalidParameter", format!("Invalid parameter: {message}"))
}

fn not_found(what: &str) -> ApiError {
    ApiError::new("NotFound", 404, format!("{what} does not exist"))
}

/// The resource in an ARN of this scope: a topic's name, or `topic:id` of a subscription.
///
/// # Errors
/// It is no ARN of SNS, or of another account or region.
fn resource<'a>(scope: &Scope, arn: &'a str, parameter: &str) -> Result<&'a str, ApiError> {
    let arn = Arn::parse(arn).filter(|arn| arn.service == "sns").ok_or_else(|| invalid(parameter))?;
    if arn.account != scope.account || arn.region != scope.region {
        return Err(invalid(format_args!("{parameter} Reason: it is of another account or region")));
    }
    Ok(arn.resource)
}

#[cfg(test)]
mod tests;
