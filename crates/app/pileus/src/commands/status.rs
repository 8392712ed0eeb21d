//! `pileus status`: one picture of an app. As JSON it is `pileus_delivery::status::View`, whose fields are stable.

use std::path::Path;

use owo_colors::{OwoColorize as _, Style};
use pileus_core::Timestamp;
use pileus_delivery::status::{DeploymentView, EventView, Observed, TargetView, TaskView, View};

use super::block_on;
use crate::app::App;
use crate::cli::{Output, Status};
use crate::failure::{Exit, Failure};
use crate::format::{self, Cell, heads, table};
use crate::link::{self, Link};
use crate::printer::Printer;

/// Of a task's id, enough to tell tasks apart.
const SHORT_ID: usize = 8;

pub(crate) fn run(arguments: &Status, home: &Path, printer: &mut Printer) -> Result<Exit, Failure> {
    let app = App::of(&arguments.app)?;
    let link = Link::find(home)?;
    let (view, now) = block_on(view(&app, &link))?;
    match arguments.output {
        Output::Json => printer.json(&view)?,
        Output::Text => {
            for line in lines(&view, now) {
                printer.data(line)?;
            }
        }
    }
    Ok(if view.steady { Exit::Success } else { Exit::Failure })
}

async fn view(app: &App, link: &Link) -> Result<(View, Timestamp), Failure> {
    let client = link.client(&app.manifest.region);
    let now = link::now(&client).await?;
    let observed = Observed::fetch(&client, app.name(), now).await?.ok_or_else(|| app.not_deployed())?;
    let edge_port = link::edge_port(&client).await?;
    Ok((View::new(app.name(), &observed, edge_port, now), now))
}

/// The view for a person.
fn lines(view: &View, now: Timestamp) -> Vec<String> {
    let url = view.url.as_deref().unwrap_or("(not reachable from this host)");
    let mut lines = vec![format!("{}  {url}", view.app.bold()), String::new()];
    let service = &view.service;
    let state = if view.steady { "steady".green().to_string() } else { "not steady".yellow().to_string() };
    lines.push(format!(
        "service  {state}: {} desired, {} running, {} pending, {}",
        service.desired, service.running, service.pending, service.task_definition
    ));
    let mut section = |title: &str, rows: Vec<String>| {
        if !rows.is_empty() {
            lines.extend([String::new(), title.bold().to_string()]);
            lines.extend(rows);
        }
    };
    section("deployments", deployments(view, now));
    section("tasks", tasks(view, now));
    section("targets", targets(view));
    section("events", events(view));
    let warning = |text: &String| format!("  {} {}", "!".yellow().bold(), format::printable(text));
    section("warnings", view.warnings.iter().map(warning).collect());
    lines
}

fn since(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format::age(now.since(time)))
}

fn colour(state: &str) -> Style {
    match state {
        "COMPLETED" | "RUNNING" | "healthy" => Style::new().green(),
        "FAILED" | "unhealthy" => Style::new().red(),
        "draining" | "DEACTIVATING" | "STOPPING" | "DEPROVISIONING" => Style::new().dimmed(),
        _ => Style::new().yellow(),
    }
}

fn deployments(view: &View, now: Timestamp) -> Vec<String> {
    let row = |deployment: &DeploymentView| {
        [
            Cell::from(&deployment.status),
            Cell::from(&deployment.task_definition),
            Cell::styled(&deployment.rollout, colour(&deployment.rollout)),
            Cell::from(format!("{}/{}", deployment.running, deployment.desired)),
            Cell::from(deployment.failed.to_string()),
            Cell::from(since(deployment.since, now)),
        ]
    };
    let mut rows = vec![heads(["STATUS", "VERSION", "ROLLOUT", "RUNNING", "FAILED", "SINCE"])];
    rows.extend(view.deployments.iter().map(row));
    if rows.len() > 1 { table(&rows) } else { Vec::new() }
}

