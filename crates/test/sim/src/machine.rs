//! A machine without Linux: tasks start after a while, behave as their image says, and stop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use pileus_contract::TaskState;
use pileus_contract::containers::{self, ContainerState, ContainerStatus, Exit};
use pileus_contract::proxy::{Health, UnhealthyReason};
use pileus_core::Timestamp;

/// How the app in an image behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It answers health checks this long after its start.
    Good { ready: Duration },
    /// Its container cannot be created.
    NoStart,
    /// It exits with 1 as soon as it runs.
    Exits,
    /// It runs and never answers.
    Hangs,
    /// It answers, and no longer after this long.
    Sickens { after: Duration },
}

/// What happens on the machine by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happening {
    Started(String),
    NotStarted(String),
    Exited(String, i32),
    Stopped(String),
    Removed(String),
    /// The balancer, and the container's own check where it has one, have looked often enough to tell its health.
    Checked(String, bool),
}

pub(crate) struct FakeTask {
    pub(crate) state: TaskState,
    pub(crate) address: Ipv4Addr,
    /// What the balancer's checks say.
    pub(crate) health: Option<Health>,
}

/// The machine and what is going to happen on it, by time.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) tasks: BTreeMap<String, FakeTask>,
    pub(crate) queue: BTreeSet<(Timestamp, u64, Happening)>,
    /// Tasks that an effect is being carried out for.
    pub(crate) busy: BTreeSet<String>,
    sequence: u64,
}

impl Machine {
    pub(crate) fn schedule(&mut self, at: Timestamp, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence, happening));
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, ..)| *at)
    }

    pub(crate) fn due(&mut self, now: Timestamp) -> Option<Happening> {
        let (at, ..) = self.queue.first()?;
        if *at > now {
            return None;
        }
        self.queue.pop_first().map(|(.., happening)| happening)
    }

    /// The task's processes run from now on.
    pub(crate) fn start(
        &mut self,
        id: &str,
        address: Ipv4Addr,
        behaviour: Behaviour,
        checked: bool,
        now: Timestamp,
    ) {
        let containers = vec![ContainerState {
            name: "web".into(),
            runtime_id: id.to_owned(),
            status: ContainerStatus::Running { since: now, pid: 1 },
            health: checked.then_some(containers::Health::Unknown),
            restarts: 0,
        }];
        let state = TaskState { id: id.to_owned(), containers, ended: false };
        self.tasks.insert(id.to_owned(), FakeTask { state, address, health: None });
        let id = || id.to_owned();
        match behaviour {
            Behaviour::Good { ready } => self.schedule(now + ready, Happening::Checked(id(), true)),
            Behaviour::NoStart => {}
            Behaviour::Exits => {
                self.schedule(now + Duration::from_millis(50), Happening::Exited(id(), 1));
            }
            Behaviour::Hangs => {
                self.schedule(now + Duration::from_secs(60), Happening::Checked(id(), false));
            }
            Behaviour::Sickens { after } => {
                self.schedule(now + Duration::from_secs(5), Happening::Checked(id(), true));
                self.schedule(now + after, Happening::Checked(id(), false));
            }
        }
    }

    /// Ends the task's processes. Whether they lived.
    pub(crate) fn exit(&mut self, id: &str, code: i32, now: Timestamp) -> bool {
        let Some(task) = self.tasks.get_mut(id).filter(|task| !task.state.ended) else { return false };
        task.state.ended = true;
        for container in &mut task.state.containers {
            let exit = Exit { at: now, code: Some(code), out_of_memory: false, reason: None };
            container.status = ContainerStatus::Exited(exit);
        }
        true
    }

    pub(crate) fn check(&mut self, id: &str, healthy: bool) {
        if let Some(task) = self.tasks.get_mut(id) {
            let sick = Health::Unhealthy(UnhealthyReason::Timeout);
            task.health = Some(if healthy { Health::Healthy } else { sick });
            for container in task.state.containers.iter_mut().filter(|it| it.health.is_some()) {
                let said = if healthy { containers::Health::Healthy } else { containers::Health::Unhealthy };
                container.health = Some(said);
            }
        }
    }
}
