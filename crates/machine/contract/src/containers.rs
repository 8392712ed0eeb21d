//! Tasks: groups of containers that share a network namespace and a resource limit, each kept by its own shim.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use pileus_core::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

use crate::MachineError;

/// One task, complete: starting it needs nothing else but its image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Unique among all tasks of the engine; letters, digits and hyphens.
    pub id: String,
    /// The network namespace to run in. It exists and has its addresses.
    pub namespace: PathBuf,
    pub hostname: String,
    /// The resolver to write to `/etc/resolv.conf`.
    pub nameserver: Ipv4Addr,
    pub search_domain: String,
    /// CPU share of the whole task, in 1/1024 of a core.
    pub cpu_units: u32,
    /// Memory limit of the whole task.
    pub memory_mib: u32,
    /// What the link-local endpoint (169.254.170.2) serves from the first instruction on: path to JSON text.
    /// [`Containers::serve_metadata`] replaces it.
    pub metadata: BTreeMap<String, Secret>,
    /// Kernel parameters of the network namespace, by dotted name: all begin with `net.`.
    pub sysctls: BTreeMap<String, String>,
    /// The containers see each other's processes.
    pub shared_processes: bool,
    pub containers: Vec<ContainerSpec>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique in its task.
    pub name: String,
    /// Digest (`sha256:…`) of the OCI image manifest in the blob store.
    pub image: String,
    /// Replaces the image's entry point.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Added to the image's environment; wins over it.
    pub environment: BTreeMap<String, String>,
    /// Like `environment`, kept out of every log.
    pub secrets: BTreeMap<String, Secret>,
    pub working_directory: Option<String>,
    /// `uid[:gid]` or names; replaces the image's user.
    pub user: Option<String>,
    /// When it exits, the whole task stops.
    pub essential: bool,
    /// Hard memory limit of this container alone.
    pub memory_mib: Option<u32>,
    pub readonly_rootfs: bool,
    /// From the stop signal to SIGKILL.
    pub stop_timeout: Duration,
    /// What must hold of other containers before it starts. There are no cycles.
    pub depends_on: Vec<Dependency>,
    /// How long the containers that depend on it wait; `None`: for as long as it takes.
    pub start_timeout: Option<Duration>,
    pub health_check: Option<HealthCheck>,
    /// `None`: when it has exited it stays so.
    pub restart: Option<RestartPolicy>,
    pub mounts: Vec<VolumeMount>,
    /// A first process that forwards signals and reaps, with the program as its child.
    pub init: bool,
    /// Capabilities to take away from the default set, as `NET_RAW`; `ALL` takes every one.
    pub drop_capabilities: Vec<String>,
    /// Give it `SYS_PTRACE`.
    pub ptrace: bool,
    /// Resource limits by their name in lower case without `RLIMIT_` (`nofile`): soft and hard.
    pub ulimits: BTreeMap<String, (u64, u64)>,
}

/// What must hold of another container of the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub container: String,
    pub condition: Condition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// It has been started.
    Start,
    /// It has exited.
    Complete,
    /// It has exited with 0.
    Success,
    /// Its health check has succeeded.
    Healthy,
}

/// A command that is run in the container again and again; exit status 0 means healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Program and arguments.
    pub command: Vec<String>,
    /// From the end of one run to the next. Until the first success it is also run earlier; those failures do not
    /// count.
    pub interval: Duration,
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// After the start, failures before the first success do not count for this long.
    pub start_period: Duration,
}

/// Start a container again that has exited, with what it has written to its file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// Exit codes after which it stays exited.
    pub ignored_exit_codes: Vec<i32>,
    /// It must have run for this long.
    pub attempt_period: Duration,
}

/// A directory of the task, empty at its start, that its containers share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Letters, digits and hyphens. The same name is the same directory.
    pub volume: String,
    /// Absolute.
    pub path: String,
    pub read_only: bool,
}

