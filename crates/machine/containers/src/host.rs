//! What tasks leave on the host, found and removed: by a live engine, by the next one, or after all were killed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pileus_contract::TaskState;
use pileus_contract::containers::{ContainerState, ContainerStatus, Exit};

use crate::cgroup::{self, Cgroups};
use crate::client;
use crate::config::ContainersConfig;
use crate::error::{At, Error, Result};
use crate::shim::{now, save_status};

/// How long a killed shim may take to disappear.
const PATIENCE: Duration = Duration::from_secs(10);

const UNSEEN: &str = "the shim that kept this task was killed, so the end of the container was not seen";

pub(crate) struct Host {
    pub(crate) config: ContainersConfig,
    pub(crate) cgroups: Box<dyn Cgroups>,
}

impl Host {
    pub(crate) fn open(config: ContainersConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config, cgroups: cgroup::detect()? })
    }

    /// Every task that has a directory, files or a cgroup.
    pub(crate) fn tasks(&self) -> Result<BTreeSet<String>> {
        let mut all = cgroup::children(&*self.cgroups, &self.config.cgroup_root());
        for directory in [&self.config.run_dir, &self.config.scratch_root()] {
            all.extend(names(directory)?);
        }
        Ok(all)
    }

    /// What the task's status file says; a task that left none has no containers to tell of.
    pub(crate) fn status(&self, task: &str) -> Result<TaskState> {
        let path = self.config.task_dir(task).status();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from).at("understand", &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(TaskState { id: task.to_owned(), containers: Vec::new(), ended: true })
            }
            Err(error) => Err(error).at("read", &path),
        }
    }

    /// Whether an engine was killed before it had started the task's shim, or the shim before it had made a container:
    /// then nothing has run, nothing is lost with what is there, and the task can be started again.
    pub(crate) fn has_not_begun(&self, task: &str) -> Result<bool> {
        let dir = self.config.task_dir(task);
        if !dir.status().exists() || client::connect(&dir).at("connect to", dir.socket())?.is_some() {
            return Ok(false);
        }
        let state = self.status(task)?;
        let scratch = self.config.scratch_dir(task);
        let untouched = |container: &ContainerState| {
            container.status == ContainerStatus::Created
                && !scratch.join(&container.name).join("log").exists()
        };
        Ok(!state.ended && state.containers.iter().all(untouched))
    }

    /// The final state of a task without a shim. Where the shim was killed, so is the rest of the task.
    pub(crate) fn settle(&self, task: &str) -> Result<TaskState> {
        let mut state = self.status(task)?;
        cgroup::kill_all(&*self.cgroups, &self.config.cgroup(task))?;
        if state.ended {
            return Ok(state);
        }
        for container in &mut state.containers {
            if !matches!(container.status, ContainerStatus::Exited(_)) {
                let exit =
                    Exit { at: now(), code: None, out_of_memory: false, reason: Some(UNSEEN.to_owned()) };
                container.status = ContainerStatus::Exited(exit);
            }
        }
        state.ended = true;
        save_status(&self.config.task_dir(task), &state)?;
        Ok(state)
    }

    /// Kills whatever is left of the task and removes every trace of it.
    pub(crate) fn scrub(&self, task: &str) -> Result<()> {
        self.kill_shim(task)?;
        let group = self.config.cgroup(task);
        cgroup::kill_all(&*self.cgroups, &group)?;
        cgroup::remove(&*self.cgroups, &group)?;
        remove_dir(&self.config.scratch_dir(task))?;
        remove_dir(&self.config.task_dir(task).0)
    }

    /// Kills the task's shim, if it has one, and waits for its end.
    pub(crate) fn kill_shim(&self, task: &str) -> Result<()> {
        let dir = self.config.task_dir(task);
        let deadline = Instant::now() + PATIENCE;
        while let Some(stream) = client::connect(&dir).at("connect to", dir.socket())? {
            let pid = client::shim_pid(&stream).at("find the process behind", dir.socket())?;
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno).at("kill the shim of", &dir.0),
            }
            if Instant::now() > deadline {
                return Err(Error::Shim(format!("(process {pid}) does not die")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Where a task names the layers that it has mounted.
    fn layers_file(&self, task: &str) -> PathBuf {
        self.config.scratch_dir(task).join("layers")
    }

    /// Notes which layers a task is about to mount.
    pub(crate) fn use_layers(&self, task: &str, layers: &BTreeSet<&str>) -> Result<()> {
        let path = self.layers_file(task);
        fs::create_dir_all(self.config.scratch_dir(task)).at("create", self.config.scratch_dir(task))?;
        fs::write(&path, layers.iter().copied().collect::<Vec<_>>().join("\n")).at("write", path)
    }

    /// The layers that any task has mounted.
    pub(crate) fn layers_in_use(&self) -> Result<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for task in names(&self.config.scratch_root())? {
            let path = self.layers_file(&task);
            match fs::read_to_string(&path) {
                Ok(text) => all.extend(text.lines().map(str::to_owned)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("read", path),
            }
        }
        Ok(all)
    }

    /// Removes every task, and what holds them together.
    pub(crate) fn scrub_all(&self) -> Result<()> {
        let results: Vec<Result<()>> = self.tasks()?.iter().map(|task| self.scrub(task)).collect();
        results.into_iter().collect::<Result<()>>()?;
        cgroup::remove(&*self.cgroups, &self.config.cgroup_root())?;
        remove_dir(&self.config.scratch_root())?;
        remove_dir(&self.config.run_dir)
    }
}

/// Removes everything that the engine of this configuration may have left on the host, whatever happened to it: shims,
/// containers, cgroups, files. Images and their layers stay.
///
/// # Errors
/// What could not be removed.
pub fn clean_leftovers(config: &ContainersConfig) -> Result<()> {
    Host::open(config.clone())?.scrub_all()
}

fn names(directory: &Path) -> Result<BTreeSet<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).at("read", directory),
    }
}

fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", path),
    }
}
