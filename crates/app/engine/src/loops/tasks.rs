//! Runs the scheduler and the tasks' lives over the state, and carries out what they ask of the machine.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use pileus_compute::machine::{Effect, Report, TaskRef};
use pileus_contract::TaskEvent;
use pileus_control::{Handle, Loop, Turn};
use pileus_core::Timestamp;

use crate::api::Engine;

/// Tasks that are being started, stopped or removed at the same time, at most.
const PARALLEL: usize = 16;

pub(super) struct Tasks {
    engine: Arc<Engine>,
    /// The tasks for which an effect is being carried out.
    busy: Arc<Mutex<BTreeSet<String>>>,
    /// Whether the machine's tasks have been taken into the state.
    adopted: bool,
}

impl Tasks {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, busy: Arc::default(), adopted: false }
    }

    /// Starts the effects of tasks that nothing is being done for.
    fn carry_out(&self, effects: Vec<Effect>) {
        for effect in effects {
            let task = effect.task().to_owned();
            let mut busy = lock(&self.busy);
            if busy.len() >= PARALLEL || !busy.insert(task.clone()) {
                continue;
            }
            drop(busy);
            let (engine, all_busy) = (self.engine.clone(), self.busy.clone());
            let run = move || {
                let report = execute(&engine, &effect);
                lock(&all_busy).remove(&task);
                // The report wakes the loop, which then finds what is left to do.
                let taken = engine.transact(|tx, _| {
                    pileus_compute::machine::observe(tx, report);
                    Ok(())
                });
                if let Err(error) = taken {
                    tracing::error!(%error, task, "a report on a task could not be taken in");
                }
            };
            tokio::task::spawn_blocking(run);
        }
    }
}

impl Loop for Tasks {
    fn name(&self) -> &'static str {
        "tasks"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        if !self.adopted {
            let tasks = self.engine.machine.containers.list().map_err(|error| error.to_string())?;
            self.engine.transact(|tx, _| {
                pileus_compute::machine::adopt(tx, tasks);
                Ok(())
            })?;
            self.adopted = true;
        }
        let outcome = self.engine.transact(|tx, ids| Ok(pileus_compute::reconcile(tx, now, ids)))?;
        self.carry_out(pileus_compute::machine::effects(&self.engine.db.snapshot()));
        Ok(Turn { wake_at: outcome.wake_at })
    }
}

fn execute(engine: &Engine, effect: &Effect) -> Report {
    let containers = &engine.machine.containers;
    match effect {
        Effect::Start(task) => start(engine, task),
        Effect::Stop(task) => match containers.stop(task) {
            Ok(()) => Report::StopRequested { task: task.clone() },
            Err(error) => {
                // A shim that lives but cannot be reached will not stop its task: take everything away.
                tracing::warn!(task, %error, "a task could not be stopped in order; it is killed");
                remove(engine, task)
            }
        },
        Effect::Remove(task) => remove(engine, task),
    }
}

fn start(engine: &Engine, task: &TaskRef) -> Report {
    let failed = |reason: String| Report::StartFailed { task: task.id.clone(), reason };
    let namespace = |interface: &str| engine.machine.fabric.namespace(interface);
    let credentials = |tx: &mut pileus_state::Tx, role: &str| engine.task_credentials(tx, role, &task.id);
    let launch = engine.transact(|tx, _| {
        Ok(pileus_compute::launch(tx, task, &namespace, &credentials, engine.clock.now()))
    });
    let spec = match launch {
        Ok(Ok(spec)) => spec,
        Ok(Err(reason)) | Err(reason) => return failed(reason),
    };
    let containers = &engine.machine.containers;
    for container in &spec.containers {
        if let Err(error) = containers.prepare_image(&container.image) {
            return failed(format!("CannotPullContainerError: {error}"));
        }
    }
    match containers.start(&spec) {
        Ok(state) => Report::Present(state),
        Err(error) => failed(format!("ResourceInitializationError: {error}")),
    }
}

fn remove(engine: &Engine, task: &str) -> Report {
    match engine.machine.containers.remove(task) {
        Ok(()) => Report::Removed { task: task.to_owned() },
        Err(error) => {
            tracing::warn!(task, %error, "a task could not be removed from the machine; it is tried again at the next start");
            Report::Removed { task: task.to_owned() }
        }
    }
}

/// Takes in the machine's events of tasks, and wakes the loop that forwards logs.
pub(super) fn listen(engine: Arc<Engine>, logs: Handle) {
    let events = engine.machine.containers.events();
    super::follow("task-events", events, move |event| match event {
        TaskEvent::State(state) => {
            let taken = engine.transact(|tx, _| {
                pileus_compute::machine::observe(tx, Report::Present(state));
                Ok(())
            });
            if let Err(error) = taken {
                tracing::error!(%error, "an event of a task could not be taken in");
            }
            // Its last lines may come without an event of their own.
            logs.poke();
        }
        TaskEvent::Logs { .. } => logs.poke(),
    });
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
