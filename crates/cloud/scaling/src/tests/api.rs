//! Registration, policies and tags as clients see them.

use super::*;

fn describe(world: &mut World) -> Vec<aas::ScalableTarget> {
    let input = aas::DescribeScalableTargetsRequest { service_namespace: "ecs".into(), ..Default::default() };
    world.cloud.ok::<ops::DescribeScalableTargets>(input).scalable_targets.unwrap()
}

fn deregister() -> aas::DeregisterScalableTargetRequest {
    aas::DeregisterScalableTargetRequest {
        service_namespace: "ecs".into(),
        resource_id: WEB.into(),
        scalable_dimension: DIMENSION.into(),
    }
}

#[test]
fn register_update_deregister() {
    let mut world = World::new(2);
    let arn = world.cloud.ok::<ops::RegisterScalableTarget>(range(2, 10)).scalable_target_arn.unwrap();
    let (prefix, id) = arn.split_once("scalable-target/").unwrap();
    assert_eq!(prefix, "arn:aws:application-autoscaling:us-east-1:000000000000:");
    assert_eq!(id.len(), 36);
    let target = describe(&mut world).remove(0);
    assert_eq!((target.min_capacity, target.max_capacity), (Some(2), Some(10)));
    let role = target.role_arn.unwrap();
    assert_eq!(
        role,
        "arn:aws:iam::000000000000:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/\
         AWSServiceRoleForApplicationAutoScaling_ECSService"
    );
    let name = role.rsplit('/').next().unwrap().to_owned();
    let made = iam::GetRoleRequest { role_name: name };
    assert_eq!(world.cloud.ok::<iam::ops::GetRole>(made).role.unwrap().arn, Some(role));
    assert_eq!(target.suspended_state.unwrap().dynamic_scaling_in_suspended, Some(false));
    let update = aas::RegisterScalableTargetRequest { min_capacity: None, ..range(0, 5) };
    let again = world.cloud.ok::<ops::RegisterScalableTarget>(update).scalable_target_arn.unwrap();
    assert_eq!(again, arn, "an update keeps the target");
    let target = describe(&mut world).remove(0);
    assert_eq!((target.min_capacity, target.max_capacity), (Some(2), Some(5)));
    world.cloud.ok::<ops::PutScalingPolicy>(put_tracking("cpu", tracking(70.0)));
    world.cloud.ok::<ops::DeregisterScalableTarget>(deregister());
    assert!(describe(&mut world).is_empty());
    assert_eq!(world.cloud.state.all::<pileus_monitoring::alarms::Alarm>().count(), 0);
    assert_eq!(world.cloud.code::<ops::DeregisterScalableTarget>(deregister()), "ObjectNotFoundException");
}

/// "Registering or updating a target immediately pulls the current count inside [min, max]" (AWS-BEHAVIOUR 5.1).
#[test]
fn the_range_is_enforced_when_it_is_set() {
    let mut world = World::new(2);
    world.cloud.ok::<ops::RegisterScalableTarget>(range(4, 10));
    assert_eq!(world.desired(), 4);
    assert_eq!(world.newest().cause.as_deref(), Some("minimum capacity was set to 4"));
    world.settle();
    world.cloud.ok::<ops::RegisterScalableTarget>(range(1, 3));
    assert_eq!(world.desired(), 3);
    assert_eq!(world.newest().cause.as_deref(), Some("maximum capacity was set to 3"));
    world.settle();
    world.set_desired(9);
    world.pass(MINUTE);
    assert_eq!(world.desired(), 9, "a count set by hand is left alone");
}

