//! Tasks: groups of containers with one network interface, run once or kept running by a service.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_run_task.html>

pub(crate) mod apply;
mod describe;
pub(crate) mod execution;
mod features;
pub(crate) mod launch;
pub(crate) mod logs;
pub(crate) mod metadata;
pub(crate) mod plan;
mod protection;
mod reach;
pub(crate) mod record;
mod run;
pub(crate) mod spec;

use pileus_aws::ecs::ops;
use pileus_service::Router;

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::RunTask>(run::run_task)
        .on::<ops::StopTask>(run::stop_task)
        .on::<ops::DescribeTasks>(describe::describe_tasks)
        .on::<ops::UpdateTaskProtection>(protection::update_task_protection)
        .on::<ops::GetTaskProtection>(protection::get_task_protection)
        .on::<ops::ListTasks>(describe::list_tasks);
}

#[cfg(test)]
mod tests;
