//! The network configuration and placement of tasks and services, checked.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AwsVpcConfiguration.html>

use std::collections::BTreeMap;

use pileus_aws::ecs::{AwsVpcConfiguration, CapacityProviderStrategyItem, NetworkConfiguration};
use pileus_core::ApiError;
use pileus_state::Tx;

use crate::cluster::Cluster;
use crate::error::{invalid, refuse_unless};
use crate::neighbours;

const MAX_SUBNETS: usize = 16;
const MAX_GROUPS: usize = 5;

/// What runs when a request says `LATEST` or nothing.
pub(crate) const PLATFORM_VERSION: &str = "1.4.0";

/// The configuration of a request, with the defaults filled in.
///
/// # Errors
/// It is missing, or names what is not there or does not belong together.
pub(crate) fn read(tx: &Tx, given: Option<NetworkConfiguration>) -> Result<AwsVpcConfiguration, ApiError> {
    let given = given.and_then(|given| given.awsvpc_configuration).ok_or_else(|| {
        invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    })?;
    if given.subnets.is_empty() {
        return Err(invalid("subnets can not be empty."));
    }
    let groups = given.security_groups.unwrap_or_default();
    if given.subnets.len() > MAX_SUBNETS || groups.len() > MAX_GROUPS {
        return Err(invalid(format!(
            "A network configuration can have at most {MAX_SUBNETS} subnets and {MAX_GROUPS} security groups."
        )));
    }
    let vpc = neighbours::vpc_of_subnets(tx, &given.subnets)?;
    neighbours::check_groups(tx, &groups, &vpc)?;
    let assign_public_ip = Some(given.assign_public_ip.unwrap_or_else(|| "DISABLED".into()));
    Ok(AwsVpcConfiguration { subnets: given.subnets, security_groups: Some(groups), assign_public_ip })
}

/// The capacity providers that there are. Both run on this machine; nobody takes its Spot capacity away.
pub(crate) const PROVIDERS: [&str; 2] = ["FARGATE", "FARGATE_SPOT"];

/// Checks a strategy by itself.
///
/// # Errors
/// It names what there is not, or says twice where to begin, or leaves nowhere to go.
pub(crate) fn check_strategy(strategy: &[CapacityProviderStrategyItem]) -> Result<(), ApiError> {
    let mut names: Vec<&str> = strategy.iter().map(|item| item.capacity_provider.as_str()).collect();
    if let Some(other) = names.iter().find(|name| !PROVIDERS.contains(name)) {
        return Err(invalid(format!("The specified capacity provider '{other}' was not found.")));
    }
    names.sort_unstable();
    names.dedup();
    if names.len() < strategy.len() {
        return Err(invalid("A capacity provider can be in a capacity provider strategy only once."));
    }
    if strategy.iter().filter(|item| item.base.unwrap_or(0) > 0).count() > 1 {
        return Err(invalid(
            "Only one capacity provider in a capacity provider strategy can have a base value defined.",
        ));
    }
    if strategy.len() > 1 && strategy.iter().all(|item| item.weight.unwrap_or(0) == 0) {
        return Err(invalid(
            "At least one capacity provider of a strategy must have a weight greater than 0.",
        ));
    }
    Ok(())
}

/// Where one more task goes, given how many each provider has: the one that lacks its base, else the one that is the
/// furthest below its share by weight.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CapacityProviderStrategyItem.html>
pub(crate) fn choose_provider(
    strategy: &[CapacityProviderStrategyItem],
    counts: &BTreeMap<String, i64>,
) -> Option<String> {
    let count =
        |item: &CapacityProviderStrategyItem| counts.get(&item.capacity_provider).copied().unwrap_or(0);
    if let Some(item) = strategy.iter().find(|item| count(item) < item.base.unwrap_or(0)) {
        return Some(item.capacity_provider.clone());
    }
    // With one more, how many times its weight each would have beyond its base.
    let share = |item: &&CapacityProviderStrategyItem| {
        let weight = item.weight.unwrap_or(if strategy.len() == 1 { 1 } else { 0 }).max(0);
        let beyond = count(item) + 1 - item.base.unwrap_or(0);
        (weight == 0, if weight == 0 { beyond * 1000 } else { beyond * 1000 / weight })
    };
    strategy.iter().min_by_key(share).map(|item| item.capacity_provider.clone())
}

