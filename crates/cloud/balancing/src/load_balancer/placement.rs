//! Where a load balancer can be: what AWS demands of its subnets and security groups.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#subnets-load-balancer>

use std::collections::BTreeSet;
use std::sync::Arc;

use pileus_aws::elbv2::SubnetMapping;
use pileus_core::ApiError;
use pileus_network::{SecurityGroup, Subnet, internet_gateway, security_group, subnet};
use pileus_state::Tx;

use super::Scheme;
use crate::resource::invalid;

/// Addresses that a subnet must have left, so that the load balancer can grow in it.
const FREE_ADDRESSES: i64 = 8;
const MAX_SECURITY_GROUPS: usize = 5;

/// Subnets of one VPC in at least two zones, one in each.
pub(super) struct Placement {
    pub(super) vpc: String,
    pub(super) subnets: Vec<Arc<Subnet>>,
    pub(super) security_groups: Vec<String>,
}

/// Subnets as requests name them.
pub(super) struct Asked<'a> {
    pub(super) subnets: Option<&'a [String]>,
    pub(super) mappings: Option<&'a [SubnetMapping]>,
}

/// The placement of a new load balancer.
pub(super) fn choose(
    tx: &Tx,
    asked: &Asked,
    security_groups: Option<&[String]>,
    scheme: Scheme,
) -> Result<Placement, ApiError> {
    let (vpc, subnets) = find_subnets(tx, asked, &[])?;
    if scheme.is_internet_facing() && internet_gateway::of_vpc(tx, &vpc).is_none() {
        return Err(ApiError::client("InvalidSubnet", format!("VPC {vpc} has no internet gateway")));
    }
    let security_groups = groups(tx, &vpc, security_groups.unwrap_or_default())?;
    Ok(Placement { vpc, subnets, security_groups })
}

/// The subnets that a request asks for, with their VPC. Those in `present` have the load balancer already.
pub(super) fn find_subnets(
    tx: &Tx,
    asked: &Asked,
    present: &[String],
) -> Result<(String, Vec<Arc<Subnet>>), ApiError> {
    let mut subnets = Vec::new();
    for id in named_subnets(asked)? {
        let subnet = tx.get::<Subnet>(&id).ok_or_else(|| {
            ApiError::client("SubnetNotFound", format!("The subnet ID '{id}' does not exist"))
        })?;
        subnets.push(subnet);
    }
    Ok((check_subnets(tx, &subnets, present)?, subnets))
}

fn named_subnets(asked: &Asked) -> Result<Vec<String>, ApiError> {
    let mappings = asked.mappings.into_iter().flatten();
    let mapped: Vec<String> = mappings.filter_map(|mapping| mapping.subnet_id.clone()).collect();
    match (asked.subnets.unwrap_or_default().to_vec(), mapped) {
        (subnets, mapped) if mapped.is_empty() => Ok(subnets),
        (subnets, mapped) if subnets.is_empty() => Ok(mapped),
        _ => Err(invalid("You must specify either subnets or subnet mappings, not both")),
    }
}

/// Checks the subnets together; returns their VPC.
fn check_subnets(tx: &Tx, subnets: &[Arc<Subnet>], present: &[String]) -> Result<String, ApiError> {
    let vpcs: BTreeSet<&str> = subnets.iter().map(|subnet| subnet.vpc.as_str()).collect();
    if vpcs.len() > 1 {
        return Err(ApiError::client(
            "InvalidConfigurationRequest",
            "All subnets must belong to the same VPC",
        ));
    }
    let zones: BTreeSet<&str> = subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
    if zones.len() < subnets.len() {
        let message = "A load balancer cannot be attached to multiple subnets in the same Availability Zone";
        return Err(ApiError::client("InvalidConfigurationRequest", message));
    }
    if zones.len() < 2 {
        return Err(invalid("At least two subnets in two different Availability Zones must be specified"));
    }
    for subnet in subnets.iter().filter(|subnet| !present.contains(&subnet.id)) {
        if subnet::available(tx, subnet) < FREE_ADDRESSES {
            let message = format!(
                "Not enough IP space available in {}. ELB requires at least {FREE_ADDRESSES} free IP addresses in each subnet.",
                subnet.id
            );
            return Err(ApiError::client("InvalidSubnet", message));
        }
    }
    Ok(vpcs.first().copied().unwrap_or_default().to_owned())
}

/// The security groups asked for, or the VPC's default one.
pub(super) fn groups(tx: &Tx, vpc: &str, asked: &[String]) -> Result<Vec<String>, ApiError> {
    if asked.is_empty() {
        return Ok(vec![security_group::default_of(tx, vpc).id.clone()]);
    }
    let ours = |id: &String| tx.get::<SecurityGroup>(id).is_some_and(|group| group.vpc == vpc);
    if !asked.iter().all(ours) {
        return Err(ApiError::client("InvalidSecurityGroup", "One or more security groups are invalid"));
    }
    if asked.len() > MAX_SECURITY_GROUPS {
        let message = format!("A load balancer can have at most {MAX_SECURITY_GROUPS} security groups");
        return Err(ApiError::client("InvalidConfigurationRequest", message));
    }
    Ok(asked.to_vec())
}
