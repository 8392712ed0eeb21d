//! A command run in a container that runs: as its user, with its environment and under its restrictions.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::fork::fork_child;
use super::init::find_program;
use super::task::{Container, Task};
use crate::bundle::{Process, seccomp_profile};

/// Starts the command. What is returned is the process that waits for it: it ends with 0 where the command did, and
/// its end is the command's. The shim itself waits for nothing.
pub(super) fn run(task: &Task, container: &Container, command: &[String]) -> nix::Result<Pid> {
    fork_child(|| execute(task, container, command).unwrap_or(1))
}

fn execute(task: &Task, container: &Container, command: &[String]) -> Option<i32> {
    set_pdeathsig(Signal::SIGKILL).ok()?;
    let process: &Process = container.process.as_ref()?;
    let probe = Probe { command: command.to_vec(), environment: process.environment.clone() };
    let (out, err) = (null().ok()?, null().ok()?);
    let pid = ContainerBuilder::new(container.runtime_id.clone(), SyscallType::default())
        .with_executor(probe)
        .with_root_path(task.dir.runtime())
        .map(|builder| builder.with_stdout(out).with_stderr(err))
        .and_then(|builder| {
            builder
                .as_tenant()
                .with_container_args(command.to_vec())
                .with_cwd(Some(process.working_directory.clone()))
                .with_user(Some(process.user.uid))
                .with_group(Some(process.user.gid))
                .with_additional_gids(process.user.groups.clone())
                .with_detach(true)
                .build()
        })
        .ok()?;
    match waitpid(Pid::from_raw(pid.as_raw()), None).ok()? {
        WaitStatus::Exited(_, code) => Some(code),
        _ => None,
    }
}

fn null() -> io::Result<OwnedFd> {
    Ok(File::options().write(true).open("/dev/null")?.into())
}

#[derive(Clone)]
struct Probe {
    command: Vec<String>,
    environment: BTreeMap<String, String>,
}

impl Executor for Probe {
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        let fail = |why: &str| ExecutorValidationError::ArgValidationError(why.to_owned());
        // When its time is over, the process that waits for it is killed.
        set_pdeathsig(Signal::SIGKILL).map_err(|_| fail("cannot be tied to who waits for it"))
    }

    /// The runtime does not restrict the calls of processes that enter later.
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let fail = |error: &dyn std::fmt::Display| ExecutorError::Other(error.to_string());
        let Some((program, rest)) = self.command.split_first() else { return Err(ExecutorError::InvalidArg) };
        SigSet::empty().thread_set_mask().map_err(|errno| fail(&errno))?;
        let profile = seccomp_profile().map_err(|error| fail(&error))?;
        libcontainer::seccomp::initialize_seccomp(&profile).map_err(|error| fail(&error))?;
        let path = self.environment.get("PATH").map_or("", String::as_str);
        let path = find_program(program, path).map_err(ExecutorError::Other)?;
        let error = Command::new(path).arg0(program).args(rest).env_clear().envs(&self.environment).exec();
        Err(fail(&error))
    }
}
