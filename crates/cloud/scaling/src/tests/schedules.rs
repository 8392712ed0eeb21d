//! Scheduled actions on the clock.

use super::*;

fn action(name: &str, schedule: &str, min: Option<i64>, max: Option<i64>) -> aas::PutScheduledActionRequest {
    aas::PutScheduledActionRequest {
        service_namespace: "ecs".into(),
        resource_id: WEB.into(),
        scalable_dimension: DIMENSION.into(),
        scheduled_action_name: name.into(),
        schedule: Some(schedule.into()),
        scalable_target_action: Some(aas::ScalableTargetAction { min_capacity: min, max_capacity: max }),
        ..Default::default()
    }
}

fn shape(world: &mut World, name: &str) -> aas::ScheduledAction {
    let input = aas::DescribeScheduledActionsRequest {
        service_namespace: "ecs".into(),
        scheduled_action_names: Some(vec![name.into()]),
        ..Default::default()
    };
    world.cloud.ok::<ops::DescribeScheduledActions>(input).scheduled_actions.unwrap().remove(0)
}

/// The tutorial "Getting started with scheduled scaling": out to a new minimum, then in to a new maximum, and the
/// activities in AWS's words.
#[test]
fn the_published_tutorial() {
    let mut world = World::registered(5, 5, 10);
    let at =
        |world: &World, minutes: u32| (world.cloud.now + MINUTE * minutes).format("at(%Y-%m-%dT%H:%M:%S)");
    let (first, second) = (at(&world, 5), at(&world, 10));
    world.cloud.ok::<ops::PutScheduledAction>(action(
        "my-first-scheduled-action",
        &first,
        Some(15),
        Some(20),
    ));
    world.cloud.ok::<ops::PutScheduledAction>(action(
        "my-second-scheduled-action",
        &second,
        Some(5),
        Some(10),
    ));
    let due = world.reconcile().expect("an action is due");
    assert_eq!(due, world.cloud.now + MINUTE * 5);
    world.cloud.advance(MINUTE * 5);
    world.reconcile();
    assert_eq!(world.desired(), 15);
    let told = |activity: &aas::ScalingActivity| {
        (
            activity.description.clone().unwrap(),
            activity.cause.clone().unwrap(),
            activity.status_code.clone().unwrap(),
        )
    };
    let words = |description: &str, cause: &str, status: &str| {
        (description.to_owned(), cause.to_owned(), status.to_owned())
    };
    let activities = world.activities();
    assert_eq!(
        activities.iter().map(told).collect::<Vec<_>>(),
        [
            words("Setting desired count to 15.", "minimum capacity was set to 15", "InProgress"),
            words(
                "Setting min capacity to 15 and max capacity to 20",
                "scheduled action name my-first-scheduled-action was triggered",
                "Successful"
            ),
        ]
    );
    assert_eq!(
        activities[1].status_message.as_deref(),
        Some("Successfully set min capacity to 15 and max capacity to 20")
    );
    world.pass(MINUTE * 5);
    assert_eq!(world.desired(), 10);
    assert_eq!(
        told(&world.newest()),
        words("Setting desired count to 10.", "maximum capacity was set to 10", "Successful")
    );
    assert_eq!(world.reconcile(), None, "nothing is due any more");
}

#[test]
fn a_rate_begins_at_the_start_and_stops_at_the_end() {
    let mut world = World::registered(2, 1, 10);
    let now = world.cloud.now;
    world.cloud.ok::<ops::PutScheduledAction>(aas::PutScheduledActionRequest {
        start_time: Some(now + MINUTE),
        end_time: Some(now + MINUTE * 12),
        ..action("rate", "rate(5 minutes)", Some(4), None)
    });
    let mut due = Vec::new();
    while let Some(at) = world.reconcile() {
        due.push((at.millis() - now.millis()) / 60_000);
        world.set_desired(1);
        world.cloud.advance(at.since(world.cloud.now));
        world.settle();
        assert_eq!(world.desired(), 4);
    }
    assert_eq!(due, [1, 6, 11]);
}

#[test]
fn what_was_missed_is_done_once() {
    let mut world = World::registered(2, 1, 10);
    world.cloud.ok::<ops::PutScheduledAction>(action("cron", "cron(0/10 * * * ? *)", Some(3), None));
    world.cloud.restart();
    world.cloud.advance(Duration::from_secs(3600));
    world.cloud.write(|cx| pileus_compute::adopt(cx.tx, Vec::new()));
    let next = world.reconcile().expect("it recurs");
    assert!(next > world.cloud.now);
    let runs = world.activities().iter().filter(|a| a.cause.as_deref().unwrap().contains("cron")).count();
    assert_eq!(runs, 1);
}

