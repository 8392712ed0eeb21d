//! Makes one container: its root file system, its OCI bundle, and its first process, waiting to be started.
//!
//! A container that is started again keeps its root file system, and so what it has written.

use std::env::set_current_dir;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use libcontainer::container::Container as RuntimeContainer;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstat};
use nix::unistd::{Gid, Uid, chown, sysconf};
use pileus_contract::ContainerSpec;
use pileus_contract::containers::VolumeMount;

use super::init::Init;
use super::logs::Ends;
use super::task::Task;
use crate::bundle::{Process, Surroundings, link_free_targets, resolve_user, runtime_spec};
use crate::cgroup::Limits;
use crate::error::{At, Error, Result, chain};
use crate::protocol::{Launch, LaunchImage};
use crate::rooted::Rooted;

/// Makes the root file system of the container of this index.
pub(super) fn make_root(task: &Task, index: usize) -> Result<()> {
    let name = &task.launch.task.containers[index].name;
    let rootfs = task.dir.bundle(name).join("rootfs");
    fs::create_dir_all(&rootfs).at("create", &rootfs)?;
    mount_root(&task.launch, &task.launch.images[index], name, &rootfs)
}

/// Creates the container of this index, whose root file system is there; its process waits for
/// [`RuntimeContainer::start`].
pub(super) fn create(task: &Task, index: usize, ends: Ends) -> Result<(RuntimeContainer, Process)> {
    let launch = &task.launch;
    let (spec, image) = (&launch.task.containers[index], &launch.images[index]);
    let container = &task.containers[index];
    let bundle = task.dir.bundle(&spec.name);
    let rootfs = bundle.join("rootfs");
    let process = prepare_root(launch, spec, image, &rootfs)?;
    let volumes = spec.mounts.iter().map(|mount| volume(launch, &spec.name, mount, &rootfs));
    let volumes = volumes.collect::<Result<Vec<_>>>()?;
    limit(task, launch, spec, &container.group)?;
    let around = Surroundings {
        hostname: &launch.task.hostname,
        network: &launch.task.namespace,
        rootfs: &rootfs,
        spec,
        processes: task.processes.as_deref(),
        volumes: &volumes,
        cgroup: &container.group,
        cgroup_views: &task.cgroups.views(&container.group),
        etc: &task.dir.etc(),
    };
    let fail = |error: &dyn std::error::Error| Error::container(&spec.name, chain(error));
    let mut config = runtime_spec(&process, &around).map_err(|error| fail(&error))?;
    let config_path = bundle.join("config.json");
    save(&config_path, &config)?;
    let built = ContainerBuilder::new(container.runtime_id.clone(), SyscallType::default())
        .with_executor(Init { keep: spec.init })
        .with_root_path(task.dir.runtime())
        .map(|builder| builder.with_stdout(ends.stdout).with_stderr(ends.stderr))
        .and_then(|builder| builder.as_init(&bundle).with_systemd(false).build())
        .map_err(|error| fail(&error));
    // It holds secrets and has been read; health checks need the rest of it.
    if let Some(process) = config.process_mut() {
        process.set_env(Some(Vec::new()));
    }
    save(&config_path, &config)?;
    Ok((built?, process))
}

/// Forgets the former process of a container that is to be created again.
pub(super) fn forget(task: &Task, index: usize) -> Result<()> {
    let directory = task.dir.runtime().join(&task.containers[index].runtime_id);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", &directory),
        _ => Ok(()),
    }
}

