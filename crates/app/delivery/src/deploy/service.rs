//! The log group, the cluster, the task definition and the service.

use std::collections::BTreeMap;
use std::time::Instant;

use pileus_aws::ecs::{
    AwsVpcConfiguration, ClusterSetting, ContainerDefinition, CreateClusterRequest, CreateServiceRequest,
    DeploymentCircuitBreaker, DeploymentConfiguration, DescribeClustersRequest, DescribeServicesRequest,
    DescribeTaskDefinitionRequest, KeyValuePair, LoadBalancer, LogConfiguration, NetworkConfiguration,
    PortMapping, RegisterTaskDefinitionRequest, Service, Tag, TaskDefinition, UpdateServiceRequest, ops,
};
use pileus_aws::logs::{
    CreateLogGroupRequest, DescribeLogGroupsRequest, PutRetentionPolicyRequest, ops as logs_ops,
};

use super::balancing::Balancer;
use super::network::Network;
use super::roles::Roles;
use super::rollout::{event_ids, has_failed};
use super::{APP_TAG, DeployError, Deployment, Outcome, absent, given};
use crate::status::is_settled;

/// Health checks come this often (in seconds) while a new version is rolled out: the shortest interval of an ALB.
const ROLLOUT_CHECK_INTERVAL: u32 = 5;
/// How long a new task may fail its checks while it starts, in seconds.
const GRACE_SECONDS: i64 = 30;
/// What became of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// The service runs what was asked for already.
    None,
    Done,
}

