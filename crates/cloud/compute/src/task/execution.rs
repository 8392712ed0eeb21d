//! What is done for a task in the name of its execution role: images pulled, log streams opened and written, secrets read.
//! Each is refused as AWS refuses it, with the reason that stops the task there.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html>

use std::collections::BTreeMap;

use pileus_contract::LogStreamId;
use pileus_core::{Secret, Tags, Timestamp};
use pileus_monitoring::logs::{LogGroup, create_group, ensure_stream};
use pileus_security::policy::ContextKeys;
use pileus_security::{Access, authorize, authorize_with, is_strict, task_caller};
use pileus_service::Caller;
use pileus_state::{State, Tx};

use super::record::{ImageDigests, Task};
use super::spec::StartFailure;
use super::{logs, reach};
use crate::machine::TaskRef;
use crate::neighbours;
use crate::task_definition::record::TaskDefinition;

/// The task's execution role as a caller; `None` where it has none.
///
/// # Errors
/// There is no such role, or it does not trust ECS tasks.
fn role(tx: &mut Tx, task: &Task, definition: &TaskDefinition) -> Result<Option<Caller>, StartFailure> {
    let own = task.overrides.execution_role_arn.as_ref();
    let Some(role) = own.or(definition.shape.execution_role_arn.as_ref()) else { return Ok(None) };
    let caller = task_caller(tx, role, &task.id);
    caller.map(Some).map_err(|error| StartFailure::Resource(error.message))
}

/// Finds what a task needs before it can start, and takes it into the task: its images; its log streams are opened.
/// Returns what would keep it from starting on AWS.
///
/// # Errors
/// What is missing, or what the execution role may not do; with a strict engine also what would fail on AWS.
pub(super) fn prepare(
    tx: &mut Tx,
    task: &mut Task,
    now: Timestamp,
) -> Result<Option<StartFailure>, StartFailure> {
    let key = TaskDefinition::key_of_arn(&task.definition);
    let definition = key.and_then(|key| tx.get::<TaskDefinition>(&key));
    let definition =
        definition.ok_or_else(|| StartFailure::Resource("the task definition is gone".into()))?;
    let doubt = reach::unreachable(tx, task, &definition);
    if let Some(failure) = doubt.clone().filter(|_| is_strict(tx.base())) {
        return Err(failure);
    }
    let caller = role(tx, task, &definition)?;
    let registry = |container: &str| container.contains(".dkr.ecr.");
    if let Some(caller) = caller.as_ref().filter(|_| task.containers.iter().any(|it| registry(&it.image))) {
        let allowed = authorize(tx, caller, "ecr:GetAuthorizationToken", "*", ContextKeys::new());
        allowed.map_err(|error| {
            StartFailure::Resource(format!(
                "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve ecr \
                 registry auth: service call has been retried 1 time(s): {error}"
            ))
        })?;
    }
    for container in &mut task.containers {
        container.resolved = Some(pull(tx, caller.as_ref(), &container.image, container.resolved.take())?);
    }
    open_streams(tx, task, &definition, caller.as_ref(), now)?;
    Ok(doubt)
}

/// The image that a name stands for, unless it is `known` already; the role must be allowed to fetch it in any case.
fn pull(
    tx: &mut Tx,
    caller: Option<&Caller>,
    image: &str,
    known: Option<ImageDigests>,
) -> Result<ImageDigests, StartFailure> {
    let failed = |why: String| {
        StartFailure::Image(format!(
            "pull image manifest has been retried 1 time(s): failed to resolve ref {image}: {why}"
        ))
    };
    if let (Some(caller), Some((scope, repository))) = (caller, neighbours::repository_of(image)) {
        let arn = scope.arn("ecr", format_args!("repository/{repository}"));
        let policy = neighbours::repository_policy(tx, &scope, &repository);
        for action in ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"] {
            let access = Access {
                action,
                resource: &arn,
                owner: Some(&scope.account),
                resource_policy: policy.as_deref(),
                keys: ContextKeys::new(),
            };
            authorize_with(tx, caller, access).map_err(|error| {
                let host = image.split('/').next().unwrap_or_default();
                failed(format!("pulling from host {host} failed with status code: 403 Forbidden: {error}"))
            })?;
        }
    }
    match known {
        Some(known) => Ok(known),
        None => neighbours::resolve_image(tx, image).map_err(failed),
    }
}

/// Makes the streams that the containers write to.
fn open_streams(
    tx: &mut Tx,
    task: &mut Task,
    definition: &TaskDefinition,
    caller: Option<&Caller>,
    now: Timestamp,
) -> Result<(), StartFailure> {
    for route in logs::routes_of(&tx.scope().clone(), task, definition) {
        let LogStreamId { scope, group, stream } = route.stream;
        let may = |tx: &Tx, action: &str, resource: &str| match caller {
            Some(caller) => authorize(tx, caller, action, resource, ContextKeys::new()),
            None => Ok(()),
        };
        let group_arn = scope.arn("logs", format_args!("log-group:{group}"));
        let stream_arn = format!("{group_arn}:log-stream:{stream}");
        let opened = tx.within(scope, |tx| {
            if route.create_group && tx.get::<LogGroup>(&group).is_none() {
                may(tx, "logs:CreateLogGroup", &group_arn)?;
                create_group(tx, &group, Tags::new(), now)?;
            }
            may(tx, "logs:CreateLogStream", &stream_arn)?;
            ensure_stream(tx, &group, &stream, now)
        });
        opened.map_err(|error| {
            StartFailure::Resource(format!(
                "failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log \
                 stream: {error} : exit status 1"
            ))
        })?;
        // On AWS the task runs, and its log stays empty.
        let mute = may(tx, "logs:PutLogEvents", &stream_arn).is_err();
        let containers = task.containers.iter_mut();
        containers.filter(|container| container.name == route.container).for_each(|it| it.mute = mute);
    }
    Ok(())
}

/// Secret values by container and variable.
pub type Secrets = BTreeMap<String, BTreeMap<String, Secret>>;

/// Reads the secrets that the containers of a task that starts are to have in their environment.
///
/// # Errors
/// One is not there, or the execution role may not read it.
pub fn secrets(state: &State, task: &TaskRef, now: Timestamp) -> Result<Secrets, StartFailure> {
    let mut tx = Tx::new(state, task.scope.clone());
    let gone = |what: &str| StartFailure::Resource(format!("the {what} is gone"));
    let record = tx.get::<Task>(&task.id).ok_or_else(|| gone("task"))?;
    let key = TaskDefinition::key_of_arn(&record.definition);
    let definition =
        key.and_then(|key| tx.get::<TaskDefinition>(&key)).ok_or_else(|| gone("task definition"))?;
    let mut values = Secrets::new();
    for container in definition.containers() {
        let wanted = container.secrets.as_deref().unwrap_or_default();
        let Some(caller) =
            (!wanted.is_empty()).then(|| role(&mut tx, &record, &definition)).transpose()?.flatten()
        else {
            continue;
        };
        let own = values.entry(container.name.clone().unwrap_or_default()).or_default();
        for secret in wanted {
            let value = pileus_secrets::resolve(&mut tx, &caller, &secret.value_from, now).map_err(|error| {
                StartFailure::Resource(format!(
                    "unable to pull secrets or registry auth: execution resource retrieval failed: {error}"
                ))
            })?;
            own.insert(secret.name.clone(), value);
        }
    }
    Ok(values)
}
