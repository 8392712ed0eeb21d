//! Runs the scheduler and the tasks' lives over the state, and carries out what they ask of the machine.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pileus_compute::{Effect, Report, StartFailure, TaskRef};
use pileus_contract::{TaskEvent, TaskSpec};
use pileus_control::{Handle, Loop, Turn};
use pileus_core::Timestamp;

use super::logs::Forwarder;
use crate::api::Engine;

/// Tasks that are being started, stopped or removed at the same time, at most.
const PARALLEL: usize = 16;

/// Between attempts to remove a task from the machine: from the first to the last, twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Tasks {
    engine: Arc<Engine>,
    forwarder: Arc<Forwarder>,
    /// The tasks for which an effect is being carried out.
    busy: Arc<Mutex<BTreeSet<String>>>,
    /// Whether the machine's tasks have been taken into the state.
    adopted: bool,
}

impl Tasks {
    pub(super) fn new(engine: Arc<Engine>, forwarder: Arc<Forwarder>) -> Self {
        Self { engine, forwarder, busy: Arc::default(), adopted: false }
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
            let (engine, forwarder, all_busy) =
                (self.engine.clone(), self.forwarder.clone(), self.busy.clone());
            let run = move || {
                let report = execute(&engine, &forwarder, &effect);
                lock(&all_busy).remove(&task);
                // The report wakes the loop, which then finds what is left to do.
                let taken = engine.transact(|tx, _| {
                    pileus_compute::observe(tx, report);
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
                pileus_compute::adopt(tx, tasks);
                Ok(())
            })?;
            self.adopted = true;
        }
        let outcome = self.engine.transact(|tx, ids| Ok(pileus_compute::reconcile(tx, now, ids)))?;
        self.carry_out(pileus_compute::effects(&self.engine.db.snapshot()));
        Ok(Turn { wake_at: outcome.wake_at })
    }
}

fn execute(engine: &Engine, forwarder: &Forwarder, effect: &Effect) -> Report {
    match effect {
        Effect::Start(task) => start(engine, task).unwrap_or_else(|reason| Report::StartFailed {
            task: task.id.clone(),
            reason: reason.to_string(),
        }),
        Effect::Stop(task) => match engine.machine.containers.stop(task) {
            Ok(()) => Report::StopRequested { task: task.clone() },
            Err(error) => {
                // A shim that lives but cannot be reached will not stop its task: take everything away.
                tracing::warn!(task, %error, "a task could not be stopped in order; it is killed");
                remove(engine, forwarder, task)
            }
        },
        Effect::Remove(task) => remove(engine, forwarder, task),
    }
}

fn start(engine: &Engine, task: &TaskRef) -> Result<Report, StartFailure> {
    let machine = &engine.machine;
    let credentials = engine.task_credentials(task, pileus_compute::credentials)?;
    let state = engine.db.snapshot();
    let secrets = pileus_compute::secrets(&state, task, engine.clock.now())?;
    let namespace = |interface: &str| machine.fabric.namespace(interface);
    let mut spec = pileus_compute::task_spec(&state, task, &namespace, credentials.as_ref(), secrets)?;
    scale_checks(engine, &mut spec);
    for container in &spec.containers {
        let prepared = machine.containers.prepare_image(&container.image);
        prepared.map_err(|error| StartFailure::Image(error.to_string()))?;
    }
    let started = machine.containers.start(&spec);
    started.map(Report::Present).map_err(|error| StartFailure::Resource(error.to_string()))
}

/// Health checks follow the engine's clock; the shim knows the machine's alone.
fn scale_checks(engine: &Engine, spec: &mut TaskSpec) {
    for check in spec.containers.iter_mut().filter_map(|container| container.health_check.as_mut()) {
        check.interval = engine.clock.real(check.interval);
        check.start_period = engine.clock.real(check.start_period);
    }
}

/// Moves the last lines out of the spool, and then everything away.
fn remove(engine: &Engine, forwarder: &Forwarder, task: &str) -> Report {
    let routes = pileus_compute::log_routes(&engine.db.snapshot());
    if let Err(error) = forwarder.forward(routes.iter().filter(|route| route.task.id == task)) {
        tracing::error!(task, %error, "the last lines of a task are lost");
    }
    let mut pause = FIRST_PAUSE;
    while let Err(error) = engine.machine.containers.remove(task) {
        if pause > LAST_PAUSE {
            // The next engine finds what is left of it, and tries again.
            tracing::error!(task, %error, "a task could not be removed from the machine");
            break;
        }
        tracing::warn!(task, %error, "a task could not be removed from the machine yet");
        std::thread::sleep(pause);
        pause *= 2;
    }
    Report::Removed { task: task.to_owned() }
}

/// Takes in the machine's events of tasks, and wakes the loop that forwards logs.
pub(super) fn listen(engine: Arc<Engine>, logs: Handle) {
    let events = engine.machine.containers.events();
    super::follow("task-events", events, move |event| match event {
        TaskEvent::State(state) => {
            let taken = engine.transact(|tx, _| {
                pileus_compute::observe(tx, Report::Present(state));
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
