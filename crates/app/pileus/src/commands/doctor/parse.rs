//! The kernel's and the tools' own texts, read. Pure.

use std::collections::BTreeMap;

/// `6.18` of `6.18.44-fc-v657`.
pub(super) fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The first thing in a text that looks like a version, such as `2.39.5` of `git version 2.39.5`.
pub(super) fn version(text: &str) -> Option<&str> {
    let words = text.split_whitespace().map(|word| word.trim_matches(['v', '(', ')', ',']));
    words.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
}

/// Where cgroup controllers are: version 1 ones by name, and the mount of version 2, of `/proc/self/mountinfo`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CgroupMounts {
    pub(super) v1: BTreeMap<String, String>,
    pub(super) v2: Option<String>,
}

/// <https://docs.kernel.org/filesystems/proc.html#proc-pid-mountinfo-information-about-mounts>
pub(super) fn cgroup_mounts(mountinfo: &str) -> CgroupMounts {
    let mut mounts = CgroupMounts::default();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let Some(point) = before.split(' ').nth(4) else { continue };
        let mut after = after.split(' ');
        let (kind, options) = (after.next(), after.nth(1).unwrap_or_default());
        match kind {
            Some("cgroup2") => mounts.v2 = Some(point.to_owned()),
            Some("cgroup") => {
                mounts
                    .v1
                    .extend(options.split(',').map(|controller| (controller.to_owned(), point.to_owned())));
            }
            _ => {}
        }
    }
    mounts
}

/// Of the controllers that tasks need, those that are nowhere. `v2` is the text of `cgroup.controllers`.
pub(super) fn lacking<'a>(needed: &[&'a str], mounts: &CgroupMounts, v2: &str) -> Vec<&'a str> {
    let has = |name: &str| mounts.v1.contains_key(name) || v2.split_whitespace().any(|known| known == name);
    needed.iter().copied().filter(|name| !has(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found() {
        assert_eq!(kernel_version("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(kernel_version("5.4"), Some((5, 4)));
        assert_eq!(kernel_version("linux"), None);
        for (text, found) in [
            ("git version 2.39.5", "2.39.5"),
            ("v24.1.0\n", "24.1.0"),
            ("nftables v1.0.6 (Lester Gooch #5)", "1.0.6"),
            ("apt 2.6.1 (amd64)", "2.6.1"),
        ] {
            assert_eq!(version(text), Some(found));
        }
        assert_eq!(version("none"), None);
    }

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn controllers_are_found_in_either_version() {
        let mounts = cgroup_mounts(HYBRID);
        assert_eq!(mounts.v2.as_deref(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mounts.v1["cpuacct"], "/sys/fs/cgroup/cpu,cpuacct");
        assert_eq!(lacking(&["cpu", "memory", "pids"], &mounts, ""), ["pids"]);
        assert_eq!(lacking(&["cpu", "memory", "pids"], &mounts, "io pids\n"), [""; 0]);
        assert_eq!(cgroup_mounts("nonsense"), CgroupMounts::default());
    }
}
