//! An image, a network namespace and an engine's worth of directories for each test, all removed afterwards.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use pileus_containers::{ContainersConfig, LinuxContainers, clean_leftovers};
use pileus_contract::containers::{ContainerStatus, Exit};
use pileus_contract::{ContainerSpec, Containers, TaskEvent, TaskSpec, TaskState};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Kit {
    pub(crate) containers: Option<LinuxContainers>,
    pub(crate) config: ContainersConfig,
    /// Digest of a manifest of busybox.
    pub(crate) image: String,
    pub(crate) namespace: Namespace,
    directory: TempDir,
}

impl Kit {
    pub(crate) fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests need root");
        assert!(
            Path::new("/bin/busybox").exists(),
            "/bin/busybox is missing: apt-get install busybox-static"
        );
        let instance = unique();
        let directory = tempfile::Builder::new().prefix("pileus-").tempdir().unwrap();
        let config = ContainersConfig {
            instance: instance.clone(),
            blobs: directory.path().join("blobs"),
            data_dir: directory.path().join("data"),
            run_dir: PathBuf::from("/run/pileus-test").join(&instance),
            shim_command: vec![env!("CARGO_BIN_EXE_pileus-shim-test").to_owned()],
        };
        let image = Blobs(config.blobs.clone()).image(&[busybox()], &serde_json::json!({}));
        let containers = LinuxContainers::new(config.clone()).unwrap();
        Self { containers: Some(containers), config, image, namespace: Namespace::new(&instance), directory }
    }

    pub(crate) fn containers(&self) -> &LinuxContainers {
        self.containers.as_ref().unwrap()
    }

    pub(crate) fn blobs(&self) -> Blobs {
        Blobs(self.config.blobs.clone())
    }

    /// A network for a second task.
    pub(crate) fn another_namespace(&self) -> Namespace {
        Namespace::new(&format!("{}-{}", self.config.instance, unique()))
    }

    /// A task of one container that runs this shell script.
    pub(crate) fn task(&self, id: &str, script: &str) -> TaskSpec {
        TaskSpec {
            id: id.to_owned(),
            namespace: self.namespace.path(),
            hostname: "ip-10-0-0-4.ec2.internal".to_owned(),
            nameserver: Ipv4Addr::new(10, 0, 0, 2),
            search_domain: "ec2.internal".to_owned(),
            cpu_units: 256,
            memory_mib: 64,
            metadata: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            shared_processes: false,
            containers: vec![self.container("app", script)],
        }
    }

    pub(crate) fn container(&self, name: &str, script: &str) -> ContainerSpec {
        ContainerSpec {
            name: name.to_owned(),
            image: self.image.clone(),
            command: Some(vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()]),
            essential: true,
            stop_timeout: Duration::from_secs(20),
            ..ContainerSpec::default()
        }
    }

    /// The archive that the default image consists of.
    pub(crate) fn busybox_layer(&self) -> Vec<u8> {
        busybox()
    }

    /// The engine ends; its tasks go on.
    pub(crate) fn stop_engine(&mut self) {
        self.containers = None;
    }

    pub(crate) fn start_engine(&mut self) {
        self.containers = Some(LinuxContainers::new(self.config.clone()).unwrap());
    }

    /// Runs a script to its end: its exit and its output.
    pub(crate) fn run(&self, spec: &TaskSpec) -> (Exit, Vec<String>) {
        let events = self.containers().events();
        self.containers().start(spec).unwrap();
        let state = wait_ended(&events, &spec.id);
        (exit(&state, "app"), self.output(&spec.id, "app"))
    }

    pub(crate) fn output(&self, task: &str, container: &str) -> Vec<String> {
        let (lines, _) = self.containers().logs(task, container, 0, usize::MAX).unwrap();
        lines.into_iter().map(|line| line.message).collect()
    }

    /// Waits until the container has written this line.
    pub(crate) fn wait_output(&self, task: &str, container: &str, line: &str) {
        wait_for(&format!("{line:?} from {container}"), || {
            self.output(task, container).iter().any(|written| written == line)
        });
    }

    pub(crate) fn state(&self, task: &str) -> TaskState {
        let states = self.containers().list().unwrap();
        states.into_iter().find(|state| state.id == task).expect("the task is on the list")
    }

    /// The directory of this task's cgroup.
    pub(crate) fn cgroup(&self, controller: &str, task: &str) -> PathBuf {
        let root = Path::new("/sys/fs/cgroup").join(if version_2() { "" } else { controller });
        root.join(format!("pileus-{}/{task}", self.config.instance))
    }

    /// Everything on the host that names this instance, but for the networks, which are the test's.
    pub(crate) fn traces(&self) -> Vec<String> {
        let name = format!("pileus-{}", self.config.instance);
        let mut traces = find_output(Command::new("find").args(["/sys/fs/cgroup", "-name", &name]));
        traces.extend(self.mounts());
        traces.extend(processes(&self.config.instance).iter().map(|pid| format!("process {pid}")));
        for directory in [&self.config.run_dir, &self.config.data_dir.join("tasks")] {
            traces.extend(directory.exists().then(|| directory.display().to_string()));
        }
        traces
    }

    /// What is mounted on the host for this instance, but for its networks.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let ours =
            mounts.lines().filter(|line| !line.starts_with("nsfs") && line.contains(&self.config.instance));
        ours.map(str::to_owned).collect()
    }

    pub(crate) fn shim_pid(&self, task: &str) -> i32 {
        let stream = UnixStream::connect(self.config.run_dir.join(task).join("shim.sock")).unwrap();
        nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials).unwrap().pid()
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        self.containers = None;
        if let Err(error) = clean_leftovers(&self.config)
            && !std::thread::panicking()
        {
            panic!("the test left something behind in {}: {error}", self.directory.path().display());
        }
    }
}