#[test]
fn registrations_that_are_refused() {
    let mut world = World::new(2);
    let other = |change: fn(&mut aas::RegisterScalableTargetRequest)| {
        let mut input = range(1, 2);
        change(&mut input);
        input
    };
    for input in [
        other(|input| input.resource_id = "service/default/other".into()),
        other(|input| input.resource_id = "service/default".into()),
        other(|input| input.resource_id = "table/web".into()),
        other(|input| input.service_namespace = "dynamodb".into()),
        other(|input| input.service_namespace = "nothing".into()),
        other(|input| input.scalable_dimension = "dynamodb:table:ReadCapacityUnits".into()),
        other(|input| input.min_capacity = None),
        other(|input| input.max_capacity = None),
        other(|input| input.min_capacity = Some(3)),
        other(|input| input.min_capacity = Some(-1)),
        other(|input| input.max_capacity = Some(5001)),
        other(|input| input.tags = Some([("aws:x".to_owned(), String::new())].into())),
    ] {
        let code = world.cloud.code::<ops::RegisterScalableTarget>(input.clone());
        assert_eq!(code, "ValidationException", "{input:?}");
    }
    let missing = other(|input| input.resource_id = "service/default/other".into());
    let error = world.cloud.call::<ops::RegisterScalableTarget>(missing).expect_err("it does not exist");
    assert_eq!(error.message, "ECS service doesn't exist: service/default/other");
    assert!(describe(&mut world).is_empty());
}

#[test]
fn tags() {
    let mut world = World::new(2);
    let tagged = |value: &str| aas::RegisterScalableTargetRequest {
        tags: Some([("env".to_owned(), value.to_owned())].into()),
        ..range(1, 4)
    };
    let arn = world.cloud.ok::<ops::RegisterScalableTarget>(tagged("test")).scalable_target_arn.unwrap();
    world.cloud.ok::<ops::RegisterScalableTarget>(tagged("test"));
    assert_eq!(world.cloud.code::<ops::RegisterScalableTarget>(tagged("other")), "ValidationException");
    world.cloud.ok::<ops::TagResource>(aas::TagResourceRequest {
        resource_arn: arn.clone(),
        tags: [("team".to_owned(), "web".to_owned())].into(),
    });
    world.cloud.ok::<ops::UntagResource>(aas::UntagResourceRequest {
        resource_arn: arn.clone(),
        tag_keys: vec!["env".into()],
    });
    let list = |arn: &str| aas::ListTagsForResourceRequest { resource_arn: arn.into() };
    let tags = world.cloud.ok::<ops::ListTagsForResource>(list(&arn)).tags.unwrap();
    assert_eq!(tags, [("team".to_owned(), "web".to_owned())].into());
    let many = (0..50).map(|n| (n.to_string(), String::new())).collect();
    let many = aas::TagResourceRequest { resource_arn: arn.clone(), tags: many };
    assert_eq!(world.cloud.code::<ops::TagResource>(many), "TooManyTagsException");
    let unknown = format!("{arn}0");
    assert_eq!(world.cloud.code::<ops::ListTagsForResource>(list(&unknown)), "ResourceNotFoundException");
}

#[test]
fn policies_put_updated_deleted() {
    let mut world = World::registered(2, 2, 10);
    let made = world.cloud.ok::<ops::PutScalingPolicy>(put_tracking("cpu", tracking(70.0)));
    let arn = made.policy_arn.unwrap();
    assert!(arn.starts_with("arn:aws:autoscaling:us-east-1:000000000000:scalingPolicy:"), "{arn}");
    assert!(arn.contains(":resource/ecs/service/default/web:policyName/cpu:createdBy/"), "{arn}");
    let names = |response: &Option<Vec<aas::Alarm>>| -> Vec<String> {
        response.iter().flatten().map(|alarm| alarm.alarm_name.clone().unwrap()).collect()
    };
    let before = names(&made.alarms);
    assert_eq!(before.len(), 2);
    let again = world.cloud.ok::<ops::PutScalingPolicy>(put_tracking("cpu", tracking(80.0)));
    assert_eq!((again.policy_arn.as_ref(), names(&again.alarms)), (Some(&arn), before.clone()));
    let alarm = world.cloud.write(|cx| pileus_monitoring::alarms::get(cx.tx, &before[1])).unwrap();
    assert_eq!(alarm.metric().unwrap().threshold, Some(72.0));
    let out_only =
        aas::TargetTrackingScalingPolicyConfiguration { disable_scale_in: Some(true), ..tracking(80.0) };
    let less = world.cloud.ok::<ops::PutScalingPolicy>(put_tracking("cpu", out_only));
    assert_eq!(names(&less.alarms), before[..1]);
    let delete = || aas::DeleteScalingPolicyRequest {
        policy_name: "cpu".into(),
        service_namespace: "ecs".into(),
        resource_id: WEB.into(),
        scalable_dimension: DIMENSION.into(),
    };
    world.cloud.ok::<ops::DeleteScalingPolicy>(delete());
    assert_eq!(world.cloud.state.all::<pileus_monitoring::alarms::Alarm>().count(), 0);
    assert_eq!(world.cloud.code::<ops::DeleteScalingPolicy>(delete()), "ObjectNotFoundException");
}

