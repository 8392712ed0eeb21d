//! How the API shows tasks, and their lists.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html>

use pileus_aws::ecs::{
    Attachment, Attribute, Container, DescribeTasksRequest, DescribeTasksResponse, EphemeralStorage,
    KeyValuePair, ListTasksRequest, ListTasksResponse, NetworkInterface, Task as Shape, TaskEphemeralStorage,
};
use pileus_core::{ApiError, Arn, Scope, paginate};
use pileus_service::Context;
use pileus_state::Tx;

use super::record::{Health, Task, TaskContainer, TaskStatus};
use crate::cluster::{self, Cluster, limit, missing};
use crate::error::{bad_token, invalid};
use crate::service::update::{find, name_of};
use crate::tags;
use crate::task_definition::record::TaskDefinition;
use crate::task_definition::validate::host_architecture;

/// GiB of a task that does not ask for more.
const DEFAULT_STORAGE: i64 = 20;

/// DescribeTasks takes no more ids than this.
const MAX_DESCRIBED: usize = 100;

/// The id that a task's id or ARN stands for.
pub(super) fn id_of(id_or_arn: &str) -> &str {
    Arn::parse(id_or_arn).map_or(id_or_arn, |arn| arn.name())
}

pub(super) fn describe_tasks(
    cx: &mut Context,
    input: DescribeTasksRequest,
) -> Result<DescribeTasksResponse, ApiError> {
    let cluster = cluster::find(cx.tx, input.cluster.as_deref())?;
    if input.tasks.is_empty() {
        return Err(invalid("Tasks cannot be empty."));
    }
    if input.tasks.len() > MAX_DESCRIBED {
        return Err(invalid(format!("Tasks cannot have more than {MAX_DESCRIBED} elements.")));
    }
    let with_tags = tags::included(input.include.as_ref());
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for given in &input.tasks {
        let id = id_of(given);
        match cx.tx.get::<Task>(id).filter(|task| task.cluster == cluster.name) {
            Some(task) => tasks.push(shape(cx.tx, &task, with_tags)),
            None => failures.push(missing(cx.scope().arn("ecs", format_args!("task/{}/{id}", cluster.name)))),
        }
    }
    Ok(DescribeTasksResponse { tasks: Some(tasks), failures: Some(failures) })
}

pub(super) fn list_tasks(cx: &mut Context, input: ListTasksRequest) -> Result<ListTasksResponse, ApiError> {
    let cluster = cluster::find(cx.tx, input.cluster.as_deref())?;
    if let Some(service) = &input.service_name {
        find(cx.tx, Some(&cluster.name), service)?;
    }
    let stopped = input.desired_status.as_deref() == Some("STOPPED");
    let fargate = input.launch_type.as_deref().is_none_or(|launch_type| launch_type == "FARGATE");
    let mut tasks = cx.tx.list::<Task>();
    tasks.retain(|task| {
        let service = task.service.as_ref().map(|membership| membership.service.as_str());
        fargate
            && task.cluster == cluster.name
            && task.stop.is_some() == stopped
            && input.service_name.as_deref().is_none_or(|wanted| service == Some(name_of(wanted)))
            && input.started_by.as_ref().is_none_or(|wanted| task.started_by.as_ref() == Some(wanted))
            && input.family.as_deref().is_none_or(|wanted| task.family() == Some(wanted))
    });
    let (page, next_token) = paginate(
        tasks,
        |task| task.id.clone(),
        input.next_token.as_deref(),
        limit(input.max_results),
        bad_token,
    )?;
    let task_arns = page.iter().map(|task| task.arn(cx.scope())).collect();
    Ok(ListTasksResponse { task_arns: Some(task_arns), next_token })
}

