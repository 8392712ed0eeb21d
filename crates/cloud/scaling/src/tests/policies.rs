//! What policies do when alarms trigger them.

use pileus_aws::cloudwatch::{Dimension, PutMetricAlarmInput, ops as cloudwatch};
use pileus_monitoring::alarms;
use pileus_state::Record as _;

use super::*;

fn policy_arn(world: &mut World, input: aas::PutScalingPolicyRequest) -> String {
    world.cloud.ok::<ops::PutScalingPolicy>(input).policy_arn.expect("an ARN")
}

/// The user's own alarm on the CPU of the service.
fn put_alarm(world: &mut World, name: &str, comparison: &str, threshold: f64, periods: i64, action: &str) {
    let dimension = |name: &str, value: &str| Dimension { name: name.into(), value: value.into() };
    world.cloud.ok::<cloudwatch::PutMetricAlarm>(PutMetricAlarmInput {
        alarm_name: name.into(),
        alarm_actions: Some(vec![action.into()]),
        namespace: Some("AWS/ECS".into()),
        metric_name: Some("CPUUtilization".into()),
        dimensions: Some(vec![dimension("ClusterName", "default"), dimension("ServiceName", "web")]),
        statistic: Some("Average".into()),
        period: Some(60),
        evaluation_periods: Some(periods),
        threshold: Some(threshold),
        comparison_operator: Some(comparison.into()),
        ..Default::default()
    });
}

/// "Add a task when CPU > 70 % for 2 minutes, remove one when CPU < 50 % for 5 minutes, between 2 and 10."
fn reference_steps() -> (World, String, String) {
    let mut world = World::registered(2, 2, 10);
    let out = policy_arn(&mut world, put_step("out", 1, 60));
    let back = policy_arn(&mut world, put_step("in", -1, 300));
    put_alarm(&mut world, "high", "GreaterThanThreshold", 70.0, 2, &out);
    put_alarm(&mut world, "low", "LessThanThreshold", 50.0, 5, &back);
    (world, out, back)
}

#[test]
fn the_reference_policy_by_steps() {
    let (mut world, out, back) = reference_steps();
    let mut seen = Vec::new();
    for _ in 0..10 {
        world.trigger("high", &out, 90.0);
        world.settle();
        world.pass(MINUTE);
        seen.push(world.desired());
    }
    assert_eq!(
        seen,
        [3, 4, 5, 6, 7, 8, 9, 10, 10, 10],
        "one a minute, as the cooldown allows, and no more than 10"
    );
    let at_max = world.newest();
    assert_eq!(at_max.not_scaled_reasons.unwrap()[0].code.as_deref(), Some("AlreadyAtMaxCapacity"));
    world.pass(MINUTE * 5);
    seen.clear();
    for _ in 0..12 {
        world.trigger("low", &back, 20.0);
        world.settle();
        world.pass(MINUTE);
        seen.push(world.desired());
    }
    assert_eq!(seen, [9, 9, 9, 9, 9, 8, 8, 8, 8, 8, 7, 7], "one each five minutes");
}

#[test]
fn the_reference_policy_by_target_tracking() {
    let mut world = World::registered(2, 2, 10);
    let arn = policy_arn(&mut world, put_tracking("cpu70", tracking(70.0)));
    let policies = world.cloud.ok::<ops::DescribeScalingPolicies>(aas::DescribeScalingPoliciesRequest {
        service_namespace: "ecs".into(),
        ..Default::default()
    });
    let policy = &policies.scaling_policies.unwrap()[0];
    let names: Vec<String> =
        policy.alarms.iter().flatten().map(|alarm| alarm.alarm_name.clone().unwrap()).collect();
    let [high, low] = &names[..] else { panic!("two alarms: {names:?}") };
    assert!(high.starts_with("TargetTracking-service/default/web-AlarmHigh-"), "{high}");
    assert!(low.starts_with("TargetTracking-service/default/web-AlarmLow-"), "{low}");
    world.trigger(high, &arn, 140.0);
    assert_eq!(world.desired(), 4);
    let begun = world.newest();
    assert_eq!(begun.status_code.as_deref(), Some("InProgress"));
    assert_eq!(begun.description.as_deref(), Some("Setting desired count to 4."));
    assert_eq!(begun.cause, Some(format!("monitor alarm {high} in state ALARM triggered policy cpu70")));
    assert_eq!(
        begun.status_message.as_deref(),
        Some("Successfully set desired count to 4. Waiting for change to be fulfilled by ecs.")
    );
    world.settle();
    let ended = world.newest();
    assert_eq!(ended.status_code.as_deref(), Some("Successful"));
    assert_eq!(
        ended.status_message.as_deref(),
        Some("Successfully set desired count to 4. Change successfully fulfilled by ecs.")
    );
    assert!(ended.end_time.is_some());
    world.trigger(low, &arn, 20.0);
    assert_eq!(world.desired(), 4, "the cooldown lasts");
    world.pass(MINUTE);
    world.trigger(low, &arn, 20.0);
    assert_eq!(world.desired(), 2);
}

