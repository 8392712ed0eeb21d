//! The beginning of a deployment: a new revision becomes PRIMARY, and what was in progress is superseded.

use pileus_aws::ecs::{AwsVpcConfiguration, LoadBalancer};
use pileus_core::{IdGen, Timestamp};
use pileus_state::Tx;

use super::record::{Deployment, Revision, Rollout, Service, ServiceDeployment, ServiceDeploymentStatus};
use crate::awsvpc::Placement;
use crate::neighbours;

/// AWS's deployment numbers have 19 digits.
const DIGITS: usize = 19;

/// What makes a revision: a change of any of it starts a deployment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) task_definition: String,
    pub(crate) placement: Placement,
    pub(crate) network: AwsVpcConfiguration,
    pub(crate) load_balancers: Vec<LoadBalancer>,
}

impl Change {
    /// What the revision is made of.
    pub(crate) fn of(revision: &Revision) -> Self {
        Self {
            task_definition: revision.task_definition.clone(),
            placement: Placement {
                launch_type: revision.launch_type.clone(),
                strategy: revision.capacity_provider_strategy.clone(),
                platform_version: revision.platform_version.clone(),
            },
            network: revision.network.clone(),
            load_balancers: revision.load_balancers.clone(),
        }
    }
}

/// Makes a deployment of `change` the primary one. The caller stores the service.
pub(crate) fn begin(tx: &mut Tx, ids: &mut IdGen, now: Timestamp, service: &mut Service, change: Change) {
    supersede(tx, now, service);
    let id = ids.digits(DIGITS);
    tx.put(Revision {
        cluster: service.cluster.clone(),
        service: service.name.clone(),
        id: id.clone(),
        task_definition: change.task_definition,
        launch_type: change.placement.launch_type,
        capacity_provider_strategy: change.placement.strategy,
        platform_version: change.placement.platform_version,
        network: change.network,
        load_balancers: change.load_balancers,
        images: Default::default(),
        created_at: now,
    });
    let history = ServiceDeployment {
        cluster: service.cluster.clone(),
        service: service.name.clone(),
        id: ids.alphanumeric(21),
        target: id.clone(),
        sources: service.deployments.iter().map(|deployment| deployment.id.clone()).collect(),
        status: ServiceDeploymentStatus::InProgress,
        reason: None,
        created_at: now,
        updated_at: now,
        finished_at: None,
        configuration: service.deployment_configuration.clone(),
        rollback: None,
        tripped: None,
        alarmed: false,
    };
    service.current = Some(history.id.clone());
    tx.put(history);
    let mut deployment = Deployment::new(id, service.desired, now);
    let alarms = service.deployment_configuration.alarms.as_ref().filter(|alarms| alarms.enable);
    deployment.alarms_ignored = alarms.is_some_and(|alarms| neighbours::is_in_alarm(tx, &alarms.alarm_names));
    service.deployments.insert(0, deployment);
}

/// The newer deployment takes over from the one in progress; the tasks of both go on until they are replaced.
fn supersede(tx: &mut Tx, now: Timestamp, service: &mut Service) {
    if let Some(id) = service.current.take() {
        let key = ServiceDeployment::key_of(&service.cluster, &service.name, &id);
        tx.update::<ServiceDeployment>(&key, |history| {
            history.status = ServiceDeploymentStatus::Stopped;
            history.reason = Some("The service deployment was superseded by a newer one.".into());
            history.finished_at = Some(now);
            history.updated_at = now;
        });
    }
    let proven = service.last_completed.clone();
    let desired = service.desired;
    if let Some(primary) = service.deployments.first_mut() {
        primary.desired = desired;
        // A rollback that is cut short leaves a deployment that has completed before.
        if primary.rollout == Rollout::InProgress && Some(&primary.id) == proven.as_ref() {
            primary.rollout = Rollout::Completed;
        }
        primary.rollback = false;
        primary.updated_at = now;
    }
}

/// Carries a change of the desired count over to the tasks of the deployment that is being replaced, so that a change
/// of scale does not wait for the new one.
pub(crate) fn scale(service: &mut Service, desired: u32) {
    let old = service.desired;
    service.desired = desired;
    let mut replaced = service.deployments.iter_mut().skip(1);
    if let Some(deployment) = replaced.find(|deployment| deployment.rollout == Rollout::Completed) {
        deployment.desired = (deployment.desired + desired).saturating_sub(old);
    }
}
