//! From an order in the task's directory to running containers.

use std::fs;
use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::ifaddrs::getifaddrs;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{close, dup2_stdout, setsid};
use pileus_contract::ContainerSpec;
use pileus_contract::containers::ContainerStatus;

use super::container;
use super::control::Control;
use super::logs::{Ends, Output};
use super::metadata::{self, Metadata};
use super::pause::share_processes;
use super::run::Shim;
use super::task::{Container, Task};
use crate::bundle::{stop_signal, write_etc};
use crate::cgroup::{self, Limits, MAX_PIDS};
use crate::config::TaskDir;
use crate::error::{At, Error, Result, chain};
use crate::protocol::{Launch, Stage, StartAnswer, write};
use crate::runtime_id::runtime_id;

/// Starts the task whose order is in `dir`. What could be started has been when this returns.
pub(super) fn start(dir: &TaskDir) -> Result<Shim> {
    let mut clock = Stages::new();
    detach().at("detach", &dir.0)?;
    let control = Control::listen(&dir.socket()).at("listen on", dir.socket())?;
    let launch = take_launch(dir)?;
    let signals = catch_signals().at("catch signals for", &dir.0)?;
    clock.lap("order");
    own_mounts()?;
    enter_network(&launch)?;
    set_parameters(&launch)?;
    let metadata = Metadata::listen(launch.task.metadata.clone())
        .map_err(|error| Error::Shim(format!("cannot serve {} in the task: {error}", metadata::ADDRESS)))?;
    write_etc(&dir.etc(), &launch.task, own_address())?;
    clock.lap("namespaces");
    let cgroups = cgroup::detect()?;
    let limits = Limits {
        cpu_units: Some(launch.task.cpu_units),
        memory_mib: Some(launch.task.memory_mib),
        pids: Some(MAX_PIDS),
    };
    cgroups.create(&launch.cgroup, limits)?;
    clock.lap("limits");
    let processes = match launch.task.shared_processes {
        true => Some(share_processes().at("share a process namespace in", &dir.0)?),
        false => None,
    };
    let containers = launch.task.containers.iter().map(|spec| described(&launch, spec)).collect();
    let mut task = Task { dir: dir.clone(), cgroups, launch, processes, containers, stopping: false };
    start_containers(&mut task, &mut clock)?;
    task.save()?;
    Ok(Shim::new(task, control, metadata, signals, clock.stages))
}

/// Leaves the engine's session and files behind.
fn detach() -> io::Result<()> {
    match setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    // Descriptors that the engine's other threads opened without close-on-exec.
    close_files()?;
    umask(Mode::from_bits_truncate(0o022));
    Ok(set_child_subreaper(true)?)
}

/// Closes every file but the first three.
pub(super) fn close_files() -> io::Result<()> {
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|fd| fd.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        match close(fd) {
            // The listing's own descriptor is gone already.
            Ok(()) | Err(Errno::EBADF) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Reads the order and deletes it, for it holds secrets.
fn take_launch(dir: &TaskDir) -> Result<Launch> {
    let path = dir.launch();
    let text = fs::read(&path).at("read", &path)?;
    fs::remove_file(&path).at("remove", &path)?;
    serde_json::from_slice(&text).map_err(io::Error::from).at("understand", &path)
}

fn catch_signals() -> io::Result<SignalFd> {
    let mut caught = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        caught.add(signal);
    }
    caught.thread_block()?;
    Ok(SignalFd::with_flags(&caught, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// A mount namespace of our own: what is mounted here is not on the host, and ends with the task. Mounts that end on
/// the host end here as well, so that nothing is kept busy.
fn own_mounts() -> Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none))
        .map_err(|errno| Error::Shim(format!("cannot have mounts of its own: {errno}; run as root")))
}

fn enter_network(launch: &Launch) -> Result<()> {
    let path = &launch.task.namespace;
    let namespace =
        open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).at("open the network", path)?;
    setns(namespace, CloneFlags::CLONE_NEWNET).at("enter the network", path)
}

