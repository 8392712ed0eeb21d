//! The life of one task as a state machine: from what is seen of it to its next status and the step to take.
//!
//! A step is taken by the caller in the same transaction; what the machine has to do follows from the status alone
//! (see `machine`). One call makes at most one transition.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html>

use std::time::Duration;

use pileus_core::Timestamp;

use super::record::{ContainerStatus, Health, StopCode, Task, TaskStatus};
use crate::machine::Seen;

/// How long a stopped task can be described.
pub(crate) const RETENTION: Duration = Duration::from_secs(3600);

/// What surrounds a task at the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    /// Its network interface exists in the data plane.
    pub interface_ready: bool,
    /// A target of it has not finished draining.
    pub draining: bool,
    /// What the machine said of it; `None` where it has said nothing.
    pub seen: Option<&'a Seen>,
    /// The machine has told of every task that it has.
    pub listed: bool,
    pub now: Timestamp,
}

/// What to do besides storing the task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing but what has changed in the task.
    Keep,
    /// Find its images and open its log streams; where that fails, it has failed to start.
    Prepare,
    RegisterTargets,
    DeregisterTargets,
    DeleteInterface,
    /// Forget the task.
    Purge,
}

/// Makes the transition that is due. The task is changed in place; `None` where nothing is due.
pub(crate) fn advance(task: &mut Task, around: Surroundings) -> Option<Step> {
    if task.status < TaskStatus::Deprovisioning {
        see_containers(task, around);
    }
    match task.status {
        TaskStatus::Provisioning => provisioning(task, around),
        TaskStatus::Pending => pending(task, around),
        TaskStatus::Activating => Some(enter(task, TaskStatus::Running, Step::RegisterTargets)),
        TaskStatus::Running => running(task, around),
        TaskStatus::Deactivating => deactivating(task, around),
        TaskStatus::Stopping => stopping(task, around),
        TaskStatus::Deprovisioning => deprovisioning(task, around),
        TaskStatus::Stopped => {
            let over = task.stopped_at.is_none_or(|at| at + RETENTION <= around.now);
            over.then_some(Step::Purge)
        }
    }
}

fn enter(task: &mut Task, status: TaskStatus, step: Step) -> Step {
    task.status = status;
    task.version += 1;
    if status == TaskStatus::Deprovisioning {
        task.containers.iter_mut().for_each(|container| container.status = ContainerStatus::Stopped);
    }
    step
}

fn provisioning(task: &mut Task, around: Surroundings) -> Option<Step> {
    if task.stop.is_some() {
        return Some(end(task, around));
    }
    around.interface_ready.then(|| {
        task.connectivity_at = Some(around.now);
        task.pull_started_at = Some(around.now);
        enter(task, TaskStatus::Pending, Step::Prepare)
    })
}

fn pending(task: &mut Task, around: Surroundings) -> Option<Step> {
    match around.seen {
        Some(Seen::StartFailed(reason)) => {
            task.request_stop(StopCode::TaskFailedToStart, reason.clone(), around.now);
            Some(end(task, around))
        }
        Some(Seen::Present(_)) if task.stop.is_some() => Some(enter(task, TaskStatus::Stopping, Step::Keep)),
        Some(Seen::Present(_)) if has_run(task) => {
            task.pull_stopped_at = task.pull_stopped_at.or(Some(around.now));
            task.started_at = Some(around.now);
            Some(enter(task, TaskStatus::Activating, Step::Keep))
        }
        Some(Seen::Present(state)) => ended_early(task, state.ended).map(|reason| {
            task.request_stop(StopCode::TaskFailedToStart, reason, around.now);
            end(task, around)
        }),
        None | Some(Seen::Gone) => (task.stop.is_some() && around.listed).then(|| end(task, around)),
    }
}

/// Every container has started, whatever became of it since; the essential ones as programs.
fn has_run(task: &Task) -> bool {
    task.containers.iter().all(|container| match container.status {
        ContainerStatus::Pending => false,
        ContainerStatus::Running => true,
        ContainerStatus::Stopped => !container.essential || container.exit_code.is_some(),
    })
}

/// Why a task whose containers were created did not come to run.
fn ended_early(task: &Task, ended: bool) -> Option<String> {
    let failed = task.containers.iter().find(|c| c.essential && c.status == ContainerStatus::Stopped);
    match failed {
        Some(container) => {
            let reason = container.reason.as_deref().unwrap_or("the container did not start");
            Some(format!("CannotStartContainerError: {}: {reason}", container.name))
        }
        None => {
            ended.then(|| "CannotStartContainerError: the task ended before its containers ran".to_owned())
        }
    }
}

