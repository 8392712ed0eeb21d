//! The history of a service: its service deployments and revisions.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html>

use pileus_aws::ecs::{
    ContainerImage, DescribeServiceDeploymentsRequest, DescribeServiceDeploymentsResponse,
    DescribeServiceRevisionsRequest, DescribeServiceRevisionsResponse, ListServiceDeploymentsRequest,
    ListServiceDeploymentsResponse, Rollback as RollbackShape, ServiceDeployment as Shape,
    ServiceDeploymentAlarms, ServiceDeploymentBrief, ServiceDeploymentCircuitBreaker,
    ServiceRevision as RevisionShape, ServiceRevisionSummary, StopServiceDeploymentRequest,
    StopServiceDeploymentResponse,
};
use pileus_core::{ApiError, Arn, paginate};
use pileus_service::Context;
use pileus_state::Tx;

use super::breaker::threshold;
use super::describe::{counts, network, tasks_of};
use super::record::{Revision, Service, ServiceDeployment, ServiceDeploymentStatus};
use super::{apply, update};
use crate::cluster::{Cluster, limit, missing};
use crate::error::{bad_token, client, refuse_unless};
use crate::neighbours;
use crate::task_definition::record::TaskDefinition;

pub(super) fn list_service_deployments(
    cx: &mut Context,
    input: ListServiceDeploymentsRequest,
) -> Result<ListServiceDeploymentsResponse, ApiError> {
    let cluster = input.cluster.as_deref().or_else(|| cluster_of(&input.service));
    let (cluster, service) = update::find(cx.tx, cluster, &input.service)?;
    let mut entries = cx.tx.list::<ServiceDeployment>();
    entries.retain(|entry| {
        let own = entry.cluster == cluster.name && entry.service == service.name;
        let status = input.status.as_ref().filter(|wanted| !wanted.is_empty());
        let created = input.created_at.clone().unwrap_or_default();
        own && status.is_none_or(|wanted| wanted.iter().any(|status| status == entry.status.as_str()))
            && created.after.is_none_or(|after| entry.created_at > after)
            && created.before.is_none_or(|before| entry.created_at < before)
    });
    entries.sort_by_key(|entry| std::cmp::Reverse((entry.created_at, entry.id.clone())));
    let numbered = entries.into_iter().enumerate().collect();
    let (page, next_token) = paginate(
        numbered,
        |(index, _): &(usize, std::sync::Arc<ServiceDeployment>)| format!("{index:08}"),
        input.next_token.as_deref(),
        limit(input.max_results),
        bad_token,
    )?;
    let briefs = page.iter().map(|(_, entry)| brief(cx.tx, entry)).collect();
    Ok(ListServiceDeploymentsResponse { service_deployments: Some(briefs), next_token })
}

/// The cluster in a service's ARN.
fn cluster_of(service: &str) -> Option<&str> {
    Arn::parse(service)?.resource.strip_prefix("service/")?.split_once('/').map(|(cluster, _)| cluster)
}

fn service_arn(tx: &Tx, cluster: &str, name: &str) -> String {
    tx.scope().arn("ecs", format_args!("service/{cluster}/{name}"))
}

fn brief(tx: &Tx, entry: &ServiceDeployment) -> ServiceDeploymentBrief {
    let target = Revision::arn_of(tx.scope(), &entry.cluster, &entry.service, &entry.target);
    ServiceDeploymentBrief {
        service_deployment_arn: Some(entry.arn(tx.scope())),
        service_arn: Some(service_arn(tx, &entry.cluster, &entry.service)),
        cluster_arn: Some(Cluster::arn_of(tx.scope(), &entry.cluster)),
        started_at: Some(entry.created_at),
        created_at: Some(entry.created_at),
        finished_at: entry.finished_at,
        target_service_revision_arn: Some(target),
        status: Some(entry.status.as_str().into()),
        status_reason: entry.reason.clone(),
    }
}

