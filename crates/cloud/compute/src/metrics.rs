//! The metrics of services and, with Container Insights, of clusters and tasks: what is used of the CPU and memory that
//! is reserved, and how many of everything there are.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cloudwatch-metrics.html>

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pileus_contract::{MetricKey, MetricPoint};
use pileus_core::{Scope, Timestamp};
use pileus_state::State;

use crate::cluster::Cluster;
use crate::machine::TaskRef;
use crate::service::record::{Service, ServiceStatus};
use crate::task::record::{Task, TaskStatus};

const PERIOD: Duration = Duration::from_secs(60);

/// What a task used of late.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskLoad {
    pub task: TaskRef,
    /// Cores in use, on average since the last sample: 0.25 is a quarter of one core.
    pub cores: f64,
    pub memory_bytes: u64,
}

/// The tasks that have something to measure.
pub fn running(state: &State) -> Vec<TaskRef> {
    let tasks = state.all::<Task>().filter(|(_, task)| task.status == TaskStatus::Running);
    tasks.map(|(scope, task)| TaskRef { scope: scope.clone(), id: task.id.clone() }).collect()
}

/// One sample for each running task, as points of the current minute: of its service `CPUUtilization` and
/// `MemoryUtilization`, in percent of what the task has reserved; and what Container Insights measures, where the
/// cluster has it.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Container-Insights-metrics-ECS.html>
pub fn metrics(state: &State, loads: &[TaskLoad], now: Timestamp) -> Vec<(Scope, MetricKey, MetricPoint)> {
    let mut points: BTreeMap<(Scope, MetricKey), MetricPoint> = BTreeMap::new();
    let mut add = |scope: &Scope, key: MetricKey, value: f64| {
        let sample = MetricPoint::sample(now.truncate(PERIOD), value);
        let entry = points.entry((scope.clone(), key));
        entry.and_modify(|point| point.merge(&sample)).or_insert_with(|| sample.clone());
    };
    for load in loads {
        let scope = &load.task.scope;
        let Some(task) = state.get::<Task>(scope, &load.task.id) else { continue };
        let insights = insights(state, scope, &task.cluster);
        for (name, value) in utilization(&task, load) {
            if let Some(service) = dimensions(&task, &["ClusterName", "ServiceName"]) {
                add(scope, key("AWS/ECS", format!("{name}Utilization"), service), value);
            }
            let enhanced = dimensions(&task, &["ClusterName", "ServiceName", "TaskId"]);
            if let Some(of_task) = enhanced.filter(|_| insights == Insights::Enhanced) {
                add(scope, key(INSIGHTS, insights_name(name), of_task), value);
            }
        }
        for (name, value) in usage(&task, load).into_iter().filter(|_| insights != Insights::Disabled) {
            for names in [
                &["ClusterName"][..],
                &["ClusterName", "ServiceName"],
                &["ClusterName", "TaskDefinitionFamily"],
            ] {
                if let Some(dimensions) = dimensions(&task, names) {
                    add(scope, key(INSIGHTS, name.to_owned(), dimensions), value);
                }
            }
        }
    }
    for (scope, key, value) in counts(state) {
        add(&scope, key, value);
    }
    points.into_iter().map(|((scope, key), point)| (scope, key, point)).collect()
}

const INSIGHTS: &str = "ECS/ContainerInsights";

/// What Container Insights measures in a cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Insights {
    Disabled,
    /// Clusters, services and task definitions.
    Enabled,
    /// Each task, too.
    Enhanced,
}

fn insights(state: &State, scope: &Scope, cluster: &str) -> Insights {
    let cluster = state.get::<Cluster>(scope, cluster);
    let mut settings = cluster.iter().flat_map(|cluster| &cluster.settings);
    let setting = settings.find(|setting| setting.name.as_deref() == Some("containerInsights"));
    match setting.and_then(|setting| setting.value.as_deref()) {
        Some("enhanced") => Insights::Enhanced,
        Some("enabled") => Insights::Enabled,
        _ => Insights::Disabled,
    }
}

