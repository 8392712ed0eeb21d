//! Where things are kept, and which names are fit to become part of a path.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{At, Error, Result};

/// Where an engine keeps its images and tasks.
#[derive(Clone, Debug)]
pub struct ContainersConfig {
    /// Tells this engine's cgroups from those of another on the same host: `pileus-<instance>`.
    pub instance: String,
    /// OCI blobs: `<blobs>/sha256/<hex>`.
    pub blobs: PathBuf,
    /// Unpacked layers, writable layers and log spools. On a file system that can carry an overlay.
    pub data_dir: PathBuf,
    /// One directory for each task; on a tmpfs, so that it is empty after a reboot, as the machine is.
    pub run_dir: PathBuf,
    /// How to execute the shim; the task's directory is appended. Normally `/proc/self/exe shim`.
    pub shim_command: Vec<String>,
}

/// The longest path that fits a Unix socket's address.
const MAX_SOCKET_PATH: usize = 107;

impl ContainersConfig {
    pub(crate) fn layers_dir(&self) -> PathBuf {
        self.data_dir.join("layers")
    }

    pub(crate) fn scratch_root(&self) -> PathBuf {
        self.data_dir.join("tasks")
    }

    /// The task's writable layers and log spools.
    pub(crate) fn scratch_dir(&self, task: &str) -> PathBuf {
        self.scratch_root().join(task)
    }

    pub(crate) fn task_dir(&self, task: &str) -> TaskDir {
        TaskDir(self.run_dir.join(task))
    }

    /// The cgroup that holds all tasks, relative to the root of the hierarchy.
    pub(crate) fn cgroup_root(&self) -> String {
        format!("pileus-{}", self.instance)
    }

    pub(crate) fn cgroup(&self, task: &str) -> String {
        format!("{}/{task}", self.cgroup_root())
    }

    pub(crate) fn validate(&self) -> Result<()> {
        check_name("instance", &self.instance)?;
        if self.shim_command.is_empty() {
            return Err(Error::invalid("shim command", "it is empty"));
        }
        for (what, path) in
            [("blobs", &self.blobs), ("data directory", &self.data_dir), ("run directory", &self.run_dir)]
        {
            if !path.is_absolute() {
                return Err(Error::invalid(what, format!("{} is not an absolute path", path.display())));
            }
            // These end an option of an overlay mount.
            if path.to_string_lossy().contains([',', ':', '\\', '"']) {
                let why =
                    format!("{} holds one of , : \\ \", which no overlay mount can name", path.display());
                return Err(Error::invalid(what, why));
            }
        }
        Ok(())
    }
}

/// The files of one task in the run directory. Mode 0700: its files hold secrets.
#[derive(Clone, Debug)]
pub(crate) struct TaskDir(pub(crate) PathBuf);

impl TaskDir {
    /// The engine's order to the shim; gone when the shim has read it, for it holds secrets.
    pub(crate) fn launch(&self) -> PathBuf {
        self.0.join("launch.json")
    }

    pub(crate) fn status(&self) -> PathBuf {
        self.0.join("status.json")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("shim.sock")
    }

    /// What the shim wrote to stderr: a panic, should there be one.
    pub(crate) fn shim_log(&self) -> PathBuf {
        self.0.join("shim.log")
    }

    /// `resolv.conf`, `hosts` and `hostname`, bind-mounted into the containers.
    pub(crate) fn etc(&self) -> PathBuf {
        self.0.join("etc")
    }

    /// State of the container runtime.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.0.join("runtime")
    }

    pub(crate) fn bundle(&self, container: &str) -> PathBuf {
        self.0.join("bundles").join(container)
    }

    pub(crate) fn check_length(&self) -> Result<()> {
        let socket = self.socket();
        if socket.as_os_str().len() > MAX_SOCKET_PATH {
            let why = format!(
                "{} is longer than a socket's path may be ({MAX_SOCKET_PATH}); choose a shorter run directory",
                socket.display()
            );
            return Err(Error::invalid("run directory", why));
        }
        Ok(())
    }
}

/// Makes a directory that only its owner can enter. Images hold programs that run as root for whoever executes them;
/// no other user of this machine may reach those.
pub(crate) fn private_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).at("create", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).at("close to others", path)
}

/// Refuses names that could not be the name of a directory, a cgroup and a runtime id at once.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
        let why = format!("{name:?} is not 1 to 64 letters, digits, hyphens and underscores");
        return Err(Error::invalid(what, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_directory_are_refused() {
        for bad in ["", ".", "..", "a/b", "a b", "a\0", "é", &"x".repeat(65)] {
            assert!(check_name("task", bad).is_err(), "{bad:?}");
        }
        for good in ["a", "web_1", "0f-9"] {
            check_name("task", good).unwrap();
        }
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused() {
        assert!(TaskDir(PathBuf::from(format!("/{}", "d".repeat(120)))).check_length().is_err());
        TaskDir(PathBuf::from("/run/pileus/default/tasks/0123456789abcdef0123456789abcdef"))
            .check_length()
            .unwrap();
    }
}
