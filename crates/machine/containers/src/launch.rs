//! The engine's part of a start: the order written, the shim executed, its answer awaited.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pileus_contract::containers::{ContainerState, ContainerStatus};
use pileus_contract::{ContainerSpec, TaskSpec, TaskState};

use crate::config::{TaskDir, check_name};
use crate::error::{At, Error, Result};
use crate::host::Host;
use crate::image::ImageStore;
use crate::protocol::{Launch, LaunchImage, StartAnswer, read};
use crate::rooted::plain_path;
use crate::runtime_id::runtime_id;
use crate::shim::save_status;

/// A start takes milliseconds; this is for a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fargate's bound is ten.
const MAX_CONTAINERS: usize = 10;

/// What a caller could get wrong.
pub(crate) fn validate(spec: &TaskSpec) -> Result<()> {
    check_name("task id", &spec.id)?;
    if spec.containers.is_empty() || spec.containers.len() > MAX_CONTAINERS {
        let why = format!("it has {} containers; 1 to {MAX_CONTAINERS} are allowed", spec.containers.len());
        return Err(Error::invalid("task", why));
    }
    if spec.cpu_units == 0 || spec.memory_mib == 0 {
        return Err(Error::invalid("task", "its CPU and memory must be more than 0"));
    }
    for (index, container) in spec.containers.iter().enumerate() {
        check_name("container name", &container.name)?;
        if spec.containers[..index].iter().any(|other| other.name == container.name) {
            return Err(Error::invalid("container name", format!("{:?} is used twice", container.name)));
        }
        check_mounts(container)?;
    }
    if let Some(other) = spec.sysctls.keys().find(|name| !name.starts_with("net.") || name.contains('/')) {
        return Err(Error::invalid("kernel parameter", format!("{other:?} is not of the network namespace")));
    }
    for (what, text) in [("hostname", &spec.hostname), ("search domain", &spec.search_domain)] {
        if text.len() > 253 || !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')) {
            return Err(Error::invalid(what, format!("{text:?} is not a host name")));
        }
    }
    Ok(())
}

/// Where the runtime mounts what every container has.
const RESERVED: [&str; 3] = ["proc", "sys", "dev"];

fn check_mounts(container: &ContainerSpec) -> Result<()> {
    for mount in &container.mounts {
        check_name("volume name", &mount.volume)?;
        let path = Path::new(&mount.path);
        let inside =
            path.strip_prefix("/").ok().and_then(plain_path).filter(|inside| inside != Path::new(""));
        let first = inside.as_deref().and_then(|inside| inside.iter().next()?.to_str());
        if first.is_none_or(|first| RESERVED.contains(&first)) {
            let why = format!("a volume cannot be shown at {:?} in container {}", mount.path, container.name);
            return Err(Error::invalid("mount", why));
        }
    }
    Ok(())
}

/// Looks up, and where needed unpacks, the images of all containers.
pub(crate) fn order(host: &Host, images: &ImageStore, spec: &TaskSpec) -> Result<Launch> {
    let mut run = Vec::new();
    for container in &spec.containers {
        let image = images.load(&container.image)?;
        if image.layers.is_empty() {
            return Err(Error::invalid("image", format!("{} has no layers", container.image)));
        }
        images.prepare(&image)?;
        let layers = image.layers.iter().map(crate::image::Layer::dir_name).collect();
        run.push(LaunchImage { layers, config: image.config });
    }
    Ok(Launch {
        task: spec.clone(),
        cgroup: host.config.cgroup(&spec.id),
        layers_dir: host.config.layers_dir(),
        scratch_dir: host.config.scratch_dir(&spec.id),
        images: run,
    })
}

/// Makes the task's directory; `false` where there is one already.
pub(crate) fn reserve(dir: &TaskDir) -> Result<bool> {
    dir.check_length()?;
    match fs::DirBuilder::new().mode(0o700).create(&dir.0) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        other => other.at("create", &dir.0).map(|()| true),
    }
}