#[test]
fn a_larger_scale_out_overrides_the_one_in_progress() {
    let mut world = World::registered(2, 2, 10);
    let arn = policy_arn(&mut world, put_tracking("cpu70", tracking(70.0)));
    let high = high_alarm(&mut world);
    world.trigger(&high, &arn, 100.0);
    assert_eq!(world.desired(), 3);
    world.trigger(&high, &arn, 210.0);
    assert_eq!(world.desired(), 6, "three times as many as before both");
    let states: Vec<_> = world.activities().into_iter().map(|a| a.status_code.unwrap()).collect();
    assert_eq!(states, ["InProgress", "Overridden"]);
    world.trigger(&high, &arn, 210.0);
    assert_eq!(world.desired(), 6, "what was added is part of it");
}

fn high_alarm(world: &mut World) -> String {
    let input = aas::DescribeScalingPoliciesRequest { service_namespace: "ecs".into(), ..Default::default() };
    let policies = world.cloud.ok::<ops::DescribeScalingPolicies>(input).scaling_policies.unwrap();
    policies[0].alarms.as_ref().unwrap()[0].alarm_name.clone().unwrap()
}

#[test]
fn scale_in_waits_for_a_deployment() {
    let (mut world, out, back) = reference_steps();
    world.set_desired(6);
    world.settle();
    world.cloud.ok::<ecs::ops::UpdateService>(ecs::UpdateServiceRequest {
        service: "web".into(),
        force_new_deployment: Some(true),
        ..Default::default()
    });
    world.trigger("low", &back, 20.0);
    assert_eq!(world.desired(), 6);
    let reasons = world.newest().not_scaled_reasons.unwrap();
    assert_eq!(reasons[0].code.as_deref(), Some("TargetServicePutResourceAsUnscalable"));
    world.trigger("high", &out, 90.0);
    assert_eq!(world.desired(), 7, "scaling out goes on");
}

#[test]
fn a_desired_count_set_by_hand_overrides() {
    let (mut world, out, _) = reference_steps();
    world.trigger("high", &out, 90.0);
    world.set_desired(8);
    world.settle();
    assert_eq!(world.newest().status_code.as_deref(), Some("Overridden"));
    world.trigger("high", &out, 90.0);
    assert_eq!(world.desired(), 9, "it goes on from there");
}

#[test]
fn what_ecs_does_not_follow_is_unfulfilled() {
    let (mut world, out, _) = reference_steps();
    world.trigger("high", &out, 90.0);
    world.cloud.advance(MINUTE * 19);
    world.reconcile();
    assert_eq!(world.newest().status_code.as_deref(), Some("InProgress"));
    world.cloud.advance(MINUTE);
    world.reconcile();
    assert_eq!(world.newest().status_code.as_deref(), Some("Unfulfilled"));
}

#[test]
fn steps_that_cover_nothing_fail_the_alarms_action() {
    let (mut world, out, _) = reference_steps();
    world.trigger("high", &out, 60.0);
    assert_eq!(world.desired(), 2);
    assert!(world.activities().is_empty());
    let pending = world.cloud.state.all::<PendingAction>().count();
    assert_eq!(pending, 0, "the action has ended");
}

#[test]
fn a_trigger_without_a_policy_ends() {
    let (mut world, _, _) = reference_steps();
    world.trigger("high", "arn:aws:autoscaling:us-east-1:000000000000:scalingPolicy:x:resource/y", 90.0);
    world.trigger("gone", "arn:aws:autoscaling:us-east-1:000000000000:scalingPolicy:x:resource/y", 90.0);
    assert_eq!(world.cloud.state.all::<PendingAction>().count(), 0);
}

