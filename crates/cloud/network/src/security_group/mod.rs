//! Security groups: what the interfaces that carry them accept and may send.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html>

mod change;
mod permission;
mod rule;

use std::sync::Arc;

use ipnet::Ipv4Net;
use pileus_aws::ec2;
use pileus_contract::fabric::TrafficSpec;
use pileus_core::{ApiError, Scope};
use pileus_service::{Context, Router};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use crate::resource::{Resource, find, invalid, missing};
use crate::select::{Filters, Selection, one, select};
use crate::{Interface, Vpc, default_vpc, tags};

pub use rule::{Peer, Rule};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub id: String,
    pub vpc: String,
    /// Unique in the VPC.
    pub name: String,
    pub description: String,
}

impl SecurityGroup {
    /// Whether it is the group that came with its VPC; no other can have this name.
    pub fn is_default(&self) -> bool {
        self.name == DEFAULT
    }
}

impl Record for SecurityGroup {
    const KIND: &'static str = "ec2/security-group";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Resource for SecurityGroup {
    const PREFIX: &'static str = "sg";
    const TYPE: &'static str = "security-group";
    const NOUN: &'static str = "security group";
    const NOT_FOUND: &'static str = "InvalidGroup.NotFound";
    const MALFORMED: &'static str = "InvalidGroupId.Malformed";
}

const DEFAULT: &str = "default";

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::CreateSecurityGroup>(create_security_group)
        .on::<ec2::ops::DeleteSecurityGroup>(delete_security_group)
        .on::<ec2::ops::DescribeSecurityGroups>(describe_security_groups)
        .on::<ec2::ops::GetSecurityGroupsForVpc>(get_security_groups_for_vpc);
    rule::operations(router);
    change::operations(router);
}

/// The default group of a VPC.
///
/// # Panics
/// The VPC does not exist.
pub fn default_of(tx: &Tx, vpc: &str) -> Arc<SecurityGroup> {
    let group = tx.find::<SecurityGroup>(|group| group.vpc == vpc && group.is_default());
    group.expect("a VPC has a default security group")
}

/// The sources and (inclusive) port ranges from which TCP connections to carriers of any of `groups` are accepted.
/// References to groups are left out: they never mean an address outside the VPC.
pub fn tcp_sources(state: &State, scope: &Scope, groups: &[String]) -> Vec<(Ipv4Net, u16, u16)> {
    let rules = state.list::<Rule>(scope).filter(|rule| !rule.egress && groups.contains(&rule.group));
    let sources = |rule: Arc<Rule>| {
        let (from, to) = match rule.traffic {
            TrafficSpec::Tcp { from, to } => (from, to),
            TrafficSpec::All => (0, u16::MAX),
            _ => return Vec::new(),
        };
        rule.blocks(state, scope).into_iter().map(|block| (block, from, to)).collect()
    };
    rules.flat_map(sources).collect()
}

/// The default group: everything from its own members comes in, everything may go out.
pub(crate) fn create_default(cx: &mut Context, vpc: &str) {
    let id = create(cx, vpc, DEFAULT, "default VPC security group");
    rule::allow_all(cx, &id, false, Peer::Group(id.clone()));
}

pub(crate) fn delete_default(tx: &mut Tx, vpc: &str) {
    let group = default_of(tx, vpc);
    delete(tx, &group.id);
}

/// A new group lets everything out and nothing in.
fn create(cx: &mut Context, vpc: &str, name: &str, description: &str) -> String {
    let id = cx.ids.ec2(SecurityGroup::PREFIX);
    cx.tx.put(SecurityGroup {
        id: id.clone(),
        vpc: vpc.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
    });
    rule::allow_all(cx, &id, true, Peer::Ipv4(Ipv4Net::default()));
    id
}

fn delete(tx: &mut Tx, id: &str) {
    for rule in rule::of_group(tx, id) {
        rule::delete(tx, &rule.id);
    }
    tags::forget(tx, id);
    tx.delete::<SecurityGroup>(id);
}

