//! One pass of the task and service controllers over the state: pure, and repeated until nothing is left to do.
//!
//! Tasks move on first, then every service is planned with what has become of its tasks; each may give the other
//! something to do. What needs the machine is left to [`crate::machine::effects`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pileus_core::{IdGen, Scope, Timestamp};
use pileus_state::Tx;

use crate::service::record::{Service, ServiceStatus};
use crate::service::{apply, events, observe, plan};
use crate::task::apply::{self as task_apply, Journal};
use crate::task::plan::RETENTION;
use crate::task::record::{Task, TaskStatus};
use crate::task_definition::record::TaskDefinition;
use crate::{machine, task_definition};

/// More rounds than this in one pass are a mistake in a plan; the rest is left to the next pass.
const MAX_ROUNDS: usize = 32;

/// When to look again though nothing changes, and what each service waits for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub wake_at: Option<Timestamp>,
    /// By service ARN.
    pub reasons: BTreeMap<String, Vec<String>>,
    /// There was more to do than one pass takes: call again at once.
    pub unfinished: bool,
}

impl Outcome {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Brings every task and service as far as it goes at `now`.
pub fn reconcile(tx: &mut Tx, now: Timestamp, ids: &mut IdGen) -> Outcome {
    let mut outcome = Outcome::default();
    let listed = machine::is_listed(tx);
    let scopes: BTreeSet<Scope> = {
        let state = tx.base();
        let services = state.all::<Service>().map(|(scope, _)| scope.clone());
        let tasks = state.all::<Task>().map(|(scope, _)| scope.clone());
        let leaving = state.all::<TaskDefinition>().filter(|(_, it)| task_definition::is_being_deleted(it));
        services.chain(tasks).chain(leaving.map(|(scope, _)| scope.clone())).collect()
    };
    for scope in scopes {
        tx.within(scope, |tx| {
            let mut rounds = 0;
            while round(tx, now, ids, listed) {
                rounds += 1;
                if rounds == MAX_ROUNDS {
                    outcome.unfinished = true;
                    outcome.wake(now);
                    break;
                }
            }
            task_definition::purge(tx);
            look_ahead(tx, now, &mut outcome);
        });
    }
    machine::sweep(tx);
    outcome
}

/// One round in one scope; whether it changed anything.
fn round(tx: &mut Tx, now: Timestamp, ids: &mut IdGen, listed: bool) -> bool {
    let mut changed = false;
    let mut journal = Journal::default();
    for task in tx.list::<Task>() {
        changed |= task_apply::advance(tx, now, listed, &task, &mut journal);
    }
    for (service, told) in journal.told() {
        events::tell(tx, ids, now, &service, &told);
    }
    let tasks = tasks_by_service(tx);
    for service in tx.list::<Service>() {
        if service.status == ServiceStatus::Inactive {
            changed |= observe::purge(tx, &service, now);
            continue;
        }
        let view = observe::view(tx, &service, tasks_of(&tasks, &service));
        let plan = plan::plan(&view, now);
        if !plan.actions.is_empty() {
            apply::apply(tx, ids, now, &service, &plan.actions);
            changed = true;
        }
    }
    changed
}

type ByService = BTreeMap<String, Vec<Arc<Task>>>;

fn tasks_by_service(tx: &Tx) -> ByService {
    let mut services = ByService::new();
    for task in tx.list::<Task>() {
        if let Some(key) = task_apply::service_key(&task) {
            services.entry(key).or_default().push(task);
        }
    }
    services
}

fn tasks_of<'a>(tasks: &'a ByService, service: &Service) -> &'a [Arc<Task>] {
    tasks.get(&Service::key_of(&service.cluster, &service.name)).map_or(&[], Vec::as_slice)
}

/// When something becomes due by time alone.
fn look_ahead(tx: &Tx, now: Timestamp, outcome: &mut Outcome) {
    for task in tx.list::<Task>().iter().filter(|task| task.status == TaskStatus::Stopped) {
        outcome.wake(task.stopped_at.map_or(now, |at| at + RETENTION));
    }
    let tasks = tasks_by_service(tx);
    for service in tx.list::<Service>() {
        if let Some(at) = service.inactive_at {
            outcome.wake(at + RETENTION);
            continue;
        }
        let plan = plan::plan(&observe::view(tx, &service, tasks_of(&tasks, &service)), now);
        if let Some(at) = plan.wake_at {
            outcome.wake(at);
        }
        if !plan.reasons.is_empty() {
            outcome.reasons.insert(service.arn(tx.scope()), plan.reasons);
        }
    }
}
