//! What the balancer counts, as CloudWatch metrics. A count that is zero is no point at all.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pileus_contract::proxy::{Health, ProxyStats};
use pileus_contract::{MetricKey, MetricPoint};
use pileus_core::{Scope, Timestamp};
use pileus_state::{Record as _, State};

use crate::health::TargetHealth;
use crate::load_balancer::LoadBalancer;
use crate::rule::Rule;
use crate::target::Target;
use crate::target_group;

const NAMESPACE: &str = "AWS/ApplicationELB";
const PERIOD: Duration = Duration::from_secs(60);

/// Metrics of target groups as well as of load balancers; the others have no dimension `TargetGroup`.
const OF_TARGET_GROUPS: [&str; 8] = [
    "RequestCount",
    "HTTPCode_Target_2XX_Count",
    "HTTPCode_Target_3XX_Count",
    "HTTPCode_Target_4XX_Count",
    "HTTPCode_Target_5XX_Count",
    "TargetConnectionErrorCount",
    "TargetTLSNegotiationErrorCount",
    "TargetResponseTime",
];

/// Metrics of which one report is one sample. Of the others each thing counted is a sample of 1.
const SUMS: [&str; 3] = ["ProcessedBytes", "ActiveConnectionCount", "RuleEvaluations"];

type Points = Vec<(Scope, MetricKey, MetricPoint)>;

/// The points that a report of the balancer adds to the period that holds `now`. Reports of load balancers that are
/// no more are dropped.
pub fn metrics(state: &State, stats: &[ProxyStats], now: Timestamp) -> Points {
    let at = now.truncate(PERIOD);
    let scopes: BTreeMap<String, &Scope> =
        state.all::<LoadBalancer>().map(|(scope, balancer)| (balancer.key.clone(), scope)).collect();
    let targets = registered(state);
    let mut points = Vec::new();
    for stats in stats {
        let Some(scope) = scopes.get(&stats.load_balancer) else { continue };
        for (name, point) in samples(stats, at) {
            points.extend(keys(stats, &name).map(|key| ((*scope).clone(), key, point.clone())));
        }
        points.extend(per_target(scope, stats, &targets, at));
    }
    points
}

/// One point for each metric of a report.
fn samples(stats: &ProxyStats, at: Timestamp) -> impl Iterator<Item = (String, MetricPoint)> {
    let counts = stats.counts.iter().filter(|(_, count)| **count > 0).map(move |(name, count)| {
        let count = *count as f64;
        let point = if SUMS.contains(&name.as_str()) {
            MetricPoint::sample(at, count)
        } else {
            MetricPoint { at, count, sum: count, min: 1.0, max: 1.0, values: vec![(1.0, count)] }
        };
        (name.clone(), point)
    });
    let times =
        response_times(&stats.response_times, at).map(|point| ("TargetResponseTime".to_owned(), point));
    counts.chain(times)
}

/// Seconds, from a histogram in microseconds.
fn response_times(histogram: &[(u64, u64)], at: Timestamp) -> Option<MetricPoint> {
    let buckets = histogram.iter().filter(|(_, count)| *count > 0);
    let samples = buckets.map(|&(micros, count)| {
        let (value, count) = (micros as f64 / 1e6, count as f64);
        MetricPoint { at, count, sum: value * count, min: value, max: value, values: vec![(value, count)] }
    });
    samples.reduce(|mut all, sample| {
        all.merge(&sample);
        all
    })
}

/// The dimension sets that a metric of a report belongs to.
fn keys(stats: &ProxyStats, name: &str) -> impl Iterator<Item = MetricKey> {
    let group = stats.target_group.as_deref().filter(|_| OF_TARGET_GROUPS.contains(&name));
    let groups = if group.is_some() { vec![None, group] } else { vec![None] };
    let zones = [None, Some(stats.zone.as_str())];
    let sets: Vec<_> = groups.into_iter().flat_map(|group| zones.map(|zone| (group, zone))).collect();
    sets.into_iter().map(|(group, zone)| key(name, Some(&stats.load_balancer), group, zone))
}

fn key(name: &str, balancer: Option<&str>, group: Option<&str>, zone: Option<&str>) -> MetricKey {
    let dimensions = [("LoadBalancer", balancer), ("TargetGroup", group), ("AvailabilityZone", zone)];
    let dimensions =
        dimensions.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    MetricKey { namespace: NAMESPACE.into(), name: name.into(), dimensions: dimensions.collect() }
}

/// `RequestCountPerTarget`: the requests to a group divided by its targets, so that only its sum has a meaning.
fn per_target(scope: &Scope, stats: &ProxyStats, targets: &BTreeMap<String, usize>, at: Timestamp) -> Points {
    let requests = stats.counts.get("RequestCount").copied().unwrap_or(0);
    let (Some(group), true) = (stats.target_group.as_deref(), requests > 0) else { return Vec::new() };
    let Some(count) = targets.get(group) else { return Vec::new() };
    let point = MetricPoint::sample(at, requests as f64 / *count as f64);
    let balancers = [None, Some(stats.load_balancer.as_str())];
    let key = |balancer| key("RequestCountPerTarget", balancer, Some(group), None);
    balancers.map(|balancer| (scope.clone(), key(balancer), point.clone())).into()
}

/// How many targets each group has that do not drain, by the group's id.
fn registered(state: &State) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (_, target) in state.all::<Target>().filter(|(_, target)| target.draining_since.is_none()) {
        *counts.entry(target_group::id(&target.group)).or_default() += 1;
    }
    counts
}

