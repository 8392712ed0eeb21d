//! The shim: one process for each task, which starts its containers, keeps their logs and exits, and stops them.
//!
//! It outlives the engine and is found again through the socket in the task's directory. It is a single thread around
//! `poll(2)`: the runtime forks, which a process with threads must not do, and a task costs little memory this way.
//! It lives in a mount namespace of its own, where the overlay mounts end with it, and in the task's network namespace.

mod container;
mod control;
mod fork;
mod health;
mod init;
mod logs;
mod metadata;
mod netlink;
mod order;
mod pause;
mod probe;
mod run;
mod start;
mod task;

pub(crate) use task::{now, save_status};

use std::path::Path;
use std::process::ExitCode;

use crate::config::TaskDir;
use crate::error::{At, chain};
use crate::protocol::StartAnswer;

/// The hidden subcommand `pileus shim DIR`. Answers on stdout whether the task has started, then stays with it.
///
/// To be called first thing in `main`: it closes every file but the first three, and there must be no other thread.
pub fn shim_main(task_dir: &Path) -> ExitCode {
    let dir = TaskDir(task_dir.to_owned());
    let mut shim = match start::start(&dir) {
        Ok(shim) => shim,
        Err(error) => {
            let told = start::answer(&StartAnswer::Failed { why: chain(&error) });
            return if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    // Where the engine that ordered the task is gone, the next one finds it by its socket.
    if let Err(error) = start::answer(&shim.started()).at("answer the engine about", &dir.0) {
        start::complain(&error);
    }
    match shim.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shim.task.kill();
            start::complain(&error);
            ExitCode::FAILURE
        }
    }
}
