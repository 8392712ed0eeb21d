//! Task definitions: families of numbered, immutable revisions.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definitions.html>

mod delete;
pub(crate) mod features;
pub(crate) mod record;
pub(crate) mod size;
pub(crate) mod validate;

use std::collections::BTreeSet;
use std::sync::Arc;

use pileus_aws::ecs::{
    Attribute, ContainerDefinition, DeregisterTaskDefinitionRequest, DeregisterTaskDefinitionResponse,
    DescribeTaskDefinitionRequest, DescribeTaskDefinitionResponse, ListTaskDefinitionFamiliesRequest,
    ListTaskDefinitionFamiliesResponse, ListTaskDefinitionsRequest, ListTaskDefinitionsResponse, PortMapping,
    RegisterTaskDefinitionRequest, RegisterTaskDefinitionResponse, Secret, TaskDefinition as Shape, Volume,
    ops,
};
use pileus_core::{ApiError, paginate};
use pileus_service::{Context, Router};
use pileus_state::{Record as _, Tx};

pub(crate) use self::delete::{is_being_deleted, purge};
use self::record::{TaskDefinition, TaskFamily};
use self::size::Size;
use crate::cluster::limit;
use crate::error::{bad_token, client, invalid};
use crate::tags;

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::RegisterTaskDefinition>(register_task_definition)
        .on::<ops::DeregisterTaskDefinition>(deregister_task_definition)
        .on::<ops::DeleteTaskDefinitions>(delete::delete_task_definitions)
        .on::<ops::DescribeTaskDefinition>(describe_task_definition)
        .on::<ops::ListTaskDefinitions>(list_task_definitions)
        .on::<ops::ListTaskDefinitionFamilies>(list_task_definition_families);
}

/// The revision that a request names: `family` (its latest active one), `family:revision` or an ARN.
///
/// # Errors
/// There is none.
pub(crate) fn find(tx: &Tx, name: &str) -> Result<Arc<TaskDefinition>, ApiError> {
    let missing = || client("Unable to describe task definition.");
    let short = match name.strip_prefix("arn:") {
        Some(_) => pileus_core::Arn::parse(name)
            .and_then(|arn| arn.resource.strip_prefix("task-definition/"))
            .ok_or_else(missing)?,
        None => name,
    };
    let found = match short.split_once(':') {
        Some((family, revision)) => {
            revision.parse().ok().and_then(|revision| tx.get(&TaskDefinition::key_of(family, revision)))
        }
        None => of_family(tx, short).into_iter().rfind(|definition| definition.is_active()),
    };
    found.ok_or_else(missing)
}

/// The revision that is to be run.
///
/// # Errors
/// There is none, or it has been deregistered.
pub(crate) fn find_active(tx: &Tx, name: &str) -> Result<Arc<TaskDefinition>, ApiError> {
    match find(tx, name) {
        Ok(definition) if definition.is_active() => Ok(definition),
        Ok(_) => Err(client("TaskDefinition is inactive")),
        Err(_) => Err(client("TaskDefinition not found.")),
    }
}

fn of_family(tx: &Tx, family: &str) -> Vec<Arc<TaskDefinition>> {
    let all = tx.list::<TaskDefinition>().into_iter();
    all.filter(|definition| definition.family == family).collect()
}

fn register_task_definition(
    cx: &mut Context,
    input: RegisterTaskDefinitionRequest,
) -> Result<RegisterTaskDefinitionResponse, ApiError> {
    let size = validate::check(&input)?;
    let tags = tags::read(input.tags.clone())?;
    let known = cx.tx.get::<TaskFamily>(&input.family).map_or(0, |family| family.latest);
    let revision = of_family(cx.tx, &input.family).last().map_or(0, |latest| latest.revision).max(known) + 1;
    cx.tx.put(TaskFamily { name: input.family.clone(), latest: revision });
    let definition = TaskDefinition {
        family: input.family.clone(),
        revision,
        shape: shape(cx, input, revision, size),
        tags,
    };
    let response = RegisterTaskDefinitionResponse {
        task_definition: Some(definition.shape.clone()),
        tags: Some(tags::write(&definition.tags)),
    };
    cx.tx.put(definition);
    Ok(response)
}

fn shape(cx: &Context, input: RegisterTaskDefinitionRequest, revision: u32, size: Size) -> Shape {
    let role = |role: Option<String>| {
        role.map(|role| {
            let name = !role.starts_with("arn:");
            if name { cx.scope().global().arn("iam", format_args!("role/{role}")) } else { role }
        })
    };
    Shape {
        task_definition_arn: Some(TaskDefinition::arn_of(cx.scope(), &input.family, revision)),
        requires_attributes: Some(attributes(&input)),
        container_definitions: Some(input.container_definitions.into_iter().map(with_defaults).collect()),
        family: Some(input.family),
        task_role_arn: role(input.task_role_arn),
        execution_role_arn: role(input.execution_role_arn),
        network_mode: input.network_mode,
        revision: Some(revision.into()),
        volumes: Some(input.volumes.unwrap_or_default().into_iter().map(volume).collect()),
        pid_mode: input.pid_mode,
        ephemeral_storage: input.ephemeral_storage,
        status: Some("ACTIVE".into()),
        placement_constraints: Some(Vec::new()),
        // What runs on Fargate would run on EC2 too.
        compatibilities: Some(vec!["EC2".into(), "FARGATE".into()]),
        runtime_platform: input.runtime_platform,
        requires_compatibilities: input.requires_compatibilities,
        cpu: Some(size.cpu.to_string()),
        memory: Some(size.memory.to_string()),
        registered_at: Some(cx.now),
        registered_by: Some(cx.caller.arn.clone()),
        ..Shape::default()
    }
}

