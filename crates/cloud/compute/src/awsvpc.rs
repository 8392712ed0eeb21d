//! The network configuration and placement of tasks and services, checked.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AwsVpcConfiguration.html>

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
        for item in &strategy {
            refuse_unless(
                item.capacity_provider == "FARGATE",
                format_args!("the capacity provider {}", item.capacity_provider),
            )?;
            if !cluster.capacity_providers.contains(&item.capacity_provider) {
                return Err(invalid(format!(
                    "The specified capacity provider {} was not found in the cluster.",
                    item.capacity_provider
                )));
            }
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
