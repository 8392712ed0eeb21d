//! Draining ends when it must, never before, and costs nothing at rest.

use std::time::Duration;

use pileus_aws::elbv2::{self, ops};
use pileus_contract::proxy::Health;
use proptest::prelude::*;

use super::{TARGET, World};
use crate::{apply, plan};

struct Draining {
    world: World,
    balancer: String,
    group: String,
}

/// A target in service, with this deregistration delay in seconds.
fn in_service(delay: u64) -> Draining {
    let mut world = World::new();
    let (balancer, group) = (world.balancer("web"), world.group("web"));
    world.listener(&balancer, 80, &group);
    world.cloud.ok::<ops::ModifyTargetGroupAttributes>(elbv2::ModifyTargetGroupAttributesInput {
        target_group_arn: group.clone(),
        attributes: vec![elbv2::TargetGroupAttribute {
            key: Some("deregistration_delay.timeout_seconds".into()),
            value: Some(delay.to_string()),
        }],
    });
    world.register(&group, TARGET);
    let spec = world.converge();
    world.report(&spec, TARGET, Health::Healthy);
    Draining { world, balancer, group }
}

impl Draining {
    /// One pass of the loop; returns how many actions it took.
    fn pass(&mut self) -> usize {
        let (actions, _) = plan(&self.world.cloud.state, self.world.cloud.now);
        self.world.cloud.write(|cx| actions.iter().for_each(|action| apply(cx.tx, action)));
        actions.len()
    }

    fn state(&mut self) -> Option<String> {
        self.world.health(&self.group).pop().map(|(_, state, _)| state)
    }
}

#[test]
fn a_target_drains_for_the_whole_delay() {
    let mut it = in_service(300);
    let deregistered = it.world.cloud.now;
    let group = it.group.clone();
    it.world.deregister(&group, TARGET);
    assert!(it.world.converge().target_groups[0].targets[0].draining);
    let (actions, wake_at) = plan(&it.world.cloud.state, it.world.cloud.now);
    assert_eq!((actions.len(), wake_at), (0, Some(deregistered + Duration::from_secs(300))));
    it.world.cloud.advance(Duration::from_secs(299));
    it.world.deregister(&group, TARGET);
    assert_eq!((it.pass(), it.state().as_deref()), (0, Some("draining")));
    it.world.cloud.advance(Duration::from_secs(1));
    assert_eq!((it.pass(), it.state()), (1, None));
    assert_eq!(plan(&it.world.cloud.state, it.world.cloud.now), (Vec::new(), None));
}

#[test]
fn an_action_that_comes_too_late_does_nothing() {
    let mut it = in_service(10);
    let group = it.group.clone();
    it.world.deregister(&group, TARGET);
    it.world.cloud.advance(Duration::from_secs(10));
    let (actions, _) = plan(&it.world.cloud.state, it.world.cloud.now);
    it.world.register(&group, TARGET);
    it.world.deregister(&group, TARGET);
    it.world.cloud.write(|cx| actions.iter().for_each(|action| apply(cx.tx, action)));
    assert_eq!(it.state().as_deref(), Some("draining"), "it drains anew");
}

#[test]
fn without_a_load_balancer_there_is_nothing_to_drain() {
    let mut it = in_service(300);
    let group = it.group.clone();
    it.world.deregister(&group, TARGET);
    let delete = elbv2::DeleteLoadBalancerInput { load_balancer_arn: it.balancer.clone() };
    it.world.cloud.ok::<ops::DeleteLoadBalancer>(delete);
    assert_eq!((it.pass(), it.state()), (1, None));
    it.world.register(&group, TARGET);
    it.world.deregister(&group, TARGET);
    assert_eq!(it.state(), None, "a target of an unused group is gone at once");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the delay and however often the loop looks, draining ends at its end and not before, and then the
    /// loop rests.
    #[test]
    fn draining_ends_and_never_early(delay in 0_u64..=3600, steps in proptest::collection::vec(1_u64..1200, 1..12)) {
        let mut it = in_service(delay);
        prop_assert_eq!(it.pass(), 0, "nothing to do at rest");
        let group = it.group.clone();
        it.world.deregister(&group, TARGET);
        let mut passed = 0;
        for step in steps.into_iter().chain([3600]) {
            it.world.cloud.advance(Duration::from_secs(step));
            passed += step;
            let wake_at = plan(&it.world.cloud.state, it.world.cloud.now).1;
            it.pass();
            let expected = if passed < delay { Some("draining".to_owned()) } else { None };
            prop_assert_eq!(it.state(), expected);
            prop_assert_eq!(wake_at.is_some(), passed < delay);
        }
        prop_assert_eq!(it.pass(), 0, "nothing to do at rest");
    }
}
