//! What compute asks of the other domains, in one place: network interfaces, targets, images.

use std::net::Ipv4Addr;
use std::time::Duration;

use pileus_aws::ecs;
use pileus_balancing::{TargetState, target, target_group};
use pileus_core::{ApiError, IdGen, Scope, Timestamp};
use pileus_network::{Interface, NewInterface, SecurityGroup, Subnet, Vpc, interface};
use pileus_state::Tx;

use crate::error::invalid;
use crate::service::view::{Cause, Health};
use crate::task::record::{ImageDigests, TaskNetwork};
use crate::task_definition::validate::host_architecture;

/// The availability zone of a subnet.
pub(crate) fn zone_of(tx: &Tx, subnet: &str) -> Option<String> {
    tx.get::<Subnet>(subnet).map(|subnet| subnet.zone.clone())
}

/// The VPC that all the subnets belong to.
///
/// # Errors
/// One of them does not exist, or they belong to different VPCs.
pub(crate) fn vpc_of_subnets(tx: &Tx, subnets: &[String]) -> Result<String, ApiError> {
    let mut vpc: Option<String> = None;
    for id in subnets {
        let subnet = pileus_network::find::<Subnet>(tx, id).map_err(|error| {
            invalid(format!(
                "Error retrieving subnet information for [{id}]: {} (ErrorCode: {})",
                error.message, error.code
            ))
        })?;
        if vpc.as_ref().is_some_and(|vpc| *vpc != subnet.vpc) {
            return Err(invalid("Subnets must belong to the same VPC."));
        }
        vpc = Some(subnet.vpc.clone());
    }
    vpc.ok_or_else(|| invalid("subnets can not be empty."))
}

/// # Errors
/// A security group does not exist, or belongs to another VPC.
pub(crate) fn check_groups(tx: &Tx, groups: &[String], vpc: &str) -> Result<(), ApiError> {
    for id in groups {
        let group = pileus_network::find::<SecurityGroup>(tx, id).map_err(|error| {
            invalid(format!(
                "Error retrieving security group information for [{id}]: {} (ErrorCode: {})",
                error.message, error.code
            ))
        })?;
        if group.vpc != vpc {
            return Err(invalid("Security groups must belong to the same VPC as the subnets."));
        }
    }
    Ok(())
}

/// Gives a task a network interface in the first of the subnets that has an address left.
///
/// # Errors
/// Why none could be made, as the service event says it.
pub(crate) fn attach(
    tx: &mut Tx,
    ids: &mut IdGen,
    now: Timestamp,
    subnets: &[String],
    network: &ecs::AwsVpcConfiguration,
) -> Result<TaskNetwork, String> {
    let attachment = ids.uuid();
    let description = tx.scope().arn("ecs", format_args!("attachment/{attachment}"));
    let mut refusal = "No subnet is left to place the task in".to_owned();
    for subnet in subnets {
        let new = NewInterface {
            subnet: subnet.clone(),
            groups: network.security_groups.clone().unwrap_or_default(),
            description: description.clone(),
            requester: Some("amazon-ecs".into()),
            attachment_owner: Some("amazon-ecs".into()),
            public: network.assign_public_ip.as_deref() == Some("ENABLED"),
            ..NewInterface::default()
        };
        match interface::create(tx, ids, now, new) {
            Ok(made) => return Ok(describe(tx.scope(), attachment, &made)),
            Err(error) => refusal = error.message.trim_end_matches('.').to_owned(),
        }
    }
    Err(refusal)
}

fn describe(scope: &Scope, attachment: String, made: &Interface) -> TaskNetwork {
    let mac: Vec<String> = made.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    TaskNetwork {
        attachment,
        interface: made.id.clone(),
        subnet: made.subnet.clone(),
        zone: made.zone.clone(),
        address: made.address,
        mac: mac.join(":"),
        private_dns_name: format!(
            "ip-{}.{}",
            made.address.to_string().replace('.', "-"),
            private_domain(scope)
        ),
    }
}

/// The domain of private host names.
pub(crate) fn private_domain(scope: &Scope) -> String {
    match scope.region.as_str() {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    }
}

/// The VPC's resolver: its base address plus two.
pub(crate) fn resolver_of(tx: &Tx, subnet: &str) -> Option<Ipv4Addr> {
    let subnet = tx.get::<Subnet>(subnet)?;
    let vpc = tx.get::<Vpc>(&subnet.vpc)?;
    Some(Ipv4Addr::from(u32::from(vpc.cidr.network()) + 2))
}

/// The subnet's address range, for the metadata of tasks in it.
pub(crate) fn cidr_of(tx: &Tx, subnet: &str) -> Option<String> {
    tx.get::<Subnet>(subnet).map(|subnet| subnet.cidr.to_string())
}