/// CPU units and MiB: used, and reserved.
fn usage(task: &Task, load: &TaskLoad) -> Vec<(&'static str, f64)> {
    let number = |text: &str| text.parse::<f64>().ok();
    let (Some(cpu), Some(memory)) = (number(&task.cpu), number(&task.memory)) else { return Vec::new() };
    vec![
        ("CpuUtilized", load.cores * 1024.0),
        ("CpuReserved", cpu),
        ("MemoryUtilized", load.memory_bytes as f64 / (1024.0 * 1024.0)),
        ("MemoryReserved", memory),
    ]
}

/// How many tasks and deployments each service has, and how many tasks and services each cluster.
fn counts(state: &State) -> Vec<(Scope, MetricKey, f64)> {
    let mut all = Vec::new();
    for (scope, cluster) in state.all::<Cluster>() {
        if insights(state, scope, &cluster.name) == Insights::Disabled {
            continue;
        }
        let tasks: Vec<_> = state.list::<Task>(scope).filter(|task| task.cluster == cluster.name).collect();
        let services: Vec<_> = state
            .list::<Service>(scope)
            .filter(|it| it.cluster == cluster.name && it.status == ServiceStatus::Active)
            .collect();
        let running = |task: &&Arc<Task>| task.status == TaskStatus::Running && task.stop.is_none();
        let pending = |task: &&Arc<Task>| task.status < TaskStatus::Running && task.stop.is_none();
        let mut add = |name: &str, service: Option<&str>, value: usize| {
            let mut dimensions = BTreeMap::from([("ClusterName".to_owned(), cluster.name.clone())]);
            dimensions.extend(service.map(|service| ("ServiceName".to_owned(), service.to_owned())));
            all.push((scope.clone(), key(INSIGHTS, name.to_owned(), dimensions), value as f64));
        };
        add("TaskCount", None, tasks.iter().filter(running).count());
        add("ServiceCount", None, services.len());
        for service in &services {
            let own = || {
                let of =
                    |task: &&Arc<Task>| task.service.as_ref().is_some_and(|it| it.service == service.name);
                tasks.iter().filter(of)
            };
            let name = Some(service.name.as_str());
            add("RunningTaskCount", name, own().filter(running).count());
            add("PendingTaskCount", name, own().filter(pending).count());
            add("DesiredTaskCount", name, service.desired as usize);
            add("DeploymentCount", name, service.deployments.len());
        }
    }
    all
}

fn utilization(task: &Task, load: &TaskLoad) -> Vec<(&'static str, f64)> {
    let reserved = |text: &str| text.parse::<f64>().ok().filter(|amount| *amount > 0.0);
    if task.status != TaskStatus::Running {
        return Vec::new();
    }
    let cpu = reserved(&task.cpu).map(|units| ("CPU", 100.0 * load.cores * 1024.0 / units));
    let memory = reserved(&task.memory)
        .map(|mib| ("Memory", 100.0 * load.memory_bytes as f64 / (mib * 1024.0 * 1024.0)));
    cpu.into_iter().chain(memory).collect()
}

fn insights_name(name: &str) -> String {
    format!("Task{}Utilization", if name == "CPU" { "Cpu" } else { name })
}

fn key(namespace: &str, name: String, dimensions: BTreeMap<String, String>) -> MetricKey {
    MetricKey { namespace: namespace.into(), name, dimensions }
}

/// The dimensions of these names; `None` where the task has not all of them.
fn dimensions(task: &Task, names: &[&str]) -> Option<BTreeMap<String, String>> {
    let value = |name: &str| match name {
        "ClusterName" => Some(task.cluster.clone()),
        "ServiceName" => task.service.as_ref().map(|membership| membership.service.clone()),
        "TaskDefinitionFamily" => task.family().map(str::to_owned),
        _ => Some(task.id.clone()),
    };
    names.iter().map(|name| Some(((*name).to_owned(), value(name)?))).collect()
}
