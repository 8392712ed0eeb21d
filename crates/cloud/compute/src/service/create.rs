//! CreateService.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html>

use pileus_aws::ecs::{
    CreateServiceRequest, CreateServiceResponse, DeploymentCircuitBreaker, DeploymentConfiguration,
    LoadBalancer, PlacementConstraint, PlacementStrategy, ServiceConnectConfiguration,
};
use pileus_core::ApiError;
use pileus_service::Context;
use pileus_state::Tx;

use super::describe;
use super::record::{Service, ServiceStatus};
use super::rollout::{self, Change};
use crate::awsvpc::{self, Placement};
use crate::error::{invalid, refuse_unless};
use crate::service::observe;
use crate::task_definition::record::TaskDefinition;
use crate::{cluster, neighbours, tags, task_definition};

const MAX_TASKS: i64 = 5000;

pub(super) fn create_service(
    cx: &mut Context,
    input: CreateServiceRequest,
) -> Result<CreateServiceResponse, ApiError> {
    let cluster = cluster::find(cx.tx, input.cluster.as_deref())?;
    if let Some(existing) = cx.tx.get::<Service>(&Service::key_of(&cluster.name, &input.service_name)) {
        if input.client_token.is_some() && existing.client_token == input.client_token {
            return Ok(CreateServiceResponse { service: Some(describe::shape(cx.tx, &existing, true)) });
        }
        make_way(cx.tx, &existing)?;
    }
    check_fixed(&input)?;
    check_placement(input.placement_constraints.as_deref(), input.placement_strategy.as_deref())?;
    check_connect(input.service_connect_configuration.as_ref())?;
    let definition = named_definition(cx.tx, input.task_definition.as_deref())?;
    let change = Change {
        placement: Placement::read(
            &cluster,
            input.launch_type,
            input.capacity_provider_strategy,
            input.platform_version,
        )?,
        network: awsvpc::read(cx.tx, input.network_configuration)?,
        load_balancers: load_balancers(cx.tx, input.load_balancers.unwrap_or_default(), &definition)?,
        task_definition: definition.arn().to_owned(),
    };
    let configuration = configuration(input.deployment_configuration, None)?;
    let grace = grace(input.health_check_grace_period_seconds, &change.load_balancers)?;
    let mut service = Service {
        cluster: cluster.name.clone(),
        name: input.service_name,
        status: ServiceStatus::Active,
        desired: desired(input.desired_count)?.ok_or_else(|| {
            invalid("The desired count cannot be null for the REPLICA scheduling strategy.")
        })?,
        created_at: cx.now,
        created_by: cx.caller.arn.clone(),
        client_token: input.client_token,
        availability_zone_rebalancing: rebalancing(input.availability_zone_rebalancing, &configuration)?,
        deployment_configuration: configuration,
        health_check_grace_period_seconds: grace,
        enable_ecs_managed_tags: input.enable_ecs_managed_tags.unwrap_or(false),
        enable_execute_command: false,
        propagate_tags: input.propagate_tags.unwrap_or_else(|| "NONE".into()),
        tags: tags::read(input.tags)?,
        deployments: Vec::new(),
        last_completed: None,
        current: None,
        steady_at: None,
        inactive_at: None,
    };
    rollout::begin(cx.tx, cx.ids, cx.now, &mut service, change);
    cx.tx.put(service.clone());
    Ok(CreateServiceResponse { service: Some(describe::shape(cx.tx, &service, true)) })
}

/// A name is free when no service has it, or an inactive one, which is then forgotten.
fn make_way(tx: &mut Tx, existing: &Service) -> Result<(), ApiError> {
    match existing.status {
        ServiceStatus::Active => Err(invalid("Creation of service was not idempotent.")),
        ServiceStatus::Draining => Err(invalid("Unable to Start a service that is still Draining.")),
        ServiceStatus::Inactive => {
            observe::forget(tx, existing);
            Ok(())
        }
    }
}

/// Refuses what cannot be chosen.
fn check_fixed(input: &CreateServiceRequest) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = &input.service_name;
    if name.is_empty() || name.len() > 255 || !name.chars().all(allowed) {
        return Err(invalid("Invalid service name"));
    }
    let replica = input.scheduling_strategy.as_deref().is_none_or(|strategy| strategy == "REPLICA");
    if !replica {
        return Err(invalid("The scheduling strategy DAEMON is not supported on Fargate."));
    }
    let own = input.deployment_controller.as_ref().is_none_or(|controller| controller.r#type == "ECS");
    refuse_unless(own, "a deployment controller other than ECS")?;
    refuse_unless(!input.enable_execute_command.unwrap_or(false), "enableExecuteCommand")
}

/// # Errors
/// AWS's: Fargate places tasks itself.
pub(super) fn check_placement(
    constraints: Option<&[PlacementConstraint]>,
    strategy: Option<&[PlacementStrategy]>,
) -> Result<(), ApiError> {
    if constraints.is_some_and(|list| !list.is_empty()) {
        return Err(invalid("Placement constraints are not supported with FARGATE launch type."));
    }
    if strategy.is_some_and(|list| !list.is_empty()) {
        return Err(invalid("Placement strategies are not supported with FARGATE launch type."));
    }
    Ok(())
}

/// # Errors
/// It is asked for.
pub(super) fn check_connect(connect: Option<&ServiceConnectConfiguration>) -> Result<(), ApiError> {
    refuse_unless(connect.is_none_or(|connect| !connect.enabled), "Service Connect")
}

