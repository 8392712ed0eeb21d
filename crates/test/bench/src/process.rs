//! Processes under measurement: ended when they go out of scope, asked for CPU time and memory in between.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// How long something that was started may take until it answers, or something that was ended until it is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// A child process that ends with its owner.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a command; what it writes goes to this file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        Ok(Self(child.with_context(|| format!("starting {command:?}"))?))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// SIGTERM, and waits.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        if self.0.try_wait()?.is_none() {
            kill(Pid::from_raw(self.pid()), Signal::SIGTERM)?;
            wait_for("the process to end", || Ok(self.0.try_wait()?))?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.end().is_err() {
            // What does not end when asked is killed; nobody is left to hear that this failed, too.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Asks until there is an answer.
pub(crate) fn wait_for<T>(
    what: &str,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("waited {} s in vain for {what}", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// CPU time, user and system, that a process and its children have used so far.
pub(crate) fn cpu_time(pid: i32) -> anyhow::Result<Duration> {
    let mut ticks = 0;
    for pid in family(pid)? {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name before it, in brackets, may contain anything.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        for field in [11, 12] {
            ticks +=
                fields.get(field).and_then(|field| field.parse::<u64>().ok()).context("/proc/PID/stat")?;
        }
    }
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("CLK_TCK")?;
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: i32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// A process and its direct children.
fn family(pid: i32) -> anyhow::Result<Vec<i32>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let children = children.split_whitespace().map(str::parse).collect::<Result<Vec<i32>, _>>()?;
    Ok(std::iter::once(pid).chain(children).collect())
}

/// Whether a program is on the PATH.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").into()])
        .any(|folder| folder.join(program).is_file())
}

/// A TCP port on loopback that nobody has at this moment.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
