//! The rules that a task definition must meet on Fargate, and what Pileus does not run yet.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>

use std::collections::{BTreeMap, BTreeSet};

use pileus_aws::ecs::{ContainerDefinition, LogConfiguration, PortMapping, RegisterTaskDefinitionRequest};
use pileus_core::{ApiError, Arn};

use super::features;
use super::size::Size;
use crate::error::{client, refuse_unless};

const MAX_CONTAINERS: usize = 10;
/// Seconds.
const MAX_STOP_TIMEOUT: i64 = 120;

/// Options of the awslogs driver that are carried out. `mode` and `max-buffer-size` are met by any value: lines wait
/// on disk, so a container never blocks and nothing is dropped.
const AWSLOGS: [&str; 6] = [
    "awslogs-group",
    "awslogs-region",
    "awslogs-stream-prefix",
    "awslogs-create-group",
    "mode",
    "max-buffer-size",
];

/// Checks a request and returns the size of its tasks.
///
/// # Errors
/// The first rule that it breaks.
pub(crate) fn check(input: &RegisterTaskDefinitionRequest) -> Result<Size, ApiError> {
    check_name("family", &input.family)?;
    let fargate = |compatibility: &String| compatibility == "FARGATE";
    let compatibilities = input.requires_compatibilities.as_deref().unwrap_or_default();
    refuse_unless(compatibilities.iter().all(fargate), "a requiresCompatibilities other than FARGATE")?;
    if input.network_mode.as_deref() != Some("awsvpc") {
        return Err(client("Fargate only supports network mode 'awsvpc'."));
    }
    let size = Size::read(input.cpu.as_deref(), input.memory.as_deref())?;
    features::check_task(input)?;
    if input.placement_constraints.as_ref().is_some_and(|constraints| !constraints.is_empty()) {
        return Err(client("Placement constraints are not supported when launchType is FARGATE."));
    }
    check_platform(input)?;
    for role in [&input.task_role_arn, &input.execution_role_arn].into_iter().flatten() {
        check_role(role)?;
    }
    check_containers(&input.container_definitions, size)?;
    features::check_together(&input.container_definitions, input.volumes.as_deref().unwrap_or_default())?;
    check_execution_role(input)?;
    Ok(size)
}

/// Images of ECR are pulled, and logs written, with the execution role.
fn check_execution_role(input: &RegisterTaskDefinitionRequest) -> Result<(), ApiError> {
    if input.execution_role_arn.is_some() {
        return Ok(());
    }
    for container in &input.container_definitions {
        if container.secrets.as_ref().is_some_and(|secrets| !secrets.is_empty()) {
            return Err(client(
                "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
            ));
        }
        if container.log_configuration.is_some() {
            return Err(client(
                "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
            ));
        }
        if container.image.as_ref().is_some_and(|image| image.contains(".dkr.ecr.")) {
            return Err(client(
                "Fargate requires task definition to have execution role ARN to support ECR images.",
            ));
        }
    }
    Ok(())
}

fn check_name(what: &str, name: &str) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 255 || !name.chars().all(allowed) {
        return Err(client(format!(
            "{what} '{name}' contains invalid characters: up to 255 letters, numbers, hyphens and underscores \
             are allowed."
        )));
    }
    Ok(())
}

fn check_platform(input: &RegisterTaskDefinitionRequest) -> Result<(), ApiError> {
    let Some(platform) = &input.runtime_platform else { return Ok(()) };
    let linux = platform.operating_system_family.as_deref().is_none_or(|family| family == "LINUX");
    refuse_unless(linux, "an operatingSystemFamily other than LINUX")?;
    let own = host_architecture();
    let same = platform.cpu_architecture.as_deref().is_none_or(|architecture| architecture == own);
    refuse_unless(same, format_args!("a cpuArchitecture other than this machine's {own}"))
}

/// The machine's architecture, in ECS's words.
pub(crate) fn host_architecture() -> &'static str {
    if std::env::consts::ARCH == "aarch64" { "ARM64" } else { "X86_64" }
}

fn check_role(role: &str) -> Result<(), ApiError> {
    let arn = Arn::parse(role).filter(|arn| arn.service == "iam" && arn.resource.starts_with("role/"));
    // A bare name stands for a role of the same account, as on AWS.
    if arn.is_some() || (!role.is_empty() && !role.contains(':')) {
        return Ok(());
    }
    Err(client(format!("Role is not valid: {role}")))
}

