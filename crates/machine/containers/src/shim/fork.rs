//! A copy of this process that does one thing and ends.
#![expect(unsafe_code, reason = "fork(2) is unsafe in a process with threads; the shim has none")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::unistd::{ForkResult, Pid, fork};

/// Runs `work` in a child, which ends with the status that it returns.
pub(super) fn fork_child(work: impl FnOnce() -> i32) -> nix::Result<Pid> {
    // SAFETY: the shim, and the first process of a container, which is a copy of it, have one thread, so that no lock
    // of the child's memory is held by a thread that it does not have.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => std::process::exit(catch_unwind(AssertUnwindSafe(work)).unwrap_or(1)),
    }
}
