//! The documents that endpoints get.
//! <https://docs.aws.amazon.com/sns/latest/dg/http-notification-json.html>

use std::collections::BTreeMap;

use pileus_aws::sns::MessageAttributeValue;
use pileus_core::{Scope, Timestamp};
use serde_json::{Value, json};

use super::subscription::Subscription;
use super::topic;

/// What a publisher said.
pub(super) struct Message<'a> {
    pub(super) id: &'a str,
    pub(super) subject: Option<&'a str>,
    pub(super) text: &'a str,
    pub(super) attributes: &'a BTreeMap<String, MessageAttributeValue>,
}

pub(super) fn notification(
    scope: &Scope,
    subscription: &Subscription,
    message: &Message,
    endpoint: &str,
    now: Timestamp,
) -> String {
    let mut document = json!({
        "Type": "Notification",
        "MessageId": message.id,
        "TopicArn": topic::arn(scope, &subscription.topic),
    });
    if let Some(subject) = message.subject {
        document["Subject"] = subject.into();
    }
    document["Message"] = message.text.into();
    document["Timestamp"] = now.iso8601().into();
    document["UnsubscribeURL"] =
        format!("http://{endpoint}/_pileus/sns/unsubscribe?SubscriptionArn={}", subscription.arn(scope))
            .into();
    if !message.attributes.is_empty() {
        let shape = |attribute: &MessageAttributeValue| json!({ "Type": attribute.data_type, "Value": attribute.string_value });
        let attributes = message.attributes.iter().map(|(name, attribute)| (name.clone(), shape(attribute)));
        document["MessageAttributes"] = Value::Object(attributes.collect());
    }
    pretty(&document)
}

pub(super) fn confirmation(
    scope: &Scope,
    subscription: &Subscription,
    endpoint: &str,
    id: &str,
    now: Timestamp,
) -> String {
    let topic = topic::arn(scope, &subscription.topic);
    let token = &subscription.token;
    pretty(&json!({
        "Type": "SubscriptionConfirmation",
        "MessageId": id,
        "Token": token,
        "TopicArn": topic,
        "Message": format!(
            "You have chosen to subscribe to the topic {topic}.\nTo confirm the subscription, visit the SubscribeURL \
             included in this message."
        ),
        "SubscribeURL": format!("http://{endpoint}/_pileus/sns/confirm?TopicArn={topic}&Token={token}"),
        "Timestamp": now.iso8601(),
    }))
}

/// A document of JSON values can always be written.
fn pretty(document: &Value) -> String {
    serde_json::to_string_pretty(document).unwrap_or_default()
}
