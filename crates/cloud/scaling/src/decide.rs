//! What becomes of a scaling policy's trigger: pure, over plain values.
//!
//! The rules are those of the two guides for step scaling and target tracking:
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html>,
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html>.
//!
//! - Any policy may scale out; the largest capacity wins. Target tracking scales in only when all of its policies that
//!   may are ready to; again the largest capacity wins. Step policies neither block nor are blocked.
//! - During a cooldown (and while the scaling itself is in progress) scaling in waits; scaling out goes on only beyond
//!   what has been added already, counted from the capacity before. A cooldown after scaling in ends with a scale-out.
//! - No scaling in while ECS deploys. Nothing ever leaves minimum and maximum.

use serde::{Deserialize, Serialize};

use crate::policy::step::Adjustment;
use crate::policy::tracking;

/// A scalable target at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Situation {
    /// The desired count.
    pub(crate) current: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
    pub(crate) in_suspended: bool,
    pub(crate) out_suspended: bool,
    /// ECS deploys the service.
    pub(crate) deploying: bool,
    /// What a policy did of late, where its cooldown lasts or has not begun.
    pub(crate) cooling: Option<Cooling>,
    /// A target-tracking policy that may scale in does not want to.
    pub(crate) held: bool,
}

/// A scaling that is in progress or whose cooldown lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cooling {
    /// The capacity before it, or before the first of several in a row.
    pub(crate) base: u32,
    pub(crate) to: u32,
}

impl Cooling {
    fn out(self) -> Option<u32> {
        (self.to > self.base).then_some(self.base)
    }
}

/// What one triggered policy asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ask {
    Step(Adjustment),
    /// The high alarm of a target-tracking policy, with the latest value of its metric.
    Out {
        metric: f64,
        target: f64,
    },
    /// The low alarm, with the highest value that it has seen.
    In {
        metric: f64,
        target: f64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Set the desired count; `by` is the index of the trigger that decides, `base` is for the cooldown to come.
    Scale { to: u32, by: usize, base: u32 },
    /// The activity that AWS shows where it is asked for those that were not scaled.
    NotScaled { by: usize, reason: Reason },
    /// Suspended or cooling down: AWS tells nobody.
    Nothing,
}

/// <https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-scaling-activities.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    AnticipatedFlapping(u32),
    Unscalable,
    AtMax(u32),
    AtMin(u32),
    AtDesired(u32),
}

/// A capacity that a trigger comes to.
#[derive(Clone, Copy)]
struct Wish {
    by: usize,
    to: u32,
    tracks: bool,
}

/// Decides on the triggers of one moment.
pub(crate) fn decide(situation: &Situation, asks: &[Ask]) -> Decision {
    let current = situation.current;
    let wishes = asks.iter().enumerate().map(|(by, ask)| wish(situation, by, *ask));
    let (tracking, steps): (Vec<Wish>, Vec<Wish>) = wishes.partition(|wish| wish.tracks);
    let largest = |wishes: &mut dyn Iterator<Item = Wish>| wishes.max_by_key(|wish| wish.to);
    let all = || tracking.iter().chain(&steps).copied();
    if let Some(wish) = largest(&mut all().filter(|wish| wish.to > current)) {
        return scale_out(situation, wish);
    }
    let tracking =
        largest(&mut tracking.iter().copied()).filter(|wish| wish.to == current || !situation.held);
    let less = tracking.into_iter().chain(steps.iter().copied()).filter(|wish| wish.to < current);
    if let Some(wish) = largest(&mut less.into_iter()) {
        return scale_in(situation, wish);
    }
    match tracking.or(steps.first().copied()) {
        Some(wish) if situation.cooling.is_none() => unchanged(situation, wish),
        _ => Decision::Nothing,
    }
}

/// The capacity that the next scale-out counts from: what is being added already is part of what is to be added.
fn origin(situation: &Situation) -> u32 {
    situation.cooling.and_then(Cooling::out).unwrap_or(situation.current)
}

fn wish(situation: &Situation, by: usize, ask: Ask) -> Wish {
    let (current, origin) = (situation.current, origin(situation));
    match ask {
        // Less than has been added already is no wish to scale in.
        Ask::Step(adjustment) if adjustment.adds() => {
            Wish { by, to: adjustment.apply(origin).max(current), tracks: false }
        }
        Ask::Step(adjustment) => Wish { by, to: adjustment.apply(current), tracks: false },
        Ask::Out { metric, target } => {
            Wish { by, to: tracking::needed(origin, metric, target).max(current), tracks: true }
        }
        Ask::In { metric, target } => {
            Wish { by, to: tracking::needed(current, metric, target).min(current), tracks: true }
        }
    }
}

