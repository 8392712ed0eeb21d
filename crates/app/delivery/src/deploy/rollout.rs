//! Watching a rollout to its end: ECS goes through with it by itself, we tell what it does and why it failed.

use std::time::{Duration, Instant};

use pileus_aws::ecs::{DescribeTasksRequest, ListTasksRequest, Service, Task, ops};

use super::{DeployError, Deployment, Event, POLL, given};
use crate::status::{is_settled, stop_reason};

/// After this a rollout is given up watching; ECS itself goes on.
const ROLLOUT_TIME: Duration = Duration::from_secs(30 * 60);

impl Deployment<'_> {
    /// Follows the rollout of `definition`, reporting the service's events, until it is steady or has failed.
    /// `before` are the ids of events from before it, which are no news.
    pub(super) async fn watch(
        &mut self,
        cluster: &str,
        definition: &str,
        before: &[String],
    ) -> Result<(), DeployError> {
        let started = Instant::now();
        let mut seen = before.to_vec();
        loop {
            let service = given(self.describe(cluster).await?, &self.manifest.name, "services")?;
            self.report_events(&service, &mut seen);
            if let Some(reason) = failure(&service, definition, before) {
                let mut tasks = self.stopped_tasks(cluster, definition).await?;
                tasks.extend(health_reason(&service, before));
                return Err(DeployError::Failed { reason, tasks });
            }
            if is_settled(&service) {
                return Ok(());
            }
            if started.elapsed() > ROLLOUT_TIME {
                return Err(DeployError::Slow { what: "the new version".into(), after: ROLLOUT_TIME });
            }
            let primary = service.deployments.iter().flatten().next();
            let counts = primary
                .map(|primary| (primary.running_count.unwrap_or(0), primary.desired_count.unwrap_or(0)));
            let (running, desired) = counts.unwrap_or_default();
            self.waiting(format!("rollout: {running} of {desired} new tasks are running"));
            tokio::time::sleep(POLL).await;
        }
    }

    /// Events that came since the last look.
    fn report_events(&mut self, service: &Service, seen: &mut Vec<String>) {
        for message in news(service, seen).rev() {
            (self.report)(Event::Service(message.to_owned()));
        }
        *seen = event_ids(service);
    }

    /// Why the latest tasks of `definition` stopped.
    async fn stopped_tasks(&mut self, cluster: &str, definition: &str) -> Result<Vec<String>, DeployError> {
        let request = ListTasksRequest {
            cluster: Some(cluster.to_owned()),
            service_name: Some(self.manifest.name.clone()),
            desired_status: Some("STOPPED".into()),
            ..Default::default()
        };
        let arns = self.client.call::<ops::ListTasks>(request).await?.task_arns.unwrap_or_default();
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let tasks = arns.into_iter().take(100).collect();
        let request = DescribeTasksRequest { cluster: Some(cluster.to_owned()), tasks, ..Default::default() };
        let mut tasks = self.client.call::<ops::DescribeTasks>(request).await?.tasks.unwrap_or_default();
        tasks.retain(|task| task.task_definition_arn.as_deref() == Some(definition));
        Ok(reasons(&tasks))
    }
}

pub(super) fn event_ids(service: &Service) -> Vec<String> {
    service.events.iter().flatten().filter_map(|event| event.id.clone()).collect()
}

/// Messages of the events that are not among `seen`, the newest first.
fn news<'a>(service: &'a Service, seen: &'a [String]) -> impl DoubleEndedIterator<Item = &'a str> {
    let is_new = |id: &Option<String>| id.as_ref().is_some_and(|id| !seen.contains(id));
    let events = service.events.iter().flatten().filter(move |event| is_new(&event.id));
    events.filter_map(|event| event.message.as_deref())
}

/// Whether the service's deployment of `definition` is there and has failed.
pub(super) fn has_failed(service: &Service, definition: &str) -> bool {
    let mut deployments = service.deployments.iter().flatten();
    deployments.any(|deployment| {
        deployment.task_definition.as_deref() == Some(definition)
            && deployment.rollout_state.as_deref() == Some("FAILED")
    })
}

