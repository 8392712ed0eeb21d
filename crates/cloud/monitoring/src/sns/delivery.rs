//! Messages on their way to endpoints.
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html>

use std::sync::Arc;
use std::time::Duration;

use pileus_core::{ApiError, Scope, Timestamp};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use super::subscription::Subscription;
use super::topic;

/// The default policy for HTTP endpoints: three more attempts, each after twenty seconds.
const RETRIES: u32 = 3;
const DELAY: Duration = Duration::from_secs(20);
/// Messages that may be on their way in a scope.
const MAX_WAITING: usize = 10_000;

/// One message to one endpoint.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    pub id: String,
    pub endpoint: String,
    /// `Notification` or `SubscriptionConfirmation`.
    pub message_type: String,
    pub topic_arn: String,
    pub subscription_arn: String,
    /// Whether the body is the bare message.
    pub raw: bool,
    pub body: String,
    /// Attempts that have failed.
    pub attempts: u32,
    pub next: Timestamp,
}

impl Record for Delivery {
    const KIND: &'static str = "sns/delivery";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Delivery {
    /// The headers that AWS sends with it.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", "text/plain; charset=UTF-8".to_owned()),
            ("user-agent", "Amazon Simple Notification Service Agent".into()),
            ("x-amz-sns-message-type", self.message_type.clone()),
            ("x-amz-sns-message-id", self.id.clone()),
            ("x-amz-sns-topic-arn", self.topic_arn.clone()),
            ("x-amz-sns-subscription-arn", self.subscription_arn.clone()),
        ];
        if self.raw {
            headers.push(("x-amz-sns-rawdelivery", "true".into()));
        }
        headers
    }
}

/// Queues a message for a subscription; `id` is the delivery's own.
///
/// # Errors
/// Too many messages are on their way.
pub(super) fn queue(
    tx: &mut Tx,
    subscription: &Subscription,
    message_type: &str,
    body: String,
    id: String,
    now: Timestamp,
) -> Result<(), ApiError> {
    if tx.list::<Delivery>().len() >= MAX_WAITING {
        let message = format!("{MAX_WAITING} messages are on their way already; try again later.");
        return Err(ApiError::new("Throttled", 429, message));
    }
    let delivery = Delivery {
        id,
        endpoint: subscription.endpoint.clone(),
        message_type: message_type.into(),
        topic_arn: topic::arn(tx.scope(), &subscription.topic),
        subscription_arn: subscription.arn(tx.scope()),
        raw: subscription.raw && message_type == "Notification",
        body,
        attempts: 0,
        next: now,
    };
    tx.put(delivery);
    Ok(())
}

/// What is to be sent now.
pub fn due(state: &State, now: Timestamp) -> Vec<(Scope, Arc<Delivery>)> {
    let due = state.all::<Delivery>().filter(|(_, delivery)| delivery.next <= now);
    due.map(|(scope, delivery)| (scope.clone(), delivery)).collect()
}

/// When something is next to be sent.
pub fn next_attempt(state: &State) -> Option<Timestamp> {
    state.all::<Delivery>().map(|(_, delivery)| delivery.next).min()
}

/// Takes note of an attempt, in the delivery's scope: delivered, to be tried again, or given up. Returns whether it was
/// given up.
pub fn attempted(tx: &mut Tx, id: &str, outcome: Outcome, now: Timestamp) -> bool {
    let Some(delivery) = tx.get::<Delivery>(id) else { return false };
    let again = outcome == Outcome::Failed && delivery.attempts < RETRIES;
    if again {
        tx.update::<Delivery>(id, |delivery| {
            delivery.attempts += 1;
            delivery.next = now + DELAY;
        });
    } else {
        tx.delete::<Delivery>(id);
    }
    !again && outcome != Outcome::Delivered
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// It may succeed later.
    Failed,
    /// The endpoint does not want it: 4xx, but for 429.
    Refused,
}
