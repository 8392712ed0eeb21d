//! The machine: the implementations of the contract, opened for one engine.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use pileus_containers::{ContainersConfig, LinuxContainers};
use pileus_contract::{BlobStore, Bulk, Containers, Fabric, MachineError, Proxy};
use pileus_fabric::{FabricConfig, LinuxFabric, ResolverClient};
use pileus_proxy::{BalancerClient, BalancerConfig};

use crate::home::{Claim, PATIENCE, POLL};
use crate::{EngineError, Home, pool};

/// The hidden subcommands by which this binary starts its other processes.
pub const SHIM_COMMAND: &str = "shim";
pub const BALANCER_COMMAND: &str = "balancer";
pub const RESOLVER_COMMAND: &str = "resolver";

/// What of the machine can be chosen.
#[derive(Clone, Debug, Default)]
pub struct MachineConfig {
    /// The loopback port for listeners on port 80; `None`: 80, else 8080, else any. 0: any.
    pub edge_port: Option<u16>,
}

pub(crate) struct Machine {
    pub(crate) fabric: Arc<dyn Fabric>,
    pub(crate) resolver: ResolverClient,
    pub(crate) containers: Arc<dyn Containers>,
    pub(crate) proxy: Arc<dyn Proxy>,
    pub(crate) bulk: Bulk,
    /// The bytes of S3's objects.
    pub(crate) objects: Arc<dyn BlobStore>,
}

impl Machine {
    pub(crate) fn open(home: &Home, config: &MachineConfig, time_scale: f64) -> Result<Self, EngineError> {
        let failed =
            |what: &'static str| move |error: String| MachineError::new(format!("open {what}"), error);
        let fabric = LinuxFabric::new(&fabric_config(home))
            .map_err(|error| failed("the networks")(error.to_string()))?;
        let resolver = ResolverClient::start(own_command(RESOLVER_COMMAND)?, &fabric_config(home))?;
        let containers = LinuxContainers::new(containers_config(home)?)
            .map_err(|error| failed("the containers")(error.to_string()))?;
        let edge_ports = config.edge_port.map(|port| (80, port)).into_iter().collect::<BTreeMap<_, _>>();
        let balancer = BalancerConfig { edge_ports, time_scale, ..BalancerConfig::new(home.run()) };
        let proxy = BalancerClient::start(own_command(BALANCER_COMMAND)?, balancer)?;
        Ok(Self {
            fabric: Arc::new(fabric),
            resolver,
            containers: Arc::new(containers),
            proxy: Arc::new(proxy),
            bulk: pileus_bulk::open(&home.bulk())?,
            objects: pileus_bulk::open_objects(&home.bulk().join("objects"))?,
        })
    }
}

fn fabric_config(home: &Home) -> FabricConfig {
    FabricConfig { instance: home.instance().to_owned(), run_dir: home.run() }
}

fn containers_config(home: &Home) -> Result<ContainersConfig, EngineError> {
    Ok(ContainersConfig {
        instance: home.instance().to_owned(),
        blobs: home.bulk().join("blobs"),
        data_dir: home.containers(),
        run_dir: home.run().join("tasks"),
        shim_command: own_command(SHIM_COMMAND)?,
    })
}

/// How to start this binary again as another process. By its path and not by `/proc/self/exe`, so that processes
/// show what they are.
fn own_command(subcommand: &str) -> Result<Vec<String>, EngineError> {
    let binary = std::env::current_exe()?;
    Ok(vec![binary.to_string_lossy().into_owned(), subcommand.to_owned()])
}

/// Ends the balancer, the resolver and all tasks of a home whose engine has ended, and removes every trace of them from
/// the host: processes, namespaces, mounts, cgroups, links, tables, routes and files under `/run`. The state stays.
///
/// The claim keeps an engine that is being started waiting meanwhile.
///
/// # Errors
/// What could not be removed; everything else has been.
pub fn remove_traces(home: &Home, _claim: &Claim) -> Result<(), EngineError> {
    let balancer = pileus_proxy::stop(&BalancerConfig::new(home.run()));
    let unready = end_unready(home);
    let containers = pileus_containers::clean_leftovers(&containers_config(home)?)
        .map_err(|error| MachineError::new("remove the tasks", error));
    let fabric = pileus_fabric::clean(&fabric_config(home));
    balancer.and(containers).and(fabric)?;
    unready?;
    pool::release(home)?;
    match std::fs::remove_dir_all(home.run()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    // What all engines of the host share goes with the last of them: a directory that is not empty stays.
    for shared in [Path::new(pool::CLAIMS), Path::new("/run/pileus")] {
        let _ = std::fs::remove_dir(shared);
    }
    Ok(())
}

/// Kills what an engine had just started when it was killed itself, and what therefore has no socket yet by which the
/// others are found. All are started with a path in the engine's own directory of `/run`.
fn end_unready(home: &Home) -> std::io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while let Some(pid) = process_of(home)? {
        match kill(pid, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
        if Instant::now() > end {
            return Err(std::io::Error::other(format!("process {pid} of the engine survives SIGKILL")));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// A shim, balancer or resolver of this home's engine.
fn process_of(home: &Home) -> std::io::Result<Option<Pid>> {
    let run = home.run();
    let run = run.as_os_str().as_bytes();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Other processes come and go while we look; one that has ended has no words.
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let mut words = line.split(|byte| *byte == 0).skip(1);
        let ours = [SHIM_COMMAND, BALANCER_COMMAND, RESOLVER_COMMAND].map(str::as_bytes);
        if words.next().is_some_and(|word| ours.contains(&word))
            && words.any(|word| word.windows(run.len()).any(|part| part == run))
        {
            return Ok(Some(Pid::from_raw(pid)));
        }
    }
    Ok(None)
}
