//! What a container definition asks for beside its program, as the machine is to carry it out. The definition has been
//! checked when it was registered.

use std::time::Duration;

use pileus_aws::ecs::{ContainerDefinition, HealthCheck as Check, MountPoint, Volume};
use pileus_contract::ContainerSpec;
use pileus_contract::containers::{Condition, Dependency, HealthCheck, RestartPolicy, VolumeMount};

use super::launch::has_check;
use crate::task_definition::features::{INTERVAL, RETRIES, TIMEOUT};
use crate::task_definition::record::TaskDefinition;

/// Seconds that a container must have run before it is started again.
const RESTART_PERIOD: i64 = 300;

fn seconds(value: i64) -> Duration {
    Duration::from_secs(value.max(0).unsigned_abs())
}

/// The part of a container's specification that speaks of these.
pub(super) fn of(definition: &ContainerDefinition) -> ContainerSpec {
    let linux = definition.linux_parameters.clone().unwrap_or_default();
    let capabilities = linux.capabilities.unwrap_or_default();
    let limits = definition.ulimits.iter().flatten();
    ContainerSpec {
        depends_on: definition.depends_on.iter().flatten().filter_map(dependency).collect(),
        start_timeout: definition.start_timeout.map(seconds),
        health_check: definition
            .health_check
            .as_ref()
            .filter(|_| has_check(definition))
            .and_then(health_check),
        restart: definition.restart_policy.as_ref().filter(|policy| policy.enabled).map(|policy| {
            let codes = policy.ignored_exit_codes.iter().flatten();
            RestartPolicy {
                ignored_exit_codes: codes.filter_map(|code| i32::try_from(*code).ok()).collect(),
                attempt_period: seconds(policy.restart_attempt_period.unwrap_or(RESTART_PERIOD)),
            }
        }),
        init: linux.init_process_enabled.unwrap_or(false),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
        ptrace: capabilities.add.is_some_and(|names| names.iter().any(|name| name == "SYS_PTRACE")),
        ulimits: limits
            .map(|limit| {
                (limit.name.clone(), (limit.soft_limit.unsigned_abs(), limit.hard_limit.unsigned_abs()))
            })
            .collect(),
        ..ContainerSpec::default()
    }
}

fn dependency(given: &pileus_aws::ecs::ContainerDependency) -> Option<Dependency> {
    let condition = match given.condition.as_str() {
        "START" => Condition::Start,
        "COMPLETE" => Condition::Complete,
        "SUCCESS" => Condition::Success,
        "HEALTHY" => Condition::Healthy,
        _ => return None,
    };
    Some(Dependency { container: given.container_name.clone(), condition })
}

fn health_check(check: &Check) -> Option<HealthCheck> {
    let (kind, words) = check.command.split_first()?;
    let command = match kind.as_str() {
        "CMD" => words.to_vec(),
        _ => ["/bin/sh", "-c", words.first()?].map(str::to_owned).into(),
    };
    Some(HealthCheck {
        command,
        interval: seconds(check.interval.unwrap_or(INTERVAL)),
        timeout: seconds(check.timeout.unwrap_or(TIMEOUT)),
        retries: u32::try_from(check.retries.unwrap_or(RETRIES)).unwrap_or(1),
        start_period: seconds(check.start_period.unwrap_or(0)),
    })
}

/// The container's own mounts, and those of the containers whose volumes it takes over.
pub(super) fn mounts(container: &ContainerDefinition, task: &TaskDefinition) -> Vec<VolumeMount> {
    let volumes = task.shape.volumes.as_deref().unwrap_or_default();
    let own = container.mount_points.iter().flatten().filter_map(|point| mount(point, volumes, false));
    let mut all: Vec<VolumeMount> = own.collect();
    for from in container.volumes_from.iter().flatten() {
        let source = task.containers().iter().find(|other| other.name == from.source_container);
        for point in source.iter().flat_map(|source| source.mount_points.iter().flatten()) {
            let taken = mount(point, volumes, from.read_only.unwrap_or(false));
            all.extend(taken.filter(|new| !all.iter().any(|known| known.path == new.path)));
        }
    }
    all
}

/// Volumes are called by their position: their names may be longer than those of directories.
fn mount(point: &MountPoint, volumes: &[Volume], read_only: bool) -> Option<VolumeMount> {
    let index = volumes.iter().position(|volume| volume.name == point.source_volume)?;
    Some(VolumeMount {
        volume: format!("volume-{index}"),
        path: point.container_path.clone()?,
        read_only: read_only || point.read_only.unwrap_or(false),
    })
}

/// The kernel parameters that it asks for.
pub(super) fn sysctls(definition: &ContainerDefinition) -> Vec<(String, String)> {
    let controls = definition.system_controls.iter().flatten();
    controls.filter_map(|control| Some((control.namespace.clone()?, control.value.clone()?))).collect()
}