pub(super) fn named_definition(
    tx: &Tx,
    name: Option<&str>,
) -> Result<std::sync::Arc<TaskDefinition>, ApiError> {
    let name = name.ok_or_else(|| invalid("TaskDefinition can not be blank."))?;
    task_definition::find_active(tx, name)
}

/// # Errors
/// It is negative or beyond the quota.
pub(super) fn desired(count: Option<i64>) -> Result<Option<u32>, ApiError> {
    match count {
        None => Ok(None),
        Some(count) if (0..=MAX_TASKS).contains(&count) => Ok(u32::try_from(count).ok()),
        Some(_) => Err(invalid(format!("The desired count must be between 0 and {MAX_TASKS}."))),
    }
}

/// # Errors
/// There is no load balancer whose health it could speak of.
pub(super) fn grace(seconds: Option<i64>, load_balancers: &[LoadBalancer]) -> Result<Option<i64>, ApiError> {
    if seconds.is_some() && load_balancers.is_empty() {
        return Err(invalid(
            "Health check grace period is only valid for services configured to use load balancers",
        ));
    }
    if seconds.is_some_and(|seconds| !(0..=i64::from(i32::MAX)).contains(&seconds)) {
        return Err(invalid("The health check grace period must be between 0 and 2147483647 seconds."));
    }
    // AWS shows 0 for a service with a load balancer that was not given one.
    Ok(seconds.or_else(|| (!load_balancers.is_empty()).then_some(0)))
}

/// Checks each load balancer against its target group and the containers of the task definition.
///
/// # Errors
/// It does not fit.
pub(super) fn load_balancers(
    tx: &Tx,
    given: Vec<LoadBalancer>,
    definition: &TaskDefinition,
) -> Result<Vec<LoadBalancer>, ApiError> {
    for load_balancer in &given {
        let group = load_balancer
            .target_group_arn
            .as_deref()
            .ok_or_else(|| invalid("targetGroupArn and loadBalancerName are both null"))?;
        neighbours::check_target_group(tx, group)?;
        let name = load_balancer
            .container_name
            .as_deref()
            .ok_or_else(|| invalid("Container name cannot be empty when using a load balancer."))?;
        let container = definition
            .containers()
            .iter()
            .find(|container| container.name.as_deref() == Some(name))
            .ok_or_else(|| invalid(format!("The container {name} does not exist in the task definition.")))?;
        let port = load_balancer.container_port.unwrap_or(0);
        if !container.port_mappings.iter().flatten().any(|mapping| mapping.container_port == Some(port)) {
            return Err(invalid(format!(
                "The container {name} did not have a container port {port} defined."
            )));
        }
    }
    Ok(given)
}

/// The deployment configuration of a request over the one that is there, with AWS's defaults.
///
/// # Errors
/// Its percentages allow no deployment, or it asks for another strategy than rolling.
pub(super) fn configuration(
    given: Option<DeploymentConfiguration>,
    old: Option<&DeploymentConfiguration>,
) -> Result<DeploymentConfiguration, ApiError> {
    let given = given.unwrap_or_default();
    let rolling = given.strategy.as_deref().is_none_or(|strategy| strategy == "ROLLING");
    refuse_unless(rolling, "a deployment strategy other than ROLLING")?;
    let or = |new: Option<i64>, field: fn(&DeploymentConfiguration) -> Option<i64>, default: i64| {
        new.or_else(|| old.and_then(field)).unwrap_or(default)
    };
    let minimum = or(given.minimum_healthy_percent, |old| old.minimum_healthy_percent, 100);
    let maximum = or(given.maximum_percent, |old| old.maximum_percent, 200);
    if !(0..=1000).contains(&minimum) || !(0..=1000).contains(&maximum) || minimum > maximum {
        return Err(invalid("minimumHealthyPercent must be at least 0 and not greater than maximumPercent."));
    }
    if maximum < 100 {
        return Err(invalid("maximumPercent must be at least 100 for the REPLICA scheduling strategy."));
    }
    if minimum == maximum {
        return Err(invalid(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.",
        ));
    }
    let breaker = given
        .deployment_circuit_breaker
        .or_else(|| old.and_then(|old| old.deployment_circuit_breaker.clone()))
        .unwrap_or(DeploymentCircuitBreaker { enable: false, rollback: false });
    let alarms = given.alarms.or_else(|| old.and_then(|old| old.alarms.clone()));
    if let Some(alarms) = alarms.as_ref().filter(|alarms| alarms.enable)
        && (alarms.alarm_names.is_empty() || alarms.alarm_names.iter().any(String::is_empty))
    {
        return Err(invalid("alarmNames cannot be empty when deployment alarms are enabled."));
    }
    Ok(DeploymentConfiguration {
        alarms,
        deployment_circuit_breaker: Some(breaker),
        maximum_percent: Some(maximum),
        minimum_healthy_percent: Some(minimum),
        strategy: Some("ROLLING".into()),
    })
}

/// Zones can be balanced only where a task may start before another stops: that is also the default.
///
/// # Errors
/// It is asked for where it cannot be.
pub(super) fn rebalancing(
    given: Option<String>,
    configuration: &DeploymentConfiguration,
) -> Result<String, ApiError> {
    let possible = configuration.maximum_percent.is_some_and(|percent| percent > 100);
    match given {
        Some(given) if given == "ENABLED" && !possible => {
            Err(invalid("Availability Zone rebalancing requires a maximumPercent greater than 100."))
        }
        Some(given) => Ok(given),
        None => Ok(if possible { "ENABLED" } else { "DISABLED" }.into()),
    }
}