/// A volume of the task's own storage is shown with an empty host.
fn volume(volume: Volume) -> Volume {
    Volume { host: Some(volume.host.unwrap_or_default()), ..volume }
}

/// What AWS fills in.
fn with_defaults(mut container: ContainerDefinition) -> ContainerDefinition {
    container.cpu.get_or_insert(0);
    container.essential.get_or_insert(true);
    container.environment.get_or_insert_default();
    container.mount_points.get_or_insert_default();
    container.volumes_from.get_or_insert_default();
    container.system_controls.get_or_insert_default();
    if let Some(check) = &mut container.health_check {
        check.interval.get_or_insert(features::INTERVAL);
        check.timeout.get_or_insert(features::TIMEOUT);
        check.retries.get_or_insert(features::RETRIES);
    }
    let port = |mut port: PortMapping| {
        port.host_port = port.container_port;
        port.protocol.get_or_insert_with(|| "tcp".into());
        port
    };
    let ports = container.port_mappings.take().unwrap_or_default();
    container.port_mappings = Some(ports.into_iter().map(port).collect());
    container
}

/// The capabilities that AWS derives from a definition, as far as Pileus has them.
fn attributes(input: &RegisterTaskDefinitionRequest) -> Vec<Attribute> {
    let mut names = vec!["com.amazonaws.ecs.capability.docker-remote-api.1.18", "ecs.capability.task-eni"];
    if input.execution_role_arn.is_some() {
        names.push("ecs.capability.execution-role-awslogs");
    }
    if input.task_role_arn.is_some() {
        names.push("com.amazonaws.ecs.capability.task-iam-role");
    }
    if input.container_definitions.iter().any(|container| container.log_configuration.is_some()) {
        names.push("com.amazonaws.ecs.capability.logging-driver.awslogs");
    }
    let containers = &input.container_definitions;
    if containers.iter().any(|container| container.image.as_ref().is_some_and(|it| it.contains(".dkr.ecr.")))
    {
        names.extend(["com.amazonaws.ecs.capability.ecr-auth", "ecs.capability.execution-role-ecr-pull"]);
    }
    let mut secrets = containers.iter().flat_map(|container| container.secrets.iter().flatten());
    let managed = |secret: &Secret| {
        secret.value_from.starts_with("arn:") && secret.value_from.contains(":secretsmanager:")
    };
    if secrets.clone().any(managed) {
        names.push("ecs.capability.secrets.asm.environment-variables");
    }
    if secrets.any(|secret| !managed(secret)) {
        names.push("ecs.capability.secrets.ssm.environment-variables");
    }
    if containers.iter().any(|container| container.health_check.is_some()) {
        names.push("ecs.capability.container-health-check");
    }
    if containers.iter().any(|container| container.depends_on.as_ref().is_some_and(|list| !list.is_empty())) {
        names.push("ecs.capability.container-ordering");
    }
    if input.pid_mode.is_some() {
        names.push("ecs.capability.pid-ipc-namespace-sharing");
    }
    let attribute = |name: &str| Attribute { name: Some(name.into()), ..Attribute::default() };
    names.into_iter().map(attribute).collect()
}

fn deregister_task_definition(
    cx: &mut Context,
    input: DeregisterTaskDefinitionRequest,
) -> Result<DeregisterTaskDefinitionResponse, ApiError> {
    if !input.task_definition.contains(':') {
        return Err(invalid("Revision is null"));
    }
    let definition = find(cx.tx, &input.task_definition)
        .map_err(|_| client("The specified task definition does not exist."))?;
    let now = cx.now;
    if is_being_deleted(&definition) {
        return Err(client("The specified task definition is being deleted."));
    }
    let changed = cx.tx.update::<TaskDefinition>(&definition.key(), |definition| {
        definition.shape.status = Some("INACTIVE".into());
        definition.shape.deregistered_at = definition.shape.deregistered_at.or(Some(now));
    });
    Ok(DeregisterTaskDefinitionResponse { task_definition: changed.map(|definition| definition.shape) })
}

fn describe_task_definition(
    cx: &mut Context,
    input: DescribeTaskDefinitionRequest,
) -> Result<DescribeTaskDefinitionResponse, ApiError> {
    let definition = find(cx.tx, &input.task_definition)?;
    let tags = tags::included(input.include.as_ref()).then(|| tags::write(&definition.tags));
    Ok(DescribeTaskDefinitionResponse {
        task_definition: Some(definition.shape.clone()),
        tags: Some(tags.unwrap_or_default()),
    })
}

