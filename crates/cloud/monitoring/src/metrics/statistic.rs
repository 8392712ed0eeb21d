//! Statistics of points: what a period's samples come to.

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
}

impl Statistic {
    /// # Errors
    /// A statistic that CloudWatch does not know, or that Pileus does not implement (trimmed means and the like).
    pub(crate) fn parse(name: &str) -> Result<Self, ApiError> {
        Ok(match name {
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            "SampleCount" => Self::SampleCount,
            "p100" => Self::Percentile(100.0),
            _ => {
                let percent = name.strip_prefix('p').and_then(|percent| percent.parse::<f64>().ok());
                match percent {
                    Some(percent) if percent > 0.0 && percent < 100.0 => Self::Percentile(percent),
                    Some(_) => {
                        return Err(invalid(format!("The value {name} for parameter Stat is invalid.")));
                    }
                    None if ["tm", "wm", "tc", "ts", "pr", "iqm", "TM", "WM", "TC", "TS", "PR", "IQM"]
                        .iter()
                        .any(|known| name.starts_with(known)) =>
                    {
                        return Err(ApiError::not_implemented(format_args!("the statistic {name}")));
                    }
                    None => {
                        return Err(invalid(format!(
                            "The value {name} for parameter Stat is not supported."
                        )));
                    }
                }
            }
        })
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

    /// `None` for a percentile of a point whose single values are not known.
    pub(crate) fn of(self, point: &MetricPoint) -> Option<f64> {
        Some(match self {
            Self::Average => point.sum / point.count,
            Self::Sum => point.sum,
            Self::Minimum => point.min,
            Self::Maximum => point.max,
            Self::SampleCount => point.count,
            Self::Percentile(percent) => return percentile(&point.values, percent / 100.0),
        })
    }
}

/// The smallest value that at least `share` of the samples do not exceed.
fn percentile(values: &[(f64, f64)], share: f64) -> Option<f64> {
    let total: f64 = values.iter().map(|(_, count)| count).sum();
    let mut seen = 0.0;
    for &(value, count) in values {
        seen += count;
        if seen >= total * share {
            return Some(value);
        }
    }
    values.last().map(|&(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_a_distribution() {
        let values = vec![(1.0, 50.0), (2.0, 45.0), (10.0, 5.0)];
        let point = MetricPoint {
            at: pileus_core::Timestamp::default(),
            count: 100.0,
            sum: 190.0,
            min: 1.0,
            max: 10.0,
            values,
        };
        for (name, expected) in [
            ("Average", 1.9),
            ("SampleCount", 100.0),
            ("p50", 1.0),
            ("p51", 2.0),
            ("p95", 2.0),
            ("p99.9", 10.0),
            ("p100", 10.0),
        ] {
            assert_eq!(Statistic::parse(name).expect("a statistic").of(&point), Some(expected), "{name}");
        }
        assert!(Statistic::parse("p0").is_err());
        assert_eq!(Statistic::parse("tm90").expect_err("trimmed mean").code, "UnsupportedOperation");
    }
}
