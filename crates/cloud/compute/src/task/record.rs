//! The record of a task, from its placement to an hour after its end.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html>

use std::net::Ipv4Addr;

use pileus_aws::ecs;
use pileus_core::{Arn, Scope, Tags, Timestamp};
use pileus_state::Record;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// 32 hexadecimal digits, unique in the whole engine: the machine knows tasks by it.
    pub id: String,
    pub cluster: String,
    /// The ARN of the task definition.
    pub definition: String,
    pub group: String,
    pub started_by: Option<String>,
    /// The service and deployment that it belongs to; `None` for a task of `RunTask`.
    pub service: Option<Membership>,
    pub launch_type: Option<String>,
    pub capacity_provider: Option<String>,
    pub platform_version: String,
    /// CPU units and MiB, as the API shows them.
    pub cpu: String,
    pub memory: String,
    pub overrides: ecs::TaskOverride,
    pub enable_execute_command: bool,
    pub tags: Tags,
    pub client_token: Option<String>,
    pub network: TaskNetwork,
    /// The target groups that it is to serve.
    pub targets: Vec<Target>,
    pub containers: Vec<TaskContainer>,
    /// The last part of its credentials' path, where it has a task role.
    pub credentials: Option<String>,
    pub status: TaskStatus,
    /// Why and when it was decided that it stops. Its desired status is STOPPED from then on.
    pub stop: Option<Stop>,
    /// Grows with every change that the API shows.
    pub version: i64,
    pub created_at: Timestamp,
    pub connectivity_at: Option<Timestamp>,
    pub pull_started_at: Option<Timestamp>,
    pub pull_stopped_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub execution_stopped_at: Option<Timestamp>,
    pub stopped_at: Option<Timestamp>,
    /// When it first counted as healthy to its service.
    pub healthy_at: Option<Timestamp>,
    /// Its service has counted its failure.
    pub counted: bool,
    /// Until then its service does not stop it to scale in or to deploy.
    #[serde(default)]
    pub protected_until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub service: String,
    pub deployment: String,
}

/// Its elastic network interface: kept after the interface is gone, because the API goes on showing it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskNetwork {
    pub attachment: String,
    pub interface: String,
    pub subnet: String,
    pub zone: String,
    pub address: Ipv4Addr,
    pub mac: String,
    pub private_dns_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub target_group: String,
    pub port: u16,
    /// It was registered, and not yet deregistered.
    pub registered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskContainer {
    pub name: String,
    /// The last part of its ARN.
    pub id: String,
    /// As Fargate forms it: the task's id and ten digits. Also its path at the metadata endpoint.
    pub runtime_id: String,
    pub image: String,
    /// What its image name stood for; `None` until that is found out.
    pub resolved: Option<ImageDigests>,
    pub essential: bool,
    pub status: ContainerStatus,
    pub started_at: Option<Timestamp>,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
    /// What its health check says, where it has one.
    #[serde(default)]
    pub health: Option<Health>,
    #[serde(default)]
    pub restarts: u32,
    /// The execution role may not write its log: what it writes is lost, as on AWS.
    #[serde(default)]
    pub mute: bool,
}

/// What health checks say of a container, or of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Health {
    Unknown,
    Healthy,
    Unhealthy,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
        }
    }
}

/// An image, found by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDigests {
    /// Of what the name stands for, which may be an index of images by platform: the API shows this one.
    pub digest: String,
    /// Of the one image that runs here.
    pub manifest: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerStatus {
    Pending,
    Running,
    Stopped,
}

impl ContainerStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// The states of a task, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskStatus {
    /// Its network interface is being made.
    Provisioning,
    /// Its images are made ready and its containers started.
    Pending,
    /// Its targets are registered.
    Activating,
    Running,
    /// Its targets are deregistered and drain.
    Deactivating,
    /// Its containers have been told to stop.
    Stopping,
    /// What it had on the machine is removed, its network interface deleted.
    Deprovisioning,
    Stopped,
}

impl TaskStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Activating => "ACTIVATING",
            Self::Running => "RUNNING",
            Self::Deactivating => "DEACTIVATING",
            Self::Stopping => "STOPPING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub at: Timestamp,
    pub code: StopCode,
    pub reason: String,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCode {
    TaskFailedToStart,
    EssentialContainerExited,
    UserInitiated,
    ServiceSchedulerInitiated,
}

impl StopCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TaskFailedToStart => "TaskFailedToStart",
            Self::EssentialContainerExited => "EssentialContainerExited",
            Self::UserInitiated => "UserInitiated",
            Self::ServiceSchedulerInitiated => "ServiceSchedulerInitiated",
        }
    }
}

impl Task {
    pub fn arn(&self, scope: &Scope) -> String {
        scope.arn("ecs", format_args!("task/{}/{}", self.cluster, self.id))
    }

    /// The family of its task definition.
    pub fn family(&self) -> Option<&str> {
        let revision = Arn::parse(&self.definition)?.resource.strip_prefix("task-definition/")?;
        revision.split_once(':').map(|(family, _)| family)
    }

    pub fn is_live(&self) -> bool {
        self.stop.is_none() && self.status <= TaskStatus::Running
    }

    /// What the health checks of its essential containers say together; `None` where there is none.
    pub fn health(&self) -> Option<Health> {
        let checked = || self.containers.iter().filter(|it| it.essential).filter_map(|it| it.health);
        let any = |wanted: Health| checked().any(|health| health == wanted);
        match (any(Health::Unhealthy), any(Health::Unknown)) {
            (true, _) => Some(Health::Unhealthy),
            (false, true) => Some(Health::Unknown),
            (false, false) => checked().next(),
        }
    }

    /// Whether its service leaves it alone for now.
    pub fn is_protected(&self, now: Timestamp) -> bool {
        self.protected_until.is_some_and(|until| until > now)
    }

    /// Decides that the task stops; the first decision stays.
    pub fn request_stop(&mut self, code: StopCode, reason: impl Into<String>, now: Timestamp) {
        if self.stop.is_none() {
            self.stop = Some(Stop { at: now, code, reason: reason.into() });
            self.version += 1;
        }
    }
}

impl Record for Task {
    const KIND: &'static str = "ecs/task";

    fn key(&self) -> String {
        self.id.clone()
    }
}
