//! `pileus stop`: ends the engine, the balancer and all tasks, and removes what they made on the host.
//! Works as well where the engine is gone already, however it ended. The state is kept.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pileus_engine::{EngineFile, Home, Occupant, remove_traces};

use crate::failure::{Exit, Failure};
use crate::format;
use crate::printer::Printer;

/// How long an engine may take to end by itself, and then to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

pub(crate) fn run(home: &Path, printer: &mut Printer) -> Result<Exit, Failure> {
    let began = Instant::now();
    let Some(home) = Home::find(home)? else {
        printer.say(format!("No engine has run for {}.", home.display()));
        return Ok(Exit::Success);
    };
    let there_was_something = home.run().exists();
    let ran = end(&home, printer)?;
    let took = format::duration(began.elapsed());
    printer.say(match (ran, there_was_something) {
        (true, _) => {
            format!("The engine, the balancer and all tasks have ended ({took}). The state is kept.")
        }
        (false, true) => {
            format!("No engine ran; what was left on the host is removed ({took}). The state is kept.")
        }
        (false, false) => "No engine runs.".to_owned(),
    });
    Ok(Exit::Success)
}

/// Ends everything of `home`; whether an engine ran.
pub(crate) fn end(home: &Home, printer: &mut Printer) -> Result<bool, Failure> {
    let mut ran = false;
    let claim = loop {
        match home.occupant()? {
            Occupant::Engine(file) => {
                printer.draw("ending the engine");
                end_engine(home, &file, printer)?;
                ran = true;
            }
            Occupant::Nobody(claim) => break claim,
        }
    };
    printer.draw("removing tasks and networks");
    let removed = remove_traces(home, &claim);
    printer.clear();
    removed?;
    Ok(ran)
}

fn end_engine(home: &Home, file: &EngineFile, printer: &mut Printer) -> Result<(), Failure> {
    signal(file, Signal::SIGTERM)?;
    if is_gone(home, file) {
        return Ok(());
    }
    printer.warn(&format!("process {} does not end when asked: killing it", file.pid));
    signal(file, Signal::SIGKILL)?;
    if is_gone(home, file) {
        return Ok(());
    }
    Err(Failure::new(format!("the engine (process {}) survives SIGKILL", file.pid))
        .hint(format!("the kernel holds it: `cat /proc/{}/stack` tells where", file.pid)))
}

fn signal(file: &EngineFile, signal: Signal) -> Result<(), Failure> {
    match kill(Pid::from_raw(file.pid), signal) {
        // It ended in between.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(Errno::EPERM) => {
            Err(Failure::new(format!("the engine (process {}) belongs to another user", file.pid))
                .hint("stop it as the user who started it, or as root"))
        }
        Err(error) => Err(error.into()),
    }
}

fn is_gone(home: &Home, file: &EngineFile) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if home.engine().is_none_or(|now| now.pid != file.pid) {
            return true;
        }
        sleep(POLL);
    }
    false
}
