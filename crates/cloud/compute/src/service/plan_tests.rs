//! The worked examples of AWS's documentation, and the rules that the scheduler rests on, one view at a time.

use std::time::Duration;

use pileus_core::Timestamp;

use super::plan::{Action, FailedBy, Failure, Plan, StopWhy, Why, bounds, plan};
use super::record::Rollout;
use super::view::{Alarm, Breaker, Cause, DeploymentView, End, Health, Phase, ServiceView, TaskView};

const NOW: Timestamp = Timestamp::from_secs(10_000);

fn deployment(id: &str, rollout: Rollout) -> DeploymentView {
    DeploymentView {
        id: id.into(),
        rollout,
        desired: u32::MAX,
        failed_tasks: 0,
        retry_at: None,
        rollback: false,
        stuck: false,
        baking_since: None,
        shielded: false,
        zones: vec!["a".into(), "b".into()],
        balanced: true,
    }
}

/// A service whose deployment 1 is complete, with its tasks, healthy and spread over the zones.
fn steady(desired: u32, minimum: u32, maximum: u32) -> ServiceView {
    let mut view = ServiceView {
        desired,
        minimum_healthy_percent: minimum,
        maximum_percent: maximum,
        breaker: None,
        alarm: None,
        bake: Duration::ZERO,
        grace: Duration::ZERO,
        draining: false,
        rebalance: true,
        steady_at: Some(NOW),
        deployments: vec![deployment("1", Rollout::Completed)],
        tasks: Vec::new(),
        last_completed: Some("1".into()),
    };
    for index in 0..desired {
        add(&mut view, "1", Phase::Running, Health::Healthy);
        view.tasks[index as usize].zone = ["a", "b"][index as usize % 2].into();
    }
    view
}

/// The same when deployment 2 has just been created.
fn updated(desired: u32, minimum: u32, maximum: u32) -> ServiceView {
    let mut view = steady(desired, minimum, maximum);
    view.deployments[0].desired = desired;
    view.deployments.insert(0, deployment("2", Rollout::InProgress));
    view
}

fn add(view: &mut ServiceView, deployment: &str, phase: Phase, health: Health) {
    let healthy_at = (health == Health::Healthy).then_some(NOW);
    view.tasks.push(TaskView {
        id: format!("t{}", view.tasks.len()),
        deployment: deployment.into(),
        zone: "a".into(),
        phase,
        health,
        checked: false,
        protected_until: None,
        created_at: Timestamp::from_secs(view.tasks.len() as i64),
        started_at: (phase != Phase::Starting).then_some(Timestamp::from_secs(0)),
        healthy_at,
        end: None,
        counted: false,
    });
}

fn unhealthy() -> Health {
    Health::Unhealthy(Cause::Target {
        target_group: "tg".into(),
        port: 80,
        reason: "Request timed out".into(),
    })
}

fn starts(plan: &Plan) -> Vec<(&str, &str, Why)> {
    let starts = plan.actions.iter().filter_map(|action| match action {
        Action::Start { deployment, zone, why } => Some((deployment.as_str(), zone.as_str(), *why)),
        _ => None,
    });
    starts.collect()
}