#[test]
fn suspended_actions_are_skipped() {
    let mut world = World::registered(2, 1, 10);
    let suspend = |asleep| aas::RegisterScalableTargetRequest {
        suspended_state: Some(aas::SuspendedState {
            scheduled_scaling_suspended: Some(asleep),
            ..Default::default()
        }),
        ..range(1, 10)
    };
    world.cloud.ok::<ops::RegisterScalableTarget>(suspend(true));
    world.cloud.ok::<ops::PutScheduledAction>(action("rate", "rate(1 hour)", Some(6), None));
    world.pass(MINUTE * 60);
    assert_eq!((world.desired(), world.activities().len()), (2, 0));
    world.cloud.ok::<ops::RegisterScalableTarget>(suspend(false));
    world.pass(MINUTE);
    assert_eq!(world.desired(), 2, "what has passed is not made up for");
    world.pass(MINUTE * 60);
    assert_eq!(world.desired(), 6);
}

/// "If the maximum capacity is less than the value specified for minimum capacity, you must specify a new minimum and
/// maximum capacity, and not just the minimum capacity."
#[test]
fn a_range_that_is_none_fails() {
    let mut world = World::registered(2, 1, 3);
    world.cloud.ok::<ops::PutScheduledAction>(action("rate", "rate(1 hour)", Some(6), None));
    world.pass(MINUTE * 60);
    assert_eq!(world.desired(), 2);
    assert_eq!(world.newest().status_code.as_deref(), Some("Failed"));
}

#[test]
fn put_describe_delete() {
    let mut world = World::registered(2, 1, 10);
    world.cloud.ok::<ops::PutScheduledAction>(aas::PutScheduledActionRequest {
        timezone: Some("Europe/Berlin".into()),
        start_time: Some(world.cloud.now + MINUTE),
        ..action("night", "cron(0 22 * * ? *)", Some(1), Some(2))
    });
    let first = shape(&mut world, "night");
    let arn = first.scheduled_action_arn.clone().unwrap();
    assert!(arn.starts_with("arn:aws:autoscaling:us-east-1:000000000000:scheduledAction:"), "{arn}");
    assert!(arn.ends_with(":resource/ecs/service/default/web:scheduledActionName/night"), "{arn}");
    world.cloud.ok::<ops::PutScheduledAction>(aas::PutScheduledActionRequest {
        schedule: None,
        scalable_target_action: Some(aas::ScalableTargetAction { min_capacity: Some(2), max_capacity: None }),
        ..action("night", "", None, None)
    });
    let second = shape(&mut world, "night");
    assert_eq!(second.schedule, first.schedule);
    assert_eq!((second.timezone, second.start_time), (first.timezone, None));
    let action_of = |min, max| Some(aas::ScalableTargetAction { min_capacity: min, max_capacity: max });
    assert_eq!(second.scalable_target_action, action_of(Some(2), None));
    let delete = || aas::DeleteScheduledActionRequest {
        service_namespace: "ecs".into(),
        resource_id: WEB.into(),
        scalable_dimension: DIMENSION.into(),
        scheduled_action_name: "night".into(),
    };
    world.cloud.ok::<ops::DeleteScheduledAction>(delete());
    assert_eq!(world.cloud.code::<ops::DeleteScheduledAction>(delete()), "ObjectNotFoundException");
}

#[test]
fn what_is_refused() {
    let mut world = World::registered(2, 1, 10);
    let past = world.cloud.now.format("at(%Y-%m-%dT%H:%M:%S)");
    let now = world.cloud.now;
    for (input, code) in [
        (action("a", "every day", Some(1), None), "ValidationException"),
        (action("a", &past, Some(1), None), "ValidationException"),
        (action("a", "rate(1 hour)", None, None), "ValidationException"),
        (action("a", "rate(1 hour)", Some(5), Some(4)), "ValidationException"),
        (action("a", "rate(1 hour)", Some(-1), None), "ValidationException"),
        (action(" a", "rate(1 hour)", Some(1), None), "ValidationException"),
        (action("a:b", "rate(1 hour)", Some(1), None), "ValidationException"),
        (
            aas::PutScheduledActionRequest { schedule: None, ..action("a", "", Some(1), None) },
            "ValidationException",
        ),
        (
            aas::PutScheduledActionRequest {
                timezone: Some("Mars".into()),
                ..action("a", "rate(1 hour)", Some(1), None)
            },
            "ValidationException",
        ),
        (
            aas::PutScheduledActionRequest {
                start_time: Some(now + MINUTE),
                end_time: Some(now),
                ..action("a", "rate(1 hour)", Some(1), None)
            },
            "ValidationException",
        ),
        (
            aas::PutScheduledActionRequest {
                resource_id: "service/default/other".into(),
                ..action("a", "rate(1 hour)", Some(1), None)
            },
            "ObjectNotFoundException",
        ),
    ] {
        assert_eq!(world.cloud.code::<ops::PutScheduledAction>(input.clone()), code, "{input:?}");
    }
}