#[test]
fn a_service_that_is_gone_is_not_scaled() {
    let (mut world, out, _) = reference_steps();
    world.cloud.ok::<ecs::ops::DeleteService>(ecs::DeleteServiceRequest {
        service: "web".into(),
        force: Some(true),
        ..Default::default()
    });
    world.trigger("high", &out, 90.0);
    assert!(world.activities().is_empty());
    world.cloud.ok::<ops::DeregisterScalableTarget>(aas::DeregisterScalableTargetRequest {
        service_namespace: "ecs".into(),
        resource_id: WEB.into(),
        scalable_dimension: DIMENSION.into(),
    });
}

#[test]
fn suspended_policies_do_nothing() {
    let (mut world, out, back) = reference_steps();
    let suspend = |asleep| aas::RegisterScalableTargetRequest {
        min_capacity: None,
        max_capacity: None,
        suspended_state: Some(aas::SuspendedState {
            dynamic_scaling_in_suspended: Some(asleep),
            dynamic_scaling_out_suspended: Some(asleep),
            scheduled_scaling_suspended: None,
        }),
        ..range(0, 0)
    };
    world.set_desired(5);
    world.settle();
    world.cloud.ok::<ops::RegisterScalableTarget>(suspend(true));
    world.trigger("high", &out, 90.0);
    world.trigger("low", &back, 10.0);
    assert_eq!(world.desired(), 5);
    world.cloud.ok::<ops::RegisterScalableTarget>(suspend(false));
    world.trigger("high", &out, 90.0);
    assert_eq!(world.desired(), 6, "alarms that are still in breach count again");
}

/// Scaling in needs every tracking policy that may scale in; one that may not has no low alarm.
#[test]
fn tracking_policies_scale_in_together() {
    let mut world = World::registered(8, 2, 10);
    let custom = |name: &str, target: f64, out_only: bool| aas::TargetTrackingScalingPolicyConfiguration {
        target_value: target,
        customized_metric_specification: Some(aas::CustomizedMetricSpecification {
            metric_name: Some(name.into()),
            namespace: Some("app".into()),
            statistic: Some("Average".into()),
            ..Default::default()
        }),
        disable_scale_in: Some(out_only),
        ..Default::default()
    };
    let one = policy_arn(&mut world, put_tracking("one", custom("One", 70.0, false)));
    policy_arn(&mut world, put_tracking("two", custom("Two", 70.0, false)));
    policy_arn(&mut world, put_tracking("three", custom("Three", 70.0, true)));
    let alarms: Vec<_> = world.cloud.state.all::<alarms::Alarm>().map(|(_, alarm)| alarm).collect();
    assert_eq!(alarms.len(), 5);
    let low = |metric: &str| {
        let of = |alarm: &&std::sync::Arc<alarms::Alarm>| {
            let input = alarm.metric().expect("a metric alarm");
            input.metric_name.as_deref() == Some(metric) && alarm.name.contains("AlarmLow")
        };
        alarms.iter().find(of).map(|alarm| alarm.key())
    };
    assert_eq!(low("Three"), None);
    let (low_one, low_two) = (low("One").expect("it has one"), low("Two").expect("it has one"));
    world.trigger(&low_one, &one, 20.0);
    assert_eq!(world.desired(), 8, "the other does not want to");
    world.cloud.ok::<cloudwatch::PutMetricData>(pileus_aws::cloudwatch::PutMetricDataInput {
        namespace: "app".into(),
        metric_data: Some(vec![pileus_aws::cloudwatch::MetricDatum {
            metric_name: "Two".into(),
            value: Some(35.0),
            timestamp: Some(world.cloud.now - MINUTE * 2),
            ..Default::default()
        }]),
    });
    world.cloud.ok::<cloudwatch::SetAlarmState>(pileus_aws::cloudwatch::SetAlarmStateInput {
        alarm_name: low_two,
        state_value: "ALARM".into(),
        state_reason: "a test".into(),
        ..Default::default()
    });
    world.trigger(&low_one, &one, 20.0);
    assert_eq!(world.desired(), 4, "the larger of the two capacities");
}