pub(super) fn describe_service_deployments(
    cx: &mut Context,
    input: DescribeServiceDeploymentsRequest,
) -> Result<DescribeServiceDeploymentsResponse, ApiError> {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in input.service_deployment_arns {
        let key = Arn::parse(&arn).and_then(|arn| arn.resource.strip_prefix("service-deployment/"));
        match key.and_then(|key| cx.tx.get::<ServiceDeployment>(key)) {
            Some(entry) => found.push(shape(cx.tx, &entry)),
            None => failures.push(missing(arn)),
        }
    }
    Ok(DescribeServiceDeploymentsResponse { service_deployments: Some(found), failures: Some(failures) })
}

fn shape(tx: &Tx, entry: &ServiceDeployment) -> Shape {
    let key = Service::key_of(&entry.cluster, &entry.service);
    let service = tx.get::<Service>(&key);
    let tasks = service.as_ref().map(|service| tasks_of(tx, service)).unwrap_or_default();
    let desired = service.as_ref().map_or(0, |service| service.desired);
    let summary = |id: &String, requested: u32| {
        let counts = counts(&tasks, Some(id));
        ServiceRevisionSummary {
            arn: Some(Revision::arn_of(tx.scope(), &entry.cluster, &entry.service, id)),
            requested_task_count: Some(requested.into()),
            running_task_count: Some(counts.running),
            pending_task_count: Some(counts.pending),
            ..ServiceRevisionSummary::default()
        }
    };
    Shape {
        service_deployment_arn: Some(entry.arn(tx.scope())),
        service_arn: Some(service_arn(tx, &entry.cluster, &entry.service)),
        cluster_arn: Some(Cluster::arn_of(tx.scope(), &entry.cluster)),
        created_at: Some(entry.created_at),
        started_at: Some(entry.created_at),
        finished_at: entry.finished_at,
        stopped_at: entry.finished_at.filter(|_| entry.status == ServiceDeploymentStatus::Stopped),
        updated_at: Some(entry.updated_at),
        source_service_revisions: Some(entry.sources.iter().map(|id| summary(id, 0)).collect()),
        target_service_revision: Some(summary(&entry.target, desired)),
        status: Some(entry.status.as_str().into()),
        status_reason: entry.reason.clone(),
        deployment_configuration: Some(entry.configuration.clone()),
        rollback: entry.rollback.as_ref().map(|rollback| RollbackShape {
            reason: Some(rollback.reason.clone()),
            started_at: Some(rollback.started_at),
            service_revision_arn: Some(Revision::arn_of(
                tx.scope(),
                &entry.cluster,
                &entry.service,
                &rollback.revision,
            )),
        }),
        deployment_circuit_breaker: Some(breaker(entry, service.as_deref())),
        alarms: Some(alarms(tx, entry)),
        ..Shape::default()
    }
}

fn alarms(tx: &Tx, entry: &ServiceDeployment) -> ServiceDeploymentAlarms {
    let configured = entry.configuration.alarms.as_ref().filter(|alarms| alarms.enable);
    let names = configured.map(|alarms| alarms.alarm_names.clone()).unwrap_or_default();
    let status = match (configured, entry.alarmed, entry.status) {
        (None, ..) => "DISABLED",
        (_, true, _) => "TRIGGERED",
        (_, false, ServiceDeploymentStatus::InProgress) => "MONITORING",
        _ => "MONITORING_COMPLETE",
    };
    let mut triggered = names.clone();
    triggered.retain(|name| entry.alarmed && neighbours::is_in_alarm(tx, std::slice::from_ref(name)));
    ServiceDeploymentAlarms {
        status: Some(status.into()),
        alarm_names: Some(names),
        triggered_alarm_names: Some(triggered),
    }
}

fn breaker(entry: &ServiceDeployment, service: Option<&Service>) -> ServiceDeploymentCircuitBreaker {
    let enabled =
        entry.configuration.deployment_circuit_breaker.as_ref().is_some_and(|breaker| breaker.enable);
    let deployment = service
        .and_then(|service| service.deployments.iter().find(|deployment| deployment.id == entry.target));
    let (failures, limit) = entry.tripped.unwrap_or((
        deployment.map_or(0, |deployment| deployment.failed_tasks),
        threshold(service.map_or(0, |service| service.desired)),
    ));
    let status = match (enabled, entry.tripped, entry.status) {
        (false, ..) => "DISABLED",
        (_, Some(_), _) => "TRIGGERED",
        (_, None, ServiceDeploymentStatus::InProgress) => "MONITORING",
        _ => "MONITORING_COMPLETE",
    };
    ServiceDeploymentCircuitBreaker {
        status: Some(status.into()),
        failure_count: Some(failures.into()),
        threshold: Some(limit.into()),
    }
}

