//! Subscriptions of HTTP endpoints, which count once the endpoint has shown the token that it was sent.
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-http-https-endpoint-as-subscriber.html>

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pileus_aws::sns::{
    ConfirmSubscriptionInput, ConfirmSubscriptionResponse, GetSubscriptionAttributesInput,
    GetSubscriptionAttributesResponse, ListSubscriptionsByTopicInput, ListSubscriptionsByTopicResponse,
    ListSubscriptionsInput, ListSubscriptionsResponse, SetSubscriptionAttributesInput, SubscribeInput,
    SubscribeResponse, Subscription as SubscriptionShape, UnsubscribeInput, ops,
};
use pileus_core::{ApiError, Scope, Timestamp, paginate};
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use super::{delivery, invalid, message, not_found, resource, topic};

const PAGE: usize = 100;
const MAX_SUBSCRIPTIONS: usize = 1000;
/// What a subscription that has yet to be confirmed is called instead of its ARN.
const PENDING: &str = "pending confirmation";
/// How long a token holds.
const CONFIRMABLE: Duration = Duration::from_secs(2 * 86_400);

/// A subscription of an HTTP endpoint.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    pub topic: String,
    pub id: String,
    pub endpoint: String,
    pub confirmed: bool,
    /// With this an endpoint confirms.
    pub token: String,
    /// Whether the endpoint gets the bare message.
    pub raw: bool,
    pub principal: String,
    pub created: Timestamp,
}

impl Record for Subscription {
    const KIND: &'static str = "sns/subscription";

    fn key(&self) -> String {
        format!("{}:{}", self.topic, self.id)
    }
}

impl Subscription {
    pub(super) fn arn(&self, scope: &Scope) -> String {
        scope.arn("sns", self.key())
    }
}

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::Subscribe>(subscribe)
        .on::<ops::Unsubscribe>(unsubscribe_operation)
        .on::<ops::ConfirmSubscription>(confirm_subscription)
        .on::<ops::ListSubscriptions>(list_subscriptions)
        .on::<ops::ListSubscriptionsByTopic>(list_subscriptions_by_topic)
        .on::<ops::GetSubscriptionAttributes>(get_subscription_attributes)
        .on::<ops::SetSubscriptionAttributes>(set_subscription_attributes);
}

/// Subscribing an endpoint that is subscribed is no error.
fn subscribe(cx: &mut Context, input: SubscribeInput) -> Result<SubscribeResponse, ApiError> {
    let topic = topic::find(cx.tx, &input.topic_arn)?;
    if input.protocol != "http" {
        return Err(ApiError::not_implemented(format_args!(
            "subscriptions with the protocol {}",
            input.protocol
        )));
    }
    let endpoint = input.endpoint.unwrap_or_default();
    check_endpoint(&endpoint)?;
    let mut raw = false;
    for (name, value) in input.attributes.unwrap_or_default() {
        raw |= set(&name, &value)?;
    }
    let of_topic = cx.tx.list::<Subscription>().into_iter().filter(|known| known.topic == topic.name);
    let of_topic: Vec<_> = of_topic.collect();
    let subscription = match of_topic.iter().find(|known| known.endpoint == endpoint) {
        Some(known) => Subscription::clone(known),
        None if of_topic.len() >= MAX_SUBSCRIPTIONS => {
            let message = format!("The topic has {MAX_SUBSCRIPTIONS} subscriptions already.");
            return Err(ApiError::new("SubscriptionLimitExceeded", 403, message));
        }
        None => {
            let mut token = [0; 64];
            (cx.entropy)(&mut token);
            Subscription {
                topic: topic.name.clone(),
                id: cx.ids.uuid(),
                endpoint,
                confirmed: false,
                token: token.iter().map(|byte| format!("{byte:02x}")).collect(),
                raw,
                principal: cx.caller.arn.clone(),
                created: cx.now,
            }
        }
    };
    if !subscription.confirmed {
        let id = cx.ids.uuid();
        let body = message::confirmation(cx.scope(), &subscription, cx.endpoint, &id, cx.now);
        delivery::queue(cx.tx, &subscription, "SubscriptionConfirmation", body, id, cx.now)?;
    }
    let named = subscription.confirmed || input.return_subscription_arn == Some(true);
    let arn = if named { subscription.arn(cx.scope()) } else { PENDING.into() };
    cx.tx.put(subscription);
    Ok(SubscribeResponse { subscription_arn: Some(arn) })
}