fn tasks(view: &View, now: Timestamp) -> Vec<String> {
    let percent = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}%"));
    let row = |task: &TaskView| {
        [
            Cell::from(task.id.get(..SHORT_ID).unwrap_or(&task.id)),
            Cell::from(&task.az),
            Cell::from(task.address.as_deref().unwrap_or("-")),
            Cell::styled(&task.state, colour(&task.state)),
            Cell::from(since(task.since, now)),
            Cell::from(percent(task.cpu_percent)),
            Cell::from(percent(task.memory_percent)),
            Cell::from(&task.task_definition),
        ]
    };
    let mut rows = vec![heads(["ID", "AZ", "ADDRESS", "STATE", "SINCE", "CPU", "MEMORY", "VERSION"])];
    rows.extend(view.tasks.iter().map(row));
    if rows.len() > 1 { table(&rows) } else { vec!["  none".to_owned()] }
}

fn targets(view: &View) -> Vec<String> {
    let row = |target: &TargetView| {
        let why = [&target.reason, &target.description].into_iter().flatten().cloned().collect::<Vec<_>>();
        [
            Cell::from(format!("{}:{}", target.address, target.port)),
            Cell::from(&target.az),
            Cell::styled(&target.health, colour(&target.health)),
            Cell::from(why.join(": ")),
        ]
    };
    table(&view.targets.iter().map(row).collect::<Vec<_>>())
}

fn events(view: &View) -> Vec<String> {
    let time = |at: Option<Timestamp>| at.map(|at| at.format("%H:%M:%S")).unwrap_or_default();
    let row = |event: &EventView| {
        [Cell::styled(time(event.at), Style::new().dimmed()), Cell::from(format::brief(&event.message))]
    };
    table(&view.events.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;
    use pileus_delivery::status::ServiceView;

    use super::*;

    fn view(now: Timestamp) -> View {
        let since = Some(now - Duration::from_secs(185));
        View {
            app: "app".into(),
            url: Some("http://app-1.us-east-1.elb.localhost:8080".into()),
            steady: false,
            service: ServiceView {
                name: "app".into(),
                cluster: "app".into(),
                status: "ACTIVE".into(),
                task_definition: "app:3".into(),
                desired: 2,
                running: 1,
                pending: 1,
            },
            deployments: Vec::new(),
            tasks: vec![TaskView {
                id: "0123456789abcdef0123456789abcdef".into(),
                az: "us-east-1a".into(),
                address: Some("10.0.10.5".into()),
                state: "RUNNING".into(),
                since,
                task_definition: "app:3".into(),
                cpu_percent: Some(1.26),
                memory_percent: None,
            }],
            targets: vec![TargetView {
                address: "10.0.10.5".into(),
                port: 3000,
                az: "us-east-1a".into(),
                health: "unhealthy".into(),
                reason: Some("Target.Timeout".into()),
                description: Some("Request timed out".into()),
            }],
            events: vec![EventView { at: since, message: "(service app) has started 2 tasks.".into() }],
            warnings: vec!["No target is healthy.".into()],
        }
    }

    #[test]
    fn a_person_reads_it_without_colour() {
        let now = Timestamp::from_secs(1_795_377_600);
        let text = lines(&view(now), now).join("\n");
        let plain = anstream::adapter::strip_str(&text).to_string();
        expect![[r#"
            app  http://app-1.us-east-1.elb.localhost:8080

            service  not steady: 2 desired, 1 running, 1 pending, app:3

            tasks
              ID        AZ          ADDRESS    STATE    SINCE  CPU   MEMORY  VERSION
              01234567  us-east-1a  10.0.10.5  RUNNING  3m     1.3%  -       app:3

            targets
              10.0.10.5:3000  us-east-1a  unhealthy  Target.Timeout: Request timed out

            events
              19:56:55  (service app) has started 2 tasks.

            warnings
              ! No target is healthy."#]]
        .assert_eq(&plain);
    }
}
