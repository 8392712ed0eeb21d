//! Life cycles: what is made, shown, changed and deleted.

use pileus_aws::ec2;
use pileus_aws::elbv2::{self, ops};
use pileus_contract::proxy::{Health, UnhealthyReason};

use super::{TARGET, World, fixed, forward, listener_input, rule_input};

#[test]
fn a_load_balancer_becomes_active_when_it_serves_and_takes_its_interfaces_with_it() {
    let mut world = World::new();
    let output = world.cloud.ok::<ops::CreateLoadBalancer>(world.balancer_input("Web"));
    let shown = output.load_balancers.unwrap().remove(0);
    let dns = shown.dns_name.unwrap();
    assert!(dns.starts_with("Web-") && dns.ends_with(".us-east-1.elb.localhost"), "{dns}");
    assert_eq!(shown.canonical_hosted_zone_id.as_deref(), Some("Z35SXDOTRQ7X7K"));
    let zones: Vec<_> =
        shown.availability_zones.unwrap().into_iter().filter_map(|zone| zone.zone_name).collect();
    assert_eq!(zones, ["us-east-1a", "us-east-1b"]);
    let arn = shown.load_balancer_arn.unwrap();
    assert_eq!(world.balancer_state(&arn), "provisioning");
    let id = arn.split_once("loadbalancer/").unwrap().1.to_owned();
    let interfaces = |world: &mut World| {
        let description =
            ec2::Filter { name: Some("description".into()), values: Some(vec![format!("ELB {id}")]) };
        let input =
            ec2::DescribeNetworkInterfacesRequest { filters: Some(vec![description]), ..Default::default() };
        world.cloud.ok::<ec2::ops::DescribeNetworkInterfaces>(input).network_interfaces.unwrap()
    };
    let made = interfaces(&mut world);
    assert_eq!(made.len(), 2);
    let owner = made[0].attachment.as_ref().unwrap().instance_owner_id.as_deref();
    assert_eq!((owner, made[0].requester_id.as_deref()), (Some("amazon-elb"), Some("amazon-elb")));
    world.converge();
    assert_eq!(world.balancer_state(&arn), "active");
    let delete = elbv2::DeleteLoadBalancerInput { load_balancer_arn: arn };
    world.cloud.ok::<ops::DeleteLoadBalancer>(delete.clone());
    assert!(interfaces(&mut world).is_empty());
    world.cloud.ok::<ops::DeleteLoadBalancer>(delete);
}

#[test]
fn subnets_and_security_groups_change_in_place() {
    let mut world = World::new();
    let arn = world.balancer("web");
    let before = world.converge().load_balancers.remove(0);
    let third = super::subnet(&mut world.cloud, &world.vpc.clone(), "c", "10.0.3.0/24");
    let subnets = vec![world.public[0].clone(), third.clone()];
    let input = elbv2::SetSubnetsInput {
        load_balancer_arn: arn.clone(),
        subnets: Some(subnets),
        ..Default::default()
    };
    let zones = world.cloud.ok::<ops::SetSubnets>(input).availability_zones.unwrap();
    let zones: Vec<_> = zones.into_iter().filter_map(|zone| zone.zone_name).collect();
    assert_eq!(zones, ["us-east-1a", "us-east-1c"]);
    let after = world.converge().load_balancers.remove(0);
    assert_eq!(after.nodes[0], before.nodes[0], "the node that stays keeps its address");
    assert_eq!(after.nodes.len(), 2);

    let closed = super::open_group(&mut world.cloud, &world.vpc.clone(), "closed", 81);
    let input =
        elbv2::SetSecurityGroupsInput { load_balancer_arn: arn.clone(), security_groups: vec![closed] };
    world.cloud.ok::<ops::SetSecurityGroups>(input);
    let ports: Vec<_> =
        world.converge().load_balancers[0].edge_ingress.iter().map(|rule| rule.from_port).collect();
    assert_eq!(ports, [81]);

    let one = elbv2::SetSubnetsInput {
        load_balancer_arn: arn.clone(),
        subnets: Some(vec![third]),
        ..Default::default()
    };
    assert_eq!(world.cloud.code::<ops::SetSubnets>(one), "ValidationError");
    let unknown =
        elbv2::SetSecurityGroupsInput { load_balancer_arn: arn, security_groups: vec!["sg-1".into()] };
    assert_eq!(world.cloud.code::<ops::SetSecurityGroups>(unknown), "InvalidSecurityGroup");
}

