//! Carries out a plan of the scheduler on the records: starts and stops tasks, moves deployments on, writes events.

use pileus_core::{IdGen, Timestamp};
use pileus_state::Tx;

use super::breaker::{self, IMPAIRED_AFTER, threshold};
use super::events::{self, Told};
use super::plan::{Action, FailedBy, Failure, StopWhy, Why};
use super::record::{
    Deployment, Revision, Rollback, Rollout, Service, ServiceDeployment, ServiceDeploymentStatus,
    ServiceStatus,
};
use super::view::Cause;
use crate::task::launch;
use crate::task::record::{StopCode, Task, TaskStatus};

/// A deployment whose tasks exit as soon as they run is not throttled on AWS; starting one takes half a minute there.
/// Here it takes milliseconds, so this keeps a crash loop from burning the machine.
const PACE_AFTER_EXIT: std::time::Duration = std::time::Duration::from_secs(2);

/// One application of a plan.
struct Apply<'a, 's> {
    tx: &'a mut Tx<'s>,
    ids: &'a mut IdGen,
    now: Timestamp,
    service: Service,
    told: Vec<Told>,
    started: Vec<(Why, String, String)>,
}

/// Carries out the actions for the service as it is in the transaction.
pub(crate) fn apply(tx: &mut Tx, ids: &mut IdGen, now: Timestamp, service: &Service, actions: &[Action]) {
    let mut apply = Apply { tx, ids, now, service: service.clone(), told: Vec::new(), started: Vec::new() };
    apply.stops(actions);
    for action in actions {
        apply.action(action);
    }
    apply.tell_starts();
    let Apply { tx, ids, service, told, .. } = apply;
    let key = Service::key_of(&service.cluster, &service.name);
    tx.put(service);
    events::tell(tx, ids, now, &key, &told);
}

impl Apply<'_, '_> {
    fn action(&mut self, action: &Action) {
        match action {
            Action::CountFailure { task, kind } => self.count_failure(task, kind),
            Action::CountHealthy { task } => self.count_healthy(task),
            Action::Fail { deployment, roll_back_to, because } => {
                self.fail(deployment, roll_back_to.as_deref(), *because);
            }
            Action::Start { deployment, zone, why } => self.start(deployment, zone, *why),
            // All at once, before: one event tells of them together.
            Action::Stop { .. } => {}
            Action::Keep { deployment, desired } => {
                self.deployment(deployment, |deployment| deployment.desired = *desired);
            }
            Action::Retire { deployment } => self.service.deployments.retain(|d| d.id != *deployment),
            Action::Bake { deployment } => {
                let now = self.now;
                self.deployment(deployment, |deployment| deployment.baking_since = Some(now));
            }
            Action::Complete { deployment } => self.complete(deployment),
            Action::Steady => self.steady(),
            Action::Stuck { deployment } => {
                self.deployment(deployment, |deployment| deployment.stuck = true);
                self.told.push(Told::Stuck);
            }
            Action::Shielded { deployment, tasks } => {
                self.deployment(deployment, |deployment| deployment.shielded = true);
                self.told.push(Told::Shielded(deployment.clone(), *tasks));
            }
            Action::Drained => {
                self.service.status = ServiceStatus::Inactive;
                self.service.inactive_at = Some(self.now);
                self.service.deployments.clear();
                self.finish(ServiceDeploymentStatus::Stopped, "The service was deleted.");
            }
        }
    }

    fn deployment(&mut self, id: &str, change: impl FnOnce(&mut Deployment)) {
        let now = self.now;
        if let Some(deployment) = self.service.deployment_mut(id) {
            change(deployment);
            deployment.updated_at = now;
        }
    }

    fn count_failure(&mut self, task: &str, kind: &Failure) {
        let Some(task) = self.tx.update::<Task>(task, |task| task.counted = true) else { return };
        self.service.steady_at = None;
        if let Failure::Unhealthy(cause) = kind {
            self.told.push(Told::Unhealthy(task.id.clone(), cause.clone()));
        }
        let Some(membership) = task.service else { return };
        let now = self.now;
        let mut impaired = false;
        self.deployment(&membership.deployment, |deployment| match kind {
            Failure::Crashed => {}
            Failure::Unhealthy(_) => deployment.failed_tasks += 1,
            Failure::Exited => {
                deployment.failed_tasks += 1;
                deployment.retry_at = deployment.retry_at.max(Some(now + PACE_AFTER_EXIT));
            }
            Failure::NeverRan => impaired = back_off(deployment, now),
        });
        if impaired {
            self.told.push(Told::Impaired);
        }
    }

