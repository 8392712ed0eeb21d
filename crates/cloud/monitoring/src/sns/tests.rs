//! Topics and subscriptions from creation to deletion, and messages on their way.

use std::time::Duration;

use pileus_aws::cloudwatch::{SetAlarmStateInput, ops as cloudwatch};
use pileus_aws::sns::{
    ConfirmSubscriptionInput, CreateTopicInput, DeleteTopicInput, GetSubscriptionAttributesInput,
    GetTopicAttributesInput, ListSubscriptionsInput, PublishInput, SetTopicAttributesInput, SubscribeInput,
    UnsubscribeInput, ops,
};
use pileus_kit::Cloud;
use serde_json::Value;

use super::delivery::Outcome;
use super::*;
use crate::alarms;

const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:ops";

fn cloud() -> Cloud {
    let mut cloud = Cloud::new(crate::tables, crate::operations);
    let output = cloud.ok::<ops::CreateTopic>(CreateTopicInput { name: "ops".into(), ..Default::default() });
    assert_eq!(output.topic_arn.as_deref(), Some(TOPIC));
    cloud
}

fn subscribe(endpoint: &str) -> SubscribeInput {
    SubscribeInput {
        topic_arn: TOPIC.into(),
        protocol: "http".into(),
        endpoint: Some(endpoint.into()),
        return_subscription_arn: Some(true),
        ..Default::default()
    }
}

/// Takes the first message that is due, as an endpoint that accepts it would.
fn receive(cloud: &mut Cloud) -> Option<(Delivery, Value)> {
    let (_, delivery) = due(&cloud.state, cloud.now).into_iter().next()?;
    cloud.write(|cx| attempted(cx.tx, &delivery.id, Outcome::Delivered, cx.now));
    let body = serde_json::from_str(&delivery.body).unwrap_or_default();
    Some((Delivery::clone(&delivery), body))
}

fn confirmed(cloud: &mut Cloud, endpoint: &str) -> String {
    let arn = cloud.ok::<ops::Subscribe>(subscribe(endpoint)).subscription_arn.expect("an ARN");
    let (_, body) = receive(cloud).expect("a confirmation");
    let token = body["Token"].as_str().expect("a token").to_owned();
    let input = ConfirmSubscriptionInput { topic_arn: TOPIC.into(), token };
    assert_eq!(cloud.ok::<ops::ConfirmSubscription>(input).subscription_arn.as_deref(), Some(&*arn));
    arn
}

#[test]
fn an_endpoint_confirms_and_gets_messages() {
    let mut cloud = cloud();
    let arn = confirmed(&mut cloud, "http://127.0.0.1:9/hook");
    let publish = PublishInput {
        topic_arn: Some(TOPIC.into()),
        subject: Some("Hello".into()),
        message: "World".into(),
        ..Default::default()
    };
    let id = cloud.ok::<ops::Publish>(publish).message_id;
    let (delivery, body) = receive(&mut cloud).expect("a notification");
    assert_eq!((body["Type"].as_str(), body["Subject"].as_str()), (Some("Notification"), Some("Hello")));
    assert_eq!((body["Message"].as_str(), body["MessageId"].as_str()), (Some("World"), id.as_deref()));
    assert!(delivery.headers().contains(&("x-amz-sns-message-type", "Notification".into())));
    cloud.ok::<ops::Unsubscribe>(UnsubscribeInput { subscription_arn: arn });
    let publish = PublishInput { topic_arn: Some(TOPIC.into()), message: "x".into(), ..Default::default() };
    cloud.ok::<ops::Publish>(publish);
    assert!(receive(&mut cloud).is_none());
}

#[test]
fn a_message_is_tried_four_times() {
    let mut cloud = cloud();
    confirmed(&mut cloud, "http://127.0.0.1:9/hook");
    let publish = PublishInput { topic_arn: Some(TOPIC.into()), message: "x".into(), ..Default::default() };
    cloud.ok::<ops::Publish>(publish.clone());
    for attempt in 1..=4 {
        let (_, delivery) = due(&cloud.state, cloud.now).remove(0);
        let given_up = cloud.write(|cx| attempted(cx.tx, &delivery.id, Outcome::Failed, cx.now));
        assert_eq!(given_up, attempt == 4);
        assert!(due(&cloud.state, cloud.now).is_empty(), "it waits");
        cloud.advance(Duration::from_secs(20));
    }
    assert_eq!(next_attempt(&cloud.state), None);
    cloud.ok::<ops::Publish>(publish);
    let (_, delivery) = due(&cloud.state, cloud.now).remove(0);
    assert!(cloud.write(|cx| attempted(cx.tx, &delivery.id, Outcome::Refused, cx.now)));
    assert_eq!(next_attempt(&cloud.state), None);
}

