//! The life of alarms through their operations.

use pileus_aws::cloudwatch::{
    DeleteAlarmsInput, DescribeAlarmHistoryInput, DescribeAlarmsInput, ListTagsForResourceInput,
    PutCompositeAlarmInput, PutMetricAlarmInput, SetAlarmStateInput, Tag, ops,
};
use pileus_kit::Cloud;

use super::*;

const POLICY: &str = "arn:aws:autoscaling:us-east-1:000000000000:scalingPolicy:6d8972f3-efc8-437c-92d1-6270f29a66e7:resource/ecs/service/default/web:policyName/out";
const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:ops";

pub(super) fn cloud() -> Cloud {
    Cloud::new(crate::tables, crate::operations)
}

/// The reference alarm: CPU over 70 % for two minutes.
pub(super) fn high(name: &str) -> PutMetricAlarmInput {
    PutMetricAlarmInput {
        alarm_name: name.into(),
        namespace: Some("AWS/ECS".into()),
        metric_name: Some("CPUUtilization".into()),
        statistic: Some("Average".into()),
        period: Some(60),
        evaluation_periods: Some(2),
        threshold: Some(70.0),
        comparison_operator: Some("GreaterThanThreshold".into()),
        alarm_actions: Some(vec![POLICY.into()]),
        ok_actions: Some(vec![TOPIC.into()]),
        ..Default::default()
    }
}

fn composite(name: &str, rule: &str) -> PutCompositeAlarmInput {
    PutCompositeAlarmInput {
        alarm_name: name.into(),
        alarm_rule: rule.into(),
        alarm_actions: Some(vec![TOPIC.into()]),
        ..Default::default()
    }
}

fn set(name: &str, value: StateValue) -> SetAlarmStateInput {
    SetAlarmStateInput {
        alarm_name: name.into(),
        state_value: value.name().into(),
        state_reason: "by hand".into(),
        ..Default::default()
    }
}

fn value(cloud: &mut Cloud, name: &str) -> StateValue {
    cloud.write(|cx| get(cx.tx, name)).expect("it exists").state.value
}

fn queued(cloud: &Cloud) -> Vec<String> {
    pending(&cloud.state)
        .into_iter()
        .map(|(_, action)| format!("{} {} {}", action.alarm, action.new, action.action))
        .collect()
}

#[test]
fn an_alarm_lives_from_put_to_delete() {
    let mut cloud = cloud();
    let tags = Some(vec![Tag { key: "team".into(), value: "web".into() }]);
    cloud.ok::<ops::PutMetricAlarm>(PutMetricAlarmInput { tags, ..high("high") });
    let described = cloud.ok::<ops::DescribeAlarms>(DescribeAlarmsInput::default());
    let shape = described.metric_alarms.expect("a list").remove(0);
    assert_eq!(shape.alarm_arn.as_deref(), Some("arn:aws:cloudwatch:us-east-1:000000000000:alarm:high"));
    assert_eq!(shape.state_value.as_deref(), Some("INSUFFICIENT_DATA"));
    assert_eq!((shape.actions_enabled, shape.dimensions), (Some(true), Some(vec![])));
    let resource_arn = shape.alarm_arn.expect("an ARN");
    let tags = cloud.ok::<ops::ListTagsForResource>(ListTagsForResourceInput { resource_arn }).tags;
    assert_eq!(tags.expect("a list").len(), 1);

    cloud.ok::<ops::SetAlarmState>(set("high", StateValue::Alarm));
    cloud.ok::<ops::PutMetricAlarm>(high("high"));
    assert_eq!(value(&mut cloud, "high"), StateValue::Alarm, "an update leaves the state as it is");
    assert_eq!(queued(&cloud), [format!("high ALARM {POLICY}")]);
    let (_, action) = pending(&cloud.state).remove(0);
    cloud.write(|cx| done(cx.tx, &action, Ok(()), cx.now));
    assert!(queued(&cloud).is_empty());

    let delete = || DeleteAlarmsInput { alarm_names: vec!["high".into()] };
    cloud.ok::<ops::DeleteAlarms>(delete());
    assert_eq!(cloud.code::<ops::DeleteAlarms>(delete()), "ResourceNotFound");
    let history = cloud.ok::<ops::DescribeAlarmHistory>(DescribeAlarmHistoryInput::default());
    let items = history.alarm_history_items.expect("a list");
    let summaries: Vec<_> = items.iter().filter_map(|item| item.history_summary.as_deref()).collect();
    assert_eq!(
        summaries,
        [
            "Alarm \"high\" deleted",
            &format!("Successfully executed action {POLICY}"),
            "Alarm \"high\" updated",
            "Alarm updated from INSUFFICIENT_DATA to ALARM",
            "Alarm \"high\" created",
        ]
    );
}

