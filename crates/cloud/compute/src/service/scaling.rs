//! What Application Auto Scaling sees of a service and does to it: its desired count.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-auto-scaling.html>

use pileus_state::Tx;

use super::describe::{counts, tasks_of};
use super::record::{Rollout, Service, ServiceStatus};
use super::rollout;

/// The capacity of an active service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    pub desired: u32,
    /// As many tasks run as are desired, and no others are starting.
    pub fulfilled: bool,
    /// A deployment is in progress: AWS does not scale in meanwhile.
    pub deploying: bool,
}

/// The capacity of a service; `None` where there is no active one of this name.
pub fn capacity(tx: &Tx, cluster: &str, service: &str) -> Option<Capacity> {
    let service = tx.get::<Service>(&Service::key_of(cluster, service))?;
    if service.status != ServiceStatus::Active {
        return None;
    }
    let counts = counts(&tasks_of(tx, &service), None);
    Some(Capacity {
        desired: service.desired,
        fulfilled: counts.running == i64::from(service.desired) && counts.pending == 0,
        deploying: service.primary().is_some_and(|primary| primary.rollout == Rollout::InProgress),
    })
}

/// Sets the desired count of an active service, as UpdateService would; false where there is none.
pub fn set_desired_count(tx: &mut Tx, cluster: &str, service: &str, desired: u32) -> bool {
    let known = tx.get::<Service>(&Service::key_of(cluster, service));
    let Some(known) = known.filter(|service| service.status == ServiceStatus::Active) else { return false };
    let mut service = Service::clone(&known);
    rollout::scale(&mut service, desired);
    tx.put(service);
    true
}
