//! Tasks on Linux: images unpacked once, containers run through libcontainer, each task kept by its own shim.
//!
//! [`LinuxContainers`] is the engine's side; [`shim_main`] is the process that it starts for each task and finds again
//! after a restart. What both know lies in the task's directory: a socket while the shim lives, and a status file that
//! outlives it. Nothing is mounted on the host; all that a task leaves are two directories and a cgroup.
//!
//! The memory that is reported is the cgroup's usage less its inactive file cache, as on AWS. Page cache is charged to
//! whoever reads a file first, so it says little about one task.

mod bundle;
mod cgroup;
mod client;
mod config;
mod error;
mod host;
mod image;
mod launch;
mod protocol;
mod rooted;
mod runtime_id;
mod shim;
mod spool;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use pileus_contract::containers::{LogLine, TaskUsage};
use pileus_contract::{Containers, MachineError, TaskEvent, TaskSpec, TaskState};
use pileus_core::Secret;

pub use config::ContainersConfig;
pub use error::{Error, Result};
pub use host::clean_leftovers;
pub use image::LayerError;
pub use runtime_id::runtime_id;
pub use shim::shim_main;

use config::{check_name, private_dir};
use error::{At, chain};
use host::Host;
use image::ImageStore;
use protocol::Request;
use watch::Watch;

/// How long the end of a killed shim may take to be noticed.
const PATIENCE: Duration = Duration::from_secs(15);

/// Runs tasks on this machine.
pub struct LinuxContainers {
    host: Arc<Host>,
    images: ImageStore,
    watch: Watch,
    /// Held for writing while layers are removed, for reading from looking them up to noting their use.
    layers: RwLock<()>,
}

impl LinuxContainers {
    /// Opens the directories and adopts the tasks that run; those whose shim has gone are ended, and those
    /// whose start was cut short before anything ran are as if it had never begun.
    ///
    /// # Errors
    /// A directory cannot be used, or the host lacks a cgroup controller.
    pub fn new(config: ContainersConfig) -> Result<Self> {
        let host = Arc::new(Host::open(config)?);
        for directory in [host.config.run_dir.clone(), host.config.scratch_root(), host.config.layers_dir()] {
            private_dir(&directory)?;
        }
        let images = ImageStore::open(host.config.blobs.clone(), host.config.layers_dir())?;
        let watch = Watch::start(Arc::clone(&host))?;
        for task in host.tasks()? {
            if host.has_not_begun(&task)? {
                host.scrub(&task)?;
            } else {
                watch.add(&task, None)?;
            }
        }
        Ok(Self { host, images, watch, layers: RwLock::new(()) })
    }

    /// Removes the unpacked layers of all images but these (manifest digests). Running tasks keep theirs. Returns how
    /// many layers were removed.
    ///
    /// # Errors
    /// An image is not in the blob store, or a layer cannot be removed.
    pub fn remove_unused_layers(&self, images: &BTreeSet<String>) -> Result<usize> {
        let images: Vec<image::Image> =
            images.iter().map(|digest| self.images.load(digest)).collect::<Result<_>>()?;
        let _guard = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        self.images.remove_unused(&images, &self.host.layers_in_use()?)
    }

    fn start_once(&self, spec: &TaskSpec) -> Result<TaskState> {
        launch::validate(spec)?;
        if !self.watch.begin(&spec.id) {
            return Err(Error::invalid("task", format!("{} is being started already", spec.id)));
        }
        let started = match self.watch.is_alive(&spec.id) {
            true => self.host.status(&spec.id),
            false => self.start_new(spec),
        };
        self.watch.finish(&spec.id);
        started
    }

    fn start_new(&self, spec: &TaskSpec) -> Result<TaskState> {
        let dir = self.host.config.task_dir(&spec.id);
        let guard = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let order = launch::order(&self.host, &self.images, spec)?;
        if !launch::reserve(&dir)? {
            return Err(Error::invalid("task", format!("{} has ended; remove it first", spec.id)));
        }
        let started = launch::launch(&self.host, &dir, &order);
        drop(guard);
        let watched =
            started.and_then(|(state, child)| self.watch.add(&spec.id, Some(child)).map(|()| state));
        if watched.is_err()
            && let Err(error) = self.host.scrub(&spec.id)
        {
            tracing::error!(
                task = spec.id,
                error = chain(&error),
                "cannot remove what is left of a failed start"
            );
        }
        watched
    }

