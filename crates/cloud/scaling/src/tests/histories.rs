//! Generated histories: whatever happens in whatever order, scaling keeps its rules.

use proptest::prelude::*;

use super::*;

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    /// The metric of the policy of this index triggers it.
    Trigger {
        policy: usize,
        metric: f64,
    },
    Range {
        min: i64,
        more: i64,
    },
    Suspend {
        scale_in: bool,
        scale_out: bool,
    },
    Deploy,
    /// ECS and the machine follow at once.
    Settle,
    /// Time passes, and nothing is followed.
    Wait {
        seconds: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0_usize..4, 0.0..200.0_f64).prop_map(|(policy, metric)| Event::Trigger { policy, metric }),
        1 => (0_i64..6, 0_i64..6).prop_map(|(min, more)| Event::Range { min, more }),
        1 => any::<(bool, bool)>().prop_map(|(scale_in, scale_out)| Event::Suspend { scale_in, scale_out }),
        1 => Just(Event::Deploy),
        4 => Just(Event::Settle),
        3 => (1_u64..400).prop_map(|seconds| Event::Wait { seconds }),
    ]
}

/// The policies: tracking with its alarms, a step out and a step in.
struct Policies(Vec<(String, String)>);

fn policies(world: &mut World) -> Policies {
    let made = world.cloud.ok::<ops::PutScalingPolicy>(put_tracking("cpu", tracking(70.0)));
    let arn = made.policy_arn.unwrap();
    let mut list: Vec<_> =
        made.alarms.unwrap().into_iter().map(|alarm| (alarm.alarm_name.unwrap(), arn.clone())).collect();
    for (name, amount, comparison, threshold) in
        [("out", 2, "GreaterThanThreshold", 90.0), ("in", -1, "LessThanThreshold", 30.0)]
    {
        let arn = world.cloud.ok::<ops::PutScalingPolicy>(put_step(name, amount, 120)).policy_arn.unwrap();
        let alarm = pileus_aws::cloudwatch::PutMetricAlarmInput {
            alarm_name: name.into(),
            alarm_actions: Some(vec![arn.clone()]),
            namespace: Some("app".into()),
            metric_name: Some(name.into()),
            statistic: Some("Average".into()),
            period: Some(60),
            evaluation_periods: Some(1),
            threshold: Some(threshold),
            comparison_operator: Some(comparison.into()),
            ..Default::default()
        };
        world.cloud.ok::<pileus_aws::cloudwatch::ops::PutMetricAlarm>(alarm);
        list.push((name.into(), arn));
    }
    Policies(list)
}

/// What the rules need to be checked against.
struct Watch {
    range: (i64, i64),
    suspended: (bool, bool),
    /// When policies last scaled, and by how much.
    last: Option<(Timestamp, i64)>,
}

fn play(
    world: &mut World,
    policies: &Policies,
    watch: &mut Watch,
    event: &Event,
) -> Result<(), TestCaseError> {
    let before = i64::from(world.desired());
    match *event {
        Event::Trigger { policy, metric } => {
            let (alarm, arn) = policies.0[policy].clone();
            world.trigger(&alarm, &arn, metric);
            let change = i64::from(world.desired()) - before;
            if change == 0 {
                return Ok(());
            }
            let after = before + change;
            prop_assert!((watch.range.0..=watch.range.1).contains(&after), "{after} in {:?}", watch.range);
            prop_assert!(!(change < 0 && watch.suspended.0), "suspended scaling in");
            prop_assert!(!(change > 0 && watch.suspended.1), "suspended scaling out");
            if let Some((at, _)) = watch.last {
                let resting = world.cloud.now.since(at);
                prop_assert!(change > 0 || resting >= MINUTE, "scaled in {resting:?} after the last");
            }
            watch.last = Some((world.cloud.now, change));
        }
        Event::Range { min, more } => {
            world.cloud.ok::<ops::RegisterScalableTarget>(range(min, min + more));
            watch.range = (min, min + more);
            let now = i64::from(world.desired());
            prop_assert_eq!(now, before.clamp(min, min + more), "set into the new range, and no further");
            if now != before {
                // The range overrides, and has no cooldown.
                watch.last = None;
            }
        }
        Event::Suspend { scale_in, scale_out } => {
            let state = aas::SuspendedState {
                dynamic_scaling_in_suspended: Some(scale_in),
                dynamic_scaling_out_suspended: Some(scale_out),
                scheduled_scaling_suspended: None,
            };
            let input = aas::RegisterScalableTargetRequest {
                min_capacity: None,
                max_capacity: None,
                suspended_state: Some(state),
                ..range(0, 0)
            };
            world.cloud.ok::<ops::RegisterScalableTarget>(input);
            watch.suspended = (scale_in, scale_out);
        }
        Event::Deploy => drop(world.cloud.ok::<ecs::ops::UpdateService>(ecs::UpdateServiceRequest {
            service: "web".into(),
            force_new_deployment: Some(true),
            ..Default::default()
        })),
        Event::Settle => world.settle(),
        Event::Wait { seconds } => {
            world.cloud.advance(Duration::from_secs(seconds));
            world.reconcile();
        }
    }
    let open = world.activities().iter().filter(|a| a.status_code.as_deref() == Some("InProgress")).count();
    prop_assert!(open <= 1, "one scaling at a time");
    if !matches!(event, Event::Trigger { .. } | Event::Range { .. }) {
        prop_assert_eq!(i64::from(world.desired()), before, "only triggers and ranges scale");
    }
    Ok(())
}

proptest! {
    // A world costs more than most cases: a quarter of what PROPTEST_CASES says.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn scaling_keeps_its_rules(events in proptest::collection::vec(event(), 1..40)) {
        let mut world = World::registered(3, 1, 8);
        let policies = policies(&mut world);
        let mut watch = Watch { range: (1, 8), suspended: (false, false), last: None };
        for event in &events {
            play(&mut world, &policies, &mut watch, event)?;
        }
        prop_assert_eq!(world.cloud.state.all::<PendingAction>().count(), 0, "every trigger ends");
    }

    /// A constant load and alarms as CloudWatch would have them, minute by minute: tracking comes to rest, on the target's
    /// good side unless the range keeps it off.
    #[test]
    fn a_constant_load_comes_to_rest(load in 20.0..900.0_f64, start in 2_i64..10) {
        let mut world = World::registered(start, 2, 10);
        let policies = policies(&mut world);
        let (mut high, mut low, mut changes) = (0, 0, Vec::new());
        for _ in 0..60 {
            let before = world.desired();
            let metric = load / f64::from(before);
            (high, low) = (if metric > 70.0 { high + 1 } else { 0 }, if metric < 63.0 { low + 1 } else { 0 });
            let index = if high >= 3 { Some(0) } else { (low >= 15).then_some(1) };
            if let Some(index) = index {
                let (alarm, arn) = policies.0[index].clone();
                world.trigger(&alarm, &arn, metric);
            }
            world.pass(MINUTE);
            if world.desired() != before {
                changes.push(i64::from(world.desired()) - i64::from(before));
            }
        }
        prop_assert!(changes.len() <= 1, "{changes:?}");
        let metric = load / f64::from(world.desired());
        prop_assert!(metric <= 70.0 || world.desired() == 10);
    }
}
