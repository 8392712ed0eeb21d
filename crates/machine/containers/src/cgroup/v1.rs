//! Control groups, version 1: a hierarchy of directories for each controller, also beside an empty version 2
//! ("hybrid"). <https://docs.kernel.org/admin-guide/cgroup-v1/>

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use pileus_contract::containers::TaskUsage;

use super::{CPU_PERIOD, Cgroups, Limits, read_field, read_number, write};
use crate::error::{At, Error, Result};

/// What a container is shown of itself: enough for runtimes to size themselves.
const VIEWED: [&str; 3] = ["cpu", "cpuacct", "memory"];

pub(super) struct V1 {
    /// Controller to the mount point of its hierarchy.
    mounts: BTreeMap<String, PathBuf>,
}

impl V1 {
    /// Finds the hierarchies in the text of `/proc/self/mountinfo`.
    pub(super) fn from_mountinfo(text: &str) -> Result<Self> {
        let mut mounts = BTreeMap::new();
        for line in text.lines() {
            let Some((place, filesystem)) = line.split_once(" - ") else { continue };
            let mut filesystem = filesystem.split(' ');
            let (Some("cgroup"), Some(_), Some(options)) =
                (filesystem.next(), filesystem.next(), filesystem.next())
            else {
                continue;
            };
            let Some(mount_point) = place.split(' ').nth(4) else { continue };
            for option in options.split(',').filter(|option| !matches!(*option, "rw" | "ro")) {
                mounts.entry(option.to_owned()).or_insert_with(|| PathBuf::from(mount_point));
            }
        }
        for needed in ["cpu", "cpuacct", "memory", "pids"] {
            if !mounts.contains_key(needed) {
                return Err(Error::Cgroup(format!(
                    "the {needed} controller is not mounted; mount cgroup version 2 on /sys/fs/cgroup, or version 1 \
                     with cpu, cpuacct, memory and pids"
                )));
            }
        }
        Ok(Self { mounts })
    }

    fn directory(&self, controller: &str, group: &str) -> PathBuf {
        self.mounts[controller].join(group)
    }
}

impl Cgroups for V1 {
    fn create(&self, group: &str, limits: Limits) -> Result<()> {
        for controller in ["cpu", "cpuacct", "memory", "pids"] {
            let directory = self.directory(controller, group);
            fs::create_dir_all(&directory).at("create", &directory)?;
        }
        if let Some(quota) = limits.cpu_quota() {
            let directory = self.directory("cpu", group);
            write(&directory, "cpu.cfs_period_us", CPU_PERIOD)?;
            write(&directory, "cpu.cfs_quota_us", quota)?;
        }
        if let Some(bytes) = limits.memory_bytes() {
            let directory = self.directory("memory", group);
            write(&directory, "memory.limit_in_bytes", bytes)?;
            // Absent where the kernel does not account swap.
            if directory.join("memory.memsw.limit_in_bytes").exists() {
                write(&directory, "memory.memsw.limit_in_bytes", bytes)?;
            }
        }
        if let Some(pids) = limits.pids {
            write(&self.directory("pids", group), "pids.max", pids)?;
        }
        Ok(())
    }

    fn usage(&self, group: &str) -> Result<TaskUsage> {
        let memory = self.directory("memory", group);
        let used = read_number(&memory.join("memory.usage_in_bytes"))?;
        let inactive = read_field(&memory.join("memory.stat"), "total_inactive_file")?;
        let cpu = read_number(&self.directory("cpuacct", group).join("cpuacct.usage"))?;
        Ok(TaskUsage { cpu: Duration::from_nanos(cpu), memory_bytes: used.saturating_sub(inactive) })
    }

    fn oom_kills(&self, group: &str) -> u64 {
        read_field(&self.directory("memory", group).join("memory.oom_control"), "oom_kill").unwrap_or(0)
    }

    fn views(&self, group: &str) -> Vec<(PathBuf, PathBuf)> {
        let view = |name: &str| (self.directory(name, group), PathBuf::from("/sys/fs/cgroup").join(name));
        VIEWED.iter().map(|name| view(name)).collect()
    }

    fn directories(&self, group: &str) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = self.mounts.values().map(|mount| mount.join(group)).collect();
        all.sort();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
24 1 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
25 24 0:22 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
26 24 0:23 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
27 24 0:24 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
28 24 0:25 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
29 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn finds_controllers_that_share_a_mount() {
        let cgroups = V1::from_mountinfo(MOUNTINFO).unwrap();
        assert_eq!(cgroups.directory("cpuacct", "a/b"), PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/a/b"));
        let directories = cgroups.directories("t");
        assert_eq!(directories.len(), 4, "{directories:?}");
    }

    #[test]
    fn says_what_is_missing() {
        let error = V1::from_mountinfo(&MOUNTINFO.replace("rw,memory", "rw,other")).err().unwrap();
        assert!(error.to_string().contains("memory controller"), "{error}");
    }
}
