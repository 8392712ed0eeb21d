//! What the service scheduler sees: plain values, taken from the records, and the judgement of each task's health.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html>

use std::time::Duration;

use pileus_core::Timestamp;

use super::record::Rollout;

/// A task of a service without a load balancer or container health check counts as healthy after this long.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html>
pub(crate) const SETTLING: Duration = Duration::from_secs(40);

/// One service with its deployments and tasks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceView {
    /// Tasks wanted; 0 while the service is being deleted.
    pub desired: u32,
    pub minimum_healthy_percent: u32,
    pub maximum_percent: u32,
    /// Whether the circuit breaker may fail the primary deployment, and whether it then rolls back.
    pub breaker: Option<Breaker>,
    /// An alarm that watches the primary deployment and has gone off.
    pub alarm: Option<Alarm>,
    /// How long the primary deployment must stand, once it has all it wants, before it is complete: so that its alarms
    /// can go off.
    pub bake: Duration,
    /// How long after its start the health checks of a task are not counted against it.
    pub grace: Duration,
    /// The service is being deleted: its tasks stop, nothing starts.
    pub draining: bool,
    /// Keep the zones balanced by moving tasks.
    pub rebalance: bool,
    /// When the service was last said to be steady; `None` since something was started or stopped.
    pub steady_at: Option<Timestamp>,
    /// Newest first: the first is the PRIMARY one. Empty only while the service is being deleted.
    pub deployments: Vec<DeploymentView>,
    /// Tasks that are not STOPPED, and stopped ones whose end has not been counted yet.
    pub tasks: Vec<TaskView>,
    /// The deployment that last completed.
    pub last_completed: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    pub rollback: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub rollback: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeploymentView {
    /// The digits of `ecs-svc/<digits>`.
    pub id: String,
    pub rollout: Rollout,
    /// How many tasks an old deployment is to keep at most; of no effect on the primary one.
    pub desired: u32,
    pub failed_tasks: u32,
    /// Nothing of it starts before this.
    pub retry_at: Option<Timestamp>,
    /// It is PRIMARY again because a newer one failed.
    pub rollback: bool,
    /// The event about percentages that allow no step has been written.
    pub stuck: bool,
    /// Since when it has all it wants.
    pub baking_since: Option<Timestamp>,
    /// The event about tasks under protection has been written.
    pub shielded: bool,
    /// Zones of its subnets, in the order given.
    pub zones: Vec<String>,
    /// Its tasks are targets of a load balancer.
    pub balanced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskView {
    pub id: String,
    pub deployment: String,
    pub zone: String,
    pub phase: Phase,
    pub health: Health,
    /// An essential container of it has a health check.
    pub checked: bool,
    /// It is not stopped to scale in or to deploy before this.
    pub protected_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    /// When it first counted as healthy.
    pub healthy_at: Option<Timestamp>,
    /// How it ended, where the scheduler or a user did not end it.
    pub end: Option<End>,
    /// Its failure has been counted.
    pub counted: bool,
}

/// Where a task is in its life, as far as the scheduler cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// PROVISIONING to ACTIVATING.
    Starting,
    Running,
    /// To be stopped, its connections still draining.
    Leaving,
    /// STOPPING or later.
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It never reached RUNNING.
    NeverRan,
    /// An essential container ended.
    Exited,
}

/// What the health checks say of a running task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Health {
    /// There is no check, or none has spoken yet.
    Unknown,
    Healthy,
    Unhealthy(Cause),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Target {
        target_group: String,
        port: u16,
        /// As in events: `Request timed out`.
        reason: String,
    },
    /// The health check of an essential container.
    Container,
}

/// A live task's standing at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Standing {
    /// Not yet RUNNING.
    Starting,
    /// RUNNING, not yet known to be healthy; until when that is decided by time alone.
    Waiting(Option<Timestamp>),
    Healthy,
    Unhealthy(Cause),
}

impl TaskView {
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running)
    }

    pub(crate) fn is_protected(&self, now: Timestamp) -> bool {
        self.protected_until.is_some_and(|until| until > now)
    }

    /// The standing of a live task.
    pub(crate) fn standing(&self, balanced: bool, grace: Duration, now: Timestamp) -> Standing {
        let Some(started) = self.started_at.filter(|_| self.phase == Phase::Running) else {
            return Standing::Starting;
        };
        match &self.health {
            Health::Unhealthy(_) if now < started + grace => Standing::Waiting(Some(started + grace)),
            Health::Unhealthy(cause) => Standing::Unhealthy(cause.clone()),
            Health::Unknown if balanced || self.checked => Standing::Waiting(None),
            Health::Unknown if now < started + SETTLING => Standing::Waiting(Some(started + SETTLING)),
            Health::Unknown | Health::Healthy => Standing::Healthy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(health: Health) -> TaskView {
        TaskView {
            id: "t".into(),
            deployment: "1".into(),
            zone: "a".into(),
            phase: Phase::Running,
            health,
            checked: false,
            protected_until: None,
            created_at: Timestamp::from_secs(0),
            started_at: Some(Timestamp::from_secs(100)),
            healthy_at: None,
            end: None,
            counted: false,
        }
    }

    fn unhealthy() -> Health {
        Health::Unhealthy(Cause::Target { target_group: "g".into(), port: 80, reason: "r".into() })
    }

    #[test]
    fn without_a_check_a_task_counts_after_forty_seconds() {
        let standing = |now| task(Health::Unknown).standing(false, Duration::ZERO, Timestamp::from_secs(now));
        assert_eq!(standing(139), Standing::Waiting(Some(Timestamp::from_secs(140))));
        assert_eq!(standing(140), Standing::Healthy);
    }

    #[test]
    fn behind_a_load_balancer_only_the_target_group_decides() {
        let at = Timestamp::from_secs(1000);
        assert_eq!(task(Health::Unknown).standing(true, Duration::ZERO, at), Standing::Waiting(None));
        assert_eq!(task(Health::Healthy).standing(true, Duration::ZERO, at), Standing::Healthy);
    }

    #[test]
    fn a_failing_check_counts_only_after_the_grace_period() {
        let grace = Duration::from_secs(60);
        let standing = |now| task(unhealthy()).standing(true, grace, Timestamp::from_secs(now));
        assert_eq!(standing(159), Standing::Waiting(Some(Timestamp::from_secs(160))));
        assert!(matches!(standing(160), Standing::Unhealthy(_)));
    }
}
