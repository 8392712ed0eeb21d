//! Scaling policies of a target: step scaling, which the user's own alarms trigger, and target tracking, which has
//! alarms of its own. Predictive scaling is refused by name.
//! <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScalingPolicy.html>

pub(crate) mod step;
pub(crate) mod tracking;

use std::sync::Arc;
use std::time::Duration;

use pileus_aws::application_autoscaling::{
    Alarm as AlarmShape, DeleteScalingPolicyRequest, DeleteScalingPolicyResponse,
    DescribeScalingPoliciesRequest, DescribeScalingPoliciesResponse, PutScalingPolicyRequest,
    PutScalingPolicyResponse, ScalingPolicy as Shape, StepScalingPolicyConfiguration,
    TargetTrackingScalingPolicyConfiguration, ops,
};
use pileus_core::{ApiError, Timestamp, paginate};
use pileus_monitoring::alarms;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::resource::{
    DIMENSION, NAMESPACE, Resource, bad_token, check_namespace, invalid, not_found, page_size, too_many,
};
use crate::target::{self, ScalableTarget};
use tracking::Side;

/// AWS's quota for a target.
const MAX_POLICIES: usize = 50;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScalingPolicy {
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) configuration: Configuration,
    pub(crate) created_at: Timestamp,
}

/// As the user gave it: nothing is filled in, so that it is described as it was put.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Configuration {
    Step(StepScalingPolicyConfiguration),
    Tracking(Tracking),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tracking {
    pub(crate) configuration: TargetTrackingScalingPolicyConfiguration,
    /// The names of its alarms; none below where it does not scale in.
    pub(crate) high: String,
    pub(crate) low: Option<String>,
}

impl Record for ScalingPolicy {
    const KIND: &'static str = "application-autoscaling/policy";

    fn key(&self) -> String {
        key(&self.resource, &self.name)
    }
}

fn key(resource: &str, name: &str) -> String {
    format!("{resource}/{name}")
}

impl ScalingPolicy {
    /// How long to wait after it has scaled out, or in.
    pub(crate) fn cooldown(&self, out: bool) -> Duration {
        let (asked, default) = match &self.configuration {
            Configuration::Step(step) => (step.cooldown, step::DEFAULT_COOLDOWN),
            Configuration::Tracking(Tracking { configuration, .. }) if out => {
                (configuration.scale_out_cooldown, tracking::DEFAULT_COOLDOWN)
            }
            Configuration::Tracking(Tracking { configuration, .. }) => {
                (configuration.scale_in_cooldown, tracking::DEFAULT_COOLDOWN)
            }
        };
        Duration::from_secs(u64::try_from(asked.unwrap_or(default)).unwrap_or(0))
    }
}

/// The policies of a target.
pub(crate) fn of_target(tx: &Tx, resource: &str) -> Vec<Arc<ScalingPolicy>> {
    let mut policies = tx.list::<ScalingPolicy>();
    policies.retain(|policy| policy.resource == resource);
    policies
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::PutScalingPolicy>(put_scaling_policy)
        .on::<ops::DescribeScalingPolicies>(describe_scaling_policies)
        .on::<ops::DeleteScalingPolicy>(delete_scaling_policy);
}

fn put_scaling_policy(
    cx: &mut Context,
    input: PutScalingPolicyRequest,
) -> Result<PutScalingPolicyResponse, ApiError> {
    let resource = Resource::read(&input.service_namespace, &input.resource_id, &input.scalable_dimension)?;
    let target = target::find(cx.tx, &resource)?;
    let known = cx.tx.get::<ScalingPolicy>(&key(resource.id, &input.policy_name));
    if known.is_none() && of_target(cx.tx, resource.id).len() >= MAX_POLICIES {
        return Err(too_many(format!("The scalable target has {MAX_POLICIES} scaling policies already")));
    }
    let arn = known.as_ref().map(|known| known.arn.clone());
    let arn =
        |cx: &mut Context, tracks| arn.unwrap_or_else(|| new_arn(cx, &target, &input.policy_name, tracks));
    let known_configuration = known.as_ref().map(|known| &known.configuration);
    let (arn, configuration) = match policy_type(&input, known_configuration)? {
        Type::Step => {
            let given = input.step_scaling_policy_configuration.clone();
            let configuration = step_configuration(given, known_configuration)?;
            (arn(cx, false), Configuration::Step(configuration))
        }
        Type::Tracking => {
            let given = input.target_tracking_scaling_policy_configuration.clone();
            let configuration = tracking_configuration(given, known_configuration)?;
            check_metric_is_its_own(cx.tx, resource.id, &input.policy_name, &configuration)?;
            let arn = arn(cx, true);
            let tracking = put_alarms(cx, &resource, &arn, configuration, known_configuration)?;
            (arn, Configuration::Tracking(tracking))
        }
    };
    let created_at = known.map_or(cx.now, |known| known.created_at);
    let policy = ScalingPolicy {
        resource: resource.id.to_owned(),
        name: input.policy_name,
        arn,
        configuration,
        created_at,
    };
    cx.tx.put(policy.clone());
    Ok(PutScalingPolicyResponse { alarms: Some(alarm_shapes(cx.tx, &policy)), policy_arn: Some(policy.arn) })
}