/// Why the rollout of `definition` has failed, if it has.
fn failure(service: &Service, definition: &str, before: &[String]) -> Option<String> {
    let deployments = || service.deployments.iter().flatten();
    let ours = deployments().find(|deployment| deployment.task_definition.as_deref() == Some(definition));
    match ours {
        Some(ours) if ours.rollout_state.as_deref() == Some("FAILED") => {
            Some(ours.rollout_state_reason.clone().unwrap_or_else(|| "ECS gives no reason.".into()))
        }
        Some(_) => None,
        // It has been taken back already; what it failed of, only an event tells.
        None => {
            let now = deployments().next()?.task_definition.as_deref()?;
            let now = now.rsplit('/').next().unwrap_or(now);
            let why = news(service, before).find_map(|message| message.split_once("deployment failed: "));
            let why = why.map_or("another deployment took its place.", |(_, why)| why);
            Some(format!("{why} The service is back at {now}."))
        }
    }
}

/// What the load balancer last complained of.
fn health_reason(service: &Service, before: &[String]) -> Option<String> {
    let (_, reason) = news(service, before).find_map(|message| message.split_once("due to (reason "))?;
    Some(reason.trim_end_matches(['.', ')']).to_owned())
}

/// Why tasks stopped, each reason once. That a scheduler took them away explains nothing.
fn reasons(tasks: &[Task]) -> Vec<String> {
    let mut reasons: Vec<String> = tasks.iter().map(stop_reason).collect();
    reasons.retain(|reason| !reason.is_empty() && !reason.starts_with("Scaling activity"));
    reasons.sort();
    // A reason that another one continues, by what became of the container, says less.
    let mut told: Vec<String> = Vec::new();
    for reason in reasons {
        match told.last_mut() {
            Some(last) if reason.starts_with(last.as_str()) => *last = reason,
            _ => told.push(reason),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use pileus_aws::ecs::{Container, Deployment, ServiceEvent};

    use super::*;

    fn service(definition: &str, rollout: &str, events: &[(&str, &str)]) -> Service {
        let deployment = Deployment {
            task_definition: Some(definition.to_owned()),
            rollout_state: Some(rollout.to_owned()),
            rollout_state_reason: Some(format!("{rollout} it is.")),
            ..Default::default()
        };
        let event = |(id, message): &(&str, &str)| ServiceEvent {
            id: Some((*id).to_owned()),
            message: Some((*message).to_owned()),
            ..Default::default()
        };
        Service {
            deployments: Some(vec![deployment]),
            events: Some(events.iter().map(event).collect()),
            ..Default::default()
        }
    }

    #[test]
    fn a_failure_is_explained_also_after_its_rollback() {
        let failed = service("app:2", "FAILED", &[]);
        assert_eq!(failure(&failed, "app:2", &[]).as_deref(), Some("FAILED it is."));
        assert!(has_failed(&failed, "app:2"));
        let events = [("2", "(deployment b) deployment failed: tasks failed to start."), ("1", "old")];
        let back = service("arn/app:1", "COMPLETED", &events);
        let reason = failure(&back, "app:2", &["1".to_owned()]).unwrap();
        assert_eq!(reason, "tasks failed to start. The service is back at app:1.");
        let reason = failure(&back, "app:2", &["1".to_owned(), "2".to_owned()]).unwrap();
        assert_eq!(reason, "another deployment took its place. The service is back at app:1.");
        assert_eq!(failure(&service("app:2", "IN_PROGRESS", &[]), "app:2", &[]), None);
    }

    #[test]
    fn each_reason_is_told_once_and_in_full() {
        let task = |reason: &str, exit_code: Option<i64>| Task {
            stopped_reason: Some(reason.to_owned()),
            containers: Some(vec![Container { name: Some("app".into()), exit_code, ..Default::default() }]),
            ..Default::default()
        };
        let tasks = [
            task("Task failed ELB health checks", Some(0)),
            task("Task failed ELB health checks", None),
            task("Scaling activity initiated by (deployment x)", Some(0)),
        ];
        assert_eq!(reasons(&tasks), ["Task failed ELB health checks (container app exited with 0)"]);
        let complaint = "(port 3000) is unhealthy in (target-group x) due to (reason Health checks failed with these codes: [404]).";
        let service = service("app:2", "FAILED", &[("1", complaint)]);
        assert_eq!(
            health_reason(&service, &[]).as_deref(),
            Some("Health checks failed with these codes: [404]")
        );
    }
}
