//! Topics: where messages are published to.
//! <https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html>

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_aws::sns::{
    CreateTopicInput, CreateTopicResponse, DeleteTopicInput, GetTopicAttributesInput,
    GetTopicAttributesResponse, ListTagsForResourceRequest, ListTagsForResourceResponse, ListTopicsInput,
    ListTopicsResponse, SetTopicAttributesInput, Tag, TagResourceRequest, TagResourceResponse,
    Topic as TopicShape, UntagResourceRequest, UntagResourceResponse, ops,
};
use pileus_core::{ApiError, Scope, Tags, paginate, tags};
use pileus_model::Unit;
use pileus_security::policy::{Kind, parse};
use pileus_service::{Context, Described, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::subscription::Subscription;
use super::{invalid, not_found, resource};

const PAGE: usize = 100;
const MAX_TOPICS: usize = 10_000;

/// A standard topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Topic {
    pub name: String,
    pub display_name: String,
    /// A JSON document, where one was set: the router's to judge of who calls. Alarms of the account may always publish.
    pub policy: Option<String>,
    pub tags: Tags,
}

impl Record for Topic {
    const KIND: &'static str = "sns/topic";

    fn key(&self) -> String {
        self.name.clone()
    }
}

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateTopic>(create_topic)
        .on::<ops::DeleteTopic>(delete_topic)
        .on::<ops::ListTopics>(list_topics)
        .on::<ops::GetTopicAttributes>(get_topic_attributes)
        .on::<ops::SetTopicAttributes>(set_topic_attributes)
        .on::<ops::TagResource>(tag_resource)
        .on::<ops::UntagResource>(untag_resource)
        .on::<ops::ListTagsForResource>(list_tags_for_resource)
        .resources("sns", described);
}

/// A topic as policies see it.
fn described(tx: &Tx, arn: &str) -> Option<Described> {
    let topic = find(tx, arn).ok()?;
    let policy = topic.policy.as_deref().map(without_sids);
    Some(Described { arn: arn.to_owned(), tags: topic.tags.clone(), policy })
}

/// A policy with the same meaning: SNS allows more in statements' ids than IAM, `__default_statement_ID` above all.
fn without_sids(policy: &str) -> String {
    let Ok(mut document) = serde_json::from_str::<Value>(policy) else { return policy.to_owned() };
    let statements = match document.get_mut("Statement") {
        Some(Value::Array(statements)) => statements.as_mut_slice(),
        Some(statement) => std::slice::from_mut(statement),
        None => &mut [],
    };
    for statement in statements.iter_mut().filter_map(Value::as_object_mut) {
        statement.remove("Sid");
    }
    document.to_string()
}

pub(super) fn arn(scope: &Scope, name: &str) -> String {
    scope.arn("sns", name)
}

/// # Errors
/// `NotFound` where there is no such topic.
pub(super) fn find(tx: &Tx, arn: &str) -> Result<Arc<Topic>, ApiError> {
    let name = resource(tx.scope(), arn, "TopicArn")?;
    tx.get::<Topic>(name).ok_or_else(|| not_found("Topic"))
}

/// Creating a topic that is there, with the same attributes, is no error.
fn create_topic(cx: &mut Context, input: CreateTopicInput) -> Result<CreateTopicResponse, ApiError> {
    let name = input.name;
    if name.ends_with(".fifo") {
        return Err(ApiError::not_implemented("FIFO topics"));
    }
    let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 256 || !name.chars().all(named) {
        return Err(invalid("Topic Name"));
    }
    let tags: Tags = input.tags.into_iter().flatten().map(|tag| (tag.key, tag.value)).collect();
    tags::check(&tags, "InvalidParameter")?;
    let known = cx.tx.get::<Topic>(&name);
    let mut topic = Topic { name: name.clone(), display_name: String::new(), policy: None, tags };
    for (attribute, value) in input.attributes.unwrap_or_default() {
        set(&mut topic, &attribute, &value)?;
    }
    match known {
        Some(known) if !topic.tags.is_empty() && known.tags != topic.tags => {
            return Err(invalid("Tags Reason: Topic already exists with different tags"));
        }
        Some(_) => {}
        None if cx.tx.list::<Topic>().len() >= MAX_TOPICS => {
            return Err(ApiError::new(
                "TopicLimitExceeded",
                403,
                format!("There are {MAX_TOPICS} topics already."),
            ));
        }
        None => cx.tx.put(topic),
    }
    Ok(CreateTopicResponse { topic_arn: Some(arn(cx.scope(), &name)) })
}

fn set(topic: &mut Topic, attribute: &str, value: &str) -> Result<(), ApiError> {
    match attribute {
        "DisplayName" if value.chars().count() <= 100 => value.clone_into(&mut topic.display_name),
        "DisplayName" => return Err(invalid("DisplayName")),
        "Policy" if value.is_empty() => topic.policy = None,
        "Policy" => {
            let problem = parse(Kind::Resource, &without_sids(value)).err();
            if let Some(problem) = problem {
                return Err(invalid(format_args!("Policy Error: {problem}")));
            }
            topic.policy = Some(value.to_owned());
        }
        // What says only that something is off.
        "FifoTopic" | "ContentBasedDeduplication" if value == "false" => {}
        "KmsMasterKeyId" | "DeliveryPolicy" | "ArchivePolicy" if value.is_empty() => {}
        "TracingConfig" if value == "PassThrough" => {}
        name if name.ends_with("FeedbackSampleRate") && value == "0" => {}
        name if name.ends_with("FeedbackRoleArn") && value.is_empty() => {}
        other => {
            return Err(ApiError::not_implemented(format_args!("the topic attribute {other} = {value}")));
        }
    }
    Ok(())
}

