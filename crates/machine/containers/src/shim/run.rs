//! The loop of a shim: signals, orders, output and metadata requests, until no container is left.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;

use super::control::Control;
use super::metadata::Metadata;
use super::task::{Task, now};
use crate::error::{At, Result};
use crate::protocol::{Message, Request, Stage, StartAnswer};

/// New output of a container is told at most once in this time.
const LOG_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct Shim {
    pub(super) task: Task,
    control: Control,
    metadata: Metadata,
    signals: SignalFd,
    stages: Vec<Stage>,
    /// For each container: when its new output is to be told, and when it last was.
    news: Vec<(Option<Instant>, Option<Instant>)>,
}

/// Something that `poll(2)` waits for.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Control,
    Peer(usize),
    /// A stream of a container.
    Output(usize, usize),
    Metadata,
    Connection(usize),
}

impl Shim {
    pub(super) fn new(
        task: Task,
        control: Control,
        metadata: Metadata,
        signals: SignalFd,
        stages: Vec<Stage>,
    ) -> Self {
        let news = vec![(None, None); task.containers.len()];
        Self { task, control, metadata, signals, stages, news }
    }

    /// The answer to the engine's order.
    pub(super) fn started(&mut self) -> StartAnswer {
        StartAnswer::Started { state: self.task.state(), stages: std::mem::take(&mut self.stages) }
    }

    pub(super) fn run(&mut self) -> Result<()> {
        // A container may have ended before its end was waited for.
        self.reap()?;
        while !self.task.ended() {
            for source in self.wait().at("wait for events of", &self.task.dir.0)? {
                self.handle(source)?;
            }
            let now = Instant::now();
            self.task.kill_overdue(now);
            if self.task.advance(now) {
                self.note_change()?;
            }
            self.tell_news(now);
            self.control.flush(&self.task.state());
            self.metadata.tidy(now);
        }
        Ok(())
    }

    /// Waits until something happens or is due.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let (mut fds, mut sources) = (Vec::new(), Vec::new());
        let mut add = |fd, writes: bool, source| {
            let flags = if writes { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
            fds.push(PollFd::new(fd, flags));
            sources.push(source);
        };
        add(self.signals.as_fd(), false, Source::Signals);
        add(self.control.listener.as_fd(), false, Source::Control);
        for (index, peer) in self.control.peers.iter().enumerate() {
            add(peer.stream.as_fd(), peer.wants_to_write(), Source::Peer(index));
        }
        for (container, output) in
            self.task.containers.iter().enumerate().filter_map(|(index, c)| Some((index, c.output.as_ref()?)))
        {
            for (index, stream) in output.streams.iter().enumerate().filter(|(_, stream)| stream.open) {
                add(stream.pipe.as_fd(), false, Source::Output(container, index));
            }
        }
        add(self.metadata.listener.as_fd(), false, Source::Metadata);
        for (index, connection) in self.metadata.connections.iter().enumerate() {
            add(connection.stream.as_fd(), connection.wants_to_write(), Source::Connection(index));
        }
        match poll(&mut fds, self.timeout()) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
        let ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
        Ok(sources.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|(source, _)| source).collect())
    }

    fn timeout(&self) -> PollTimeout {
        let news = self.news.iter().filter_map(|(due, _)| *due);
        let slow = self.metadata.connections.iter().map(|connection| connection.deadline);
        let Some(next) = self.task.due(Instant::now()).into_iter().chain(news).chain(slow).min() else {
            return PollTimeout::NONE;
        };
        // Rounded up, or the last part of a millisecond would be spent spinning.
        let wait = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
    }

    fn handle(&mut self, source: Source) -> Result<()> {
        match source {
            Source::Signals => self.signal()?,
            Source::Control => self.control.accept().at("accept on", self.task.dir.socket())?,
            Source::Peer(index) => self.orders(index)?,
            Source::Output(container, stream) => self.output(container, stream),
            Source::Metadata => self.metadata.accept().at("accept metadata requests of", &self.task.dir.0)?,
            Source::Connection(index) => self.metadata.serve(index),
        }
        Ok(())
    }

    fn signal(&mut self) -> Result<()> {
        while let Some(signal) = self.signals.read_signal().at("read signals of", &self.task.dir.0)? {
            match Signal::try_from(signal.ssi_signo as i32) {
                Ok(Signal::SIGCHLD) => self.reap()?,
                // The host is going down.
                Ok(Signal::SIGTERM | Signal::SIGINT) => self.task.stop(Instant::now()),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn reap(&mut self) -> Result<()> {
        if self.task.reap() {
            // The last output of a container is taken with its exit.
            for (due, _) in &mut self.news {
                due.get_or_insert_with(Instant::now);
            }
            self.note_change()?;
        }
        Ok(())
    }

    /// The state of the task has changed: for the file, and for those who watch.
    fn note_change(&mut self) -> Result<()> {
        self.control.tell_state();
        self.task.save()
    }

    fn orders(&mut self, index: usize) -> Result<()> {
        for request in self.control.receive(index) {
            match request {
                Request::Watch => {
                    self.control.watch(index);
                    continue;
                }
                Request::Stop => self.task.stop(Instant::now()),
                Request::Metadata(documents) => self.metadata.replace(documents),
            }
            self.control.reply(index, &Message::Done).at("answer on", self.task.dir.socket())?;
        }
        Ok(())
    }

    fn output(&mut self, container: usize, stream: usize) {
        let Some(output) = self.task.containers[container].output.as_mut() else { return };
        if output.pump(stream, now()) {
            let (due, last) = &mut self.news[container];
            let soonest = Instant::now();
            due.get_or_insert(last.map_or(soonest, |last| soonest.max(last + LOG_INTERVAL)));
        }
    }

    fn tell_news(&mut self, now: Instant) {
        for ((due, last), container) in self.news.iter_mut().zip(&self.task.containers) {
            if due.is_some_and(|at| at <= now) {
                (*due, *last) = (None, Some(now));
                self.control.tell_logs(&container.spec.name);
            }
        }
    }
}