enum Type {
    Step,
    Tracking,
}

/// The type that the request names, or that the policy has; a policy does not change its type.
fn policy_type(input: &PutScalingPolicyRequest, known: Option<&Configuration>) -> Result<Type, ApiError> {
    let known = known.map(|known| match known {
        Configuration::Step(_) => "StepScaling",
        Configuration::Tracking(_) => "TargetTrackingScaling",
    });
    let asked = input.policy_type.as_deref();
    if let (Some(known), Some(asked)) = (known, asked)
        && known != asked
    {
        return Err(invalid(format!("The policy type cannot be changed from {known} to {asked}")));
    }
    let kind = asked.or(known).ok_or_else(|| invalid("PolicyType is required to create a scaling policy"))?;
    let (step, tracking) =
        (&input.step_scaling_policy_configuration, &input.target_tracking_scaling_policy_configuration);
    match kind {
        "StepScaling" if tracking.is_none() => Ok(Type::Step),
        "TargetTrackingScaling" if step.is_none() => Ok(Type::Tracking),
        "StepScaling" | "TargetTrackingScaling" => {
            Err(invalid(format!("The configuration is not one for the policy type {kind}")))
        }
        other => Err(ApiError::not_implemented(format_args!("scaling policies of the type {other}"))),
    }
}

fn step_configuration(
    given: Option<StepScalingPolicyConfiguration>,
    known: Option<&Configuration>,
) -> Result<StepScalingPolicyConfiguration, ApiError> {
    match (given, known) {
        (Some(given), _) => step::check(&given).map(|()| given),
        (None, Some(Configuration::Step(known))) => Ok(known.clone()),
        (None, _) => {
            Err(invalid("StepScalingPolicyConfiguration is required for the policy type StepScaling"))
        }
    }
}

fn tracking_configuration(
    given: Option<TargetTrackingScalingPolicyConfiguration>,
    known: Option<&Configuration>,
) -> Result<TargetTrackingScalingPolicyConfiguration, ApiError> {
    match (given, known) {
        (Some(given), _) => tracking::check(&given).map(|()| given),
        (None, Some(Configuration::Tracking(known))) => Ok(known.configuration.clone()),
        (None, _) => Err(invalid(
            "TargetTrackingScalingPolicyConfiguration is required for the policy type TargetTrackingScaling",
        )),
    }
}

fn new_arn(cx: &mut Context, target: &ScalableTarget, name: &str, tracks: bool) -> String {
    let resource = &target.resource;
    let mut what = format!("scalingPolicy:{}:resource/ecs/{resource}:policyName/{name}", target.uuid);
    if tracks {
        what = format!("{what}:createdBy/{}", cx.ids.uuid());
    }
    cx.scope().arn("autoscaling", what)
}

/// Each tracking policy of a target watches a metric of its own.
fn check_metric_is_its_own(
    tx: &Tx,
    resource: &str,
    name: &str,
    configuration: &TargetTrackingScalingPolicyConfiguration,
) -> Result<(), ApiError> {
    let same = |policy: &Arc<ScalingPolicy>| match &policy.configuration {
        Configuration::Tracking(other) => {
            let other = &other.configuration;
            other.predefined_metric_specification == configuration.predefined_metric_specification
                && other.customized_metric_specification == configuration.customized_metric_specification
        }
        Configuration::Step(_) => false,
    };
    if of_target(tx, resource).iter().any(|policy| policy.name != name && same(policy)) {
        return Err(invalid(
            "Only one TargetTrackingScaling policy for a given metric specification is allowed.",
        ));
    }
    Ok(())
}

