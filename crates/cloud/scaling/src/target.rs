//! Scalable targets: services whose desired count is scaled, between a minimum and a maximum.
//! <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html>

use pileus_aws::application_autoscaling::{
    DeregisterScalableTargetRequest, DeregisterScalableTargetResponse, DescribeScalableTargetsRequest,
    DescribeScalableTargetsResponse, RegisterScalableTargetRequest, RegisterScalableTargetResponse,
    ScalableTarget as Shape, SuspendedState, ops,
};
use pileus_core::{ApiError, Scope, Tags, Timestamp, paginate};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::activity::Cause;
use crate::policy::{self, ScalingPolicy};
use crate::progress::{self, Progress};
use crate::resource::{
    DIMENSION, NAMESPACE, PRINCIPAL, Resource, bad_token, check_namespace, invalid, not_found, page_size,
    service_linked_role, too_many,
};
use crate::schedule::action::ScheduledAction;
use crate::tags;

/// AWS's quota of ECS services for a region.
const MAX_TARGETS: usize = 3000;
/// A service has no more tasks than this.
const MAX_CAPACITY: i64 = 5000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalableTarget {
    /// `service/<cluster>/<service>`.
    pub resource: String,
    /// The last part of its ARN.
    pub id: String,
    /// In the ARNs of its policies and scheduled actions.
    pub uuid: String,
    pub min: u32,
    pub max: u32,
    pub in_suspended: bool,
    pub out_suspended: bool,
    pub scheduled_suspended: bool,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl Record for ScalableTarget {
    const KIND: &'static str = "application-autoscaling/target";

    fn key(&self) -> String {
        self.resource.clone()
    }
}

impl ScalableTarget {
    pub(crate) fn arn(&self, scope: &Scope) -> String {
        scope.arn("application-autoscaling", format_args!("scalable-target/{}", self.id))
    }

    fn suspend(&mut self, state: &SuspendedState) {
        let set = |own: &mut bool, asked: Option<bool>| *own = asked.unwrap_or(*own);
        set(&mut self.in_suspended, state.dynamic_scaling_in_suspended);
        set(&mut self.out_suspended, state.dynamic_scaling_out_suspended);
        set(&mut self.scheduled_suspended, state.scheduled_scaling_suspended);
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::RegisterScalableTarget>(register_scalable_target)
        .on::<ops::DescribeScalableTargets>(describe_scalable_targets)
        .on::<ops::DeregisterScalableTarget>(deregister_scalable_target);
}

/// The target of this resource.
///
/// # Errors
/// It is not registered.
pub(crate) fn find(tx: &Tx, resource: &Resource) -> Result<std::sync::Arc<ScalableTarget>, ApiError> {
    tx.get::<ScalableTarget>(resource.id)
        .ok_or_else(|| not_found(format!("No scalable target registered for {}", resource.described())))
}

fn register_scalable_target(
    cx: &mut Context,
    input: RegisterScalableTargetRequest,
) -> Result<RegisterScalableTargetResponse, ApiError> {
    let resource = Resource::read(&input.service_namespace, &input.resource_id, &input.scalable_dimension)?;
    let known = cx.tx.get::<ScalableTarget>(resource.id);
    if known.is_none() && pileus_compute::capacity(cx.tx, resource.cluster, resource.service).is_none() {
        return Err(invalid(format!("ECS service doesn't exist: {}", resource.id)));
    }
    let (min, max) = (capacity(input.min_capacity, "Min")?, capacity(input.max_capacity, "Max")?);
    let mut target = match &known {
        // A registration that is sent again brings the same tags.
        Some(known) if input.tags.as_ref().is_some_and(|tags| !tags.is_empty() && *tags != known.tags) => {
            return Err(invalid(format!(
                "Tags can only be given with the registration of a new scalable target: {} is known; use TagResource",
                known.resource
            )));
        }
        Some(known) => ScalableTarget::clone(known),
        None => new_target(cx, resource, min, max, input.tags.unwrap_or_default())?,
    };
    (target.min, target.max) = (min.unwrap_or(target.min), max.unwrap_or(target.max));
    check_range(target.min, target.max)?;
    if let Some(state) = &input.suspended_state {
        target.suspend(state);
    }
    let arn = target.arn(cx.scope());
    cx.tx.put(target.clone());
    enforce(cx, &target);
    Ok(RegisterScalableTargetResponse { scalable_target_arn: Some(arn) })
}

fn new_target(
    cx: &mut Context,
    resource: Resource,
    min: Option<u32>,
    max: Option<u32>,
    tags: Tags,
) -> Result<ScalableTarget, ApiError> {
    let (Some(min), Some(max)) = (min, max) else {
        return Err(invalid("MinCapacity and MaxCapacity are required to register a new scalable target"));
    };
    if cx.tx.list::<ScalableTarget>().len() >= MAX_TARGETS {
        return Err(too_many(format!("The account has {MAX_TARGETS} scalable targets for ecs already")));
    }
    tags::check(&tags)?;
    pileus_security::service_linked_role(cx.tx, cx.ids, cx.now, PRINCIPAL)?;
    Ok(ScalableTarget {
        resource: resource.id.to_owned(),
        id: format!("{}{}", cx.ids.hex(4), cx.ids.hex(32)),
        uuid: cx.ids.uuid(),
        min,
        max,
        in_suspended: false,
        out_suspended: false,
        scheduled_suspended: false,
        created_at: cx.now,
        tags,
    })
}

/// # Errors
/// Not a number of tasks.
pub(crate) fn capacity(asked: Option<i64>, which: &str) -> Result<Option<u32>, ApiError> {
    match asked {
        None => Ok(None),
        Some(asked @ 0..=MAX_CAPACITY) => Ok(Some(asked as u32)),
        Some(_) => Err(invalid(format!("{which}Capacity must be between 0 and {MAX_CAPACITY}"))),
    }
}

/// # Errors
/// The maximum is less than the minimum.
pub(crate) fn check_range(min: u32, max: u32) -> Result<(), ApiError> {
    if max < min {
        return Err(invalid("Maximum capacity cannot be less than minimum capacity"));
    }
    Ok(())
}

/// Brings a desired count that is outside of the target's range into it, as AWS does when the range is set.
fn enforce(cx: &mut Context, target: &ScalableTarget) {
    progress::enforce(cx.tx, cx.ids, cx.now, target);
}

/// The capacity that a range asks for, and why; `None` where the present one is within.
pub(crate) fn outside(current: u32, min: u32, max: u32) -> Option<(u32, Cause)> {
    if current < min {
        Some((min, Cause::Minimum(min)))
    } else if current > max {
        Some((max, Cause::Maximum(max)))
    } else {
        None
    }
}

fn describe_scalable_targets(
    cx: &mut Context,
    input: DescribeScalableTargetsRequest,
) -> Result<DescribeScalableTargetsResponse, ApiError> {
    check_namespace(&input.service_namespace, input.scalable_dimension.as_deref())?;
    let mut targets = cx.tx.list::<ScalableTarget>();
    if let Some(ids) = &input.resource_ids {
        targets.retain(|target| ids.contains(&target.resource));
    }
    let size = page_size(input.max_results)?;
    let (page, next_token) =
        paginate(targets, |target| target.resource.clone(), input.next_token.as_deref(), size, bad_token)?;
    let shapes = page.iter().map(|target| shape(cx.scope(), target)).collect();
    Ok(DescribeScalableTargetsResponse { scalable_targets: Some(shapes), next_token })
}

fn shape(scope: &Scope, target: &ScalableTarget) -> Shape {
    Shape {
        service_namespace: Some(NAMESPACE.into()),
        resource_id: Some(target.resource.clone()),
        scalable_dimension: Some(DIMENSION.into()),
        min_capacity: Some(target.min.into()),
        max_capacity: Some(target.max.into()),
        role_arn: Some(service_linked_role(scope)),
        creation_time: Some(target.created_at),
        suspended_state: Some(SuspendedState {
            dynamic_scaling_in_suspended: Some(target.in_suspended),
            dynamic_scaling_out_suspended: Some(target.out_suspended),
            scheduled_scaling_suspended: Some(target.scheduled_suspended),
        }),
        scalable_target_arn: Some(target.arn(scope)),
    }
}

fn deregister_scalable_target(
    cx: &mut Context,
    input: DeregisterScalableTargetRequest,
) -> Result<DeregisterScalableTargetResponse, ApiError> {
    let resource = Resource::read(&input.service_namespace, &input.resource_id, &input.scalable_dimension)?;
    if cx.tx.delete::<ScalableTarget>(resource.id).is_none() {
        return Err(not_found(format!("No scalable target found for {}", resource.described())));
    }
    for policy in cx.tx.list::<ScalingPolicy>().iter().filter(|policy| policy.resource == resource.id) {
        policy::remove(cx, policy);
    }
    for action in cx.tx.list::<ScheduledAction>().iter().filter(|action| action.resource == resource.id) {
        cx.tx.delete::<ScheduledAction>(&action.key());
    }
    cx.tx.update::<Progress>(resource.id, |progress| progress.cooling = None);
    Ok(DeregisterScalableTargetResponse::default())
}