pub(crate) fn is_attached(tx: &Tx, interface: &str) -> bool {
    interface::is_ready(tx, interface)
}

pub(crate) fn detach(tx: &mut Tx, interface: &str) {
    interface::delete(tx, interface);
}

/// # Errors
/// The target group does not exist, or no load balancer uses it.
pub(crate) fn check_target_group(tx: &Tx, arn: &str) -> Result<(), ApiError> {
    match target_group::load_balancer_of(tx, arn) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(invalid(format!(
            "The target group with targetGroupArn {arn} does not have an associated load balancer."
        ))),
        Err(error) if error.status < 500 => Err(invalid(format!(
            "Unable to assume role and validate the specified targetGroupArn: {arn}. {}",
            error.message
        ))),
        Err(error) => Err(error),
    }
}

/// Registers a task as a target. Whether it could be: a target group that is gone or full has no use for it.
pub(crate) fn register(
    tx: &mut Tx,
    group: &str,
    address: Ipv4Addr,
    port: u16,
    zone: &str,
    now: Timestamp,
) -> bool {
    target::register(tx, group, address, port, zone, now).is_ok()
}

/// Deregisters a target; whether its target group still exists.
pub(crate) fn deregister(tx: &mut Tx, group: &str, address: Ipv4Addr, port: u16, now: Timestamp) -> bool {
    target::deregister(tx, group, address, port, now).is_ok()
}

pub(crate) fn is_draining(tx: &Tx, group: &str, address: Ipv4Addr, port: u16) -> bool {
    target::health(tx, group, address, port).is_ok_and(|health| health.state == TargetState::Draining)
}

/// What a target group says of a task. One that is gone says nothing.
pub(crate) fn health(tx: &Tx, group: &str, address: Ipv4Addr, port: u16) -> Health {
    let Ok(view) = target::health(tx, group, address, port) else { return Health::Unknown };
    match view.state {
        TargetState::Healthy => Health::Healthy,
        TargetState::Unhealthy => Health::Unhealthy(Cause::Target {
            target_group: group.to_owned(),
            port,
            reason: view.description.unwrap_or_default(),
        }),
        TargetState::Initial | TargetState::Unused | TargetState::Draining => Health::Unknown,
    }
}

/// The variables by which the SDKs in a container find the APIs.
pub(crate) fn api_environment(region: &str) -> Vec<(String, String)> {
    pileus_network::endpoints::environment(region)
}

/// The registry and repository of an ECR image's name.
pub(crate) fn repository_of(image: &str) -> Option<(Scope, String)> {
    pileus_registry::repository_of(image)
}

/// The policy of a repository.
pub(crate) fn repository_policy(tx: &Tx, scope: &Scope, repository: &str) -> Option<String> {
    pileus_registry::repository_policy(tx.base(), scope, repository)
}

/// Why a task could not reach an AWS service on AWS, if it could not: `dial tcp HOST:443: i/o timeout: reason`.
pub(crate) fn cannot_reach(tx: &Tx, network: &TaskNetwork, service: &str) -> Option<String> {
    let interface = tx.get::<Interface>(&network.interface)?;
    let place = pileus_network::Place {
        subnet: &network.subnet,
        groups: &interface.groups,
        public: interface.public.is_some(),
    };
    let error = pileus_network::reach(tx, place, service).err()?;
    Some(format!("dial tcp {}:443: i/o timeout ({})", error.host, error.reason))
}

/// Whether one of the alarms of these names is in ALARM.
pub(crate) fn is_in_alarm(tx: &Tx, names: &[String]) -> bool {
    pileus_monitoring::alarms::first_in_alarm(tx, names).is_some()
}

/// How long the slowest of these alarms looks back: so long it takes until all have seen a change. AWS publishes no
/// formula for its own bake time.
pub(crate) fn alarm_window(tx: &Tx, names: &[String]) -> Duration {
    let seconds = |name: &String| {
        let alarm = pileus_monitoring::alarms::get(tx, name)?;
        let metric = alarm.metric()?;
        let looked = metric.period.unwrap_or(60).saturating_mul(metric.evaluation_periods.unwrap_or(1));
        u64::try_from(looked).ok()
    };
    Duration::from_secs(names.iter().filter_map(seconds).max().unwrap_or(0))
}

/// The image that a name stands for, for this machine's architecture.
///
/// # Errors
/// Why it cannot be pulled.
pub(crate) fn resolve_image(tx: &mut Tx, image: &str) -> Result<ImageDigests, String> {
    let architecture = if host_architecture() == "ARM64" { "arm64" } else { "amd64" };
    match pileus_registry::resolve(tx, image, architecture) {
        Ok(found) => Ok(ImageDigests { digest: found.digest, manifest: found.manifest }),
        Err(error) => Err(error.to_string()),
    }
}
