//! Statistics of points: what a period's samples come to.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html>

use pileus_contract::MetricPoint;
use pileus_core::ApiError;

use super::invalid;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Statistic {
    Average,
    Sum,
    Minimum,
    Maximum,
    SampleCount,
    /// In percent, above 0 and at most 100.
    Percentile(f64),
    /// `TM`, `TC`, `TS`, `WM`, `PR`: of the samples within bounds.
    Within(Figure, Bounds),
}

/// What is told of the samples within bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Figure {
    /// Trimmed mean.
    Mean,
    /// Trimmed count.
    Count,
    /// Trimmed sum.
    Sum,
    /// The mean with the samples outside put at the bounds.
    Winsorized,
    /// How many percent of the samples lie within.
    Rank,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bounds {
    /// Shares of the samples in order, 0..=1.
    Share(f64, f64),
    /// Values: above the first, up to the second.
    Value(f64, f64),
}

impl Statistic {
    /// # Errors
    /// A statistic that CloudWatch does not know.
    pub(crate) fn parse(name: &str) -> Result<Self, ApiError> {
        let plain = match name {
            "Average" => Some(Self::Average),
            "Sum" => Some(Self::Sum),
            "Minimum" => Some(Self::Minimum),
            "Maximum" => Some(Self::Maximum),
            "SampleCount" => Some(Self::SampleCount),
            "IQM" | "iqm" => Some(Self::Within(Figure::Mean, Bounds::Share(0.25, 0.75))),
            _ => None,
        };
        let unknown = || invalid(format!("The value {name} for parameter Stat is not supported."));
        plain
            .or_else(|| percentile(name))
            .or_else(|| short(name))
            .or_else(|| ranged(name))
            .ok_or_else(unknown)
    }

    /// A statistic that is given as an extended one: none of the five plain ones.
    pub(crate) fn extended(name: &str) -> Result<Self, ApiError> {
        match Self::parse(name)? {
            Self::Average | Self::Sum | Self::Minimum | Self::Maximum | Self::SampleCount => {
                Err(invalid(format!("The value {name} for parameter ExtendedStatistic is not supported.")))
            }
            statistic => Ok(statistic),
        }
    }

    /// How many samples a period must have for a percentile to mean something: ten beyond it. Other statistics always do.
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/percentiles-with-low-samples.html>
    pub(crate) fn significant_samples(self) -> f64 {
        match self {
            Self::Percentile(percent) if percent >= 50.0 => 10.0 / (1.0 - percent / 100.0),
            Self::Percentile(percent) => 10.0 / (percent / 100.0),
            _ => 0.0,
        }
    }

    /// `None` for a statistic of single values where these are not known.
    pub(crate) fn of(self, point: &MetricPoint) -> Option<f64> {
        match self {
            Self::Average => (point.count > 0.0).then(|| point.sum / point.count),
            Self::Sum => Some(point.sum),
            Self::Minimum => Some(point.min),
            Self::Maximum => Some(point.max),
            Self::SampleCount => Some(point.count),
            Self::Percentile(percent) => at_share(&point.values, percent / 100.0),
            Self::Within(figure, bounds) => within(&point.values, figure, bounds),
        }
    }
}

/// `p99`, `p99.9`, `p100`.
fn percentile(name: &str) -> Option<Statistic> {
    let percent = number(name.strip_prefix('p')?)?;
    (percent > 0.0 && percent <= 100.0).then_some(Statistic::Percentile(percent))
}

/// `tm90`: what is not above the 90th percentile.
fn short(name: &str) -> Option<Statistic> {
    let (kind, percent) = name.split_at_checked(2)?;
    let percent = number(percent).filter(|percent| *percent > 0.0 && *percent <= 100.0)?;
    let figure = match kind {
        "tm" => Figure::Mean,
        "tc" => Figure::Count,
        "ts" => Figure::Sum,
        "wm" => Figure::Winsorized,
        _ => return None,
    };
    Some(Statistic::Within(figure, Bounds::Share(0.0, percent / 100.0)))
}

/// `TM(10%:90%)`, `TC(0.5:)`, `PR(:300)`.
fn ranged(name: &str) -> Option<Statistic> {
    let (kind, range) = name.strip_suffix(')')?.split_once('(')?;
    let figure = match kind {
        "TM" => Figure::Mean,
        "TC" => Figure::Count,
        "TS" => Figure::Sum,
        "WM" => Figure::Winsorized,
        "PR" => Figure::Rank,
        _ => return None,
    };
    let (low, high) = range.split_once(':')?;
    if low.is_empty() && high.is_empty() {
        return None;
    }
    let bounds = if low.ends_with('%') || high.ends_with('%') {
        let share = |text: &str, open: f64| match text {
            "" => Some(open),
            _ => number(text.strip_suffix('%')?).map(|percent| percent / 100.0),
        };
        Bounds::Share(share(low, 0.0)?, share(high, 1.0)?)
    } else {
        let value = |text: &str, open: f64| if text.is_empty() { Some(open) } else { number(text) };
        Bounds::Value(value(low, f64::NEG_INFINITY)?, value(high, f64::INFINITY)?)
    };
    let ordered = match bounds {
        Bounds::Share(low, high) => low < high && high <= 1.0 && figure != Figure::Rank,
        Bounds::Value(low, high) => low < high,
    };
    ordered.then_some(Statistic::Within(figure, bounds))
}

