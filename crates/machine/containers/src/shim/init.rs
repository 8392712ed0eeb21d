//! The last steps of a container's first process before it becomes the program.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{AccessFlags, access};

/// What a shell answers for a program that is there but cannot be run, and for one that is not there.
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;

#[derive(Clone)]
pub(super) struct Init;

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
        let args = arguments(spec);
        let Some((program, rest)) = args.split_first() else { return Err(ExecutorError::InvalidArg) };
        let unblocked = SigSet::empty().thread_set_mask();
        unblocked.map_err(|errno| ExecutorError::Other(format!("cannot unblock signals: {errno}")))?;
        let error = match find_program(program, &search_path(spec)) {
            Ok(path) => Command::new(path).arg0(program).args(rest).exec(),
            Err(why) => io::Error::new(io::ErrorKind::NotFound, why),
        };
        // Into the container's own log. Where even that fails, the exit code has to tell.
        let _ = writeln!(io::stderr(), "cannot run {program}: {error}");
        std::process::exit(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN })
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
fn find_program(program: &str, search_path: &str) -> Result<PathBuf, String> {
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
