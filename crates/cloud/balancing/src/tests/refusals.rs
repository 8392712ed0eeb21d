//! What is refused, and by which code.

use pileus_aws::elbv2::{self, ops};

use super::{World, fixed, forward, listener_input, rule_input, subnet};

#[test]
fn load_balancers() {
    let mut world = World::new();
    let third = subnet(&mut world.cloud, &world.vpc.clone(), "a", "10.0.3.0/24");
    let tiny = subnet(&mut world.cloud, &world.vpc.clone(), "c", "10.0.4.0/28");
    let first = world.public[0].clone();
    let with = |subnets: Vec<String>| elbv2::CreateLoadBalancerInput {
        subnets: Some(subnets),
        ..world.balancer_input("web")
    };
    let named = |name: &str| world.balancer_input(name);
    let cases = [
        (with(vec![first.clone()]), "ValidationError"),
        (with(vec![]), "ValidationError"),
        (with(vec![first.clone(), third]), "InvalidConfigurationRequest"),
        (with(vec![first.clone(), "subnet-00000000".into()]), "SubnetNotFound"),
        (with(vec![first, tiny]), "OK"),
        (
            elbv2::CreateLoadBalancerInput {
                security_groups: Some(vec!["sg-00000000".into()]),
                ..named("group")
            },
            "InvalidSecurityGroup",
        ),
        (
            elbv2::CreateLoadBalancerInput { r#type: Some("network".into()), ..named("nlb") },
            "UnsupportedOperation",
        ),
        (
            elbv2::CreateLoadBalancerInput { ip_address_type: Some("dualstack".into()), ..named("six") },
            "UnsupportedOperation",
        ),
        (named("internal-web"), "ValidationError"),
        (named("-web"), "ValidationError"),
        (named("web_1"), "ValidationError"),
        (named(&"x".repeat(33)), "ValidationError"),
    ];
    for (input, expected) in cases {
        let code = world.cloud.call::<ops::CreateLoadBalancer>(input.clone()).map_err(|error| error.code);
        assert_eq!(code.err().as_deref().unwrap_or("OK"), expected, "{input:?}");
    }
}

#[test]
fn an_internet_facing_load_balancer_needs_the_internet() {
    let mut world = World::new();
    let input =
        pileus_aws::ec2::CreateVpcRequest { cidr_block: Some("10.9.0.0/16".into()), ..Default::default() };
    let vpc = world.cloud.ok::<pileus_aws::ec2::ops::CreateVpc>(input).vpc.unwrap().vpc_id.unwrap();
    let subnets = [("a", "10.9.1.0/24"), ("b", "10.9.2.0/24")];
    let subnets: Vec<String> = subnets.map(|(zone, cidr)| subnet(&mut world.cloud, &vpc, zone, cidr)).into();
    let input = |scheme: &str| elbv2::CreateLoadBalancerInput {
        name: "island".into(),
        subnets: Some(subnets.clone()),
        scheme: Some(scheme.into()),
        ..Default::default()
    };
    assert_eq!(world.cloud.code::<ops::CreateLoadBalancer>(input("internet-facing")), "InvalidSubnet");
    let made = world.cloud.ok::<ops::CreateLoadBalancer>(input("internal")).load_balancers.unwrap();
    assert_eq!(made[0].security_groups.as_ref().map(Vec::len), Some(1), "the VPC's default group");
}

#[test]
fn target_groups() {
    let mut world = World::new();
    let base = world.group_input("web");
    let with = |change: fn(&mut elbv2::CreateTargetGroupInput)| {
        let mut input = base.clone();
        change(&mut input);
        input
    };
    let cases = [
        (with(|input| input.target_type = None), "UnsupportedOperation"),
        (with(|input| input.target_type = Some("lambda".into())), "UnsupportedOperation"),
        (with(|input| input.protocol = Some("TCP".into())), "UnsupportedOperation"),
        (with(|input| input.protocol_version = Some("GRPC".into())), "UnsupportedOperation"),
        (with(|input| input.protocol = None), "ValidationError"),
        (with(|input| input.port = None), "ValidationError"),
        (with(|input| input.vpc_id = None), "ValidationError"),
        (with(|input| input.vpc_id = Some("vpc-00000000".into())), "ValidationError"),
        (with(|input| input.name = "no spaces".into()), "ValidationError"),
        (with(|input| input.health_check_interval_seconds = Some(4)), "ValidationError"),
    ];
    for (input, expected) in cases {
        assert_eq!(world.cloud.code::<ops::CreateTargetGroup>(input.clone()), expected, "{input:?}");
    }
    let terraform = with(|input| input.protocol_version = Some(String::new()));
    let made = world.cloud.ok::<ops::CreateTargetGroup>(terraform).target_groups.unwrap().remove(0);
    assert_eq!(made.protocol_version.as_deref(), Some("HTTP1"));
}

#[test]
fn rules_change_places_but_never_share_one() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web"), world.group("web"));
    let listener = world.listener(&balancer, 80, &group);
    let mut rule = |priority| {
        let input = rule_input(&listener, priority, "/x", fixed("404"));
        world.cloud.ok::<ops::CreateRule>(input).rules.unwrap().remove(0).rule_arn.unwrap()
    };
    let (one, two) = (rule(1), rule(2));
    let set = |pairs: &[(&String, i64)]| elbv2::SetRulePrioritiesInput {
        rule_priorities: pairs
            .iter()
            .map(|(arn, priority)| elbv2::RulePriorityPair {
                rule_arn: Some((*arn).clone()),
                priority: Some(*priority),
            })
            .collect(),
    };
    assert_eq!(world.cloud.code::<ops::SetRulePriorities>(set(&[(&one, 2)])), "PriorityInUse");
    assert_eq!(world.cloud.code::<ops::SetRulePriorities>(set(&[(&one, 3), (&two, 3)])), "PriorityInUse");
    let moved = world.cloud.ok::<ops::SetRulePriorities>(set(&[(&one, 2), (&two, 1)])).rules.unwrap();
    assert_eq!(moved[0].priority.as_deref(), Some("2"));
    assert_eq!(moved[1].priority.as_deref(), Some("1"));
}

