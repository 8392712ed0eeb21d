//! Makes a task: places it in a subnet, gives it a network interface and writes its record.

use std::collections::BTreeMap;

use pileus_aws::ecs;
use pileus_core::{IdGen, Tags, Timestamp};
use pileus_state::Tx;

use super::record::{
    ContainerStatus, Health, ImageDigests, Membership, Target, Task, TaskContainer, TaskStatus,
};
use crate::service::record::{Revision, Service};
use crate::task_definition::record::TaskDefinition;
use crate::{awsvpc, neighbours};

/// What a task is to be.
pub(crate) struct Launch<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) definition: &'a TaskDefinition,
    pub(crate) network: &'a ecs::AwsVpcConfiguration,
    /// Where it may be placed, in order of preference.
    pub(crate) subnets: Vec<String>,
    pub(crate) group: String,
    pub(crate) started_by: Option<String>,
    pub(crate) service: Option<Membership>,
    pub(crate) launch_type: Option<String>,
    pub(crate) capacity_provider: Option<String>,
    pub(crate) platform_version: String,
    pub(crate) overrides: ecs::TaskOverride,
    pub(crate) enable_execute_command: bool,
    pub(crate) tags: Tags,
    pub(crate) targets: Vec<Target>,
    /// Images that are known already, by container.
    pub(crate) images: BTreeMap<String, ImageDigests>,
    pub(crate) client_token: Option<String>,
}

/// Starts a task of a service's deployment in a zone; returns its id.
///
/// # Errors
/// Why it could not be placed, as the service event says it.
pub(crate) fn for_service(
    tx: &mut Tx,
    ids: &mut IdGen,
    now: Timestamp,
    service: &Service,
    deployment: &str,
    zone: &str,
) -> Result<String, String> {
    let key = Revision::key_of(&service.cluster, &service.name, deployment);
    let revision = tx.get::<Revision>(&key).ok_or("the service revision is gone")?;
    let definition = TaskDefinition::key_of_arn(&revision.task_definition)
        .and_then(|key| tx.get::<TaskDefinition>(&key))
        .ok_or("the task definition is gone")?;
    let in_zone = |subnet: &&String| neighbours::zone_of(tx, subnet).unwrap_or_default() == zone;
    let subnets = revision.network.subnets.iter().filter(in_zone).cloned().collect();
    let launch = Launch {
        cluster: &service.cluster,
        definition: &definition,
        network: &revision.network,
        subnets,
        group: format!("service:{}", service.name),
        started_by: Some(format!("ecs-svc/{deployment}")),
        service: Some(Membership { service: service.name.clone(), deployment: deployment.to_owned() }),
        launch_type: revision.launch_type.clone(),
        capacity_provider: provider_for(tx, service, &revision),
        platform_version: revision.platform_version.clone(),
        overrides: ecs::TaskOverride::default(),
        enable_execute_command: service.enable_execute_command,
        tags: tags(service, &definition),
        targets: revision.load_balancers.iter().filter_map(target).collect(),
        images: revision.images.clone(),
        client_token: None,
    };
    create(tx, ids, now, launch).map(|task| task.id)
}

/// The capacity provider for one more task of the service.
fn provider_for(tx: &Tx, service: &Service, revision: &Revision) -> Option<String> {
    let mut counts = BTreeMap::new();
    for task in tx.list::<Task>().iter().filter(|task| task.is_live() && task.cluster == service.cluster) {
        let own = task.service.as_ref().is_some_and(|membership| membership.service == service.name);
        if let Some(provider) = task.capacity_provider.as_ref().filter(|_| own) {
            *counts.entry(provider.clone()).or_default() += 1;
        }
    }
    awsvpc::choose_provider(&revision.capacity_provider_strategy, &counts)
}

fn target(load_balancer: &ecs::LoadBalancer) -> Option<Target> {
    Some(Target {
        target_group: load_balancer.target_group_arn.clone()?,
        port: u16::try_from(load_balancer.container_port?).ok()?,
        registered: false,
    })
}

