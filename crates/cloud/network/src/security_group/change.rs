//! Changes of security group rules in place: what they say, and their descriptions.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySecurityGroupRules.html>

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use super::SecurityGroup;
use super::permission::{self, Allowance};
use super::rule::{self, Rule};
use crate::resource::{Resource, find, missing};

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::ModifySecurityGroupRules>(modify_security_group_rules)
        .on::<ec2::ops::UpdateSecurityGroupRuleDescriptionsIngress>(|cx, input| {
            describe_anew(
                cx,
                false,
                input.group_id,
                input.ip_permissions,
                input.security_group_rule_descriptions,
            )?;
            let r#return = Some(true);
            Ok(ec2::UpdateSecurityGroupRuleDescriptionsIngressResult { r#return })
        })
        .on::<ec2::ops::UpdateSecurityGroupRuleDescriptionsEgress>(|cx, input| {
            describe_anew(
                cx,
                true,
                input.group_id,
                input.ip_permissions,
                input.security_group_rule_descriptions,
            )?;
            let r#return = Some(true);
            Ok(ec2::UpdateSecurityGroupRuleDescriptionsEgressResult { r#return })
        });
}

fn modify_security_group_rules(
    cx: &mut Context,
    input: ec2::ModifySecurityGroupRulesRequest,
) -> Result<ec2::ModifySecurityGroupRulesResult, ApiError> {
    let group = find::<SecurityGroup>(cx.tx, &input.group_id)?;
    for update in input.security_group_rules {
        let old = of_group(cx, &group, &update.security_group_rule_id)?;
        let asked = update.security_group_rule.ok_or_else(|| missing("securityGroupRule"))?;
        let allowances = permission::allowances(cx.tx, &group, &[one_permission(asked)])?;
        let [Allowance { traffic, peer, description }] =
            <[Allowance; 1]>::try_from(allowances).map_err(|_| {
                crate::resource::invalid(
                    "A rule has exactly one of cidrIpv4, cidrIpv6, prefixListId and referencedGroupId",
                )
            })?;
        let changed = Rule { traffic, peer, description, ..old };
        let mut others = rule::of_group(cx.tx, &group.id).into_iter().filter(|other| other.id != changed.id);
        if others.any(|other| {
            other.egress == changed.egress && other.traffic == changed.traffic && other.peer == changed.peer
        }) {
            let message = "the specified rule already exists";
            return Err(ApiError::client("InvalidPermission.Duplicate", message));
        }
        cx.tx.put(changed);
    }
    Ok(ec2::ModifySecurityGroupRulesResult { r#return: Some(true) })
}

/// The older form of the same rule.
fn one_permission(rule: ec2::SecurityGroupRuleRequest) -> ec2::IpPermission {
    let description = rule.description;
    let ipv4 =
        rule.cidr_ipv4.map(|cidr| ec2::IpRange { description: description.clone(), cidr_ip: Some(cidr) });
    let ipv6 =
        rule.cidr_ipv6.map(|cidr| ec2::Ipv6Range { description: description.clone(), cidr_ipv6: Some(cidr) });
    let list = rule
        .prefix_list_id
        .map(|id| ec2::PrefixListId { description: description.clone(), prefix_list_id: Some(id) });
    let group = rule.referenced_group_id.map(|id| ec2::UserIdGroupPair {
        description,
        group_id: Some(id),
        ..Default::default()
    });
    ec2::IpPermission {
        prefix_list_ids: Some(list.into_iter().collect()),
        ip_protocol: rule.ip_protocol,
        from_port: rule.from_port,
        to_port: rule.to_port,
        ip_ranges: Some(ipv4.into_iter().collect()),
        ipv6_ranges: Some(ipv6.into_iter().collect()),
        user_id_group_pairs: Some(group.into_iter().collect()),
    }
}

fn of_group(cx: &Context, group: &SecurityGroup, id: &str) -> Result<Rule, ApiError> {
    let rule = find::<Rule>(cx.tx, id)?;
    if rule.group == group.id { Ok(Rule::clone(&rule)) } else { Err(Rule::not_found(id)) }
}

/// Sets the descriptions of rules that are named by their ids or by what they say; none removes it.
fn describe_anew(
    cx: &mut Context,
    egress: bool,
    group: Option<String>,
    permissions: Option<Vec<ec2::IpPermission>>,
    by_id: Option<Vec<ec2::SecurityGroupRuleDescription>>,
) -> Result<(), ApiError> {
    let group = find::<SecurityGroup>(cx.tx, &group.ok_or_else(|| missing("groupId"))?)?;
    let mut changed = Vec::new();
    for named in by_id.into_iter().flatten() {
        let id = named.security_group_rule_id.ok_or_else(|| missing("securityGroupRuleId"))?;
        let description = permission::description(&named.description)?;
        changed.push(Rule { description, ..of_group(cx, &group, &id)? });
    }
    let permissions = permissions.unwrap_or_default();
    if changed.is_empty() || !permissions.is_empty() {
        for allowance in permission::allowances(cx.tx, &group, &permissions)? {
            let mut rules = rule::of_group(cx.tx, &group.id).into_iter();
            let old = rules.find(|rule| rule.egress == egress && rule::says(rule, &allowance));
            let message = "The specified rule does not exist in this security group.";
            let old = old.ok_or_else(|| ApiError::client("InvalidPermission.NotFound", message))?;
            changed.push(Rule { description: allowance.description, ..Rule::clone(&old) });
        }
    }
    changed.into_iter().for_each(|rule| cx.tx.put(rule));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, filter, group, vpc};

    #[test]
    fn a_rule_is_changed_in_place() {
        let mut cloud = cloud();
        let vpc = vpc(&mut cloud, "10.0.0.0/16");
        let group_id = group(&mut cloud, &vpc, "web");
        let range = |cidr: &str| ec2::IpRange { description: None, cidr_ip: Some(cidr.into()) };
        let permission = |port, cidr: &str| ec2::IpPermission {
            ip_protocol: Some("tcp".into()),
            from_port: Some(port),
            to_port: Some(port),
            ip_ranges: Some(vec![range(cidr)]),
            ..Default::default()
        };
        let rules = cloud
            .ok::<ec2::ops::AuthorizeSecurityGroupIngress>(ec2::AuthorizeSecurityGroupIngressRequest {
                group_id: Some(group_id.clone()),
                ip_permissions: Some(vec![permission(80, "10.0.0.0/8"), permission(81, "10.0.0.0/8")]),
                ..Default::default()
            })
            .security_group_rules
            .unwrap();
        let id = rules[0].security_group_rule_id.clone().unwrap();
        let modify = |id: &str, port: i64| ec2::ModifySecurityGroupRulesRequest {
            group_id: group_id.clone(),
            security_group_rules: vec![ec2::SecurityGroupRuleUpdate {
                security_group_rule_id: id.into(),
                security_group_rule: Some(ec2::SecurityGroupRuleRequest {
                    ip_protocol: Some("tcp".into()),
                    from_port: Some(port),
                    to_port: Some(port),
                    cidr_ipv4: Some("10.0.0.0/8".into()),
                    description: Some("other".into()),
                    ..Default::default()
                }),
            }],
        };
        type Modify = ec2::ops::ModifySecurityGroupRules;
        assert_eq!(cloud.code::<Modify>(modify(&id, 81)), "InvalidPermission.Duplicate");
        let unknown = modify("sgr-00000000000000000", 82);
        assert_eq!(cloud.code::<Modify>(unknown), "InvalidSecurityGroupRuleId.NotFound");
        cloud.ok::<Modify>(modify(&id, 82));
        cloud.ok::<ec2::ops::UpdateSecurityGroupRuleDescriptionsIngress>(
            ec2::UpdateSecurityGroupRuleDescriptionsIngressRequest {
                group_id: Some(group_id.clone()),
                ip_permissions: Some(vec![permission(81, "10.0.0.0/8")]),
                ..Default::default()
            },
        );
        let input = ec2::DescribeSecurityGroupRulesRequest {
            filters: filter("security-group-rule-id", &id),
            ..Default::default()
        };
        let shown =
            cloud.ok::<ec2::ops::DescribeSecurityGroupRules>(input).security_group_rules.unwrap().remove(0);
        assert_eq!((shown.from_port, shown.description.as_deref()), (Some(82), Some("other")));
    }
}
