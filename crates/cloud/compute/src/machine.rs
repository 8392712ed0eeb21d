//! What the machine is to do for tasks, and what it has said of them.
//!
//! What to do follows from the state alone: an effect is wanted until the machine has reported it done, so a lost or
//! repeated one does no harm. Whoever carries effects out runs at most one at a time for each task. Reports are
//! volatile: after a start the engine asks the machine for all its tasks, and only then is a task that the machine does
//! not have known to be lost.

use pileus_contract::TaskState;
use pileus_core::Scope;
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use crate::task::record::{Task, TaskStatus};

/// A task and where its record is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskRef {
    pub scope: Scope,
    pub id: String,
}

/// Work for the machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Make its images ready and start it. Then report `Present` or `StartFailed`.
    Start(TaskRef),
    /// Begin its stop sequence. Then report `StopRequested`.
    Stop(String),
    /// Remove every trace of it, whatever it does. Then report `Removed`.
    Remove(String),
}

impl Effect {
    /// The task that it is for.
    pub fn task(&self) -> &str {
        match self {
            Self::Start(task) => &task.id,
            Self::Stop(id) | Self::Remove(id) => id,
        }
    }
}

/// What the machine reports of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    Present(TaskState),
    /// It could not be started and nothing of it is left. The reason is shown to the user as it is.
    StartFailed {
        task: String,
        reason: String,
    },
    StopRequested {
        task: String,
    },
    Removed {
        task: String,
    },
}

/// The last that was heard of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Seen {
    Present(TaskState),
    StartFailed(String),
    Gone,
}

/// What is known of a task on the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskObservation {
    pub task: String,
    pub seen: Seen,
    /// Its stop sequence has begun.
    pub stop_requested: bool,
}

impl Record for TaskObservation {
    const KIND: &'static str = "ecs/task-observation";
    const DURABLE: bool = false;

    fn key(&self) -> String {
        self.task.clone()
    }
}

/// The machine has told of every task that it has since the engine started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineListed {}

impl Record for MachineListed {
    const KIND: &'static str = "ecs/machine-listed";
    const DURABLE: bool = false;

    fn key(&self) -> String {
        "machine".into()
    }
}

/// The machine knows no accounts: what it says has a scope of its own.
fn machine_scope() -> Scope {
    Scope::new("machine", "local")
}

/// Takes a report in. The caller commits and then runs `reconcile`.
pub fn observe(tx: &mut Tx, report: Report) {
    tx.within(machine_scope(), |tx| match report {
        Report::Present(state) => see(tx, state.id.clone(), Seen::Present(state)),
        Report::StartFailed { task, reason } => see(tx, task, Seen::StartFailed(reason)),
        Report::Removed { task } => see(tx, task, Seen::Gone),
        Report::StopRequested { task } => {
            tx.update::<TaskObservation>(&task, |known| known.stop_requested = true);
        }
    });
}

fn see(tx: &mut Tx, task: String, seen: Seen) {
    let stop_requested = tx.get::<TaskObservation>(&task).is_some_and(|known| known.stop_requested);
    tx.put(TaskObservation { task, seen, stop_requested });
}

/// Takes in every task that the machine has, once after the engine's start, before effects are carried out.
pub fn adopt(tx: &mut Tx, tasks: Vec<TaskState>) {
    for state in tasks {
        observe(tx, Report::Present(state));
    }
    tx.within(machine_scope(), |tx| tx.put(MachineListed {}));
}

/// What the machine has to do now. Nothing until it has been asked what it has.
pub fn effects(state: &State) -> Vec<Effect> {
    let scope = machine_scope();
    if state.get::<MachineListed>(&scope, "machine").is_none() {
        return Vec::new();
    }
    let mut effects = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for (task_scope, task) in state.all::<Task>().filter(|(_, task)| task.status != TaskStatus::Stopped) {
        let observation = state.get::<TaskObservation>(&scope, &task.id);
        let task_ref = TaskRef { scope: task_scope.clone(), id: task.id.clone() };
        effects.extend(effect(task_ref, &task, observation.as_deref()));
        known.insert(task.id.clone());
    }
    for orphan in state.list::<TaskObservation>(&scope).filter(|orphan| !known.contains(&orphan.task)) {
        if matches!(orphan.seen, Seen::Present(_)) {
            effects.push(Effect::Remove(orphan.task.clone()));
        }
    }
    effects
}

fn effect(task_ref: TaskRef, task: &Task, observation: Option<&TaskObservation>) -> Option<Effect> {
    let seen = observation.map(|observation| &observation.seen);
    match (task.status, seen) {
        (TaskStatus::Pending, None) if task.stop.is_none() => Some(Effect::Start(task_ref)),
        (TaskStatus::Stopping, Some(Seen::Present(state))) if !state.ended => {
            let asked = observation.is_some_and(|observation| observation.stop_requested);
            (!asked).then_some(Effect::Stop(task_ref.id))
        }
        (TaskStatus::Deprovisioning, seen) if seen != Some(&Seen::Gone) => Some(Effect::Remove(task_ref.id)),
        _ => None,
    }
}

/// The last that was heard of a task, for the plan of its life.
pub(crate) fn observation(tx: &mut Tx, task: &str) -> Option<std::sync::Arc<TaskObservation>> {
    tx.within(machine_scope(), |tx| tx.get::<TaskObservation>(task))
}

pub(crate) fn is_listed(tx: &mut Tx) -> bool {
    tx.within(machine_scope(), |tx| tx.get::<MachineListed>("machine").is_some())
}

/// Forgets what was seen of tasks that are no more, once the machine has removed them.
pub(crate) fn forget(tx: &mut Tx, task: &str) {
    tx.within(machine_scope(), |tx| tx.delete::<TaskObservation>(task));
}

/// Forgets removed tasks that no record speaks of.
pub(crate) fn sweep(tx: &mut Tx) {
    let gone: Vec<String> = tx.within(machine_scope(), |tx| {
        let observations = tx.list::<TaskObservation>();
        let gone = observations.iter().filter(|observation| observation.seen == Seen::Gone);
        gone.map(|observation| observation.task.clone()).collect()
    });
    if gone.is_empty() {
        return;
    }
    let state = tx.base();
    let waiting =
        |id: &str| state.all::<Task>().any(|(_, task)| task.id == id && task.status != TaskStatus::Stopped);
    for task in gone.iter().filter(|task| !waiting(task)) {
        forget(tx, task);
    }
}