fn create_security_group(
    cx: &mut Context,
    input: ec2::CreateSecurityGroupRequest,
) -> Result<ec2::CreateSecurityGroupResult, ApiError> {
    let vpc = match input.vpc_id {
        Some(id) => find::<Vpc>(cx.tx, &id)?,
        None => default_vpc::of_region(cx.tx)
            .ok_or_else(|| ApiError::client("VPCIdNotSpecified", "No default VPC for this user"))?,
    };
    check_name(&input.group_name)?;
    check_text("GroupDescription", &input.description)?;
    if cx.tx.find::<SecurityGroup>(|group| group.vpc == vpc.id && group.name == input.group_name).is_some() {
        let message =
            format!("The security group '{}' already exists for VPC '{}'", input.group_name, vpc.id);
        return Err(ApiError::client("InvalidGroup.Duplicate", message));
    }
    let tags = tags::specified::<SecurityGroup>(&input.tag_specifications)?;
    let id = create(cx, &vpc.id, &input.group_name, &input.description);
    tags::put::<SecurityGroup>(cx.tx, &id, tags);
    Ok(ec2::CreateSecurityGroupResult {
        tags: tags::shapes(cx.tx, &id),
        security_group_arn: Some(arn(cx.tx, &id)),
        group_id: Some(id),
    })
}

fn check_name(name: &str) -> Result<(), ApiError> {
    if name == DEFAULT {
        return Err(invalid("Cannot use reserved security group name: default"));
    }
    if name.starts_with("sg-") {
        return Err(invalid(format!(
            "Invalid group name '{name}': group names may not be in the format sg-*."
        )));
    }
    check_text("GroupName", name)
}

/// AWS's alphabet for names and descriptions, up to 255 of it.
fn check_text(parameter: &str, text: &str) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    if text.is_empty() || text.len() > 255 || !text.chars().all(allowed) {
        return Err(invalid(format!(
            "Value ({text}) for parameter {parameter} is invalid. Up to 255 of the characters a-z, A-Z, 0-9, spaces \
             and ._-:/()#,@[]+=&;{{}}!$* are allowed."
        )));
    }
    Ok(())
}

