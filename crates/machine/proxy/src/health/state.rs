//! The health of one target as a state machine: outcomes of checks in, changes of state out. Pure.
//!
//! A new target (`initial`) needs one success; a healthy one needs `unhealthy_threshold` failures in a row to fall,
//! an unhealthy one `healthy_threshold` successes in a row to return.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>

use pileus_contract::proxy::{Health, HealthCheckSpec, UnhealthyReason};

use crate::upstream::balance::Standing;

/// How one check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure(UnhealthyReason),
}

#[derive(Clone, Debug)]
pub(crate) struct Tracker {
    health: Health,
    /// Outcomes in a row that speak against the present state.
    contrary: u32,
}

impl Tracker {
    pub(crate) fn new(last_known: Option<Health>) -> Self {
        Self { health: last_known.unwrap_or(Health::Initial), contrary: 0 }
    }

    /// No check has decided yet.
    pub(crate) fn is_initial(&self) -> bool {
        self.health == Health::Initial
    }

    /// Takes in an outcome; the new health where it, or its reason, changed.
    pub(crate) fn observe(&mut self, outcome: Outcome, check: &HealthCheckSpec) -> Option<&Health> {
        let next = match (&self.health, outcome) {
            (Health::Healthy, Outcome::Success) => {
                self.contrary = 0;
                return None;
            }
            (Health::Unhealthy(before), Outcome::Failure(reason)) => {
                self.contrary = 0;
                if *before == reason {
                    return None;
                }
                Health::Unhealthy(reason)
            }
            (Health::Initial, Outcome::Success) => Health::Healthy,
            (Health::Unhealthy(_), Outcome::Success) => {
                self.contrary += 1;
                if self.contrary < check.healthy_threshold {
                    return None;
                }
                Health::Healthy
            }
            (Health::Initial | Health::Healthy, Outcome::Failure(reason)) => {
                self.contrary += 1;
                if self.contrary < check.unhealthy_threshold {
                    return None;
                }
                Health::Unhealthy(reason)
            }
        };
        self.contrary = 0;
        self.health = next;
        Some(&self.health)
    }
}

pub(crate) fn standing(health: &Health) -> Standing {
    match health {
        Health::Initial => Standing::Initial,
        Health::Healthy => Standing::Healthy,
        Health::Unhealthy(_) => Standing::Unhealthy,
    }
}

/// Whether a status is a success.
pub(crate) fn judge(status: u16, check: &HealthCheckSpec) -> Outcome {
    if check.matcher.iter().any(|(low, high)| (*low..=*high).contains(&status)) {
        Outcome::Success
    } else {
        Outcome::Failure(UnhealthyReason::ResponseCodeMismatch(status))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn check(healthy_threshold: u32, unhealthy_threshold: u32) -> HealthCheckSpec {
        HealthCheckSpec {
            path: "/".into(),
            port: None,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            healthy_threshold,
            unhealthy_threshold,
            matcher: vec![(200, 200), (300, 399)],
        }
    }

    /// Feeds `+` (success), `-` (timeout), `x` (status 500); the states after each as `i`, `h`, `t`, `x`.
    fn run(last_known: Option<Health>, outcomes: &str) -> String {
        let mut tracker = Tracker::new(last_known);
        let states = outcomes.chars().map(|outcome| {
            tracker.observe(
                match outcome {
                    '+' => Outcome::Success,
                    '-' => Outcome::Failure(UnhealthyReason::Timeout),
                    _ => judge(500, &check(3, 2)),
                },
                &check(3, 2),
            );
            match &tracker.health {
                Health::Initial => 'i',
                Health::Healthy => 'h',
                Health::Unhealthy(UnhealthyReason::Timeout) => 't',
                Health::Unhealthy(_) => 'x',
            }
        });
        states.collect()
    }

    #[test]
    fn a_new_target_needs_one_success_and_thresholds_hold_afterwards() {
        assert_eq!(run(None, "+"), "h");
        assert_eq!(run(None, "-+"), "ih");
        assert_eq!(run(None, "--+++"), "ittth");
        assert_eq!(run(None, "+-+--"), "hhhht");
        assert_eq!(run(None, "--++-+++"), "itttttth");
        assert_eq!(run(None, "--xx-"), "itxxt", "a changed reason shows");
        assert_eq!(run(Some(Health::Healthy), "-+-"), "hhh");
        assert_eq!(run(Some(Health::Unhealthy(UnhealthyReason::Timeout)), "+++"), "tth");
    }

    #[test]
    fn matchers_are_inclusive_ranges() {
        let ok = |status| judge(status, &check(2, 2)) == Outcome::Success;
        assert!(ok(200) && ok(300) && ok(399) && !ok(201) && !ok(400));
    }

    proptest! {
        #[test]
        fn changes_are_reported_exactly_when_the_state_changes(outcomes in "[+x-]{0,60}", up in 2u32..10, down in 2u32..10) {
            let mut tracker = Tracker::new(None);
            for outcome in outcomes.chars() {
                let before = tracker.health.clone();
                let event = match outcome {
                    '+' => Outcome::Success,
                    '-' => Outcome::Failure(UnhealthyReason::Timeout),
                    _ => Outcome::Failure(UnhealthyReason::FailedHealthChecks),
                };
                let reported = tracker.observe(event, &check(up, down)).cloned();
                prop_assert_eq!(reported.is_some(), before != tracker.health);
                prop_assert!(tracker.health != Health::Initial || before == Health::Initial);
            }
        }

        #[test]
        fn a_run_of_one_kind_always_decides(outcomes in "[+-]{0,30}", up in 2u32..10, down in 2u32..10) {
            let mut tracker = Tracker::new(None);
            for outcome in outcomes.chars() {
                let event = if outcome == '+' { Outcome::Success } else { Outcome::Failure(UnhealthyReason::Timeout) };
                tracker.observe(event, &check(up, down));
            }
            for _ in 0..up {
                tracker.observe(Outcome::Success, &check(up, down));
            }
            prop_assert_eq!(&tracker.health, &Health::Healthy);
        }
    }
}
