//! The task as its shim sees it: what runs, what waits, how it ended, and the stop sequence.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use libcontainer::container::Container as RuntimeContainer;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use pileus_contract::containers::{ContainerState, ContainerStatus, Exit, Health};
use pileus_contract::{ContainerSpec, TaskState};
use pileus_core::Timestamp;

use super::container;
use super::health::Checker;
use super::logs::Output;
use super::order::{Neighbour, Readiness, readiness};
use super::probe;
use super::start::complain;
use crate::bundle::Process;
use crate::cgroup::{self, Cgroups};
use crate::config::TaskDir;
use crate::error::{At, Error, Result, chain};
use crate::protocol::Launch;

pub(super) struct Task {
    pub(super) dir: TaskDir,
    pub(super) cgroups: Box<dyn Cgroups>,
    /// Kept for containers that are started again.
    pub(super) launch: Launch,
    /// The process namespace, where the containers share one.
    pub(super) processes: Option<PathBuf>,
    pub(super) containers: Vec<Container>,
    pub(super) stopping: bool,
}

pub(super) struct Container {
    pub(super) spec: ContainerSpec,
    pub(super) runtime_id: String,
    /// Its cgroup.
    pub(super) group: String,
    pub(super) stop_signal: Signal,
    pub(super) status: ContainerStatus,
    /// Created, and not yet started.
    pub(super) waiting: Option<RuntimeContainer>,
    /// What it executes; present once it has been created.
    pub(super) process: Option<Process>,
    /// While it runs, where it has a health check.
    pub(super) checker: Option<Checker>,
    /// When it was last started.
    pub(super) started: Option<Instant>,
    pub(super) restarts: u32,
    pub(super) told_to_stop: bool,
    /// When SIGKILL follows the stop signal.
    pub(super) kill_at: Option<Instant>,
    /// Present once the container has been created.
    pub(super) output: Option<Output>,
}

impl Container {
    pub(super) fn ended(&self) -> bool {
        matches!(self.status, ContainerStatus::Exited(_))
    }

    fn pid(&self) -> Option<Pid> {
        match self.status {
            ContainerStatus::Running { pid, .. } => Some(Pid::from_raw(pid)),
            ContainerStatus::Created | ContainerStatus::Exited(_) => None,
        }
    }

    pub(super) fn never_started(&mut self, why: impl Into<String>) {
        // Its first process, if there is one, waits in vain.
        if let Some(pid) = self.waiting.take().and_then(|runtime| runtime.state.pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let exit = Exit { at: now(), code: None, out_of_memory: false, reason: Some(why.into()) };
        self.status = ContainerStatus::Exited(exit);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // Not yet reaped, so the pid is still ours; a zombie takes the signal and no harm.
            let _ = kill(pid, signal);
        }
    }

    fn start(&mut self, at: Instant) {
        let Some(mut runtime) = self.waiting.take() else { return };
        let pid = runtime.state.pid;
        match (runtime.start(), pid) {
            (Ok(()), Some(pid)) => {
                self.status = ContainerStatus::Running { since: now(), pid };
                self.started = Some(at);
                self.checker = self.spec.health_check.clone().map(|check| Checker::new(check, at));
            }
            (Ok(()), None) => self.never_started("the runtime tells no process id"),
            (Err(error), _) => self.never_started(chain(&error)),
        }
    }

    fn as_neighbour(&self) -> Neighbour<'_> {
        Neighbour {
            name: &self.spec.name,
            status: &self.status,
            health: self.health(),
            started: self.started,
            start_timeout: self.spec.start_timeout,
        }
    }

    fn health(&self) -> Option<Health> {
        self.checker.as_ref().map(|checker| checker.health)
    }

    /// Whether it is to be started again after it has exited with `code`.
    fn restarts_after(&self, code: i32, at: Instant) -> bool {
        let Some(policy) = &self.spec.restart else { return false };
        let long_enough = self.started.is_some_and(|started| started + policy.attempt_period <= at);
        long_enough && !policy.ignored_exit_codes.contains(&code)
    }
}