fn check_containers(containers: &[ContainerDefinition], size: Size) -> Result<(), ApiError> {
    if containers.is_empty() {
        return Err(client("Container list cannot be empty."));
    }
    if containers.len() > MAX_CONTAINERS {
        return Err(client(format!("A task definition can have at most {MAX_CONTAINERS} containers.")));
    }
    let mut names = BTreeSet::new();
    for container in containers {
        let name = container.name.as_deref().unwrap_or_default();
        check_name("Container.name", name)?;
        if !names.insert(name) {
            return Err(client(format!("Container.name '{name}' is not unique.")));
        }
        check_container(name, container, size)?;
    }
    if !containers.iter().any(|container| container.essential.unwrap_or(true)) {
        return Err(client("Task definition does not have an essential container."));
    }
    let total = |of: fn(&ContainerDefinition) -> Option<i64>| containers.iter().filter_map(of).sum::<i64>();
    let memory = total(|container| container.memory_reservation.or(container.memory));
    if total(|container| container.cpu) > i64::from(size.cpu) {
        return Err(client("Total cpu of containers should not be greater than the task's cpu."));
    }
    if memory > i64::from(size.memory) {
        return Err(client("Total memory of containers should not be greater than the task's memory."));
    }
    check_ports(containers)
}

fn check_container(name: &str, container: &ContainerDefinition, size: Size) -> Result<(), ApiError> {
    if container.image.as_deref().is_none_or(str::is_empty) {
        return Err(client("Container.image should not be null or empty."));
    }
    refuse_unrun(container)?;
    let setting = |what: &str| Err(client(format!("Invalid setting for container '{name}'. {what}")));
    if container.cpu.is_some_and(|cpu| cpu < 0) {
        return setting("cpu must not be negative.");
    }
    if container.memory.is_some_and(|memory| memory < container.memory_reservation.unwrap_or(0)) {
        return setting("memoryReservation must not be greater than memory.");
    }
    if container.memory.is_some_and(|memory| memory < 4 || memory > i64::from(size.memory)) {
        return setting("memory must be at least 4 and at most the task's memory.");
    }
    if container.stop_timeout.is_some_and(|seconds| !(0..=MAX_STOP_TIMEOUT).contains(&seconds)) {
        return setting(&format!("stopTimeout must be between 0 and {MAX_STOP_TIMEOUT} seconds on Fargate."));
    }
    let unnamed = |pair: &pileus_aws::ecs::KeyValuePair| pair.name.as_deref().is_none_or(str::is_empty);
    if container.environment.iter().flatten().any(unnamed) {
        return setting("environment variable names must not be null or empty.");
    }
    features::check_container(name, container)?;
    container.log_configuration.as_ref().map_or(Ok(()), |logs| check_logs(name, logs))
}

/// Refuses what Pileus does not run. Tools that write out each default say false.
fn refuse_unrun(container: &ContainerDefinition) -> Result<(), ApiError> {
    if container.privileged == Some(true) {
        return Err(client("Fargate compatible task definitions do not support privileged"));
    }
    fn some<T>(list: Option<&Vec<T>>) -> Option<bool> {
        list.map(|list| !list.is_empty())
    }
    for (asked, what) in [
        (some(container.links.as_ref()), "links, which awsvpc tasks do not have"),
        (some(container.environment_files.as_ref()), "environmentFiles of containers"),
        (some(container.extra_hosts.as_ref()), "extraHosts, which awsvpc tasks do not have"),
        (some(container.docker_security_options.as_ref()), "dockerSecurityOptions, as Fargate does not"),
        (some(container.resource_requirements.as_ref()), "resourceRequirements of containers"),
        (some(container.credential_specs.as_ref()), "credentialSpecs of containers"),
        (some(container.dns_servers.as_ref()), "dnsServers, which awsvpc tasks do not have"),
        (some(container.dns_search_domains.as_ref()), "dnsSearchDomains, which awsvpc tasks do not have"),
        (container.interactive, "interactive containers"),
        (container.pseudo_terminal, "a pseudoTerminal of containers"),
        (container.disable_networking, "disableNetworking of containers"),
    ] {
        refuse_unless(asked != Some(true), what)?;
    }
    Ok(())
}

fn check_logs(name: &str, logs: &LogConfiguration) -> Result<(), ApiError> {
    refuse_unless(logs.log_driver == "awslogs", format_args!("the log driver {}", logs.log_driver))?;
    let secret = logs.secret_options.as_ref().is_some_and(|options| !options.is_empty());
    refuse_unless(!secret, "secretOptions of log drivers")?;
    let none = BTreeMap::new();
    let options = logs.options.as_ref().unwrap_or(&none);
    if let Some(other) = options.keys().find(|option| !AWSLOGS.contains(&option.as_str())) {
        return Err(ApiError::not_implemented(format_args!("the awslogs option {other}")));
    }
    for required in &AWSLOGS[..3] {
        if options.get(*required).is_none_or(String::is_empty) {
            return Err(client(format!(
                "Log driver awslogs requires options: awslogs-group, awslogs-region, awslogs-stream-prefix; \
                 {required} is missing in container '{name}'."
            )));
        }
    }
    Ok(())
}