/// `HealthyHostCount` and `UnHealthyHostCount` of every group in use: one sample, to be taken once a period.
pub fn host_counts(state: &State, now: Timestamp) -> Points {
    let at = now.truncate(PERIOD);
    let mut points = Vec::new();
    for (scope, balancer_key, group) in uses(state) {
        let Some(balancer) = state.get::<LoadBalancer>(&scope, &balancer_key) else { continue };
        let hosts = Hosts::of(state, &scope, &group);
        let zones = balancer.nodes.iter().map(|node| Some(node.zone.as_str()));
        for zone in [None].into_iter().chain(zones) {
            let (healthy, unhealthy) = hosts.count(zone);
            for (name, count) in [("HealthyHostCount", healthy), ("UnHealthyHostCount", unhealthy)] {
                let key = key(name, Some(&balancer_key), Some(&target_group::id(&group)), zone);
                points.push((scope.clone(), key, MetricPoint::sample(at, count as f64)));
            }
        }
    }
    points
}

/// The metrics that are reported also for a minute without a request, with 0: scaling in depends on them.
pub fn always_reported(state: &State) -> Vec<(Scope, MetricKey)> {
    let mut keys = Vec::new();
    for (scope, balancer) in state.all::<LoadBalancer>() {
        let zones = balancer.nodes.iter().map(|node| Some(node.zone.as_str()));
        for zone in [None].into_iter().chain(zones) {
            keys.push((scope.clone(), key("RequestCount", Some(&balancer.key), None, zone)));
        }
    }
    for (scope, balancer_key, group) in uses(state) {
        let Some(balancer) = state.get::<LoadBalancer>(&scope, &balancer_key) else { continue };
        let group = target_group::id(&group);
        let zones = balancer.nodes.iter().map(|node| Some(node.zone.as_str()));
        for zone in [None].into_iter().chain(zones) {
            keys.push((scope.clone(), key("RequestCount", Some(&balancer_key), Some(&group), zone)));
        }
        for balancer in [None, Some(balancer_key.as_str())] {
            keys.push((scope.clone(), key("RequestCountPerTarget", balancer, Some(&group), None)));
        }
    }
    keys
}

/// Which load balancer uses which target group, by their keys.
fn uses(state: &State) -> BTreeSet<(Scope, String, String)> {
    let rules = state.all::<Rule>();
    rules
        .flat_map(|(scope, rule)| {
            let balancer = rule.load_balancer().to_owned();
            let groups: Vec<String> = rule.chosen.groups().map(str::to_owned).collect();
            groups.into_iter().map(move |group| (scope.clone(), balancer.clone(), group))
        })
        .collect()
}

/// The zones of a group's targets that are healthy (`true`) or unhealthy.
struct Hosts(Vec<(String, bool)>);

impl Hosts {
    fn of(state: &State, scope: &Scope, group: &str) -> Self {
        let targets = state.list::<Target>(scope);
        let targets = targets.filter(|target| target.group == group && target.draining_since.is_none());
        let judged = targets.filter_map(|target| {
            let healthy = match state.get::<TargetHealth>(scope, &target.key())?.health {
                Health::Healthy => true,
                Health::Unhealthy(_) => false,
                Health::Initial => return None,
            };
            Some((target.zone.clone(), healthy))
        });
        Self(judged.collect())
    }

    /// How many are healthy and unhealthy, in one zone or all.
    fn count(&self, zone: Option<&str>) -> (usize, usize) {
        let hosts = self.0.iter().filter(|(of, _)| zone.is_none_or(|zone| of == zone));
        let (healthy, unhealthy): (Vec<_>, Vec<_>) = hosts.partition(|(_, healthy)| *healthy);
        (healthy.len(), unhealthy.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_secs(120);

    fn stats() -> ProxyStats {
        ProxyStats {
            load_balancer: "app/web/1".into(),
            target_group: Some("targetgroup/web/2".into()),
            zone: "us-east-1a".into(),
            counts: [("RequestCount", 3), ("HTTPCode_ELB_5XX_Count", 1), ("HTTPCode_Target_2XX_Count", 0)]
                .map(|(name, count)| (name.to_owned(), count))
                .into(),
            response_times: vec![(1000, 2), (250_000, 1)],
        }
    }

    #[test]
    fn a_count_is_that_many_samples_of_one() {
        let samples: BTreeMap<_, _> = samples(&stats(), AT).collect();
        let requests = &samples["RequestCount"];
        assert_eq!((requests.count, requests.sum, requests.min, requests.max), (3.0, 3.0, 1.0, 1.0));
        assert!(!samples.contains_key("HTTPCode_Target_2XX_Count"), "zero is no point");
    }

    #[test]
    fn response_times_are_seconds_with_their_distribution() {
        let point = response_times(&stats().response_times, AT).expect("there are samples");
        assert_eq!((point.count, point.min, point.max), (3.0, 0.001, 0.25));
        assert_eq!(point.values, [(0.001, 2.0), (0.25, 1.0)]);
        assert!((point.sum - 0.252).abs() < 1e-9);
        assert_eq!(response_times(&[(5, 0)], AT), None);
    }

    #[test]
    fn dimension_sets() {
        let sets = |name| -> Vec<String> {
            let stats = stats();
            let dimensions = keys(&stats, name).map(|key| key.dimensions);
            dimensions.map(|dimensions| dimensions.into_keys().collect::<Vec<_>>().join("+")).collect()
        };
        assert_eq!(
            sets("RequestCount"),
            [
                "LoadBalancer",
                "AvailabilityZone+LoadBalancer",
                "LoadBalancer+TargetGroup",
                "AvailabilityZone+LoadBalancer+TargetGroup"
            ]
        );
        assert_eq!(sets("HTTPCode_ELB_5XX_Count"), ["LoadBalancer", "AvailabilityZone+LoadBalancer"]);
    }
}
