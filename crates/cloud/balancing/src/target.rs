//! Targets: addresses and ports registered to a target group, by the API or on behalf of an ECS service.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-register-targets.html>

use std::net::Ipv4Addr;

use pileus_aws::elbv2::{
    DeregisterTargetsInput, DeregisterTargetsOutput, DescribeTargetHealthInput, DescribeTargetHealthOutput,
    RegisterTargetsInput, RegisterTargetsOutput, TargetDescription, TargetHealth as HealthShape,
    TargetHealthDescription, ops,
};
use pileus_core::{ApiError, Timestamp};
use pileus_network::Subnet;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::health::{self, TargetHealth, TargetHealthView, Usage};
use crate::resource;
use crate::target_group::TargetGroup;

pub(crate) const MAX_PER_GROUP: usize = 1000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// The key of its group.
    pub(crate) group: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) zone: String,
    pub(crate) registered: Timestamp,
    /// When it was deregistered; it is gone when the group's deregistration delay has passed since.
    pub(crate) draining_since: Option<Timestamp>,
}

impl Record for Target {
    const KIND: &'static str = "elbv2/target";

    fn key(&self) -> String {
        key(&self.group, self.address, self.port)
    }
}

pub(crate) fn key(group: &str, address: Ipv4Addr, port: u16) -> String {
    format!("{group}/{address}:{port}")
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::RegisterTargets>(register_targets)
        .on::<ops::DeregisterTargets>(deregister_targets)
        .on::<ops::DescribeTargetHealth>(describe_target_health);
}

/// Registers an address of the VPC. One that drains comes back; one that is registered stays as it is.
///
/// # Errors
/// There is no such target group, or it is full.
pub fn register(
    tx: &mut Tx,
    group_arn: &str,
    address: Ipv4Addr,
    port: u16,
    zone: &str,
    now: Timestamp,
) -> Result<(), ApiError> {
    let group = resource::find::<TargetGroup>(tx, group_arn)?.key.clone();
    let key = key(&group, address, port);
    let back = tx.update(&key, |target: &mut Target| target.draining_since = None);
    if back.is_some() {
        return Ok(());
    }
    if of_group(tx, &group).len() >= MAX_PER_GROUP {
        let message = format!("A target group can have at most {MAX_PER_GROUP} targets");
        return Err(ApiError::client("TooManyTargets", message));
    }
    tx.put(Target { group, address, port, zone: zone.to_owned(), registered: now, draining_since: None });
    Ok(())
}

/// Deregisters a target: it drains from now on, or is gone at once where no request could reach it. One that is not
/// registered is no error.
///
/// # Errors
/// There is no such target group.
pub fn deregister(
    tx: &mut Tx,
    group_arn: &str,
    address: Ipv4Addr,
    port: u16,
    now: Timestamp,
) -> Result<(), ApiError> {
    let group = resource::find::<TargetGroup>(tx, group_arn)?;
    let key = key(&group.key, address, port);
    let Some(target) = tx.get::<Target>(&key) else { return Ok(()) };
    if Usage::of(tx, &target) == Usage::InUse {
        tx.update(&key, |target: &mut Target| target.draining_since = target.draining_since.or(Some(now)));
    } else {
        delete(tx, &key);
    }
    Ok(())
}

/// The health of a target; one that is not registered is `unused`.
///
/// # Errors
/// There is no such target group.
pub fn health(tx: &Tx, group_arn: &str, address: Ipv4Addr, port: u16) -> Result<TargetHealthView, ApiError> {
    let group = resource::find::<TargetGroup>(tx, group_arn)?;
    let target = tx.get::<Target>(&key(&group.key, address, port));
    Ok(health::view(tx, target.as_deref()))
}

/// Forgets a target and its health.
pub(crate) fn delete(tx: &mut Tx, key: &str) {
    tx.delete::<Target>(key);
    tx.delete::<TargetHealth>(key);
}

/// Forgets every target of a group.
pub(crate) fn delete_all(tx: &mut Tx, group: &str) {
    for target in of_group(tx, group) {
        delete(tx, &target.key());
    }
}

