//! Deployments on the simulated machine: what a person would see, step by step.

use std::time::Duration;

use pileus_aws::ecs;
use pileus_sim::{Behaviour, Sim, seed};

const MINUTES: Duration = Duration::from_secs(60);
const GOOD: Behaviour = Behaviour::Good { ready: Duration::from_secs(5) };

fn configuration(minimum: i64, maximum: i64) -> ecs::DeploymentConfiguration {
    ecs::DeploymentConfiguration {
        minimum_healthy_percent: Some(minimum),
        maximum_percent: Some(maximum),
        deployment_circuit_breaker: Some(ecs::DeploymentCircuitBreaker { enable: true, rollback: true }),
        ..Default::default()
    }
}

/// A service of two good tasks that has settled, on revision 1.
fn settled(configuration: ecs::DeploymentConfiguration) -> (Sim, String) {
    let mut sim = Sim::new(seed(1));
    let first = sim.version(GOOD);
    sim.create(&first, 2, configuration);
    assert!(sim.settle_down(10 * MINUTES));
    (sim, first)
}

/// Without the warning that the simulated subnets, which have no way out, earn with each deployment.
fn messages(service: &ecs::Service) -> Vec<String> {
    let events = service.events.iter().flatten().rev();
    let told = events.filter_map(|event| event.message.clone());
    told.filter(|message| !message.contains("would fail on AWS")).collect()
}

