//! Control groups: the limits of a task and of its containers, what they use, and the certain end of all processes.
//!
//! A task is the group `pileus-<instance>/<task>`, with the limits of the whole task; each container is a child of
//! it. Version 1 (also "hybrid") and version 2 of the kernel's interface are supported.

mod v1;
mod v2;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pileus_contract::containers::TaskUsage;

use crate::error::{At, Error, Result};

const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Processes of a task. Enough for any server, far too few for a fork bomb to hurt the host.
pub(crate) const MAX_PIDS: u32 = 1024;

/// How long killed processes may take to disappear.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Period of the CPU quota in microseconds.
const CPU_PERIOD: u64 = 100_000;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// In 1/1024 of a core.
    pub(crate) cpu_units: Option<u32>,
    /// Without swap.
    pub(crate) memory_mib: Option<u32>,
    pub(crate) pids: Option<u32>,
}

impl Limits {
    fn cpu_quota(self) -> Option<u64> {
        self.cpu_units.map(|units| (u64::from(units) * CPU_PERIOD / 1024).max(1000))
    }

    fn memory_bytes(self) -> Option<u64> {
        self.memory_mib.map(|mib| u64::from(mib) << 20)
    }
}

/// One version of the kernel's interface. A group is a path relative to the root of the hierarchy.
pub(crate) trait Cgroups: Send + Sync {
    /// Makes a group and sets its limits.
    fn create(&self, group: &str, limits: Limits) -> Result<()>;

    fn usage(&self, group: &str) -> Result<TaskUsage>;

    /// How many processes of this group the kernel has killed for want of memory.
    fn oom_kills(&self, group: &str) -> u64;

    /// What a container should see of its own group: the directory, and where it is shown.
    fn views(&self, group: &str) -> Vec<(PathBuf, PathBuf)>;

    /// The group's directory in every hierarchy.
    fn directories(&self, group: &str) -> Vec<PathBuf>;
}

/// The interface that this host has.
pub(crate) fn detect() -> Result<Box<dyn Cgroups>> {
    if Path::new(CGROUP_ROOT).join("cgroup.controllers").exists() {
        return Ok(Box::new(v2::V2::open(PathBuf::from(CGROUP_ROOT))?));
    }
    let path = "/proc/self/mountinfo";
    Ok(Box::new(v1::V1::from_mountinfo(&fs::read_to_string(path).at("read", path)?)?))
}

/// Kills every process in the group and below, and waits until none is left.
pub(crate) fn kill_all(cgroups: &dyn Cgroups, group: &str) -> Result<()> {
    let deadline = Instant::now() + KILL_PATIENCE;
    loop {
        let pids = processes(cgroups, group)?;
        if pids.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::Cgroup(format!("processes {pids:?} of {group} do not die")));
        }
        for pid in pids {
            // Gone meanwhile: so much the better.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        sleep(Duration::from_millis(1));
    }
}

/// Removes the group and those below. The processes in it must be gone.
pub(crate) fn remove(cgroups: &dyn Cgroups, group: &str) -> Result<()> {
    let deadline = Instant::now() + KILL_PATIENCE;
    for directory in cgroups.directories(group) {
        // The kernel lets go of a dead process's group a moment after the process.
        while let Err(error) = remove_tree(&directory) {
            if error.kind() != io::ErrorKind::ResourceBusy || Instant::now() > deadline {
                return Err(error).at("remove", &directory);
            }
            sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

/// The names of the groups right below.
pub(crate) fn children(cgroups: &dyn Cgroups, group: &str) -> BTreeSet<String> {
    let directories = cgroups.directories(group).into_iter().filter_map(|path| fs::read_dir(path).ok());
    let entries = directories.flatten().flatten().filter(|entry| entry.path().is_dir());
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn processes(cgroups: &dyn Cgroups, group: &str) -> Result<BTreeSet<i32>> {
    let mut pids = BTreeSet::new();
    let mut pending = cgroups.directories(group);
    while let Some(directory) = pending.pop() {
        let path = directory.join("cgroup.procs");
        match fs::read_to_string(&path) {
            Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
            Err(error) if gone(&error) => continue,
            Err(error) => return Err(error).at("read", path),
        }
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        pending.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    Ok(pids)
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        remove_tree(&path)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if gone(&error) => Ok(()),
        other => other,
    }
}

/// A group that is being removed answers ENODEV.
fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ENODEV)
}

fn write(directory: &Path, file: &str, value: impl ToString) -> Result<()> {
    let path = directory.join(file);
    fs::write(&path, value.to_string()).at("write", path)
}

fn read_number(path: &Path) -> Result<u64> {
    let text = fs::read_to_string(path).at("read", path)?;
    text.trim().parse().map_err(|_| Error::Cgroup(format!("{} is not a number: {text:?}", path.display())))
}

/// The value of a line `key value` in a file of such lines; 0 where it has none.
fn read_field(path: &Path, key: &str) -> Result<u64> {
    let text = fs::read_to_string(path).at("read", path)?;
    let value = text.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == key);
    Ok(value.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0))
}