pub(crate) fn shape(tx: &Tx, task: &Task, with_tags: bool) -> Shape {
    let scope = tx.scope();
    let definition =
        TaskDefinition::key_of_arn(&task.definition).and_then(|key| tx.get::<TaskDefinition>(&key));
    let attribute = Attribute {
        name: Some("ecs.cpu-architecture".into()),
        value: Some(if host_architecture() == "ARM64" { "arm64" } else { "x86_64" }.into()),
        ..Attribute::default()
    };
    Shape {
        attachments: Some(vec![attachment(task)]),
        attributes: Some(vec![attribute]),
        availability_zone: Some(task.network.zone.clone()),
        capacity_provider_name: task.capacity_provider.clone(),
        cluster_arn: Some(Cluster::arn_of(scope, &task.cluster)),
        connectivity: task.connectivity_at.map(|_| "CONNECTED".into()),
        connectivity_at: task.connectivity_at,
        containers: Some(
            task.containers
                .iter()
                .map(|container| {
                    let own = definition.iter().flat_map(|definition| definition.containers());
                    let own = own.clone().find(|own| own.name.as_deref() == Some(&container.name));
                    container_shape(scope, task, container, own)
                })
                .collect(),
        ),
        cpu: Some(task.cpu.clone()),
        created_at: Some(task.created_at),
        desired_status: Some(if task.stop.is_some() { "STOPPED" } else { "RUNNING" }.into()),
        enable_execute_command: Some(task.enable_execute_command),
        execution_stopped_at: task.execution_stopped_at,
        group: Some(task.group.clone()),
        ephemeral_storage: Some(EphemeralStorage { size_in_gib: storage(task, definition.as_deref()) }),
        fargate_ephemeral_storage: Some(TaskEphemeralStorage {
            size_in_gib: Some(storage(task, definition.as_deref())),
            kms_key_id: None,
        }),
        health_status: Some(task.health().unwrap_or(Health::Unknown).as_str().into()),
        inference_accelerators: Some(Vec::new()),
        last_status: Some(task.status.as_str().into()),
        // AWS shows FARGATE for tasks of its capacity providers, too.
        launch_type: Some("FARGATE".into()),
        memory: Some(task.memory.clone()),
        overrides: Some(overrides(task)),
        platform_version: Some(crate::awsvpc::PLATFORM_VERSION.into()),
        platform_family: Some("Linux".into()),
        pull_started_at: task.pull_started_at,
        pull_stopped_at: task.pull_stopped_at,
        started_at: task.started_at,
        started_by: task.started_by.clone(),
        stop_code: task.stop.as_ref().map(|stop| stop.code.as_str().into()),
        stopped_at: task.stopped_at,
        stopped_reason: task.stop.as_ref().map(|stop| stop.reason.clone()),
        stopping_at: task.stop.as_ref().map(|stop| stop.at),
        tags: Some(if with_tags { tags::write(&task.tags) } else { Vec::new() }),
        task_arn: Some(task.arn(scope)),
        task_definition_arn: Some(task.definition.clone()),
        version: Some(task.version),
        ..Shape::default()
    }
}

/// GiB.
pub(super) fn storage(task: &Task, definition: Option<&TaskDefinition>) -> i64 {
    let own = task.overrides.ephemeral_storage.as_ref();
    let asked = own.or_else(|| definition.and_then(|definition| definition.shape.ephemeral_storage.as_ref()));
    asked.map_or(DEFAULT_STORAGE, |storage| storage.size_in_gib)
}

/// AWS shows an entry for each container, also where nothing is overridden.
fn overrides(task: &Task) -> pileus_aws::ecs::TaskOverride {
    let mut shown = task.overrides.clone();
    let containers = shown.container_overrides.get_or_insert_default();
    for container in &task.containers {
        if !containers.iter().any(|known| known.name.as_ref() == Some(&container.name)) {
            containers.push(pileus_aws::ecs::ContainerOverride {
                name: Some(container.name.clone()),
                ..Default::default()
            });
        }
    }
    shown
}

fn attachment(task: &Task) -> Attachment {
    let network = &task.network;
    let status = match task.status {
        TaskStatus::Provisioning => "ATTACHING",
        TaskStatus::Deprovisioning => "DETACHING",
        TaskStatus::Stopped => "DELETED",
        _ => "ATTACHED",
    };
    let detail = |name: &str, value: String| KeyValuePair { name: Some(name.into()), value: Some(value) };
    Attachment {
        id: Some(network.attachment.clone()),
        r#type: Some("ElasticNetworkInterface".into()),
        status: Some(status.into()),
        details: Some(vec![
            detail("subnetId", network.subnet.clone()),
            detail("networkInterfaceId", network.interface.clone()),
            detail("macAddress", network.mac.clone()),
            detail("privateDnsName", network.private_dns_name.clone()),
            detail("privateIPv4Address", network.address.to_string()),
        ]),
    }
}

fn container_shape(
    scope: &Scope,
    task: &Task,
    container: &TaskContainer,
    definition: Option<&pileus_aws::ecs::ContainerDefinition>,
) -> Container {
    let started = task.status > TaskStatus::Provisioning;
    Container {
        container_arn: Some(
            scope.arn("ecs", format_args!("container/{}/{}/{}", task.cluster, task.id, container.id)),
        ),
        task_arn: Some(task.arn(scope)),
        name: Some(container.name.clone()),
        image: Some(container.image.clone()),
        image_digest: container.resolved.as_ref().map(|image| image.digest.clone()),
        runtime_id: started.then(|| container.runtime_id.clone()),
        last_status: Some(container.status.as_str().into()),
        exit_code: container.exit_code.map(Into::into),
        reason: container.reason.clone(),
        network_bindings: Some(Vec::new()),
        network_interfaces: Some(vec![NetworkInterface {
            attachment_id: Some(task.network.attachment.clone()),
            private_ipv4_address: Some(task.network.address.to_string()),
            ipv6_address: None,
        }]),
        health_status: Some(container.health.unwrap_or(Health::Unknown).as_str().into()),
        cpu: Some(definition.and_then(|definition| definition.cpu).unwrap_or(0).to_string()),
        memory: definition.and_then(|definition| definition.memory).map(|memory| memory.to_string()),
        memory_reservation: definition
            .and_then(|definition| definition.memory_reservation)
            .map(|memory| memory.to_string()),
        ..Container::default()
    }
}