/// The messages with ids and ARNs cut out.
fn shapes(service: &ecs::Service) -> Vec<String> {
    let shape = |message: &String| {
        let words = message.split(' ').map(|word| {
            let bare = word.trim_end_matches([')', '.', ',']);
            let id = bare.len() == 32 || bare.starts_with("arn:") || bare.starts_with("ecs-svc/");
            if id { word.replace(bare, "X") } else { word.to_owned() }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    messages(service).iter().map(shape).collect()
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html>
#[test]
fn a_rolling_update_tells_its_story_in_the_order_of_aws() {
    let mut sim = Sim::new(seed(1));
    let (first, second) = (sim.version(GOOD), sim.version(GOOD));
    sim.create(&first, 1, configuration(100, 200));
    assert!(sim.settle_down(10 * MINUTES));
    let before = shapes(&sim.service()).len();
    sim.deploy(&second);
    assert!(sim.settle_down(10 * MINUTES));
    let story = shapes(&sim.service()).split_off(before);
    assert_eq!(
        story,
        [
            "(service web) has started 1 tasks: (task X).",
            "(service web) registered 1 targets in (target-group X)",
            "(service web) has stopped 1 running tasks: (task X).",
            "(service web) deregistered 1 targets in (target-group X)",
            "(service web, taskSet X) has begun draining connections on 1 tasks.",
            "(service web) (deployment X) deployment completed.",
            "(service web) has reached a steady state.",
        ]
    );
}

#[test]
fn a_service_comes_up_spread_over_the_zones() {
    let (mut sim, _) = settled(configuration(100, 200));
    let service = sim.service();
    assert_eq!((service.running_count, service.pending_count), (Some(2), Some(0)));
    let deployments = service.deployments.unwrap();
    assert_eq!(deployments[0].rollout_state.as_deref(), Some("COMPLETED"));
    assert_eq!(sim.zones(), [1, 1]);
}

#[test]
fn half_at_a_time_both_ways() {
    // The fewest healthy tasks on the way from one version to the next, of four.
    for (minimum, maximum, fewest) in [(50, 100, 2), (50, 150, 4), (100, 200, 4), (0, 100, 0)] {
        let mut sim = Sim::new(seed(2));
        let (first, second) = (sim.version(GOOD), sim.version(GOOD));
        sim.create(&first, 4, configuration(minimum, maximum));
        assert!(sim.settle_down(10 * MINUTES));
        sim.mark();
        sim.deploy(&second);
        assert!(sim.settle_down(30 * MINUTES));
        assert_eq!(sim.service().task_definition, Some(second));
        assert_eq!(sim.fewest_healthy(), fewest, "{minimum}/{maximum}");
        assert_eq!(sim.zones(), [2, 2]);
    }
}

#[test]
fn bad_versions_are_rolled_back_and_never_touch_the_good_one() {
    for bad in [Behaviour::NoStart, Behaviour::Exits, Behaviour::Hangs] {
        let (mut sim, first) = settled(configuration(100, 200));
        let second = sim.version(bad);
        let original = sim.service().deployments.unwrap()[0].id.clone();
        sim.mark();
        sim.deploy(&second);
        assert!(sim.settle_down(60 * MINUTES), "{bad:?}");
        let service = sim.service();
        let deployments = service.deployments.clone().unwrap();
        assert_eq!(deployments.len(), 1, "{bad:?}: {:#?}", messages(&service));
        assert_eq!(deployments[0].task_definition.as_ref(), Some(&first));
        assert_eq!(deployments[0].id, original, "the old deployment itself is PRIMARY again");
        assert_eq!(deployments[0].rollout_state.as_deref(), Some("COMPLETED"));
        assert_eq!(sim.fewest_healthy(), 2, "{bad:?}");
        assert_eq!(sim.history()[0].status.as_deref(), Some("ROLLBACK_SUCCESSFUL"), "{bad:?}");
        let story = messages(&service);
        assert!(story.iter().any(|message| message.ends_with("deployment failed: tasks failed to start.")));
        assert!(story.iter().any(|message| message.contains(") rolling back to deployment ecs-svc/")));
    }
}

#[test]
fn a_version_whose_image_is_missing_is_rolled_back() {
    let (mut sim, first) = settled(configuration(100, 200));
    let second = sim.version_without_image();
    sim.deploy(&second);
    assert!(sim.settle_down(60 * MINUTES));
    assert_eq!(sim.service().task_definition, Some(first));
    assert_eq!(sim.history()[0].status.as_deref(), Some("ROLLBACK_SUCCESSFUL"));
}

#[test]
fn a_first_deployment_that_never_gets_healthy_fails_and_stays_failed() {
    for bad in [Behaviour::NoStart, Behaviour::Exits, Behaviour::Hangs] {
        let mut sim = Sim::new(seed(3));
        let first = sim.version(bad);
        sim.create(&first, 2, configuration(100, 200));
        assert!(sim.settle_down(60 * MINUTES), "{bad:?}");
        let deployment = sim.service().deployments.unwrap().remove(0);
        assert_eq!(deployment.rollout_state.as_deref(), Some("FAILED"), "{bad:?}");
        let reason = deployment.rollout_state_reason.unwrap();
        assert_eq!(reason, "ECS deployment circuit breaker: tasks failed to start.");
        assert_eq!(sim.history()[0].status.as_deref(), Some("ROLLBACK_FAILED"));
        let fixed = sim.version(GOOD);
        sim.deploy(&fixed);
        assert!(sim.settle_down(60 * MINUTES));
        assert_eq!(sim.service().deployments.unwrap()[0].rollout_state.as_deref(), Some("COMPLETED"));
    }
}

#[test]
fn without_the_breaker_starts_are_held_back_longer_and_longer() {
    let mut sim = Sim::new(seed(4));
    let first = sim.version(Behaviour::NoStart);
    sim.create(&first, 1, ecs::DeploymentConfiguration::default());
    sim.run(60 * MINUTES);
    let starts = messages(&sim.service()).iter().filter(|message| message.contains("has started")).count();
    assert!((6..=11).contains(&starts), "{starts} starts in an hour");
    let impaired = messages(&sim.service()).iter().any(|message| message.contains("unable to consistently"));
    assert!(impaired);
}

#[test]
fn two_quick_deployments_end_in_the_newer() {
    let (mut sim, _) = settled(configuration(100, 200));
    let (second, third) = (sim.version(Behaviour::Hangs), sim.version(GOOD));
    sim.deploy(&second);
    sim.run(Duration::from_secs(3));
    sim.deploy(&third);
    assert!(sim.settle_down(60 * MINUTES));
    let service = sim.service();
    assert_eq!(service.task_definition, Some(third));
    let statuses: Vec<String> = sim.history().into_iter().filter_map(|entry| entry.status).collect();
    assert_eq!(statuses, ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]);
}

#[test]
fn a_fix_replaces_a_version_that_fails_by_itself() {
    // The running version goes sick after it was deployed: its own replacements must not keep the fix out.
    for (minimum, maximum) in [(100, 200), (50, 100)] {
        let mut sim = Sim::new(seed(5));
        let first = sim.version(Behaviour::Sickens { after: Duration::from_secs(120) });
        sim.create(&first, 2, configuration(minimum, maximum));
        sim.run(5 * MINUTES);
        let fix = sim.version(GOOD);
        sim.deploy(&fix);
        assert!(sim.settle_down(60 * MINUTES), "{minimum}/{maximum}");
        assert_eq!(sim.service().task_definition.as_ref(), Some(&fix));
    }
}

#[test]
fn deleting_a_service_stops_everything() {
    let (mut sim, _) = settled(configuration(100, 200));
    sim.delete();
    sim.run(5 * MINUTES);
    assert_eq!(sim.service().status.as_deref(), Some("INACTIVE"));
    assert_eq!(sim.running(), 0);
    // And an hour later nothing of it is left.
    sim.run(70 * MINUTES);
    assert!(sim.is_forgotten());
}

#[test]
fn a_restart_of_the_engine_costs_no_task() {
    let (mut sim, _) = settled(configuration(100, 200));
    let before = sim.tasks();
    sim.restart();
    assert_eq!(sim.tasks(), before);
    assert!(sim.settle_down(10 * MINUTES));
    assert_eq!(sim.tasks(), before);
}

#[test]
fn a_task_that_was_lost_while_the_engine_was_down_is_replaced() {
    let (mut sim, _) = settled(configuration(100, 200));
    let lost = sim.tasks().remove(0);
    sim.restart_without(&lost);
    assert!(sim.settle_down(10 * MINUTES));
    assert!(!sim.tasks().contains(&lost));
    assert_eq!((sim.tasks().len(), sim.zones()), (2, [1, 1]));
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html>
#[test]
fn a_protected_task_holds_a_scale_in_up_until_its_time_is_over() {
    let (mut sim, _) = settled(configuration(100, 200));
    sim.protect(20);
    sim.protect(20);
    sim.protect(20);
    sim.protect(20);
    sim.scale(0);
    sim.run(10 * MINUTES);
    assert!(sim.running() > 0, "what is protected runs");
    let blocked = messages(&sim.service()).iter().filter(|it| it.contains("tasks under protection")).count();
    assert_eq!(blocked, 1);
    sim.run(15 * MINUTES);
    assert_eq!(sim.running(), 0);
}

#[test]
fn a_container_check_that_fails_has_its_task_replaced() {
    let mut sim = Sim::new(seed(1));
    sim.checked = true;
    let first = sim.version(GOOD);
    sim.create(&first, 2, configuration(100, 200));
    assert!(sim.settle_down(10 * MINUTES));
    let before = sim.tasks();
    sim.turn(false);
    assert!(sim.settle_down(10 * MINUTES));
    let after = sim.tasks();
    assert_eq!(after.iter().filter(|task| before.contains(task)).count(), 1);
    assert!(
        messages(&sim.service()).iter().any(|message| message.ends_with("failed container health checks."))
    );
}
