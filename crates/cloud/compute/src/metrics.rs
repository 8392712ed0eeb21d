//! The metrics of services: what their tasks use of the CPU and memory that they have reserved.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cloudwatch-metrics.html>

use std::collections::BTreeMap;
use std::time::Duration;

use pileus_contract::{MetricKey, MetricPoint};
use pileus_core::{Scope, Timestamp};
use pileus_state::State;

use crate::cluster::Cluster;
use crate::machine::TaskRef;
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

/// One sample for each running task of a service, as points of the current minute: `CPUUtilization` and
/// `MemoryUtilization` in percent of what the task has reserved, by cluster and service; and the same by task where the
/// cluster has Container Insights with enhanced observability.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Container-Insights-enhanced-observability-metrics-ECS.html>
pub fn metrics(state: &State, loads: &[TaskLoad], now: Timestamp) -> Vec<(Scope, MetricKey, MetricPoint)> {
    let mut points: BTreeMap<(Scope, MetricKey), MetricPoint> = BTreeMap::new();
    for load in loads {
        let Some(task) = state.get::<Task>(&load.task.scope, &load.task.id) else { continue };
        for (name, value) in utilization(&task, load) {
            let sample = MetricPoint::sample(now.truncate(PERIOD), value);
            let of_service = key(&task, "AWS/ECS", format!("{name}Utilization"));
            let insights = enhanced(state, &load.task.scope, &task);
            let of_task =
                insights.then(|| key(&task, "ECS/ContainerInsights", insights_name(name))).flatten();
            let of_task = of_task.map(|mut key| {
                key.dimensions.insert("TaskId".into(), task.id.clone());
                key
            });
            for key in of_service.into_iter().chain(of_task) {
                let entry = points.entry((load.task.scope.clone(), key));
                entry.and_modify(|point| point.merge(&sample)).or_insert_with(|| sample.clone());
            }
        }
    }
    points.into_iter().map(|((scope, key), point)| (scope, key, point)).collect()
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

/// Whether the task's cluster measures each task.
fn enhanced(state: &State, scope: &Scope, task: &Task) -> bool {
    let cluster = state.get::<Cluster>(scope, &task.cluster);
    let mut settings = cluster.iter().flat_map(|cluster| &cluster.settings);
    settings.any(|setting| {
        setting.name.as_deref() == Some("containerInsights") && setting.value.as_deref() == Some("enhanced")
    })
}

fn insights_name(name: &str) -> String {
    format!("Task{}Utilization", if name == "CPU" { "Cpu" } else { name })
}

fn key(task: &Task, namespace: &str, name: String) -> Option<MetricKey> {
    let membership = task.service.as_ref()?;
    let dimensions = [
        ("ClusterName".to_owned(), task.cluster.clone()),
        ("ServiceName".to_owned(), membership.service.clone()),
    ];
    Some(MetricKey { namespace: namespace.into(), name, dimensions: dimensions.into() })
}