    fn count_healthy(&mut self, task: &str) {
        let now = self.now;
        let task = self.tx.update::<Task>(task, |task| {
            task.healthy_at = task.healthy_at.or(Some(now));
            task.counted = false;
        });
        if let Some(membership) = task.and_then(|task| task.service) {
            self.deployment(&membership.deployment, |deployment| deployment.failed_tasks = 0);
        }
    }

    fn fail(&mut self, id: &str, roll_back_to: Option<&str>, because: FailedBy) {
        self.told.push(Told::Failed(id.to_owned(), because));
        let failures = self.service.deployment_mut(id).map_or(0, |deployment| deployment.failed_tasks);
        let tripped = (because == FailedBy::Breaker).then(|| (failures, threshold(self.service.desired)));
        self.deployment(id, |deployment| {
            deployment.rollout = Rollout::Failed;
            deployment.reason = format!("{}: {}.", because.source(), because.told());
        });
        self.history(|entry, _| {
            entry.tripped = tripped;
            entry.alarmed = because == FailedBy::Alarm;
        });
        let wanted = self.rolls_back(because);
        let trigger = because.trigger();
        match roll_back_to {
            Some(target) => self.roll_back(id, target, because),
            None if wanted => self.finish(
                ServiceDeploymentStatus::RollbackFailed,
                &format!("{trigger}. No rollback candidate was found to run the rollback."),
            ),
            None => {
                self.finish(ServiceDeploymentStatus::Stopped, &format!("{trigger}: {}.", because.told()));
            }
        }
    }

    fn rolls_back(&self, because: FailedBy) -> bool {
        let configuration = &self.service.deployment_configuration;
        match because {
            FailedBy::Breaker => {
                let breaker = configuration.deployment_circuit_breaker.as_ref();
                breaker.is_some_and(|breaker| breaker.enable && breaker.rollback)
            }
            FailedBy::Alarm => configuration.alarms.as_ref().is_some_and(|alarms| alarms.rollback),
            FailedBy::Request => true,
        }
    }

    /// The deployment that last completed becomes PRIMARY again, with its id and the tasks that it still has.
    fn roll_back(&mut self, failed: &str, target: &str, because: FailedBy) {
        let (now, desired) = (self.now, self.service.desired);
        let old = self.service.deployments.iter().position(|deployment| deployment.id == target);
        let mut deployment = match old {
            Some(index) => self.service.deployments.remove(index),
            None => {
                let key = Revision::key_of(&self.service.cluster, &self.service.name, target);
                let created_at = self.tx.get::<Revision>(&key).map_or(now, |revision| revision.created_at);
                Deployment { created_at, ..Deployment::new(target.to_owned(), desired, now) }
            }
        };
        deployment.rollout = Rollout::InProgress;
        deployment.reason = format!("{}: rolling back to deploymentId ecs-svc/{target}.", because.source());
        deployment.rollback = true;
        deployment.desired = desired;
        deployment.failed_tasks = 0;
        deployment.failed_starts = 0;
        deployment.retry_at = None;
        deployment.updated_at = now;
        self.service.deployments.insert(0, deployment);
        self.told.push(Told::RollingBack(target.to_owned()));
        let reason = format!(
            "Service deployment rolled back because deployment ecs-svc/{failed} failed: {}.",
            because.told()
        );
        self.history(|entry, now| {
            entry.status = ServiceDeploymentStatus::RollbackInProgress;
            entry.reason = Some(reason.clone());
            entry.rollback = Some(Rollback { reason, started_at: now, revision: target.to_owned() });
        });
    }

    fn complete(&mut self, id: &str) {
        let mut rollback = false;
        self.deployment(id, |deployment| {
            rollback = std::mem::take(&mut deployment.rollback);
            deployment.rollout = Rollout::Completed;
            deployment.reason = format!("ECS deployment ecs-svc/{} completed.", deployment.id);
        });
        self.service.last_completed = Some(id.to_owned());
        self.told.push(Told::Completed(id.to_owned()));
        self.steady();
        if rollback {
            let entry = self.history(|entry, _| entry.status = ServiceDeploymentStatus::RollbackSuccessful);
            let reason = entry.and_then(|entry| entry.reason).unwrap_or_default();
            self.finish(ServiceDeploymentStatus::RollbackSuccessful, &reason);
        } else {
            self.finish(ServiceDeploymentStatus::Successful, "");
        }
    }

    fn steady(&mut self) {
        self.service.steady_at = Some(self.now);
        self.told.push(Told::Steady);
    }

    /// Changes the service deployment that is in progress.
    fn history(
        &mut self,
        change: impl FnOnce(&mut ServiceDeployment, Timestamp),
    ) -> Option<ServiceDeployment> {
        let now = self.now;
        let id = self.service.current.as_ref()?;
        let key = ServiceDeployment::key_of(&self.service.cluster, &self.service.name, id);
        self.tx.update::<ServiceDeployment>(&key, |entry| {
            change(entry, now);
            entry.updated_at = now;
        })
    }