fn stops(plan: &Plan) -> Vec<&str> {
    let stops = plan.actions.iter().filter_map(|action| match action {
        Action::Stop { task, .. } => Some(task.as_str()),
        _ => None,
    });
    stops.collect()
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html>
#[test]
fn bounds_of_the_developer_guide() {
    for (desired, minimum, maximum, expected) in [
        (4, 50, 200, (2, 8)),
        (2, 75, 200, (2, 4)),
        (3, 100, 125, (3, 3)),
        (4, 100, 200, (4, 8)),
        (1, 50, 150, (1, 1)),
        (0, 100, 200, (0, 0)),
        (5000, 100, 200, (5000, 10_000)),
    ] {
        assert_eq!(bounds(desired, minimum, maximum), expected, "{desired} {minimum} {maximum}");
    }
}

/// (desired, minimum, maximum) -> (starts, stops) of the first step of an update.
#[test]
fn the_first_step_of_an_update() {
    for (desired, minimum, maximum, started, stopped) in [
        // "desired 4, minimum 50: two may be stopped first" where nothing can start before.
        (4, 50, 100, 0, 2),
        // "desired 4, maximum 200: four may be started first".
        (4, 100, 200, 4, 0),
        // With room to start, nothing is stopped before its replacement is healthy.
        (4, 50, 200, 4, 0),
        // Capacity 8, desired 6: two more may start.
        (6, 100, 134, 2, 0),
        // 50 % at a time, both ways.
        (2, 50, 100, 0, 1),
        (2, 50, 150, 1, 0),
        // "desired 2, minimum 75: lower bound 2, none may be stopped"; "desired 3, maximum 125: none may start".
        (2, 75, 100, 0, 0),
        (3, 100, 125, 0, 0),
        // Everything at once.
        (3, 0, 100, 0, 3),
    ] {
        let plan = plan(&updated(desired, minimum, maximum), NOW);
        let case = format!("{desired} {minimum}/{maximum}: {:?}", plan.actions);
        assert_eq!((starts(&plan).len(), stops(&plan).len()), (started, stopped), "{case}");
        let stuck = plan.actions.iter().any(|action| matches!(action, Action::Stuck { .. }));
        assert_eq!(stuck, started + stopped == 0, "{case}");
    }
}

#[test]
fn an_old_task_stops_only_when_a_new_one_is_healthy() {
    let mut view = updated(2, 100, 200);
    add(&mut view, "2", Phase::Running, Health::Unknown);
    add(&mut view, "2", Phase::Starting, Health::Unknown);
    assert!(plan(&view, NOW).actions.is_empty());
    view.tasks[2].health = Health::Healthy;
    view.tasks[2].healthy_at = Some(NOW);
    let plan = plan(&view, NOW);
    assert_eq!(stops(&plan).len(), 1, "{plan:?}");
    assert!(plan.actions.contains(&Action::Keep { deployment: "1".into(), desired: 1 }));
}

#[test]
fn tasks_start_in_the_zone_with_the_fewest() {
    let plan = plan(&updated(4, 100, 200), NOW);
    let zones: Vec<&str> = starts(&plan).iter().map(|(_, zone, _)| *zone).collect();
    assert_eq!(zones, ["a", "b", "a", "b"]);
}

#[test]
fn scaling_in_takes_from_the_fullest_zone() {
    let mut view = steady(3, 100, 200);
    view.desired = 2;
    assert_eq!(stops(&plan(&view, NOW)), ["t2"], "zone a has two, the younger one goes");
}

#[test]
fn a_crashed_task_is_replaced_at_once() {
    let mut view = steady(2, 100, 200);
    view.tasks[1].phase = Phase::Left;
    view.tasks[1].end = Some(End::Exited);
    let first = plan(&view, NOW);
    assert_eq!(first.actions, [Action::CountFailure { task: "t1".into(), kind: Failure::Crashed }]);
    view.tasks[1].counted = true;
    assert_eq!(starts(&plan(&view, NOW)), [("1", "b", Why::Scale)]);
}

#[test]
fn during_an_update_a_crashed_old_task_is_replaced_by_its_own_revision() {
    let mut view = updated(2, 100, 200);
    add(&mut view, "2", Phase::Running, Health::Unknown);
    add(&mut view, "2", Phase::Running, Health::Unknown);
    view.tasks[0].phase = Phase::Left;
    assert_eq!(starts(&plan(&view, NOW)), [("1", "a", Why::Scale)]);
    // Unless that revision fails itself: the new one may be what repairs it.
    view.deployments[1].failed_tasks = 1;
    assert_eq!(starts(&plan(&view, NOW)), []);
}

#[test]
fn an_unhealthy_task_is_replaced_before_it_is_stopped() {
    let mut view = steady(2, 100, 200);
    view.tasks[0].health = unhealthy();
    let first = plan(&view, NOW);
    assert!(matches!(first.actions[..], [Action::CountFailure { kind: Failure::Unhealthy(_), .. }]));
    view.tasks[0].counted = true;
    let second = plan(&view, NOW);
    assert_eq!((starts(&second), stops(&second).len()), (vec![("1", "a", Why::Replace)], 0));
    add(&mut view, "1", Phase::Running, Health::Unknown);
    assert!(plan(&view, NOW).actions.is_empty(), "the replacement is not healthy yet");
    view.tasks[2].health = Health::Healthy;
    view.tasks[2].healthy_at = Some(NOW);
    let last = plan(&view, NOW);
    assert!(matches!(&last.actions[..], [Action::Stop { task, why: StopWhy::Unhealthy(_) }] if task == "t0"));
}

#[test]
fn where_there_is_no_room_unhealthy_tasks_go_one_by_one() {
    let mut view = steady(3, 100, 100);
    for task in &mut view.tasks[..2] {
        task.health = unhealthy();
        task.counted = true;
    }
    assert_eq!(stops(&plan(&view, NOW)), ["t0"]);
    view.tasks[0].phase = Phase::Leaving;
    assert_eq!(starts(&plan(&view, NOW)).len(), 1);
    add(&mut view, "1", Phase::Starting, Health::Unknown);
    assert!(plan(&view, NOW).actions.is_empty());
}

#[test]
fn nothing_starts_before_the_retry_time() {
    let mut view = steady(2, 100, 200);
    view.tasks.truncate(1);
    view.deployments[0].retry_at = Some(NOW + Duration::from_secs(10));
    let waiting = plan(&view, NOW);
    assert_eq!((waiting.actions.len(), waiting.wake_at), (0, Some(NOW + Duration::from_secs(10))));
    assert_eq!(starts(&plan(&view, NOW + Duration::from_secs(10))).len(), 1);
}

#[test]
fn the_breaker_fails_a_deployment_at_the_threshold() {
    let mut view = updated(2, 100, 200);
    view.breaker = Some(Breaker { rollback: true });
    view.deployments[0].failed_tasks = 2;
    assert!(!plan(&view, NOW).actions.iter().any(|action| matches!(action, Action::Fail { .. })));
    view.deployments[0].failed_tasks = 3;
    let fail = |to: Option<&str>| Action::Fail {
        deployment: "2".into(),
        roll_back_to: to.map(Into::into),
        because: FailedBy::Breaker,
    };
    assert_eq!(plan(&view, NOW).actions, [fail(Some("1"))]);
    view.breaker = Some(Breaker { rollback: false });
    assert_eq!(plan(&view, NOW).actions, [fail(None)]);
    view.breaker = None;
    assert!(!plan(&view, NOW).actions.contains(&fail(None)));
    // A rollback itself is never given up.
    view.breaker = Some(Breaker { rollback: true });
    view.deployments[0].rollback = true;
    assert!(!plan(&view, NOW).actions.contains(&fail(Some("1"))));
}

#[test]
fn a_failed_deployment_starts_nothing() {
    let mut view = steady(2, 100, 200);
    view.deployments[0].rollout = Rollout::Failed;
    view.tasks.truncate(1);
    assert!(plan(&view, NOW).actions.is_empty());
}

#[test]
fn a_deployment_completes_when_the_old_one_is_gone_and_all_tasks_are_healthy() {
    let mut view = updated(1, 100, 200);
    add(&mut view, "2", Phase::Running, Health::Healthy);
    view.tasks[0].phase = Phase::Leaving;
    assert_eq!(plan(&view, NOW).actions, [Action::Keep { deployment: "1".into(), desired: 0 }]);
    view.deployments[1].desired = 0;
    assert!(plan(&view, NOW).actions.is_empty(), "its connections still drain");
    view.tasks[0].phase = Phase::Left;
    assert_eq!(plan(&view, NOW).actions, [Action::Retire { deployment: "1".into() }]);
    view.deployments.pop();
    assert_eq!(plan(&view, NOW).actions, [Action::Complete { deployment: "2".into() }]);
}

#[test]
fn a_task_that_runs_for_a_moment_completes_nothing() {
    let mut view = steady(1, 100, 200);
    view.deployments[0] = DeploymentView { balanced: false, ..deployment("1", Rollout::InProgress) };
    view.tasks[0] = TaskView { started_at: Some(NOW), health: Health::Unknown, ..view.tasks[0].clone() };
    let early = plan(&view, NOW);
    assert_eq!((early.actions.len(), early.wake_at), (0, Some(NOW + Duration::from_secs(40))));
    view.tasks[0].healthy_at = Some(NOW);
    let late = plan(&view, NOW + Duration::from_secs(40));
    assert_eq!(late.actions, [Action::Complete { deployment: "1".into() }]);
}

#[test]
fn zones_are_balanced_by_a_start_and_then_a_stop() {
    let mut view = steady(4, 100, 200);
    view.tasks.iter_mut().for_each(|task| task.zone = "a".into());
    assert_eq!(starts(&plan(&view, NOW)), [("1", "b", Why::Rebalance)]);
    add(&mut view, "1", Phase::Running, Health::Unknown);
    view.tasks[4].zone = "b".into();
    assert!(plan(&view, NOW).actions.is_empty());
    view.tasks[4].health = Health::Healthy;
    view.tasks[4].healthy_at = Some(NOW);
    assert_eq!(stops(&plan(&view, NOW)), ["t3"]);
    view.rebalance = false;
    view.tasks.truncate(4);
    assert!(plan(&view, NOW).actions.is_empty());
}

#[test]
fn a_steady_service_says_so_again_after_six_hours() {
    let view = steady(2, 100, 200);
    let six_hours = NOW + Duration::from_secs(6 * 3600);
    assert_eq!(plan(&view, NOW), Plan { wake_at: Some(six_hours), ..Plan::default() });
    assert_eq!(plan(&view, six_hours).actions, [Action::Steady]);
}

#[test]
fn a_deleted_service_is_inactive_when_all_its_tasks_are_stopping() {
    let mut view = steady(2, 100, 200);
    view.draining = true;
    view.desired = 0;
    assert_eq!(stops(&plan(&view, NOW)), ["t0", "t1"]);
    view.tasks.iter_mut().for_each(|task| task.phase = Phase::Leaving);
    assert!(plan(&view, NOW).actions.is_empty());
    view.tasks.iter_mut().for_each(|task| task.phase = Phase::Left);
    assert_eq!(plan(&view, NOW).actions, [Action::Drained]);
}

#[test]
fn an_alarm_fails_the_deployment_in_progress_and_only_that() {
    let mut view = updated(2, 100, 200);
    view.alarm = Some(Alarm { rollback: true });
    let because = FailedBy::Alarm;
    let fail = Action::Fail { deployment: "2".into(), roll_back_to: Some("1".into()), because };
    assert_eq!(plan(&view, NOW).actions, [fail]);
    let mut view = steady(2, 100, 200);
    view.alarm = Some(Alarm { rollback: true });
    assert_eq!(plan(&view, NOW).actions, []);
}

#[test]
fn a_deployment_with_alarms_stands_for_a_while_before_it_is_complete() {
    let mut view = steady(2, 100, 200);
    (view.bake, view.deployments[0].rollout) = (Duration::from_secs(120), Rollout::InProgress);
    assert_eq!(plan(&view, NOW).actions, [Action::Bake { deployment: "1".into() }]);
    view.deployments[0].baking_since = Some(NOW);
    let end = NOW + Duration::from_secs(120);
    assert_eq!((plan(&view, NOW).actions, plan(&view, NOW).wake_at), (vec![], Some(end)));
    assert_eq!(plan(&view, end).actions, [Action::Complete { deployment: "1".into() }]);
    view.alarm = Some(Alarm { rollback: false });
    assert!(matches!(plan(&view, NOW).actions[..], [Action::Fail { .. }]));
    view.alarm = None;
    view.deployments[0].rollback = true;
    assert_eq!(plan(&view, NOW).actions, [Action::Complete { deployment: "1".into() }]);
}

#[test]
fn tasks_under_protection_stay_when_fewer_are_wanted() {
    let mut view = steady(4, 100, 200);
    view.desired = 1;
    for task in &mut view.tasks[..2] {
        task.protected_until = Some(NOW + Duration::from_secs(60));
    }
    let first = plan(&view, NOW);
    assert_eq!(stops(&first).len(), 2);
    assert!(stops(&first).iter().all(|task| ["t2", "t3"].contains(task)));
    view.tasks.truncate(2);
    let blocked = plan(&view, NOW);
    assert_eq!(blocked.actions, [Action::Shielded { deployment: "1".into(), tasks: 2 }]);
    assert_eq!(blocked.wake_at, Some(NOW + Duration::from_secs(60)));
    view.deployments[0].shielded = true;
    assert_eq!(plan(&view, NOW).actions, [], "it is said once");
    assert_eq!(stops(&plan(&view, NOW + Duration::from_secs(60))).len(), 1);
}

#[test]
fn a_deployment_replaces_what_is_not_under_protection() {
    let mut view = updated(2, 0, 100);
    view.tasks[0].protected_until = Some(NOW + Duration::from_secs(60));
    assert_eq!(stops(&plan(&view, NOW)), ["t1"]);
}

#[test]
fn a_task_with_a_container_check_waits_for_it_and_is_replaced_when_it_fails() {
    let mut view = steady(2, 100, 200);
    view.deployments[0].balanced = false;
    view.steady_at = None;
    for task in &mut view.tasks {
        (task.checked, task.health, task.healthy_at) = (true, Health::Unknown, None);
    }
    let waiting = plan(&view, NOW);
    assert_eq!(waiting.actions, [], "forty seconds have passed, but its check has not spoken");
    for task in &mut view.tasks {
        (task.health, task.healthy_at) = (Health::Healthy, Some(NOW));
    }
    view.tasks[0].health = Health::Unhealthy(Cause::Container);
    view.tasks[0].counted = true;
    assert_eq!(starts(&plan(&view, NOW)).len(), 1, "its replacement starts first");
    add(&mut view, "1", Phase::Running, Health::Healthy);
    let replaced = plan(&view, NOW).actions;
    let why = StopWhy::Unhealthy(Cause::Container);
    assert!(replaced.contains(&Action::Stop { task: "t0".into(), why }), "{replaced:?}");
}