fn of_group(tx: &Tx, group: &str) -> Vec<Target> {
    let targets = tx.list::<Target>().into_iter().filter(|target| target.group == group);
    targets.map(|target| Target::clone(&target)).collect()
}

fn register_targets(
    cx: &mut Context,
    input: RegisterTargetsInput,
) -> Result<RegisterTargetsOutput, ApiError> {
    let group = resource::find::<TargetGroup>(cx.tx, &input.target_group_arn)?;
    for description in &input.targets {
        let (address, port) = named(description, &group)?;
        let zone = zone_of(cx.tx, &group.vpc, address)?;
        if description.availability_zone.as_ref().is_some_and(|asked| *asked != zone) {
            let message = format!("The target '{address}' is in Availability Zone '{zone}'");
            return Err(ApiError::client("InvalidTarget", message));
        }
        register(cx.tx, &input.target_group_arn, address, port, &zone, cx.now)?;
    }
    Ok(RegisterTargetsOutput {})
}

/// The zone of the subnet of the VPC that holds the address.
fn zone_of(tx: &Tx, vpc: &str, address: Ipv4Addr) -> Result<String, ApiError> {
    let subnet = tx.find(|subnet: &Subnet| subnet.vpc == vpc && subnet.cidr.contains(&address));
    subnet.map(|subnet| subnet.zone.clone()).ok_or_else(|| {
        let message = format!("The IP address '{address}' is not within a subnet of VPC '{vpc}'");
        ApiError::client("InvalidTarget", message)
    })
}

/// The address and port that a request names; the port is the group's unless it says otherwise.
fn named(description: &TargetDescription, group: &TargetGroup) -> Result<(Ipv4Addr, u16), ApiError> {
    let address = description.id.parse().map_err(|_| {
        let message = format!("The target ID '{}' is not a valid IPv4 address", description.id);
        ApiError::client("InvalidTarget", message)
    })?;
    let port = description.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(group.port);
    Ok((address, port))
}

fn deregister_targets(
    cx: &mut Context,
    input: DeregisterTargetsInput,
) -> Result<DeregisterTargetsOutput, ApiError> {
    let group = resource::find::<TargetGroup>(cx.tx, &input.target_group_arn)?;
    for description in &input.targets {
        let (address, port) = named(description, &group)?;
        deregister(cx.tx, &input.target_group_arn, address, port, cx.now)?;
    }
    Ok(DeregisterTargetsOutput {})
}

fn describe_target_health(
    cx: &mut Context,
    input: DescribeTargetHealthInput,
) -> Result<DescribeTargetHealthOutput, ApiError> {
    let group = resource::find::<TargetGroup>(cx.tx, &input.target_group_arn)?;
    let tx = &*cx.tx;
    let descriptions = match input.targets.filter(|targets| !targets.is_empty()) {
        None => {
            let targets = of_group(tx, &group.key);
            targets.iter().map(|target| shape(tx, &group, target.address, target.port)).collect()
        }
        Some(descriptions) => descriptions
            .iter()
            .map(|description| {
                let (address, port) = named(description, &group)?;
                Ok(shape(tx, &group, address, port))
            })
            .collect::<Result<_, ApiError>>()?,
    };
    Ok(DescribeTargetHealthOutput { target_health_descriptions: Some(descriptions) })
}

fn shape(tx: &Tx, group: &TargetGroup, address: Ipv4Addr, port: u16) -> TargetHealthDescription {
    let target = tx.get::<Target>(&key(&group.key, address, port));
    let view = health::view(tx, target.as_deref());
    TargetHealthDescription {
        target: Some(TargetDescription {
            id: address.to_string(),
            port: Some(port.into()),
            availability_zone: target.map(|target| target.zone.clone()),
        }),
        health_check_port: Some(group.health_check.port.unwrap_or(port).to_string()),
        target_health: Some(HealthShape {
            state: Some(view.state.as_str().into()),
            reason: view.reason.map(Into::into),
            description: view.description,
        }),
        ..TargetHealthDescription::default()
    }
}