#[test]
fn an_internal_load_balancer_has_another_name_and_default() {
    let mut world = World::new();
    let input =
        elbv2::CreateLoadBalancerInput { scheme: Some("internal".into()), ..world.balancer_input("api") };
    let shown = world.cloud.ok::<ops::CreateLoadBalancer>(input).load_balancers.unwrap().remove(0);
    assert!(shown.dns_name.unwrap().starts_with("internal-api-"));
    let input =
        elbv2::DescribeLoadBalancerAttributesInput { load_balancer_arn: shown.load_balancer_arn.unwrap() };
    let attributes = world.cloud.ok::<ops::DescribeLoadBalancerAttributes>(input).attributes.unwrap();
    let deny = attributes.iter().find(|it| it.key.as_deref() == Some("ipv6.deny_all_igw_traffic")).unwrap();
    assert_eq!(deny.value.as_deref(), Some("true"));
}

#[test]
fn creating_the_same_again_gives_the_same() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web"), world.group("web"));
    let listener = world.listener(&balancer, 80, &group);
    assert_eq!(world.balancer("web"), balancer);
    assert_eq!(world.group("web"), group);
    assert_eq!(world.listener(&balancer, 80, &group), listener);
    let other =
        elbv2::CreateLoadBalancerInput { scheme: Some("internal".into()), ..world.balancer_input("web") };
    assert_eq!(world.cloud.code::<ops::CreateLoadBalancer>(other), "DuplicateLoadBalancerName");
    let other = elbv2::CreateTargetGroupInput { port: Some(8080), ..world.group_input("web") };
    assert_eq!(world.cloud.code::<ops::CreateTargetGroup>(other), "DuplicateTargetGroupName");
    let other = elbv2::CreateListenerInput {
        default_actions: vec![fixed("404")],
        ..listener_input(&balancer, 80, &group)
    };
    assert_eq!(world.cloud.code::<ops::CreateListener>(other), "DuplicateListener");
}

#[test]
fn a_target_group_is_shown_with_the_defaults_of_aws_and_can_be_changed() {
    let mut world = World::new();
    let arn = world.group("web");
    let input = elbv2::DescribeTargetGroupsInput { names: Some(vec!["web".into()]), ..Default::default() };
    let shown = world.cloud.ok::<ops::DescribeTargetGroups>(input).target_groups.unwrap().remove(0);
    assert_eq!(
        (
            shown.health_check_interval_seconds,
            shown.health_check_timeout_seconds,
            shown.healthy_threshold_count
        ),
        (Some(30), Some(5), Some(5))
    );
    assert_eq!(shown.health_check_port.as_deref(), Some("traffic-port"));
    assert_eq!(shown.load_balancer_arns, Some(Vec::new()));
    let modify = elbv2::ModifyTargetGroupInput {
        target_group_arn: arn.clone(),
        health_check_path: Some("/health".into()),
        healthy_threshold_count: Some(2),
        ..Default::default()
    };
    let changed = world.cloud.ok::<ops::ModifyTargetGroup>(modify).target_groups.unwrap().remove(0);
    assert_eq!(
        (changed.health_check_path.as_deref(), changed.healthy_threshold_count),
        (Some("/health"), Some(2))
    );
    assert_eq!(changed.health_check_interval_seconds, Some(30));
    let attribute = elbv2::TargetGroupAttribute {
        key: Some("deregistration_delay.timeout_seconds".into()),
        value: Some("30".into()),
    };
    let modify = elbv2::ModifyTargetGroupAttributesInput {
        target_group_arn: arn.clone(),
        attributes: vec![attribute.clone()],
    };
    let attributes = world.cloud.ok::<ops::ModifyTargetGroupAttributes>(modify).attributes.unwrap();
    assert!(attributes.contains(&attribute));
    let delete = elbv2::DeleteTargetGroupInput { target_group_arn: arn };
    world.cloud.ok::<ops::DeleteTargetGroup>(delete.clone());
    world.cloud.ok::<ops::DeleteTargetGroup>(delete);
}

