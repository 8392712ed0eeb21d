//! The service scheduler: what to start and stop next, as a pure function of what is seen and the time.
//!
//! One pass does one kind of thing: first it counts failures and recoveries, then it lets the circuit breaker judge,
//! then it moves tasks. The caller applies the actions and asks again until there are none, so every rule below may
//! rely on the figures being up to date. Rolling updates follow
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html>: start what the upper
//! bound allows, stop what the lower bound allows, and stop only what has been replaced or stands in the way.

use std::time::Duration;

use pileus_core::Timestamp;

use super::breaker::threshold;
use super::fleet::{Fleet, Rolling};
use super::record::Rollout;
use super::view::{Cause, DeploymentView, End, Phase, ServiceView, Standing, TaskView};

/// "has reached a steady state" is repeated this often.
const STEADY_REPORT: Duration = Duration::from_secs(6 * 3600);

/// What to do, when to look again, and why nothing else happens.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub actions: Vec<Action>,
    pub wake_at: Option<Timestamp>,
    pub reasons: Vec<String>,
}

/// One step. Repeating a step that has been done is no step: the next view no longer asks for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// The task failed: remember that it was counted.
    CountFailure {
        task: String,
        kind: Failure,
    },
    /// The task counts as healthy, for the first time or again: the deployment's failures are forgotten.
    CountHealthy {
        task: String,
    },
    /// The circuit breaker trips, or an alarm has gone off.
    Fail {
        deployment: String,
        roll_back_to: Option<String>,
        because: FailedBy,
    },
    Start {
        deployment: String,
        zone: String,
        why: Why,
    },
    Stop {
        task: String,
        why: StopWhy,
    },
    /// An old deployment is to have no more than this many tasks from now on.
    Keep {
        deployment: String,
        desired: u32,
    },
    /// The last task of an old deployment is gone.
    Retire {
        deployment: String,
    },
    /// It has all it wants: from now on its alarms are waited for.
    Bake {
        deployment: String,
    },
    Complete {
        deployment: String,
    },
    Steady,
    /// The percentages allow neither a start nor a stop.
    Stuck {
        deployment: String,
    },
    /// Tasks are to go that are under protection: so many.
    Shielded {
        deployment: String,
        tasks: usize,
    },
    /// Every task of a service that is being deleted is stopping or stopped.
    Drained,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailedBy {
    Breaker,
    Alarm,
    /// StopServiceDeployment.
    Request,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    NeverRan,
    /// It ran, and ended before it was ever healthy.
    Exited,
    /// It ended after it had been healthy.
    Crashed,
    Unhealthy(Cause),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Fewer tasks than wanted.
    Scale,
    /// In place of one that is unhealthy and still there.
    Replace,
    /// To balance the zones.
    Rebalance,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StopWhy {
    /// Fewer are wanted, or a newer deployment takes over.
    Scaling,
    Unhealthy(Cause),
}

/// The lower bound is rounded up, the upper one down.
pub(crate) fn bounds(desired: u32, minimum_healthy_percent: u32, maximum_percent: u32) -> (u32, u32) {
    let product = |percent: u32| u64::from(desired) * u64::from(percent);
    let bound = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    (bound(product(minimum_healthy_percent).div_ceil(100)), bound(product(maximum_percent) / 100))
}

pub(crate) fn plan(view: &ServiceView, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    count(view, now, &mut plan);
    if plan.actions.is_empty() {
        trip(view, &mut plan);
    }
    if !plan.actions.is_empty() {
        return plan;
    }
    if view.draining {
        drain(view, &mut plan);
    } else if !view.deployments.is_empty() {
        converge(view, now, &mut plan);
    }
    plan
}

impl Plan {
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn because(&mut self, reason: impl Into<String>) {
        self.reasons.push(reason.into());
    }
}

/// Counts what has failed or become healthy since the last pass.
fn count(view: &ServiceView, now: Timestamp, plan: &mut Plan) {
    for task in &view.tasks {
        let balanced = view.deployments.iter().any(|d| d.id == task.deployment && d.balanced);
        let standing = task.is_live().then(|| task.standing(balanced, view.grace, now));
        if let Some(Standing::Waiting(Some(until))) = standing {
            plan.wake(until);
        }
        if standing == Some(Standing::Healthy) {
            if task.healthy_at.is_none() || task.counted {
                plan.actions.push(Action::CountHealthy { task: task.id.clone() });
            }
            continue;
        }
        if let Some(kind) = failure(task, standing).filter(|_| !task.counted) {
            plan.actions.push(Action::CountFailure { task: task.id.clone(), kind });
        }
    }
}

fn failure(task: &TaskView, standing: Option<Standing>) -> Option<Failure> {
    match (task.end, standing) {
        (Some(End::NeverRan), _) => Some(Failure::NeverRan),
        (Some(End::Exited), _) if task.healthy_at.is_some() => Some(Failure::Crashed),
        (Some(End::Exited), _) => Some(Failure::Exited),
        (None, Some(Standing::Unhealthy(cause))) => Some(Failure::Unhealthy(cause)),
        (None, _) => None,
    }
}

/// The circuit breaker and the alarms. A rollback itself is never given up: there is nothing better to go to.
fn trip(view: &ServiceView, plan: &mut Plan) {
    let Some(primary) = view.deployments.first() else { return };
    if primary.rollout != Rollout::InProgress || primary.rollback || view.draining {
        return;
    }
    let tripped = view.breaker.filter(|_| primary.failed_tasks >= threshold(view.desired));
    let failed = match (tripped, &view.alarm) {
        (Some(breaker), _) => Some((FailedBy::Breaker, breaker.rollback)),
        (None, Some(alarm)) => Some((FailedBy::Alarm, alarm.rollback)),
        (None, None) => None,
    };
    if let Some((because, rollback)) = failed {
        let roll_back_to = view.last_completed.clone().filter(|_| rollback);
        plan.actions.push(Action::Fail { deployment: primary.id.clone(), roll_back_to, because });
    }
}

/// Stops everything; the service is INACTIVE when every task is at least STOPPING.
fn drain(view: &ServiceView, plan: &mut Plan) {
    for task in view.tasks.iter().filter(|task| task.is_live()) {
        plan.actions.push(Action::Stop { task: task.id.clone(), why: StopWhy::Scaling });
    }
    if view.tasks.iter().all(|task| task.phase == Phase::Left) {
        plan.actions.push(Action::Drained);
    }
}

/// Moves the tasks towards `desired` ones of the primary deployment.
fn converge(view: &ServiceView, now: Timestamp, plan: &mut Plan) {
    let mut rolling = Rolling::new(view, now);
    rolling.stop_surplus();
    rolling.stop_replaced();
    if rolling.stops.is_empty() {
        rolling.make_room();
    }
    rolling.start_missing();
    for at in rolling.retries() {
        plan.wake(at);
        plan.because("waiting before the next attempt to start tasks, after repeated failures");
    }
    rolling.emit(plan);
    for fleet in rolling.fleets.iter().skip(1).filter(|fleet| fleet.is_gone()) {
        plan.actions.push(Action::Retire { deployment: fleet.deployment.id.clone() });
    }
    for task in view.tasks.iter().filter(|task| task.is_protected(now)) {
        task.protected_until.into_iter().for_each(|until| plan.wake(until));
    }
    if plan.actions.is_empty() {
        settle(view, &rolling, now, plan);
    }
    if plan.actions.is_empty() {
        shield(&rolling, plan);
    }
}

/// Nothing to start or stop: say what has been reached, or what is waited for.
fn settle(view: &ServiceView, rolling: &Rolling, now: Timestamp, plan: &mut Plan) {
    let [primary, old @ ..] = &rolling.fleets[..] else { return };
    let waiting = rolling.fleets.iter().map(Fleet::undecided).sum::<usize>();
    if waiting > 0 {
        plan.because(format!("waiting for {waiting} tasks to become healthy"));
    }
    if !old.is_empty() || !primary.is_complete(view.desired) {
        return stuck(rolling, waiting, plan);
    }
    let deployment = primary.deployment.id.clone();
    match (primary.deployment.rollout, view.steady_at) {
        (Rollout::InProgress, _) => finish(view, primary.deployment, now, plan),
        (Rollout::Failed, _) => {}
        (Rollout::Completed, steady_at) => {
            if let Some(zone) = rolling.poorest_zone_to_balance() {
                plan.actions.push(Action::Start { deployment, zone, why: Why::Rebalance });
            } else if steady_at.is_none_or(|at| at + STEADY_REPORT <= now) {
                plan.actions.push(Action::Steady);
            } else if let Some(at) = steady_at {
                plan.wake(at + STEADY_REPORT);
            }
        }
    }
}

/// The primary deployment has all it wants: it is complete, or its alarms are waited for. A rollback is not.
fn finish(view: &ServiceView, primary: &DeploymentView, now: Timestamp, plan: &mut Plan) {
    let deployment = primary.id.clone();
    let end = match primary.baking_since {
        _ if view.bake.is_zero() || primary.rollback => now,
        Some(since) => since + view.bake,
        None => return plan.actions.push(Action::Bake { deployment }),
    };
    if end > now {
        plan.wake(end);
        plan.because("waiting whether an alarm goes off");
    } else {
        plan.actions.push(Action::Complete { deployment });
    }
}

/// Says once that tasks stay which should go.
fn shield(rolling: &Rolling, plan: &mut Plan) {
    for fleet in rolling.fleets.iter().filter(|fleet| fleet.has_surplus()) {
        let tasks = fleet.protected(rolling.now);
        if tasks > 0 {
            plan.because(format!("{tasks} tasks are under protection"));
        }
        if tasks > 0 && !fleet.deployment.shielded {
            plan.actions.push(Action::Shielded { deployment: fleet.deployment.id.clone(), tasks });
        }
    }
}

fn stuck(rolling: &Rolling, waiting: usize, plan: &mut Plan) {
    let Some(primary) = rolling.fleets.first() else { return };
    let in_flight = waiting > 0 || rolling.fleets.iter().any(|fleet| fleet.leaving > 0);
    if in_flight || rolling.room > 0 || primary.missing() == 0 || !primary.may_start(rolling.now) {
        return;
    }
    plan.because("minimumHealthyPercent and maximumPercent allow neither a start nor a stop");
    if !primary.deployment.stuck {
        plan.actions.push(Action::Stuck { deployment: primary.deployment.id.clone() });
    }
}
