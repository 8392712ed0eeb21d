//! Takes the steps of a task's life on the records: images, targets, the network interface.

use std::collections::BTreeMap;

use pileus_core::{IdGen, Timestamp};
use pileus_state::Tx;

use super::execution;
use super::plan::{self, Step, Surroundings};
use super::record::{StopCode, Task, TaskStatus};
use crate::service::events::{self, Told};
use crate::service::record::{Revision, Service};
use crate::{machine, neighbours};

/// What happened to the targets of services, to be told in one event for each service and target group.
#[derive(Default)]
pub(crate) struct Journal {
    registered: BTreeMap<(String, String), usize>,
    deregistered: BTreeMap<(String, String), usize>,
    draining: BTreeMap<(String, String), usize>,
    warnings: BTreeMap<String, Vec<String>>,
}

impl Journal {
    /// The events by service.
    pub(crate) fn told(self) -> BTreeMap<String, Vec<Told>> {
        let mut told: BTreeMap<String, Vec<Told>> = BTreeMap::new();
        for ((service, group), count) in self.registered {
            told.entry(service).or_default().push(Told::Registered(count, group));
        }
        for ((service, group), count) in self.deregistered {
            told.entry(service).or_default().push(Told::Deregistered(count, group));
        }
        for ((service, deployment), count) in self.draining {
            told.entry(service).or_default().push(Told::Draining(count, deployment));
        }
        for (service, warnings) in self.warnings {
            told.entry(service).or_default().extend(warnings.into_iter().map(Told::Warning));
        }
        told
    }
}

/// Moves a task on as far as it goes now. Whether anything changed.
pub(crate) fn advance(tx: &mut Tx, now: Timestamp, listed: bool, task: &Task, journal: &mut Journal) -> bool {
    let observation = machine::observation(tx, &task.id);
    let mut next = task.clone();
    loop {
        let around = Surroundings {
            interface_ready: next.status == TaskStatus::Provisioning
                && neighbours::is_attached(tx, &next.network.interface),
            draining: next.status == TaskStatus::Deactivating && is_draining(tx, &next),
            seen: observation.as_ref().map(|observation| &observation.seen),
            listed,
            now,
        };
        let Some(step) = plan::advance(&mut next, around) else { break };
        match step {
            Step::Keep => {}
            Step::Prepare => prepare(tx, &mut next, now, journal),
            Step::RegisterTargets => register(tx, &mut next, now, journal),
            Step::DeregisterTargets => deregister(tx, &mut next, now, journal),
            Step::DeleteInterface => {
                neighbours::detach(tx, &next.network.interface);
                pileus_security::end_task_credentials(tx, &next.id);
                machine::forget(tx, &next.id);
            }
            Step::Purge => {
                tx.delete::<Task>(&next.id);
                return true;
            }
        }
    }
    let changed = next != *task;
    if changed {
        tx.put(next);
    }
    changed
}

fn is_draining(tx: &Tx, task: &Task) -> bool {
    task.targets
        .iter()
        .any(|target| neighbours::is_draining(tx, &target.target_group, task.network.address, target.port))
}

/// Finds what the task needs before it can start; stops it where something is missing.
fn prepare(tx: &mut Tx, task: &mut Task, now: Timestamp, journal: &mut Journal) {
    match execution::prepare(tx, task, now) {
        Ok(doubt) => {
            keep_images(tx, task);
            if let Some(doubt) = doubt {
                warn(tx, task, &doubt.to_string(), journal);
            }
        }
        Err(reason) => task.request_stop(StopCode::TaskFailedToStart, reason.to_string(), now),
    }
}

/// Tells once for each deployment what would fail on AWS.
fn warn(tx: &mut Tx, task: &Task, doubt: &str, journal: &mut Journal) {
    let (Some(key), Some(membership)) = (service_key(task), &task.service) else { return };
    let untold =
        |service: &Service| service.deployments.iter().any(|it| it.id == membership.deployment && !it.warned);
    if tx.get::<Service>(&key).is_some_and(|service| untold(&service)) {
        tx.update::<Service>(&key, |service| {
            service.deployment_mut(&membership.deployment).into_iter().for_each(|it| it.warned = true);
        });
        journal.warnings.entry(key).or_default().push(doubt.to_owned());
    }
}

/// All tasks of a deployment run the images that its first task found.
fn keep_images(tx: &mut Tx, task: &Task) {
    let Some(membership) = &task.service else { return };
    let key = Revision::key_of(&task.cluster, &membership.service, &membership.deployment);
    let images = task.containers.iter().filter_map(|c| Some((c.name.clone(), c.resolved.clone()?))).collect();
    tx.update::<Revision>(&key, |revision| {
        if revision.images.is_empty() {
            revision.images = images;
        }
    });
}

/// The task runs: it serves, and its deployment's starts are no longer held back.
fn register(tx: &mut Tx, task: &mut Task, now: Timestamp, journal: &mut Journal) {
    let service = service_key(task);
    for target in &mut task.targets {
        let network = &task.network;
        let group = &target.target_group;
        // A target group that has been deleted has nobody to serve.
        if neighbours::register(tx, group, network.address, target.port, &network.zone, now) {
            target.registered = true;
            if let Some(service) = &service {
                *journal.registered.entry((service.clone(), group.clone())).or_default() += 1;
            }
        }
    }
    let (Some(key), Some(membership)) = (service, &task.service) else { return };
    let held = |service: &Service| {
        service.deployments.iter().any(|d| d.id == membership.deployment && d.failed_starts > 0)
    };
    if tx.get::<Service>(&key).is_some_and(|service| held(&service)) {
        tx.update::<Service>(&key, |service| {
            if let Some(deployment) = service.deployment_mut(&membership.deployment) {
                deployment.failed_starts = 0;
                deployment.retry_at = None;
            }
        });
    }
}

fn deregister(tx: &mut Tx, task: &mut Task, now: Timestamp, journal: &mut Journal) {
    let service = service_key(task);
    let mut drains = false;
    for target in task.targets.iter_mut().filter(|target| target.registered) {
        neighbours::deregister(tx, &target.target_group, task.network.address, target.port, now);
        target.registered = false;
        drains = true;
        if let Some(service) = &service {
            *journal.deregistered.entry((service.clone(), target.target_group.clone())).or_default() += 1;
        }
    }
    if let (true, Some(service), Some(membership)) = (drains, service, &task.service) {
        *journal.draining.entry((service, membership.deployment.clone())).or_default() += 1;
    }
}

/// The key of the service that the task belongs to.
pub(crate) fn service_key(task: &Task) -> Option<String> {
    let membership = task.service.as_ref()?;
    Some(Service::key_of(&task.cluster, &membership.service))
}

/// Moves one task on outside of a reconciliation, for an answer that shows what a request has set off.
pub(crate) fn advance_and_tell(tx: &mut Tx, ids: &mut IdGen, now: Timestamp, id: &str) {
    let Some(task) = tx.get::<Task>(id) else { return };
    let mut journal = Journal::default();
    let listed = machine::is_listed(tx);
    advance(tx, now, listed, &task, &mut journal);
    for (service, told) in journal.told() {
        events::tell(tx, ids, now, &service, &told);
    }
}
