//! Target tracking: as much capacity as keeps a metric near a target, by a pair of alarms that belong to the policy.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html>
//!
//! The high alarm is in ALARM after three minutes above the target, the low one after fifteen below nine tenths of it.
//! AWS publishes no formula for the capacity but that it is proportional and rounded to the side of more.

use pileus_aws::application_autoscaling::{
    CustomizedMetricSpecification, PredefinedMetricSpecification,
    TargetTrackingScalingPolicyConfiguration as Configuration,
};
use pileus_aws::cloudwatch::{Dimension, Metric, MetricDataQuery, MetricStat, PutMetricAlarmInput};
use pileus_core::ApiError;

use crate::resource::{Resource, invalid};

/// Seconds, where a policy does not say.
pub(crate) const DEFAULT_COOLDOWN: i64 = 300;
const PERIOD: i64 = 60;
const HIGH_PERIODS: i64 = 3;
const LOW_PERIODS: i64 = 15;
/// Where the low alarm's threshold lies, as a part of the target.
const LOW_PART: f64 = 0.9;
/// AWS's range of target values.
const TARGETS: std::ops::RangeInclusive<f64> = 8.515_920e-109..=1.174_271e108;

/// The capacity at which a metric of `metric` at `capacity` comes to the target, rounded up.
pub(crate) fn needed(capacity: u32, metric: f64, target: f64) -> u32 {
    let exact = f64::from(capacity) * metric / target;
    // What is whole but for the last bits of the division is whole.
    let tolerance = exact.abs() * 1e-9;
    (exact - tolerance).ceil().clamp(0.0, f64::from(u32::MAX)) as u32
}

/// Which of a policy's two alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    High,
    Low,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::High => "AlarmHigh",
            Self::Low => "AlarmLow",
        }
    }
}

/// One of the policy's alarms. Its name and action are the caller's.
pub(crate) fn alarm(
    configuration: &Configuration,
    resource: &Resource,
    side: Side,
    name: String,
    policy_arn: &str,
) -> Result<PutMetricAlarmInput, ApiError> {
    let (periods, comparison, threshold) = match side {
        Side::High => (HIGH_PERIODS, "GreaterThanThreshold", configuration.target_value),
        Side::Low => (LOW_PERIODS, "LessThanThreshold", configuration.target_value * LOW_PART),
    };
    let base = PutMetricAlarmInput {
        alarm_name: name,
        alarm_description: Some(format!(
            "DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy_arn}."
        )),
        actions_enabled: Some(true),
        alarm_actions: Some(vec![policy_arn.to_owned()]),
        evaluation_periods: Some(periods),
        threshold: Some(threshold),
        comparison_operator: Some(comparison.into()),
        treat_missing_data: Some("missing".into()),
        ..PutMetricAlarmInput::default()
    };
    match (&configuration.predefined_metric_specification, &configuration.customized_metric_specification) {
        (Some(predefined), None) => of_predefined(base, predefined, resource),
        (None, Some(customized)) => of_customized(base, customized),
        _ => Err(one_specification()),
    }
}

fn one_specification() -> ApiError {
    invalid(
        "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be specified for a target \
         tracking scaling policy",
    )
}

fn of_predefined(
    base: PutMetricAlarmInput,
    predefined: &PredefinedMetricSpecification,
    resource: &Resource,
) -> Result<PutMetricAlarmInput, ApiError> {
    let kind = predefined.predefined_metric_type.as_str();
    let of_service = |metric: &str| PutMetricAlarmInput {
        namespace: Some("AWS/ECS".into()),
        metric_name: Some(metric.into()),
        dimensions: Some(vec![
            dimension("ClusterName", resource.cluster),
            dimension("ServiceName", resource.service),
        ]),
        statistic: Some("Average".into()),
        unit: Some("Percent".into()),
        period: Some(PERIOD),
        ..base.clone()
    };
    let input = match kind {
        "ECSServiceAverageCPUUtilization" => of_service("CPUUtilization"),
        "ECSServiceAverageMemoryUtilization" => of_service("MemoryUtilization"),
        "ALBRequestCountPerTarget" => return of_balancer(base, predefined.resource_label.as_deref()),
        _ => {
            return Err(invalid(format!(
                "Predefined metric type {kind} is not supported for the scalable dimension ecs:service:DesiredCount"
            )));
        }
    };
    match predefined.resource_label {
        Some(_) => Err(invalid(format!("ResourceLabel cannot be specified for the metric type {kind}"))),
        None => Ok(input),
    }
}

