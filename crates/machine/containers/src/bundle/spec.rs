//! `config.json` of a container: namespaces, mounts and the restrictions that hold for every container.
//!
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md>

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxDeviceCgroupBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType,
    LinuxResourcesBuilder, Mount, MountBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType,
    ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};
use pileus_contract::ContainerSpec;

use super::process::Process;
use super::{caps, seccomp};

/// Open files, soft and hard (AWS-BEHAVIOUR.md, 2.6), where this host allows as many.
const NOFILE: u64 = 65_535;

const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a container finds around it, beside its own process.
pub(crate) struct Surroundings<'a> {
    pub(crate) hostname: &'a str,
    /// The task's network namespace.
    pub(crate) network: &'a Path,
    pub(crate) rootfs: &'a Path,
    pub(crate) spec: &'a ContainerSpec,
    /// The process namespace, where the containers share one.
    pub(crate) processes: Option<&'a Path>,
    /// The directories of its volumes and where they are shown; whether read-only.
    pub(crate) volumes: &'a [(PathBuf, PathBuf, bool)],
    /// The container's cgroup, relative to the root of the hierarchy.
    pub(crate) cgroup: &'a str,
    /// Directories of the container's cgroup and where they are shown, read-only.
    pub(crate) cgroup_views: &'a [(PathBuf, PathBuf)],
    /// Directory of `resolv.conf`, `hosts` and `hostname`.
    pub(crate) etc: &'a Path,
}

pub(crate) fn runtime_spec(process: &Process, around: &Surroundings<'_>) -> Result<Spec, OciSpecError> {
    let root = RootBuilder::default().path(around.rootfs).readonly(around.spec.readonly_rootfs).build()?;
    SpecBuilder::default()
        .version("1.0.2")
        .root(root)
        .hostname(around.hostname)
        .mounts(mounts(around)?)
        .process(runtime_process(process, around.spec)?)
        .linux(linux(around)?)
        .build()
}

fn runtime_process(
    process: &Process,
    spec: &ContainerSpec,
) -> Result<oci_spec::runtime::Process, OciSpecError> {
    let user = UserBuilder::default()
        .uid(process.user.uid)
        .gid(process.user.gid)
        .additional_gids(process.user.groups.clone())
        .build()?;
    let environment: Vec<String> =
        process.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    ProcessBuilder::default()
        .terminal(false)
        .user(user)
        .args(process.args.clone())
        .env(environment)
        .cwd(process.working_directory.as_str())
        .capabilities(caps::capabilities(process.user.uid, &spec.drop_capabilities, spec.ptrace)?)
        .rlimits(limits(&spec.ulimits)?)
        .no_new_privileges(true)
        .build()
}

/// The limits that are asked for, and that of open files in any case.
fn limits(asked: &BTreeMap<String, (u64, u64)>) -> Result<Vec<PosixRlimit>, OciSpecError> {
    let ours = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard);
    let files = NOFILE.min(ours);
    let mut all = BTreeMap::from([("nofile", (files, files))]);
    all.extend(asked.iter().map(|(name, limit)| (name.as_str(), *limit)));
    let limit = |(name, (soft, hard)): (&str, (u64, u64))| {
        PosixRlimitBuilder::default().typ(limit_type(name)?).soft(soft).hard(hard).build()
    };
    all.into_iter().map(limit).collect()
}

fn limit_type(name: &str) -> Result<PosixRlimitType, OciSpecError> {
    serde_json::from_value(serde_json::json!(format!("RLIMIT_{}", name.to_ascii_uppercase())))
        .map_err(OciSpecError::SerDe)
}

fn linux(around: &Surroundings<'_>) -> Result<Linux, OciSpecError> {
    let owned = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect::<Vec<String>>();
    // The limits are on the cgroup already; here only the devices are shut. Those of a usual /dev the runtime opens.
    let no_devices = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build()?;
    LinuxBuilder::default()
        .namespaces(namespaces(around)?)
        .cgroups_path(format!("/{}", around.cgroup))
        .resources(LinuxResourcesBuilder::default().devices(vec![no_devices]).build()?)
        .masked_paths(owned(&MASKED))
        .readonly_paths(owned(&READ_ONLY))
        .seccomp(seccomp::profile()?)
        .build()
}

fn namespaces(around: &Surroundings<'_>) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let mut all = vec![LinuxNamespaceBuilder::default().typ(Network).path(around.network).build()?];
    all.push(match around.processes {
        Some(shared) => LinuxNamespaceBuilder::default().typ(Pid).path(shared).build()?,
        None => LinuxNamespaceBuilder::default().typ(Pid).build()?,
    });
    for own in [Mount, Ipc, Uts, Cgroup] {
        all.push(LinuxNamespaceBuilder::default().typ(own).build()?);
    }
    Ok(all)
}

fn mounts(around: &Surroundings<'_>) -> Result<Vec<Mount>, OciSpecError> {
    let mut all = vec![
        mount("proc", "proc", "/proc", "nosuid,noexec,nodev")?,
        mount("tmpfs", "tmpfs", "/dev", "nosuid,strictatime,mode=755,size=65536k")?,
        mount("devpts", "devpts", "/dev/pts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5")?,
        mount("tmpfs", "shm", "/dev/shm", "nosuid,noexec,nodev,mode=1777,size=65536k")?,
        mount("mqueue", "mqueue", "/dev/mqueue", "nosuid,noexec,nodev")?,
        mount("sysfs", "sysfs", "/sys", "nosuid,noexec,nodev,ro")?,
    ];
    // Runtimes size their heaps by what they read here.
    if around.cgroup_views.iter().all(|(_, shown)| shown != Path::new("/sys/fs/cgroup")) {
        all.push(mount("tmpfs", "tmpfs", "/sys/fs/cgroup", "nosuid,noexec,nodev,mode=755,size=64k")?);
    }
    for (source, shown) in around.cgroup_views {
        all.push(bind(source, shown, "bind,ro,nosuid,noexec,nodev")?);
    }
    for name in ["resolv.conf", "hosts", "hostname"] {
        let shown = Path::new("/etc").join(name);
        all.push(bind(&around.etc.join(name), &shown, "bind,ro,nosuid,noexec,nodev")?);
    }
    for (source, shown, read_only) in around.volumes {
        all.push(bind(source, shown, if *read_only { "bind,ro,nodev" } else { "bind,rw,nodev" })?);
    }
    Ok(all)
}

fn mount(kind: &str, source: &str, destination: &str, options: &str) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .typ(kind)
        .source(source)
        .destination(destination)
        .options(options.split(',').map(str::to_owned).collect::<Vec<_>>())
        .build()
}

fn bind(source: &Path, destination: &Path, options: &str) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .typ("bind")
        .source(source)
        .destination(destination)
        .options(options.split(',').map(str::to_owned).collect::<Vec<_>>())
        .build()
}