#[test]
fn alarms_are_found_by_their_actions() {
    let mut cloud = cloud();
    cloud.ok::<ops::PutMetricAlarm>(high("a"));
    cloud.ok::<ops::PutMetricAlarm>(PutMetricAlarmInput { alarm_actions: None, ..high("b") });
    let names = |cloud: &mut Cloud, arn: &str| {
        let found = cloud.write(|cx| with_action(cx.tx, arn));
        found.iter().map(|alarm| alarm.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&mut cloud, POLICY), ["a"]);
    assert_eq!(names(&mut cloud, TOPIC), ["a", "b"]);
    let by_prefix =
        DescribeAlarmsInput { action_prefix: Some("arn:aws:autoscaling".into()), ..Default::default() };
    assert_eq!(cloud.ok::<ops::DescribeAlarms>(by_prefix).metric_alarms.expect("a list").len(), 1);
    cloud.ok::<ops::SetAlarmState>(set("b", StateValue::Alarm));
    let names = ["a".to_owned(), arn(&cloud.scope, "b"), "gone".into()];
    let first = cloud.write(|cx| first_in_alarm(cx.tx, &names)).expect("b is in ALARM");
    assert_eq!(first.name, "b");
}

#[test]
fn what_is_no_alarm_is_refused() {
    let mut cloud = cloud();
    let cases = [
        PutMetricAlarmInput { period: Some(45), ..high("x") },
        PutMetricAlarmInput { period: Some(3600), evaluation_periods: Some(400), ..high("x") },
        PutMetricAlarmInput { datapoints_to_alarm: Some(3), ..high("x") },
        PutMetricAlarmInput { statistic: None, ..high("x") },
        PutMetricAlarmInput { extended_statistic: Some("p99".into()), ..high("x") },
        PutMetricAlarmInput { threshold: None, ..high("x") },
        PutMetricAlarmInput { treat_missing_data: Some("maybe".into()), ..high("x") },
        PutMetricAlarmInput { alarm_actions: Some(vec!["tell me".into()]), ..high("x") },
        PutMetricAlarmInput { metric_name: None, ..high("x") },
        PutMetricAlarmInput { evaluation_periods: None, ..high("x") },
    ];
    for input in cases {
        assert_eq!(cloud.code::<ops::PutMetricAlarm>(input.clone()), "ValidationError", "{input:?}");
    }
    for action in
        ["arn:aws:automate:us-east-1:ec2:reboot", "arn:aws:lambda:us-east-1:000000000000:function:f"]
    {
        let input = PutMetricAlarmInput { alarm_actions: Some(vec![action.into()]), ..high("x") };
        assert_eq!(cloud.code::<ops::PutMetricAlarm>(input), "UnsupportedOperation");
    }
    let input =
        PutMetricAlarmInput { comparison_operator: Some("GreaterThanUpperThreshold".into()), ..high("x") };
    assert_eq!(cloud.code::<ops::PutMetricAlarm>(input), "UnsupportedOperation");
}