/// The label is `app/<load balancer>/<id>/targetgroup/<target group>/<id>`.
fn of_balancer(base: PutMetricAlarmInput, label: Option<&str>) -> Result<PutMetricAlarmInput, ApiError> {
    let label = label.ok_or_else(|| {
        invalid("ResourceLabel must be specified for the metric type ALBRequestCountPerTarget")
    })?;
    let parts: Vec<&str> = label.split('/').collect();
    let ["app", balancer, balancer_id, "targetgroup", group, group_id] = parts[..] else {
        return Err(invalid(format!(
            "Invalid resource label: {label}. The format is \
             app/<load-balancer-name>/<load-balancer-id>/targetgroup/<target-group-name>/<target-group-id>"
        )));
    };
    Ok(PutMetricAlarmInput {
        namespace: Some("AWS/ApplicationELB".into()),
        metric_name: Some("RequestCountPerTarget".into()),
        dimensions: Some(vec![
            dimension("LoadBalancer", &format!("app/{balancer}/{balancer_id}")),
            dimension("TargetGroup", &format!("targetgroup/{group}/{group_id}")),
        ]),
        statistic: Some("Sum".into()),
        period: Some(PERIOD),
        ..base
    })
}

fn of_customized(
    base: PutMetricAlarmInput,
    customized: &CustomizedMetricSpecification,
) -> Result<PutMetricAlarmInput, ApiError> {
    let CustomizedMetricSpecification { metric_name, namespace, dimensions, statistic, unit, metrics } =
        customized;
    if let Some(queries) = metrics {
        let single = metric_name.is_some()
            || namespace.is_some()
            || dimensions.is_some()
            || statistic.is_some()
            || unit.is_some();
        if single {
            return Err(invalid("A customized metric specification has either Metrics or a single metric"));
        }
        return Ok(PutMetricAlarmInput { metrics: Some(queries.iter().map(query).collect()), ..base });
    }
    for (given, member) in [
        (metric_name.is_some(), "MetricName"),
        (namespace.is_some(), "Namespace"),
        (statistic.is_some(), "Statistic"),
    ] {
        if !given {
            return Err(invalid(format!("{member} is required in a customized metric specification")));
        }
    }
    let dimensions =
        dimensions.as_ref().map(|list| list.iter().map(|d| dimension(&d.name, &d.value)).collect());
    Ok(PutMetricAlarmInput {
        namespace: namespace.clone(),
        metric_name: metric_name.clone(),
        dimensions,
        statistic: statistic.clone(),
        unit: unit.clone(),
        period: Some(PERIOD),
        ..base
    })
}

fn query(query: &pileus_aws::application_autoscaling::TargetTrackingMetricDataQuery) -> MetricDataQuery {
    let stat = query.metric_stat.as_ref().map(|stat| MetricStat {
        metric: Metric {
            namespace: stat.metric.namespace.clone(),
            metric_name: stat.metric.metric_name.clone(),
            dimensions: stat
                .metric
                .dimensions
                .as_ref()
                .map(|list| list.iter().map(|d| dimension(&d.name, &d.value)).collect()),
        },
        period: PERIOD,
        stat: stat.stat.clone(),
        unit: stat.unit.clone(),
    });
    MetricDataQuery {
        id: query.id.clone(),
        metric_stat: stat,
        expression: query.expression.clone(),
        label: query.label.clone(),
        // As in GetMetricData, what is not said to be hidden is returned.
        return_data: Some(query.return_data.unwrap_or(true)),
        ..MetricDataQuery::default()
    }
}

fn dimension(name: &str, value: &str) -> Dimension {
    Dimension { name: name.into(), value: value.into() }
}