#[test]
fn attributes_that_nothing_acts_on() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web"), world.group("web"));
    for (key, value, expected) in [
        ("access_logs.s3.enabled", "true", "UnsupportedOperation"),
        ("routing.http2.enabled", "false", "UnsupportedOperation"),
        ("waf.fail_open.enabled", "maybe", "ValidationError"),
        ("idle_timeout.timeout_seconds", "4001", "ValidationError"),
        ("no.such.key", "1", "ValidationError"),
    ] {
        let attribute = elbv2::LoadBalancerAttribute { key: Some(key.into()), value: Some(value.into()) };
        let input = elbv2::ModifyLoadBalancerAttributesInput {
            load_balancer_arn: balancer.clone(),
            attributes: vec![attribute],
        };
        assert_eq!(world.cloud.code::<ops::ModifyLoadBalancerAttributes>(input), expected, "{key}");
    }
    for (key, value, expected) in [
        ("stickiness.enabled", "true", "UnsupportedOperation"),
        ("slow_start.duration_seconds", "30", "UnsupportedOperation"),
        ("load_balancing.algorithm.type", "weighted_random", "UnsupportedOperation"),
        ("load_balancing.cross_zone.enabled", "false", "UnsupportedOperation"),
        ("deregistration_delay.timeout_seconds", "3601", "ValidationError"),
    ] {
        let attribute = elbv2::TargetGroupAttribute { key: Some(key.into()), value: Some(value.into()) };
        let input = elbv2::ModifyTargetGroupAttributesInput {
            target_group_arn: group.clone(),
            attributes: vec![attribute],
        };
        assert_eq!(world.cloud.code::<ops::ModifyTargetGroupAttributes>(input), expected, "{key}");
    }
}

