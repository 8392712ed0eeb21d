//! `pileus logs`: what an app's tasks wrote, from CloudWatch Logs; with `-f` also what they write from now on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use owo_colors::OwoColorize as _;
use pileus_aws::logs::{FilterLogEventsRequest, FilteredLogEvent, ops};
use pileus_core::{Clock as _, SystemClock, Timestamp};
use pileus_delivery::client::{CallError, Client};
use serde_json::json;

use super::block_on;
use crate::app::App;
use crate::cli::{Logs, Output};
use crate::failure::{Exit, Failure};
use crate::link::Link;
use crate::printer::Printer;

const POLL: Duration = Duration::from_millis(500);
/// Events of several tasks do not arrive in the order of their times: how far back a poll looks again.
const OVERLAP: Duration = Duration::from_secs(5);
/// Of a task's id, enough to tell tasks apart.
const SHORT_ID: usize = 8;

pub(crate) fn run(arguments: &Logs, home: &Path, printer: &mut Printer) -> Result<Exit, Failure> {
    let app = App::of(&arguments.app)?;
    let link = Link::find(home)?;
    block_on(async {
        let client = link.client(&app.manifest.region);
        // Whatever the engine's clock says, events carry the time of the machine that they happened on.
        let start = SystemClock::new(1.0).now() - arguments.since;
        let mut tail = Tail { group: format!("/ecs/{}", app.name()), start, seen: BTreeMap::new() };
        let found = tail.poll(&client).await.map_err(|error| absent(error, &app))?;
        print(arguments, &found, printer)?;
        if !arguments.follow {
            return Ok(Exit::Success);
        }
        tokio::select! {
            ended = follow(&mut tail, arguments, home, &app, client, printer) => ended,
            _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        }
    })
}

/// Goes on for ever, through ends of the engine too.
async fn follow(
    tail: &mut Tail,
    arguments: &Logs,
    home: &Path,
    app: &App,
    mut client: Client,
    printer: &mut Printer,
) -> Result<Exit, Failure> {
    let mut lost = false;
    loop {
        tokio::time::sleep(POLL).await;
        match tail.poll(&client).await {
            Ok(found) => {
                if std::mem::take(&mut lost) {
                    printer.say("The engine is back.");
                }
                print(arguments, &found, printer)?;
            }
            Err(CallError::Connect { .. } | CallError::Slow { .. }) => {
                if !std::mem::replace(&mut lost, true) {
                    printer.say("The engine is gone; waiting for it to come back.");
                }
                // It may come back on another port.
                if let Ok(link) = Link::find(home) {
                    client = link.client(&app.manifest.region);
                }
            }
            Err(error) => return Err(absent(error, app)),
        }
    }
}

fn absent(error: CallError, app: &App) -> Failure {
    if error.code() == Some("ResourceNotFoundException") { app.not_deployed() } else { error.into() }
}

/// What of a log group has been seen.
struct Tail {
    group: String,
    /// Nothing before this is asked for.
    start: Timestamp,
    /// Events from `start` on that have been shown, by id.
    seen: BTreeMap<String, Timestamp>,
}

impl Tail {
    /// The events that are new since the last poll, in the order of their times.
    async fn poll(&mut self, client: &Client) -> Result<Vec<FilteredLogEvent>, CallError> {
        let (mut found, mut next_token) = (Vec::new(), None);
        loop {
            let request = FilterLogEventsRequest {
                log_group_name: Some(self.group.clone()),
                start_time: Some(self.start.millis().max(0)),
                next_token,
                ..Default::default()
            };
            let page = client.call::<ops::FilterLogEvents>(request).await?;
            found.extend(self.news(page.events.into_iter().flatten()));
            next_token = page.next_token;
            if next_token.is_none() {
                break;
            }
        }
        self.forget();
        Ok(found)
    }

    fn news(&mut self, events: impl Iterator<Item = FilteredLogEvent>) -> Vec<FilteredLogEvent> {
        let is_new = |event: &FilteredLogEvent| {
            let id = event.event_id.clone().unwrap_or_default();
            self.seen.insert(id, time(event)).is_none()
        };
        events.filter(is_new).collect()
    }

    /// Moves on, and forgets what will not be asked for again.
    fn forget(&mut self) {
        if let Some(newest) = self.seen.values().max() {
            self.start = self.start.max(*newest - OVERLAP);
            self.seen.retain(|_, time| *time >= self.start);
        }
    }
}

fn time(event: &FilteredLogEvent) -> Timestamp {
    Timestamp::from_millis(event.timestamp.unwrap_or(0))
}

/// The task that wrote to a stream: `prefix/container/task`.
fn task(event: &FilteredLogEvent) -> &str {
    event.log_stream_name.as_deref().unwrap_or_default().rsplit('/').next().unwrap_or_default()
}

fn print(arguments: &Logs, events: &[FilteredLogEvent], printer: &mut Printer) -> Result<(), Failure> {
    let wanted = |event: &&FilteredLogEvent| {
        arguments.task.as_ref().is_none_or(|wanted| task(event).starts_with(wanted.as_str()))
    };
    for event in events.iter().filter(wanted) {
        let (task, message) = (task(event), event.message.as_deref().unwrap_or_default());
        match arguments.output {
            Output::Text => {
                let id = task.get(..SHORT_ID).unwrap_or(task);
                let prefix = format!("{} {} ", time(event).iso8601().dimmed(), id.cyan());
                printer.quote(&prefix, message.trim_end_matches('\n'))?;
            }
            Output::Json => printer.json_line(&json!({
                "timestamp": time(event).iso8601(),
                "task": task,
                "stream": event.log_stream_name,
                "message": message,
            }))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, seconds: i64) -> FilteredLogEvent {
        FilteredLogEvent {
            event_id: Some(id.to_owned()),
            timestamp: Some(seconds * 1000),
            log_stream_name: Some("app/app/0123456789abcdef".to_owned()),
            ..Default::default()
        }
    }

    #[test]
    fn an_event_is_shown_once_and_a_late_one_too() {
        let mut tail = Tail { group: String::new(), start: Timestamp::from_secs(0), seen: BTreeMap::new() };
        let ids = |events: Vec<FilteredLogEvent>| {
            events.into_iter().filter_map(|event| event.event_id).collect::<Vec<_>>()
        };
        assert_eq!(ids(tail.news([event("a", 1), event("b", 10)].into_iter())), ["a", "b"]);
        tail.forget();
        assert_eq!(tail.start, Timestamp::from_secs(5));
        assert_eq!(tail.seen.len(), 1, "what is not asked for again is forgotten");
        assert_eq!(
            ids(tail.news([event("late", 9), event("b", 10), event("c", 10)].into_iter())),
            ["late", "c"]
        );
    }

    #[test]
    fn a_stream_names_its_task() {
        assert_eq!(task(&event("a", 1)), "0123456789abcdef");
    }
}
