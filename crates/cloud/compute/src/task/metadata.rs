//! The documents of the task metadata endpoint, versions 3 and 4.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html>

use std::collections::BTreeMap;

use pileus_aws::ecs::ContainerDefinition;
use pileus_core::{Secret, Timestamp};
use pileus_state::{State, Tx};
use serde_json::{Value, json};

use super::record::{Task, TaskContainer};
use crate::cluster::Cluster;
use crate::machine::TaskRef;
use crate::neighbours;
use crate::task_definition::record::TaskDefinition;
use crate::task_definition::size::Size;

/// The path of the task's credentials, where it has a task role.
pub(super) fn credentials_path(task: &Task) -> Option<String> {
    task.credentials.as_ref().map(|id| format!("/v2/credentials/{id}"))
}

/// All that the endpoint of a task serves now; empty for a task that is gone. `credentials` is the document of
/// [`credentials`](crate::credentials).
pub fn metadata(state: &State, task: &TaskRef, credentials: Option<&Secret>) -> BTreeMap<String, Secret> {
    let tx = Tx::new(state, task.scope.clone());
    let Some(record) = tx.get::<Task>(&task.id) else { return BTreeMap::new() };
    let key = TaskDefinition::key_of_arn(&record.definition);
    match key.and_then(|key| tx.get::<TaskDefinition>(&key)) {
        Some(definition) => documents(&tx, &record, &definition, credentials),
        None => BTreeMap::new(),
    }
}

/// The documents by path.
pub(super) fn documents(
    tx: &Tx,
    task: &Task,
    definition: &TaskDefinition,
    credentials: Option<&Secret>,
) -> BTreeMap<String, Secret> {
    let containers: Vec<Value> =
        task.containers.iter().map(|container| container_document(tx, task, definition, container)).collect();
    let whole = task_document(tx, task, definition, &containers);
    let mut tagged = whole.clone();
    tagged["TaskTags"] = json!(task.tags);
    let mut documents = BTreeMap::new();
    for (container, own) in task.containers.iter().zip(&containers) {
        for version in ["v3", "v4"] {
            let base = format!("/{version}/{}", container.runtime_id);
            documents.insert(format!("{base}/task"), Secret::new(whole.to_string()));
            documents.insert(format!("{base}/taskWithTags"), Secret::new(tagged.to_string()));
            documents.insert(base, Secret::new(own.to_string()));
        }
    }
    if let (Some(path), Some(credentials)) = (credentials_path(task), credentials) {
        documents.insert(path, credentials.clone());
    }
    documents
}

fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| json!(at.iso8601()))
}

fn without_nulls(mut document: Value) -> Value {
    if let Some(members) = document.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    document
}

fn task_document(tx: &Tx, task: &Task, definition: &TaskDefinition, containers: &[Value]) -> Value {
    let size = Size::read(Some(&task.cpu), Some(&task.memory)).ok();
    without_nulls(json!({
        "Cluster": Cluster::arn_of(tx.scope(), &task.cluster),
        "TaskARN": task.arn(tx.scope()),
        "Family": definition.family,
        "Revision": definition.revision.to_string(),
        "ServiceName": task.service.as_ref().map(|membership| &membership.service),
        "DesiredStatus": if task.stop.is_some() { "STOPPED" } else { "RUNNING" },
        "KnownStatus": task.status.as_str(),
        "Limits": size.map(|size| json!({ "CPU": f64::from(size.cpu) / 1024.0, "Memory": size.memory })),
        "PullStartedAt": time(task.pull_started_at),
        "PullStoppedAt": time(task.pull_stopped_at),
        "AvailabilityZone": task.network.zone,
        "EphemeralStorageMetrics": { "Reserved": super::describe::storage(task, Some(definition)) * 1024 },
        "LaunchType": "FARGATE",
        "Containers": containers,
    }))
}

fn container_document(tx: &Tx, task: &Task, definition: &TaskDefinition, container: &TaskContainer) -> Value {
    let none = ContainerDefinition::default();
    let own = definition.containers().iter().find(|own| own.name.as_ref() == Some(&container.name));
    let own = own.unwrap_or(&none);
    let logs = own.log_configuration.as_ref();
    let arn = format_args!("container/{}/{}/{}", task.cluster, task.id, container.id);
    without_nulls(json!({
        "DockerId": container.runtime_id,
        "Name": container.name,
        "DockerName": container.name,
        "Image": container.image,
        "ImageID": container.resolved.as_ref().map(|image| &image.digest),
        "Labels": labels(tx, task, definition, container, own),
        "DesiredStatus": if task.stop.is_some() { "STOPPED" } else { "RUNNING" },
        "KnownStatus": container.status.as_str(),
        "ExitCode": container.exit_code,
        "Limits": { "CPU": own.cpu.unwrap_or(0), "Memory": own.memory.unwrap_or(0) },
        "CreatedAt": time(task.pull_started_at),
        "StartedAt": time(container.started_at),
        "Type": "NORMAL",
        "Health": container.health.map(|health| json!({ "status": health.as_str() })),
        "RestartCount": Some(container.restarts).filter(|_| own.restart_policy.is_some()),
        "LogDriver": logs.map(|logs| &logs.log_driver),
        "LogOptions": logs.and_then(|logs| logs.options.as_ref()),
        "ContainerARN": tx.scope().arn("ecs", arn),
        "Networks": [network(tx, task)],
    }))
}

fn labels(
    tx: &Tx,
    task: &Task,
    definition: &TaskDefinition,
    container: &TaskContainer,
    own: &ContainerDefinition,
) -> BTreeMap<String, String> {
    let mut labels = own.docker_labels.clone().unwrap_or_default();
    for (name, value) in [
        ("cluster", Cluster::arn_of(tx.scope(), &task.cluster)),
        ("container-name", container.name.clone()),
        ("task-arn", task.arn(tx.scope())),
        ("task-definition-family", definition.family.clone()),
        ("task-definition-version", definition.revision.to_string()),
    ] {
        labels.insert(format!("com.amazonaws.ecs.{name}"), value);
    }
    labels
}

fn network(tx: &Tx, task: &Task) -> Value {
    let own = &task.network;
    let resolver = neighbours::resolver_of(tx, &own.subnet);
    without_nulls(json!({
        "NetworkMode": "awsvpc",
        "IPv4Addresses": [own.address.to_string()],
        "AttachmentIndex": 0,
        "MACAddress": own.mac,
        "IPv4SubnetCIDRBlock": neighbours::cidr_of(tx, &own.subnet),
        "DomainNameServers": resolver.map(|resolver| vec![resolver.to_string()]),
        "DomainNameSearchList": [neighbours::private_domain(tx.scope())],
        "PrivateDNSName": own.private_dns_name,
    }))
}
