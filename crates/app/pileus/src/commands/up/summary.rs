//! What `pileus up` says at its end: how long each stage took, the URL, and what to try next.

use std::time::{Duration, Instant};

use owo_colors::{OwoColorize as _, Style};
use pileus_delivery::deploy::{Deployed, Outcome, Rollout};
use pileus_delivery::image::BuiltImage;
use pileus_delivery::status::url;
use serde_json::{Value, json};

use crate::app::App;
use crate::failure::Failure;
use crate::format::{self, Cell, table};
use crate::link::Link;
use crate::printer::Printer;
use crate::progress::Done;

/// How long each stage took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stages {
    /// The image.
    build: Duration,
    /// The repository and the image's way there.
    push: Duration,
    /// Everything that the service needs.
    architecture: Duration,
    /// From the change of the service until it is steady.
    rollout: Duration,
}

impl Stages {
    /// Stages end with the resources that are their last: the image, and the service, whose rollout follows.
    pub(super) fn new(began: Instant, built: Instant, done: &[Done]) -> Self {
        let end = |kind: &str| done.iter().find(|done| done.kind == kind).map(|done| done.at);
        let pushed = end("image").unwrap_or(built);
        let arranged = end("service").unwrap_or(pushed);
        Self {
            build: built - began,
            push: pushed - built,
            architecture: arranged - pushed,
            rollout: arranged.elapsed(),
        }
    }

    fn rows(&self) -> [(&'static str, Duration); 4] {
        [
            ("build", self.build),
            ("push", self.push),
            ("architecture", self.architecture),
            ("rollout", self.rollout),
        ]
    }

    fn total(&self) -> Duration {
        self.rows().iter().map(|(_, took)| *took).sum()
    }
}

pub(super) struct Summary<'a> {
    pub(super) app: &'a App,
    pub(super) link: &'a Link,
    pub(super) deployed: &'a Deployed,
    pub(super) image: &'a BuiltImage,
    pub(super) tags: &'a [String],
    pub(super) edge_port: Option<u16>,
    pub(super) stages: Stages,
    pub(super) done: &'a [Done],
}

impl Summary<'_> {
    fn url(&self) -> Option<String> {
        self.edge_port.map(|port| url(&self.deployed.dns_name, port))
    }

    /// Nothing had to be done.
    fn is_idle(&self) -> bool {
        self.deployed.rollout == Rollout::None
            && self.done.iter().all(|done| done.outcome == Outcome::Unchanged)
    }

    pub(super) fn say(&self, printer: &mut Printer) -> Result<(), Failure> {
        let (name, total) = (self.app.name(), format::duration(self.stages.total()));
        if self.is_idle() {
            printer.say(format!("\nNothing to do: {name} runs as it should ({total})."));
        } else {
            printer.say(format!("\n{} is up ({total}).", name.bold()));
            for (stage, took) in self.stages.rows() {
                printer.say(format!("  {stage:<14} {:>6}", format::duration(took)));
            }
        }
        printer.say("");
        let Some(url) = self.url() else {
            printer.warn("no port of this host leads to the load balancer; the engine's log says why");
            return Ok(());
        };
        printer.data(&url)?;
        if !self.is_idle() {
            self.say_what_next(&url, printer);
        }
        Ok(())
    }

    fn say_what_next(&self, url: &str, printer: &mut Printer) {
        let (name, argument, endpoint) = (self.app.name(), &self.app.argument, self.link.endpoint());
        printer.say("\nWhat to try next:");
        let commands = [
            (format!("curl {url}"), "ask the app"),
            (format!("pileus status{argument}"), "see its tasks, targets and events"),
            (format!("pileus logs{argument} -f"), "follow what it writes"),
            (format!("pileus up{argument}"), "deploy again, after a change of the code"),
        ];
        let rows = commands.map(|(command, purpose)| {
            [Cell::from(command), Cell::styled(format!("# {purpose}"), Style::new().dimmed())]
        });
        for line in table(&rows) {
            printer.say(line);
        }
        let (region, credentials) = (&self.app.manifest.region, &self.link.environment);
        printer.say(format!(
            "  {credentials} AWS_DEFAULT_REGION={region} \\\n    \
             aws --endpoint-url {endpoint} ecs list-tasks --cluster {name}"
        ));
    }

    /// The same for a program. Field names are stable; durations are in milliseconds.
    pub(super) fn document(&self) -> Value {
        let millis = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let resource = |done: &Done| {
            let outcome = match done.outcome {
                Outcome::Created => "created",
                Outcome::Updated => "updated",
                Outcome::Unchanged => "unchanged",
                Outcome::Deleted => "deleted",
            };
            json!({"kind": done.kind, "name": done.name, "outcome": outcome, "ms": millis(done.took)})
        };
        let stages: Value = self
            .stages
            .rows()
            .iter()
            .map(|(stage, took)| ((*stage).to_owned(), Value::from(millis(*took))))
            .collect();
        json!({
            "app": self.app.name(),
            "url": self.url(),
            "dns_name": self.deployed.dns_name,
            "endpoint": self.link.endpoint(),
            "region": self.app.manifest.region,
            "cluster": self.deployed.cluster,
            "service": self.deployed.service,
            "image": self.image.manifest_digest,
            "tags": self.tags,
            "changed": !self.is_idle(),
            "rolled_out": self.deployed.rollout == Rollout::Done,
            "stages_ms": stages,
            "resources": self.done.iter().map(resource).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_end_with_their_last_resource() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let done = |kind, millis| Done {
            kind,
            name: String::new(),
            outcome: Outcome::Created,
            took: Duration::ZERO,
            at: at(millis),
        };
        let list = [done("repository", 11), done("image", 30), done("VPC", 35), done("service", 60)];
        let stages = Stages::new(began, at(10), &list);
        let millis: Vec<_> = stages.rows().iter().take(3).map(|(_, took)| took.as_millis()).collect();
        assert_eq!(millis, [10, 20, 30]);
    }
}
