//! The health of a target as the API tells it: from what is desired (is it registered, does a rule use its group),
//! and what the balancer has reported.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html>

use pileus_contract::proxy::{Health, UnhealthyReason};
use pileus_core::Timestamp;
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::load_balancer::LoadBalancer;
use crate::target::Target;
use crate::target_group;

/// What the balancer last said of a target. There is none before it knows the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TargetHealth {
    /// The target's key.
    pub(crate) key: String,
    pub(crate) health: Health,
    pub(crate) since: Timestamp,
}

impl Record for TargetHealth {
    const KIND: &'static str = "elbv2/target-health";
    const DURABLE: bool = false;

    fn key(&self) -> String {
        self.key.clone()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    Initial,
    Healthy,
    Unhealthy,
    Unused,
    Draining,
}

impl TargetState {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unused => "unused",
            Self::Draining => "draining",
        }
    }
}

/// A target's state, why it is in it, and the same for a person. A healthy target has neither reason nor description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHealthView {
    pub state: TargetState,
    pub reason: Option<&'static str>,
    pub description: Option<String>,
}

/// Whether requests could reach a target at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    InUse,
    /// No rule of any load balancer forwards to its group.
    NoRule,
    /// Its zone is none of the load balancer's.
    ZoneNotEnabled,
}

impl Usage {
    pub(crate) fn of(tx: &Tx, target: &Target) -> Self {
        let user = target_group::user_of(tx, &target.group).and_then(|key| tx.get::<LoadBalancer>(&key));
        match user {
            None => Self::NoRule,
            Some(balancer) if balancer.has_zone(&target.zone) => Self::InUse,
            Some(_) => Self::ZoneNotEnabled,
        }
    }
}

/// The health of a registered target; `None` for one that is not.
pub(crate) fn view(tx: &Tx, target: Option<&Target>) -> TargetHealthView {
    let Some(target) = target else {
        return tell(
            TargetState::Unused,
            "Target.NotRegistered",
            "Target is not registered to the target group",
        );
    };
    let reported = tx.get::<TargetHealth>(&target.key());
    judge(
        target.draining_since.is_some(),
        Usage::of(tx, target),
        reported.map(|record| record.health.clone()),
    )
}

fn judge(draining: bool, usage: Usage, reported: Option<Health>) -> TargetHealthView {
    use TargetState::{Draining, Healthy, Initial, Unhealthy, Unused};
    if draining {
        return tell(Draining, "Target.DeregistrationInProgress", "Target deregistration is in progress");
    }
    match (usage, reported) {
        (Usage::NoRule, _) => tell(
            Unused,
            "Target.NotInUse",
            "Target group is not configured to receive traffic from the load balancer",
        ),
        (Usage::ZoneNotEnabled, _) => tell(
            Unused,
            "Target.NotInUse",
            "Target is in an Availability Zone that is not enabled for the load balancer",
        ),
        (Usage::InUse, None) => {
            tell(Initial, "Elb.RegistrationInProgress", "Target registration is in progress")
        }
        (Usage::InUse, Some(Health::Initial)) => {
            tell(Initial, "Elb.InitialHealthChecking", "Initial health checks in progress")
        }
        (Usage::InUse, Some(Health::Healthy)) => {
            TargetHealthView { state: Healthy, reason: None, description: None }
        }
        (Usage::InUse, Some(Health::Unhealthy(reason))) => match reason {
            UnhealthyReason::ResponseCodeMismatch(code) => tell(
                Unhealthy,
                "Target.ResponseCodeMismatch",
                &format!("Health checks failed with these codes: [{code}]"),
            ),
            UnhealthyReason::Timeout => tell(Unhealthy, "Target.Timeout", "Request timed out"),
            UnhealthyReason::FailedHealthChecks => {
                tell(Unhealthy, "Target.FailedHealthChecks", "Health checks failed")
            }
        },
    }
}

fn tell(state: TargetState, reason: &'static str, description: &str) -> TargetHealthView {
    TargetHealthView { state, reason: Some(reason), description: Some(description.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of AWS-BEHAVIOUR 3.4, row by row.
    #[test]
    fn states_and_reasons() {
        use UnhealthyReason::{FailedHealthChecks, ResponseCodeMismatch, Timeout};
        let unhealthy = |reason| Some(Health::Unhealthy(reason));
        for (draining, usage, reported, state, reason) in [
            (false, Usage::InUse, None, "initial", Some("Elb.RegistrationInProgress")),
            (false, Usage::InUse, Some(Health::Initial), "initial", Some("Elb.InitialHealthChecking")),
            (false, Usage::InUse, Some(Health::Healthy), "healthy", None),
            (false, Usage::InUse, unhealthy(Timeout), "unhealthy", Some("Target.Timeout")),
            (
                false,
                Usage::InUse,
                unhealthy(FailedHealthChecks),
                "unhealthy",
                Some("Target.FailedHealthChecks"),
            ),
            (
                false,
                Usage::InUse,
                unhealthy(ResponseCodeMismatch(503)),
                "unhealthy",
                Some("Target.ResponseCodeMismatch"),
            ),
            (false, Usage::NoRule, None, "unused", Some("Target.NotInUse")),
            (false, Usage::NoRule, Some(Health::Healthy), "unused", Some("Target.NotInUse")),
            (false, Usage::ZoneNotEnabled, Some(Health::Healthy), "unused", Some("Target.NotInUse")),
            (true, Usage::InUse, Some(Health::Healthy), "draining", Some("Target.DeregistrationInProgress")),
            (true, Usage::InUse, None, "draining", Some("Target.DeregistrationInProgress")),
        ] {
            let view = judge(draining, usage, reported.clone());
            assert_eq!(
                (view.state.as_str(), view.reason),
                (state, reason),
                "{draining} {usage:?} {reported:?}"
            );
            assert_eq!(view.description.is_none(), reason.is_none());
        }
    }

    #[test]
    fn the_code_that_was_answered_is_named() {
        let view =
            judge(false, Usage::InUse, Some(Health::Unhealthy(UnhealthyReason::ResponseCodeMismatch(502))));
        assert_eq!(view.description.as_deref(), Some("Health checks failed with these codes: [502]"));
    }
}
