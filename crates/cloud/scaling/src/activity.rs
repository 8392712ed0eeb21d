//! Scaling activities: what was scaled, why, and what came of it; and, for those who ask, what was not and why.
//! Kept six weeks, as on AWS.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-scaling-activities.html>

use std::fmt;
use std::time::Duration;

use pileus_aws::application_autoscaling::{
    DescribeScalingActivitiesRequest, DescribeScalingActivitiesResponse, NotScaledReason,
    ScalingActivity as Shape, ops,
};
use pileus_core::{ApiError, IdGen, Timestamp, paginate};
use pileus_monitoring::alarms::StateValue;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::decide::Reason;
use crate::resource::{DIMENSION, NAMESPACE, bad_token, check_namespace, page_size};

const KEPT: Duration = Duration::from_secs(42 * 86_400);
/// Activities that a target keeps, however new they are.
const MAX_ACTIVITIES: usize = 1000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingActivity {
    pub resource: String,
    pub id: String,
    pub description: String,
    pub cause: String,
    pub started_at: Timestamp,
    /// Tells activities of the same millisecond apart: 0 is the first.
    pub number: u32,
    pub ended_at: Option<Timestamp>,
    pub status: Status,
    pub message: Option<String>,
    pub reason: Option<Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    InProgress,
    Successful,
    Overridden,
    Unfulfilled,
    /// Also what was not scaled.
    Failed,
}

impl Record for ScalingActivity {
    const KIND: &'static str = "application-autoscaling/activity";

    fn key(&self) -> String {
        key(&self.resource, self.started_at, self.number)
    }
}

/// Newest first.
fn key(resource: &str, started_at: Timestamp, number: u32) -> String {
    format!("{resource}/{}", position(started_at, number))
}

fn position(started_at: Timestamp, number: u32) -> String {
    format!("{:019}-{:010}", i64::MAX - started_at.millis(), u32::MAX - number)
}

/// Why something was scaled, in AWS's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Alarm { alarm: String, state: StateValue, policy: String },
    Scheduled(String),
    Minimum(u32),
    Maximum(u32),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alarm { alarm, state, policy } => {
                write!(f, "monitor alarm {alarm} in state {state} triggered policy {policy}")
            }
            Self::Scheduled(action) => write!(f, "scheduled action name {action} was triggered"),
            Self::Minimum(capacity) => write!(f, "minimum capacity was set to {capacity}"),
            Self::Maximum(capacity) => write!(f, "maximum capacity was set to {capacity}"),
        }
    }
}

/// What an activity begins with.
pub(crate) struct News<'a> {
    pub(crate) resource: &'a str,
    pub(crate) cause: &'a Cause,
    pub(crate) description: String,
    pub(crate) status: Status,
    pub(crate) message: Option<String>,
    pub(crate) reason: Option<Reason>,
}

/// Writes an activity; returns its key.
pub(crate) fn begin(tx: &mut Tx, ids: &mut IdGen, now: Timestamp, news: News) -> String {
    let taken = |number: &u32| tx.get::<ScalingActivity>(&key(news.resource, now, *number)).is_some();
    let number = (0..).find(|number| !taken(number)).unwrap_or(u32::MAX);
    let activity = ScalingActivity {
        resource: news.resource.to_owned(),
        id: ids.uuid(),
        description: news.description,
        cause: news.cause.to_string(),
        started_at: now,
        number,
        ended_at: None,
        status: news.status,
        message: news.message,
        reason: news.reason,
    };
    let key = activity.key();
    tx.put(activity);
    key
}

/// The desired count was set, and ECS has yet to follow.
pub(crate) fn begin_setting(
    tx: &mut Tx,
    ids: &mut IdGen,
    now: Timestamp,
    resource: &str,
    cause: &Cause,
    to: u32,
) -> String {
    let news = News {
        resource,
        cause,
        description: format!("Setting desired count to {to}."),
        status: Status::InProgress,
        message: Some(format!(
            "Successfully set desired count to {to}. Waiting for change to be fulfilled by ecs."
        )),
        reason: None,
    };
    begin(tx, ids, now, news)
}

/// Ends an activity that set the desired count to `to`.
pub(crate) fn end(tx: &mut Tx, key: &str, now: Timestamp, status: Status, to: u32) {
    let rest = match status {
        Status::Successful => "Change successfully fulfilled by ecs.",
        Status::Overridden => "Change was overridden by a newer scaling event.",
        _ => "Change was not fulfilled by ecs in time.",
    };
    tx.update::<ScalingActivity>(key, |activity| {
        activity.status = status;
        activity.ended_at = Some(now);
        activity.message = Some(format!("Successfully set desired count to {to}. {rest}"));
    });
}