fn find_output(command: &mut Command) -> Vec<String> {
    String::from_utf8(command.output().unwrap().stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Whether this host has version 2 of control groups alone.
pub(crate) fn version_2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Living processes whose command line holds `text`, other than this one.
pub(crate) fn processes(text: &str) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != std::process::id() as i32)
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(text))
        })
        .collect()
}

pub(crate) fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

pub(crate) fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the task has ended; its last state.
pub(crate) fn wait_ended(events: &Receiver<TaskEvent>, task: &str) -> TaskState {
    loop {
        match events.recv_timeout(PATIENCE).expect("the task ends in time") {
            TaskEvent::State(state) if state.id == task && state.ended => return state,
            TaskEvent::State(_) | TaskEvent::Logs { .. } => {}
        }
    }
}

pub(crate) fn status<'a>(state: &'a TaskState, container: &str) -> &'a ContainerStatus {
    &state.containers.iter().find(|c| c.name == container).expect("the container is in the state").status
}

pub(crate) fn exit(state: &TaskState, container: &str) -> Exit {
    match status(state, container) {
        ContainerStatus::Exited(exit) => exit.clone(),
        other => panic!("{container} has not exited: {other:?}"),
    }
}

pub(crate) fn pid(state: &TaskState, container: &str) -> i32 {
    match status(state, container) {
        ContainerStatus::Running { pid, .. } => *pid,
        other => panic!("{container} does not run: {other:?}"),
    }
}

fn unique() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("t{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// A network namespace with its loopback interface up.
pub(crate) struct Namespace(String);

impl Namespace {
    fn new(instance: &str) -> Self {
        let name = format!("pileus-{instance}");
        for arguments in [&["netns", "add", &name][..], &["-n", &name, "link", "set", "lo", "up"]] {
            assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
        }
        Self(name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.0)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// A blob store that the test fills.
pub(crate) struct Blobs(PathBuf);

impl Blobs {
    pub(crate) fn put(&self, bytes: &[u8]) -> String {
        let hex = hex::encode(Sha256::digest(bytes));
        std::fs::create_dir_all(self.0.join("sha256")).unwrap();
        std::fs::write(self.path(&hex), bytes).unwrap();
        format!("sha256:{hex}")
    }

    pub(crate) fn path(&self, digest: &str) -> PathBuf {
        self.0.join("sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// An image of these layers (tar archives), stored with gzip: the manifest's digest.
    pub(crate) fn image(&self, layers: &[Vec<u8>], config: &serde_json::Value) -> String {
        let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
        for layer in layers {
            let digest = self.put(&gzip(layer));
            let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
            descriptors.push(serde_json::json!({"mediaType": media_type, "digest": digest, "size": 1}));
            diff_ids.push(format!("sha256:{}", hex::encode(Sha256::digest(layer))));
        }
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = serde_json::json!({"architecture": architecture, "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.put(config.to_string().as_bytes());
        let manifest = serde_json::json!({"schemaVersion": 2, "layers": descriptors,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 1}});
        self.put(manifest.to_string().as_bytes())
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar archive of files (mode 0644) and, where the content is `None`, of deletions.
pub(crate) fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        append(&mut tar, path, content.as_bytes(), 0o644);
    }
    tar.into_inner().unwrap()
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    tar.append_data(&mut header, path, content).unwrap();
}

/// A root file system of busybox alone.
fn busybox() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "bin/busybox", &std::fs::read("/bin/busybox").unwrap(), 0o755);
    let applets = "sh cat echo id sleep env grep wc head dd ls mkdir touch wget hostname ulimit kill mount nproc mknod \
                   readlink seq yes true stat tail";
    for applet in applets.split_whitespace() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n";
    append(&mut tar, "etc/passwd", passwd.as_bytes(), 0o644);
    append(&mut tar, "etc/group", b"root:x:0:\nnode:x:1000:\naudio:x:29:node\n", 0o644);
    for (directory, mode) in [("tmp/", 0o1777), ("root/", 0o700), ("home/node/", 0o755)] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(mode);
        tar.append_data(&mut header, directory, std::io::empty()).unwrap();
    }
    tar.into_inner().unwrap()
}