impl Deployment<'_> {
    pub(super) async fn log_group(&mut self) -> Result<String, DeployError> {
        let started = Instant::now();
        let name = format!("/ecs/{}", self.manifest.name);
        let wanted = Some(i64::from(self.manifest.logs.retention_days));
        let request =
            DescribeLogGroupsRequest { log_group_name_prefix: Some(name.clone()), ..Default::default() };
        let found =
            self.client.call::<logs_ops::DescribeLogGroups>(request).await?.log_groups.unwrap_or_default();
        let found = found.into_iter().find(|group| group.log_group_name.as_ref() == Some(&name));
        let mut outcome = Outcome::Unchanged;
        if found.is_none() {
            outcome = Outcome::Created;
            let tags = Some(BTreeMap::from([(APP_TAG.to_owned(), self.manifest.name.clone())]));
            let request = CreateLogGroupRequest { log_group_name: name.clone(), tags, ..Default::default() };
            self.client.call::<logs_ops::CreateLogGroup>(request).await?;
        }
        if found.and_then(|group| group.retention_in_days) != wanted {
            let days = i64::from(self.manifest.logs.retention_days);
            let request = PutRetentionPolicyRequest { log_group_name: name.clone(), retention_in_days: days };
            self.client.call::<logs_ops::PutRetentionPolicy>(request).await?;
            if outcome == Outcome::Unchanged {
                outcome = Outcome::Updated;
            }
        }
        self.resource("log group", &name, outcome, started);
        Ok(name)
    }

    pub(super) async fn cluster(&mut self) -> Result<String, DeployError> {
        let (started, name) = (Instant::now(), self.manifest.name.clone());
        let request = DescribeClustersRequest { clusters: Some(vec![name.clone()]), ..Default::default() };
        let found = self.client.call::<ops::DescribeClusters>(request).await?.clusters.unwrap_or_default();
        if found.iter().any(|cluster| cluster.status.as_deref() == Some("ACTIVE")) {
            self.resource("cluster", &name, Outcome::Unchanged, started);
            return Ok(name);
        }
        let insights =
            ClusterSetting { name: Some("containerInsights".into()), value: Some("enhanced".into()) };
        let request = CreateClusterRequest {
            cluster_name: Some(name.clone()),
            settings: Some(vec![insights]),
            tags: self.ecs_tags(),
            ..Default::default()
        };
        self.client.call::<ops::CreateCluster>(request).await?;
        self.resource("cluster", &name, Outcome::Created, started);
        Ok(name)
    }

    /// The revision for this image and configuration: the one that the service has, or the newest one, if it is the
    /// same; else a new one.
    pub(super) async fn task_definition(
        &mut self,
        cluster: &str,
        image: &str,
        roles: &Roles,
        log_group: &str,
    ) -> Result<String, DeployError> {
        let (started, family) = (Instant::now(), self.manifest.name.clone());
        let wanted = self.definition(image, roles, log_group);
        let in_use = self.active_service(cluster).await?.and_then(|service| service.task_definition);
        for candidate in in_use.into_iter().chain([family.clone()]) {
            let request = DescribeTaskDefinitionRequest { task_definition: candidate, ..Default::default() };
            let found = absent(
                self.client.call::<ops::DescribeTaskDefinition>(request).await,
                &["ClientException", "InvalidParameterException"],
            )?;
            let found = found.and_then(|found| found.task_definition);
            if let Some(found) = found.filter(|found| is_same(found, &wanted)) {
                let revision = found.revision.unwrap_or_default();
                let name = format!("{family}:{revision}");
                self.resource("task definition", &name, Outcome::Unchanged, started);
                return given(found.task_definition_arn, &family, "taskDefinitionArn");
            }
        }
        let registered = self.client.call::<ops::RegisterTaskDefinition>(wanted).await?.task_definition;
        let registered = given(registered, &family, "taskDefinition")?;
        let revision = registered.revision.unwrap_or_default();
        self.resource("task definition", &format!("{family}:{revision}"), Outcome::Created, started);
        given(registered.task_definition_arn, &family, "taskDefinitionArn")
    }

    fn definition(&self, image: &str, roles: &Roles, log_group: &str) -> RegisterTaskDefinitionRequest {
        let manifest = self.manifest;
        let pair =
            |name: &str, value: &str| KeyValuePair { name: Some(name.into()), value: Some(value.into()) };
        let mut environment: Vec<_> = manifest.env.iter().map(|(name, value)| pair(name, value)).collect();
        if !manifest.env.contains_key("PORT") {
            environment.push(pair("PORT", &manifest.port.to_string()));
        }
        let options = BTreeMap::from([
            ("awslogs-group".to_owned(), log_group.to_owned()),
            ("awslogs-region".to_owned(), self.client.region().to_owned()),
            ("awslogs-stream-prefix".to_owned(), "app".to_owned()),
        ]);
        let container = ContainerDefinition {
            name: Some("app".into()),
            image: Some(image.to_owned()),
            essential: Some(true),
            environment: Some(environment),
            port_mappings: Some(vec![PortMapping {
                container_port: Some(i64::from(manifest.port)),
                protocol: Some("tcp".into()),
                ..Default::default()
            }]),
            log_configuration: Some(LogConfiguration {
                log_driver: "awslogs".into(),
                options: Some(options),
                ..Default::default()
            }),
            ..Default::default()
        };
        RegisterTaskDefinitionRequest {
            family: manifest.name.clone(),
            container_definitions: vec![container],
            network_mode: Some("awsvpc".into()),
            requires_compatibilities: Some(vec!["FARGATE".into()]),
            cpu: Some(manifest.cpu.to_string()),
            memory: Some(manifest.memory.to_string()),
            execution_role_arn: Some(roles.execution.clone()),
            task_role_arn: Some(roles.task.clone()),
            tags: self.ecs_tags(),
            ..Default::default()
        }
    }

    /// Creates or updates the service and watches it until it is steady.
    pub(super) async fn service(
        &mut self,
        cluster: &str,
        definition: &str,
        network: &Network,
        balancer: &Balancer,
    ) -> Result<Rollout, DeployError> {
        let started = Instant::now();
        let found = self.active_service(cluster).await?;
        let right = found.as_ref().is_some_and(|service| self.is_right(service, definition));
        let settled = right && found.as_ref().is_some_and(is_settled);
        if settled {
            self.check_every(balancer, self.manifest.health.interval).await?;
            self.resource("service", &self.manifest.name.clone(), Outcome::Unchanged, started);
            return Ok(Rollout::None);
        }
        self.check_every(balancer, ROLLOUT_CHECK_INTERVAL).await?;
        let before = found.as_ref().map(event_ids).unwrap_or_default();
        let outcome = match found {
            Some(service) if right && !has_failed(&service, definition) => Outcome::Unchanged,
            Some(service) => {
                let update = self.update(cluster, definition, &service);
                self.client.call::<ops::UpdateService>(update).await?;
                Outcome::Updated
            }
            None => {
                let create = self.create(cluster, definition, network, balancer);
                self.client.call::<ops::CreateService>(create).await?;
                Outcome::Created
            }
        };
        self.resource("service", &self.manifest.name.clone(), outcome, started);
        let watched = self.watch(cluster, definition, &before).await;
        self.check_every(balancer, self.manifest.health.interval).await?;
        watched.map(|()| Rollout::Done)
    }

    fn configuration(&self) -> DeploymentConfiguration {
        let deploy = &self.manifest.deploy;
        let breaker =
            DeploymentCircuitBreaker { enable: deploy.circuit_breaker, rollback: deploy.circuit_breaker };
        DeploymentConfiguration {
            minimum_healthy_percent: Some(i64::from(deploy.minimum_healthy_percent)),
            maximum_percent: Some(i64::from(deploy.maximum_percent)),
            deployment_circuit_breaker: Some(breaker),
            ..Default::default()
        }
    }

    fn is_right(&self, service: &Service, definition: &str) -> bool {
        let wanted = self.configuration();
        let known = service.deployment_configuration.clone().unwrap_or_default();
        service.task_definition.as_deref() == Some(definition)
            && known.minimum_healthy_percent == wanted.minimum_healthy_percent
            && known.maximum_percent == wanted.maximum_percent
            && known.deployment_circuit_breaker == wanted.deployment_circuit_breaker
            && service.desired_count == Some(self.desired(service))
    }

    /// What the service has, brought between the manifest's bounds: scaling moves it within them.
    fn desired(&self, service: &Service) -> i64 {
        let tasks = &self.manifest.tasks;
        service.desired_count.unwrap_or(0).clamp(i64::from(tasks.min), i64::from(tasks.max))
    }

    fn create(
        &self,
        cluster: &str,
        definition: &str,
        network: &Network,
        balancer: &Balancer,
    ) -> CreateServiceRequest {
        CreateServiceRequest {
            cluster: Some(cluster.to_owned()),
            service_name: self.manifest.name.clone(),
            task_definition: Some(definition.to_owned()),
            desired_count: Some(i64::from(self.manifest.tasks.desired())),
            launch_type: Some("FARGATE".into()),
            network_configuration: Some(NetworkConfiguration {
                awsvpc_configuration: Some(AwsVpcConfiguration {
                    subnets: network.private_subnets.clone(),
                    security_groups: Some(vec![network.task_group.clone()]),
                    assign_public_ip: Some("DISABLED".into()),
                }),
            }),
            load_balancers: Some(vec![LoadBalancer {
                target_group_arn: Some(balancer.target_group.clone()),
                container_name: Some("app".into()),
                container_port: Some(i64::from(self.manifest.port)),
            }]),
            deployment_configuration: Some(self.configuration()),
            health_check_grace_period_seconds: Some(GRACE_SECONDS),
            propagate_tags: Some("SERVICE".into()),
            tags: self.ecs_tags(),
            ..Default::default()
        }
    }

    fn update(&self, cluster: &str, definition: &str, service: &Service) -> UpdateServiceRequest {
        UpdateServiceRequest {
            cluster: Some(cluster.to_owned()),
            service: self.manifest.name.clone(),
            task_definition: Some(definition.to_owned()),
            desired_count: Some(self.desired(service)),
            deployment_configuration: Some(self.configuration()),
            // What has failed as it is is tried anew, for its cause may lie elsewhere.
            force_new_deployment: has_failed(service, definition).then_some(true),
            ..Default::default()
        }
    }

    async fn active_service(&mut self, cluster: &str) -> Result<Option<Service>, DeployError> {
        let service = self.describe(cluster).await?;
        Ok(service.filter(|service| service.status.as_deref() == Some("ACTIVE")))
    }

    pub(super) async fn describe(&mut self, cluster: &str) -> Result<Option<Service>, DeployError> {
        let request = DescribeServicesRequest {
            cluster: Some(cluster.to_owned()),
            services: vec![self.manifest.name.clone()],
            ..Default::default()
        };
        let found = self.client.call::<ops::DescribeServices>(request).await?.services;
        Ok(found.and_then(|services| services.into_iter().next()))
    }

    fn ecs_tags(&self) -> Option<Vec<Tag>> {
        Some(vec![Tag { key: Some(APP_TAG.into()), value: Some(self.manifest.name.clone()) }])
    }
}

