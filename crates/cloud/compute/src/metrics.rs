//! The metrics of services: what their tasks use of the CPU and memory that they have reserved.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cloudwatch-metrics.html>

use std::collections::BTreeMap;
use std::time::Duration;

use pileus_contract::{MetricKey, MetricPoint};
use pileus_core::{Scope, Timestamp};
use pileus_state::State;

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

/// One sample for each running task of a service, as points of the current minute: `CPUUtilization` and
/// `MemoryUtilization` in percent of what the task has reserved, by cluster and service.
pub fn metrics(state: &State, loads: &[TaskLoad], now: Timestamp) -> Vec<(Scope, MetricKey, MetricPoint)> {
    let mut points: BTreeMap<(Scope, MetricKey), MetricPoint> = BTreeMap::new();
    for load in loads {
        let Some(task) = state.get::<Task>(&load.task.scope, &load.task.id) else { continue };
        for (name, value) in utilization(&task, load) {
            let Some(key) = key(&task, name) else { continue };
            let sample = MetricPoint::sample(now.truncate(PERIOD), value);
            let entry = points.entry((load.task.scope.clone(), key));
            entry.and_modify(|point| point.merge(&sample)).or_insert(sample);
        }
    }
    points.into_iter().map(|((scope, key), point)| (scope, key, point)).collect()
}

fn utilization(task: &Task, load: &TaskLoad) -> Vec<(&'static str, f64)> {
    let reserved = |text: &str| text.parse::<f64>().ok().filter(|amount| *amount > 0.0);
    if task.status != TaskStatus::Running {
        return Vec::new();
    }
    let cpu = reserved(&task.cpu).map(|units| ("CPUUtilization", 100.0 * load.cores * 1024.0 / units));
    let memory = reserved(&task.memory).map(|mib| {
        ("MemoryUtilization", 100.0 * load.memory_bytes as f64 / (mib * 1024.0 * 1024.0))
    });
    cpu.into_iter().chain(memory).collect()
}

fn key(task: &Task, name: &str) -> Option<MetricKey> {
    let membership = task.service.as_ref()?;
    let dimensions = [
        ("ClusterName".to_owned(), task.cluster.clone()),
        ("ServiceName".to_owned(), membership.service.clone()),
    ];
    Some(MetricKey { namespace: "AWS/ECS".into(), name: name.into(), dimensions: dimensions.into() })
}