#[test]
fn a_composite_alarm_follows_its_children() {
    let mut cloud = cloud();
    cloud.ok::<ops::PutMetricAlarm>(high("cpu"));
    cloud.ok::<ops::PutMetricAlarm>(high("memory"));
    assert_eq!(cloud.code::<ops::PutCompositeAlarm>(composite("both", "ALARM(disk)")), "ValidationError");
    cloud.ok::<ops::PutCompositeAlarm>(composite("both", "ALARM(cpu) AND ALARM(memory)"));
    cloud.ok::<ops::PutCompositeAlarm>(composite("above", "ALARM(both)"));
    assert_eq!(
        cloud.code::<ops::PutCompositeAlarm>(composite("both", "ALARM(above)")),
        "ValidationError",
        "a cycle"
    );
    assert_eq!(value(&mut cloud, "both"), StateValue::Ok);
    cloud.ok::<ops::SetAlarmState>(set("cpu", StateValue::Alarm));
    assert_eq!(value(&mut cloud, "both"), StateValue::Ok);
    cloud.ok::<ops::SetAlarmState>(set("memory", StateValue::Alarm));
    assert_eq!(
        (value(&mut cloud, "both"), value(&mut cloud, "above")),
        (StateValue::Alarm, StateValue::Alarm)
    );
    let told: Vec<_> = queued(&cloud).into_iter().filter(|text| text.ends_with(TOPIC)).collect();
    assert_eq!(told, [format!("above ALARM {TOPIC}"), format!("both ALARM {TOPIC}")]);
    let reason = cloud.write(|cx| get(cx.tx, "both")).expect("it exists").state.reason.clone();
    assert!(
        reason
            .starts_with("arn:aws:cloudwatch:us-east-1:000000000000:alarm:memory transitioned to ALARM at "),
        "{reason}"
    );
    // A state that was set by hand stays until a child changes.
    cloud.ok::<ops::SetAlarmState>(set("both", StateValue::Ok));
    assert_eq!(value(&mut cloud, "both"), StateValue::Ok);
    let children = DescribeAlarmsInput { children_of_alarm_name: Some("both".into()), ..Default::default() };
    let children = cloud.ok::<ops::DescribeAlarms>(children).metric_alarms.expect("a list");
    assert_eq!(
        children.iter().filter_map(|child| child.alarm_name.as_deref()).collect::<Vec<_>>(),
        ["cpu", "memory"]
    );
    let parents = DescribeAlarmsInput { parents_of_alarm_name: Some("both".into()), ..Default::default() };
    assert_eq!(cloud.ok::<ops::DescribeAlarms>(parents).composite_alarms.expect("a list").len(), 1);
}

#[test]
fn a_suppressor_holds_actions_back() {
    use std::time::Duration;
    let mut cloud = cloud();
    for name in ["cpu", "maintenance"] {
        cloud.ok::<ops::PutMetricAlarm>(PutMetricAlarmInput {
            alarm_actions: None,
            ok_actions: None,
            ..high(name)
        });
    }
    let input = PutCompositeAlarmInput {
        actions_suppressor: Some("maintenance".into()),
        actions_suppressor_wait_period: Some(60),
        actions_suppressor_extension_period: Some(30),
        ..composite("page", "ALARM(cpu)")
    };
    cloud.ok::<ops::PutCompositeAlarm>(input);
    let pass = |cloud: &mut Cloud, seconds| {
        cloud.advance(Duration::from_secs(seconds));
        cloud.write(|cx| composite::settle(cx.tx, cx.now));
    };
    pass(&mut cloud, 61);
    cloud.ok::<ops::SetAlarmState>(set("cpu", StateValue::Alarm));
    pass(&mut cloud, 59);
    assert!(queued(&cloud).is_empty(), "it waits for the suppressor");
    cloud.ok::<ops::SetAlarmState>(set("maintenance", StateValue::Alarm));
    pass(&mut cloud, 600);
    assert!(queued(&cloud).is_empty());
    cloud.ok::<ops::SetAlarmState>(set("maintenance", StateValue::Ok));
    pass(&mut cloud, 29);
    assert!(queued(&cloud).is_empty(), "the suppression is extended");
    pass(&mut cloud, 2);
    assert_eq!(queued(&cloud), [format!("page ALARM {TOPIC}")]);
}
