//! How the API shows services, and their lists.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Service.html>

use std::sync::Arc;

use pileus_aws::ecs::{
    Deployment as DeploymentShape, DeploymentController, DescribeServicesRequest, DescribeServicesResponse,
    ListServicesRequest, ListServicesResponse, NetworkConfiguration, Service as Shape,
    ServiceCurrentRevisionSummary, ServiceEvent,
};
use pileus_core::{ApiError, paginate};
use pileus_service::Context;
use pileus_state::{Record as _, Tx};

use super::record::{Deployment, Revision, Service, ServiceDeployment, ServiceEvents, ServiceStatus};
use super::update::name_of;
use crate::cluster::{self, Cluster, limit, missing};
use crate::error::{bad_token, invalid};
use crate::tags;
use crate::task::record::{Task, TaskStatus};

/// DescribeServices takes no more names than this.
const MAX_DESCRIBED: usize = 10;

/// Tasks of a service or one of its deployments, as the API counts them.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) running: i64,
    pub(super) pending: i64,
}

/// Counts the tasks of a deployment, or of the whole service.
pub(super) fn counts(tasks: &[Arc<Task>], deployment: Option<&str>) -> Counts {
    let mut counts = Counts::default();
    for task in tasks {
        let own = task.service.as_ref().is_some_and(|m| deployment.is_none_or(|id| m.deployment == id));
        match task.status {
            TaskStatus::Running if own && task.stop.is_none() => counts.running += 1,
            TaskStatus::Provisioning | TaskStatus::Pending | TaskStatus::Activating
                if own && task.stop.is_none() =>
            {
                counts.pending += 1;
            }
            _ => {}
        }
    }
    counts
}

/// The tasks of a service that are not stopped.
pub(super) fn tasks_of(tx: &Tx, service: &Service) -> Vec<Arc<Task>> {
    let mut tasks = tx.list::<Task>();
    tasks.retain(|task| {
        let own = task.service.as_ref().is_some_and(|membership| membership.service == service.name);
        own && task.cluster == service.cluster && task.status != TaskStatus::Stopped
    });
    tasks
}