fn delete_security_group(
    cx: &mut Context,
    input: ec2::DeleteSecurityGroupRequest,
) -> Result<ec2::DeleteSecurityGroupResult, ApiError> {
    let group = find::<SecurityGroup>(cx.tx, &input.group_id.ok_or_else(|| missing("groupId"))?)?;
    let id = &group.id;
    if group.is_default() {
        let message =
            format!("the specified group: \"{id}\" name: \"{}\" cannot be deleted by a user", group.name);
        return Err(ApiError::client("CannotDelete", message));
    }
    let referred = |rule: &Rule| rule.group != *id && rule.peer == Peer::Group(id.clone());
    if cx.tx.find::<Interface>(|interface| interface.groups.contains(id)).is_some()
        || cx.tx.find::<Rule>(referred).is_some()
    {
        return Err(ApiError::client("DependencyViolation", format!("resource {id} has a dependent object")));
    }
    delete(cx.tx, id);
    Ok(ec2::DeleteSecurityGroupResult { r#return: Some(true), group_id: Some(id.clone()) })
}

/// A value of each rule of a group in one direction.
fn of_rules(
    tx: &Tx,
    group: &str,
    egress: bool,
    value: fn(ec2::SecurityGroupRule) -> Option<String>,
) -> Vec<String> {
    let rules = rule::of_group(tx, group).into_iter().filter(|rule| rule.egress == egress);
    rules.filter_map(|it| value(rule::shape(tx, &it))).collect()
}

fn referenced(rule: ec2::SecurityGroupRule) -> Option<String> {
    rule.referenced_group_info?.group_id
}

fn prefix_list(rule: ec2::SecurityGroupRule) -> Option<String> {
    rule.prefix_list_id
}

fn from_port(rule: ec2::SecurityGroupRule) -> Option<String> {
    rule.from_port.map(|port| port.to_string())
}

fn to_port(rule: ec2::SecurityGroupRule) -> Option<String> {
    rule.to_port.map(|port| port.to_string())
}

const FILTERS: Filters<SecurityGroup> = &[
    ("description", |_, group| one(&group.description)),
    ("egress.ip-permission.cidr", |tx, group| of_rules(tx, &group.id, true, |rule| rule.cidr_ipv4)),
    ("egress.ip-permission.from-port", |tx, group| of_rules(tx, &group.id, true, from_port)),
    ("egress.ip-permission.group-id", |tx, group| of_rules(tx, &group.id, true, referenced)),
    ("egress.ip-permission.prefix-list-id", |tx, group| of_rules(tx, &group.id, true, prefix_list)),
    ("egress.ip-permission.protocol", |tx, group| of_rules(tx, &group.id, true, |rule| rule.ip_protocol)),
    ("egress.ip-permission.to-port", |tx, group| of_rules(tx, &group.id, true, to_port)),
    ("group-id", |_, group| one(&group.id)),
    ("group-name", |_, group| one(&group.name)),
    ("ip-permission.cidr", |tx, group| of_rules(tx, &group.id, false, |rule| rule.cidr_ipv4)),
    ("ip-permission.from-port", |tx, group| of_rules(tx, &group.id, false, from_port)),
    ("ip-permission.group-id", |tx, group| of_rules(tx, &group.id, false, referenced)),
    ("ip-permission.prefix-list-id", |tx, group| of_rules(tx, &group.id, false, prefix_list)),
    ("ip-permission.protocol", |tx, group| of_rules(tx, &group.id, false, |rule| rule.ip_protocol)),
    ("ip-permission.to-port", |tx, group| of_rules(tx, &group.id, false, to_port)),
    ("owner-id", |tx, _| one(&tx.scope().account)),
    ("vpc-id", |_, group| one(&group.vpc)),
];

fn describe_security_groups(
    cx: &mut Context,
    input: ec2::DescribeSecurityGroupsRequest,
) -> Result<ec2::DescribeSecurityGroupsResult, ApiError> {
    let selection = Selection {
        ids: &input.group_ids,
        filters: &input.filters,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (groups, next_token) = select(cx.tx, selection, FILTERS)?;
    let security_groups = Some(groups.iter().map(|group| shape(cx.tx, group)).collect());
    Ok(ec2::DescribeSecurityGroupsResult { next_token, security_groups })
}

/// The groups that interfaces in a VPC can carry: its own.
fn get_security_groups_for_vpc(
    cx: &mut Context,
    input: ec2::GetSecurityGroupsForVpcRequest,
) -> Result<ec2::GetSecurityGroupsForVpcResult, ApiError> {
    let vpc = find::<Vpc>(cx.tx, &input.vpc_id)?;
    let mut filters = input.filters.unwrap_or_default();
    filters.push(ec2::Filter { name: Some("vpc-id".into()), values: Some(vec![vpc.id.clone()]) });
    let filters = Some(filters);
    let selection = Selection {
        ids: &None,
        filters: &filters,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (groups, next_token) = select(cx.tx, selection, FILTERS)?;
    let shape = |group: &Arc<SecurityGroup>| ec2::SecurityGroupForVpc {
        description: Some(group.description.clone()),
        group_name: Some(group.name.clone()),
        owner_id: Some(cx.scope().account.clone()),
        group_id: Some(group.id.clone()),
        tags: tags::shapes(cx.tx, &group.id),
        primary_vpc_id: Some(group.vpc.clone()),
    };
    let security_group_for_vpcs = Some(groups.iter().map(shape).collect());
    Ok(ec2::GetSecurityGroupsForVpcResult { next_token, security_group_for_vpcs })
}

fn arn(tx: &Tx, id: &str) -> String {
    tx.scope().arn("ec2", format_args!("security-group/{id}"))
}

fn shape(tx: &Tx, group: &SecurityGroup) -> ec2::SecurityGroup {
    let account = &tx.scope().account;
    let rules = rule::of_group(tx, &group.id);
    let permissions = |egress| {
        let rules = rules.iter().map(AsRef::as_ref).filter(|rule: &&Rule| rule.egress == egress);
        Some(permission::grouped(rules, account))
    };
    ec2::SecurityGroup {
        group_id: Some(group.id.clone()),
        ip_permissions_egress: permissions(true),
        tags: tags::shapes(tx, &group.id),
        vpc_id: Some(group.vpc.clone()),
        security_group_arn: Some(arn(tx, &group.id)),
        owner_id: Some(account.clone()),
        group_name: Some(group.name.clone()),
        description: Some(group.description.clone()),
        ip_permissions: permissions(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, filter, group, interface, subnet, vpc};

    fn describe(cloud: &mut pileus_kit::Cloud, name: &str, value: &str) -> Vec<ec2::SecurityGroup> {
        let input = ec2::DescribeSecurityGroupsRequest { filters: filter(name, value), ..Default::default() };
        cloud.ok::<ec2::ops::DescribeSecurityGroups>(input).security_groups.unwrap()
    }

    #[test]
    fn a_new_group_lets_everything_out_and_nothing_in() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let id = group(&mut cloud, &vpc, "web");
        let shape = describe(&mut cloud, "group-name", "web").remove(0);
        assert_eq!(shape.ip_permissions, Some(Vec::new()));
        let egress = shape.ip_permissions_egress.unwrap();
        assert_eq!(egress.len(), 1);
        assert_eq!((egress[0].ip_protocol.as_deref(), egress[0].from_port), (Some("-1"), None));
        assert_eq!(egress[0].ip_ranges.as_ref().unwrap()[0].cidr_ip.as_deref(), Some("0.0.0.0/0"));
        let default = describe(&mut cloud, "group-name", "default").remove(0);
        let own = &default.ip_permissions.unwrap()[0].user_id_group_pairs.clone().unwrap()[0];
        assert_eq!(own.group_id, default.group_id);
        assert_eq!(describe(&mut cloud, "egress.ip-permission.cidr", "0.0.0.0/0").len(), 2);
        let delete = ec2::DeleteSecurityGroupRequest { group_id: Some(id) };
        cloud.ok::<ec2::ops::DeleteSecurityGroup>(delete.clone());
        assert_eq!(cloud.code::<ec2::ops::DeleteSecurityGroup>(delete), "InvalidGroup.NotFound");
        assert_eq!(cloud.state.all::<Rule>().count(), 2);
    }

    #[test]
    fn bad_names_are_refused() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        group(&mut cloud, &vpc, "web");
        let create = |name: &str| ec2::CreateSecurityGroupRequest {
            group_name: name.into(),
            description: "x".into(),
            vpc_id: Some(vpc.clone()),
            ..Default::default()
        };
        for (name, code) in [
            ("web", "InvalidGroup.Duplicate"),
            ("default", "InvalidParameterValue"),
            ("sg-web", "InvalidParameterValue"),
            ("wéb", "InvalidParameterValue"),
        ] {
            assert_eq!(cloud.code::<ec2::ops::CreateSecurityGroup>(create(name)), code, "{name}");
        }
        let no_vpc = ec2::CreateSecurityGroupRequest { vpc_id: None, ..create("api") };
        assert_eq!(cloud.code::<ec2::ops::CreateSecurityGroup>(no_vpc), "VPCIdNotSpecified");
    }

    #[test]
    fn a_group_in_use_and_the_default_group_stay() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let subnet = subnet(&mut cloud, &vpc, "10.0.1.0/24");
        let id = group(&mut cloud, &vpc, "web");
        interface(&mut cloud, &subnet, &[&id]);
        let delete = |id: String| ec2::DeleteSecurityGroupRequest { group_id: Some(id) };
        assert_eq!(cloud.code::<ec2::ops::DeleteSecurityGroup>(delete(id)), "DependencyViolation");
        let default = describe(&mut cloud, "group-name", "default").remove(0).group_id.unwrap();
        assert_eq!(cloud.code::<ec2::ops::DeleteSecurityGroup>(delete(default)), "CannotDelete");
    }
}