/// How a request wants its tasks to be placed: a launch type or a strategy, not both.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placement {
    pub(crate) launch_type: Option<String>,
    pub(crate) strategy: Vec<CapacityProviderStrategyItem>,
    pub(crate) platform_version: String,
}

impl Placement {
    /// # Errors
    /// It asks for anything but Fargate.
    pub(crate) fn read(
        cluster: &Cluster,
        launch_type: Option<String>,
        strategy: Option<Vec<CapacityProviderStrategyItem>>,
        platform_version: Option<String>,
    ) -> Result<Self, ApiError> {
        let mut strategy = strategy.unwrap_or_default();
        if launch_type.is_some() && !strategy.is_empty() {
            return Err(invalid(
                "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
            ));
        }
        if launch_type.is_none() && strategy.is_empty() {
            strategy.clone_from(&cluster.default_capacity_provider_strategy);
        }
        if launch_type.is_none() && strategy.is_empty() {
            return Err(invalid(
                "No launch type given, and the default, EC2, has no container instances here. Specify launchType \
                 FARGATE.",
            ));
        }
        let fargate = |launch_type: &String| launch_type == "FARGATE";
        refuse_unless(launch_type.as_ref().is_none_or(fargate), "a launchType other than FARGATE")?;
        check_strategy(&strategy)?;
        if strategy.iter().any(|item| !cluster.capacity_providers.contains(&item.capacity_provider)) {
            return Err(invalid(
                "The specified capacity provider strategy cannot contain a capacity provider that is not associated \
                 with the cluster. Associate the capacity provider with the cluster and try again.",
            ));
        }
        for item in &mut strategy {
            item.base.get_or_insert(0);
            item.weight.get_or_insert(0);
        }
        let asked = platform_version.unwrap_or_else(|| "LATEST".into());
        if asked != "LATEST" && asked != PLATFORM_VERSION {
            return Err(invalid(format!(
                "The platform version {asked} is not available; use LATEST or {PLATFORM_VERSION}."
            )));
        }
        Ok(Self { launch_type, strategy, platform_version: asked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(provider: &str, base: i64, weight: i64) -> CapacityProviderStrategyItem {
        CapacityProviderStrategyItem {
            capacity_provider: provider.into(),
            base: Some(base),
            weight: Some(weight),
        }
    }

    #[test]
    fn tasks_fill_the_base_and_then_follow_the_weights() {
        let strategy = [item("FARGATE", 2, 1), item("FARGATE_SPOT", 0, 3)];
        let mut counts = BTreeMap::new();
        for _ in 0..10 {
            *counts.entry(choose_provider(&strategy, &counts).unwrap()).or_default() += 1;
        }
        assert_eq!(counts, BTreeMap::from([("FARGATE".into(), 4), ("FARGATE_SPOT".into(), 6)]));
        assert_eq!(choose_provider(&[item("FARGATE", 0, 0)], &counts).as_deref(), Some("FARGATE"));
        assert_eq!(choose_provider(&[], &counts), None);
    }

    #[test]
    fn strategies_that_cannot_be_followed_are_refused() {
        let message = |strategy: &[_]| check_strategy(strategy).unwrap_err().message;
        assert!(message(&[item("EC2", 0, 1)]).contains("'EC2' was not found"));
        assert!(message(&[item("FARGATE", 1, 1), item("FARGATE_SPOT", 1, 1)]).contains("base"));
        assert!(message(&[item("FARGATE", 0, 0), item("FARGATE_SPOT", 0, 0)]).contains("weight"));
        assert!(message(&[item("FARGATE", 0, 1), item("FARGATE", 0, 1)]).contains("only once"));
    }
}
