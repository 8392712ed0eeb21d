//! Scheduled actions: a new range for a target, once or again and again.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-scheduled-scaling.html>

use pileus_aws::application_autoscaling::{
    DeleteScheduledActionRequest, DeleteScheduledActionResponse, DescribeScheduledActionsRequest,
    DescribeScheduledActionsResponse, PutScheduledActionRequest, PutScheduledActionResponse,
    ScalableTargetAction, ScheduledAction as Shape, ops,
};
use pileus_core::{ApiError, IdGen, Scope, Timestamp, paginate};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use super::Schedule;
use crate::activity::{self, Cause, News, Status};
use crate::progress;
use crate::resource::{
    DIMENSION, NAMESPACE, Resource, bad_token, check_namespace, invalid, not_found, page_size, too_many,
};
use crate::target::{self, ScalableTarget};

/// AWS's quota for a target.
const MAX_ACTIONS: usize = 200;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScheduledAction {
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) schedule: String,
    pub(crate) timezone: Option<String>,
    pub(crate) start: Option<Timestamp>,
    pub(crate) end: Option<Timestamp>,
    pub(crate) min: Option<u32>,
    pub(crate) max: Option<u32>,
    pub(crate) created_at: Timestamp,
    /// When it is due; `None` where it will not be any more.
    pub(crate) next: Option<Timestamp>,
}

impl Record for ScheduledAction {
    const KIND: &'static str = "application-autoscaling/scheduled-action";

    fn key(&self) -> String {
        key(&self.resource, &self.name)
    }
}

fn key(resource: &str, name: &str) -> String {
    format!("{resource}/{name}")
}