fn running(task: &mut Task, around: Surroundings) -> Option<Step> {
    if let Some(reason) = death(task, around) {
        task.request_stop(StopCode::EssentialContainerExited, reason, around.now);
        return Some(end(task, around));
    }
    task.stop.as_ref()?;
    let serves = task.targets.iter().any(|target| target.registered);
    let (status, step) = if serves {
        (TaskStatus::Deactivating, Step::DeregisterTargets)
    } else {
        (TaskStatus::Stopping, Step::Keep)
    };
    Some(enter(task, status, step))
}

/// Connections drain before the containers get their signal; a task that dies meanwhile has nothing to drain.
fn deactivating(task: &mut Task, around: Surroundings) -> Option<Step> {
    if death(task, around).is_some() {
        return Some(end(task, around));
    }
    (!around.draining).then(|| enter(task, TaskStatus::Stopping, Step::Keep))
}

fn stopping(task: &mut Task, around: Surroundings) -> Option<Step> {
    has_ended(around).then(|| {
        task.execution_stopped_at = Some(around.now);
        enter(task, TaskStatus::Deprovisioning, Step::Keep)
    })
}

fn deprovisioning(task: &mut Task, around: Surroundings) -> Option<Step> {
    let removed = match around.seen {
        None => around.listed && task.pull_started_at.is_none(),
        Some(seen) => matches!(seen, Seen::Gone),
    };
    removed.then(|| {
        task.stopped_at = Some(around.now);
        enter(task, TaskStatus::Stopped, Step::DeleteInterface)
    })
}

/// The end of a task that has nothing to drain. What is left of its containers is stopped first.
fn end(task: &mut Task, around: Surroundings) -> Step {
    let alive = matches!(around.seen, Some(Seen::Present(state)) if !state.ended);
    let status = if alive { TaskStatus::Stopping } else { TaskStatus::Deprovisioning };
    if !alive && task.started_at.is_some() {
        task.execution_stopped_at = Some(around.now);
    }
    enter(task, status, Step::DeregisterTargets)
}

fn has_ended(around: Surroundings) -> bool {
    match around.seen {
        Some(Seen::Present(state)) => state.ended,
        Some(Seen::Gone | Seen::StartFailed(_)) => true,
        None => around.listed,
    }
}

/// Why a task that ran is dead.
fn death(task: &Task, around: Surroundings) -> Option<String> {
    match around.seen {
        None if around.listed => Some("The task was not found on the machine when the engine started".into()),
        None => None,
        Some(Seen::Gone) => Some("The task was removed from the machine".into()),
        Some(Seen::StartFailed(reason)) => Some(reason.clone()),
        Some(Seen::Present(state)) => {
            let mut essential = task.containers.iter().filter(|container| container.essential);
            let exited = essential.any(|container| container.status == ContainerStatus::Stopped);
            (exited || state.ended).then(|| "Essential container in task exited".into())
        }
    }
}

/// Copies what the machine says of the containers into the task.
fn see_containers(task: &mut Task, around: Surroundings) {
    use pileus_contract::containers::{self as machine, ContainerStatus as Machine};
    let Some(Seen::Present(state)) = around.seen else { return };
    for container in &mut task.containers {
        let Some(seen) = state.containers.iter().find(|seen| seen.name == container.name) else { continue };
        container.restarts = seen.restarts;
        if container.health.is_some() {
            // What has exited keeps what was last said of it.
            container.health = match seen.health {
                Some(machine::Health::Healthy) => Some(Health::Healthy),
                Some(machine::Health::Unhealthy) => Some(Health::Unhealthy),
                Some(machine::Health::Unknown) => Some(Health::Unknown),
                None => container.health,
            };
        }
        match &seen.status {
            Machine::Created => {}
            Machine::Running { since, .. } => {
                container.status = ContainerStatus::Running;
                container.started_at = Some(*since);
            }
            Machine::Exited(exit) => {
                container.status = ContainerStatus::Stopped;
                container.exit_code = exit.code;
                container.reason = exit.reason.clone();
                if exit.out_of_memory {
                    container.reason =
                        Some("OutOfMemoryError: Container killed due to memory usage".to_owned());
                }
            }
        }
    }
}