fn check_endpoint(endpoint: &str) -> Result<(), ApiError> {
    let rest = endpoint
        .strip_prefix("http://")
        .ok_or_else(|| invalid("Endpoint must match the specified protocol"))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return Err(ApiError::not_implemented("endpoints with a user name and password"));
    }
    let plain = endpoint.len() <= 2048 && endpoint.chars().all(|c| c.is_ascii_graphic());
    if host.is_empty() || host.starts_with(':') || !plain {
        return Err(invalid("Endpoint"));
    }
    Ok(())
}

/// Whether an attribute asks for raw messages.
///
/// # Errors
/// An attribute that Pileus does not act on.
fn set(name: &str, value: &str) -> Result<bool, ApiError> {
    match (name, value) {
        ("RawMessageDelivery", "true") => Ok(true),
        ("RawMessageDelivery", "false")
        | ("FilterPolicy" | "DeliveryPolicy" | "RedrivePolicy", "" | "{}") => Ok(false),
        ("RawMessageDelivery", _) => {
            Err(invalid("Attributes Reason: RawMessageDelivery: Invalid value. Must be true or false."))
        }
        _ => Err(ApiError::not_implemented(format_args!("the subscription attribute {name}"))),
    }
}

fn find(tx: &Tx, arn: &str) -> Result<Arc<Subscription>, ApiError> {
    let key = resource(tx.scope(), arn, "SubscriptionArn")?;
    tx.get::<Subscription>(key).ok_or_else(|| not_found("Subscription"))
}

/// Confirms the subscription that was sent this token; returns its ARN.
///
/// # Errors
/// No subscription of the topic has this token.
pub fn confirm(tx: &mut Tx, topic_arn: &str, token: &str) -> Result<String, ApiError> {
    let topic = topic::find(tx, topic_arn)?;
    let found = tx.find::<Subscription>(|known| known.topic == topic.name && known.token == token);
    let found = found.ok_or_else(|| invalid("Token"))?;
    tx.update::<Subscription>(&found.key(), |subscription| subscription.confirmed = true);
    Ok(found.arn(tx.scope()))
}

/// Ends a subscription; one that is not there is no error.
///
/// # Errors
/// It is no ARN of a subscription.
pub fn unsubscribe(tx: &mut Tx, arn: &str) -> Result<(), ApiError> {
    let key = resource(tx.scope(), arn, "SubscriptionArn")?;
    if !key.contains(':') {
        return Err(invalid("SubscriptionArn Reason: An ARN must have at least 6 elements, not 5"));
    }
    tx.delete::<Subscription>(key);
    Ok(())
}

fn confirm_subscription(
    cx: &mut Context,
    input: ConfirmSubscriptionInput,
) -> Result<ConfirmSubscriptionResponse, ApiError> {
    let arn = confirm(cx.tx, &input.topic_arn, &input.token)?;
    Ok(ConfirmSubscriptionResponse { subscription_arn: Some(arn) })
}

fn unsubscribe_operation(cx: &mut Context, input: UnsubscribeInput) -> Result<Unit, ApiError> {
    unsubscribe(cx.tx, &input.subscription_arn)?;
    Ok(Unit::default())
}

/// Lets go of subscriptions that were not confirmed in time, in every scope.
pub fn expire(tx: &mut Tx, now: Timestamp) {
    let late =
        |subscription: &Subscription| !subscription.confirmed && subscription.created + CONFIRMABLE < now;
    let gone: Vec<(Scope, String)> = {
        let all = tx.base().all::<Subscription>().filter(|(_, subscription)| late(subscription));
        all.map(|(scope, subscription)| (scope.clone(), subscription.key())).collect()
    };
    for (scope, key) in gone {
        tx.within(scope, |tx| tx.delete::<Subscription>(&key));
    }
}