    /// Ends the service deployment that is in progress.
    fn finish(&mut self, status: ServiceDeploymentStatus, reason: &str) {
        self.history(|entry, now| {
            entry.status = status;
            entry.reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
            entry.finished_at = Some(now);
        });
        self.service.current = None;
    }

    fn start(&mut self, deployment: &str, zone: &str, why: Why) {
        self.service.steady_at = None;
        match launch::for_service(self.tx, self.ids, self.now, &self.service, deployment, zone) {
            Ok(task) => self.started.push((why, zone.to_owned(), task)),
            Err(reason) => {
                let now = self.now;
                let mut impaired = false;
                self.deployment(deployment, |deployment| impaired = back_off(deployment, now));
                self.told.push(Told::CannotPlace(reason));
                if impaired {
                    self.told.push(Told::Impaired);
                }
            }
        }
    }

    fn tell_starts(&mut self) {
        let started = std::mem::take(&mut self.started);
        let of = |why: Why| -> Vec<String> {
            let tasks = started.iter().filter(|(own, ..)| *own == why).map(|(_, _, task)| task.clone());
            tasks.collect()
        };
        let scaled = Some(of(Why::Scale)).filter(|tasks| !tasks.is_empty()).map(Told::Started);
        let replaced = Some(of(Why::Replace)).filter(|tasks| !tasks.is_empty()).map(Told::Replaced);
        self.told.extend(scaled.into_iter().chain(replaced));
        for (_, zone, task) in started.iter().filter(|(why, ..)| *why == Why::Rebalance) {
            self.told.push(Told::Rebalanced(zone.clone(), vec![task.clone()]));
        }
    }

    /// Decides that tasks stop.
    fn stops(&mut self, actions: &[Action]) {
        let (mut running, mut pending) = (Vec::new(), 0);
        for action in actions {
            let Action::Stop { task, why } = action else { continue };
            let now = self.now;
            let stopped = self.tx.update::<Task>(task, |task| {
                let reason = stop_reason(task, why);
                task.request_stop(StopCode::ServiceSchedulerInitiated, reason, now);
            });
            match stopped.map(|task| task.status) {
                Some(TaskStatus::Running) => running.push(task.clone()),
                Some(_) => pending += 1,
                None => {}
            }
            self.service.steady_at = None;
        }
        if !running.is_empty() {
            self.told.push(Told::StoppedRunning(running));
        }
        if pending > 0 {
            self.told.push(Told::StoppedPending(pending));
        }
    }
}

/// Counts a start that failed; whether this is the one after which the service is said to be impaired.
fn back_off(deployment: &mut Deployment, now: Timestamp) -> bool {
    deployment.failed_tasks += 1;
    deployment.failed_starts += 1;
    deployment.retry_at = Some(now + breaker::delay(deployment.failed_starts));
    deployment.failed_starts == IMPAIRED_AFTER
}

fn stop_reason(task: &Task, why: &StopWhy) -> String {
    match why {
        StopWhy::Scaling => {
            let deployment = task.service.as_ref().map_or("", |membership| &membership.deployment);
            format!("Scaling activity initiated by (deployment ecs-svc/{deployment})")
        }
        StopWhy::Unhealthy(Cause::Target { target_group, .. }) => {
            format!("Task failed ELB health checks in (target-group {target_group})")
        }
        StopWhy::Unhealthy(Cause::Container) => "Task failed container health checks".to_owned(),
    }
}

impl FailedBy {
    /// What has happened, as events and reasons say it.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Breaker => "tasks failed to start",
            Self::Alarm => "alarm detected",
            Self::Request => "rollback requested",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Breaker => "ECS deployment circuit breaker",
            Self::Alarm => "ECS deployment alarm",
            Self::Request => "ECS deployment stopped",
        }
    }

    fn trigger(self) -> &'static str {
        match self {
            Self::Breaker => "Service deployment circuit breaker was triggered",
            Self::Alarm => "Service deployment alarm was triggered",
            Self::Request => "Service deployment was stopped",
        }
    }
}

/// Fails the primary deployment on a user's request and goes back to `target`.
pub(super) fn stop_and_roll_back(
    tx: &mut Tx,
    ids: &mut IdGen,
    now: Timestamp,
    service: &Service,
    deployment: &str,
    target: String,
) {
    let action = Action::Fail {
        deployment: deployment.to_owned(),
        roll_back_to: Some(target),
        because: FailedBy::Request,
    };
    apply(tx, ids, now, service, &[action]);
}