/// Its subscriptions go with it; a topic that is not there is no error.
fn delete_topic(cx: &mut Context, input: DeleteTopicInput) -> Result<Unit, ApiError> {
    let name = resource(cx.scope(), &input.topic_arn, "TopicArn")?;
    for subscription in cx.tx.list::<Subscription>().iter().filter(|subscription| subscription.topic == name)
    {
        cx.tx.delete::<Subscription>(&subscription.key());
    }
    cx.tx.delete::<Topic>(name);
    Ok(Unit::default())
}

fn list_topics(cx: &mut Context, input: ListTopicsInput) -> Result<ListTopicsResponse, ApiError> {
    let topics = cx.tx.list::<Topic>();
    let key = |topic: &Arc<Topic>| topic.name.clone();
    let bad_token = || invalid("NextToken");
    let (page, next_token) = paginate(topics, key, input.next_token.as_deref(), PAGE, bad_token)?;
    let shape = |topic: &Arc<Topic>| TopicShape { topic_arn: Some(arn(cx.scope(), &topic.name)) };
    Ok(ListTopicsResponse { topics: Some(page.iter().map(shape).collect()), next_token })
}

fn get_topic_attributes(
    cx: &mut Context,
    input: GetTopicAttributesInput,
) -> Result<GetTopicAttributesResponse, ApiError> {
    let topic = find(cx.tx, &input.topic_arn)?;
    let subscriptions = cx.tx.list::<Subscription>();
    let count = |confirmed: bool| {
        let of_topic = subscriptions.iter().filter(|subscription| subscription.topic == topic.name);
        of_topic.filter(|subscription| subscription.confirmed == confirmed).count().to_string()
    };
    let retries = json!({ "http": { "defaultHealthyRetryPolicy": {
        "minDelayTarget": 20, "maxDelayTarget": 20, "numRetries": 3, "numMaxDelayRetries": 0, "numNoDelayRetries": 0,
        "numMinDelayRetries": 0, "backoffFunction": "linear" }, "disableSubscriptionOverrides": false } });
    let attributes = [
        ("TopicArn", input.topic_arn.clone()),
        ("Owner", cx.scope().account.clone()),
        ("Policy", topic.policy.clone().unwrap_or_else(|| default_policy(cx.scope(), &input.topic_arn))),
        ("DisplayName", topic.display_name.clone()),
        ("SubscriptionsConfirmed", count(true)),
        ("SubscriptionsPending", count(false)),
        ("SubscriptionsDeleted", "0".into()),
        ("EffectiveDeliveryPolicy", retries.to_string()),
    ];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value));
    Ok(GetTopicAttributesResponse { attributes: Some(BTreeMap::from(attributes)) })
}

/// What AWS gives a new topic: its owner may do everything with it.
fn default_policy(scope: &Scope, arn: &str) -> String {
    let actions = [
        "GetTopicAttributes",
        "SetTopicAttributes",
        "AddPermission",
        "RemovePermission",
        "DeleteTopic",
        "Subscribe",
        "ListSubscriptionsByTopic",
        "Publish",
    ];
    let statement = json!({
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": { "AWS": "*" },
        "Action": actions.map(|action| format!("SNS:{action}")),
        "Resource": arn,
        "Condition": { "StringEquals": { "AWS:SourceOwner": scope.account } },
    });
    json!({ "Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement] }).to_string()
}

fn set_topic_attributes(cx: &mut Context, input: SetTopicAttributesInput) -> Result<Unit, ApiError> {
    let mut topic = Topic::clone(&*find(cx.tx, &input.topic_arn)?);
    set(&mut topic, &input.attribute_name, input.attribute_value.as_deref().unwrap_or_default())?;
    cx.tx.put(topic);
    Ok(Unit::default())
}

fn tagged(tx: &Tx, arn: &str) -> Result<Arc<Topic>, ApiError> {
    let name = resource(tx.scope(), arn, "ResourceArn")?;
    let missing = || ApiError::new("ResourceNotFound", 404, "Resource does not exist");
    tx.get::<Topic>(name).ok_or_else(missing)
}

fn change_tags(cx: &mut Context, arn: &str, change: impl FnOnce(&mut Tags)) -> Result<(), ApiError> {
    let mut topic = Topic::clone(&*tagged(cx.tx, arn)?);
    change(&mut topic.tags);
    tags::check(&topic.tags, "InvalidParameter")?;
    cx.tx.put(topic);
    Ok(())
}

fn tag_resource(cx: &mut Context, input: TagResourceRequest) -> Result<TagResourceResponse, ApiError> {
    let added = input.tags.into_iter().map(|tag| (tag.key, tag.value));
    change_tags(cx, &input.resource_arn, |list| list.extend(added))?;
    Ok(TagResourceResponse::default())
}

fn untag_resource(cx: &mut Context, input: UntagResourceRequest) -> Result<UntagResourceResponse, ApiError> {
    change_tags(cx, &input.resource_arn, |list| list.retain(|key, _| !input.tag_keys.contains(key)))?;
    Ok(UntagResourceResponse::default())
}

fn list_tags_for_resource(
    cx: &mut Context,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, ApiError> {
    let list = tagged(cx.tx, &input.resource_arn)?.tags.clone();
    let tags = list.into_iter().map(|(key, value)| Tag { key, value }).collect();
    Ok(ListTagsForResourceResponse { tags: Some(tags) })
}
