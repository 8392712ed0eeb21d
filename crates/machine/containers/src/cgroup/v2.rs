//! Control groups, version 2: one hierarchy; a controller works in a group when its parent hands it down.
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pileus_contract::containers::TaskUsage;

use super::{CPU_PERIOD, Cgroups, Limits, read_field, read_number, write};
use crate::error::{At, Error, Result};

const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

pub(super) struct V2 {
    root: PathBuf,
}

impl V2 {
    pub(super) fn open(root: PathBuf) -> Result<Self> {
        let path = root.join("cgroup.controllers");
        let available = fs::read_to_string(&path).at("read", &path)?;
        for needed in CONTROLLERS {
            if !available.split_whitespace().any(|name| name == needed) {
                return Err(Error::Cgroup(format!(
                    "{} does not offer the {needed} controller; run on the host, or in a container with \
                     --cgroupns=host --privileged",
                    root.display()
                )));
            }
        }
        Ok(Self { root })
    }

    /// Hands the controllers down to the children of `directory`.
    fn delegate(directory: &Path) -> Result<()> {
        let path = directory.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(&path).unwrap_or_default();
        if CONTROLLERS.iter().all(|name| enabled.split_whitespace().any(|other| other == *name)) {
            return Ok(());
        }
        fs::write(&path, "+cpu +memory +pids").at("enable the cpu, memory and pids controllers in", path)
    }
}

impl Cgroups for V2 {
    fn create(&self, group: &str, limits: Limits) -> Result<()> {
        let mut directory = self.root.clone();
        for name in group.split('/') {
            Self::delegate(&directory)?;
            directory.push(name);
            fs::create_dir_all(&directory).at("create", &directory)?;
        }
        if let Some(quota) = limits.cpu_quota() {
            write(&directory, "cpu.max", format!("{quota} {CPU_PERIOD}"))?;
        }
        if let Some(bytes) = limits.memory_bytes() {
            write(&directory, "memory.max", bytes)?;
            // Absent where the kernel has no swap.
            if directory.join("memory.swap.max").exists() {
                write(&directory, "memory.swap.max", 0)?;
            }
        }
        if let Some(pids) = limits.pids {
            write(&directory, "pids.max", pids)?;
        }
        Ok(())
    }

    fn usage(&self, group: &str) -> Result<TaskUsage> {
        let directory = self.root.join(group);
        let used = read_number(&directory.join("memory.current"))?;
        let inactive = read_field(&directory.join("memory.stat"), "inactive_file")?;
        let cpu = read_field(&directory.join("cpu.stat"), "usage_usec")?;
        Ok(TaskUsage { cpu: Duration::from_micros(cpu), memory_bytes: used.saturating_sub(inactive) })
    }

    fn oom_kills(&self, group: &str) -> u64 {
        read_field(&self.root.join(group).join("memory.events"), "oom_kill").unwrap_or(0)
    }

    fn views(&self, group: &str) -> Vec<(PathBuf, PathBuf)> {
        vec![(self.root.join(group), PathBuf::from("/sys/fs/cgroup"))]
    }

    fn directories(&self, group: &str) -> Vec<PathBuf> {
        vec![self.root.join(group)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_usage_in_the_files_of_version_2() {
        let root = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| fs::write(root.path().join(file), text).unwrap();
        put("cgroup.controllers", "cpuset cpu io memory pids\n");
        let cgroups = V2::open(root.path().to_owned()).unwrap();
        let limits = Limits { cpu_units: Some(256), memory_mib: Some(512), pids: Some(7) };
        cgroups.create("pileus-x/task", limits).unwrap();
        let read = |file: &str| fs::read_to_string(root.path().join("pileus-x/task").join(file)).unwrap();
        assert_eq!(read("cpu.max"), "25000 100000");
        assert_eq!(read("memory.max"), (512 << 20).to_string());
        assert_eq!(read("pids.max"), "7");
        let handed_down = fs::read_to_string(root.path().join("pileus-x/cgroup.subtree_control")).unwrap();
        assert_eq!(handed_down, "+cpu +memory +pids");

        put("pileus-x/task/memory.current", "5000\n");
        put("pileus-x/task/memory.stat", "anon 10\ninactive_file 2000\n");
        put("pileus-x/task/cpu.stat", "usage_usec 1500\nuser_usec 1000\n");
        put("pileus-x/task/memory.events", "low 0\noom 2\noom_kill 3\n");
        let usage = cgroups.usage("pileus-x/task").unwrap();
        assert_eq!((usage.memory_bytes, usage.cpu), (3000, Duration::from_micros(1500)));
        assert_eq!(cgroups.oom_kills("pileus-x/task"), 3);
    }

    #[test]
    fn a_missing_controller_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "cpu pids").unwrap();
        assert!(V2::open(root.path().to_owned()).err().unwrap().to_string().contains("memory controller"));
    }
}
