//! Services: a number of tasks kept running, placed over zones, behind load balancers, and replaced by deployments.
//!
//! What users ask for comes in through `create` and `update`; [`plan`](self::plan) decides what to do about it, and
//! `apply` does it.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html>

pub(crate) mod apply;
mod breaker;
mod create;
mod describe;
pub(crate) mod events;
mod fleet;
mod history;
pub(crate) mod observe;
pub(crate) mod plan;
pub(crate) mod record;
mod rollout;
pub(crate) mod scaling;
pub(crate) mod update;
pub(crate) mod view;

#[cfg(test)]
mod api_tests;
#[cfg(test)]
mod plan_tests;

use pileus_aws::ecs::ops;
use pileus_service::Router;

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateService>(create::create_service)
        .on::<ops::UpdateService>(update::update_service)
        .on::<ops::DeleteService>(update::delete_service)
        .on::<ops::DescribeServices>(describe::describe_services)
        .on::<ops::ListServices>(describe::list_services)
        .on::<ops::ListServiceDeployments>(history::list_service_deployments)
        .on::<ops::DescribeServiceDeployments>(history::describe_service_deployments)
        .on::<ops::DescribeServiceRevisions>(history::describe_service_revisions)
        .on::<ops::StopServiceDeployment>(history::stop_service_deployment);
}
