//! What the machine is to run for a task, complete with its environment, metadata and credentials.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html>

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pileus_aws::ecs::{ContainerDefinition, ContainerOverride, KeyValuePair};
use pileus_contract::{ContainerSpec, TaskSpec};
use pileus_core::{Secret, Timestamp};
use pileus_security::{Mint, TaskCredentials, task_credentials};
use pileus_state::{State, Tx};

use super::execution::Secrets;
use super::record::{Task, TaskContainer};
use super::{features, metadata};
use crate::machine::TaskRef;
use crate::neighbours;
use crate::task_definition::record::TaskDefinition;

/// Fargate's stop timeout where the container definition gives none.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the link-local endpoint of a task is.
const ENDPOINT: &str = "http://169.254.170.2";

/// Why a task cannot be started; shown as its `stoppedReason`, in AWS's form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartFailure {
    #[error("CannotPullContainerError: {0}")]
    Image(String),
    #[error("CannotStartContainerError: {0}")]
    Container(String),
    #[error("ResourceInitializationError: {0}")]
    Resource(String),
}

/// Everything that a task is made of.
struct Parts {
    task: Arc<Task>,
    definition: Arc<TaskDefinition>,
}

impl Parts {
    fn read(tx: &Tx, id: &str) -> Result<Self, StartFailure> {
        let gone = |what: &str| StartFailure::Resource(format!("the {what} is gone"));
        let task = tx.get::<Task>(id).ok_or_else(|| gone("task"))?;
        let key = TaskDefinition::key_of_arn(&task.definition);
        let definition =
            key.and_then(|key| tx.get::<TaskDefinition>(&key)).ok_or_else(|| gone("task definition"))?;
        Ok(Self { task, definition })
    }

    fn containers(&self) -> impl Iterator<Item = (&TaskContainer, &ContainerDefinition)> {
        let definitions = self.definition.containers();
        self.task.containers.iter().filter_map(move |container| {
            let own = definitions.iter().find(|own| own.name.as_ref() == Some(&container.name))?;
            Some((container, own))
        })
    }
}

/// Makes credentials for a task: of its task role, where it has one. Those that it has stay good until they end.
///
/// # Errors
/// Its task role cannot be assumed.
pub fn credentials(
    tx: &mut Tx,
    mint: &mut Mint,
    task: &TaskRef,
    now: Timestamp,
) -> Result<Option<TaskCredentials>, StartFailure> {
    tx.within(task.scope.clone(), |tx| {
        let parts = Parts::read(tx, &task.id)?;
        let own = parts.task.overrides.task_role_arn.as_ref();
        let role = own.or(parts.definition.shape.task_role_arn.as_ref());
        role.map(|role| assume(tx, mint, role, task, now)).transpose()
    })
}

fn assume(
    tx: &mut Tx,
    mint: &mut Mint,
    role: &str,
    task: &TaskRef,
    now: Timestamp,
) -> Result<TaskCredentials, StartFailure> {
    task_credentials(tx, mint, role, &task.id, now).map_err(|error| StartFailure::Resource(error.message))
}

