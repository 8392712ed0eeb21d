//! From the records to what the scheduler sees.

use std::sync::Arc;
use std::time::Duration;

use pileus_aws::ecs::DeploymentAlarms;
use pileus_core::Timestamp;
use pileus_state::{Record as _, Tx};

use super::record::{Deployment, Revision, Service, ServiceDeployment, ServiceEvents, ServiceStatus};
use super::view::{Alarm, Breaker, Cause, DeploymentView, End, Health, Phase, ServiceView, TaskView};
use crate::neighbours;
use crate::task::plan::RETENTION;
use crate::task::record::{Health as TaskHealth, StopCode, Task, TaskStatus};

/// The service as the scheduler sees it, with its tasks.
pub(crate) fn view(tx: &Tx, service: &Service, tasks: &[Arc<Task>]) -> ServiceView {
    let configuration = &service.deployment_configuration;
    let percent =
        |value: Option<i64>, default| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default);
    let breaker = configuration.deployment_circuit_breaker.as_ref().filter(|breaker| breaker.enable);
    let grace = service.health_check_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let draining = service.status == ServiceStatus::Draining;
    ServiceView {
        desired: if draining { 0 } else { service.desired },
        minimum_healthy_percent: percent(configuration.minimum_healthy_percent, 100),
        maximum_percent: percent(configuration.maximum_percent, 200),
        breaker: breaker.map(|breaker| Breaker { rollback: breaker.rollback }),
        alarm: alarm(tx, service),
        bake: alarms(service)
            .map_or(Duration::ZERO, |alarms| neighbours::alarm_window(tx, &alarms.alarm_names)),
        grace: Duration::from_secs(grace.unwrap_or(0)),
        draining,
        rebalance: service.availability_zone_rebalancing == "ENABLED",
        steady_at: service.steady_at,
        deployments: service.deployments.iter().map(|d| deployment_view(tx, service, d)).collect(),
        tasks: tasks.iter().filter_map(|task| task_view(tx, task)).collect(),
        last_completed: service.last_completed.clone(),
    }
}

/// The alarms that watch the primary deployment. If one had gone off when it began, none of them counts.
fn alarms(service: &Service) -> Option<&DeploymentAlarms> {
    let alarms = service.deployment_configuration.alarms.as_ref().filter(|alarms| alarms.enable)?;
    service.primary().filter(|primary| !primary.alarms_ignored).map(|_| alarms)
}

/// The alarm that has gone off.
fn alarm(tx: &Tx, service: &Service) -> Option<Alarm> {
    let alarms = alarms(service)?;
    neighbours::is_in_alarm(tx, &alarms.alarm_names).then_some(Alarm { rollback: alarms.rollback })
}

fn deployment_view(tx: &Tx, service: &Service, deployment: &Deployment) -> DeploymentView {
    let revision = tx.get::<Revision>(&Revision::key_of(&service.cluster, &service.name, &deployment.id));
    let mut zones = Vec::new();
    for subnet in revision.iter().flat_map(|revision| &revision.network.subnets) {
        // A subnet that is gone keeps a nameless zone, so that the attempt to start there fails and is told of.
        let zone = neighbours::zone_of(tx, subnet).unwrap_or_default();
        if !zones.contains(&zone) {
            zones.push(zone);
        }
    }
    if zones.iter().any(|zone| !zone.is_empty()) {
        zones.retain(|zone| !zone.is_empty());
    }
    DeploymentView {
        id: deployment.id.clone(),
        rollout: deployment.rollout,
        desired: deployment.desired,
        failed_tasks: deployment.failed_tasks,
        retry_at: deployment.retry_at,
        rollback: deployment.rollback,
        stuck: deployment.stuck,
        baking_since: deployment.baking_since,
        shielded: deployment.shielded,
        zones,
        balanced: revision.is_some_and(|revision| !revision.load_balancers.is_empty()),
    }
}

/// `None` for a task of which the scheduler needs to know no more.
fn task_view(tx: &Tx, task: &Task) -> Option<TaskView> {
    let membership = task.service.as_ref()?;
    let end = task.stop.as_ref().and_then(|stop| match stop.code {
        StopCode::TaskFailedToStart => Some(End::NeverRan),
        StopCode::EssentialContainerExited => Some(End::Exited),
        StopCode::UserInitiated | StopCode::ServiceSchedulerInitiated => None,
    });
    let counted = task.counted || end.is_none();
    if task.status == TaskStatus::Stopped && counted {
        return None;
    }
    let phase = match task.status {
        _ if task.status >= TaskStatus::Stopping => Phase::Left,
        _ if task.stop.is_some() => Phase::Leaving,
        TaskStatus::Running => Phase::Running,
        _ => Phase::Starting,
    };
    Some(TaskView {
        id: task.id.clone(),
        deployment: membership.deployment.clone(),
        zone: task.network.zone.clone(),
        phase,
        health: if phase == Phase::Running { health(tx, task) } else { Health::Unknown },
        checked: task.health().is_some(),
        protected_until: task.protected_until,
        created_at: task.created_at,
        started_at: task.started_at,
        healthy_at: task.healthy_at,
        end,
        counted: task.counted,
    })
}

/// What the container health checks and the target groups say of a task: it is healthy when all of them say so.
fn health(tx: &Tx, task: &Task) -> Health {
    let mut all = match task.health() {
        Some(TaskHealth::Unhealthy) => return Health::Unhealthy(Cause::Container),
        Some(TaskHealth::Healthy) => Health::Healthy,
        None if !task.targets.is_empty() => Health::Healthy,
        Some(TaskHealth::Unknown) | None => Health::Unknown,
    };
    for target in &task.targets {
        match neighbours::health(tx, &target.target_group, task.network.address, target.port) {
            Health::Healthy => {}
            Health::Unknown => all = Health::Unknown,
            unhealthy @ Health::Unhealthy(_) => return unhealthy,
        }
    }
    all
}

/// Forgets a service an hour after its end, with all that belonged to it. Whether that time has come.
pub(crate) fn purge(tx: &mut Tx, service: &Service, now: Timestamp) -> bool {
    let over = service.inactive_at.is_none_or(|at| at + RETENTION <= now);
    if over {
        forget(tx, service);
    }
    over
}

/// Deletes the records of a service.
pub(crate) fn forget(tx: &mut Tx, service: &Service) {
    let of_service = |cluster: &str, name: &str| cluster == service.cluster && name == service.name;
    for revision in tx.list::<Revision>() {
        if of_service(&revision.cluster, &revision.service) {
            tx.delete::<Revision>(&revision.key());
        }
    }
    for entry in tx.list::<ServiceDeployment>() {
        if of_service(&entry.cluster, &entry.service) {
            tx.delete::<ServiceDeployment>(&entry.key());
        }
    }
    tx.delete::<ServiceEvents>(&service.key());
    tx.delete::<Service>(&service.key());
}