#[test]
fn a_group_in_use_knows_its_load_balancer() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web"), world.group("web"));
    let user = |world: &mut World, group: &str| {
        world.cloud.write(|cx| crate::target_group::load_balancer_of(cx.tx, group)).unwrap()
    };
    assert_eq!(user(&mut world, &group), None);
    let listener = world.listener(&balancer, 80, &group);
    assert_eq!(user(&mut world, &group), Some(balancer.clone()));
    let input =
        elbv2::DescribeTargetGroupsInput { load_balancer_arn: Some(balancer.clone()), ..Default::default() };
    assert_eq!(world.cloud.ok::<ops::DescribeTargetGroups>(input).target_groups.unwrap().len(), 1);
    let delete = elbv2::DeleteTargetGroupInput { target_group_arn: group.clone() };
    assert_eq!(world.cloud.code::<ops::DeleteTargetGroup>(delete.clone()), "ResourceInUse");
    let second = world.balancer("second");
    let taken = listener_input(&second, 80, &group);
    assert_eq!(world.cloud.code::<ops::CreateListener>(taken), "TargetGroupAssociationLimit");
    world.cloud.ok::<ops::DeleteListener>(elbv2::DeleteListenerInput { listener_arn: listener });
    world.cloud.ok::<ops::DeleteTargetGroup>(delete);
}

#[test]
fn rules_come_in_order_with_the_default_last() {
    let mut world = World::new();
    let (balancer, group, canary) = (world.balancer("web"), world.group("web"), world.group("canary"));
    let listener = world.listener(&balancer, 80, &group);
    world.cloud.ok::<ops::CreateRule>(rule_input(&listener, 20, "/b/*", fixed("404")));
    let first = rule_input(&listener, 3, "/a/*", forward(&canary));
    let made = world.cloud.ok::<ops::CreateRule>(first.clone()).rules.unwrap().remove(0);
    assert_eq!(made.conditions.as_ref().unwrap()[0].values, Some(vec!["/a/*".into()]));
    let shown = &made.actions.as_ref().unwrap()[0];
    assert_eq!(shown.target_group_arn.as_ref(), Some(&canary));
    assert_eq!(shown.forward_config.as_ref().unwrap().target_groups.as_ref().unwrap()[0].weight, Some(1));
    assert_eq!(world.cloud.code::<ops::CreateRule>(first), "PriorityInUse");
    let describe = elbv2::DescribeRulesInput { listener_arn: Some(listener), ..Default::default() };
    let rules = world.cloud.ok::<ops::DescribeRules>(describe).rules.unwrap();
    let priorities: Vec<_> = rules.iter().filter_map(|rule| rule.priority.as_deref()).collect();
    assert_eq!(priorities, ["3", "20", "default"]);
    let default = rules[2].rule_arn.clone().unwrap();
    assert_eq!(
        world.cloud.code::<ops::DeleteRule>(elbv2::DeleteRuleInput { rule_arn: default }),
        "OperationNotPermitted"
    );
    let arn = made.rule_arn.unwrap();
    let modify = elbv2::ModifyRuleInput {
        rule_arn: arn.clone(),
        actions: Some(vec![fixed("503")]),
        ..Default::default()
    };
    let changed = world.cloud.ok::<ops::ModifyRule>(modify).rules.unwrap().remove(0);
    assert_eq!((&changed.conditions, changed.priority.as_deref()), (&made.conditions, Some("3")));
    world.cloud.ok::<ops::DeleteRule>(elbv2::DeleteRuleInput { rule_arn: arn.clone() });
    assert_eq!(world.cloud.code::<ops::DeleteRule>(elbv2::DeleteRuleInput { rule_arn: arn }), "RuleNotFound");
}

#[test]
fn a_listener_moves_to_another_port_and_group() {
    let mut world = World::new();
    let (balancer, group, other) = (world.balancer("web"), world.group("web"), world.group("other"));
    let listener = world.listener(&balancer, 80, &group);
    world.listener(&balancer, 81, &group);
    let modify = |port| elbv2::ModifyListenerInput {
        listener_arn: listener.clone(),
        port: Some(port),
        default_actions: Some(vec![forward(&other)]),
        ..Default::default()
    };
    assert_eq!(world.cloud.code::<ops::ModifyListener>(modify(81)), "DuplicateListener");
    let shown = world.cloud.ok::<ops::ModifyListener>(modify(82)).listeners.unwrap().remove(0);
    assert_eq!(shown.port, Some(82));
    assert_eq!(shown.default_actions.unwrap()[0].target_group_arn.as_ref(), Some(&other));
    let describe = elbv2::DescribeListenersInput {
        load_balancer_arn: Some(balancer),
        page_size: Some(1),
        ..Default::default()
    };
    let page = world.cloud.ok::<ops::DescribeListeners>(describe.clone());
    let next = elbv2::DescribeListenersInput { marker: page.next_marker, ..describe };
    let last = world.cloud.ok::<ops::DescribeListeners>(next);
    assert_eq!((last.listeners.unwrap().len(), last.next_marker), (1, None));
    let input = elbv2::DescribeListenerAttributesInput { listener_arn: listener };
    assert!(!world.cloud.ok::<ops::DescribeListenerAttributes>(input).attributes.unwrap().is_empty());
}

