//! Which containers may start, by what they depend on, and which may be stopped: those that nobody depends on any more.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html>

use std::time::{Duration, Instant};

use pileus_contract::containers::{Condition, ContainerStatus, Dependency, Health};

/// A container as the others see it.
#[derive(Clone, Debug)]
pub(super) struct Neighbour<'a> {
    pub(super) name: &'a str,
    pub(super) status: &'a ContainerStatus,
    pub(super) health: Option<Health>,
    /// When it was last started.
    pub(super) started: Option<Instant>,
    /// How long others wait for it from then on.
    pub(super) start_timeout: Option<Duration>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    /// Until something changes, or this moment.
    Wait(Option<Instant>),
    Never(String),
}

/// Whether a container of this name and these dependencies may start.
pub(super) fn readiness(name: &str, depends_on: &[Dependency], all: &[Neighbour], now: Instant) -> Readiness {
    let mut result = Readiness::Ready;
    for dependency in depends_on {
        let Some(other) = all.iter().find(|other| other.name == dependency.container) else {
            return Readiness::Never(format!("it depends on {}, which is not there", dependency.container));
        };
        match judge(other, dependency.condition, now) {
            Judgement::Met => {}
            Judgement::Open(until) => result = sooner(result, until),
            Judgement::Lost(why) => {
                return Readiness::Never(format!(
                    "dependency graph: failed to resolve the container ordering dependency [{}] for [{name}] {why}",
                    other.name
                ));
            }
        }
    }
    result
}

fn sooner(known: Readiness, until: Option<Instant>) -> Readiness {
    match known {
        Readiness::Wait(Some(at)) => Readiness::Wait(Some(until.map_or(at, |until| until.min(at)))),
        _ => Readiness::Wait(until),
    }
}

enum Judgement {
    Met,
    Open(Option<Instant>),
    Lost(String),
}

fn judge(other: &Neighbour, condition: Condition, now: Instant) -> Judgement {
    let exit = match other.status {
        ContainerStatus::Exited(exit) => Some(exit.code),
        ContainerStatus::Created | ContainerStatus::Running { .. } => None,
    };
    let started = matches!(other.status, ContainerStatus::Running { .. });
    match (condition, exit) {
        (_, Some(None)) => Judgement::Lost("as dependency could not be started".to_owned()),
        (Condition::Start, Some(_))
        | (Condition::Complete, Some(_))
        | (Condition::Success, Some(Some(0))) => Judgement::Met,
        (Condition::Success, Some(Some(_))) => {
            Judgement::Lost("as dependency did not exit successfully".to_owned())
        }
        (Condition::Healthy, Some(_)) => Judgement::Lost("as dependency has exited".to_owned()),
        (Condition::Start, None) if started => Judgement::Met,
        (Condition::Start, None) => Judgement::Open(None),
        (Condition::Healthy, None) if other.health == Some(Health::Healthy) => Judgement::Met,
        (_, None) => match other.started.zip(other.start_timeout) {
            Some((at, limit)) if at + limit <= now => {
                Judgement::Lost(format!("after {} seconds of start timeout", limit.as_secs()))
            }
            deadline => Judgement::Open(deadline.map(|(at, limit)| at + limit)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_contract::containers::Exit;
    use pileus_core::Timestamp;

    fn exited(code: Option<i32>) -> ContainerStatus {
        ContainerStatus::Exited(Exit { at: Timestamp::default(), code, out_of_memory: false, reason: None })
    }

    fn decide(
        condition: Condition,
        status: &ContainerStatus,
        health: Option<Health>,
        passed: u64,
    ) -> Readiness {
        let now = Instant::now();
        let running = matches!(status, ContainerStatus::Running { .. });
        let other = Neighbour {
            name: "db",
            status,
            health,
            started: running.then_some(now),
            start_timeout: Some(Duration::from_secs(10)),
        };
        let depends_on = [Dependency { container: "db".into(), condition }];
        readiness("web", &depends_on, &[other], now + Duration::from_secs(passed))
    }

    #[test]
    fn conditions_of_the_api() {
        let running = ContainerStatus::Running { since: Timestamp::default(), pid: 1 };
        let ready = |readiness| readiness == Readiness::Ready;
        let lost = |readiness| matches!(readiness, Readiness::Never(_));
        assert!(ready(decide(Condition::Start, &running, None, 0)));
        assert!(!ready(decide(Condition::Start, &ContainerStatus::Created, None, 0)));
        assert!(ready(decide(Condition::Complete, &exited(Some(3)), None, 0)));
        assert!(ready(decide(Condition::Success, &exited(Some(0)), None, 0)));
        assert!(lost(decide(Condition::Success, &exited(Some(3)), None, 0)));
        assert!(lost(decide(Condition::Complete, &exited(None), None, 0)));
        assert!(ready(decide(Condition::Healthy, &running, Some(Health::Healthy), 0)));
        assert!(lost(decide(Condition::Healthy, &exited(Some(0)), None, 0)));
        let unhealthy = decide(Condition::Healthy, &running, Some(Health::Unhealthy), 9);
        assert!(matches!(unhealthy, Readiness::Wait(Some(_))), "it may still become healthy: {unhealthy:?}");
        assert!(lost(decide(Condition::Healthy, &running, Some(Health::Unknown), 10)));
        assert!(lost(decide(Condition::Complete, &running, None, 10)));
    }
}