/// The directory of a volume and where it is shown. A new one gets the owner and mode that the image's directory has
/// there, so that a user other than root may write to it where the image says so.
fn volume(
    launch: &Launch,
    container: &str,
    mount: &VolumeMount,
    rootfs: &Path,
) -> Result<(PathBuf, PathBuf, bool)> {
    let directory = launch.volume_dir(&mount.volume);
    if !directory.exists() {
        fs::create_dir_all(&directory).at("create", &directory)?;
        let root = Rooted::open(rootfs).at("open", rootfs)?;
        let inside = root.open_dir(Path::new(mount.path.trim_start_matches('/')));
        if let Some(like) = inside.ok().and_then(|inside| fstat(&inside).ok()) {
            let mode = Mode::from_bits_truncate(like.st_mode);
            chown(&directory, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)))
                .and_then(|()| fchmodat(nix::fcntl::AT_FDCWD, &directory, mode, FchmodatFlags::FollowSymlink))
                .map_err(|errno| {
                    let volume = &mount.volume;
                    Error::container(container, format!("cannot prepare its volume {volume}: {errno}"))
                })?;
        }
    }
    Ok((directory, PathBuf::from(&mount.path), mount.read_only))
}

/// Mounts the layers and a fresh writable one, in this process's own mount namespace.
fn mount_root(launch: &Launch, image: &LaunchImage, container: &str, rootfs: &Path) -> Result<()> {
    let scratch = launch.scratch_dir.join(container);
    let (upper, work) = (scratch.join("upper"), scratch.join("work"));
    for directory in [&upper, &work] {
        fs::create_dir_all(directory).at("create", directory)?;
    }
    // Names relative to the layers' directory: all options must fit one page.
    let lower: Vec<&str> = image.layers.iter().rev().map(String::as_str).collect();
    // Volatile: the writable layer does not outlive the machine, so nothing in it needs to reach the disk.
    let options = format!(
        "lowerdir={},upperdir={},workdir={},volatile",
        lower.join(":"),
        upper.display(),
        work.display()
    );
    let page = sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    if options.len() as i64 >= page {
        return Err(Error::container(
            container,
            format!("its image has {} layers, too many to mount", lower.len()),
        ));
    }
    set_current_dir(&launch.layers_dir).at("enter", &launch.layers_dir)?;
    let mounted = mount(Some("overlay"), rootfs, Some("overlay"), MsFlags::MS_NODEV, Some(options.as_str()));
    set_current_dir("/").at("enter", "/")?;
    mounted.map_err(|errno| {
        Error::container(
            container,
            format!(
                "cannot mount its layers as an overlay in {}: {errno}; the data directory must be on a file system \
                 such as ext4, xfs or btrfs, not on an overlay itself",
                launch.scratch_dir.display()
            ),
        )
    })
}

/// Resolves the user in the image and makes the working directory.
fn prepare_root(
    launch: &Launch,
    spec: &ContainerSpec,
    image: &LaunchImage,
    rootfs: &Path,
) -> Result<Process> {
    let fail = |why: String| Error::container(&spec.name, why);
    let root = Rooted::open(rootfs).at("open", rootfs)?;
    link_free_targets(&root).at("prepare", rootfs.join("etc"))?;
    let wanted = spec.user.as_deref().or(image.config.user.as_deref()).unwrap_or_default();
    let user = resolve_user(&root, wanted).map_err(fail)?;
    let process = Process::new(spec, &image.config, &launch.task.hostname, user).map_err(fail)?;
    let inside = process.working_directory.trim_start_matches('/');
    root.ensure_dir(Path::new(inside))
        .map_err(|errno| fail(format!("cannot enter the working directory /{inside}: {errno}")))?;
    Ok(process)
}

/// The container's own group shows the memory it really has, which is that of the task where it has no limit itself:
/// programs size their heaps by it.
fn limit(task: &Task, launch: &Launch, spec: &ContainerSpec, group: &str) -> Result<()> {
    let memory = spec.memory_mib.map_or(launch.task.memory_mib, |own| own.min(launch.task.memory_mib));
    task.cgroups.create(group, Limits { memory_mib: Some(memory), ..Limits::default() })
}

fn save(path: &PathBuf, config: &oci_spec::runtime::Spec) -> Result<()> {
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(&serde_json::to_vec(config)?)
    };
    write().at("write", path)
}
