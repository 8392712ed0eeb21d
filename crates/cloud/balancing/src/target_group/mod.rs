//! Target groups: where a rule sends requests, and how its targets are checked.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html>

mod attributes;
mod health_check;

use std::time::Duration;

use pileus_aws::elbv2::{
    CreateTargetGroupInput, CreateTargetGroupOutput, DeleteTargetGroupInput, DeleteTargetGroupOutput,
    DescribeTargetGroupsInput, DescribeTargetGroupsOutput, Matcher, ModifyTargetGroupInput,
    ModifyTargetGroupOutput, TargetGroup as Shape, ops,
};
use pileus_contract::proxy::Algorithm;
use pileus_core::{ApiError, Scope, Tags};
use pileus_network::Vpc;
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

pub(crate) use self::health_check::HealthCheck;
use self::health_check::Settings;
use crate::attributes::Attributes;
use crate::load_balancer::LoadBalancer;
use crate::resource::{self, Resource, check_name, invalid};
use crate::rule::Rule;
use crate::{tags, target};

pub(crate) const MAX_PER_REGION: usize = 3000;

/// A target group of type `ip` that speaks HTTP/1.1 over IPv4: the only kind so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TargetGroup {
    /// `<name>/<16 hex>`
    pub(crate) key: String,
    pub(crate) name: String,
    /// What targets receive traffic on unless they say otherwise.
    pub(crate) port: u16,
    pub(crate) vpc: String,
    pub(crate) health_check: HealthCheck,
    pub(crate) attributes: Attributes,
    pub(crate) tags: Tags,
}

impl Record for TargetGroup {
    const KIND: &'static str = "elbv2/target-group";

    fn key(&self) -> String {
        self.key.clone()
    }
}

impl Resource for TargetGroup {
    const PREFIX: &'static str = ID_PREFIX;
    const NOUN: &'static str = "target group";
    const NOT_FOUND: &'static str = "TargetGroupNotFound";

    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }
}

const ID_PREFIX: &str = "targetgroup/";

/// How the balancer and the metrics call the group with this key.
pub(crate) fn id(key: &str) -> String {
    format!("{ID_PREFIX}{key}")
}

/// The key of the group that the balancer calls `id`.
pub(crate) fn key_of(id: &str) -> Option<&str> {
    id.strip_prefix(ID_PREFIX)
}

