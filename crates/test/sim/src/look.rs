//! What a test can see of a simulation.

use pileus_aws::ecs;
use pileus_compute::{Service, Task};

use crate::Sim;

impl Sim {
    /// The service `web` as the API shows it.
    ///
    /// # Panics
    /// It does not exist.
    pub fn service(&mut self) -> ecs::Service {
        let input = ecs::DescribeServicesRequest { services: vec!["web".into()], ..Default::default() };
        let mut found = self.cloud.ok::<ecs::ops::DescribeServices>(input).services.unwrap_or_default();
        found.pop().expect("the service web exists")
    }

    /// The service deployments of `web`, newest first.
    pub fn history(&mut self) -> Vec<ecs::ServiceDeploymentBrief> {
        let input = ecs::ListServiceDeploymentsRequest { service: "web".into(), ..Default::default() };
        self.cloud.ok::<ecs::ops::ListServiceDeployments>(input).service_deployments.unwrap_or_default()
    }

    /// How many live tasks each zone has.
    pub fn zones(&self) -> [usize; 2] {
        ["us-east-1a", "us-east-1b"].map(|zone| {
            let tasks = self.cloud.state.all::<Task>();
            tasks.filter(|(_, task)| task.is_live() && task.network.zone == zone).count()
        })
    }

    /// How many tasks have processes.
    pub fn running(&self) -> usize {
        self.machine.tasks.values().filter(|task| !task.state.ended).count()
    }

    /// From now on the fewest healthy tasks are watched.
    pub fn mark(&mut self) {
        self.watch.fewest_healthy = None;
    }

    /// The fewest healthy tasks after any transaction since the mark.
    pub fn fewest_healthy(&self) -> u32 {
        self.watch.fewest_healthy.unwrap_or(0)
    }

    /// Whether the controllers find nothing to change, and the machine nothing to do.
    pub fn is_quiet(&mut self) -> bool {
        let before = self.cloud.state.version();
        self.settle();
        self.cloud.state.version() == before && pileus_compute::effects(&self.cloud.state).is_empty()
    }

    /// Whether no record of a task or service is left.
    pub fn is_forgotten(&self) -> bool {
        let state = &self.cloud.state;
        state.all::<Task>().next().is_none() && state.all::<Service>().next().is_none()
    }

    /// The ids of the live tasks.
    pub fn tasks(&self) -> Vec<String> {
        let tasks = self.cloud.state.all::<Task>().filter(|(_, task)| task.is_live());
        tasks.map(|(_, task)| task.id.clone()).collect()
    }
}