fn shape(scope: &Scope, subscription: &Subscription) -> SubscriptionShape {
    let arn = if subscription.confirmed { subscription.arn(scope) } else { "PendingConfirmation".into() };
    SubscriptionShape {
        subscription_arn: Some(arn),
        owner: Some(scope.account.clone()),
        protocol: Some("http".into()),
        endpoint: Some(subscription.endpoint.clone()),
        topic_arn: Some(topic::arn(scope, &subscription.topic)),
    }
}

type Page = (Vec<SubscriptionShape>, Option<String>);

fn page(cx: &Context, topic: Option<&str>, token: Option<&str>) -> Result<Page, ApiError> {
    let mut subscriptions = cx.tx.list::<Subscription>();
    subscriptions.retain(|subscription| topic.is_none_or(|topic| subscription.topic == topic));
    let key = |subscription: &Arc<Subscription>| subscription.key();
    let (page, next) = paginate(subscriptions, key, token, PAGE, || invalid("NextToken"))?;
    Ok((page.iter().map(|subscription| shape(cx.scope(), subscription)).collect(), next))
}

fn list_subscriptions(
    cx: &mut Context,
    input: ListSubscriptionsInput,
) -> Result<ListSubscriptionsResponse, ApiError> {
    let (subscriptions, next_token) = page(cx, None, input.next_token.as_deref())?;
    Ok(ListSubscriptionsResponse { subscriptions: Some(subscriptions), next_token })
}

fn list_subscriptions_by_topic(
    cx: &mut Context,
    input: ListSubscriptionsByTopicInput,
) -> Result<ListSubscriptionsByTopicResponse, ApiError> {
    let topic = topic::find(cx.tx, &input.topic_arn)?;
    let (subscriptions, next_token) = page(cx, Some(&topic.name), input.next_token.as_deref())?;
    Ok(ListSubscriptionsByTopicResponse { subscriptions: Some(subscriptions), next_token })
}

fn get_subscription_attributes(
    cx: &mut Context,
    input: GetSubscriptionAttributesInput,
) -> Result<GetSubscriptionAttributesResponse, ApiError> {
    let subscription = find(cx.tx, &input.subscription_arn)?;
    let attributes = [
        ("SubscriptionArn", subscription.arn(cx.scope())),
        ("TopicArn", topic::arn(cx.scope(), &subscription.topic)),
        ("Owner", cx.scope().account.clone()),
        ("Protocol", "http".into()),
        ("Endpoint", subscription.endpoint.clone()),
        ("PendingConfirmation", (!subscription.confirmed).to_string()),
        ("ConfirmationWasAuthenticated", "false".into()),
        ("RawMessageDelivery", subscription.raw.to_string()),
        ("SubscriptionPrincipal", subscription.principal.clone()),
    ];
    let attributes = BTreeMap::from(attributes.map(|(name, value)| (name.to_owned(), value)));
    Ok(GetSubscriptionAttributesResponse { attributes: Some(attributes) })
}

fn set_subscription_attributes(
    cx: &mut Context,
    input: SetSubscriptionAttributesInput,
) -> Result<Unit, ApiError> {
    let subscription = find(cx.tx, &input.subscription_arn)?;
    let raw = set(&input.attribute_name, input.attribute_value.as_deref().unwrap_or_default())?;
    if input.attribute_name == "RawMessageDelivery" {
        cx.tx.update::<Subscription>(&subscription.key(), |subscription| subscription.raw = raw);
    }
    Ok(Unit::default())
}

/// The confirmed subscriptions of a topic.
pub(super) fn confirmed(tx: &Tx, topic: &str) -> Vec<Arc<Subscription>> {
    let mut subscriptions = tx.list::<Subscription>();
    subscriptions.retain(|subscription| subscription.confirmed && subscription.topic == topic);
    subscriptions
}