/// What is known of a task that has a shim, or had one that left its status behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    pub id: String,
    pub containers: Vec<ContainerState>,
    /// The shim is gone, and every process of the task with it.
    pub ended: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    pub name: String,
    /// Runtime id, unique on the host.
    pub runtime_id: String,
    pub status: ContainerStatus,
    /// What its health check says; `None` where it has none, or the container does not run.
    #[serde(default)]
    pub health: Option<Health>,
    /// How often it has been started again.
    #[serde(default)]
    pub restarts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    Unknown,
    Healthy,
    Unhealthy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerStatus {
    Created,
    Running { since: Timestamp, pid: i32 },
    Exited(Exit),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub at: Timestamp,
    /// Exit status, or 128 + signal. `None` where the container could not be started or its end was not seen.
    pub code: Option<i32>,
    /// The kernel killed it for want of memory.
    pub out_of_memory: bool,
    /// Why it could not be started, or how its end was missed.
    pub reason: Option<String>,
}

/// Something happened to a task. Events carry the whole state, so a lost or repeated one costs nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskEvent {
    State(TaskState),
    /// The container wrote: [`Containers::logs`] has more. At most one in 100 ms for each container.
    /// What it wrote last may come without one: read its logs once more when it has exited.
    Logs {
        task: String,
        container: String,
    },
}

/// Resources that a task has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskUsage {
    /// CPU time since the task started.
    pub cpu: Duration,
    /// Memory in use now, without the inactive file cache.
    pub memory_bytes: u64,
}

/// A line that a container wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub at: Timestamp,
    pub message: String,
}

/// Runs tasks.
pub trait Containers: Send + Sync {
    /// Makes the image's layers ready to run. Quick when they already are.
    ///
    /// # Errors
    /// The manifest or a blob is missing from the blob store, damaged, or for another platform.
    fn prepare_image(&self, manifest_digest: &str) -> Result<(), MachineError>;

    /// Starts a task: returns when the processes of its containers have been started, or have failed to; those that
    /// wait for others are `Created`. A container that could not be started is `Exited` without a code, with the
    /// reason; where it is essential, or others wait for it in vain, the task ends. A task of this id that already has
    /// a shim is left as it is.
    ///
    /// # Errors
    /// Why the task could not be started; nothing of it is left behind.
    fn start(&self, spec: &TaskSpec) -> Result<TaskState, MachineError>;

    /// Begins the stop sequence: for each container, once none that depends on it runs any more, its stop signal,
    /// `stop_timeout`, SIGKILL. Returns at once; the end comes as an event.
    /// Unknown tasks are no error.
    ///
    /// # Errors
    /// The shim could not be reached though it lives.
    fn stop(&self, task: &str) -> Result<(), MachineError>;

    /// Kills what is left of an ended or lost task and removes its files, mounts and cgroup.
    ///
    /// # Errors
    /// What could not be removed.
    fn remove(&self, task: &str) -> Result<(), MachineError>;

    /// Every task that has left a trace on this machine, as the kernel and the shims tell it.
    ///
    /// # Errors
    /// The task directory could not be read.
    fn list(&self) -> Result<Vec<TaskState>, MachineError>;

    /// The stream of events of all tasks, beginning with the present state of each. A second call ends the first
    /// stream.
    fn events(&self) -> Receiver<TaskEvent>;

    /// # Errors
    /// The task's cgroup is gone.
    fn usage(&self, task: &str) -> Result<TaskUsage, MachineError>;

    /// Lines that the container wrote, from byte `offset` of its spool on, at most `limit` of them, with the offset that
    /// follows. Works while the task runs and until it is removed.
    ///
    /// # Errors
    /// The spool could not be read.
    fn logs(
        &self,
        task: &str,
        container: &str,
        offset: u64,
        limit: usize,
    ) -> Result<(Vec<LogLine>, u64), MachineError>;

    /// Replaces the documents that the task's link-local endpoint (169.254.170.2) serves: path to JSON text.
    ///
    /// # Errors
    /// The task is gone.
    fn serve_metadata(&self, task: &str, documents: &BTreeMap<String, Secret>) -> Result<(), MachineError>;

    /// Stops every task at once and removes every trace of them from the host.
    ///
    /// # Errors
    /// What could not be removed.
    fn teardown(&self) -> Result<(), MachineError>;
}
