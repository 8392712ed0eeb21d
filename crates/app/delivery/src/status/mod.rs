//! How an app is: one picture of its service, tasks, targets and events, for a person or a program.
//!
//! [`Observed`] holds what AWS answers; [`View`] is what we make of it, a pure function of that. As JSON the view is an
//! interface: fields are added, never renamed or removed. Times in it are ISO 8601, percentages are of the reservation.

mod observe;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use pileus_aws::ecs::{Deployment, Service, Task};
use pileus_aws::elbv2::TargetHealthDescription;
use pileus_core::Timestamp;
use serde::{Serialize, Serializer};

pub use observe::{Observed, Usage};

/// Events shown, the newest.
const EVENTS: usize = 10;
/// A task that failed so long ago is no news any more.
const NEWS: Duration = Duration::from_secs(10 * 60);

/// An app at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    pub app: String,
    /// Where the app answers; `null` while it has no load balancer.
    pub url: Option<String>,
    /// The service runs what it should, and every target in use is healthy.
    pub steady: bool,
    pub service: ServiceView,
    /// The primary one first.
    pub deployments: Vec<DeploymentView>,
    /// Those that have not stopped.
    pub tasks: Vec<TaskView>,
    pub targets: Vec<TargetView>,
    /// The newest first.
    pub events: Vec<EventView>,
    /// What a person should look at.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceView {
    pub name: String,
    pub cluster: String,
    pub status: String,
    /// `family:revision`.
    pub task_definition: String,
    pub desired: i64,
    pub running: i64,
    pub pending: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeploymentView {
    pub id: String,
    /// `PRIMARY`, `ACTIVE` or `INACTIVE`.
    pub status: String,
    pub task_definition: String,
    /// `IN_PROGRESS`, `COMPLETED` or `FAILED`.
    pub rollout: String,
    pub reason: String,
    pub desired: i64,
    pub running: i64,
    pub pending: i64,
    pub failed: i64,
    #[serde(serialize_with = "iso8601")]
    pub since: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskView {
    pub id: String,
    pub az: String,
    /// Its private address, once it has one.
    pub address: Option<String>,
    /// AWS's last status: `PROVISIONING` to `DEPROVISIONING`.
    pub state: String,
    /// When it started, or was made where it has not started.
    #[serde(serialize_with = "iso8601")]
    pub since: Option<Timestamp>,
    /// `family:revision`.
    pub task_definition: String,
    /// `null` until it has been measured.
    pub cpu_percent: Option<f64>,
    pub memory_percent: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetView {
    pub address: String,
    pub port: i64,
    pub az: String,
    /// `initial`, `healthy`, `unhealthy`, `draining`, `unused` or `unavailable`.
    pub health: String,
    /// AWS's code, such as `Target.Timeout`; `null` where it is healthy.
    pub reason: Option<String>,
    pub description: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventView {
    #[serde(serialize_with = "iso8601")]
    pub at: Option<Timestamp>,
    pub message: String,
}

impl View {
    /// `edge_port` is where load balancers' port 80 is reached, if it is; `now` is the endpoint's time.
    pub fn new(app: &str, observed: &Observed, edge_port: Option<u16>, now: Timestamp) -> Self {
        let service = &observed.service;
        let dns_name = observed.balancer.as_ref().and_then(|balancer| balancer.dns_name.as_deref());
        let stopped = |task: &&Task| task.last_status.as_deref() == Some("STOPPED");
        let mut tasks: Vec<_> = observed
            .tasks
            .iter()
            .filter(|task| !stopped(task))
            .map(|task| task_view(task, observed))
            .collect();
        tasks.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
        let targets: Vec<_> = observed.targets.iter().map(target_view).collect();
        Self {
            app: app.to_owned(),
            url: dns_name.zip(edge_port).map(|(dns_name, port)| url(dns_name, port)),
            steady: is_settled(service) && targets.iter().all(TargetView::is_fine),
            service: service_view(service),
            deployments: service.deployments.iter().flatten().map(deployment_view).collect(),
            warnings: warnings(observed, edge_port, &targets, now),
            tasks,
            targets,
            events: service.events.iter().flatten().take(EVENTS).map(event_view).collect(),
        }
    }
}

impl TargetView {
    /// Healthy, or on its way out.
    fn is_fine(&self) -> bool {
        matches!(self.health.as_str(), "healthy" | "draining")
    }
}

/// `http://name`, with the port where it is not HTTP's own.
pub fn url(dns_name: &str, port: u16) -> String {
    if port == 80 { format!("http://{dns_name}") } else { format!("http://{dns_name}:{port}") }
}

/// What stands after the last slash of an ARN: a task's id, `family:revision`.
fn short_name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// One deployment, completed, with all its tasks: AWS's steady state.
pub(crate) fn is_settled(service: &Service) -> bool {
    let deployments: Vec<_> = service.deployments.iter().flatten().collect();
    deployments.len() == 1
        && deployments[0].rollout_state.as_deref() == Some("COMPLETED")
        && service.running_count == service.desired_count
}

fn text(value: Option<&String>) -> String {
    value.cloned().unwrap_or_default()
}

fn short(arn: Option<&String>) -> String {
    arn.map(|arn| short_name(arn).to_owned()).unwrap_or_default()
}

fn service_view(service: &Service) -> ServiceView {
    ServiceView {
        name: text(service.service_name.as_ref()),
        cluster: short(service.cluster_arn.as_ref()),
        status: text(service.status.as_ref()),
        task_definition: short(service.task_definition.as_ref()),
        desired: service.desired_count.unwrap_or(0),
        running: service.running_count.unwrap_or(0),
        pending: service.pending_count.unwrap_or(0),
    }
}

fn deployment_view(deployment: &Deployment) -> DeploymentView {
    DeploymentView {
        id: text(deployment.id.as_ref()),
        status: text(deployment.status.as_ref()),
        task_definition: short(deployment.task_definition.as_ref()),
        rollout: text(deployment.rollout_state.as_ref()),
        reason: text(deployment.rollout_state_reason.as_ref()),
        desired: deployment.desired_count.unwrap_or(0),
        running: deployment.running_count.unwrap_or(0),
        pending: deployment.pending_count.unwrap_or(0),
        failed: deployment.failed_tasks.unwrap_or(0),
        since: deployment.created_at,
    }
}

fn task_view(task: &Task, observed: &Observed) -> TaskView {
    let id = short(task.task_arn.as_ref());
    let usage = observed.usage.get(&id).copied().unwrap_or_default();
    let mut details =
        task.attachments.iter().flatten().flat_map(|attachment| attachment.details.iter().flatten());
    let address = details.find(|detail| detail.name.as_deref() == Some("privateIPv4Address"));
    TaskView {
        id,
        az: text(task.availability_zone.as_ref()),
        address: address.and_then(|address| address.value.clone()),
        state: text(task.last_status.as_ref()),
        since: task.started_at.or(task.created_at),
        task_definition: short(task.task_definition_arn.as_ref()),
        cpu_percent: usage.cpu,
        memory_percent: usage.memory,
    }
}

fn target_view(described: &TargetHealthDescription) -> TargetView {
    let (target, health) = (described.target.as_ref(), described.target_health.as_ref());
    TargetView {
        address: target.map(|target| target.id.clone()).unwrap_or_default(),
        port: target.and_then(|target| target.port).unwrap_or(0),
        az: text(target.and_then(|target| target.availability_zone.as_ref())),
        health: text(health.and_then(|health| health.state.as_ref())),
        reason: health.and_then(|health| health.reason.clone()),
        description: health.and_then(|health| health.description.clone()),
    }
}

fn event_view(event: &pileus_aws::ecs::ServiceEvent) -> EventView {
    EventView { at: event.created_at, message: text(event.message.as_ref()) }
}

fn warnings(
    observed: &Observed,
    edge_port: Option<u16>,
    targets: &[TargetView],
    now: Timestamp,
) -> Vec<String> {
    let (service, mut warnings) = (&observed.service, Vec::new());
    match &observed.balancer {
        None => warnings.push("The load balancer is missing; `pileus up` makes it again.".to_owned()),
        Some(_) if edge_port.is_none() => {
            warnings
                .push("No port of this host leads to the load balancer; see the engine's log.".to_owned());
        }
        Some(_) => {}
    }
    for deployment in service.deployments.iter().flatten() {
        if deployment.rollout_state.as_deref() == Some("FAILED") {
            let (version, reason) =
                (short(deployment.task_definition.as_ref()), text(deployment.rollout_state_reason.as_ref()));
            warnings.push(format!("The deployment of {version} failed: {reason}"));
        }
    }
    let primary = service.deployments.iter().flatten().next().and_then(|deployment| deployment.created_at);
    let of_primary = service.events.iter().flatten().filter(|event| event.created_at >= primary);
    warnings.extend(of_primary.filter_map(|event| {
        let (_, what) = event.message.as_deref()?.split_once(" would fail on AWS: ")?;
        Some(format!("On AWS its tasks would not start: {what}"))
    }));
    if !targets.is_empty() && !targets.iter().any(|target| target.health == "healthy") {
        warnings.push("No target is healthy.".to_owned());
    }
    let failed = observed.tasks.iter().filter(|task| {
        let itself =
            matches!(task.stop_code.as_deref(), Some("EssentialContainerExited" | "TaskFailedToStart"));
        itself && task.stopped_at.is_some_and(|at| now.since(at) < NEWS)
    });
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for task in failed {
        let id = short(task.task_arn.as_ref());
        reasons.entry(stop_reason(task)).or_default().push(id.get(..8).unwrap_or(&id).to_owned());
    }
    warnings.extend(reasons.into_iter().map(|(reason, tasks)| match &tasks[..] {
        [task] => format!("Task {task} stopped: {reason}"),
        tasks => format!("{} tasks stopped lately ({}): {reason}", tasks.len(), tasks.join(", ")),
    }));
    warnings
}

/// Why a task stopped, with what its containers say of it.
pub fn stop_reason(task: &Task) -> String {
    let mut reason = text(task.stopped_reason.as_ref());
    for container in task.containers.iter().flatten() {
        if let Some(code) = container.exit_code {
            reason += &format!(" (container {} exited with {code})", text(container.name.as_ref()));
        }
        if let Some(why) = &container.reason {
            reason += &format!(" ({why})");
        }
    }
    reason
}

fn iso8601<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(Timestamp::iso8601).serialize(serializer)
}