#[test]
fn an_alarm_tells_its_topic() {
    let mut cloud = cloud();
    confirmed(&mut cloud, "http://127.0.0.1:9/hook");
    let input = pileus_aws::cloudwatch::PutMetricAlarmInput {
        alarm_name: "high".into(),
        namespace: Some("App".into()),
        metric_name: Some("Depth".into()),
        statistic: Some("Average".into()),
        period: Some(60),
        evaluation_periods: Some(1),
        threshold: Some(1.0),
        comparison_operator: Some("GreaterThanThreshold".into()),
        alarm_actions: Some(vec![TOPIC.into(), format!("{TOPIC}-gone")]),
        ..Default::default()
    };
    cloud.ok::<cloudwatch::PutMetricAlarm>(input);
    let set = SetAlarmStateInput {
        alarm_name: "high".into(),
        state_value: "ALARM".into(),
        state_reason: "test".into(),
        ..Default::default()
    };
    cloud.ok::<cloudwatch::SetAlarmState>(set);
    let results: Vec<_> = alarms::pending(&cloud.state)
        .into_iter()
        .map(|(_, action)| cloud.write(|cx| notify(cx.tx, &action, "localhost:4566", cx.ids, cx.now)))
        .collect();
    assert_eq!(results, [Ok(()), Err("Topic does not exist".into())]);
    let (_, body) = receive(&mut cloud).expect("a notification");
    assert_eq!(body["Subject"], "ALARM: \"high\" in US East (N. Virginia)");
    let message: Value = serde_json::from_str(body["Message"].as_str().expect("a text")).expect("a document");
    assert_eq!(
        (&message["NewStateValue"], &message["OldStateValue"]),
        (&"ALARM".into(), &"INSUFFICIENT_DATA".into())
    );
    assert_eq!(
        (&message["Trigger"]["Statistic"], &message["Trigger"]["Threshold"]),
        (&"AVERAGE".into(), &1.0.into())
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let mut cloud = cloud();
    for (name, code) in
        [("a.fifo", "UnsupportedOperation"), ("a b", "InvalidParameter"), ("", "InvalidParameter")]
    {
        assert_eq!(
            cloud.code::<ops::CreateTopic>(CreateTopicInput { name: name.into(), ..Default::default() }),
            code
        );
    }
    for (input, code) in [
        (SubscribeInput { protocol: "email".into(), ..subscribe("a@b.c") }, "UnsupportedOperation"),
        (SubscribeInput { protocol: "https".into(), ..subscribe("https://a.b") }, "UnsupportedOperation"),
        (subscribe("ftp://a"), "InvalidParameter"),
        (subscribe("http:///x"), "InvalidParameter"),
        (SubscribeInput { topic_arn: format!("{TOPIC}-gone"), ..subscribe("http://a") }, "NotFound"),
        (
            SubscribeInput {
                attributes: Some([("FilterPolicy".to_owned(), "{\"a\":[1]}".to_owned())].into()),
                ..subscribe("http://a")
            },
            "UnsupportedOperation",
        ),
    ] {
        assert_eq!(cloud.code::<ops::Subscribe>(input), code);
    }
    let confirm = ConfirmSubscriptionInput { topic_arn: TOPIC.into(), token: "x".into() };
    assert_eq!(cloud.code::<ops::ConfirmSubscription>(confirm), "InvalidParameter");
    let kms = SetTopicAttributesInput {
        topic_arn: TOPIC.into(),
        attribute_name: "KmsMasterKeyId".into(),
        attribute_value: Some("alias/aws/sns".into()),
    };
    assert_eq!(cloud.code::<ops::SetTopicAttributes>(kms), "UnsupportedOperation");
    for (policy, code) in [("{", "InvalidParameter"), ("{\"Statement\":[]}", "InvalidParameter")] {
        let input = SetTopicAttributesInput {
            topic_arn: TOPIC.into(),
            attribute_name: "Policy".into(),
            attribute_value: Some(policy.into()),
        };
        assert_eq!(cloud.code::<ops::SetTopicAttributes>(input), code, "{policy}");
    }
    let attributes = GetTopicAttributesInput { topic_arn: TOPIC.into() };
    let default =
        cloud.ok::<ops::GetTopicAttributes>(attributes).attributes.expect("attributes")["Policy"].clone();
    let input = SetTopicAttributesInput {
        topic_arn: TOPIC.into(),
        attribute_name: "Policy".into(),
        attribute_value: Some(default),
    };
    cloud.ok::<ops::SetTopicAttributes>(input);
    let empty = PublishInput { topic_arn: Some(TOPIC.into()), ..Default::default() };
    assert_eq!(cloud.code::<ops::Publish>(empty), "InvalidParameter");
}

#[test]
fn a_topic_lives_from_create_to_delete() {
    let mut cloud = cloud();
    let arn = cloud.ok::<ops::Subscribe>(subscribe("http://a")).subscription_arn.expect("an ARN");
    let attributes = GetTopicAttributesInput { topic_arn: TOPIC.into() };
    let attributes = cloud.ok::<ops::GetTopicAttributes>(attributes).attributes.expect("attributes");
    assert_eq!((&*attributes["SubscriptionsPending"], &*attributes["Owner"]), ("1", "000000000000"));
    let read = GetSubscriptionAttributesInput { subscription_arn: arn.clone() };
    let attributes = cloud.ok::<ops::GetSubscriptionAttributes>(read.clone()).attributes.expect("attributes");
    assert_eq!(attributes["PendingConfirmation"], "true");
    cloud.advance(Duration::from_secs(3 * 86_400));
    cloud.write(|cx| expire(cx.tx, cx.now));
    assert_eq!(cloud.code::<ops::GetSubscriptionAttributes>(read), "NotFound");
    cloud.ok::<ops::Subscribe>(subscribe("http://a"));
    cloud.ok::<ops::DeleteTopic>(DeleteTopicInput { topic_arn: TOPIC.into() });
    let list = cloud.ok::<ops::ListSubscriptions>(ListSubscriptionsInput::default()).subscriptions;
    assert_eq!(list, Some(Vec::new()));
    let gone = GetTopicAttributesInput { topic_arn: TOPIC.into() };
    assert_eq!(cloud.code::<ops::GetTopicAttributes>(gone), "NotFound");
}
