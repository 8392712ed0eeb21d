//! A container's health check as a state machine: when to run the command, and what its results mean.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html>
//!
//! Until the first success the command is also run before the first interval is over, ever more seldom, so that what is
//! healthy at once is known at once. Those failures do not count, so no verdict is made sooner than on AWS but the good.

use std::time::{Duration, Instant};

use nix::unistd::Pid;
use pileus_contract::containers::{Health, HealthCheck};

/// Before the first of the early runs.
const FIRST_WAIT: Duration = Duration::from_millis(250);

pub(super) struct Checker {
    check: HealthCheck,
    pub(super) health: Health,
    /// In a row.
    failures: u32,
    succeeded: bool,
    started: Instant,
    /// When the next run is due.
    due: Instant,
    wait: Duration,
    /// The process that runs the command now, and when it has had its time.
    running: Option<(Pid, Instant)>,
}

impl Checker {
    /// The check of a container that starts now.
    pub(super) fn new(check: HealthCheck, now: Instant) -> Self {
        let wait = FIRST_WAIT.min(check.interval);
        Self {
            check,
            health: Health::Unknown,
            failures: 0,
            succeeded: false,
            started: now,
            due: now + wait,
            wait,
            running: None,
        }
    }

    /// The command, where it is to be run now.
    pub(super) fn command_due(&self, now: Instant) -> Option<&[String]> {
        (self.running.is_none() && self.due <= now).then_some(self.check.command.as_slice())
    }

    pub(super) fn begin(&mut self, pid: Pid, now: Instant) {
        self.running = Some((pid, now + self.check.timeout));
    }

    /// The process that has taken too long.
    pub(super) fn overdue(&self, now: Instant) -> Option<Pid> {
        self.running.filter(|(_, deadline)| *deadline <= now).map(|(pid, _)| pid)
    }

    pub(super) fn process(&self) -> Option<Pid> {
        self.running.map(|(pid, _)| pid)
    }

    /// When something is to be done next.
    pub(super) fn next(&self) -> Instant {
        self.running.map_or(self.due, |(_, deadline)| deadline)
    }

    /// Takes a result in; whether the health has changed.
    pub(super) fn record(&mut self, success: bool, now: Instant) -> bool {
        let before = self.health;
        self.running = None;
        if success {
            (self.failures, self.succeeded, self.health) = (0, true, Health::Healthy);
        } else if self.counts(now) {
            self.failures += 1;
            if self.failures >= self.check.retries {
                self.health = Health::Unhealthy;
            }
        }
        if self.early(now) {
            self.wait *= 2;
            self.due = (now + self.wait).min(self.started + self.check.interval);
        } else {
            self.due = now + self.check.interval;
        }
        self.health != before
    }

    fn early(&self, now: Instant) -> bool {
        !self.succeeded && now < self.started + self.check.interval
    }

    fn counts(&self, now: Instant) -> bool {
        self.succeeded || now >= self.started + self.check.interval.max(self.check.start_period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checker(start_period: u64) -> (Checker, Instant) {
        let now = Instant::now();
        let check = HealthCheck {
            command: vec!["true".into()],
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            retries: 2,
            start_period: Duration::from_secs(start_period),
        };
        (Checker::new(check, now), now)
    }

    /// Runs the check as it becomes due until `end` seconds have passed; the times of the runs.
    fn run(checker: &mut Checker, start: Instant, end: f64, success: bool) -> Vec<f64> {
        let mut times = Vec::new();
        while checker.next() <= start + Duration::from_secs_f64(end) {
            let now = checker.next();
            assert!(checker.command_due(now).is_some());
            times.push((now - start).as_secs_f64());
            checker.record(success, now);
        }
        times
    }

    #[test]
    fn early_failures_do_not_count_and_a_success_does() {
        let (mut it, start) = checker(0);
        assert_eq!(run(&mut it, start, 4.9, false), [0.25, 0.75, 1.75, 3.75]);
        assert_eq!(it.health, Health::Unknown);
        assert!(it.record(true, start + Duration::from_secs(4)));
        assert_eq!((it.health, it.next()), (Health::Healthy, start + Duration::from_secs(9)));
    }

    #[test]
    fn so_many_failures_in_a_row_make_it_unhealthy_and_one_success_healthy_again() {
        let (mut it, start) = checker(0);
        run(&mut it, start, 8.0, false);
        assert_eq!(it.health, Health::Unknown, "one failure has counted");
        run(&mut it, start, 13.0, false);
        assert_eq!(it.health, Health::Unhealthy);
        assert!(it.record(true, it.next()));
        assert_eq!(it.health, Health::Healthy);
    }

    #[test]
    fn failures_of_the_start_period_count_only_after_a_success() {
        let (mut it, start) = checker(60);
        run(&mut it, start, 59.0, false);
        assert_eq!(it.health, Health::Unknown);
        let (mut it, start) = checker(60);
        it.record(true, start);
        run(&mut it, start, 11.0, false);
        assert_eq!(it.health, Health::Unhealthy);
    }

    #[test]
    fn a_run_that_takes_too_long_is_told() {
        let (mut it, start) = checker(0);
        it.begin(Pid::from_raw(7), start);
        assert!(it.command_due(start + Duration::from_secs(100)).is_none(), "one at a time");
        assert_eq!(it.overdue(start + Duration::from_secs(1)), None);
        assert_eq!(it.overdue(start + Duration::from_secs(2)), Some(Pid::from_raw(7)));
    }
}