/// Makes the alarms what the configuration asks for; those that the policy has keep their names and states.
fn put_alarms(
    cx: &mut Context,
    resource: &Resource,
    arn: &str,
    configuration: TargetTrackingScalingPolicyConfiguration,
    known: Option<&Configuration>,
) -> Result<Tracking, ApiError> {
    let known = match known {
        Some(Configuration::Tracking(known)) => Some(known),
        _ => None,
    };
    let high = known.map(|known| known.high.clone());
    let high = put_alarm(cx, resource, arn, &configuration, Side::High, high)?;
    let low = known.and_then(|known| known.low.clone());
    let low = match (configuration.disable_scale_in, low) {
        (Some(true), Some(low)) => {
            alarms::delete(cx.tx, &low, cx.now);
            None
        }
        (Some(true), None) => None,
        (_, low) => Some(put_alarm(cx, resource, arn, &configuration, Side::Low, low)?),
    };
    Ok(Tracking { configuration, high, low })
}

fn put_alarm(
    cx: &mut Context,
    resource: &Resource,
    arn: &str,
    configuration: &TargetTrackingScalingPolicyConfiguration,
    side: Side,
    name: Option<String>,
) -> Result<String, ApiError> {
    let new = || format!("TargetTracking-{}-{}-{}", resource.id, side.name(), cx.ids.uuid());
    let name = name.unwrap_or_else(new);
    let input = tracking::alarm(configuration, resource, side, name.clone(), arn)?;
    match alarms::put(cx.tx, input, cx.now) {
        Ok(()) => Ok(name),
        // What is wrong with the alarm is wrong with the metric specification.
        Err(error) if error.code == "UnsupportedOperation" => Err(error),
        Err(error) => Err(invalid(error.message)),
    }
}

/// Takes a policy away, with the alarms that are its own.
pub(crate) fn remove(cx: &mut Context, policy: &ScalingPolicy) {
    if let Configuration::Tracking(tracking) = &policy.configuration {
        for alarm in [Some(&tracking.high), tracking.low.as_ref()].into_iter().flatten() {
            alarms::delete(cx.tx, alarm, cx.now);
        }
    }
    cx.tx.delete::<ScalingPolicy>(&policy.key());
}

fn alarm_shapes(tx: &Tx, policy: &ScalingPolicy) -> Vec<AlarmShape> {
    let alarms = alarms::with_action(tx, &policy.arn);
    let shape = |alarm: &Arc<alarms::Alarm>| AlarmShape {
        alarm_name: Some(alarm.name.clone()),
        alarm_arn: Some(alarm.arn(tx.scope())),
    };
    alarms.iter().map(shape).collect()
}

fn describe_scaling_policies(
    cx: &mut Context,
    input: DescribeScalingPoliciesRequest,
) -> Result<DescribeScalingPoliciesResponse, ApiError> {
    check_namespace(&input.service_namespace, input.scalable_dimension.as_deref())?;
    let mut policies = cx.tx.list::<ScalingPolicy>();
    policies.retain(|policy| {
        input.resource_id.as_ref().is_none_or(|id| *id == policy.resource)
            && input.policy_names.as_ref().is_none_or(|names| names.contains(&policy.name))
    });
    let size = page_size(input.max_results)?;
    let (page, next_token) =
        paginate(policies, |policy| policy.key(), input.next_token.as_deref(), size, bad_token)?;
    let shapes = page.iter().map(|policy| shape(cx.tx, policy)).collect();
    Ok(DescribeScalingPoliciesResponse { scaling_policies: Some(shapes), next_token })
}

fn shape(tx: &Tx, policy: &ScalingPolicy) -> Shape {
    let (kind, step, tracking) = match &policy.configuration {
        Configuration::Step(step) => ("StepScaling", Some(step.clone()), None),
        Configuration::Tracking(tracking) => {
            ("TargetTrackingScaling", None, Some(tracking.configuration.clone()))
        }
    };
    Shape {
        policy_arn: Some(policy.arn.clone()),
        policy_name: Some(policy.name.clone()),
        service_namespace: Some(NAMESPACE.into()),
        resource_id: Some(policy.resource.clone()),
        scalable_dimension: Some(DIMENSION.into()),
        policy_type: Some(kind.into()),
        step_scaling_policy_configuration: step,
        target_tracking_scaling_policy_configuration: tracking,
        alarms: Some(alarm_shapes(tx, policy)),
        creation_time: Some(policy.created_at),
    }
}

fn delete_scaling_policy(
    cx: &mut Context,
    input: DeleteScalingPolicyRequest,
) -> Result<DeleteScalingPolicyResponse, ApiError> {
    let resource = Resource::read(&input.service_namespace, &input.resource_id, &input.scalable_dimension)?;
    let name = &input.policy_name;
    let policy = cx.tx.get::<ScalingPolicy>(&key(resource.id, name)).ok_or_else(|| {
        not_found(format!("No scaling policy found for {}, policy name: {name}", resource.described()))
    })?;
    remove(cx, &policy);
    Ok(DeleteScalingPolicyResponse::default())
}
