//! The task as its shim sees it: what runs, how it ended, and the stop sequence.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use pileus_contract::TaskState;
use pileus_contract::containers::{ContainerState, ContainerStatus, Exit};
use pileus_core::Timestamp;

use super::logs::Output;
use crate::cgroup::Cgroups;
use crate::config::TaskDir;
use crate::error::{At, Result};

pub(super) struct Task {
    pub(super) id: String,
    pub(super) dir: TaskDir,
    pub(super) cgroups: Box<dyn Cgroups>,
    pub(super) containers: Vec<Container>,
    pub(super) stopping: bool,
}

pub(super) struct Container {
    pub(super) name: String,
    pub(super) runtime_id: String,
    /// Its cgroup.
    pub(super) group: String,
    pub(super) essential: bool,
    pub(super) stop_signal: Signal,
    pub(super) stop_timeout: Duration,
    pub(super) status: ContainerStatus,
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
        let exit = Exit { at: now(), code: None, out_of_memory: false, reason: Some(why.into()) };
        self.status = ContainerStatus::Exited(exit);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // Not yet reaped, so the pid is still ours; a zombie takes the signal and no harm.
            let _ = kill(pid, signal);
        }
    }
}

impl Task {
    pub(super) fn state(&self) -> TaskState {
        let container = |container: &Container| ContainerState {
            name: container.name.clone(),
            runtime_id: container.runtime_id.clone(),
            status: container.status.clone(),
        };
        TaskState {
            id: self.id.clone(),
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

    /// Begins the stop sequence of every container, the last one first.
    pub(super) fn stop(&mut self, now: Instant) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        for container in self.containers.iter_mut().rev() {
            container.signal(container.stop_signal);
            container.kill_at = Some(now + container.stop_timeout);
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

    /// When `kill_overdue` has something to do.
    pub(super) fn next_kill(&self) -> Option<Instant> {
        self.containers
            .iter()
            .filter(|container| !container.ended())
            .filter_map(|container| container.kill_at)
            .min()
    }

    /// Takes note of every process that has ended; `true` where a container was among them.
    pub(super) fn reap(&mut self) -> bool {
        let mut changed = false;
        loop {
            let (pid, code) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return changed,
                Ok(_) | Err(_) => continue,
            };
            changed |= self.record_exit(pid, code);
        }
    }

    fn record_exit(&mut self, pid: Pid, code: i32) -> bool {
        let Some(container) = self.containers.iter_mut().find(|container| container.pid() == Some(pid))
        else {
            return false;
        };
        let at = now();
        if let Some(output) = &mut container.output {
            output.drain(at);
        }
        let out_of_memory =
            code == 128 + Signal::SIGKILL as i32 && self.cgroups.oom_kills(&container.group) > 0;
        container.status =
            ContainerStatus::Exited(Exit { at, code: Some(code), out_of_memory, reason: None });
        if container.essential {
            self.stop(Instant::now());
        }
        true
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