fn scale_out(situation: &Situation, wish: Wish) -> Decision {
    if situation.out_suspended {
        return Decision::Nothing;
    }
    let to = wish.to.max(situation.min).min(situation.max);
    if to <= situation.current {
        return Decision::NotScaled { by: wish.by, reason: Reason::AtMax(situation.max) };
    }
    Decision::Scale { to, by: wish.by, base: origin(situation) }
}

fn scale_in(situation: &Situation, wish: Wish) -> Decision {
    if situation.in_suspended || situation.cooling.is_some() {
        return Decision::Nothing;
    }
    let to = wish.to.min(situation.max).max(situation.min);
    if to >= situation.current {
        return Decision::NotScaled { by: wish.by, reason: Reason::AtMin(situation.min) };
    }
    if situation.deploying {
        return Decision::NotScaled { by: wish.by, reason: Reason::Unscalable };
    }
    Decision::Scale { to, by: wish.by, base: situation.current }
}

fn unchanged(situation: &Situation, wish: Wish) -> Decision {
    let current = situation.current;
    let reason = if wish.tracks && current <= situation.min {
        Reason::AtMin(situation.min)
    } else if wish.tracks {
        Reason::AnticipatedFlapping(current)
    } else {
        Reason::AtDesired(current)
    };
    Decision::NotScaled { by: wish.by, reason }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(current: u32) -> Situation {
        Situation {
            current,
            min: 2,
            max: 10,
            in_suspended: false,
            out_suspended: false,
            deploying: false,
            cooling: None,
            held: false,
        }
    }

    fn out(metric: f64) -> Ask {
        Ask::Out { metric, target: 70.0 }
    }

    fn less(metric: f64) -> Ask {
        Ask::In { metric, target: 70.0 }
    }

    fn add(count: i64) -> Ask {
        Ask::Step(Adjustment::Change(count))
    }

    fn scaled(decision: Decision) -> Option<u32> {
        match decision {
            Decision::Scale { to, .. } => Some(to),
            _ => None,
        }
    }

    fn why(decision: Decision) -> Option<Reason> {
        match decision {
            Decision::NotScaled { reason, .. } => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn one_policy() {
        for (current, ask, to) in [
            (2, out(140.0), Some(4)),
            (4, out(400.0), Some(10)),
            (10, out(100.0), None),
            (10, less(7.0), Some(2)),
            (6, less(50.0), Some(5)),
            (2, less(1.0), None),
            (3, add(1), Some(4)),
            (3, add(-1), Some(2)),
            (2, add(-1), None),
            (9, add(5), Some(10)),
        ] {
            assert_eq!(scaled(decide(&at(current), &[ask])), to, "{ask:?} at {current}");
        }
    }

    /// The reason codes of the page on scaling activities.
    #[test]
    fn reasons_not_to_scale() {
        let deploying = Situation { deploying: true, ..at(6) };
        for (situation, ask, reason) in [
            (at(10), out(100.0), Reason::AtMax(10)),
            (at(10), add(1), Reason::AtMax(10)),
            (at(2), add(-1), Reason::AtMin(2)),
            (at(2), less(1.0), Reason::AtMin(2)),
            (at(3), less(60.0), Reason::AnticipatedFlapping(3)),
            (at(3), add(0), Reason::AtDesired(3)),
            (deploying, less(7.0), Reason::Unscalable),
        ] {
            assert_eq!(why(decide(&situation, &[ask])), Some(reason), "{ask:?}");
        }
        assert_eq!(
            scaled(decide(&deploying, &[out(140.0)])),
            Some(10),
            "a deployment does not stop scaling out"
        );
    }

    /// "If the alarm triggers again during the cooldown period but at a more aggressive step adjustment of 3, the
    /// previous increase of 2 is considered part of the current capacity. Therefore, only 1 is added."
    #[test]
    fn a_larger_step_during_the_cooldown() {
        let cooling = Situation { cooling: Some(Cooling { base: 4, to: 6 }), ..at(6) };
        assert_eq!(decide(&cooling, &[add(3)]), Decision::Scale { to: 7, by: 0, base: 4 });
        assert_eq!(decide(&cooling, &[add(2)]), Decision::Nothing);
        assert_eq!(decide(&cooling, &[add(1)]), Decision::Nothing);
        assert_eq!(decide(&cooling, &[out(70.0 * 1.5)]), Decision::Nothing);
        assert_eq!(decide(&cooling, &[out(140.0)]), Decision::Scale { to: 8, by: 0, base: 4 });
        assert_eq!(decide(&cooling, &[add(-1)]), Decision::Nothing, "scaling in waits");
        assert_eq!(decide(&cooling, &[less(7.0)]), Decision::Nothing);
    }

    /// "If another alarm triggers a scale-out policy during the cooldown period after a scale-in, Application Auto
    /// Scaling scales out your scalable target immediately."
    #[test]
    fn out_after_in_does_not_wait() {
        let cooling = Situation { cooling: Some(Cooling { base: 6, to: 4 }), ..at(4) };
        assert_eq!(decide(&cooling, &[add(1)]), Decision::Scale { to: 5, by: 0, base: 4 });
        assert_eq!(decide(&cooling, &[add(-1)]), Decision::Nothing);
    }

    /// "Multiple scaling policies" of the target-tracking page.
    #[test]
    fn several_policies() {
        assert_eq!(decide(&at(4), &[out(80.0), out(105.0)]), Decision::Scale { to: 6, by: 1, base: 4 });
        assert_eq!(decide(&at(4), &[less(7.0), add(1)]), Decision::Scale { to: 5, by: 1, base: 4 });
        assert_eq!(decide(&at(8), &[less(7.0), less(35.0)]), Decision::Scale { to: 4, by: 1, base: 8 });
        assert_eq!(why(decide(&at(8), &[less(7.0), less(69.0)])), Some(Reason::AnticipatedFlapping(8)));
        let held = Situation { held: true, ..at(8) };
        assert_eq!(decide(&held, &[less(7.0)]), Decision::Nothing);
        assert_eq!(scaled(decide(&held, &[add(-1), less(7.0)])), Some(7), "a step policy is not blocked");
        assert_eq!(scaled(decide(&held, &[out(105.0)])), Some(10));
    }

    #[test]
    fn suspended() {
        let none = Situation { in_suspended: true, out_suspended: true, ..at(5) };
        for ask in [out(200.0), less(1.0), add(1), add(-1)] {
            assert_eq!(decide(&none, &[ask]), Decision::Nothing, "{ask:?}");
        }
    }

    fn ask() -> impl Strategy<Value = Ask> {
        prop_oneof![
            (0.0..400.0).prop_map(out),
            (0.0..400.0).prop_map(less),
            (-5_i64..6).prop_map(add),
            (0_u32..20).prop_map(|to| Ask::Step(Adjustment::Exact(to))),
            (-300_i64..300, 0_i64..4)
                .prop_map(|(percent, at_least)| Ask::Step(Adjustment::Percent { percent, at_least })),
        ]
    }

    fn situation() -> impl Strategy<Value = Situation> {
        let cooling =
            proptest::option::of((0_u32..20, 0_u32..20).prop_map(|(base, to)| Cooling { base, to }));
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        (0_u32..20, 0_u32..10, 0_u32..10, cooling, flags).prop_map(|(current, min, more, cooling, flags)| {
            Situation {
                current,
                min,
                max: min + more,
                in_suspended: flags.0,
                out_suspended: flags.1,
                deploying: flags.2,
                held: flags.3,
                cooling,
            }
        })
    }

    proptest! {
        #[test]
        fn every_decision_keeps_the_rules(
            situation in situation(),
            asks in proptest::collection::vec(ask(), 0..4),
        ) {
            if let Decision::Scale { to, by, .. } = decide(&situation, &asks) {
                prop_assert!(by < asks.len());
                prop_assert!((situation.min..=situation.max).contains(&to));
                prop_assert_ne!(to, situation.current);
                if to > situation.current {
                    prop_assert!(!situation.out_suspended);
                } else {
                    prop_assert!(!situation.in_suspended && !situation.deploying && situation.cooling.is_none());
                }
            }
        }

        /// At most two scalings in each direction bring a constant load to rest: tracking does not oscillate.
        #[test]
        fn tracking_comes_to_rest_under_constant_load(
            load in 1.0..1000.0_f64,
            start in 2_u32..10,
        ) {
            let (mut current, mut changes) = (start, Vec::new());
            for _ in 0..20 {
                let metric = load / f64::from(current);
                let asks: Vec<Ask> =
                    [(metric > 70.0).then(|| out(metric)), (metric < 63.0).then(|| less(metric))]
                        .into_iter().flatten().collect();
                if let Decision::Scale { to, .. } = decide(&at(current), &asks) {
                    changes.push(i64::from(to) - i64::from(current));
                    current = to;
                }
            }
            prop_assert!(changes.len() <= 1, "{changes:?}");
        }
    }
}