impl Task {
    pub(super) fn state(&self) -> TaskState {
        let container = |container: &Container| ContainerState {
            name: container.spec.name.clone(),
            runtime_id: container.runtime_id.clone(),
            status: container.status.clone(),
            health: container.health(),
            restarts: container.restarts,
        };
        TaskState {
            id: self.launch.task.id.clone(),
            containers: self.containers.iter().map(container).collect(),
            ended: self.ended(),
        }
    }

    pub(super) fn ended(&self) -> bool {
        self.containers.iter().all(Container::ended)
    }

    pub(super) fn save(&self) -> Result<()> {
        save_status(&self.dir, &self.state())
    }

    fn readiness(&self, index: usize, at: Instant) -> Readiness {
        let all: Vec<Neighbour> = self.containers.iter().map(Container::as_neighbour).collect();
        let spec = &self.containers[index].spec;
        readiness(&spec.name, &spec.depends_on, &all, at)
    }

    /// Starts what is ready, and gives up what will never be; whether anything changed.
    pub(super) fn start_ready(&mut self, at: Instant) -> bool {
        let mut changed = false;
        while let Some((index, ready)) = (0..self.containers.len())
            .filter(|index| self.containers[*index].waiting.is_some())
            .map(|index| (index, self.readiness(index, at)))
            .find(|(_, ready)| !matches!(ready, Readiness::Wait(_)))
        {
            changed = true;
            let container = &mut self.containers[index];
            match ready {
                Readiness::Never(why) => container.never_started(why),
                _ => container.start(at),
            }
            if container.spec.essential && container.ended() {
                self.stop(at);
            }
        }
        changed
    }

    /// Does what is due: starts containers whose time has come, and runs health checks. Whether the state changed.
    pub(super) fn advance(&mut self, at: Instant) -> bool {
        if self.stopping {
            return false;
        }
        let changed = self.start_ready(at);
        for container in &self.containers {
            if let Some(late) = container.checker.as_ref().and_then(|checker| checker.overdue(at)) {
                let _ = kill(late, Signal::SIGKILL);
            }
        }
        for index in 0..self.containers.len() {
            let container = &self.containers[index];
            let command = container.checker.as_ref().and_then(|checker| checker.command_due(at));
            let Some(begun) = command.map(|command| probe::run(self, container, command)) else { continue };
            let Some(checker) = self.containers[index].checker.as_mut() else { continue };
            match begun {
                Ok(pid) => checker.begin(pid, at),
                Err(errno) => {
                    let why = format!("cannot be checked: {errno}");
                    complain(&Error::container(&self.containers[index].spec.name, why));
                    if let Some(checker) = self.containers[index].checker.as_mut() {
                        checker.record(false, at);
                    }
                }
            }
        }
        changed
    }

    /// When [`Self::advance`] or [`Self::kill_overdue`] has something to do.
    pub(super) fn due(&self, at: Instant) -> Option<Instant> {
        let live = self.containers.iter().enumerate().filter(|(_, container)| !container.ended());
        let times = live.flat_map(|(index, container)| {
            let start = match container.waiting.is_some().then(|| self.readiness(index, at)) {
                Some(Readiness::Wait(until)) => until,
                Some(_) => Some(at),
                None => None,
            };
            let check = container.checker.as_ref().map(Checker::next);
            let begin = start.into_iter().chain(check).filter(|_| !self.stopping);
            begin.chain(container.kill_at).collect::<Vec<_>>()
        });
        times.min()
    }

