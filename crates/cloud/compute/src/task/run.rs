//! RunTask and StopTask.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html>

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_aws::ecs::{
    Failure, RunTaskRequest, RunTaskResponse, StopTaskRequest, StopTaskResponse, TaskOverride,
};
use pileus_core::{ApiError, Tags};
use pileus_service::Context;

use super::launch::{self, Launch};
use super::record::{StopCode, Task};
use super::{apply, describe};
use crate::awsvpc::{self, Placement};
use crate::error::{client, invalid, refuse_unless};
use crate::task_definition::features::check_storage;
use crate::task_definition::record::TaskDefinition;
use crate::task_definition::size::Size;
use crate::{cluster, tags, task_definition};

const MAX_COUNT: i64 = 10;

pub(super) fn run_task(cx: &mut Context, input: RunTaskRequest) -> Result<RunTaskResponse, ApiError> {
    let cluster = cluster::find(cx.tx, input.cluster.as_deref())?;
    let token = input.client_token.clone().filter(|token| !token.is_empty());
    if let Some(tasks) = token.as_ref().and_then(|token| already_run(cx, &cluster.name, token)) {
        return Ok(RunTaskResponse { tasks: Some(tasks), failures: Some(Vec::new()) });
    }
    refuse_unless(!input.enable_execute_command.unwrap_or(false), "enableExecuteCommand")?;
    let count = input.count.unwrap_or(1);
    if !(1..=MAX_COUNT).contains(&count) {
        return Err(invalid(format!("Task count must be between 1 and {MAX_COUNT}.")));
    }
    if input.group.as_deref().is_some_and(|group| group.starts_with("service:")) {
        return Err(invalid("The task group name must not begin with 'service:'."));
    }
    let definition = task_definition::find_active(cx.tx, &input.task_definition)?;
    let overrides = input.overrides.clone().unwrap_or_default();
    check_overrides(&overrides, &definition)?;
    let network = awsvpc::read(cx.tx, input.network_configuration.clone())?;
    let placement = Placement::read(
        &cluster,
        input.launch_type.clone(),
        input.capacity_provider_strategy.clone(),
        input.platform_version.clone(),
    )?;
    let tags = task_tags(&input, &definition, &cluster.name)?;
    let (mut started, mut failures) = (Vec::new(), Vec::new());
    let mut providers = BTreeMap::new();
    for index in 0..count {
        let provider = awsvpc::choose_provider(&placement.strategy, &providers);
        provider.iter().for_each(|name| *providers.entry(name.clone()).or_default() += 1);
        let launch = Launch {
            cluster: &cluster.name,
            definition: &definition,
            network: &network,
            subnets: turned(&network.subnets, index as usize),
            group: input.group.clone().unwrap_or_else(|| format!("family:{}", definition.family)),
            started_by: input.started_by.clone(),
            service: None,
            launch_type: placement.launch_type.clone(),
            capacity_provider: provider,
            platform_version: awsvpc::PLATFORM_VERSION.into(),
            overrides: overrides.clone(),
            enable_execute_command: false,
            tags: tags.clone(),
            targets: Vec::new(),
            images: BTreeMap::new(),
            client_token: token.clone(),
        };
        match launch::create(cx.tx, cx.ids, cx.now, launch) {
            Ok(task) => started.push(describe::shape(cx.tx, &task, true)),
            Err(reason) => {
                failures.push(Failure {
                    reason: Some("RESOURCE:ENI".into()),
                    detail: Some(reason),
                    arn: None,
                });
            }
        }
    }
    Ok(RunTaskResponse { tasks: Some(started), failures: Some(failures) })
}

/// The tasks of an earlier request with this token.
fn already_run(cx: &Context, cluster: &str, token: &str) -> Option<Vec<pileus_aws::ecs::Task>> {
    let mut tasks = cx.tx.list::<Task>();
    tasks.retain(|task| task.cluster == cluster && task.client_token.as_deref() == Some(token));
    (!tasks.is_empty()).then(|| tasks.iter().map(|task| describe::shape(cx.tx, task, true)).collect())
}

/// The subnets beginning with another one for each task, so that several tasks spread.
fn turned(subnets: &[String], by: usize) -> Vec<String> {
    let mut subnets = subnets.to_vec();
    let length = subnets.len().max(1);
    subnets.rotate_left(by % length);
    subnets
}

fn check_overrides(overrides: &TaskOverride, definition: &TaskDefinition) -> Result<(), ApiError> {
    let cpu = overrides.cpu.as_deref().or(definition.shape.cpu.as_deref());
    check_storage(overrides.ephemeral_storage.as_ref().map(|storage| storage.size_in_gib))?;
    let size = Size::read(cpu, overrides.memory.as_deref().or(definition.shape.memory.as_deref()))?;
    for container in overrides.container_overrides.iter().flatten() {
        let name = container.name.as_deref().unwrap_or_default();
        if !definition.containers().iter().any(|known| known.name.as_deref() == Some(name)) {
            return Err(invalid(format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            )));
        }
        let within =
            |value: Option<i64>, limit: u32| value.is_none_or(|it| (0..=i64::from(limit)).contains(&it));
        if !within(container.cpu, size.cpu)
            || !within(container.memory, size.memory)
            || !within(container.memory_reservation, size.memory)
        {
            return Err(client(format!(
                "Invalid override for container '{name}'. cpu, memory and memoryReservation must not be greater \
                 than the task's."
            )));
        }
    }
    Ok(())
}

fn task_tags(input: &RunTaskRequest, definition: &TaskDefinition, cluster: &str) -> Result<Tags, ApiError> {
    let mut tags = match input.propagate_tags.as_deref() {
        Some("TASK_DEFINITION") => definition.tags.clone(),
        Some("SERVICE") => {
            return Err(invalid("propagateTags SERVICE is not valid for a task that belongs to no service."));
        }
        _ => Tags::new(),
    };
    tags.extend(tags::read(input.tags.clone())?);
    if input.enable_ecs_managed_tags.unwrap_or(false) {
        tags.insert("aws:ecs:clusterName".into(), cluster.to_owned());
    }
    Ok(tags)
}

pub(super) fn stop_task(cx: &mut Context, input: StopTaskRequest) -> Result<StopTaskResponse, ApiError> {
    let cluster = cluster::find(cx.tx, input.cluster.as_deref())?;
    let id = describe::id_of(&input.task);
    let missing = || invalid("The referenced task was not found.");
    let task = cx.tx.get::<Task>(id).filter(|task| task.cluster == cluster.name).ok_or_else(missing)?;
    let reason = input.reason.unwrap_or_else(|| "Task stopped by user".into());
    if reason.len() > 1024 {
        return Err(client("The reason must not be longer than 1024 characters."));
    }
    let mut task = Task::clone(&task);
    task.request_stop(StopCode::UserInitiated, reason, cx.now);
    cx.tx.put(task);
    // The answer already shows what the request sets off: DEACTIVATING for a task that serves.
    apply::advance_and_tell(cx.tx, cx.ids, cx.now, id);
    let task: Arc<Task> = cx.tx.get(id).ok_or_else(missing)?;
    Ok(StopTaskResponse { task: Some(describe::shape(cx.tx, &task, true)) })
}