#[test]
fn listeners_and_rules() {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web"), world.group("web"));
    let base = listener_input(&balancer, 80, &group);
    let with = |change: &dyn Fn(&mut elbv2::CreateListenerInput)| {
        let mut input = base.clone();
        change(&mut input);
        input
    };
    let redirect = elbv2::Action {
        r#type: "redirect".into(),
        redirect_config: Some(elbv2::RedirectActionConfig {
            status_code: "HTTP_301".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut weighted = forward(&group);
    weighted.forward_config = Some(elbv2::ForwardActionConfig {
        target_group_stickiness_config: Some(elbv2::TargetGroupStickinessConfig {
            enabled: Some(true),
            duration_seconds: Some(60),
        }),
        ..Default::default()
    });
    let login = elbv2::Action { r#type: "authenticate-oidc".into(), ..Default::default() };
    let gone = group.replace("web", "gone");
    let cases = [
        (with(&|input| input.protocol = Some("HTTPS".into())), "CertificateNotFound"),
        (with(&|input| input.protocol = Some("TCP".into())), "UnsupportedProtocol"),
        (with(&|input| input.protocol = None), "ValidationError"),
        (with(&|input| input.ssl_policy = Some("ELBSecurityPolicy-2016-08".into())), "ValidationError"),
        (with(&|input| input.default_actions = vec![]), "ValidationError"),
        (with(&|input| input.default_actions = vec![fixed("404"), fixed("404")]), "ValidationError"),
        (with(&|input| input.default_actions = vec![fixed("302")]), "ValidationError"),
        (with(&|input| input.default_actions = vec![redirect.clone()]), "InvalidLoadBalancerAction"),
        (with(&|input| input.default_actions = vec![weighted.clone()]), "UnsupportedOperation"),
        (with(&|input| input.default_actions = vec![login.clone()]), "UnsupportedOperation"),
        (with(&|input| input.default_actions = vec![forward(&gone)]), "TargetGroupNotFound"),
        (with(&|input| input.load_balancer_arn = balancer.replace("web", "gone")), "LoadBalancerNotFound"),
        (with(&|input| input.load_balancer_arn = "web".into()), "ValidationError"),
    ];
    for (input, expected) in cases {
        assert_eq!(world.cloud.code::<ops::CreateListener>(input.clone()), expected, "{input:?}");
    }
    let listener = world.listener(&balancer, 80, &group);
    let unknown = rule_input(&listener.replace("web", "gone"), 1, "/x", fixed("404"));
    assert_eq!(world.cloud.code::<ops::CreateRule>(unknown), "ListenerNotFound");
    let mut bare = rule_input(&listener, 1, "/x", fixed("404"));
    bare.conditions.clear();
    assert_eq!(world.cloud.code::<ops::CreateRule>(bare), "ValidationError");
}

#[test]
fn targets() {
    let mut world = World::new();
    let group = world.group("web");
    for (id, zone, expected) in [
        ("i-0123456789abcdef0", None, "InvalidTarget"),
        ("192.0.2.1", None, "InvalidTarget"),
        ("10.0.200.1", None, "InvalidTarget"),
        ("10.0.10.5", Some("us-east-1b"), "InvalidTarget"),
        ("fd00::1", None, "InvalidTarget"),
    ] {
        let target = elbv2::TargetDescription {
            id: id.into(),
            availability_zone: zone.map(Into::into),
            ..Default::default()
        };
        let input = elbv2::RegisterTargetsInput { target_group_arn: group.clone(), targets: vec![target] };
        assert_eq!(world.cloud.code::<ops::RegisterTargets>(input), expected, "{id}");
    }
    world.deregister(&group, "10.0.10.77");
}

#[test]
fn unknown_names() {
    let mut world = World::new();
    let names = Some(vec!["nothing".to_owned()]);
    let input = elbv2::DescribeLoadBalancersInput { names: names.clone(), ..Default::default() };
    assert_eq!(world.cloud.code::<ops::DescribeLoadBalancers>(input), "LoadBalancerNotFound");
    let input = elbv2::DescribeTargetGroupsInput { names, ..Default::default() };
    assert_eq!(world.cloud.code::<ops::DescribeTargetGroups>(input), "TargetGroupNotFound");
    let balancer = world.balancer("web");
    world.cloud.scope.region = "eu-west-1".into();
    let input = elbv2::DescribeLoadBalancerAttributesInput { load_balancer_arn: balancer };
    assert_eq!(world.cloud.code::<ops::DescribeLoadBalancerAttributes>(input), "LoadBalancerNotFound");
}