/// Writes the order, executes the shim and waits for its answer.
pub(crate) fn launch(host: &Host, dir: &TaskDir, launch: &Launch) -> Result<(TaskState, Child)> {
    save_status(dir, &initial_state(&launch.task))?;
    let layers = launch.images.iter().flat_map(|image| &image.layers).map(String::as_str).collect();
    host.use_layers(&launch.task.id, &layers)?;
    write_private(dir, launch)?;
    let (mut ours, theirs) = UnixStream::pair().at("make a socket for", &dir.0)?;
    ours.set_read_timeout(Some(PATIENCE)).at("make a socket for", &dir.0)?;
    let spawned = Instant::now();
    let mut child = spawn(host, dir, theirs)?;
    let error = match read(&mut ours) {
        Ok(StartAnswer::Started { state, stages }) => {
            let micros = spawned.elapsed().as_micros() as u64;
            tracing::debug!(task = state.id, micros, ?stages, "task started");
            return Ok((state, child));
        }
        Ok(StartAnswer::Failed { why }) => Error::Start(why),
        Err(error) => {
            let log = fs::read_to_string(dir.shim_log()).unwrap_or_default();
            Error::Shim(format!("gave no answer ({error}) {}", log.trim()))
        }
    };
    child.kill().and_then(|()| child.wait()).at("reap the shim of", &dir.0)?;
    Err(error)
}

/// Before the shim has said anything: so that a task which never got further is known.
fn initial_state(spec: &TaskSpec) -> TaskState {
    let container = |name: &str| ContainerState {
        name: name.to_owned(),
        runtime_id: runtime_id(&spec.id, name),
        status: ContainerStatus::Created,
        health: None,
        restarts: 0,
    };
    let containers = spec.containers.iter().map(|spec| container(&spec.name)).collect();
    TaskState { id: spec.id.clone(), containers, ended: false }
}

fn write_private(dir: &TaskDir, launch: &Launch) -> Result<()> {
    let path = dir.launch();
    let write = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&serde_json::to_vec(launch)?)
    };
    write().at("write", &path)
}

/// The shim inherits nothing of the engine: no environment, no files but the socket for its answer.
fn spawn(host: &Host, dir: &TaskDir, answer: UnixStream) -> Result<Child> {
    let log = File::create(dir.shim_log()).at("create", dir.shim_log())?;
    let Some((program, arguments)) = host.config.shim_command.split_first() else {
        return Err(Error::invalid("shim command", "it is empty"));
    };
    Command::new(program)
        .args(arguments)
        .arg(&dir.0)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(answer))
        .stderr(log)
        .spawn()
        .at("execute", program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_contract::containers::VolumeMount;
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    fn spec() -> TaskSpec {
        let container = ContainerSpec {
            name: "web".into(),
            essential: true,
            stop_timeout: Duration::from_secs(30),
            ..ContainerSpec::default()
        };
        TaskSpec {
            id: "task-1".into(),
            namespace: "/run/netns/x".into(),
            hostname: "ip-10-0-0-4.ec2.internal".into(),
            nameserver: Ipv4Addr::new(10, 0, 0, 2),
            search_domain: String::new(),
            cpu_units: 256,
            memory_mib: 512,
            metadata: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            shared_processes: false,
            containers: vec![container],
        }
    }

    #[test]
    fn bad_specs_are_refused_before_anything_happens() {
        validate(&spec()).unwrap();
        let refused = |change: &dyn Fn(&mut TaskSpec)| {
            let mut spec = spec();
            change(&mut spec);
            validate(&spec).unwrap_err().to_string()
        };
        assert!(refused(&|spec| spec.id = "../up".into()).contains("task id"));
        assert!(refused(&|spec| spec.containers.clear()).contains("0 containers"));
        assert!(refused(&|spec| spec.memory_mib = 0).contains("memory"));
        assert!(refused(&|spec| spec.hostname = "a\nnameserver 6.6.6.6".into()).contains("hostname"));
        assert!(refused(&|spec| spec.containers.push(spec.containers[0].clone())).contains("twice"));
        for path in ["/", "data", "/proc/1", "/dev", "/a/../b", ""] {
            let mount = VolumeMount { volume: "v0".into(), path: path.into(), read_only: false };
            assert!(
                refused(&|spec| spec.containers[0].mounts = vec![mount.clone()]).contains("mount"),
                "{path}"
            );
        }
        assert!(
            refused(&|spec| drop(spec.sysctls.insert("kernel.x".into(), "1".into()))).contains("kernel.x")
        );
    }
}