/// Sets the kernel parameters of the network that this process is in.
fn set_parameters(launch: &Launch) -> Result<()> {
    for (name, value) in &launch.task.sysctls {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(&path, value).at("set", &path)?;
    }
    Ok(())
}

/// The task's first address beside those of the loopback interface.
fn own_address() -> Option<Ipv4Addr> {
    let mut addresses = getifaddrs().ok()?.filter(|interface| interface.interface_name != "lo");
    addresses.find_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()))
}

fn described(launch: &Launch, spec: &ContainerSpec) -> Container {
    Container {
        runtime_id: runtime_id(&launch.task.id, &spec.name),
        group: format!("{}/{}", launch.cgroup, spec.name),
        spec: spec.clone(),
        stop_signal: Signal::SIGTERM,
        status: ContainerStatus::Created,
        waiting: None,
        process: None,
        checker: None,
        started: None,
        restarts: 0,
        told_to_stop: false,
        kill_at: None,
        output: None,
    }
}

/// Creates all containers, then starts, in order, those that wait for no other. One that cannot be started takes the
/// others along where it is essential; an error is one of the task as a whole.
fn start_containers(task: &mut Task, clock: &mut Stages) -> Result<()> {
    for index in 0..task.containers.len() {
        match create(task, index) {
            Ok(()) => {}
            Err(Error::Container { why, .. }) => task.containers[index].never_started(why),
            Err(error) => return Err(error),
        }
        clock.lap(&format!("create {}", task.containers[index].spec.name));
    }
    if !essential_missing(task) {
        task.start_ready(Instant::now());
    }
    clock.lap("start");
    if essential_missing(task) {
        give_up(task)?;
    }
    Ok(())
}

fn create(task: &mut Task, index: usize) -> Result<()> {
    let name = &task.containers[index].spec.name;
    let signal = stop_signal(&task.launch.images[index].config).map_err(|why| Error::container(name, why))?;
    let spool = task.launch.scratch_dir.join(name).join("log");
    let (output, ends): (Output, Ends) = Output::create(spool.clone()).at("create", &spool)?;
    container::make_root(task, index)?;
    let (runtime, process) = container::create(task, index, ends)?;
    let container = &mut task.containers[index];
    (container.stop_signal, container.output) = (signal, Some(output));
    (container.waiting, container.process) = (Some(runtime), Some(process));
    Ok(())
}

fn essential_missing(task: &Task) -> bool {
    task.containers.iter().any(|container| container.spec.essential && container.ended())
}

/// Ends what was started beside an essential container that could not be.
fn give_up(task: &mut Task) -> Result<()> {
    cgroup::kill_all(&*task.cgroups, &task.launch.cgroup)?;
    task.reap();
    for container in task.containers.iter_mut().filter(|container| !container.ended()) {
        container.never_started("an essential container of the task could not be started");
    }
    Ok(())
}

/// Tells the engine, once; then stdout is as silent as stdin.
pub(super) fn answer(answer: &StartAnswer) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    write(&mut stdout, answer)?;
    stdout.flush()?;
    let null = File::options().write(true).open("/dev/null")?;
    debug_assert!(null.as_raw_fd() > 2, "the first three descriptors are taken");
    Ok(dup2_stdout(&null)?)
}

/// The last words, into the task's `shim.log`.
pub(super) fn complain(error: &Error) {
    let _ = writeln!(io::stderr(), "{}", chain(error));
}

/// How long each part of the start took.
struct Stages {
    last: Instant,
    stages: Vec<Stage>,
}

impl Stages {
    fn new() -> Self {
        Self { last: Instant::now(), stages: Vec::new() }
    }

    fn lap(&mut self, name: &str) {
        let micros = u64::try_from(self.last.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.stages.push(Stage { name: name.to_owned(), micros });
        self.last = Instant::now();
    }
}
