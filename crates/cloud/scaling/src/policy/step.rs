//! Step scaling: how much to add or remove, by how far the metric is beyond the alarm's threshold.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html>

use pileus_aws::application_autoscaling::{StepAdjustment, StepScalingPolicyConfiguration as Configuration};
use pileus_core::ApiError;

use crate::resource::{invalid, too_many};

const MAX_STEPS: usize = 20;
/// Seconds, where a policy does not say.
pub(crate) const DEFAULT_COOLDOWN: i64 = 300;

/// How an adjustment changes a capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adjustment {
    Change(i64),
    Percent { percent: i64, at_least: i64 },
    Exact(u32),
}

impl Adjustment {
    pub(crate) fn apply(self, capacity: u32) -> u32 {
        let change = match self {
            Self::Exact(capacity) => return capacity,
            Self::Change(change) => change,
            Self::Percent { percent, at_least } => {
                let change = rounded(i64::from(capacity).saturating_mul(percent));
                change.signum() * change.abs().max(if change == 0 { 0 } else { at_least })
            }
        };
        u32::try_from(i64::from(capacity).saturating_add(change).max(0)).unwrap_or(u32::MAX)
    }

    /// Whether it adds, whatever the capacity.
    pub(crate) fn adds(self) -> bool {
        matches!(self, Self::Change(1..) | Self::Percent { percent: 1.., .. })
    }
}

/// Hundredths as AWS rounds them: towards zero, but never to zero.
fn rounded(hundredths: i64) -> i64 {
    match hundredths / 100 {
        0 => hundredths.signum(),
        whole => whole,
    }
}

/// The adjustment for a metric that is `deviation` above the threshold, or below it where negative; `rising` is an
/// alarm for values above it, which matters at the threshold itself. `None` where no step is for it.
pub(crate) fn adjustment(configuration: &Configuration, deviation: f64, rising: bool) -> Option<Adjustment> {
    let above = deviation > 0.0 || (deviation == 0.0 && rising);
    let covers = |step: &&StepAdjustment| {
        let low = step.metric_interval_lower_bound.unwrap_or(f64::NEG_INFINITY);
        let high = step.metric_interval_upper_bound.unwrap_or(f64::INFINITY);
        if above {
            low <= deviation && (deviation < high || high == f64::INFINITY)
        } else {
            (low < deviation || low == f64::NEG_INFINITY) && deviation <= high
        }
    };
    let step = configuration.step_adjustments.iter().flatten().find(covers)?;
    let amount = step.scaling_adjustment;
    Some(match configuration.adjustment_type.as_deref() {
        Some("ExactCapacity") => Adjustment::Exact(u32::try_from(amount).unwrap_or(0)),
        Some("PercentChangeInCapacity") => {
            let at_least = configuration.min_adjustment_magnitude.unwrap_or(0);
            Adjustment::Percent { percent: amount, at_least }
        }
        _ => Adjustment::Change(amount),
    })
}

/// Checks a configuration.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(configuration: &Configuration) -> Result<(), ApiError> {
    let Some(kind) = configuration.adjustment_type.as_deref() else {
        return Err(invalid("An adjustment type is required for a step scaling policy"));
    };
    let steps = configuration.step_adjustments.as_deref().unwrap_or_default();
    if steps.is_empty() {
        return Err(invalid("At least one step adjustment is required for a step scaling policy"));
    }
    if steps.len() > MAX_STEPS {
        return Err(too_many(format!("A step scaling policy can have at most {MAX_STEPS} step adjustments")));
    }
    match configuration.min_adjustment_magnitude {
        Some(_) if kind != "PercentChangeInCapacity" => {
            return Err(invalid(
                "MinAdjustmentMagnitude is only supported for the adjustment type PercentChangeInCapacity",
            ));
        }
        Some(..=0) => return Err(invalid("MinAdjustmentMagnitude must be greater than 0")),
        _ => {}
    }
    if configuration.cooldown.is_some_and(|cooldown| cooldown < 0) {
        return Err(invalid("Cooldown must be greater than or equal to 0"));
    }
    if kind == "ExactCapacity" && steps.iter().any(|step| step.scaling_adjustment < 0) {
        return Err(invalid("ScalingAdjustment must be non-negative for the adjustment type ExactCapacity"));
    }
    check_bounds(steps)
}