/// Whether a registered definition is the wanted one, and in use.
fn is_same(known: &TaskDefinition, wanted: &RegisterTaskDefinitionRequest) -> bool {
    let container = known.container_definitions.iter().flatten().next();
    known.status.as_deref() == Some("ACTIVE")
        && container.is_some_and(|known| equivalent(known, &wanted.container_definitions[0]))
        && known.cpu == wanted.cpu
        && known.memory == wanted.memory
        && known.execution_role_arn == wanted.execution_role_arn
        && known.task_role_arn == wanted.task_role_arn
}

/// Whether two definitions of the container come to the same, AWS's defaults aside.
fn equivalent(known: &ContainerDefinition, wanted: &ContainerDefinition) -> bool {
    let environment = |container: &ContainerDefinition| {
        let pairs = container.environment.iter().flatten();
        pairs.map(|pair| (pair.name.clone(), pair.value.clone())).collect::<BTreeMap<_, _>>()
    };
    let ports = |container: &ContainerDefinition| {
        container.port_mappings.iter().flatten().filter_map(|port| port.container_port).collect::<Vec<_>>()
    };
    known.name == wanted.name
        && known.image == wanted.image
        && environment(known) == environment(wanted)
        && ports(known) == ports(wanted)
        && known.log_configuration == wanted.log_configuration
}