/// The tags of a service's task: those propagated, and the managed ones.
fn tags(service: &Service, definition: &TaskDefinition) -> Tags {
    let mut tags = match service.propagate_tags.as_str() {
        "SERVICE" => service.tags.clone(),
        "TASK_DEFINITION" => definition.tags.clone(),
        _ => Tags::new(),
    };
    if service.enable_ecs_managed_tags {
        tags.insert("aws:ecs:clusterName".into(), service.cluster.clone());
        tags.insert("aws:ecs:serviceName".into(), service.name.clone());
    }
    tags
}

/// Writes a new task in PROVISIONING, with its network interface.
///
/// # Errors
/// No subnet has room for it, or its network configuration is no longer valid.
pub(crate) fn create(tx: &mut Tx, ids: &mut IdGen, now: Timestamp, launch: Launch) -> Result<Task, String> {
    let id = ids.hex(32);
    let network = neighbours::attach(tx, ids, now, &launch.subnets, launch.network)?;
    let shape = &launch.definition.shape;
    let role = launch.overrides.task_role_arn.as_ref().or(shape.task_role_arn.as_ref());
    let credentials = role.is_some().then(|| ids.uuid());
    let cpu = launch.overrides.cpu.clone().or_else(|| shape.cpu.clone()).unwrap_or_default();
    let memory = launch.overrides.memory.clone().or_else(|| shape.memory.clone()).unwrap_or_default();
    let containers = launch.definition.containers().iter();
    let containers = containers.map(|definition| container(ids, &id, definition, &launch.images)).collect();
    let task = Task {
        id,
        cluster: launch.cluster.to_owned(),
        definition: launch.definition.arn().to_owned(),
        group: launch.group,
        started_by: launch.started_by,
        service: launch.service,
        launch_type: launch.launch_type,
        capacity_provider: launch.capacity_provider,
        platform_version: launch.platform_version,
        cpu,
        memory,
        overrides: launch.overrides,
        enable_execute_command: launch.enable_execute_command,
        tags: launch.tags,
        client_token: launch.client_token,
        network,
        targets: launch.targets,
        containers,
        credentials,
        status: TaskStatus::Provisioning,
        stop: None,
        version: 1,
        created_at: now,
        connectivity_at: None,
        pull_started_at: None,
        pull_stopped_at: None,
        started_at: None,
        execution_stopped_at: None,
        stopped_at: None,
        healthy_at: None,
        counted: false,
        protected_until: None,
    };
    tx.put(task.clone());
    Ok(task)
}

fn container(
    ids: &mut IdGen,
    task: &str,
    definition: &ecs::ContainerDefinition,
    images: &BTreeMap<String, ImageDigests>,
) -> TaskContainer {
    let name = definition.name.clone().unwrap_or_default();
    TaskContainer {
        id: ids.uuid(),
        runtime_id: format!("{task}-{}", ids.digits(10)),
        image: definition.image.clone().unwrap_or_default(),
        resolved: images.get(&name).filter(|_| is_consistent(definition)).cloned(),
        essential: definition.essential.unwrap_or(true),
        name,
        status: ContainerStatus::Pending,
        started_at: None,
        exit_code: None,
        reason: None,
        health: has_check(definition).then_some(Health::Unknown),
        restarts: 0,
        mute: false,
    }
}

/// Whether all tasks of a deployment run the image that its first one found by the name.
fn is_consistent(definition: &ecs::ContainerDefinition) -> bool {
    definition.version_consistency.as_deref() != Some("disabled")
}

/// `NONE` switches the check off that an image may bring along.
pub(crate) fn has_check(definition: &ecs::ContainerDefinition) -> bool {
    definition
        .health_check
        .as_ref()
        .is_some_and(|check| check.command.first().is_some_and(|kind| kind != "NONE"))
}