/// Notes what was not scaled, once for a cause until something is scaled or the reason is another.
pub(crate) fn not_scaled(
    tx: &mut Tx,
    ids: &mut IdGen,
    now: Timestamp,
    resource: &str,
    cause: &Cause,
    reason: Reason,
) {
    let words = cause.to_string();
    let since = of_target(tx, resource).into_iter().take_while(|activity| activity.reason.is_some());
    let last = since.into_iter().find(|activity| activity.cause == words);
    if last.is_some_and(|last| last.reason == Some(reason)) {
        return;
    }
    let news = News {
        resource,
        cause,
        description: "Attempting to scale due to alarm triggered".into(),
        status: Status::Failed,
        message: None,
        reason: Some(reason),
    };
    begin(tx, ids, now, news);
}

/// The activities of a target, newest first.
fn of_target(tx: &Tx, resource: &str) -> Vec<std::sync::Arc<ScalingActivity>> {
    let mut activities = tx.list::<ScalingActivity>();
    activities.retain(|activity| activity.resource == resource);
    activities
}

/// Lets go of what is old or too much, in the transaction's scope.
pub(crate) fn expire(tx: &mut Tx, now: Timestamp) {
    let (mut of, mut count) = (String::new(), 0);
    for activity in tx.list::<ScalingActivity>() {
        if activity.resource != of {
            (of, count) = (activity.resource.clone(), 0);
        }
        count += 1;
        if activity.started_at + KEPT <= now || count > MAX_ACTIVITIES {
            tx.delete::<ScalingActivity>(&activity.key());
        }
    }
}

pub(crate) fn operations(router: &mut Router) {
    router.on::<ops::DescribeScalingActivities>(describe_scaling_activities);
}

fn describe_scaling_activities(
    cx: &mut Context,
    input: DescribeScalingActivitiesRequest,
) -> Result<DescribeScalingActivitiesResponse, ApiError> {
    check_namespace(&input.service_namespace, input.scalable_dimension.as_deref())?;
    let with_not_scaled = input.include_not_scaled_activities.unwrap_or(false);
    let mut activities = cx.tx.list::<ScalingActivity>();
    activities.retain(|activity| {
        input.resource_id.as_ref().is_none_or(|id| *id == activity.resource)
            && (with_not_scaled || activity.reason.is_none())
    });
    let place = |activity: &std::sync::Arc<ScalingActivity>| {
        format!("{}/{}", position(activity.started_at, activity.number), activity.resource)
    };
    activities.sort_by_key(place);
    let size = page_size(input.max_results)?;
    let (page, next_token) = paginate(activities, place, input.next_token.as_deref(), size, bad_token)?;
    let shapes = page.iter().map(|activity| shape(activity)).collect();
    Ok(DescribeScalingActivitiesResponse { scaling_activities: Some(shapes), next_token })
}

fn shape(activity: &ScalingActivity) -> Shape {
    let status = match activity.status {
        Status::InProgress => "InProgress",
        Status::Successful => "Successful",
        Status::Overridden => "Overridden",
        Status::Unfulfilled => "Unfulfilled",
        Status::Failed => "Failed",
    };
    Shape {
        activity_id: Some(activity.id.clone()),
        service_namespace: Some(NAMESPACE.into()),
        resource_id: Some(activity.resource.clone()),
        scalable_dimension: Some(DIMENSION.into()),
        description: Some(activity.description.clone()),
        cause: Some(activity.cause.clone()),
        start_time: Some(activity.started_at),
        end_time: activity.ended_at,
        status_code: Some(status.into()),
        status_message: activity.message.clone(),
        details: None,
        not_scaled_reasons: activity.reason.map(|reason| vec![reason_shape(reason)]),
    }
}

fn reason_shape(reason: Reason) -> NotScaledReason {
    let with = |code: &str| NotScaledReason { code: Some(code.into()), ..NotScaledReason::default() };
    match reason {
        Reason::AnticipatedFlapping(current) => NotScaledReason {
            current_capacity: Some(current.into()),
            ..with("AutoScalingAnticipatedFlapping")
        },
        Reason::Unscalable => with("TargetServicePutResourceAsUnscalable"),
        Reason::AtMax(max) => {
            NotScaledReason { max_capacity: Some(max.into()), ..with("AlreadyAtMaxCapacity") }
        }
        Reason::AtMin(min) => {
            NotScaledReason { min_capacity: Some(min.into()), ..with("AlreadyAtMinCapacity") }
        }
        Reason::AtDesired(current) => {
            NotScaledReason { current_capacity: Some(current.into()), ..with("AlreadyAtDesiredCapacity") }
        }
    }
}
