//! What a task definition may ask of its containers beside a program: secrets, health checks, order, restarts, limits,
//! volumes. The rules are those of the API and of Fargate.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use pileus_aws::ecs::{
    ContainerDefinition, HealthCheck, KernelCapabilities, LinuxParameters, RegisterTaskDefinitionRequest,
    Volume,
};
use pileus_core::{ApiError, Arn};

use crate::error::{client, refuse_unless};

const EPHEMERAL_GIB: RangeInclusive<i64> = 21..=200;
/// Seconds.
const RESTART_PERIOD: RangeInclusive<i64> = 60..=1800;
const START_TIMEOUT: RangeInclusive<i64> = 2..=120;
const MAX_IGNORED_CODES: usize = 50;
const MAX_OPEN_FILES: i64 = 1_048_576;

/// What the API fills in of a health check: seconds, seconds, times.
pub(crate) const INTERVAL: i64 = 30;
pub(crate) const TIMEOUT: i64 = 5;
pub(crate) const RETRIES: i64 = 3;

fn unsupported(what: &str) -> ApiError {
    client(format!("Fargate compatible task definitions do not support {what}"))
}

/// What is asked of the task as a whole.
pub(super) fn check_task(input: &RegisterTaskDefinitionRequest) -> Result<(), ApiError> {
    if input.pid_mode.as_deref().is_some_and(|mode| mode != "task") {
        return Err(unsupported("pidMode other than task"));
    }
    check_storage(input.ephemeral_storage.as_ref().map(|storage| storage.size_in_gib))?;
    let mut names = BTreeSet::new();
    for volume in input.volumes.iter().flatten() {
        let name = volume.name.as_deref().unwrap_or_default();
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 255 || !name.chars().all(allowed) {
            return Err(client(format!("Volume name '{name}' is invalid.")));
        }
        if !names.insert(name) {
            return Err(client(format!("Duplicate volume name '{name}'.")));
        }
        if volume.host.as_ref().is_some_and(|host| host.source_path.is_some()) {
            return Err(unsupported("sourcePath"));
        }
        refuse_unless(volume.configured_at_launch != Some(true), "volumes that are configuredAtLaunch")?;
    }
    Ok(())
}

/// # Errors
/// Fargate has no such size.
pub(crate) fn check_storage(gib: Option<i64>) -> Result<(), ApiError> {
    match gib {
        Some(size) if !EPHEMERAL_GIB.contains(&size) => Err(client(format!(
            "Ephemeral storage size must be between {} and {} GiB.",
            EPHEMERAL_GIB.start(),
            EPHEMERAL_GIB.end()
        ))),
        _ => Ok(()),
    }
}

/// What is asked of one container, by itself.
pub(super) fn check_container(name: &str, container: &ContainerDefinition) -> Result<(), ApiError> {
    let setting = |what: String| Err(client(format!("Invalid setting for container '{name}'. {what}")));
    check_secrets(name, container)?;
    container.health_check.as_ref().map_or(Ok(()), |check| check_health(name, check))?;
    container.linux_parameters.as_ref().map_or(Ok(()), check_linux)?;
    if container.start_timeout.is_some_and(|seconds| !START_TIMEOUT.contains(&seconds)) {
        return setting("startTimeout must be between 2 and 120 seconds on Fargate.".to_owned());
    }
    if let Some(policy) = &container.restart_policy {
        if policy.restart_attempt_period.is_some_and(|seconds| !RESTART_PERIOD.contains(&seconds)) {
            return setting("restartAttemptPeriod must be between 60 and 1800 seconds.".to_owned());
        }
        if policy.ignored_exit_codes.as_ref().is_some_and(|codes| codes.len() > MAX_IGNORED_CODES) {
            return setting(format!("ignoredExitCodes can have at most {MAX_IGNORED_CODES} values."));
        }
    }
    let mut limits = BTreeSet::new();
    for limit in container.ulimits.iter().flatten() {
        let most = if limit.name == "nofile" { MAX_OPEN_FILES } else { i64::MAX };
        if !limits.insert(&limit.name) {
            return setting(format!("The ulimit {} is set more than once.", limit.name));
        }
        if limit.soft_limit < 0 || limit.soft_limit > limit.hard_limit || limit.hard_limit > most {
            return setting(format!(
                "The ulimit {} must have a softLimit of at least 0 and at most its hardLimit, and that at most {most}.",
                limit.name
            ));
        }
    }
    for control in container.system_controls.iter().flatten() {
        let namespace = control.namespace.as_deref().unwrap_or_default();
        let plain = namespace.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !plain || control.value.as_deref().is_none_or(str::is_empty) {
            return setting(format!("The system control '{namespace}' must have a namespace and a value."));
        }
        refuse_unless(
            namespace.starts_with("net."),
            format_args!("the systemControl {namespace}; net.* is"),
        )?;
    }
    Ok(())
}

