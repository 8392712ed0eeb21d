//! The first process of a process namespace that all containers of a task share: it reaps what nobody else does.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::fork::fork_child;
use super::start::close_files;

/// Makes the namespace; it ends with the shim. Returns where it is found.
pub(super) fn share_processes() -> io::Result<PathBuf> {
    let own = File::open("/proc/self/ns/pid")?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let first = fork_child(|| pause().map_or(1, |()| 0));
    // The shim's other children are not to be in it.
    setns(own, CloneFlags::CLONE_NEWPID)?;
    Ok(PathBuf::from(format!("/proc/{}/ns/pid", first?)))
}

fn pause() -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    close_files()?;
    let children = SigSet::from_iter([Signal::SIGCHLD]);
    children.thread_block()?;
    loop {
        children.wait()?;
        while match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(status) => status.pid().is_some(),
            Err(Errno::ECHILD) => false,
            Err(errno) => return Err(errno.into()),
        } {}
    }
}