pub(crate) fn shape(tx: &Tx, service: &Service, with_tags: bool) -> Shape {
    let scope = tx.scope();
    let tasks = tasks_of(tx, service);
    let all = counts(&tasks, None);
    let revision = service.primary().or(service.deployments.last()).and_then(|deployment| {
        tx.get::<Revision>(&Revision::key_of(&service.cluster, &service.name, &deployment.id))
    });
    let revision = revision.as_deref();
    Shape {
        service_arn: Some(service.arn(scope)),
        service_name: Some(service.name.clone()),
        cluster_arn: Some(Cluster::arn_of(scope, &service.cluster)),
        load_balancers: Some(revision.map(|r| r.load_balancers.clone()).unwrap_or_default()),
        service_registries: Some(Vec::new()),
        status: Some(service.status.as_str().into()),
        desired_count: Some(service.desired.into()),
        running_count: Some(all.running),
        pending_count: Some(all.pending),
        launch_type: revision.and_then(|revision| revision.launch_type.clone()),
        capacity_provider_strategy: revision
            .map(|revision| revision.capacity_provider_strategy.clone())
            .filter(|strategy| !strategy.is_empty()),
        platform_version: revision.map(|revision| revision.platform_version.clone()),
        platform_family: Some("Linux".into()),
        task_definition: revision.map(|revision| revision.task_definition.clone()),
        deployment_configuration: Some(service.deployment_configuration.clone()),
        deployments: Some(
            service
                .deployments
                .iter()
                .map(|deployment| deployment_shape(tx, service, deployment, &tasks))
                .collect(),
        ),
        role_arn: Some(
            scope.global().arn("iam", "role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"),
        ),
        events: Some(events(tx, service)),
        created_at: Some(service.created_at),
        current_service_deployment: service.current.as_ref().map(|id| {
            scope.arn(
                "ecs",
                format_args!(
                    "service-deployment/{}",
                    ServiceDeployment::key_of(&service.cluster, &service.name, id)
                ),
            )
        }),
        current_service_revisions: Some(
            service.deployments.iter().map(|d| revision_summary(tx, service, &d.id, &tasks)).collect(),
        ),
        placement_constraints: Some(Vec::new()),
        placement_strategy: Some(Vec::new()),
        network_configuration: revision.map(network),
        health_check_grace_period_seconds: service.health_check_grace_period_seconds,
        scheduling_strategy: Some("REPLICA".into()),
        deployment_controller: Some(DeploymentController { r#type: "ECS".into() }),
        tags: with_tags.then(|| tags::write(&service.tags)),
        created_by: Some(service.created_by.clone()),
        enable_ecs_managed_tags: Some(service.enable_ecs_managed_tags),
        propagate_tags: Some(service.propagate_tags.clone()),
        enable_execute_command: Some(service.enable_execute_command),
        availability_zone_rebalancing: Some(service.availability_zone_rebalancing.clone()),
        ..Shape::default()
    }
}

pub(super) fn network(revision: &Revision) -> NetworkConfiguration {
    NetworkConfiguration { awsvpc_configuration: Some(revision.network.clone()) }
}

fn events(tx: &Tx, service: &Service) -> Vec<ServiceEvent> {
    let record = tx.get::<ServiceEvents>(&service.key());
    let events = record.iter().flat_map(|record| &record.events);
    let shape = |event: &super::record::Event| ServiceEvent {
        id: Some(event.id.clone()),
        created_at: Some(event.at),
        message: Some(event.message.clone()),
    };
    events.map(shape).collect()
}

fn revision_summary(
    tx: &Tx,
    service: &Service,
    id: &str,
    tasks: &[Arc<Task>],
) -> ServiceCurrentRevisionSummary {
    let counts = counts(tasks, Some(id));
    let primary = service.primary().is_some_and(|primary| primary.id == id);
    ServiceCurrentRevisionSummary {
        arn: Some(Revision::arn_of(tx.scope(), &service.cluster, &service.name, id)),
        requested_task_count: Some(if primary { service.desired.into() } else { 0 }),
        running_task_count: Some(counts.running),
        pending_task_count: Some(counts.pending),
    }
}

fn deployment_shape(
    tx: &Tx,
    service: &Service,
    deployment: &Deployment,
    tasks: &[Arc<Task>],
) -> DeploymentShape {
    let key = Revision::key_of(&service.cluster, &service.name, &deployment.id);
    let revision = tx.get::<Revision>(&key);
    let revision = revision.as_deref();
    let counts = counts(tasks, Some(&deployment.id));
    let primary = service.primary().is_some_and(|primary| primary.id == deployment.id);
    DeploymentShape {
        id: Some(format!("ecs-svc/{}", deployment.id)),
        status: Some(if primary { "PRIMARY" } else { "ACTIVE" }.into()),
        task_definition: revision.map(|revision| revision.task_definition.clone()),
        desired_count: Some(if primary { service.desired } else { deployment.desired }.into()),
        pending_count: Some(counts.pending),
        running_count: Some(counts.running),
        failed_tasks: Some(deployment.failed_tasks.into()),
        created_at: Some(deployment.created_at),
        updated_at: Some(deployment.updated_at),
        launch_type: revision.and_then(|revision| revision.launch_type.clone()),
        capacity_provider_strategy: revision
            .map(|revision| revision.capacity_provider_strategy.clone())
            .filter(|strategy| !strategy.is_empty()),
        platform_version: revision.map(|_| crate::awsvpc::PLATFORM_VERSION.into()),
        platform_family: Some("Linux".into()),
        network_configuration: revision.map(network),
        rollout_state: Some(deployment.rollout.as_str().into()),
        rollout_state_reason: Some(deployment.reason.clone()),
        ..DeploymentShape::default()
    }
}

pub(super) fn describe_services(
    cx: &mut Context,
    input: DescribeServicesRequest,
) -> Result<DescribeServicesResponse, ApiError> {
    let cluster = cluster::find(cx.tx, input.cluster.as_deref())?;
    if input.services.is_empty() {
        return Err(invalid("Services cannot be empty."));
    }
    if input.services.len() > MAX_DESCRIBED {
        return Err(invalid(format!("Services cannot have more than {MAX_DESCRIBED} elements.")));
    }
    let with_tags = tags::included(input.include.as_ref());
    let (mut services, mut failures) = (Vec::new(), Vec::new());
    for name in &input.services {
        let name = name_of(name);
        match cx.tx.get::<Service>(&Service::key_of(&cluster.name, name)) {
            Some(service) => services.push(shape(cx.tx, &service, with_tags)),
            None => {
                failures
                    .push(missing(cx.scope().arn("ecs", format_args!("service/{}/{name}", cluster.name))));
            }
        }
    }
    Ok(DescribeServicesResponse { services: Some(services), failures: Some(failures) })
}

pub(super) fn list_services(
    cx: &mut Context,
    input: ListServicesRequest,
) -> Result<ListServicesResponse, ApiError> {
    let cluster = cluster::find(cx.tx, input.cluster.as_deref())?;
    let mut services = cx.tx.list::<Service>();
    let fargate = input.launch_type.as_deref().is_none_or(|launch_type| launch_type == "FARGATE");
    let replica = input.scheduling_strategy.as_deref().is_none_or(|strategy| strategy == "REPLICA");
    services.retain(|service| {
        fargate && replica && service.cluster == cluster.name && service.status == ServiceStatus::Active
    });
    let size = if input.max_results.is_some() { limit(input.max_results) } else { 10 };
    let (page, next_token) =
        paginate(services, |service| service.name.clone(), input.next_token.as_deref(), size, bad_token)?;
    let service_arns = page.iter().map(|service| service.arn(cx.scope())).collect();
    Ok(ListServicesResponse { service_arns: Some(service_arns), next_token })
}
