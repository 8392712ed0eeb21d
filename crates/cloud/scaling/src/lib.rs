//! Application Auto Scaling of ECS services: scalable targets, their policies and scheduled actions, and what those do.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/>
//!
//! The handlers write what users want; [`reconcile`] carries it out, as one pure step over a transaction. It sets the
//! desired count of services, which is all that scaling is; the ECS scheduler does the rest.
//!
//! **What is real:** step scaling by the user's alarms, target tracking with a pair of alarms of its own, scheduled
//! actions. Predictive scaling and every namespace but `ecs` are refused by name.

#![expect(clippy::needless_pass_by_value, reason = "every handler takes its input by value")]

mod activity;
mod decide;
mod policy;
mod progress;
mod reconcile;
mod resource;
mod schedule;
mod tags;
mod target;

#[cfg(test)]
mod tests;

pub use activity::{ScalingActivity, Status};
pub use reconcile::{expire, reconcile};
pub use target::ScalableTarget;

use pileus_service::Router;
use pileus_state::Tables;

/// The tables of this crate.
pub fn tables(tables: &mut Tables) {
    tables
        .add::<ScalableTarget>()
        .add::<policy::ScalingPolicy>()
        .add::<schedule::action::ScheduledAction>()
        .add::<ScalingActivity>()
        .add::<progress::Progress>();
}

/// The operations of this crate.
pub fn operations(router: &mut Router) {
    target::operations(router);
    policy::operations(router);
    schedule::action::operations(router);
    activity::operations(router);
    tags::operations(router);
}
