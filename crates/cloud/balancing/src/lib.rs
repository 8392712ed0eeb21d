//! Elastic Load Balancing v2: application load balancers, their listeners and rules, target groups and targets.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/>
//!
//! The state says what is desired; [`proxy_spec`] turns all of it into one value for the balancer. [`settle`] takes
//! note of what the balancer serves by, [`observe`] of what it reports, and [`plan`] says which drained targets are
//! to be forgotten. Other domains register and deregister targets through [`target`].
//!
//! **What is real:** HTTP listeners, target groups of type `ip`, every condition but regular expressions, and the
//! actions forward, redirect and fixed-response. Everything else is refused by name.

#![expect(clippy::needless_pass_by_value, reason = "every handler takes its input by value")]

mod attributes;
mod drain;
mod health;
mod listener;
mod load_balancer;
mod metrics;
mod observe;
mod resource;
mod rule;
mod spec;
mod tags;
pub mod target;
pub mod target_group;

#[cfg(test)]
mod tests;

pub use drain::{Action, apply, plan};
pub use health::{TargetHealthView, TargetState};
pub use metrics::{always_reported, host_counts, metrics};
pub use observe::{observe, settle};
pub use spec::proxy_spec;

use pileus_service::Router;
use pileus_state::Tables;

/// The tables of this crate.
pub fn tables(tables: &mut Tables) {
    tables
        .add::<load_balancer::LoadBalancer>()
        .add::<listener::Listener>()
        .add::<rule::Rule>()
        .add::<target_group::TargetGroup>()
        .add::<target::Target>()
        .add::<health::TargetHealth>();
}

/// The operations of this crate.
pub fn operations(router: &mut Router) {
    load_balancer::operations(router);
    listener::operations(router);
    rule::operations(router);
    target_group::operations(router);
    target::operations(router);
    tags::operations(router);
}
