//! Where the output of containers goes: the log streams of the awslogs driver.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html>

use pileus_contract::LogStreamId;
use pileus_core::Scope;
use pileus_state::State;

use super::record::{Task, TaskStatus};
use crate::machine::TaskRef;
use crate::task_definition::record::TaskDefinition;

/// The way of one container's lines into CloudWatch Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRoute {
    pub task: TaskRef,
    pub container: String,
    pub stream: LogStreamId,
    /// Make the log group where there is none. Otherwise a missing one keeps the task from starting.
    pub create_group: bool,
}

/// The routes of every container that has been started, or is about to be, and has not been removed.
pub fn log_routes(state: &State) -> Vec<LogRoute> {
    let spooling = |task: &Task| (TaskStatus::Pending..=TaskStatus::Deprovisioning).contains(&task.status);
    let tasks = state.all::<Task>().filter(|(_, task)| spooling(task));
    let routes = tasks.flat_map(|(scope, task)| {
        let key = TaskDefinition::key_of_arn(&task.definition);
        let definition = key.and_then(|key| state.get::<TaskDefinition>(scope, &key));
        definition.map(|definition| routes_of(scope, &task, &definition)).unwrap_or_default()
    });
    routes.collect()
}

/// The routes of one task's containers.
pub(super) fn routes_of(scope: &Scope, task: &Task, definition: &TaskDefinition) -> Vec<LogRoute> {
    let route = |container: &pileus_aws::ecs::ContainerDefinition| {
        let name = container.name.as_deref()?;
        let mute = |own: &super::record::TaskContainer| own.name == name && own.mute;
        if task.containers.iter().any(mute) {
            return None;
        }
        let options = container.log_configuration.as_ref()?.options.as_ref()?;
        let prefix = options.get("awslogs-stream-prefix")?;
        let stream = LogStreamId {
            scope: Scope { region: options.get("awslogs-region")?.clone(), ..scope.clone() },
            group: options.get("awslogs-group")?.clone(),
            stream: format!("{prefix}/{name}/{}", task.id),
        };
        Some(LogRoute {
            task: TaskRef { scope: scope.clone(), id: task.id.clone() },
            container: name.to_owned(),
            stream,
            create_group: options.get("awslogs-create-group").is_some_and(|value| value == "true"),
        })
    };
    definition.containers().iter().filter_map(route).collect()
}