/// Checks what the alarms do not.
///
/// # Errors
/// What is wrong with the configuration.
pub(crate) fn check(configuration: &Configuration) -> Result<(), ApiError> {
    if !TARGETS.contains(&configuration.target_value) {
        return Err(invalid(format!(
            "TargetValue must be between {:e} and {:e}",
            TARGETS.start(),
            TARGETS.end()
        )));
    }
    for (cooldown, member) in [
        (configuration.scale_out_cooldown, "ScaleOutCooldown"),
        (configuration.scale_in_cooldown, "ScaleInCooldown"),
    ] {
        if cooldown.is_some_and(|cooldown| cooldown < 0) {
            return Err(invalid(format!("{member} must be greater than or equal to 0")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: Resource = Resource { id: "service/default/web", cluster: "default", service: "web" };

    fn cpu(target_value: f64) -> Configuration {
        Configuration {
            target_value,
            predefined_metric_specification: Some(PredefinedMetricSpecification {
                predefined_metric_type: "ECSServiceAverageCPUUtilization".into(),
                resource_label: None,
            }),
            ..Configuration::default()
        }
    }

    #[test]
    fn capacity_is_proportional_and_rounded_up() {
        for (capacity, metric, target, expected) in [
            (2, 140.0, 70.0, 4),
            (2, 71.0, 70.0, 3),
            (3, 70.0, 70.0, 3),
            (10, 7.0, 70.0, 1),
            (10, 62.0, 70.0, 9),
            (4, 0.0, 70.0, 0),
            (0, 100.0, 70.0, 0),
            (7, 0.1 + 0.2, 0.3, 7),
            (u32::MAX, 100.0, 1.0, u32::MAX),
        ] {
            assert_eq!(needed(capacity, metric, target), expected, "{metric} at {capacity} for {target}");
        }
    }

    /// The alarms of a live account (AWS-BEHAVIOUR 5.2, trace T6): 70 makes 63 and 80 makes 72.
    #[test]
    fn the_alarm_pair() {
        for (target, low) in [(70.0, 63.0), (80.0, 72.0)] {
            let made = |side| alarm(&cpu(target), &WEB, side, "name".into(), "arn").expect("it is valid");
            let (high, below) = (made(Side::High), made(Side::Low));
            assert_eq!((high.threshold, below.threshold), (Some(target), Some(low)));
            assert_eq!((high.evaluation_periods, below.evaluation_periods), (Some(3), Some(15)));
            assert_eq!(high.comparison_operator.as_deref(), Some("GreaterThanThreshold"));
            assert_eq!(below.comparison_operator.as_deref(), Some("LessThanThreshold"));
            assert_eq!((high.period, high.datapoints_to_alarm), (Some(60), None));
            assert_eq!(high.unit.as_deref(), Some("Percent"));
            assert_eq!(
                high.alarm_description.as_deref(),
                Some("DO NOT EDIT OR DELETE. For TargetTrackingScaling policy arn.")
            );
        }
    }

    #[test]
    fn requests_per_target_are_a_sum_by_balancer_and_group() {
        let with = |label: Option<&str>| {
            let specification = PredefinedMetricSpecification {
                predefined_metric_type: "ALBRequestCountPerTarget".into(),
                resource_label: label.map(Into::into),
            };
            let configuration =
                Configuration { predefined_metric_specification: Some(specification), ..cpu(1000.0) };
            alarm(&configuration, &WEB, Side::High, "name".into(), "arn")
        };
        let input =
            with(Some("app/web/0123456789abcdef/targetgroup/web/fedcba9876543210")).expect("a valid label");
        assert_eq!(input.statistic.as_deref(), Some("Sum"));
        assert_eq!(
            input.dimensions,
            Some(vec![
                dimension("LoadBalancer", "app/web/0123456789abcdef"),
                dimension("TargetGroup", "targetgroup/web/fedcba9876543210")
            ])
        );
        assert!(with(None).is_err() && with(Some("web")).is_err());
        assert!(with(Some("app/web/1/targetgroup/web")).is_err());
    }

    #[test]
    fn what_is_refused() {
        for target in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-200] {
            assert!(check(&cpu(target)).is_err(), "{target}");
        }
        assert!(check(&Configuration { scale_in_cooldown: Some(-1), ..cpu(70.0) }).is_err());
        let made = |configuration: &Configuration| alarm(configuration, &WEB, Side::Low, "n".into(), "a");
        let neither = Configuration { predefined_metric_specification: None, ..cpu(70.0) };
        let both = Configuration {
            customized_metric_specification: Some(CustomizedMetricSpecification::default()),
            ..cpu(70.0)
        };
        let incomplete = Configuration {
            customized_metric_specification: Some(CustomizedMetricSpecification::default()),
            ..neither.clone()
        };
        assert!(made(&neither).is_err() && made(&both).is_err() && made(&incomplete).is_err());
        let mut other = cpu(70.0);
        other.predefined_metric_specification = Some(PredefinedMetricSpecification {
            predefined_metric_type: "LambdaProvisionedConcurrencyUtilization".into(),
            resource_label: None,
        });
        assert!(made(&other).is_err());
    }
}