/// The ranges have neither gaps nor overlaps, and reach to infinity on every side that they go to.
fn check_bounds(steps: &[StepAdjustment]) -> Result<(), ApiError> {
    let low = |step: &StepAdjustment| step.metric_interval_lower_bound.unwrap_or(f64::NEG_INFINITY);
    let high = |step: &StepAdjustment| step.metric_interval_upper_bound.unwrap_or(f64::INFINITY);
    for step in steps {
        if low(step).is_nan() || high(step).is_nan() {
            return Err(invalid("A step adjustment's bounds must be numbers"));
        }
        if step.metric_interval_lower_bound.is_none() && step.metric_interval_upper_bound.is_none() {
            return Err(invalid("At least one of the bounds of a step adjustment must be specified"));
        }
        if low(step) >= high(step) {
            return Err(invalid("The lower bound of a step adjustment must be less than its upper bound"));
        }
    }
    let unbounded =
        |bound: fn(&StepAdjustment) -> Option<f64>| steps.iter().filter(|step| bound(step).is_none()).count();
    if unbounded(|step| step.metric_interval_lower_bound) > 1 {
        return Err(invalid("At most one step adjustment may have an unspecified lower bound"));
    }
    if unbounded(|step| step.metric_interval_upper_bound) > 1 {
        return Err(invalid("At most one step adjustment may have an unspecified upper bound"));
    }
    let mut sorted: Vec<&StepAdjustment> = steps.iter().collect();
    sorted.sort_by(|one, other| low(one).total_cmp(&low(other)));
    for pair in sorted.windows(2) {
        if high(pair[0]) > low(pair[1]) {
            return Err(invalid("Step adjustment ranges must not overlap"));
        }
        if high(pair[0]) < low(pair[1]) {
            return Err(invalid("There is a gap between the step adjustment ranges"));
        }
    }
    let (first, last) = (sorted.first().map(|step| low(step)), sorted.last().map(|step| high(step)));
    if first.is_some_and(|low| low.is_finite() && low < 0.0) {
        return Err(invalid(
            "There must be a step adjustment with an unspecified lower bound when one step adjustment has a negative lower bound",
        ));
    }
    if last.is_some_and(|high| high.is_finite() && high > 0.0) {
        return Err(invalid(
            "There must be a step adjustment with an unspecified upper bound when one step adjustment has a positive upper bound",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Steps<'a> = &'a [(Option<f64>, Option<f64>, i64)];

    fn configuration(kind: &str, steps: Steps) -> Configuration {
        let steps = steps.iter().map(|&(low, high, amount)| StepAdjustment {
            metric_interval_lower_bound: low,
            metric_interval_upper_bound: high,
            scaling_adjustment: amount,
        });
        Configuration {
            adjustment_type: Some(kind.into()),
            step_adjustments: Some(steps.collect()),
            ..Configuration::default()
        }
    }

    /// The worked example of the page: a threshold of 50 for both policies, and 10 units to begin with.
    #[test]
    fn the_published_example() {
        let out = configuration(
            "PercentChangeInCapacity",
            &[(Some(0.0), Some(10.0), 0), (Some(10.0), Some(20.0), 10), (Some(20.0), None, 30)],
        );
        let back = configuration(
            "PercentChangeInCapacity",
            &[(Some(-10.0), Some(0.0), 0), (Some(-20.0), Some(-10.0), -10), (None, Some(-20.0), -30)],
        );
        assert_eq!((check(&out), check(&back)), (Ok(()), Ok(())));
        for (policy, rising, metric, from, to) in [
            (&out, true, 50.0, 10, 10),
            (&out, true, 59.9, 10, 10),
            (&back, false, 50.0, 10, 10),
            (&back, false, 40.1, 10, 10),
            (&out, true, 60.0, 10, 11),
            (&out, true, 70.0, 11, 14),
            (&back, false, 40.0, 14, 13),
            (&back, false, 30.0, 13, 10),
        ] {
            let adjustment = adjustment(policy, metric - 50.0, rising).expect("a step covers it");
            assert_eq!(adjustment.apply(from), to, "{metric} at {from}");
        }
    }

    /// "Scaling adjustment types" on the same page.
    #[test]
    fn adjustment_types_and_rounding() {
        let percent = |percent, at_least| Adjustment::Percent { percent, at_least };
        for (adjustment, from, to) in [
            (Adjustment::Change(5), 3, 8),
            (Adjustment::Exact(5), 3, 5),
            (percent(10, 0), 10, 11),
            (percent(25, 2), 4, 6),
            (percent(127, 0), 10, 22),
            (percent(67, 0), 1, 2),
            (percent(-58, 0), 1, 0),
            (percent(-67, 0), 10, 4),
            (percent(-1, 3), 10, 7),
            (percent(0, 2), 10, 10),
            (Adjustment::Change(-5), 3, 0),
            (percent(i64::MAX, 0), u32::MAX, u32::MAX),
        ] {
            assert_eq!(adjustment.apply(from), to, "{adjustment:?} of {from}");
        }
        assert_eq!([rounded(1270), rounded(67), rounded(-58), rounded(-667), rounded(0)], [12, 1, -1, -6, 0]);
    }

    /// API_StepAdjustment: with a threshold of 50, 0..10 is [50, 60) and -10..0 is (40, 50].
    #[test]
    fn bounds_belong_to_one_step() {
        let both = configuration(
            "ChangeInCapacity",
            &[
                (None, Some(-10.0), -2),
                (Some(-10.0), Some(0.0), -1),
                (Some(0.0), Some(10.0), 1),
                (Some(10.0), None, 2),
            ],
        );
        assert_eq!(check(&both), Ok(()));
        for (deviation, rising, amount) in [
            (-10.1, false, -2),
            (-10.0, false, -2),
            (-9.9, false, -1),
            (0.0, false, -1),
            (0.0, true, 1),
            (9.9, true, 1),
            (10.0, true, 2),
            (f64::INFINITY, true, 2),
        ] {
            assert_eq!(adjustment(&both, deviation, rising), Some(Adjustment::Change(amount)), "{deviation}");
        }
        let above = configuration("ChangeInCapacity", &[(Some(0.0), None, 1)]);
        assert_eq!(adjustment(&above, -0.1, true), None);
    }

    #[test]
    fn rules_of_the_steps() {
        let wrong: &[Steps] = &[
            &[],
            &[(None, None, 1)],
            &[(Some(5.0), Some(5.0), 1)],
            &[(Some(0.0), Some(10.0), 1)],
            &[(Some(-10.0), Some(0.0), 1)],
            &[(Some(0.0), Some(10.0), 1), (Some(11.0), None, 2)],
            &[(Some(0.0), Some(10.0), 1), (Some(9.0), None, 2)],
            &[(Some(0.0), None, 1), (Some(10.0), None, 2)],
            &[(None, Some(0.0), 1), (None, Some(-10.0), 2)],
        ];
        for steps in wrong {
            let error = check(&configuration("ChangeInCapacity", steps)).expect_err("a rule is broken");
            assert_eq!(error.code, "ValidationException", "{steps:?}");
        }
        assert!(check(&configuration("ExactCapacity", &[(Some(0.0), None, -1)])).is_err());
        let many: Vec<_> = (0..21).map(|n| (Some(f64::from(n)), Some(f64::from(n + 1)), 1)).collect();
        let error = check(&configuration("ChangeInCapacity", &many)).expect_err("too many");
        assert_eq!(error.code, "LimitExceededException");
    }
}