/// The containers of a task share one network namespace, so that a port belongs to one of them.
fn check_ports(containers: &[ContainerDefinition]) -> Result<(), ApiError> {
    let mut taken = BTreeSet::new();
    for port in containers.iter().flat_map(|container| container.port_mappings.iter().flatten()) {
        let number = check_port(port)?;
        let protocol = port.protocol.as_deref().unwrap_or("tcp");
        if !taken.insert((number, protocol)) {
            return Err(client(format!(
                "The container port {number}/{protocol} is used by more than one port mapping."
            )));
        }
    }
    Ok(())
}

fn check_port(port: &PortMapping) -> Result<i64, ApiError> {
    let number = port.container_port.unwrap_or(0);
    if !(1..=65535).contains(&number) {
        return Err(client("The container port must be between 1 and 65535."));
    }
    if port.host_port.is_some_and(|host| host != 0 && host != number) {
        return Err(client(
            "When networkMode=awsvpc, the host ports and container ports in port mappings must match.",
        ));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use pileus_aws::ecs::{ContainerDefinition, RegisterTaskDefinitionRequest};

    use super::*;
    use crate::testing::{container, definition};

    /// A valid request with one thing wrong, and what is said about it.
    #[test]
    fn each_rule_has_its_error() {
        type Break = fn(&mut RegisterTaskDefinitionRequest);
        let cases: [(Break, &str); 17] = [
            (|r| r.family = "a b".into(), "invalid characters"),
            (|r| r.network_mode = Some("bridge".into()), "Fargate only supports network mode 'awsvpc'."),
            (|r| r.network_mode = None, "Fargate only supports network mode 'awsvpc'."),
            (|r| r.requires_compatibilities = Some(vec!["EC2".into()]), "other than FARGATE"),
            (|r| r.cpu = None, "'cpu' be defined at the task level"),
            (|r| r.memory = Some("513".into()), "No Fargate configuration exists"),
            (|r| r.container_definitions.clear(), "Container list cannot be empty."),
            (|r| r.container_definitions[0].image = None, "Container.image should not be null or empty."),
            (|r| r.container_definitions.push(container("web")), "'web' is not unique"),
            (|r| r.container_definitions.push(container("other")), "used by more than one port mapping"),
            (|r| r.container_definitions[0].essential = Some(false), "does not have an essential container"),
            (|r| r.container_definitions[0].cpu = Some(512), "Total cpu of containers"),
            (|r| r.container_definitions[0].memory = Some(1024), "memory must be at least 4"),
            (|r| r.container_definitions[0].stop_timeout = Some(121), "stopTimeout"),
            (|r| port(r).host_port = Some(80), "the host ports and container ports"),
            (|r| r.task_role_arn = Some("arn:aws:s3:::bucket".into()), "Role is not valid"),
            (|r| r.execution_role_arn = None, "execution role"),
        ];
        assert!(check(&definition()).is_ok());
        for (break_it, expected) in cases {
            let mut request = definition();
            break_it(&mut request);
            let error = check(&request).unwrap_err();
            assert!(error.message.contains(expected), "{expected}: {error}");
        }
    }

    fn port(request: &mut RegisterTaskDefinitionRequest) -> &mut PortMapping {
        &mut request.container_definitions[0].port_mappings.as_mut().unwrap()[0]
    }

    #[test]
    fn defaults_may_be_written_out() {
        let mut request = definition();
        let container = &mut request.container_definitions[0];
        container.privileged = Some(false);
        container.interactive = Some(false);
        container.pseudo_terminal = Some(false);
        container.mount_points = Some(Vec::new());
        container.version_consistency = Some("enabled".into());
        (container.links, container.dns_servers) = (Some(Vec::new()), Some(Vec::new()));
        assert!(check(&request).is_ok());
    }

    #[test]
    fn what_is_not_run_yet_is_refused_by_name() {
        let logs = |driver: &str, option: &str| LogConfiguration {
            log_driver: driver.into(),
            options: Some([(option.to_owned(), "x".to_owned())].into()),
            ..Default::default()
        };
        let with = |change: &dyn Fn(&mut ContainerDefinition)| {
            let mut request = definition();
            change(&mut request.container_definitions[0]);
            check(&request).unwrap_err()
        };
        for (error, expected) in [
            (with(&|c| c.log_configuration = Some(logs("splunk", "x"))), "the log driver splunk"),
            (with(&|c| c.pseudo_terminal = Some(true)), "a pseudoTerminal"),
            (with(&|c| c.links = Some(vec!["other".into()])), "links"),
            (
                with(&|c| c.log_configuration = Some(logs("awslogs", "awslogs-multiline-pattern"))),
                "the awslogs option awslogs-multiline-pattern",
            ),
        ] {
            assert_eq!(error.code, "UnsupportedOperation");
            assert!(error.message.contains(expected), "{error}");
        }
        let missing = with(&|c| c.log_configuration = Some(logs("awslogs", "awslogs-group")));
        assert!(missing.message.contains("awslogs-region is missing in container 'web'"), "{missing}");
    }
}
