//! `pileus start`: an engine in the background, ready when the command returns.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pileus_engine::Home;

use super::block_on;
use crate::cli::EngineOptions;
use crate::failure::{Exit, Failure, OrHint as _};
use crate::format;
use crate::link::{self, Link};
use crate::printer::Printer;

/// An engine is ready in a tenth of a second; this is for a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(3);
/// A log that has grown larger is put aside when an engine starts; the one before is lost then.
const LOG_SIZE: u64 = 16 << 20;
/// Of the log, where the engine died without saying why.
const LAST_LINES: usize = 10;

pub(crate) fn run(options: &EngineOptions, home: &Path, printer: &mut Printer) -> Result<Exit, Failure> {
    let began = Instant::now();
    let home = Home::open(home)?;
    let (link, started) = ensure(&home, options, printer)?;
    let (endpoint, pid) = (link.endpoint(), link.file.pid);
    if started {
        let took = format::duration(began.elapsed());
        printer.say(format!("The engine is ready at {endpoint} (process {pid}, {took})."));
        if link.file.strict {
            let path = home.root_credentials();
            printer.say(format!(
                "It is strict: only credentials that it has issued count. The first are in {}, for \
                 AWS_SHARED_CREDENTIALS_FILE.",
                path.display()
            ));
        }
    } else {
        printer.say(format!("The engine runs already at {endpoint} (process {pid})."));
    }
    Ok(Exit::Success)
}

/// The engine of `home`, started if it does not run; whether it was.
pub(crate) fn ensure(
    home: &Home,
    options: &EngineOptions,
    printer: &mut Printer,
) -> Result<(Link, bool), Failure> {
    if let Some(file) = home.engine() {
        if options.port.is_some_and(|port| port != file.port && port != 0) {
            let port = file.port;
            printer.warn(&format!(
                "the engine runs on port {port} already; `pileus stop` it first to change that"
            ));
        }
        if options.strict && !file.strict {
            printer.warn("the engine that runs is not strict; `pileus stop` it first to change that");
        }
        return Ok((Link::to(home, file), false));
    }
    let (mut child, log_start) = spawn(home, options)?;
    let link = block_on(await_engine(home, &mut child, log_start))?;
    Ok((link, true))
}

/// Starts the process; where in the log it begins to write.
fn spawn(home: &Home, options: &EngineOptions) -> Result<(Child, u64), Failure> {
    let path = home.log();
    let log = open_log(&path).or_hint(format!("{} must be writable", home.root().display()))?;
    let log_start = log.metadata()?.len();
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("engine").arg("--detach").arg("--home").arg(home.root());
    for (name, value) in [
        ("--port", options.port.map(|port| port.to_string())),
        ("--edge-port", options.edge_port.map(|port| port.to_string())),
        ("--time-scale", options.time_scale.map(|factor| factor.to_string())),
    ] {
        value.map(|value| command.arg(name).arg(value));
    }
    if options.strict {
        command.arg("--strict");
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok((command.spawn()?, log_start))
}

fn open_log(path: &Path) -> std::io::Result<File> {
    if path.metadata().is_ok_and(|log| log.len() > LOG_SIZE) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    File::options().create(true).append(true).mode(0o600).open(path)
}

async fn await_engine(home: &Home, child: &mut Child, log_start: u64) -> Result<Link, Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(file) = home.engine() {
            let link = Link::to(home, file);
            if link::is_well(&link.client("us-east-1")).await {
                if link.file.pid != child.id().cast_signed() {
                    end_superfluous(child)?;
                }
                return Ok(link);
            }
        }
        // Another start may have been faster: then this engine gives up, and that one answers.
        if let Some(status) = child.try_wait()?
            && home.engine().is_none()
        {
            return Err(died(&home.log(), log_start, &status.to_string()));
        }
        if Instant::now() > end {
            let what = format!("the engine does not answer after {}", format::duration(PATIENCE));
            return Err(Failure::new(what).hint(format!("its log is {}", home.log().display())));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Another start was faster: this engine has nothing yet, not even the claim on its home, and would only wait for that.
fn end_superfluous(child: &mut Child) -> Result<(), Failure> {
    if child.try_wait()?.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

/// Why an engine ended before it was ready, in its own words.
fn died(log: &Path, log_start: u64, status: &str) -> Failure {
    let mut text = String::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(log_start))?;
        file.read_to_string(&mut text)
    });
    let mut failure = Failure::new(format!("the engine ended before it was ready ({status})"));
    if let Err(error) = read {
        failure.causes.push(format!("its log {} cannot be read: {error}", log.display()));
    }
    match last_words(&text) {
        Some((causes, hints)) => {
            failure.causes.extend(causes);
            failure.hints.extend(hints);
        }
        None => {
            let lines: Vec<&str> = text.lines().collect();
            failure.causes.push(lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"));
        }
    }
    failure.hint(format!("its log is {}", log.display()))
}

/// What the printer of the engine's process wrote last: causes and hints.
fn last_words(log: &str) -> Option<(Vec<String>, Vec<String>)> {
    let start =
        log.rfind("\nerror: ").map(|at| at + 1).or_else(|| log.starts_with("error: ").then_some(0))?;
    let (mut causes, mut hints): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for line in log[start..].lines().filter(|line| !line.is_empty()) {
        if let Some(hint) = line.strip_prefix("hint: ") {
            hints.push(hint.to_owned());
        } else if let Some(cause) = line.strip_prefix("error: ").or_else(|| line.strip_prefix("  cause: ")) {
            causes.push(cause.to_owned());
        } else if let Some(last) = causes.last_mut() {
            last.push('\n');
            last.push_str(line.trim_start());
        }
    }
    Some((causes, hints))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_an_engine_are_found() {
        let log = "error: old\n2026 INFO started\nerror: port 80 cannot be opened\n  cause: in use\n\nhint: choose another\n";
        let (causes, hints) = last_words(log).unwrap();
        assert_eq!(causes, ["port 80 cannot be opened", "in use"]);
        assert_eq!(hints, ["choose another"]);
        assert_eq!(last_words("thread panicked\n"), None);
        assert_eq!(last_words("error: at once").unwrap().0, ["at once"]);
    }

    #[test]
    fn a_large_log_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.log");
        File::create(&path).unwrap().set_len(LOG_SIZE + 1).unwrap();
        assert_eq!(open_log(&path).unwrap().metadata().unwrap().len(), 0);
        assert!(dir.path().join("engine.log.1").exists());
    }
}
