//! Elastic Container Service on Fargate: clusters, task definitions, services and tasks.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/>
//!
//! The handlers write what users want; [`reconcile`] moves tasks and services on, as one pure step over a
//! transaction; [`machine`] says what Linux has to do for it and takes in what Linux reports.
//!
//! **What is real:** the launch type FARGATE with network mode awsvpc, REPLICA services with rolling updates, the
//! circuit breaker, deployment alarms, rollback, and zone rebalancing. Everything else is refused by name.

#![expect(clippy::needless_pass_by_value, reason = "every handler takes its input by value")]

mod account_setting;
mod awsvpc;
mod capacity_provider;
mod cluster;
mod error;
pub mod machine;
mod metrics;
mod neighbours;
mod reconcile;
mod service;
mod tags;
mod task;
mod task_definition;

#[cfg(test)]
mod testing;

pub use machine::{Effect, Report, TaskRef, adopt, effects, observe};
pub use metrics::{TaskLoad, metrics, running};
pub use reconcile::{Outcome, reconcile};
pub use service::record::{Deployment, Rollout, Service, ServiceDeployment, ServiceStatus};
pub use service::scaling::{Capacity, capacity, set_desired_count};
pub use task::execution::{Secrets, secrets};
pub use task::logs::{LogRoute, log_routes};
pub use task::metadata::metadata;
pub use task::record::{StopCode, Task, TaskStatus};
pub use task::spec::{StartFailure, credentials, task_spec};

use pileus_service::Router;
use pileus_state::Tables;

/// The tables of this crate.
pub fn tables(tables: &mut Tables) {
    tables
        .add::<cluster::Cluster>()
        .add::<task_definition::record::TaskDefinition>()
        .add::<task_definition::record::TaskFamily>()
        .add::<account_setting::AccountSetting>()
        .add::<Service>()
        .add::<service::record::ServiceEvents>()
        .add::<service::record::Revision>()
        .add::<ServiceDeployment>()
        .add::<Task>()
        .add::<machine::TaskObservation>()
        .add::<machine::MachineListed>();
}

/// The operations of this crate.
pub fn operations(router: &mut Router) {
    cluster::operations(router);
    capacity_provider::operations(router);
    account_setting::operations(router);
    task_definition::operations(router);
    service::operations(router);
    task::operations(router);
    tags::operations(router);
}