fn list_task_definitions(
    cx: &mut Context,
    input: ListTaskDefinitionsRequest,
) -> Result<ListTaskDefinitionsResponse, ApiError> {
    let status = input.status.as_deref().unwrap_or("ACTIVE");
    let mut definitions: Vec<_> = cx.tx.list::<TaskDefinition>();
    definitions.retain(|definition| {
        let family = input.family_prefix.as_ref().is_none_or(|family| *family == definition.family);
        family && definition.shape.status.as_deref() == Some(status)
    });
    if input.sort.as_deref() == Some("DESC") {
        definitions.reverse();
    }
    // Descending keys cannot be compared as texts: pages go by position.
    let numbered = definitions.into_iter().enumerate().collect();
    let key = |(index, _): &(usize, Arc<TaskDefinition>)| format!("{index:08}");
    let (page, next_token) =
        paginate(numbered, key, input.next_token.as_deref(), limit(input.max_results), bad_token)?;
    let arns = page.iter().map(|(_, definition)| definition.arn().to_owned()).collect();
    Ok(ListTaskDefinitionsResponse { task_definition_arns: Some(arns), next_token })
}

fn list_task_definition_families(
    cx: &mut Context,
    input: ListTaskDefinitionFamiliesRequest,
) -> Result<ListTaskDefinitionFamiliesResponse, ApiError> {
    let definitions = cx.tx.list::<TaskDefinition>();
    let active: BTreeSet<&str> =
        definitions.iter().filter(|d| d.is_active()).map(|d| d.family.as_str()).collect();
    let families: BTreeSet<String> = definitions
        .iter()
        .map(|definition| definition.family.as_str())
        .filter(|family| {
            input.family_prefix.as_ref().is_none_or(|prefix| family.starts_with(prefix.as_str()))
        })
        .filter(|family| match input.status.as_deref().unwrap_or("ACTIVE") {
            "ACTIVE" => active.contains(family),
            "INACTIVE" => !active.contains(family),
            _ => true,
        })
        .map(str::to_owned)
        .collect();
    let (families, next_token) = paginate(
        families.into_iter().collect(),
        String::clone,
        input.next_token.as_deref(),
        limit(input.max_results),
        bad_token,
    )?;
    Ok(ListTaskDefinitionFamiliesResponse { families: Some(families), next_token })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, definition};

    fn register(cloud: &mut pileus_kit::Cloud) -> Shape {
        cloud.ok::<ops::RegisterTaskDefinition>(definition()).task_definition.unwrap()
    }

    #[test]
    fn revisions_count_up_and_the_latest_active_one_is_the_family() {
        let mut cloud = cloud();
        assert_eq!(register(&mut cloud).revision, Some(1));
        let second = register(&mut cloud);
        assert_eq!(
            second.task_definition_arn.as_deref(),
            Some("arn:aws:ecs:us-east-1:000000000000:task-definition/web:2")
        );
        cloud.ok::<ops::DeregisterTaskDefinition>(DeregisterTaskDefinitionRequest {
            task_definition: second.task_definition_arn.unwrap(),
        });
        let describe = |cloud: &mut pileus_kit::Cloud, name: &str| {
            let input = DescribeTaskDefinitionRequest { task_definition: name.into(), ..Default::default() };
            cloud.call::<ops::DescribeTaskDefinition>(input).map(|found| found.task_definition.unwrap())
        };
        assert_eq!(describe(&mut cloud, "web").unwrap().revision, Some(1));
        assert_eq!(describe(&mut cloud, "web:2").unwrap().status.as_deref(), Some("INACTIVE"));
        assert_eq!(describe(&mut cloud, "web:9").unwrap_err().code, "ClientException");
        assert_eq!(register(&mut cloud).revision, Some(3), "a number is never used twice");
    }

    #[test]
    fn defaults_are_shown_as_aws_shows_them() {
        let mut cloud = cloud();
        let shape = register(&mut cloud);
        let container = &shape.container_definitions.as_ref().unwrap()[0];
        assert_eq!((container.cpu, container.essential), (Some(0), Some(true)));
        assert_eq!(container.environment, Some(Vec::new()));
        let port = &container.port_mappings.as_ref().unwrap()[0];
        assert_eq!((port.host_port, port.protocol.as_deref()), (Some(3000), Some("tcp")));
    }

    #[test]
    fn lists_go_by_pages_in_either_direction() {
        let mut cloud = cloud();
        for _ in 0..3 {
            register(&mut cloud);
        }
        let mut page = |token: Option<String>| {
            cloud.ok::<ops::ListTaskDefinitions>(ListTaskDefinitionsRequest {
                sort: Some("DESC".into()),
                max_results: Some(2),
                next_token: token,
                ..Default::default()
            })
        };
        let first = page(None);
        let second = page(first.next_token);
        let arns = [first.task_definition_arns.unwrap(), second.task_definition_arns.unwrap()].concat();
        let revisions: Vec<&str> = arns.iter().filter_map(|arn| arn.rsplit(':').next()).collect();
        assert_eq!(revisions, ["3", "2", "1"]);
        assert_eq!(second.next_token, None);
    }
}