#[test]
fn deletion_protection_protects() {
    let mut world = World::new();
    let balancer = world.balancer("web");
    let protect = |value: &str| elbv2::ModifyLoadBalancerAttributesInput {
        load_balancer_arn: balancer.clone(),
        attributes: vec![elbv2::LoadBalancerAttribute {
            key: Some("deletion_protection.enabled".into()),
            value: Some(value.into()),
        }],
    };
    let delete = elbv2::DeleteLoadBalancerInput { load_balancer_arn: balancer.clone() };
    world.cloud.ok::<ops::ModifyLoadBalancerAttributes>(protect("true"));
    assert_eq!(world.cloud.code::<ops::DeleteLoadBalancer>(delete.clone()), "OperationNotPermitted");
    world.cloud.ok::<ops::ModifyLoadBalancerAttributes>(protect("false"));
    let capacity = elbv2::DescribeCapacityReservationInput { load_balancer_arn: balancer.clone() };
    let capacity = world.cloud.ok::<ops::DescribeCapacityReservation>(capacity);
    assert_eq!(capacity.minimum_load_balancer_capacity, None);
    world.cloud.ok::<ops::DeleteLoadBalancer>(delete);
}

#[test]
fn tags_on_every_kind() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web"), world.group("web"));
    let listener = world.listener(&balancer, 80, &group);
    let rule = world.cloud.ok::<ops::CreateRule>(rule_input(&listener, 1, "/x", fixed("200")));
    let rule = rule.rules.unwrap().remove(0).rule_arn.unwrap();
    let arns = vec![balancer, group, listener, rule];
    let tag = |key: &str| elbv2::Tag { key: key.into(), value: Some("1".into()) };
    let add = |tags| elbv2::AddTagsInput { resource_arns: arns.clone(), tags };
    world.cloud.ok::<ops::AddTags>(add(vec![tag("a"), tag("b")]));
    assert_eq!(world.cloud.code::<ops::AddTags>(add(vec![tag("a"), tag("a")])), "DuplicateTagKeys");
    world.cloud.ok::<ops::RemoveTags>(elbv2::RemoveTagsInput {
        resource_arns: arns.clone(),
        tag_keys: vec!["a".into()],
    });
    let described =
        world.cloud.ok::<ops::DescribeTags>(elbv2::DescribeTagsInput { resource_arns: arns.clone() });
    for (description, arn) in described.tag_descriptions.unwrap().into_iter().zip(arns) {
        assert_eq!((description.resource_arn, description.tags), (Some(arn), Some(vec![tag("b")])));
    }
}

#[test]
fn a_target_goes_through_its_states() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web"), world.group("web"));
    let health = |world: &mut World| {
        let (_, state, reason) = world.health(&group).remove(0);
        (state, reason.unwrap_or_default())
    };
    let is = |state: &str, reason: &str| (state.to_owned(), reason.to_owned());
    world.register(&group, TARGET);
    assert_eq!(health(&mut world), is("unused", "Target.NotInUse"));
    world.listener(&balancer, 80, &group);
    assert_eq!(health(&mut world), is("initial", "Elb.RegistrationInProgress"));
    let spec = world.converge();
    assert_eq!(health(&mut world), is("initial", "Elb.InitialHealthChecking"));
    world.report(&spec, TARGET, Health::Healthy);
    assert_eq!(health(&mut world), is("healthy", ""));
    world.report(&spec, TARGET, Health::Unhealthy(UnhealthyReason::ResponseCodeMismatch(500)));
    assert_eq!(health(&mut world), is("unhealthy", "Target.ResponseCodeMismatch"));
    world.deregister(&group, TARGET);
    assert_eq!(health(&mut world), is("draining", "Target.DeregistrationInProgress"));
    world.register(&group, TARGET);
    assert_eq!(health(&mut world), is("unhealthy", "Target.ResponseCodeMismatch"));
    let unknown = world.health_of(&group, Some("10.0.10.99")).remove(0);
    assert_eq!((unknown.1, unknown.2.unwrap_or_default()), is("unused", "Target.NotRegistered"));
}

#[test]
fn a_target_in_a_zone_without_a_node_is_unused() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web"), world.group("web"));
    world.listener(&balancer, 80, &group);
    world.register(&group, "10.0.12.5");
    assert_eq!(world.health(&group)[0].1, "unused");
    assert!(world.converge().target_groups[0].targets.is_empty());
}