fn check_secrets(name: &str, container: &ContainerDefinition) -> Result<(), ApiError> {
    let mut taken: BTreeSet<&str> =
        container.environment.iter().flatten().filter_map(|pair| pair.name.as_deref()).collect();
    for secret in container.secrets.iter().flatten() {
        if secret.name.is_empty() || secret.value_from.is_empty() {
            return Err(client(format!(
                "Invalid setting for container '{name}'. A secret must have a name and a valueFrom."
            )));
        }
        if !taken.insert(&secret.name) {
            return Err(client(format!(
                "The secret name must be unique and not shared with any new or existing environment variables set on \
                 the container, such as '{}'.",
                secret.name
            )));
        }
        let known = |arn: Arn| ["secretsmanager", "ssm"].contains(&arn.service);
        if secret.value_from.starts_with("arn:") && !Arn::parse(&secret.value_from).is_some_and(known) {
            return Err(client(format!(
                "Invalid 'valueFrom' for secret '{}': {}",
                secret.name, secret.value_from
            )));
        }
    }
    Ok(())
}

fn check_health(name: &str, check: &HealthCheck) -> Result<(), ApiError> {
    let wrong = |what: &str| Err(client(format!("Invalid healthCheck for container '{name}'. {what}")));
    match check.command.as_slice() {
        [kind, _, ..] if kind == "CMD" => {}
        [kind, _] if kind == "CMD-SHELL" => {}
        [none] if none == "NONE" => {}
        _ => {
            return wrong(
                "The command must begin with CMD, followed by the program and its arguments, or CMD-SHELL, \
                          followed by one command line.",
            );
        }
    }
    let within =
        |value: Option<i64>, range: RangeInclusive<i64>| value.is_none_or(|value| range.contains(&value));
    if !within(check.interval, 5..=300) {
        return wrong("interval must be between 5 and 300 seconds.");
    }
    if !within(check.timeout, 2..=60) {
        return wrong("timeout must be between 2 and 60 seconds.");
    }
    if !within(check.retries, 1..=10) {
        return wrong("retries must be between 1 and 10.");
    }
    if !within(check.start_period, 0..=300) {
        return wrong("startPeriod must be between 0 and 300 seconds.");
    }
    Ok(())
}

fn check_linux(parameters: &LinuxParameters) -> Result<(), ApiError> {
    if parameters.devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
        return Err(unsupported("devices"));
    }
    if parameters.tmpfs.as_ref().is_some_and(|mounts| !mounts.is_empty()) {
        return Err(unsupported("tmpfs"));
    }
    for (given, what) in [
        (parameters.shared_memory_size, "sharedMemorySize"),
        (parameters.max_swap, "maxSwap"),
        (parameters.swappiness, "swappiness"),
    ] {
        if given.is_some() {
            return Err(unsupported(what));
        }
    }
    parameters.capabilities.as_ref().map_or(Ok(()), check_capabilities)
}

fn check_capabilities(capabilities: &KernelCapabilities) -> Result<(), ApiError> {
    if let Some(other) = capabilities.add.iter().flatten().find(|name| *name != "SYS_PTRACE") {
        return Err(unsupported(&format!("adding the Linux capability {other}; SYS_PTRACE can be added")));
    }
    let word = |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    match capabilities.drop.iter().flatten().find(|name| !word(name)) {
        Some(other) => Err(client(format!("Invalid Linux capability: {other}"))),
        None => Ok(()),
    }
}

/// What containers ask of each other and of volumes.
pub(super) fn check_together(containers: &[ContainerDefinition], volumes: &[Volume]) -> Result<(), ApiError> {
    let by_name: BTreeMap<&str, &ContainerDefinition> =
        containers.iter().filter_map(|container| Some((container.name.as_deref()?, container))).collect();
    for (name, container) in &by_name {
        check_mounts(container, volumes, &by_name)?;
        for dependency in container.depends_on.iter().flatten() {
            let other = by_name
                .get(dependency.container_name.as_str())
                .filter(|_| dependency.container_name != *name);
            let other = other.ok_or_else(|| {
                client(format!(
                    "Invalid dependsOn for container '{name}'. There is no other container '{}'.",
                    dependency.container_name
                ))
            })?;
            let essential = other.essential.unwrap_or(true);
            let wrong = match dependency.condition.as_str() {
                "COMPLETE" | "SUCCESS" if essential => "is essential, so that the task ends with it",
                "HEALTHY" if other.health_check.is_none() => "has no healthCheck",
                _ => continue,
            };
            return Err(client(format!(
                "Invalid dependsOn for container '{name}'. The container '{}' of the condition {} {wrong}.",
                dependency.container_name, dependency.condition
            )));
        }
    }
    check_cycles(&by_name)
}

