//! The events of a service, in AWS's words: clients and people match on them.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html>

use pileus_core::{IdGen, Timestamp};
use pileus_state::Tx;

use super::plan::FailedBy;
use super::record::{Event, MAX_EVENTS, ServiceEvents};
use super::view::Cause;

/// Something to tell of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Started(Vec<String>),
    /// Started in place of unhealthy ones.
    Replaced(Vec<String>),
    /// Started in this zone to balance the zones.
    Rebalanced(String, Vec<String>),
    StoppedRunning(Vec<String>),
    StoppedPending(usize),
    Registered(usize, String),
    Deregistered(usize, String),
    Draining(usize, String),
    Unhealthy(String, Cause),
    Completed(String),
    Failed(String, FailedBy),
    RollingBack(String),
    Shielded(String, usize),
    /// What would fail on AWS.
    Warning(String),
    Steady,
    CannotPlace(String),
    Impaired,
    Stuck,
}

impl Told {
    /// The message, for the service of this name.
    pub(crate) fn message(&self, service: &str) -> String {
        let what = match self {
            Self::Started(tasks) => format!("has started {} tasks: {}.", tasks.len(), list(tasks)),
            Self::Replaced(tasks) => {
                let (count, tasks) = (tasks.len(), list(tasks));
                format!(
                    "has started {count} tasks: {tasks}. Amazon ECS replaced {count} tasks due to an unhealthy status."
                )
            }
            Self::Rebalanced(zone, tasks) => {
                format!("has started {} tasks in {zone} to AZ Rebalance: {}.", tasks.len(), list(tasks))
            }
            Self::StoppedRunning(tasks) => {
                format!("has stopped {} running tasks: {}.", tasks.len(), list(tasks))
            }
            Self::StoppedPending(count) => format!("stopped {count} pending tasks."),
            Self::Registered(count, group) => format!("registered {count} targets in (target-group {group})"),
            Self::Deregistered(count, group) => {
                format!("deregistered {count} targets in (target-group {group})")
            }
            Self::Draining(count, deployment) => {
                return format!(
                    "(service {service}, taskSet ecs-svc/{deployment}) has begun draining connections on {count} tasks."
                );
            }
            Self::Unhealthy(task, Cause::Target { target_group, port, reason }) => format!(
                "(task {task}) (port {port}) is unhealthy in (target-group {target_group}) due to (reason {reason})."
            ),
            Self::Completed(deployment) => format!("(deployment ecs-svc/{deployment}) deployment completed."),
            Self::Unhealthy(task, Cause::Container) => {
                format!("(task {task}) failed container health checks.")
            }
            Self::Failed(deployment, because) => {
                format!("(deployment ecs-svc/{deployment}) deployment failed: {}.", because.told())
            }
            Self::Shielded(deployment, tasks) => format!(
                "was unable to reach steady state because (taskSet ecs-svc/{deployment}) was unable to scale in due to \
                 (reason {tasks} tasks under protection)"
            ),
            Self::Warning(what) => format!("would fail on AWS: {what}"),
            Self::RollingBack(deployment) => format!("rolling back to deployment ecs-svc/{deployment}."),
            Self::Steady => "has reached a steady state.".into(),
            Self::CannotPlace(reason) => format!("was unable to place a task. Reason: {reason}."),
            Self::Impaired => "is unable to consistently start tasks successfully.".into(),
            Self::Stuck => "was unable to stop or start tasks during a deployment because of the service \
                            deployment configuration. Update the minimumHealthyPercent or maximumPercent value \
                            and try again."
                .into(),
        };
        format!("(service {service}) {what}")
    }
}

fn list(tasks: &[String]) -> String {
    tasks.iter().map(|task| format!("(task {task})")).collect::<Vec<_>>().join(" ")
}

/// Writes events of the service with this key, in the order in which they happened.
pub(crate) fn tell(tx: &mut Tx, ids: &mut IdGen, now: Timestamp, key: &str, told: &[Told]) {
    if told.is_empty() {
        return;
    }
    let name = key.rsplit('/').next().unwrap_or(key);
    let old = tx.get::<ServiceEvents>(key);
    let mut record = old.map_or_else(
        || ServiceEvents { service: key.to_owned(), ..ServiceEvents::default() },
        |old| ServiceEvents::clone(&old),
    );
    for event in told {
        record.events.push_front(Event { id: ids.uuid(), at: now, message: event.message(name) });
    }
    record.events.truncate(MAX_EVENTS);
    tx.put(record);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of AWS-BEHAVIOUR 1.4.
    #[test]
    fn messages_are_those_of_aws() {
        let two = || vec!["a".to_owned(), "b".to_owned()];
        let cause =
            Cause::Target { target_group: "arn:tg".into(), port: 3000, reason: "Request timed out".into() };
        for (told, expected) in [
            (Told::Started(two()), "(service web) has started 2 tasks: (task a) (task b)."),
            (
                Told::Replaced(vec!["a".into()]),
                "(service web) has started 1 tasks: (task a). Amazon ECS replaced 1 tasks due to an unhealthy status.",
            ),
            (Told::StoppedRunning(two()), "(service web) has stopped 2 running tasks: (task a) (task b)."),
            (Told::StoppedPending(3), "(service web) stopped 3 pending tasks."),
            (
                Told::Registered(1, "arn:tg".into()),
                "(service web) registered 1 targets in (target-group arn:tg)",
            ),
            (
                Told::Draining(1, "7".into()),
                "(service web, taskSet ecs-svc/7) has begun draining connections on 1 tasks.",
            ),
            (
                Told::Unhealthy("a".into(), cause),
                "(service web) (task a) (port 3000) is unhealthy in (target-group arn:tg) due to (reason Request timed out).",
            ),
            (Told::Completed("7".into()), "(service web) (deployment ecs-svc/7) deployment completed."),
            (
                Told::Failed("7".into(), FailedBy::Breaker),
                "(service web) (deployment ecs-svc/7) deployment failed: tasks failed to start.",
            ),
            (
                Told::Failed("7".into(), FailedBy::Alarm),
                "(service web) (deployment ecs-svc/7) deployment failed: alarm detected.",
            ),
            (
                Told::Unhealthy("a".into(), Cause::Container),
                "(service web) (task a) failed container health checks.",
            ),
            (
                Told::Shielded("7".into(), 2),
                "(service web) was unable to reach steady state because (taskSet ecs-svc/7) was unable to scale in due to (reason 2 tasks under protection)",
            ),
            (Told::RollingBack("6".into()), "(service web) rolling back to deployment ecs-svc/6."),
            (Told::Steady, "(service web) has reached a steady state."),
        ] {
            assert_eq!(told.message("web"), expected);
        }
    }
}