/// Digits with at most one point: no sign, no exponent, no name.
fn number(text: &str) -> Option<f64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    digits.then(|| text.parse().ok()).flatten()
}

fn total(values: &[(f64, f64)]) -> f64 {
    values.iter().map(|(_, count)| count).sum()
}

/// The smallest value that at least `share` of the samples do not exceed.
fn at_share(values: &[(f64, f64)], share: f64) -> Option<f64> {
    let wanted = total(values) * share;
    let mut seen = 0.0;
    for &(value, count) in values {
        seen += count;
        if seen >= wanted {
            return Some(value);
        }
    }
    values.last().map(|&(value, _)| value)
}

fn within(values: &[(f64, f64)], figure: Figure, bounds: Bounds) -> Option<f64> {
    let total = total(values);
    let (mut count, mut sum, mut below, mut seen) = (0.0, 0.0, 0.0, 0.0);
    let (mut lowest, mut highest) = (None, None);
    for &(value, times) in values {
        // How many of these samples lie within the bounds.
        let inside = match bounds {
            Bounds::Share(low, high) => (total * high).min(seen + times) - (total * low).max(seen),
            Bounds::Value(low, high) if value > low && value <= high => times,
            Bounds::Value(..) => 0.0,
        };
        seen += times;
        if inside <= 0.0 {
            below += if count == 0.0 { times } else { 0.0 };
            continue;
        }
        below += if let (Bounds::Share(low, _), true) = (bounds, count == 0.0) {
            (total * low - (seen - times)).max(0.0)
        } else {
            0.0
        };
        count += inside;
        sum += value * inside;
        lowest = lowest.or(Some(value));
        highest = Some(value);
    }
    let (Some(lowest), Some(highest)) = (lowest, highest) else {
        return matches!(figure, Figure::Count | Figure::Sum | Figure::Rank)
            .then_some(0.0)
            .filter(|_| total > 0.0);
    };
    Some(match figure {
        Figure::Mean => sum / count,
        Figure::Count => count,
        Figure::Sum => sum,
        Figure::Winsorized => (sum + lowest * below + highest * (total - below - count)) / total,
        Figure::Rank => 100.0 * count / total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, values: &[(f64, f64)]) -> Option<f64> {
        let point = MetricPoint {
            at: pileus_core::Timestamp::default(),
            count: total(values),
            sum: values.iter().map(|(value, count)| value * count).sum(),
            min: values[0].0,
            max: values[values.len() - 1].0,
            values: values.to_vec(),
        };
        Statistic::parse(name).unwrap_or_else(|_| panic!("{name} is a statistic")).of(&point)
    }

    #[test]
    fn statistics_of_a_distribution() {
        let values = [(1.0, 50.0), (2.0, 45.0), (10.0, 5.0)];
        for (name, expected) in [
            ("Average", 1.9),
            ("SampleCount", 100.0),
            ("p50", 1.0),
            ("p51", 2.0),
            ("p95", 2.0),
            ("p99.9", 10.0),
            ("p100", 10.0),
            ("tm95", 140.0 / 95.0),
            ("tc95", 95.0),
            ("ts95", 140.0),
            ("wm95", 150.0 / 100.0),
            ("TM(50%:95%)", 2.0),
            ("TC(1:)", 50.0),
            ("TS(:2)", 140.0),
            ("PR(:2)", 95.0),
            ("PR(2:10)", 5.0),
            ("PR(50:60)", 0.0),
        ] {
            let found = of(name, &values).unwrap_or(f64::NAN);
            assert!((found - expected).abs() < 1e-9, "{name}: {found}, not {expected}");
        }
        assert_eq!(of("IQM", &[(1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (100.0, 1.0)]), Some(2.5));
    }

    #[test]
    fn what_is_no_statistic_is_refused() {
        for name in [
            "p0",
            "p101",
            "p",
            "tm",
            "tm0",
            "average",
            "TM()",
            "TM(:)",
            "TM(90%:10%)",
            "PR(1%:2%)",
            "pinf",
            "p1e1",
            "€",
        ] {
            assert!(Statistic::parse(name).is_err(), "{name}");
        }
        assert!(Statistic::extended("Sum").is_err());
    }

    #[test]
    fn a_high_percentile_needs_many_samples() {
        let needs = |name| Statistic::parse(name).expect("a percentile").significant_samples();
        assert!(
            (needs("p99") - 1000.0).abs() < 1e-6
                && (needs("p10") - 100.0).abs() < 1e-6
                && needs("Sum") == 0.0
        );
    }
}
