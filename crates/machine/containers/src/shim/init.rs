//! The last steps of a container's first process before it becomes the program, or the program's keeper.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::errno::Errno;
use nix::sys::prctl::{set_child_subreaper, set_dumpable, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{AccessFlags, Pid, access};

use super::fork::fork_child;
use super::start::close_files;

/// What a shell answers for a program that is there but cannot be run, and for one that is not there.
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;

#[derive(Clone)]
pub(super) struct Init {
    /// Stay as the first process and run the program as a child.
    pub(super) keep: bool,
}

impl Executor for Init {
    /// Runs in the container, as its user, before it is told to start: what is wrong here is an error of the start.
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let fail = ExecutorValidationError::ArgValidationError;
        // Whatever kills the shim kills the container: nobody would know of it any more.
        set_pdeathsig(Signal::SIGKILL)
            .map_err(|errno| fail(format!("cannot tie the container to its shim: {errno}")))?;
        let args = arguments(spec);
        let program = args.first().ok_or_else(|| fail("there is no program to run".to_owned()))?;
        find_program(program, &search_path(spec)).map(drop).map_err(fail)
    }

    /// Puts signal handling back to the defaults, which the shim has changed for itself: `Command` does so for
    /// SIGPIPE.
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let code = if self.keep {
            keep(|| become_program(spec)).map_err(|error| ExecutorError::Other(error.to_string()))?
        } else {
            become_program(spec)
        };
        std::process::exit(code)
    }
}

/// Only returns, with an exit code, where the program cannot be run.
fn become_program(spec: &Spec) -> i32 {
    let Some((program, rest)) = arguments(spec).split_first() else { return NOT_FOUND };
    let error = match SigSet::empty().thread_set_mask() {
        Err(errno) => errno.into(),
        Ok(()) => match find_program(program, &search_path(spec)) {
            Ok(path) => Command::new(path).arg0(program).args(rest).exec(),
            Err(why) => io::Error::new(io::ErrorKind::NotFound, why),
        },
    };
    // Into the container's own log. Where even that fails, the exit code has to tell.
    let _ = writeln!(io::stderr(), "cannot run {program}: {error}");
    if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN }
}

/// Runs `program` as a child, passes signals on to it, reaps every process that is left without a parent, and returns
/// the child's exit code.
fn keep(program: impl FnOnce() -> i32) -> io::Result<i32> {
    // What this process has in memory is not for the container's eyes.
    set_dumpable(false)?;
    set_child_subreaper(true)?;
    let all = SigSet::all();
    all.thread_block()?;
    let child = fork_child(program)?;
    close_files()?;
    loop {
        match all.wait()? {
            Signal::SIGCHLD => {
                if let Some(code) = reap(child)? {
                    return Ok(code);
                }
            }
            // It may have ended meanwhile; then its end is next.
            signal => drop(kill(child, signal)),
        }
    }
}

/// Reaps what has ended; the exit code of `child` where it is among it.
fn reap(child: Pid) -> io::Result<Option<i32>> {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => return Ok(Some(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => return Ok(Some(128 + signal as i32)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn arguments(spec: &Spec) -> &[String] {
    spec.process().as_ref().and_then(|process| process.args().as_deref()).unwrap_or_default()
}

fn search_path(spec: &Spec) -> String {
    let environment =
        spec.process().as_ref().and_then(|process| process.env().as_deref()).unwrap_or_default();
    let path = environment.iter().find_map(|variable| variable.strip_prefix("PATH="));
    path.unwrap_or_default().to_owned()
}

/// The program's file, looked up as `execvp(3)` does.
pub(super) fn find_program(program: &str, search_path: &str) -> Result<PathBuf, String> {
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![PathBuf::from(program)]
    } else {
        search_path.split(':').map(|directory| Path::new(directory).join(program)).collect()
    };
    let mut found = None;
    for path in candidates {
        let Ok(file) = path.metadata() else { continue };
        // Root may read and write all, but execute only what somebody may execute.
        let executable =
            file.is_file() && file.mode() & 0o111 != 0 && access(&path, AccessFlags::X_OK).is_ok();
        if executable {
            return Ok(path);
        }
        found = Some(path);
    }
    Err(match found {
        Some(path) => format!("{} may not be executed by the container's user", path.display()),
        None if program.contains('/') => format!("the program {program} is not in the image"),
        None => format!("the program {program} is not in the image's PATH ({search_path})"),
    })
}
