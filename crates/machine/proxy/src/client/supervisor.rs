//! Keeps a balancer: connect, starting the process if need be; hand over the last configuration; read until the
//! connection ends; again, with growing pauses while it fails.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use crate::wire::{Command, Report, read_frame};

/// How long a started balancer may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The supervising thread.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    child: Option<Child>,
    pause: Duration,
}

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, child: None, pause: FIRST_PAUSE }
    }

    pub(super) fn run(mut self) -> Option<Child> {
        while !self.shared.lock().ending {
            match self.connect() {
                Ok(stream) => {
                    let since = Instant::now();
                    if let Err(error) = self.serve(stream) {
                        tracing::warn!(%error, "the balancer's connection broke");
                    }
                    self.disconnected();
                    if since.elapsed() > LONGEST_PAUSE {
                        self.pause = FIRST_PAUSE;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "cannot reach or start the balancer");
                    self.failed(&error);
                }
            }
            self.reap();
            self.rest();
        }
        self.child
    }

    /// Connects to the balancer that is there, else to a new one.
    fn connect(&mut self) -> io::Result<UnixStream> {
        let path = self.shared.config.socket_path();
        if let Ok(stream) = UnixStream::connect(&path) {
            return Ok(stream);
        }
        if !self.alive() {
            self.child = Some(self.spawn()?);
        }
        let end = Instant::now() + START_PATIENCE;
        loop {
            match UnixStream::connect(&path) {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() > end || !self.alive() => {
                    let log = self.shared.config.log_path();
                    let hint = format!("the balancer does not start ({error}); see {}", log.display());
                    return Err(io::Error::new(error.kind(), hint));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let Shared { command, config, .. } = &*self.shared;
        let (program, arguments) =
            command.split_first().ok_or_else(|| io::Error::other("no command to start the balancer with"))?;
        DirBuilder::new().recursive(true).mode(0o700).create(&config.run_dir)?;
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(config.log_path())?;
        Process::new(program)
            .args(arguments)
            .arg(serde_json::to_string(config)?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
    }

    /// Whether the process that this engine started still runs.
    fn alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn reap(&mut self) {
        if !self.alive() {
            self.child = None;
        }
    }

    /// Hands over what there is, then hears events until the connection ends.
    fn serve(&mut self, stream: UnixStream) -> io::Result<()> {
        {
            let mut state = self.shared.lock();
            if state.ending {
                return Ok(());
            }
            state.connection = Some(stream.try_clone()?);
            state.trouble = None;
            if state.listener.is_some() {
                state.send(&Command::Subscribe);
            }
            state.send_spec();
        }
        let mut stream = BufReader::new(stream);
        while let Some(report) = read_frame(&mut stream)? {
            self.pause = FIRST_PAUSE;
            let mut state = self.shared.lock();
            match report {
                Report::Applied { generation, failure } => {
                    state.applied = generation;
                    state.failure = failure;
                    drop(state);
                    self.shared.changed.notify_all();
                }
                Report::Event(event) => {
                    if state.listener.as_ref().is_some_and(|listener| listener.send(event).is_err()) {
                        state.listener = None;
                    }
                }
            }
        }
        Ok(())
    }

    fn disconnected(&self) {
        let mut state = self.shared.lock();
        state.connection = None;
        state.trouble = Some("the balancer ended; it is being started again".into());
    }

    /// Tells those who wait: the configuration that they handed over counts as soon as there is a balancer again.
    fn failed(&self, error: &io::Error) {
        let mut state = self.shared.lock();
        state.failures += 1;
        state.trouble = Some(error.to_string());
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Pauses before the next attempt, longer each time, unless the end is near.
    fn rest(&mut self) {
        let state = self.shared.lock();
        if !state.ending {
            drop(self.shared.changed.wait_timeout(state, self.pause));
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}
