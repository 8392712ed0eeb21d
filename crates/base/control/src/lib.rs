//! The driver of the engine's loops.
//!
//! A [`Loop`] is run when the state has changed, when the time that it asked for has come, or when it is poked. The
//! trigger is not an input: one code path serves all three, so a lost or doubled wake-up costs nothing. A run that
//! fails is tried again after a back-off; the failure is data on the status page, not an end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pileus_core::{Clock, Timestamp};
use pileus_store::Db;
use serde::Serialize;
use tokio::sync::Notify;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What one run of a loop says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// When to run again though nothing changes.
    pub wake_at: Option<Timestamp>,
}

/// One control loop: brings a part of the world to what the state says.
pub trait Loop: Send + 'static {
    fn name(&self) -> &'static str;

    /// One pass: observe, plan, act. Must be idempotent. Runs on a thread that may block.
    ///
    /// # Errors
    /// What went wrong, for the status page and the log; the driver tries again.
    fn run(&mut self, now: Timestamp) -> Result<Turn, String>;
}

/// What the status page shows of a loop.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LoopStatus {
    pub name: &'static str,
    pub runs: u64,
    pub last_run: Option<Timestamp>,
    pub wake_at: Option<Timestamp>,
    /// The latest run's failure.
    pub error: Option<String>,
}

/// A running loop, from outside.
#[derive(Clone)]
pub struct Handle {
    poke: Arc<Notify>,
    status: Arc<Mutex<LoopStatus>>,
}

impl Handle {
    /// Makes the loop run soon, for news that do not come through the state.
    pub fn poke(&self) {
        self.poke.notify_one();
    }

    pub fn status(&self) -> LoopStatus {
        self.status.lock().expect("no holder of this lock panics").clone()
    }
}

/// Starts driving a loop on the current tokio runtime, until the runtime ends.
pub fn drive(mut work: impl Loop, db: &Db, clock: Arc<dyn Clock>) -> Handle {
    let mut watch = db.watch();
    let status = LoopStatus { name: work.name(), ..LoopStatus::default() };
    let handle = Handle { poke: Arc::new(Notify::new()), status: Arc::new(Mutex::new(status)) };
    let driven = handle.clone();
    tokio::spawn(async move {
        let mut retry = FIRST_RETRY;
        loop {
            let now = clock.now();
            let ran = tokio::task::spawn_blocking(move || {
                let turn = work.run(now);
                (work, turn)
            });
            let turn;
            (work, turn) = match ran.await {
                Ok(ran) => ran,
                // The runtime ends before this run has begun.
                Err(error) if error.is_cancelled() => return,
                Err(error) => {
                    // A panic in a loop is a defect; going on without the loop would hide it.
                    tracing::error!(%error, "a control loop panicked; the engine ends");
                    std::process::abort();
                }
            };
            let wait = driven.record(now, &turn, &mut retry, &*clock);
            tokio::select! {
                () = watch.changed() => {}
                () = driven.poke.notified() => {}
                () = sleep(wait) => {}
            }
        }
    });
    handle
}

impl Handle {
    /// Notes a run on the status page; returns how long to wait for the next one at most.
    fn record(
        &self,
        now: Timestamp,
        turn: &Result<Turn, String>,
        retry: &mut Duration,
        clock: &dyn Clock,
    ) -> Option<Duration> {
        let mut status = self.status.lock().expect("no holder of this lock panics");
        status.runs += 1;
        status.last_run = Some(now);
        match turn {
            Ok(turn) => {
                *retry = FIRST_RETRY;
                status.error = None;
                status.wake_at = turn.wake_at;
                turn.wake_at.map(|at| clock.real(at.since(clock.now())))
            }
            Err(error) => {
                if status.error.as_ref() != Some(error) {
                    tracing::warn!(loop_name = status.name, %error, "a control loop failed; it will try again");
                }
                status.error = Some(error.clone());
                let wait = *retry;
                *retry = (*retry * 2).min(LAST_RETRY);
                Some(wait)
            }
        }
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
