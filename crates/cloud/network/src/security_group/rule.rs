//! Security group rules: each allows one kind of traffic from or to one peer.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use pileus_aws::ec2;
use pileus_contract::fabric::TrafficSpec;
use pileus_core::{ApiError, Scope};
use pileus_service::{Context, Router};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use super::permission::{self, Allowance};
use super::{SecurityGroup, referenced};
use crate::resource::{Resource, find, missing};
use crate::select::{Filters, Selection, one, select};
use crate::{prefix_list, tags};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub id: String,
    pub group: String,
    pub egress: bool,
    pub traffic: TrafficSpec,
    pub peer: Peer,
    pub description: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    Ipv4(Ipv4Net),
    /// Matches nothing: no VPC has IPv6 addresses.
    Ipv6(Ipv6Net),
    /// The private addresses of the interfaces that carry this group.
    Group(String),
    /// The blocks of the prefix list of this id.
    PrefixList(String),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(block) => block.fmt(f),
            Self::Ipv6(block) => block.fmt(f),
            Self::Group(id) | Self::PrefixList(id) => id.fmt(f),
        }
    }
}

impl Rule {
    /// The IPv4 blocks that its peer stands for; none for a group, which is no block.
    pub(crate) fn blocks(&self, state: &State, scope: &Scope) -> Vec<Ipv4Net> {
        match &self.peer {
            Peer::Ipv4(block) => vec![*block],
            Peer::PrefixList(id) => prefix_list::blocks(state, &scope.region, id),
            Peer::Ipv6(_) | Peer::Group(_) => Vec::new(),
        }
    }
}

impl Record for Rule {
    const KIND: &'static str = "ec2/security-group-rule";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Resource for Rule {
    const PREFIX: &'static str = "sgr";
    const TYPE: &'static str = "security-group-rule";
    const NOUN: &'static str = "security group rule ID";
    const NOT_FOUND: &'static str = "InvalidSecurityGroupRuleId.NotFound";
    const MALFORMED: &'static str = "InvalidSecurityGroupRuleId.Malformed";
}

/// AWS's default quota of rules of one group in one direction.
const MAX_RULES: usize = 60;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::AuthorizeSecurityGroupIngress>(authorize_security_group_ingress)
        .on::<ec2::ops::AuthorizeSecurityGroupEgress>(authorize_security_group_egress)
        .on::<ec2::ops::RevokeSecurityGroupIngress>(revoke_security_group_ingress)
        .on::<ec2::ops::RevokeSecurityGroupEgress>(revoke_security_group_egress)
        .on::<ec2::ops::DescribeSecurityGroupRules>(describe_security_group_rules);
}

/// The rules of a group in both directions.
pub(super) fn of_group(tx: &Tx, group: &str) -> Vec<Arc<Rule>> {
    let mut rules = tx.list::<Rule>();
    rules.retain(|rule| rule.group == group);
    rules
}

/// Allows all traffic with a peer.
pub(super) fn allow_all(cx: &mut Context, group: &str, egress: bool, peer: Peer) {
    add(cx, group, egress, Allowance { traffic: TrafficSpec::All, peer, description: None });
}

fn add(cx: &mut Context, group: &str, egress: bool, allowance: Allowance) -> Rule {
    let Allowance { traffic, peer, description } = allowance;
    let rule =
        Rule { id: cx.ids.ec2(Rule::PREFIX), group: group.to_owned(), egress, traffic, peer, description };
    cx.tx.put(rule.clone());
    rule
}

pub(super) fn delete(tx: &mut Tx, id: &str) {
    tags::forget(tx, id);
    tx.delete::<Rule>(id);
}

