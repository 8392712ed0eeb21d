//! Runs the tools of the package registries (`npm`, `apt-get`): bounded in time, with their errors
//! kept.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::ImageError;

/// Output beyond this is cut: no answer we ask for is larger.
const MAX_OUTPUT: u64 = 16 << 20;
const POLL: Duration = Duration::from_millis(5);

/// Runs to the end and returns stdout. `remedy` tells what to do where the tool is missing.
pub(super) fn run(
    command: &mut Command,
    limit: Duration,
    remedy: &'static str,
) -> Result<String, ImageError> {
    let shown = show(command);
    let io_error = |source| ImageError::Io { action: "run", path: command_path(&shown).into(), source };
    let (mut out, mut err) =
        (tempfile::tempfile().map_err(io_error)?, tempfile::tempfile().map_err(io_error)?);
    command
        .stdin(Stdio::null())
        .stdout(out.try_clone().map_err(io_error)?)
        .stderr(err.try_clone().map_err(io_error)?)
        // Its own group, so that a timeout ends what it started too.
        .process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            ImageError::ToolMissing { tool: command_path(&shown).to_owned(), remedy }
        }
        _ => io_error(error),
    })?;
    let Some(status) = wait(&mut child, limit).map_err(io_error)? else {
        return Err(ImageError::ToolTimeout { command: shown, limit });
    };
    if !status.success() {
        let output = tail(&read(&mut err).map_err(io_error)?);
        let status = status.to_string();
        return Err(ImageError::ToolFailed { command: shown, status, output });
    }
    read(&mut out).map_err(io_error)
}

/// A command that speaks English and works in `dir`.
pub(super) fn command(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env("LC_ALL", "C.UTF-8");
    command
}

/// The exit status, or `None` when the time was up and the process group was killed.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            let group = Pid::from_raw(i32::try_from(child.id()).expect("a process id fits pid_t"));
            killpg(group, Signal::SIGKILL)?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

fn read(file: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(std::ffi::OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

fn command_path(shown: &str) -> &str {
    shown.split(' ').next().unwrap_or(shown)
}

/// The last lines, indented: what a person needs of a long complaint.
fn tail(text: &str) -> String {
    const LINES: usize = 15;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(LINES);
    lines[from..].iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn sh(script: &str, limit: Duration) -> Result<String, ImageError> {
        run(command("sh", Path::new("/")).args(["-c", script]), limit, "install a shell")
    }

    #[test]
    fn stdout_of_a_success_and_stderr_of_a_failure_are_kept() {
        assert_eq!(sh("echo out; echo err >&2", LIMIT).unwrap(), "out\n");
        let error = sh("echo out; echo broken >&2; exit 3", LIMIT).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("  broken"), "{error}");
    }

    #[test]
    fn a_missing_tool_names_the_remedy() {
        let result = run(&mut command("no-such-tool-here", Path::new("/")), LIMIT, "install it");
        assert_eq!(
            result.unwrap_err().to_string(),
            "`no-such-tool-here` is not on this host\n  hint: install it"
        );
    }

    #[test]
    fn a_tool_that_hangs_is_stopped_with_its_children() {
        let error = sh("sleep 600 & wait", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, ImageError::ToolTimeout { .. }), "{error}");
    }
}