    /// Begins the stop sequence: every container that no running one depends on gets its signal now, the last one
    /// first; the others when that is so.
    pub(super) fn stop(&mut self, at: Instant) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        for container in self.containers.iter_mut().filter(|container| container.waiting.is_some()) {
            container.never_started("the task was stopped before its dependencies were met");
        }
        self.stop_next(at);
    }

    fn stop_next(&mut self, at: Instant) {
        let needed = |name: &str| {
            let mut running = self.containers.iter().filter(|container| container.pid().is_some());
            running.any(|it| it.spec.depends_on.iter().any(|dependency| dependency.container == name))
        };
        let free: Vec<bool> = self.containers.iter().map(|it| !needed(&it.spec.name)).collect();
        for (container, free) in self.containers.iter_mut().zip(free).rev() {
            if free && container.pid().is_some() && !std::mem::replace(&mut container.told_to_stop, true) {
                container.signal(container.stop_signal);
                container.kill_at = Some(at + container.spec.stop_timeout);
            }
        }
    }

    /// Kills the containers whose time to stop is over. The death of a container's first process is that of all.
    pub(super) fn kill_overdue(&mut self, now: Instant) {
        for container in &mut self.containers {
            if container.kill_at.is_some_and(|at| at <= now) {
                container.kill_at = None;
                container.signal(Signal::SIGKILL);
            }
        }
    }

    pub(super) fn kill(&self) {
        for container in &self.containers {
            container.signal(Signal::SIGKILL);
        }
    }

    /// Takes note of every process that has ended; `true` where the state has changed.
    pub(super) fn reap(&mut self) -> bool {
        let mut changed = false;
        loop {
            let (pid, code) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return changed,
                Ok(_) | Err(_) => continue,
            };
            changed |= self.record_check(pid, code) || self.record_exit(pid, code);
        }
    }

    fn record_check(&mut self, pid: Pid, code: i32) -> bool {
        let mut checkers = self.containers.iter_mut().filter_map(|container| container.checker.as_mut());
        let checker = checkers.find(|checker| checker.process() == Some(pid));
        checker.is_some_and(|checker| checker.record(code == 0, Instant::now()))
    }

    fn record_exit(&mut self, pid: Pid, code: i32) -> bool {
        let Some(index) = self.containers.iter().position(|container| container.pid() == Some(pid)) else {
            return false;
        };
        let (at, group) = (now(), self.containers[index].group.clone());
        if self.processes.is_some()
            && let Err(error) = cgroup::kill_all(&*self.cgroups, &group)
        {
            // Elsewhere the death of the first process is that of all.
            complain(&error);
        }
        let container = &mut self.containers[index];
        if let Some(output) = &mut container.output {
            output.drain(at);
        }
        container.checker = None;
        let out_of_memory = code == 128 + Signal::SIGKILL as i32 && self.cgroups.oom_kills(&group) > 0;
        container.status =
            ContainerStatus::Exited(Exit { at, code: Some(code), out_of_memory, reason: None });
        let moment = Instant::now();
        if !self.stopping && container.restarts_after(code, moment) {
            match self.restart(index, moment) {
                Ok(()) => return true,
                Err(error) => complain(&error),
            }
        }
        if self.containers[index].spec.essential {
            self.stop(moment);
        }
        if self.stopping {
            self.stop_next(moment);
        }
        true
    }

    /// Starts a container again that has exited.
    fn restart(&mut self, index: usize, at: Instant) -> Result<()> {
        container::forget(self, index)?;
        let Some(output) = self.containers[index].output.as_mut() else {
            return Err(Error::container(&self.containers[index].spec.name, "it has no output to write to"));
        };
        let ends = output.reopen().at("make pipes for", &self.dir.0)?;
        let (runtime, process) = container::create(self, index, ends)?;
        let container = &mut self.containers[index];
        (container.waiting, container.process) = (Some(runtime), Some(process));
        container.status = ContainerStatus::Created;
        container.restarts += 1;
        container.start(at);
        Ok(())
    }
}

/// The wall clock: exits and log lines carry its time.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Replaces the status file; a reader sees the old one or the new one.
pub(crate) fn save_status(dir: &TaskDir, state: &TaskState) -> Result<()> {
    let path = dir.status();
    let partial = path.with_extension("partial");
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        fs::rename(&partial, &path)
    };
    write().at("write", &path)
}