fn authorize_security_group_ingress(
    cx: &mut Context,
    input: ec2::AuthorizeSecurityGroupIngressRequest,
) -> Result<ec2::AuthorizeSecurityGroupIngressResult, ApiError> {
    let group = input.group_id.ok_or_else(|| missing("groupId"))?;
    let mut permissions = input.ip_permissions.unwrap_or_default();
    permissions.extend(permission::flat(input.ip_protocol, input.from_port, input.to_port, input.cidr_ip));
    let rules = authorize(cx, &group, false, &permissions, &input.tag_specifications)?;
    Ok(ec2::AuthorizeSecurityGroupIngressResult { r#return: Some(true), security_group_rules: Some(rules) })
}

fn authorize_security_group_egress(
    cx: &mut Context,
    input: ec2::AuthorizeSecurityGroupEgressRequest,
) -> Result<ec2::AuthorizeSecurityGroupEgressResult, ApiError> {
    let permissions = input.ip_permissions.unwrap_or_default();
    let rules = authorize(cx, &input.group_id, true, &permissions, &input.tag_specifications)?;
    Ok(ec2::AuthorizeSecurityGroupEgressResult { r#return: Some(true), security_group_rules: Some(rules) })
}

fn authorize(
    cx: &mut Context,
    group: &str,
    egress: bool,
    permissions: &[ec2::IpPermission],
    tag_specifications: &Option<Vec<ec2::TagSpecification>>,
) -> Result<Vec<ec2::SecurityGroupRule>, ApiError> {
    let group = find::<SecurityGroup>(cx.tx, group)?;
    let tags = tags::specified::<Rule>(tag_specifications)?;
    let mut known = of_group(cx.tx, &group.id);
    known.retain(|rule| rule.egress == egress);
    let mut shapes = Vec::new();
    for allowance in permission::allowances(cx.tx, &group, permissions)? {
        if known.iter().any(|rule| says(rule, &allowance)) {
            let message = format!("the specified rule \"{}\" already exists", describe(&allowance));
            return Err(ApiError::client("InvalidPermission.Duplicate", message));
        }
        if known.len() == MAX_RULES {
            let message = "The maximum number of rules per security group has been reached.";
            return Err(ApiError::client("RulesPerSecurityGroupLimitExceeded", message));
        }
        let rule = add(cx, &group.id, egress, allowance);
        tags::put::<Rule>(cx.tx, &rule.id, tags.clone());
        shapes.push(shape(cx.tx, &rule));
        known.push(Arc::new(rule));
    }
    Ok(shapes)
}

/// Whether a rule allows just this; descriptions do not matter.
pub(super) fn says(rule: &Rule, allowance: &Allowance) -> bool {
    rule.traffic == allowance.traffic && rule.peer == allowance.peer
}

/// The form that AWS's messages give a rule.
fn describe(allowance: &Allowance) -> String {
    let (protocol, from, to) = permission::wire(&allowance.traffic);
    let protocol = if protocol == "-1" { "ALL".to_owned() } else { protocol.to_uppercase() };
    let ports = match (from, to) {
        (Some(from), Some(to)) => format!("from port: {from}, to port: {to}, "),
        _ => String::new(),
    };
    format!("peer: {}, {protocol}, {ports}ALLOW", allowance.peer)
}

fn revoke_security_group_ingress(
    cx: &mut Context,
    input: ec2::RevokeSecurityGroupIngressRequest,
) -> Result<ec2::RevokeSecurityGroupIngressResult, ApiError> {
    let group = input.group_id.ok_or_else(|| missing("groupId"))?;
    let mut permissions = input.ip_permissions.unwrap_or_default();
    permissions.extend(permission::flat(input.ip_protocol, input.from_port, input.to_port, input.cidr_ip));
    let revoked =
        revoke(cx, &group, false, &permissions, &input.security_group_rule_ids.unwrap_or_default())?;
    Ok(ec2::RevokeSecurityGroupIngressResult {
        r#return: Some(true),
        unknown_ip_permissions: None,
        revoked_security_group_rules: Some(revoked),
    })
}

fn revoke_security_group_egress(
    cx: &mut Context,
    input: ec2::RevokeSecurityGroupEgressRequest,
) -> Result<ec2::RevokeSecurityGroupEgressResult, ApiError> {
    let permissions = input.ip_permissions.unwrap_or_default();
    let revoked =
        revoke(cx, &input.group_id, true, &permissions, &input.security_group_rule_ids.unwrap_or_default())?;
    Ok(ec2::RevokeSecurityGroupEgressResult {
        r#return: Some(true),
        unknown_ip_permissions: None,
        revoked_security_group_rules: Some(revoked),
    })
}

/// Removes rules that are named by their ids or by what they say.
fn revoke(
    cx: &mut Context,
    group: &str,
    egress: bool,
    permissions: &[ec2::IpPermission],
    ids: &[String],
) -> Result<Vec<ec2::RevokedSecurityGroupRule>, ApiError> {
    let group = find::<SecurityGroup>(cx.tx, group)?;
    let mut rules = of_group(cx.tx, &group.id);
    rules.retain(|rule| rule.egress == egress);
    let named: BTreeSet<String> = if ids.is_empty() {
        let find = |allowance: &Allowance| {
            rules.iter().find(|rule| says(rule, allowance)).map(|rule| rule.id.clone())
        };
        let found =
            permission::allowances(cx.tx, &group, permissions)?.iter().map(find).collect::<Option<_>>();
        let message = "The specified rule does not exist in this security group.";
        found.ok_or_else(|| ApiError::client("InvalidPermission.NotFound", message))?
    } else if permissions.is_empty() {
        let foreign = ids.iter().find(|id| !rules.iter().any(|rule| rule.id == **id));
        if let Some(id) = foreign {
            return Err(Rule::not_found(id));
        }
        ids.iter().cloned().collect()
    } else {
        let message = "Specify either security group rule IDs or IP permissions, not both";
        return Err(ApiError::client("InvalidParameterCombination", message));
    };
    rules.retain(|rule| named.contains(&rule.id));
    for rule in &rules {
        delete(cx.tx, &rule.id);
    }
    Ok(rules.iter().map(|rule| revoked(cx.tx, rule)).collect())
}

const FILTERS: Filters<Rule> =
    &[("group-id", |_, rule| one(&rule.group)), ("security-group-rule-id", |_, rule| one(&rule.id))];

fn describe_security_group_rules(
    cx: &mut Context,
    input: ec2::DescribeSecurityGroupRulesRequest,
) -> Result<ec2::DescribeSecurityGroupRulesResult, ApiError> {
    let selection = Selection {
        ids: &input.security_group_rule_ids,
        filters: &input.filters,
        next_token: &input.next_token,
        max_results: input.max_results,
    };
    let (rules, next_token) = select(cx.tx, selection, FILTERS)?;
    let security_group_rules = Some(rules.iter().map(|rule| shape(cx.tx, rule)).collect());
    Ok(ec2::DescribeSecurityGroupRulesResult { security_group_rules, next_token })
}

pub(super) fn shape(tx: &Tx, rule: &Rule) -> ec2::SecurityGroupRule {
    let account = &tx.scope().account;
    let (protocol, from, to) = permission::wire(&rule.traffic);
    let mut shape = ec2::SecurityGroupRule {
        security_group_rule_id: Some(rule.id.clone()),
        group_id: Some(rule.group.clone()),
        group_owner_id: Some(account.clone()),
        is_egress: Some(rule.egress),
        ip_protocol: Some(protocol),
        from_port: from.or(Some(-1)),
        to_port: to.or(Some(-1)),
        description: rule.description.clone(),
        tags: tags::shapes(tx, &rule.id),
        security_group_rule_arn: Some(tx.scope().arn("ec2", format_args!("security-group-rule/{}", rule.id))),
        ..Default::default()
    };
    match &rule.peer {
        Peer::Ipv4(block) => shape.cidr_ipv4 = Some(block.to_string()),
        Peer::Ipv6(block) => shape.cidr_ipv6 = Some(block.to_string()),
        Peer::PrefixList(id) => shape.prefix_list_id = Some(id.clone()),
        Peer::Group(id) => {
            shape.referenced_group_info = Some(ec2::ReferencedSecurityGroup {
                group_id: Some(id.clone()),
                user_id: Some(account.clone()),
                ..Default::default()
            });
        }
    }
    shape
}

fn revoked(tx: &Tx, rule: &Rule) -> ec2::RevokedSecurityGroupRule {
    let shape = shape(tx, rule);
    ec2::RevokedSecurityGroupRule {
        referenced_group_id: referenced(shape.clone()),
        security_group_rule_id: shape.security_group_rule_id,
        group_id: shape.group_id,
        is_egress: shape.is_egress,
        ip_protocol: shape.ip_protocol,
        from_port: shape.from_port,
        to_port: shape.to_port,
        cidr_ipv4: shape.cidr_ipv4,
        cidr_ipv6: shape.cidr_ipv6,
        prefix_list_id: shape.prefix_list_id,
        description: shape.description,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, filter, group, vpc};

    fn tcp(port: i64) -> ec2::IpPermission {
        let ip_protocol = Some("tcp".into());
        ec2::IpPermission { ip_protocol, from_port: Some(port), to_port: Some(port), ..Default::default() }
    }

    fn from_cidrs(port: i64, cidrs: &[&str]) -> ec2::IpPermission {
        let range = |cidr: &&str| ec2::IpRange { description: None, cidr_ip: Some((*cidr).into()) };
        ec2::IpPermission { ip_ranges: Some(cidrs.iter().map(range).collect()), ..tcp(port) }
    }

    fn from_group(port: i64, group: &str) -> ec2::IpPermission {
        let pair = ec2::UserIdGroupPair { group_id: Some(group.into()), ..Default::default() };
        ec2::IpPermission { user_id_group_pairs: Some(vec![pair]), ..tcp(port) }
    }

    fn allow(group: &str, permissions: Vec<ec2::IpPermission>) -> ec2::AuthorizeSecurityGroupIngressRequest {
        ec2::AuthorizeSecurityGroupIngressRequest {
            group_id: Some(group.into()),
            ip_permissions: Some(permissions),
            ..Default::default()
        }
    }

    fn deny(group: &str, permissions: Vec<ec2::IpPermission>) -> ec2::RevokeSecurityGroupIngressRequest {
        ec2::RevokeSecurityGroupIngressRequest {
            group_id: Some(group.into()),
            ip_permissions: Some(permissions),
            ..Default::default()
        }
    }

    fn ingress(cloud: &mut pileus_kit::Cloud, group: &str) -> Vec<ec2::IpPermission> {
        let input =
            ec2::DescribeSecurityGroupsRequest { group_ids: Some(vec![group.into()]), ..Default::default() };
        cloud
            .ok::<ec2::ops::DescribeSecurityGroups>(input)
            .security_groups
            .unwrap()
            .remove(0)
            .ip_permissions
            .unwrap()
    }

    #[test]
    fn rules_are_added_grouped_and_removed() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let (alb, tasks) = (group(&mut cloud, &vpc, "alb"), group(&mut cloud, &vpc, "tasks"));
        let open = from_cidrs(80, &["0.0.0.0/0", "10.1.2.3/8"]);
        let added = cloud.ok::<ec2::ops::AuthorizeSecurityGroupIngress>(allow(&alb, vec![open.clone()]));
        assert_eq!(added.security_group_rules.unwrap().len(), 2);
        cloud.ok::<ec2::ops::AuthorizeSecurityGroupIngress>(allow(&tasks, vec![from_group(3000, &alb)]));
        cloud.ok::<ec2::ops::AuthorizeSecurityGroupIngress>(allow(&tasks, vec![from_group(22, &tasks)]));
        let permissions = ingress(&mut cloud, &alb);
        assert_eq!(permissions.len(), 1);
        let mut cidrs: Vec<_> =
            permissions[0].ip_ranges.iter().flatten().filter_map(|r| r.cidr_ip.clone()).collect();
        cidrs.sort();
        assert_eq!(cidrs, ["0.0.0.0/0", "10.0.0.0/8"]);
        assert_eq!(ingress(&mut cloud, &tasks).len(), 2);
        // While `tasks` refers to it, `alb` stays.
        let delete = ec2::DeleteSecurityGroupRequest { group_id: Some(alb.clone()) };
        assert_eq!(cloud.code::<ec2::ops::DeleteSecurityGroup>(delete.clone()), "DependencyViolation");
        cloud.ok::<ec2::ops::RevokeSecurityGroupIngress>(deny(&tasks, vec![from_group(3000, &alb)]));
        cloud.ok::<ec2::ops::DeleteSecurityGroup>(delete);
    }

    #[test]
    fn a_rule_is_there_once() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let id = group(&mut cloud, &vpc, "alb");
        let flat = ec2::AuthorizeSecurityGroupIngressRequest {
            group_id: Some(id.clone()),
            ip_protocol: Some("tcp".into()),
            from_port: Some(80),
            to_port: Some(80),
            cidr_ip: Some("0.0.0.0/0".into()),
            ..Default::default()
        };
        cloud.ok::<ec2::ops::AuthorizeSecurityGroupIngress>(flat);
        // All or nothing: the new rule beside the known one is not added.
        let twice = vec![from_cidrs(443, &["0.0.0.0/0"]), from_cidrs(80, &["0.0.0.0/0"])];
        let error = cloud.call::<ec2::ops::AuthorizeSecurityGroupIngress>(allow(&id, twice)).unwrap_err();
        assert_eq!(error.code, "InvalidPermission.Duplicate");
        let rule =
            "the specified rule \"peer: 0.0.0.0/0, TCP, from port: 80, to port: 80, ALLOW\" already exists";
        assert_eq!(error.message, rule);
        assert_eq!(ingress(&mut cloud, &id).len(), 1);
        let missing = deny(&id, vec![from_cidrs(443, &["0.0.0.0/0"])]);
        assert_eq!(cloud.code::<ec2::ops::RevokeSecurityGroupIngress>(missing), "InvalidPermission.NotFound");
    }

    #[test]
    fn rules_are_revoked_by_id() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let id = group(&mut cloud, &vpc, "alb");
        let input =
            ec2::DescribeSecurityGroupRulesRequest { filters: filter("group-id", &id), ..Default::default() };
        let rules =
            cloud.ok::<ec2::ops::DescribeSecurityGroupRules>(input.clone()).security_group_rules.unwrap();
        assert_eq!((rules.len(), rules[0].is_egress, rules[0].from_port), (1, Some(true), Some(-1)));
        let revoke = ec2::RevokeSecurityGroupEgressRequest {
            group_id: id.clone(),
            security_group_rule_ids: rules[0].security_group_rule_id.clone().map(|id| vec![id]),
            ..Default::default()
        };
        cloud.ok::<ec2::ops::RevokeSecurityGroupEgress>(revoke.clone());
        let code = cloud.code::<ec2::ops::RevokeSecurityGroupEgress>(revoke);
        assert_eq!(code, "InvalidSecurityGroupRuleId.NotFound");
        let rules = cloud.ok::<ec2::ops::DescribeSecurityGroupRules>(input).security_group_rules;
        assert_eq!(rules, Some(Vec::new()));
    }

    #[test]
    fn bad_permissions_are_refused() {
        let mut cloud = cloud();
        let (vpc, other) = (vpc(&mut cloud, "10.0.0.0/16"), vpc(&mut cloud, "10.1.0.0/16"));
        let id = group(&mut cloud, &vpc, "alb");
        let foreign = group(&mut cloud, &other, "alb");
        for (permissions, code) in [
            (vec![], "MissingParameter"),
            (vec![tcp(80)], "MissingParameter"),
            (vec![from_cidrs(80, &["10.0.0.0"])], "InvalidParameterValue"),
            (vec![from_cidrs(70000, &["10.0.0.0/8"])], "InvalidParameterValue"),
            (vec![from_group(80, &foreign)], "InvalidGroup.NotFound"),
            (vec![from_group(80, "sg-00000000000000000")], "InvalidGroup.NotFound"),
        ] {
            assert_eq!(cloud.code::<ec2::ops::AuthorizeSecurityGroupIngress>(allow(&id, permissions)), code);
        }
        let many: Vec<_> = (1..=61).map(|port| from_cidrs(port, &["10.0.0.0/8"])).collect();
        let code = cloud.code::<ec2::ops::AuthorizeSecurityGroupIngress>(allow(&id, many));
        assert_eq!(code, "RulesPerSecurityGroupLimitExceeded");
    }
}