#[test]
fn policies_that_are_refused() {
    let mut world = World::registered(2, 2, 10);
    world.cloud.ok::<ops::PutScalingPolicy>(put_tracking("cpu", tracking(70.0)));
    world.cloud.ok::<ops::PutScalingPolicy>(put_step("out", 1, 60));
    let mixed = aas::PutScalingPolicyRequest {
        step_scaling_policy_configuration: put_step("x", 1, 1).step_scaling_policy_configuration,
        ..put_tracking("mixed", tracking(50.0))
    };
    let typed = |kind: &str| aas::PutScalingPolicyRequest { policy_type: Some(kind.into()), ..put("typed") };
    let elsewhere = aas::PutScalingPolicyRequest {
        resource_id: "service/default/other".into(),
        ..put_tracking("cpu", tracking(70.0))
    };
    for (input, code) in [
        (put_tracking("same-metric", tracking(50.0)), "ValidationException"),
        (put_tracking("zero", tracking(0.0)), "ValidationException"),
        (put_tracking("out", tracking(60.0)), "ValidationException"),
        (put_step("cpu", 1, 60), "ValidationException"),
        (put_step("cooldown", 1, -1), "ValidationException"),
        (mixed, "ValidationException"),
        (put("untyped"), "ValidationException"),
        (typed("StepScaling"), "ValidationException"),
        (typed("TargetTrackingScaling"), "ValidationException"),
        (typed("Nothing"), "ValidationException"),
        (typed("PredictiveScaling"), "UnsupportedOperation"),
        (elsewhere, "ObjectNotFoundException"),
    ] {
        assert_eq!(world.cloud.code::<ops::PutScalingPolicy>(input.clone()), code, "{input:?}");
    }
    for n in 2..50 {
        world.cloud.ok::<ops::PutScalingPolicy>(put_step(&format!("step-{n}"), 1, 60));
    }
    let one_more = put_step("one-more", 1, 60);
    assert_eq!(world.cloud.code::<ops::PutScalingPolicy>(one_more), "LimitExceededException");
}

#[test]
fn lists_come_in_pages() {
    let mut world = World::registered(2, 2, 10);
    for n in 0..5 {
        world.cloud.ok::<ops::PutScalingPolicy>(put_step(&format!("step-{n}"), 1, 60));
    }
    let page = |token: Option<String>| aas::DescribeScalingPoliciesRequest {
        service_namespace: "ecs".into(),
        max_results: Some(2),
        next_token: token,
        ..Default::default()
    };
    let (mut names, mut token) = (Vec::new(), None);
    loop {
        let response = world.cloud.ok::<ops::DescribeScalingPolicies>(page(token));
        let policies = response.scaling_policies.unwrap();
        assert!(policies.len() <= 2);
        names.extend(policies.into_iter().map(|policy| policy.policy_name.unwrap()));
        token = response.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["step-0", "step-1", "step-2", "step-3", "step-4"]);
    let bad = page(Some("not a token".into()));
    assert_eq!(world.cloud.code::<ops::DescribeScalingPolicies>(bad), "InvalidNextTokenException");
    let none = aas::DescribeScalingPoliciesRequest { max_results: Some(0), ..page(None) };
    assert_eq!(world.cloud.code::<ops::DescribeScalingPolicies>(none), "ValidationException");
}
