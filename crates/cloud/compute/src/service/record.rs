//! The records of a service: the service with its deployments, its events, its revisions, and the history of its
//! service deployments.
//!
//! A deployment (`ecs-svc/<digits>`) runs one service revision; both carry the same digits, because clients find the
//! one by the other. A service deployment is the history entry of one change: it ends as its deployment completes,
//! fails, is rolled back or is superseded.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html>

use std::collections::{BTreeMap, VecDeque};

use pileus_aws::ecs;
use pileus_core::{Scope, Tags, Timestamp};
use pileus_state::Record;
use serde::{Deserialize, Serialize};

use crate::task::record::ImageDigests;

/// The newest events that a service keeps.
pub(crate) const MAX_EVENTS: usize = 100;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub cluster: String,
    pub name: String,
    pub status: ServiceStatus,
    pub desired: u32,
    pub created_at: Timestamp,
    pub created_by: String,
    pub client_token: Option<String>,
    /// With AWS's defaults filled in.
    pub deployment_configuration: ecs::DeploymentConfiguration,
    pub health_check_grace_period_seconds: Option<i64>,
    pub enable_ecs_managed_tags: bool,
    pub enable_execute_command: bool,
    /// `TASK_DEFINITION`, `SERVICE` or `NONE`.
    pub propagate_tags: String,
    /// `ENABLED` or `DISABLED`.
    pub availability_zone_rebalancing: String,
    pub tags: Tags,
    /// Newest first: the first is PRIMARY.
    pub deployments: Vec<Deployment>,
    /// The revision that last completed: where a rollback goes.
    pub last_completed: Option<String>,
    /// The service deployment that is in progress.
    pub current: Option<String>,
    /// When it was last said to be steady; `None` since something was started or stopped.
    pub steady_at: Option<Timestamp>,
    pub inactive_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServiceStatus {
    Active,
    Draining,
    Inactive,
}

impl ServiceStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Rollout {
    InProgress,
    Completed,
    Failed,
}

impl Rollout {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

/// A revision of a service that has tasks, or is to have some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// The digits of `ecs-svc/<digits>`; also the key of its revision.
    pub id: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub rollout: Rollout,
    pub reason: String,
    /// How many tasks an old deployment is to keep at most. The primary one follows the service.
    pub desired: u32,
    /// Failures in a row, for the circuit breaker.
    pub failed_tasks: u32,
    /// Tasks in a row that never reached RUNNING.
    pub failed_starts: u32,
    /// Nothing starts before this.
    pub retry_at: Option<Timestamp>,
    /// It is PRIMARY again because a newer one failed.
    pub rollback: bool,
    pub stuck: bool,
    /// The event about tasks under protection has been written.
    #[serde(default)]
    pub shielded: bool,
    /// Since when it has all it wants, and waits for its alarms.
    #[serde(default)]
    pub baking_since: Option<Timestamp>,
    /// One of its alarms was in ALARM when it began.
    #[serde(default)]
    pub alarms_ignored: bool,
    /// What would keep its tasks from starting on AWS has been told.
    #[serde(default)]
    pub warned: bool,
}

impl Deployment {
    pub fn new(id: String, desired: u32, now: Timestamp) -> Self {
        let reason = format!("ECS deployment ecs-svc/{id} in progress.");
        Self {
            id,
            created_at: now,
            updated_at: now,
            rollout: Rollout::InProgress,
            reason,
            desired,
            failed_tasks: 0,
            failed_starts: 0,
            retry_at: None,
            rollback: false,
            stuck: false,
            shielded: false,
            baking_since: None,
            alarms_ignored: false,
            warned: false,
        }
    }
}

impl Service {
    pub fn key_of(cluster: &str, name: &str) -> String {
        format!("{cluster}/{name}")
    }

    pub fn arn(&self, scope: &Scope) -> String {
        scope.arn("ecs", format_args!("service/{}/{}", self.cluster, self.name))
    }

    pub fn primary(&self) -> Option<&Deployment> {
        self.deployments.first()
    }

    pub fn deployment_mut(&mut self, id: &str) -> Option<&mut Deployment> {
        self.deployments.iter_mut().find(|deployment| deployment.id == id)
    }
}

impl Record for Service {
    const KIND: &'static str = "ecs/service";

    fn key(&self) -> String {
        Self::key_of(&self.cluster, &self.name)
    }
}

/// The latest events of a service, newest first. Apart from it, so that they are not rewritten with each change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServiceEvents {
    /// The key of the service.
    pub service: String,
    pub events: VecDeque<Event>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub id: String,
    pub at: Timestamp,
    pub message: String,
}

impl Record for ServiceEvents {
    const KIND: &'static str = "ecs/service-events";

    fn key(&self) -> String {
        self.service.clone()
    }
}

/// What a deployment runs. It never changes, but that its image tags are resolved once, by its first task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Revision {
    pub cluster: String,
    pub service: String,
    pub id: String,
    /// The ARN of the task definition.
    pub task_definition: String,
    pub launch_type: Option<String>,
    pub capacity_provider_strategy: Vec<ecs::CapacityProviderStrategyItem>,
    pub platform_version: String,
    pub network: ecs::AwsVpcConfiguration,
    pub load_balancers: Vec<ecs::LoadBalancer>,
    /// By container name, once resolved.
    pub images: BTreeMap<String, ImageDigests>,
    pub created_at: Timestamp,
}

impl Revision {
    pub(crate) fn key_of(cluster: &str, service: &str, id: &str) -> String {
        format!("{cluster}/{service}/{id}")
    }

    pub(crate) fn arn_of(scope: &Scope, cluster: &str, service: &str, id: &str) -> String {
        scope.arn("ecs", format_args!("service-revision/{cluster}/{service}/{id}"))
    }
}

impl Record for Revision {
    const KIND: &'static str = "ecs/service-revision";

    fn key(&self) -> String {
        Self::key_of(&self.cluster, &self.service, &self.id)
    }
}

/// The history of one change of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceDeployment {
    pub cluster: String,
    pub service: String,
    pub id: String,
    /// The digits of the revision that it brings in.
    pub target: String,
    /// The digits of the revisions that ran before.
    pub sources: Vec<String>,
    pub status: ServiceDeploymentStatus,
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub configuration: ecs::DeploymentConfiguration,
    pub rollback: Option<Rollback>,
    /// Failures and threshold when the circuit breaker tripped.
    pub tripped: Option<(u32, u32)>,
    /// An alarm has failed it.
    #[serde(default)]
    pub alarmed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    pub reason: String,
    pub started_at: Timestamp,
    /// The digits of the revision that it goes back to.
    pub revision: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServiceDeploymentStatus {
    InProgress,
    Successful,
    Stopped,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
}

impl ServiceDeploymentStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Successful => "SUCCESSFUL",
            Self::Stopped => "STOPPED",
            Self::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
            Self::RollbackSuccessful => "ROLLBACK_SUCCESSFUL",
            Self::RollbackFailed => "ROLLBACK_FAILED",
        }
    }
}

impl ServiceDeployment {
    pub fn key_of(cluster: &str, service: &str, id: &str) -> String {
        format!("{cluster}/{service}/{id}")
    }

    pub fn arn(&self, scope: &Scope) -> String {
        scope.arn("ecs", format_args!("service-deployment/{}", self.key()))
    }
}

impl Record for ServiceDeployment {
    const KIND: &'static str = "ecs/service-deployment";

    fn key(&self) -> String {
        Self::key_of(&self.cluster, &self.service, &self.id)
    }
}