/// The task as the machine is to run it. `namespace` tells the network namespace of an interface; `credentials` is the
/// document of [`credentials`], `secrets` what [`secrets`](super::execution::secrets) has read.
///
/// # Errors
/// What it needs is gone.
pub fn task_spec(
    state: &State,
    task: &TaskRef,
    namespace: &dyn Fn(&str) -> PathBuf,
    credentials: Option<&Secret>,
    mut secrets: Secrets,
) -> Result<TaskSpec, StartFailure> {
    let tx = Tx::new(state, task.scope.clone());
    let parts = Parts::read(&tx, &task.id)?;
    let network = &parts.task.network;
    let nameserver = neighbours::resolver_of(&tx, &network.subnet)
        .ok_or_else(|| StartFailure::Resource(format!("the subnet {} is gone", network.subnet)))?;
    let number = |text: &str, what: &str| {
        text.parse().map_err(|_| StartFailure::Resource(format!("invalid task {what}: {text}")))
    };
    Ok(TaskSpec {
        id: parts.task.id.clone(),
        namespace: namespace(&network.interface),
        hostname: network.private_dns_name.clone(),
        nameserver,
        search_domain: neighbours::private_domain(&task.scope),
        cpu_units: number(&parts.task.cpu, "cpu")?,
        memory_mib: number(&parts.task.memory, "memory")?,
        metadata: metadata::documents(&tx, &parts.task, &parts.definition, credentials),
        sysctls: parts.definition.containers().iter().flat_map(features::sysctls).collect(),
        shared_processes: parts.definition.shape.pid_mode.as_deref() == Some("task"),
        containers: parts
            .containers()
            .map(|(container, definition)| {
                let secrets = secrets.remove(&container.name).unwrap_or_default();
                container_spec(&tx, &parts, container, definition, secrets)
            })
            .collect::<Result<_, _>>()?,
    })
}

fn container_spec(
    tx: &Tx,
    parts: &Parts,
    container: &TaskContainer,
    definition: &ContainerDefinition,
    secrets: BTreeMap<String, Secret>,
) -> Result<ContainerSpec, StartFailure> {
    let task = &parts.task;
    let overrides = task.overrides.container_overrides.iter().flatten();
    let own = overrides.clone().find(|own| own.name.as_ref() == Some(&container.name));
    let image = container.resolved.as_ref().map(|image| image.manifest.clone());
    let image = image.ok_or_else(|| StartFailure::Image(format!("{}: not resolved", container.image)))?;
    let filled = |words: &Option<Vec<String>>| words.clone().filter(|words| !words.is_empty());
    let memory = own.and_then(|own| own.memory).or(definition.memory);
    Ok(ContainerSpec {
        name: container.name.clone(),
        image,
        entrypoint: filled(&definition.entry_point),
        command: own.and_then(|own| filled(&own.command)).or_else(|| filled(&definition.command)),
        environment: environment(tx, task, container, definition, own),
        secrets,
        working_directory: definition.working_directory.clone().filter(|path| !path.is_empty()),
        user: definition.user.clone().filter(|user| !user.is_empty()),
        essential: container.essential,
        memory_mib: memory.and_then(|memory| u32::try_from(memory).ok()).filter(|memory| *memory > 0),
        readonly_rootfs: definition.readonly_root_filesystem.unwrap_or(false),
        stop_timeout: definition
            .stop_timeout
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(STOP_TIMEOUT, Duration::from_secs),
        mounts: features::mounts(definition, &parts.definition),
        ..features::of(definition)
    })
}

/// AWS's variables that a definition may replace, the definition's, the overrides', and those that nobody may replace.
fn environment(
    tx: &Tx,
    task: &Task,
    container: &TaskContainer,
    definition: &ContainerDefinition,
    own: Option<&ContainerOverride>,
) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = [
        ("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE"),
        ("AWS_REGION", &tx.scope().region),
        ("AWS_DEFAULT_REGION", &tx.scope().region),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    variables.extend(neighbours::api_environment(&tx.scope().region));
    let pair = |pair: &KeyValuePair| Some((pair.name.clone()?, pair.value.clone().unwrap_or_default()));
    variables.extend(definition.environment.iter().flatten().filter_map(pair));
    variables.extend(own.iter().flat_map(|own| own.environment.iter().flatten()).filter_map(pair));
    let at = &container.runtime_id;
    variables.insert("ECS_CONTAINER_METADATA_URI_V4".into(), format!("{ENDPOINT}/v4/{at}"));
    variables.insert("ECS_CONTAINER_METADATA_URI".into(), format!("{ENDPOINT}/v3/{at}"));
    if let Some(path) = metadata::credentials_path(task) {
        variables.insert("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI".into(), path);
    }
    variables
}
