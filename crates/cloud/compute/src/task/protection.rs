//! Scale-in protection: a task of a service that is left alone for a time by scaling and deployments.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html>

use std::sync::Arc;
use std::time::Duration;

use pileus_aws::ecs::{
    Failure, GetTaskProtectionRequest, GetTaskProtectionResponse, ProtectedTask, UpdateTaskProtectionRequest,
    UpdateTaskProtectionResponse,
};
use pileus_core::ApiError;
use pileus_service::Context;

use super::describe::id_of;
use super::record::Task;
use crate::cluster::{self, missing};
use crate::error::invalid;

/// Tasks of one request.
const MAX_UPDATED: usize = 10;
const MAX_ASKED: usize = 100;
/// Minutes.
const DEFAULT: i64 = 120;
const LONGEST: i64 = 2880;

pub(super) fn update_task_protection(
    cx: &mut Context,
    input: UpdateTaskProtectionRequest,
) -> Result<UpdateTaskProtectionResponse, ApiError> {
    let cluster = cluster::find(cx.tx, Some(&input.cluster))?;
    if input.tasks.is_empty() || input.tasks.len() > MAX_UPDATED {
        return Err(invalid(format!("Between 1 and {MAX_UPDATED} tasks can be given.")));
    }
    let minutes = input.expires_in_minutes.unwrap_or(DEFAULT);
    if !(1..=LONGEST).contains(&minutes) {
        return Err(invalid(format!("expiresInMinutes must be between 1 and {LONGEST}.")));
    }
    let until = cx.now + Duration::from_secs(60 * minutes.unsigned_abs());
    let until = input.protection_enabled.then_some(until);
    let (mut protected, mut failures) = (Vec::new(), Vec::new());
    for given in &input.tasks {
        match find(cx, &cluster.name, given) {
            Ok(task) => {
                let changed = cx.tx.update::<Task>(&task.id, |task| task.protected_until = until);
                protected.extend(changed.map(|task| shape(cx, &task)));
            }
            Err(failure) => failures.push(failure),
        }
    }
    Ok(UpdateTaskProtectionResponse { protected_tasks: Some(protected), failures: Some(failures) })
}

pub(super) fn get_task_protection(
    cx: &mut Context,
    input: GetTaskProtectionRequest,
) -> Result<GetTaskProtectionResponse, ApiError> {
    let cluster = cluster::find(cx.tx, Some(&input.cluster))?;
    let asked = input.tasks.unwrap_or_default();
    if asked.len() > MAX_ASKED {
        return Err(invalid(format!("At most {MAX_ASKED} tasks can be given.")));
    }
    let (mut protected, mut failures) = (Vec::new(), Vec::new());
    for given in &asked {
        match find(cx, &cluster.name, given) {
            Ok(task) => protected.push(shape(cx, &task)),
            Err(failure) => failures.push(failure),
        }
    }
    if asked.is_empty() {
        let mut tasks = cx.tx.list::<Task>();
        tasks.retain(|task| task.cluster == cluster.name && task.service.is_some() && task.is_live());
        protected = tasks.iter().take(MAX_ASKED).map(|task| shape(cx, task)).collect();
    }
    Ok(GetTaskProtectionResponse { protected_tasks: Some(protected), failures: Some(failures) })
}

/// A task that can be protected.
fn find(cx: &Context, cluster: &str, given: &str) -> Result<Arc<Task>, Failure> {
    let id = id_of(given);
    let arn = cx.scope().arn("ecs", format_args!("task/{cluster}/{id}"));
    let Some(task) = cx.tx.get::<Task>(id).filter(|task| task.cluster == cluster) else {
        return Err(missing(arn));
    };
    let detail = match (&task.service, task.is_live()) {
        (None, _) => "Task does not belong to a service.",
        (_, false) => "Task is stopping or has stopped.",
        (Some(_), true) => return Ok(task),
    };
    Err(Failure { arn: Some(arn), reason: Some("TASK_NOT_VALID".into()), detail: Some(detail.into()) })
}

fn shape(cx: &Context, task: &Task) -> ProtectedTask {
    let protected = task.is_protected(cx.now);
    ProtectedTask {
        task_arn: Some(task.arn(cx.scope())),
        protection_enabled: Some(protected),
        expiration_date: task.protected_until.filter(|_| protected),
    }
}
