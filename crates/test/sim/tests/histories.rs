//! Generated histories: whatever users and faults do, the invariants hold and the service ends well.

use std::time::Duration;

use pileus_aws::ecs;
use pileus_sim::{Behaviour, Sim};
use proptest::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
enum Act {
    Deploy(Behaviour),
    Force,
    Scale(i64),
    Crash,
    Turn(bool),
    /// For so many minutes.
    Protect(i64),
    Restart,
    Wait(u64),
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        4 => (0_u64..20).prop_map(|seconds| Behaviour::Good { ready: Duration::from_secs(seconds) }),
        1 => Just(Behaviour::NoStart),
        1 => Just(Behaviour::Exits),
        1 => Just(Behaviour::Hangs),
        1 => (10_u64..200).prop_map(|seconds| Behaviour::Sickens { after: Duration::from_secs(seconds) }),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => behaviour().prop_map(Act::Deploy),
        1 => Just(Act::Force),
        2 => (0_i64..6).prop_map(Act::Scale),
        3 => Just(Act::Crash),
        2 => any::<bool>().prop_map(Act::Turn),
        1 => (1_i64..20).prop_map(Act::Protect),
        2 => Just(Act::Restart),
        4 => (0_u64..90).prop_map(Act::Wait),
    ]
}

fn percentages() -> impl Strategy<Value = (i64, i64)> {
    prop_oneof![Just((100, 200)), Just((50, 100)), Just((50, 150)), Just((0, 100)), Just((100, 150))]
}

fn perform(sim: &mut Sim, act: &Act) {
    match act {
        Act::Deploy(behaviour) => {
            let version = sim.version(*behaviour);
            sim.deploy(&version);
        }
        Act::Force => sim.update(|request| request.force_new_deployment = Some(true)),
        Act::Scale(desired) => sim.scale(*desired),
        Act::Crash => sim.crash(),
        Act::Turn(healthy) => sim.turn(*healthy),
        Act::Protect(minutes) => sim.protect(*minutes),
        Act::Restart => sim.restart(),
        Act::Wait(seconds) => sim.run(Duration::from_secs(*seconds)),
    }
}

fn configuration((minimum, maximum): (i64, i64), breaker: bool) -> ecs::DeploymentConfiguration {
    ecs::DeploymentConfiguration {
        minimum_healthy_percent: Some(minimum),
        maximum_percent: Some(maximum),
        deployment_circuit_breaker: Some(ecs::DeploymentCircuitBreaker {
            enable: breaker,
            rollback: breaker,
        }),
        ..Default::default()
    }
}

/// All that is wanted runs, healthy and balanced, and there is nothing left to do.
fn assert_steady(sim: &mut Sim) {
    let service = sim.service();
    let events: Vec<_> = service.events.iter().flatten().filter_map(|event| event.message.clone()).collect();
    let deployments = service.deployments.iter().flatten().map(|deployment| {
        let (id, rollout) = (deployment.id.as_deref(), deployment.rollout_state.as_deref());
        format!("{id:?} {rollout:?} {:?}/{:?}", deployment.running_count, deployment.desired_count)
    });
    let story = format!("{:#?}\n{events:#?}", deployments.collect::<Vec<_>>());
    assert_eq!(service.deployments.as_ref().map(Vec::len), Some(1), "{story}");
    assert_eq!(service.running_count, service.desired_count, "{story}");
    assert_eq!(service.pending_count, Some(0), "{story}");
    let [one, other] = sim.zones();
    assert!(one.abs_diff(other) <= 1, "{one} and {other} tasks in the zones");
    assert!(sim.is_quiet(), "there is something left to do");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_history_ends_steady(
        seed in any::<u64>(),
        percentages in percentages(),
        breaker in any::<bool>(),
        checked in any::<bool>(),
        desired in 0_i64..5,
        // With one task, most percentages allow no update at all.
        at_last in 2_i64..5,
        acts in proptest::collection::vec(act(), 1..14),
    ) {
        let mut sim = Sim::new(pileus_sim::seed(seed));
        sim.checked = checked;
        let first = sim.version(Behaviour::Good { ready: Duration::from_secs(3) });
        sim.create(&first, desired, configuration(percentages, breaker));
        for act in &acts {
            perform(&mut sim, act);
        }
        let last = sim.version(Behaviour::Good { ready: Duration::from_secs(3) });
        sim.update(|request| {
            request.task_definition = Some(last.clone());
            request.desired_count = Some(at_last);
        });
        prop_assert!(sim.settle_down(4 * HOUR), "the service does not come to rest");
        prop_assert_eq!(sim.service().task_definition, Some(last));
        assert_steady(&mut sim);
    }

    /// With the circuit breaker, a bad version ends in the last one that completed, and costs no healthy task of it.
    #[test]
    fn a_bad_deployment_ends_in_the_last_completed_one(
        seed in any::<u64>(),
        percentages in percentages(),
        desired in 2_i64..6,
        bad in prop_oneof![Just(Behaviour::NoStart), Just(Behaviour::Exits), Just(Behaviour::Hangs)],
        faults in proptest::collection::vec(prop_oneof![Just(Act::Crash), Just(Act::Restart), (0_u64..60).prop_map(Act::Wait)], 0..6),
    ) {
        let mut sim = Sim::new(pileus_sim::seed(seed));
        let first = sim.version(Behaviour::Good { ready: Duration::from_secs(3) });
        sim.create(&first, desired, configuration(percentages, true));
        prop_assert!(sim.settle_down(HOUR));
        let version = sim.version(bad);
        sim.deploy(&version);
        for fault in &faults {
            perform(&mut sim, fault);
        }
        prop_assert!(sim.settle_down(4 * HOUR), "the service does not come to rest");
        prop_assert_eq!(sim.service().task_definition, Some(first));
        let status = sim.history().remove(0).status;
        prop_assert_eq!(status.as_deref(), Some("ROLLBACK_SUCCESSFUL"));
        assert_steady(&mut sim);
    }
}

/// How many histories a run tries: more with `PILEUS_HISTORIES`.
fn cases() -> u32 {
    std::env::var("PILEUS_HISTORIES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60)
}
