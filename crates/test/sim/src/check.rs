//! The invariants that hold after every transaction of every history.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use pileus_balancing::{TargetState, target};
use pileus_compute::{Service, ServiceStatus, StopCode, Task, TaskRef, TaskStatus};
use pileus_core::Timestamp;
use pileus_state::{State, Tx};

/// What was seen so far of a run.
#[derive(Default)]
pub(crate) struct Watch {
    /// The fewest healthy tasks at any time since the mark.
    pub(crate) fewest_healthy: Option<u32>,
}

impl Watch {
    /// Compares two states that follow each other.
    pub(crate) fn look(&mut self, before: &State, after: &State, now: Timestamp) {
        if before.version() == after.version() {
            return;
        }
        for (_, task) in after.all::<Task>() {
            let old = before.all::<Task>().find(|(_, old)| old.id == task.id).map(|(_, old)| old);
            if let Some(old) = old {
                assert!(old.status <= task.status, "{now}: {} went back to {:?}", task.id, task.status);
            }
        }
        addresses_are_unique(after);
        protected_tasks_stay(before, after, now);
        for (scope, service) in after.all::<Service>() {
            if service.status != ServiceStatus::Active {
                continue;
            }
            let (live_before, live) = (live(before, &service), live(after, &service));
            let percent = |value: Option<i64>| u64::try_from(value.unwrap_or(0)).unwrap_or(0);
            let configuration = &service.deployment_configuration;
            let desired = u64::from(service.desired);
            let upper = desired * percent(configuration.maximum_percent) / 100;
            let lower = (desired * percent(configuration.minimum_healthy_percent)).div_ceil(100);
            assert!(
                live.len() as u64 <= upper || live.len() <= live_before.len(),
                "{now}: {} tasks grew beyond the upper bound {upper}",
                live.len()
            );
            let tx = Tx::new(after, scope.clone());
            let healthy = live.iter().filter(|task| is_healthy(&tx, task)).count() as u64;
            let stopped = live_before.iter().filter(|task| {
                let stopped = after.get::<Task>(scope, &task.id).and_then(|task| task.stop.clone());
                stopped.is_some_and(|stop| stop.code == StopCode::ServiceSchedulerInitiated)
                    && is_healthy(&Tx::new(before, scope.clone()), task)
            });
            assert!(
                healthy >= lower || stopped.count() == 0,
                "{now}: a healthy task was stopped though only {healthy} are left of {lower}"
            );
            let fewest = self.fewest_healthy.get_or_insert(u32::MAX);
            *fewest = (*fewest).min(u32::try_from(healthy).unwrap_or(u32::MAX));
        }
    }
}

fn live(state: &State, service: &Service) -> Vec<Arc<Task>> {
    let tasks = state.all::<Task>().map(|(_, task)| task);
    let own = |task: &Arc<Task>| {
        task.service.as_ref().is_some_and(|membership| membership.service == service.name) && task.is_live()
    };
    tasks.filter(own).collect()
}

fn is_healthy(tx: &Tx, task: &Task) -> bool {
    task.status == TaskStatus::Running
        && task.health().is_none_or(|health| health.as_str() == "HEALTHY")
        && task.targets.iter().all(|target| {
            target::health(tx, &target.target_group, task.network.address, target.port)
                .is_ok_and(|view| view.state == TargetState::Healthy)
        })
}

/// A task under protection is not stopped to scale in or to deploy.
fn protected_tasks_stay(before: &State, after: &State, now: Timestamp) {
    for (scope, old) in before.all::<Task>().filter(|(_, task)| task.is_live() && task.is_protected(now)) {
        let active = old.service.as_ref().is_some_and(|membership| {
            let key = Service::key_of(&old.cluster, &membership.service);
            after.get::<Service>(scope, &key).is_some_and(|service| service.status == ServiceStatus::Active)
        });
        let stop = after.get::<Task>(scope, &old.id).and_then(|task| task.stop.clone());
        let scaled = stop.is_some_and(|stop| stop.reason.starts_with("Scaling activity"));
        assert!(!active || !scaled, "{now}: {} was stopped under protection", old.id);
    }
}

/// No two tasks that have not been stopped share an address.
fn addresses_are_unique(state: &State) {
    let mut addresses = BTreeSet::new();
    for (_, task) in state.all::<Task>().filter(|(_, task)| task.status != TaskStatus::Stopped) {
        assert!(addresses.insert(task.network.address), "{} is used twice", task.network.address);
    }
}

/// A task that the machine is told to stop has no connection left to drain.
pub(crate) fn not_draining(state: &State, id: &str) {
    let Some((scope, task)) = state.all::<Task>().find(|(_, task)| task.id == id) else { return };
    // A task that crashed has nothing to drain, whatever its target shows.
    if task.stop.as_ref().is_some_and(|stop| stop.code == StopCode::EssentialContainerExited) {
        return;
    }
    let tx = Tx::new(state, scope.clone());
    for target in &task.targets {
        let view = target::health(&tx, &target.target_group, task.network.address, target.port);
        assert!(
            view.is_ok_and(|view| view.state != TargetState::Draining),
            "{id} is stopped while its connections drain"
        );
    }
}

/// Where a task's record is, and its address.
pub(crate) fn task(state: &State, id: &str) -> Option<(TaskRef, Ipv4Addr)> {
    let (scope, task) = state.all::<Task>().find(|(_, task)| task.id == id)?;
    Some((TaskRef { scope: scope.clone(), id: task.id.clone() }, task.network.address))
}