    fn list_all(&self) -> Result<Vec<TaskState>> {
        let tasks = self.host.tasks()?;
        let settled = tasks.iter().filter(|task| !self.watch.is_starting(task));
        settled
            .map(
                |task| {
                    if self.watch.is_alive(task) { self.host.status(task) } else { self.host.settle(task) }
                },
            )
            .collect()
    }

    /// `false` where the task has no shim.
    fn order(&self, task: &str, request: &Request) -> Result<bool> {
        check_name("task id", task)?;
        let dir = self.host.config.task_dir(task);
        client::order(&dir, request).at("talk to", dir.socket())
    }

    fn remove_task(&self, task: &str) -> Result<()> {
        check_name("task id", task)?;
        self.host.kill_shim(task)?;
        // The watcher writes the final state when it sees the end; what it writes must not outlast the directory.
        self.watch.wait_gone(task, PATIENCE)?;
        self.host.scrub(task)
    }

    fn remove_all(&self) -> Result<()> {
        let removed: Vec<Result<()>> = self.host.tasks()?.iter().map(|task| self.remove_task(task)).collect();
        removed.into_iter().collect::<Result<()>>()?;
        self.host.scrub_all()
    }
}

impl Containers for LinuxContainers {
    fn prepare_image(&self, manifest_digest: &str) -> std::result::Result<(), MachineError> {
        let prepared = self.images.load(manifest_digest).and_then(|image| self.images.prepare(&image));
        prepared.map_err(|error| error.during(format!("prepare image {manifest_digest}")))
    }

    fn start(&self, spec: &TaskSpec) -> std::result::Result<TaskState, MachineError> {
        self.start_once(spec).map_err(|error| error.during(format!("start task {}", spec.id)))
    }

    fn stop(&self, task: &str) -> std::result::Result<(), MachineError> {
        self.order(task, &Request::Stop).map(drop).map_err(|error| error.during(format!("stop task {task}")))
    }

    fn remove(&self, task: &str) -> std::result::Result<(), MachineError> {
        self.remove_task(task).map_err(|error| error.during(format!("remove task {task}")))
    }

    fn list(&self) -> std::result::Result<Vec<TaskState>, MachineError> {
        self.list_all().map_err(|error| error.during("list tasks"))
    }

    fn events(&self) -> Receiver<TaskEvent> {
        self.watch.events()
    }

    fn usage(&self, task: &str) -> std::result::Result<TaskUsage, MachineError> {
        let usage = check_name("task id", task)
            .and_then(|()| self.host.cgroups.usage(&self.host.config.cgroup(task)));
        usage.map_err(|error| error.during(format!("measure task {task}")))
    }

    fn logs(
        &self,
        task: &str,
        container: &str,
        offset: u64,
        limit: usize,
    ) -> std::result::Result<(Vec<LogLine>, u64), MachineError> {
        let spool = self.host.config.scratch_dir(task).join(container).join("log");
        if !spool.exists() {
            // Not started yet, or removed: nothing has been written that is still there.
            return Ok((Vec::new(), offset));
        }
        check_name("task id", task)
            .and_then(|()| check_name("container name", container))
            .and_then(|()| spool::read(&spool, offset, limit).at("read", &spool))
            .map_err(|error| error.during(format!("read logs of {container} in task {task}")))
    }

    fn serve_metadata(
        &self,
        task: &str,
        documents: &BTreeMap<String, Secret>,
    ) -> std::result::Result<(), MachineError> {
        let served =
            self.order(task, &Request::Metadata(documents.clone())).and_then(|served| match served {
                true => Ok(()),
                false => Err(Error::Shim("is gone".to_owned())),
            });
        served.map_err(|error| error.during(format!("serve metadata to task {task}")))
    }

    fn teardown(&self) -> std::result::Result<(), MachineError> {
        self.remove_all().map_err(|error| error.during("remove all tasks"))
    }
}
