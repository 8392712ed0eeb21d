//! The load balancer, its HTTP listener, and the target group that the service's tasks are registered in.

use std::time::{Duration, Instant};

use pileus_aws::elbv2::{
    Action, CreateListenerInput, CreateLoadBalancerInput, CreateTargetGroupInput, DescribeListenersInput,
    DescribeLoadBalancersInput, DescribeTargetGroupAttributesInput, DescribeTargetGroupsInput, Matcher,
    ModifyTargetGroupAttributesInput, ModifyTargetGroupInput, Tag, TargetGroup, TargetGroupAttribute, ops,
};

use super::network::Network;
use super::{APP_TAG, DeployError, Deployment, Outcome, POLL, absent, given};

pub(super) struct Balancer {
    pub(super) arn: String,
    pub(super) dns_name: String,
    pub(super) target_group: String,
}

/// How long a load balancer may take to become active. AWS needs two to three minutes.
const ACTIVE_TIME: Duration = Duration::from_secs(600);

const DRAIN: &str = "deregistration_delay.timeout_seconds";

impl Deployment<'_> {
    pub(super) async fn balancer(&mut self, network: &Network) -> Result<Balancer, DeployError> {
        let (arn, dns_name) = self.load_balancer(network).await?;
        let target_group = self.target_group(network).await?;
        self.listener(&arn, &target_group).await?;
        Ok(Balancer { arn, dns_name, target_group })
    }

    async fn load_balancer(&mut self, network: &Network) -> Result<(String, String), DeployError> {
        let started = Instant::now();
        let name = self.manifest.name.clone();
        let request = DescribeLoadBalancersInput { names: Some(vec![name.clone()]), ..Default::default() };
        let found = self.client.call::<ops::DescribeLoadBalancers>(request).await;
        let found = absent(found, &["LoadBalancerNotFound"])?.and_then(|found| found.load_balancers);
        let (list, outcome) = match found {
            Some(list) => (Some(list), Outcome::Unchanged),
            None => {
                let request = CreateLoadBalancerInput {
                    name: name.clone(),
                    subnets: Some(network.public_subnets.clone()),
                    security_groups: Some(vec![network.balancer_group.clone()]),
                    scheme: Some("internet-facing".into()),
                    tags: self.elb_tags(),
                    ..Default::default()
                };
                (self.client.call::<ops::CreateLoadBalancer>(request).await?.load_balancers, Outcome::Created)
            }
        };
        let balancer = given(list.and_then(|list| list.into_iter().next()), &name, "LoadBalancers")?;
        self.resource("load balancer", &name, outcome, started);
        Ok((
            given(balancer.load_balancer_arn, &name, "LoadBalancerArn")?,
            given(balancer.dns_name, &name, "DNSName")?,
        ))
    }

    async fn target_group(&mut self, network: &Network) -> Result<String, DeployError> {
        let started = Instant::now();
        let (name, health) = (self.manifest.name.clone(), self.manifest.health.clone());
        let request = DescribeTargetGroupsInput { names: Some(vec![name.clone()]), ..Default::default() };
        let found = self.client.call::<ops::DescribeTargetGroups>(request).await;
        let found = absent(found, &["TargetGroupNotFound"])?;
        let found = found.and_then(|found| found.target_groups?.into_iter().next());
        let mut outcome = Outcome::Unchanged;
        let group = match found {
            Some(group) => group,
            None => {
                outcome = Outcome::Created;
                let request = CreateTargetGroupInput {
                    name: name.clone(),
                    protocol: Some("HTTP".into()),
                    port: Some(i64::from(self.manifest.port)),
                    vpc_id: Some(network.vpc.clone()),
                    target_type: Some("ip".into()),
                    health_check_path: Some(health.path.clone()),
                    health_check_interval_seconds: Some(i64::from(health.interval)),
                    health_check_timeout_seconds: Some(i64::from(health.timeout)),
                    healthy_threshold_count: Some(i64::from(health.healthy)),
                    unhealthy_threshold_count: Some(i64::from(health.unhealthy)),
                    matcher: Some(Matcher { http_code: Some("200".into()), ..Default::default() }),
                    tags: self.elb_tags(),
                    ..Default::default()
                };
                let created = self.client.call::<ops::CreateTargetGroup>(request).await?.target_groups;
                given(created.and_then(|list| list.into_iter().next()), &name, "TargetGroups")?
            }
        };
        let arn = given(group.target_group_arn.clone(), &name, "TargetGroupArn")?;
        if self.health_check(&group, &arn).await? | self.drain(&arn).await? && outcome == Outcome::Unchanged {
            outcome = Outcome::Updated;
        }
        self.resource("target group", &name, outcome, started);
        Ok(arn)
    }

    /// Brings the health check in line with the manifest, but for its times, which belong to the rollout.
    async fn health_check(&mut self, group: &TargetGroup, arn: &str) -> Result<bool, DeployError> {
        let health = &self.manifest.health;
        let wanted = ModifyTargetGroupInput {
            target_group_arn: arn.to_owned(),
            health_check_path: Some(health.path.clone()),
            healthy_threshold_count: Some(i64::from(health.healthy)),
            unhealthy_threshold_count: Some(i64::from(health.unhealthy)),
            ..Default::default()
        };
        let right = group.health_check_path == wanted.health_check_path
            && group.healthy_threshold_count == wanted.healthy_threshold_count
            && group.unhealthy_threshold_count == wanted.unhealthy_threshold_count;
        if !right {
            self.client.call::<ops::ModifyTargetGroup>(wanted).await?;
        }
        Ok(!right)
    }

    async fn drain(&mut self, arn: &str) -> Result<bool, DeployError> {
        let wanted = self.manifest.deploy.drain_seconds.to_string();
        let request = DescribeTargetGroupAttributesInput { target_group_arn: arn.to_owned() };
        let attributes = self.client.call::<ops::DescribeTargetGroupAttributes>(request).await?.attributes;
        let mut attributes = attributes.into_iter().flatten();
        let known = attributes.find(|attribute| attribute.key.as_deref() == Some(DRAIN));
        if known.is_some_and(|known| known.value.as_ref() == Some(&wanted)) {
            return Ok(false);
        }
        let attribute = TargetGroupAttribute { key: Some(DRAIN.into()), value: Some(wanted) };
        let request = ModifyTargetGroupAttributesInput {
            target_group_arn: arn.to_owned(),
            attributes: vec![attribute],
        };
        self.client.call::<ops::ModifyTargetGroupAttributes>(request).await?;
        Ok(true)
    }

    /// Sets how often targets are checked. The timeout must be shorter than the interval.
    pub(super) async fn check_every(&mut self, balancer: &Balancer, seconds: u32) -> Result<(), DeployError> {
        let timeout = self.manifest.health.timeout.min(seconds - 1);
        let request = ModifyTargetGroupInput {
            target_group_arn: balancer.target_group.clone(),
            health_check_interval_seconds: Some(i64::from(seconds)),
            health_check_timeout_seconds: Some(i64::from(timeout)),
            ..Default::default()
        };
        self.client.call::<ops::ModifyTargetGroup>(request).await?;
        Ok(())
    }

    async fn listener(&mut self, balancer: &str, target_group: &str) -> Result<(), DeployError> {
        let started = Instant::now();
        let request =
            DescribeListenersInput { load_balancer_arn: Some(balancer.to_owned()), ..Default::default() };
        let found = self.client.call::<ops::DescribeListeners>(request).await?.listeners.unwrap_or_default();
        if found.iter().any(|listener| listener.port == Some(80)) {
            self.resource("listener", "HTTP:80", Outcome::Unchanged, started);
            return Ok(());
        }
        let forward = Action {
            r#type: "forward".into(),
            target_group_arn: Some(target_group.to_owned()),
            ..Default::default()
        };
        let request = CreateListenerInput {
            load_balancer_arn: balancer.to_owned(),
            protocol: Some("HTTP".into()),
            port: Some(80),
            default_actions: vec![forward],
            tags: self.elb_tags(),
            ..Default::default()
        };
        self.client.call::<ops::CreateListener>(request).await?;
        self.resource("listener", "HTTP:80", Outcome::Created, started);
        Ok(())
    }

    /// Waits until tasks have a way out and the load balancer takes requests.
    pub(super) async fn wait_for_network(
        &mut self,
        network: &Network,
        balancer: &Balancer,
    ) -> Result<(), DeployError> {
        self.wait_for_nat(network).await?;
        let started = Instant::now();
        loop {
            let request = DescribeLoadBalancersInput {
                load_balancer_arns: Some(vec![balancer.arn.clone()]),
                ..Default::default()
            };
            let found = self.client.call::<ops::DescribeLoadBalancers>(request).await?.load_balancers;
            let state = found.and_then(|list| list.into_iter().next()?.state);
            let code = state.as_ref().and_then(|state| state.code.as_deref());
            match code {
                Some("active") => return Ok(()),
                Some("failed") => {
                    let (what, reason) =
                        ("the load balancer".to_owned(), state.and_then(|state| state.reason));
                    return Err(DeployError::State { what, state: "failed".into(), reason });
                }
                _ if started.elapsed() > ACTIVE_TIME => {
                    return Err(DeployError::Slow { what: "the load balancer".into(), after: ACTIVE_TIME });
                }
                _ => self.waiting("load balancer"),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn elb_tags(&self) -> Option<Vec<Tag>> {
        Some(vec![Tag { key: APP_TAG.into(), value: Some(self.manifest.name.clone()) }])
    }
}
