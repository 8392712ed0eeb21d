//! UpdateService and DeleteService.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html>

use std::sync::Arc;

use pileus_aws::ecs::{
    DeleteServiceRequest, DeleteServiceResponse, UpdateServiceRequest, UpdateServiceResponse,
};
use pileus_core::{ApiError, Arn};
use pileus_service::Context;
use pileus_state::Tx;

use super::record::{Revision, Service, ServiceStatus};
use super::rollout::{self, Change};
use super::{create, describe};
use crate::awsvpc::{self, Placement};
use crate::cluster::Cluster;
use crate::error::refuse_unless;
use crate::{cluster, task_definition};

/// The name that a service's name or ARN stands for.
pub(crate) fn name_of(name_or_arn: &str) -> &str {
    Arn::parse(name_or_arn).map_or(name_or_arn, |arn| arn.name())
}

/// The service of a request, with its cluster.
///
/// # Errors
/// There is none.
pub(crate) fn find(
    tx: &Tx,
    cluster: Option<&str>,
    service: &str,
) -> Result<(Arc<Cluster>, Arc<Service>), ApiError> {
    let cluster = cluster::find(tx, cluster)?;
    let service = tx.get::<Service>(&Service::key_of(&cluster.name, name_of(service)));
    let service =
        service.ok_or_else(|| ApiError::client("ServiceNotFoundException", "Service not found."))?;
    Ok((cluster, service))
}

fn find_active(
    tx: &Tx,
    cluster: Option<&str>,
    service: &str,
) -> Result<(Arc<Cluster>, Arc<Service>), ApiError> {
    let found = find(tx, cluster, service)?;
    match found.1.status {
        ServiceStatus::Active => Ok(found),
        _ => Err(ApiError::client("ServiceNotActiveException", "Service was not ACTIVE.")),
    }
}

pub(super) fn update_service(
    cx: &mut Context,
    input: UpdateServiceRequest,
) -> Result<UpdateServiceResponse, ApiError> {
    let (cluster, old) = find_active(cx.tx, input.cluster.as_deref(), &input.service)?;
    refuse_unless(!input.enable_execute_command.unwrap_or(false), "enableExecuteCommand")?;
    let own = input.deployment_controller.as_ref().is_none_or(|controller| controller.r#type == "ECS");
    refuse_unless(own, "a deployment controller other than ECS")?;
    create::check_placement(input.placement_constraints.as_deref(), input.placement_strategy.as_deref())?;
    create::check_connect(input.service_connect_configuration.as_ref())?;
    let mut service = Service::clone(&old);
    let force = input.force_new_deployment.unwrap_or(false);
    let (before, after) = change(cx.tx, &cluster, &old, &input)?;
    settings(&mut service, &after, input)?;
    if force || before.as_ref() != Some(&after) {
        rollout::begin(cx.tx, cx.ids, cx.now, &mut service, after);
    }
    cx.tx.put(service.clone());
    Ok(UpdateServiceResponse { service: Some(describe::shape(cx.tx, &service, true)) })
}

/// What the primary deployment runs, and what it is to run.
fn change(
    tx: &Tx,
    cluster: &Cluster,
    service: &Service,
    input: &UpdateServiceRequest,
) -> Result<(Option<Change>, Change), ApiError> {
    let primary = service.primary().map_or("", |deployment| &deployment.id);
    let revision = tx
        .get::<Revision>(&Revision::key_of(&service.cluster, &service.name, primary))
        .ok_or_else(|| ApiError::internal("an active service has a revision"))?;
    let before = Change::of(&revision);
    let mut after = before.clone();
    let definition = match &input.task_definition {
        Some(name) => create::named_definition(tx, Some(name))?,
        None => task_definition::find(tx, &before.task_definition)?,
    };
    after.task_definition = definition.arn().to_owned();
    if input.network_configuration.is_some() {
        after.network = awsvpc::read(tx, input.network_configuration.clone())?;
    }
    if input.capacity_provider_strategy.is_some() || input.platform_version.is_some() {
        let strategy = input.capacity_provider_strategy.clone();
        let launch_type = before.placement.launch_type.clone().filter(|_| strategy.is_none());
        let kept = strategy.or_else(|| Some(before.placement.strategy.clone()));
        let version =
            input.platform_version.clone().unwrap_or_else(|| before.placement.platform_version.clone());
        after.placement = Placement::read(cluster, launch_type, kept, Some(version))?;
    }
    let load_balancers = input.load_balancers.clone().unwrap_or_else(|| before.load_balancers.clone());
    after.load_balancers = create::load_balancers(tx, load_balancers, &definition)?;
    Ok((Some(before), after))
}

/// What changes without a deployment.
fn settings(service: &mut Service, after: &Change, input: UpdateServiceRequest) -> Result<(), ApiError> {
    if let Some(desired) = create::desired(input.desired_count)? {
        rollout::scale(service, desired);
    }
    service.deployment_configuration =
        create::configuration(input.deployment_configuration, Some(&service.deployment_configuration))?;
    let rebalancing =
        input.availability_zone_rebalancing.unwrap_or_else(|| service.availability_zone_rebalancing.clone());
    service.availability_zone_rebalancing =
        create::rebalancing(Some(rebalancing), &service.deployment_configuration)?;
    if input.health_check_grace_period_seconds.is_some() || after.load_balancers.is_empty() {
        service.health_check_grace_period_seconds =
            create::grace(input.health_check_grace_period_seconds, &after.load_balancers)?;
    }
    // With other percentages it may go on, or get stuck anew.
    service.deployments.iter_mut().for_each(|deployment| deployment.stuck = false);
    if let Some(managed) = input.enable_ecs_managed_tags {
        service.enable_ecs_managed_tags = managed;
    }
    if let Some(propagate) = input.propagate_tags {
        service.propagate_tags = propagate;
    }
    Ok(())
}

pub(super) fn delete_service(
    cx: &mut Context,
    input: DeleteServiceRequest,
) -> Result<DeleteServiceResponse, ApiError> {
    let (_, service) = find(cx.tx, input.cluster.as_deref(), &input.service)?;
    match service.status {
        ServiceStatus::Inactive => {
            return Err(ApiError::client("ServiceNotFoundException", "Service not found."));
        }
        ServiceStatus::Active if service.desired > 0 && !input.force.unwrap_or(false) => {
            return Err(crate::error::invalid("The service cannot be stopped while it is scaled above 0."));
        }
        ServiceStatus::Active | ServiceStatus::Draining => {}
    }
    let mut service = Service::clone(&service);
    service.status = ServiceStatus::Draining;
    service.desired = 0;
    cx.tx.put(service.clone());
    Ok(DeleteServiceResponse { service: Some(describe::shape(cx.tx, &service, true)) })
}