fn check_mounts(
    container: &ContainerDefinition,
    volumes: &[Volume],
    by_name: &BTreeMap<&str, &ContainerDefinition>,
) -> Result<(), ApiError> {
    let mut paths = BTreeSet::new();
    for mount in container.mount_points.iter().flatten() {
        let volume = mount.source_volume.as_deref().unwrap_or_default();
        if !volumes.iter().any(|known| known.name.as_deref() == Some(volume)) {
            return Err(client(format!("Unknown volume '{volume}'.")));
        }
        let path = mount.container_path.as_deref().unwrap_or_default();
        let reserved = ["/", "/proc", "/sys", "/dev"].contains(&path.trim_end_matches('/')) || path == "/";
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") || reserved {
            return Err(client(format!("Invalid containerPath '{path}' for volume '{volume}'.")));
        }
        if !paths.insert(path.trim_end_matches('/')) {
            return Err(client(format!("Duplicate mount point '{path}'.")));
        }
    }
    for from in container.volumes_from.iter().flatten() {
        let source = from.source_container.as_deref().unwrap_or_default();
        if !by_name.contains_key(source) || container.name.as_deref() == Some(source) {
            return Err(client(format!("Unknown container '{source}' in volumesFrom.")));
        }
    }
    Ok(())
}

/// Nothing may wait for itself. Each container that waits for nothing that is left is taken out, until none is left.
fn check_cycles(by_name: &BTreeMap<&str, &ContainerDefinition>) -> Result<(), ApiError> {
    let mut left: BTreeSet<&str> = by_name.keys().copied().collect();
    loop {
        let waits = |name: &str| {
            let dependencies = by_name.get(name).and_then(|container| container.depends_on.as_ref());
            dependencies.into_iter().flatten().any(|it| left.contains(it.container_name.as_str()))
        };
        let free: Vec<&str> = left.iter().copied().filter(|name| !waits(name)).collect();
        if free.is_empty() {
            break;
        }
        left.retain(|name| !free.contains(name));
    }
    match left.first() {
        Some(name) => Err(client(format!("Container '{name}' has a circular dependency through dependsOn."))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use pileus_aws::ecs::{
        ContainerDependency, ContainerRestartPolicy, EphemeralStorage, HostVolumeProperties, KeyValuePair,
        MountPoint, Secret, SystemControl, Tmpfs, Ulimit, VolumeFrom,
    };

    use super::*;
    use crate::task_definition::validate::check;
    use crate::testing::{container, definition};

    fn health(command: &[&str]) -> Option<HealthCheck> {
        Some(HealthCheck {
            command: command.iter().map(|word| (*word).into()).collect(),
            ..Default::default()
        })
    }

    fn after(container: &str, condition: &str) -> Option<Vec<ContainerDependency>> {
        let dependency =
            ContainerDependency { container_name: container.into(), condition: condition.into() };
        Some(vec![dependency])
    }

    fn mount(volume: &str, path: &str) -> Option<Vec<MountPoint>> {
        let (source_volume, container_path) = (Some(volume.into()), Some(path.into()));
        Some(vec![MountPoint { source_volume, container_path, read_only: None }])
    }

    /// A definition with a second container, which uses all there is.
    fn rich() -> RegisterTaskDefinitionRequest {
        let mut request = definition();
        request.volumes = Some(vec![Volume { name: Some("shared".into()), ..Default::default() }]);
        request.ephemeral_storage = Some(EphemeralStorage { size_in_gib: 21 });
        request.pid_mode = Some("task".into());
        let mut side = container("side");
        side.port_mappings = None;
        side.essential = Some(false);
        side.health_check = health(&["CMD-SHELL", "true"]);
        side.mount_points = mount("shared", "/data");
        let web = &mut request.container_definitions[0];
        web.depends_on = after("side", "HEALTHY");
        web.volumes_from =
            Some(vec![VolumeFrom { source_container: Some("side".into()), read_only: Some(true) }]);
        web.secrets = Some(vec![Secret { name: "A".into(), value_from: "/parameter".into() }]);
        web.ulimits = Some(vec![Ulimit { name: "nofile".into(), soft_limit: 1024, hard_limit: 2048 }]);
        web.linux_parameters = Some(LinuxParameters {
            capabilities: Some(KernelCapabilities {
                add: Some(vec!["SYS_PTRACE".into()]),
                drop: Some(vec!["NET_RAW".into()]),
            }),
            init_process_enabled: Some(true),
            ..Default::default()
        });
        request.container_definitions.push(side);
        request
    }

    #[test]
    fn each_rule_has_its_error() {
        type Break = fn(&mut RegisterTaskDefinitionRequest);
        fn web(request: &mut RegisterTaskDefinitionRequest) -> &mut ContainerDefinition {
            &mut request.container_definitions[0]
        }
        fn side(request: &mut RegisterTaskDefinitionRequest) -> &mut ContainerDefinition {
            &mut request.container_definitions[1]
        }
        fn parameters(request: &mut RegisterTaskDefinitionRequest) -> &mut LinuxParameters {
            web(request).linux_parameters.as_mut().unwrap()
        }
        let cases: [(Break, &str); 27] = [
            (|r| r.pid_mode = Some("host".into()), "pidMode"),
            (|r| r.ephemeral_storage = Some(EphemeralStorage { size_in_gib: 20 }), "between 21 and 200"),
            (
                |r| {
                    r.volumes
                        .as_mut()
                        .unwrap()
                        .push(Volume { name: Some("shared".into()), ..Default::default() });
                },
                "Duplicate",
            ),
            (
                |r| {
                    let host = HostVolumeProperties { source_path: Some("/".into()) };
                    r.volumes.as_mut().unwrap()[0].host = Some(host);
                },
                "sourcePath",
            ),
            (
                |r| web(r).environment = Some(vec![KeyValuePair { name: Some("A".into()), value: None }]),
                "such as 'A'",
            ),
            (|r| web(r).secrets.as_mut().unwrap()[0].value_from = "arn:aws:s3:::x".into(), "valueFrom"),
            (|r| r.execution_role_arn = None, "executionRoleArn"),
            (|r| side(r).health_check = health(&["true"]), "must begin with CMD"),
            (|r| side(r).health_check.as_mut().unwrap().interval = Some(4), "interval"),
            (|r| side(r).health_check.as_mut().unwrap().timeout = Some(61), "timeout"),
            (|r| side(r).health_check.as_mut().unwrap().retries = Some(0), "retries"),
            (|r| side(r).health_check.as_mut().unwrap().start_period = Some(301), "startPeriod"),
            (|r| side(r).health_check = None, "has no healthCheck"),
            (|r| web(r).depends_on = after("web", "START"), "no other container"),
            (|r| web(r).depends_on = after("other", "START"), "no other container 'other'"),
            (|r| side(r).depends_on = after("web", "SUCCESS"), "is essential"),
            (|r| side(r).depends_on = after("web", "START"), "circular"),
            (|r| side(r).start_timeout = Some(121), "startTimeout"),
            (|r| side(r).mount_points = mount("none", "/data"), "Unknown volume 'none'."),
            (|r| side(r).mount_points = mount("shared", "/proc"), "containerPath"),
            (|r| web(r).volumes_from.as_mut().unwrap()[0].source_container = Some("x".into()), "volumesFrom"),
            (|r| parameters(r).shared_memory_size = Some(64), "do not support sharedMemorySize"),
            (|r| parameters(r).tmpfs = Some(vec![Tmpfs::default()]), "do not support tmpfs"),
            (
                |r| parameters(r).capabilities.as_mut().unwrap().add = Some(vec!["NET_ADMIN".into()]),
                "NET_ADMIN",
            ),
            (|r| web(r).ulimits.as_mut().unwrap()[0].soft_limit = 4096, "nofile"),
            (
                |r| {
                    web(r).restart_policy = Some(ContainerRestartPolicy {
                        enabled: true,
                        restart_attempt_period: Some(59),
                        ..Default::default()
                    });
                },
                "restartAttemptPeriod",
            ),
            (
                |r| {
                    web(r).system_controls = Some(vec![SystemControl {
                        namespace: Some("kernel.x".into()),
                        value: Some("1".into()),
                    }]);
                },
                "kernel.x",
            ),
        ];
        assert_eq!(check(&rich()).err(), None);
        for (break_it, expected) in cases {
            let mut request = rich();
            break_it(&mut request);
            let error = check(&request).expect_err(expected);
            assert!(error.message.contains(expected), "{expected}: {error}");
        }
    }
}