impl ScheduledAction {
    /// When it is due after `after`: at its start, and then by its schedule until its end.
    fn due_after(&self, schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
        let next = match self.start {
            Some(start) if start > after => Some(start),
            start => schedule.next_after(after, start.unwrap_or(self.created_at)),
        };
        next.filter(|next| self.end.is_none_or(|end| *next <= end))
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::PutScheduledAction>(put_scheduled_action)
        .on::<ops::DescribeScheduledActions>(describe_scheduled_actions)
        .on::<ops::DeleteScheduledAction>(delete_scheduled_action);
}

/// Members that an update does not give stay as they are, but for the start and the end, which are then none.
fn put_scheduled_action(
    cx: &mut Context,
    input: PutScheduledActionRequest,
) -> Result<PutScheduledActionResponse, ApiError> {
    let resource = Resource::read(&input.service_namespace, &input.resource_id, &input.scalable_dimension)?;
    target::find(cx.tx, &resource)?;
    check_name(&input.scheduled_action_name)?;
    let known = cx.tx.get::<ScheduledAction>(&key(resource.id, &input.scheduled_action_name));
    let known = known.as_deref();
    let own = cx.tx.list::<ScheduledAction>();
    if known.is_none() && own.iter().filter(|action| action.resource == resource.id).count() >= MAX_ACTIONS {
        return Err(too_many(format!("The scalable target has {MAX_ACTIONS} scheduled actions already")));
    }
    let schedule = input.schedule.or_else(|| known.map(|known| known.schedule.clone()));
    let schedule = schedule.ok_or_else(|| invalid("Schedule is required to create a scheduled action"))?;
    let timezone = input.timezone.or_else(|| known.and_then(|known| known.timezone.clone()));
    let (min, max) = match input.scalable_target_action {
        Some(action) => range(&action)?,
        None => known
            .map(|known| (known.min, known.max))
            .ok_or_else(|| invalid("ScalableTargetAction is required to create a scheduled action"))?,
    };
    let parsed = Schedule::parse(&schedule, timezone.as_deref())?;
    let mut action = ScheduledAction {
        resource: resource.id.to_owned(),
        name: input.scheduled_action_name,
        schedule,
        timezone,
        start: input.start_time,
        end: input.end_time,
        min,
        max,
        created_at: known.map_or(cx.now, |known| known.created_at),
        next: None,
    };
    if action.start.zip(action.end).is_some_and(|(start, end)| end <= start) {
        return Err(invalid("EndTime must be after StartTime"));
    }
    action.next = action.due_after(&parsed, cx.now);
    if action.next.is_none() {
        return Err(invalid(format!("The schedule {} is never due: its time has passed", action.schedule)));
    }
    cx.tx.put(action);
    Ok(PutScheduledActionResponse::default())
}

/// The model's pattern looks ahead, which Rust's regular expressions do not.
fn check_name(name: &str) -> Result<(), ApiError> {
    let forbidden = |c: char| c.is_control() || matches!(c, ':' | '/' | '|');
    if name.starts_with(' ') || name.ends_with(' ') || name.contains(forbidden) {
        return Err(invalid(format!("Invalid scheduled action name: {name}")));
    }
    Ok(())
}

fn range(action: &ScalableTargetAction) -> Result<(Option<u32>, Option<u32>), ApiError> {
    let (min, max) =
        (target::capacity(action.min_capacity, "Min")?, target::capacity(action.max_capacity, "Max")?);
    match (min, max) {
        (None, None) => Err(invalid("At least one of MinCapacity and MaxCapacity is required")),
        (Some(min), Some(max)) => target::check_range(min, max).map(|()| (Some(min), Some(max))),
        _ => Ok((min, max)),
    }
}

/// Runs what is due, in the order of time; returns when the next is, in the transaction's scope.
pub(crate) fn run_due(tx: &mut Tx, ids: &mut IdGen, now: Timestamp) -> Option<Timestamp> {
    let mut due = tx.list::<ScheduledAction>();
    due.retain(|action| action.next.is_some_and(|next| next <= now));
    due.sort_by_key(|action| action.next);
    for action in due {
        run(tx, ids, now, &action);
        // What was missed while the engine was away is due once.
        let next = Schedule::parse(&action.schedule, action.timezone.as_deref())
            .ok()
            .and_then(|schedule| action.due_after(&schedule, now));
        tx.put(ScheduledAction { next, ..ScheduledAction::clone(&action) });
    }
    tx.list::<ScheduledAction>().iter().filter_map(|action| action.next).min()
}

fn run(tx: &mut Tx, ids: &mut IdGen, now: Timestamp, action: &ScheduledAction) {
    let Some(known) = tx.get::<ScalableTarget>(&action.resource) else { return };
    if known.scheduled_suspended {
        return;
    }
    let mut target = ScalableTarget::clone(&known);
    (target.min, target.max) = (action.min.unwrap_or(target.min), action.max.unwrap_or(target.max));
    let set = match (action.min, action.max) {
        (Some(min), Some(max)) => format!("min capacity to {min} and max capacity to {max}"),
        (Some(min), None) => format!("min capacity to {min}"),
        (None, max) => format!("max capacity to {}", max.unwrap_or(target.max)),
    };
    let refused = target::check_range(target.min, target.max).err();
    let news = News {
        resource: &action.resource,
        cause: &Cause::Scheduled(action.name.clone()),
        description: format!("Setting {set}"),
        status: if refused.is_some() { Status::Failed } else { Status::Successful },
        message: Some(match &refused {
            Some(error) => format!("Failed to set {set}: {}", error.message),
            None => format!("Successfully set {set}"),
        }),
        reason: None,
    };
    activity::begin(tx, ids, now, news);
    if refused.is_none() {
        tx.put(target.clone());
        progress::enforce(tx, ids, now, &target);
    }
}

fn describe_scheduled_actions(
    cx: &mut Context,
    input: DescribeScheduledActionsRequest,
) -> Result<DescribeScheduledActionsResponse, ApiError> {
    check_namespace(&input.service_namespace, input.scalable_dimension.as_deref())?;
    let mut actions = cx.tx.list::<ScheduledAction>();
    actions.retain(|action| {
        input.resource_id.as_ref().is_none_or(|id| *id == action.resource)
            && input.scheduled_action_names.as_ref().is_none_or(|names| names.contains(&action.name))
    });
    let size = page_size(input.max_results)?;
    let (page, next_token) =
        paginate(actions, |action| action.key(), input.next_token.as_deref(), size, bad_token)?;
    let shapes = page.iter().filter_map(|action| shape(cx.tx, cx.scope(), action)).collect();
    Ok(DescribeScheduledActionsResponse { scheduled_actions: Some(shapes), next_token })
}

fn shape(tx: &Tx, scope: &Scope, action: &ScheduledAction) -> Option<Shape> {
    let target = tx.get::<ScalableTarget>(&action.resource)?;
    let arn = format_args!(
        "scheduledAction:{}:resource/ecs/{}:scheduledActionName/{}",
        target.uuid, action.resource, action.name
    );
    Some(Shape {
        scheduled_action_name: Some(action.name.clone()),
        scheduled_action_arn: Some(scope.arn("autoscaling", arn)),
        service_namespace: Some(NAMESPACE.into()),
        schedule: Some(action.schedule.clone()),
        timezone: action.timezone.clone(),
        resource_id: Some(action.resource.clone()),
        scalable_dimension: Some(DIMENSION.into()),
        start_time: action.start,
        end_time: action.end,
        scalable_target_action: Some(ScalableTargetAction {
            min_capacity: action.min.map(Into::into),
            max_capacity: action.max.map(Into::into),
        }),
        creation_time: Some(action.created_at),
    })
}

fn delete_scheduled_action(
    cx: &mut Context,
    input: DeleteScheduledActionRequest,
) -> Result<DeleteScheduledActionResponse, ApiError> {
    let resource = Resource::read(&input.service_namespace, &input.resource_id, &input.scalable_dimension)?;
    let name = &input.scheduled_action_name;
    match cx.tx.delete::<ScheduledAction>(&key(resource.id, name)) {
        Some(_) => Ok(DeleteScheduledActionResponse::default()),
        None => Err(not_found(format!(
            "No scheduled action found for {}, scheduled action name: {name}",
            resource.described()
        ))),
    }
}