impl TargetGroup {
    pub(crate) fn deregistration_delay(&self) -> Duration {
        attributes::deregistration_delay(&self.attributes)
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        attributes::algorithm(&self.attributes)
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateTargetGroup>(create_target_group)
        .on::<ops::DescribeTargetGroups>(describe_target_groups)
        .on::<ops::ModifyTargetGroup>(modify_target_group)
        .on::<ops::DeleteTargetGroup>(delete_target_group);
    attributes::operations(router);
}

/// The ARN of the load balancer whose rules forward to the group, if any.
///
/// # Errors
/// There is no such target group.
pub fn load_balancer_of(tx: &Tx, arn: &str) -> Result<Option<String>, ApiError> {
    let group = resource::find::<TargetGroup>(tx, arn)?;
    Ok(user_of(tx, &group.key).map(|key| resource::arn::<LoadBalancer>(tx.scope(), &key)))
}

/// How long the group's targets drain after deregistration.
///
/// # Errors
/// There is no such target group.
pub fn deregistration_delay(tx: &Tx, arn: &str) -> Result<Duration, ApiError> {
    Ok(resource::find::<TargetGroup>(tx, arn)?.deregistration_delay())
}

/// The key of the load balancer whose rules forward to the group with this key.
pub(crate) fn user_of(tx: &Tx, key: &str) -> Option<String> {
    let rule = tx.find::<Rule>(|rule| rule.forwards_to(key))?;
    Some(rule.load_balancer().to_owned())
}

fn create_target_group(
    cx: &mut Context,
    mut input: CreateTargetGroupInput,
) -> Result<CreateTargetGroupOutput, ApiError> {
    check_name(TargetGroup::NOUN, &input.name)?;
    check_kind(&input)?;
    let port = input.port.and_then(|port| u16::try_from(port).ok());
    let mut group = TargetGroup {
        key: String::new(),
        name: input.name.clone(),
        port: port.ok_or_else(|| invalid("A port must be specified"))?,
        vpc: input.vpc_id.take().ok_or_else(|| invalid("A VPC ID must be specified"))?,
        health_check: HealthCheck::default().with(Settings::from(&mut input))?,
        attributes: Attributes::new(),
        tags: tags::of_request(input.tags)?,
    };
    if cx.tx.get::<Vpc>(&group.vpc).is_none() {
        return Err(invalid(format!("The VPC ID '{}' is not found", group.vpc)));
    }
    let same_name = cx.tx.find(|other: &TargetGroup| other.name == group.name);
    if let Some(existing) = same_name {
        return repeated(cx.tx, &existing, &group);
    }
    if cx.tx.list::<TargetGroup>().len() >= MAX_PER_REGION {
        return Err(ApiError::client(
            "TooManyTargetGroups",
            "You've reached the limit on the number of target groups",
        ));
    }
    group.key = format!("{}/{}", group.name, cx.ids.hex(16));
    let shape = shape(cx.tx, &group);
    cx.tx.put(group);
    Ok(CreateTargetGroupOutput { target_groups: Some(vec![shape]) })
}

/// A second creation under the same name: the same group if it asks for the same settings.
fn repeated(
    tx: &Tx,
    existing: &TargetGroup,
    asked: &TargetGroup,
) -> Result<CreateTargetGroupOutput, ApiError> {
    let settings = |group: &TargetGroup| (group.port, group.vpc.clone(), group.health_check.clone());
    if settings(existing) == settings(asked) {
        return Ok(CreateTargetGroupOutput { target_groups: Some(vec![shape(tx, existing)]) });
    }
    let message =
        format!("A target group with the same name '{}' exists, but with different settings", asked.name);
    Err(ApiError::client("DuplicateTargetGroupName", message))
}

/// Refuses the kinds of target groups that do not exist here, by name.
fn check_kind(input: &CreateTargetGroupInput) -> Result<(), ApiError> {
    let kind = input.target_type.as_deref().unwrap_or("instance");
    if kind != "ip" {
        return Err(ApiError::not_implemented(format_args!("target groups of type '{kind}'; use type 'ip'")));
    }
    match input.protocol.as_deref() {
        Some("HTTP") => {}
        Some(other) => {
            return Err(ApiError::not_implemented(format_args!(
                "target groups with protocol {other}; use HTTP"
            )));
        }
        None => return Err(invalid("A protocol must be specified")),
    }
    // Terraform sends an empty one for none.
    let version = input.protocol_version.as_deref().unwrap_or_default();
    if !matches!(version, "" | "HTTP1") {
        return Err(ApiError::not_implemented(format_args!("target groups with protocol version {version}")));
    }
    let addresses = input.ip_address_type.as_deref().unwrap_or("ipv4");
    if addresses != "ipv4" {
        return Err(ApiError::not_implemented(format_args!(
            "target groups with IP address type {addresses}"
        )));
    }
    Ok(())
}

fn describe_target_groups(
    cx: &mut Context,
    input: DescribeTargetGroupsInput,
) -> Result<DescribeTargetGroupsOutput, ApiError> {
    let groups = select(cx.tx, &input)?;
    let (groups, next_marker) =
        resource::page(groups, |group| group.key.clone(), input.marker.as_deref(), input.page_size)?;
    let target_groups = groups.iter().map(|group| shape(cx.tx, group)).collect();
    Ok(DescribeTargetGroupsOutput { target_groups: Some(target_groups), next_marker })
}

/// The groups that a request asks for, ordered by key.
fn select(tx: &Tx, input: &DescribeTargetGroupsInput) -> Result<Vec<TargetGroup>, ApiError> {
    let all = || tx.list::<TargetGroup>().into_iter().map(|group| TargetGroup::clone(&group));
    let mut groups: Vec<_> = match (&input.load_balancer_arn, &input.target_group_arns, &input.names) {
        (Some(arn), None, None) => {
            let balancer = resource::find::<LoadBalancer>(tx, arn)?;
            all().filter(|group| user_of(tx, &group.key).as_ref() == Some(&balancer.key)).collect()
        }
        (None, Some(arns), None) => arns
            .iter()
            .map(|arn| Ok(TargetGroup::clone(&*resource::find(tx, arn)?)))
            .collect::<Result<_, ApiError>>()?,
        (None, None, Some(names)) => {
            let named = |name: &String| all().find(|group| group.name == *name);
            names
                .iter()
                .map(|name| named(name).ok_or_else(resource::not_found::<TargetGroup>))
                .collect::<Result<_, _>>()?
        }
        (None, None, None) => all().collect(),
        _ => return Err(invalid("Specify one of load balancer ARN, target group ARNs and names")),
    };
    groups.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(groups)
}

fn modify_target_group(
    cx: &mut Context,
    mut input: ModifyTargetGroupInput,
) -> Result<ModifyTargetGroupOutput, ApiError> {
    let mut group = TargetGroup::clone(&*resource::find(cx.tx, &input.target_group_arn)?);
    group.health_check = group.health_check.with(Settings::from(&mut input))?;
    let shape = shape(cx.tx, &group);
    cx.tx.put(group);
    Ok(ModifyTargetGroupOutput { target_groups: Some(vec![shape]) })
}

/// Deleting what is not there succeeds, as in AWS.
fn delete_target_group(
    cx: &mut Context,
    input: DeleteTargetGroupInput,
) -> Result<DeleteTargetGroupOutput, ApiError> {
    let arn = &input.target_group_arn;
    let key = resource::key::<TargetGroup>(cx.scope(), arn)?.unwrap_or_default();
    if user_of(cx.tx, key).is_some() {
        let message = format!("Target group '{arn}' is currently in use by a listener or a rule");
        return Err(ApiError::client("ResourceInUse", message));
    }
    if cx.tx.delete::<TargetGroup>(key).is_some() {
        target::delete_all(cx.tx, key);
    }
    Ok(DeleteTargetGroupOutput {})
}

fn shape(tx: &Tx, group: &TargetGroup) -> Shape {
    let scope: &Scope = tx.scope();
    let check = &group.health_check;
    let user = user_of(tx, &group.key).map(|key| resource::arn::<LoadBalancer>(scope, &key));
    Shape {
        target_group_arn: Some(group.arn(scope)),
        target_group_name: Some(group.name.clone()),
        protocol: Some("HTTP".into()),
        port: Some(group.port.into()),
        vpc_id: Some(group.vpc.clone()),
        health_check_protocol: Some("HTTP".into()),
        health_check_port: Some(check.port_text()),
        health_check_enabled: Some(true),
        health_check_interval_seconds: Some(check.interval.into()),
        health_check_timeout_seconds: Some(check.timeout.into()),
        healthy_threshold_count: Some(check.healthy_threshold.into()),
        unhealthy_threshold_count: Some(check.unhealthy_threshold.into()),
        health_check_path: Some(check.path.clone()),
        matcher: Some(Matcher { http_code: Some(check.matcher.clone()), grpc_code: None }),
        load_balancer_arns: Some(user.into_iter().collect()),
        target_type: Some("ip".into()),
        protocol_version: Some("HTTP1".into()),
        ip_address_type: Some("ipv4".into()),
        target_control_port: None,
    }
}