/// StopServiceDeployment: goes back to the revision that last completed.
pub(super) fn stop_service_deployment(
    cx: &mut Context,
    input: StopServiceDeploymentRequest,
) -> Result<StopServiceDeploymentResponse, ApiError> {
    let arn = input.service_deployment_arn;
    let key = Arn::parse(&arn).and_then(|arn| arn.resource.strip_prefix("service-deployment/"));
    let entry = key.and_then(|key| cx.tx.get::<ServiceDeployment>(key));
    let not_found = || {
        let message = "The specified service deployment was not found.";
        ApiError::client("ServiceDeploymentNotFoundException", message)
    };
    let entry = entry.ok_or_else(not_found)?;
    refuse_unless(
        input.stop_type.as_deref().is_none_or(|kind| kind == "ROLLBACK"),
        "the stopType ABORT; ROLLBACK is",
    )?;
    let service =
        cx.tx.get::<Service>(&Service::key_of(&entry.cluster, &entry.service)).ok_or_else(not_found)?;
    let current = service.current.as_ref() == Some(&entry.id);
    if !current || entry.status != ServiceDeploymentStatus::InProgress {
        let message = format!("The service deployment is {} and cannot be stopped.", entry.status.as_str());
        return Err(ApiError::client("ConflictException", message));
    }
    let target = service.last_completed.clone();
    let target = target.ok_or_else(|| client("The service has no service revision to roll back to."))?;
    apply::stop_and_roll_back(cx.tx, cx.ids, cx.now, &service, &entry.target, target);
    Ok(StopServiceDeploymentResponse { service_deployment_arn: Some(arn) })
}

pub(super) fn describe_service_revisions(
    cx: &mut Context,
    input: DescribeServiceRevisionsRequest,
) -> Result<DescribeServiceRevisionsResponse, ApiError> {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in input.service_revision_arns {
        let key = Arn::parse(&arn).and_then(|arn| arn.resource.strip_prefix("service-revision/"));
        match key.and_then(|key| cx.tx.get::<Revision>(key)) {
            Some(revision) => found.push(revision_shape(cx.tx, arn, &revision)),
            None => failures.push(missing(arn)),
        }
    }
    Ok(DescribeServiceRevisionsResponse { service_revisions: Some(found), failures: Some(failures) })
}

fn revision_shape(tx: &Tx, arn: String, revision: &Revision) -> RevisionShape {
    let definition =
        TaskDefinition::key_of_arn(&revision.task_definition).and_then(|key| tx.get::<TaskDefinition>(&key));
    let containers = definition.iter().flat_map(|definition| definition.containers());
    let image = |container: &pileus_aws::ecs::ContainerDefinition| ContainerImage {
        container_name: container.name.clone(),
        image_digest: container
            .name
            .as_ref()
            .and_then(|name| revision.images.get(name))
            .map(|image| image.digest.clone()),
        image: container.image.clone(),
    };
    RevisionShape {
        service_revision_arn: Some(arn),
        service_arn: Some(service_arn(tx, &revision.cluster, &revision.service)),
        cluster_arn: Some(Cluster::arn_of(tx.scope(), &revision.cluster)),
        task_definition: Some(revision.task_definition.clone()),
        capacity_provider_strategy: Some(revision.capacity_provider_strategy.clone())
            .filter(|strategy| !strategy.is_empty()),
        launch_type: revision.launch_type.clone(),
        platform_version: Some(crate::awsvpc::PLATFORM_VERSION.into()),
        platform_family: Some("Linux".into()),
        load_balancers: Some(revision.load_balancers.clone()),
        network_configuration: Some(network(revision)),
        container_images: Some(containers.map(image).collect()),
        guard_duty_enabled: Some(false),
        created_at: Some(revision.created_at),
        ..RevisionShape::default()
    }
}
