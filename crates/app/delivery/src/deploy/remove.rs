//! Taking an app and its architecture away again, in the order of dependence. What is gone already is fine, so a removal
//! that was cut short is simply done again.

use std::time::{Duration, Instant};

use pileus_aws::ec2::{
    DeleteInternetGatewayRequest, DeleteNatGatewayRequest, DeleteRouteTableRequest,
    DeleteSecurityGroupRequest, DeleteSubnetRequest, DeleteVpcRequest, DescribeAddressesRequest,
    DescribeInternetGatewaysRequest, DescribeNatGatewaysRequest, DescribeNetworkInterfacesRequest,
    DescribeRouteTablesRequest, DescribeSecurityGroupsRequest, DescribeSubnetsRequest, DescribeVpcsRequest,
    DetachInternetGatewayRequest, DisassociateRouteTableRequest, ReleaseAddressRequest, ops as ec2,
};
use pileus_aws::ecr::{DeleteRepositoryRequest, ops as ecr};
use pileus_aws::ecs::{
    DeleteClusterRequest, DeleteServiceRequest, DeregisterTaskDefinitionRequest, DescribeServicesRequest,
    ListTaskDefinitionsRequest, ListTasksRequest, ops as ecs,
};
use pileus_aws::elbv2::{
    DeleteLoadBalancerInput, DeleteTargetGroupInput, DescribeLoadBalancersInput, DescribeTargetGroupsInput,
    ops as elbv2,
};
use pileus_aws::iam::{
    DeleteRoleRequest, DetachRolePolicyRequest, ListAttachedRolePoliciesRequest, ops as iam,
};
use pileus_aws::logs::{DeleteLogGroupRequest, ops as logs};

use super::network::filter;
use super::{DeployError, Deployment, Event, Outcome, POLL, absent};
use crate::client::{CallError, Client};
use crate::manifest::Manifest;

/// How long tasks may take to drain and stop, and interfaces to go.
const GONE_TIME: Duration = Duration::from_secs(15 * 60);

/// Removes everything that [`Deployment::deploy`] made. True if there was anything.
///
/// # Errors
/// What AWS refused, or what did not go away.
pub async fn remove(
    client: &Client,
    manifest: &Manifest,
    report: &mut dyn FnMut(Event),
) -> Result<bool, DeployError> {
    let mut removal = Deployment { client, manifest, report };
    let mut found = removal.remove_service().await?;
    found |= removal.remove_balancer().await?;
    found |= removal.remove_definitions().await?;
    found |= removal.remove_network().await?;
    found |= removal.remove_roles().await?;
    let name = &manifest.name;
    let group = DeleteLogGroupRequest { log_group_name: format!("/ecs/{name}") };
    let result = client.call::<logs::DeleteLogGroup>(group).await;
    found |= removal.gone("log group", &format!("/ecs/{name}"), result, &["ResourceNotFoundException"])?;
    let repository =
        DeleteRepositoryRequest { repository_name: name.clone(), force: Some(true), ..Default::default() };
    let result = client.call::<ecr::DeleteRepository>(repository).await;
    found |= removal.gone("repository", name, result, &["RepositoryNotFoundException"])?;
    Ok(found)
}

impl Deployment<'_> {
    /// Reports a deletion; false where there was nothing to delete.
    fn gone<T>(
        &mut self,
        kind: &'static str,
        name: &str,
        result: Result<T, CallError>,
        absent_codes: &[&str],
    ) -> Result<bool, DeployError> {
        let found = absent(result, absent_codes)?.is_some();
        if found {
            self.resource(kind, name, Outcome::Deleted, Instant::now());
        }
        Ok(found)
    }

    /// Ends the service, and waits until its tasks have drained and stopped.
    async fn remove_service(&mut self) -> Result<bool, DeployError> {
        let (started, name) = (Instant::now(), self.manifest.name.clone());
        let describe = DescribeServicesRequest {
            cluster: Some(name.clone()),
            services: vec![name.clone()],
            ..Default::default()
        };
        let described =
            absent(self.client.call::<ecs::DescribeServices>(describe).await, &["ClusterNotFoundException"])?;
        let service = described.and_then(|found| found.services?.into_iter().next());
        let active = service.is_some_and(|service| service.status.as_deref() != Some("INACTIVE"));
        if active {
            let delete = DeleteServiceRequest {
                cluster: Some(name.clone()),
                service: name.clone(),
                force: Some(true),
            };
            self.client.call::<ecs::DeleteService>(delete).await?;
        }
        self.wait_until_empty(&name).await?;
        if active {
            self.resource("service", &name, Outcome::Deleted, started);
        }
        let delete = DeleteClusterRequest { cluster: name.clone() };
        let result = self.client.call::<ecs::DeleteCluster>(delete).await;
        Ok(self.gone("cluster", &name, result, &["ClusterNotFoundException"])? || active)
    }

    async fn wait_until_empty(&mut self, cluster: &str) -> Result<(), DeployError> {
        let started = Instant::now();
        loop {
            let mut left = 0;
            for status in ["RUNNING", "STOPPED"] {
                let list = ListTasksRequest {
                    cluster: Some(cluster.to_owned()),
                    desired_status: Some(status.into()),
                    ..Default::default()
                };
                let result = self.client.call::<ecs::ListTasks>(list).await;
                let arns = absent(result, &["ClusterNotFoundException"])?.and_then(|tasks| tasks.task_arns);
                left += self.unfinished(cluster, arns.unwrap_or_default()).await?;
            }
            if left == 0 {
                return Ok(());
            }
            if started.elapsed() > GONE_TIME {
                return Err(DeployError::Slow { what: format!("the end of {left} tasks"), after: GONE_TIME });
            }
            self.waiting(format!("{left} tasks drain and stop"));
            tokio::time::sleep(POLL).await;
        }
    }

    /// How many of these tasks have not stopped yet.
    async fn unfinished(&mut self, cluster: &str, arns: Vec<String>) -> Result<usize, DeployError> {
        let mut left = 0;
        for tasks in arns.chunks(100) {
            let describe = pileus_aws::ecs::DescribeTasksRequest {
                cluster: Some(cluster.to_owned()),
                tasks: tasks.to_vec(),
                ..Default::default()
            };
            let tasks = self.client.call::<ecs::DescribeTasks>(describe).await?.tasks.unwrap_or_default();
            left += tasks.iter().filter(|task| task.last_status.as_deref() != Some("STOPPED")).count();
        }
        Ok(left)
    }

    async fn remove_balancer(&mut self) -> Result<bool, DeployError> {
        let name = self.manifest.name.clone();
        let describe = DescribeLoadBalancersInput { names: Some(vec![name.clone()]), ..Default::default() };
        let result = self.client.call::<elbv2::DescribeLoadBalancers>(describe).await;
        let balancers = absent(result, &["LoadBalancerNotFound"])?.and_then(|found| found.load_balancers);
        let mut found = false;
        for arn in balancers.into_iter().flatten().filter_map(|balancer| balancer.load_balancer_arn) {
            let result = self
                .client
                .call::<elbv2::DeleteLoadBalancer>(DeleteLoadBalancerInput { load_balancer_arn: arn });
            let result = result.await;
            found |= self.gone("load balancer", &name, result, &["LoadBalancerNotFound"])?;
        }
        let describe = DescribeTargetGroupsInput { names: Some(vec![name.clone()]), ..Default::default() };
        let result = self.client.call::<elbv2::DescribeTargetGroups>(describe).await;
        let groups = absent(result, &["TargetGroupNotFound"])?.and_then(|found| found.target_groups);
        for arn in groups.into_iter().flatten().filter_map(|group| group.target_group_arn) {
            let result = self
                .client
                .call::<elbv2::DeleteTargetGroup>(DeleteTargetGroupInput { target_group_arn: arn });
            let result = result.await;
            found |= self.gone("target group", &name, result, &["TargetGroupNotFound"])?;
        }
        Ok(found)
    }

    async fn remove_definitions(&mut self) -> Result<bool, DeployError> {
        let family = self.manifest.name.clone();
        let mut found = false;
        let mut next_token = None;
        loop {
            let list = ListTaskDefinitionsRequest {
                family_prefix: Some(family.clone()),
                status: Some("ACTIVE".into()),
                next_token,
                ..Default::default()
            };
            let page = self.client.call::<ecs::ListTaskDefinitions>(list).await?;
            for arn in page.task_definition_arns.into_iter().flatten() {
                let name = arn.rsplit('/').next().unwrap_or_default().to_owned();
                // A prefix also finds the families of other apps.
                if name.rsplit_once(':').is_some_and(|(of, _)| of == family) {
                    let deregister = DeregisterTaskDefinitionRequest { task_definition: arn };
                    let result = self.client.call::<ecs::DeregisterTaskDefinition>(deregister).await;
                    found |= self.gone("task definition", &name, result, &[])?;
                }
            }
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn remove_network(&mut self) -> Result<bool, DeployError> {
        let filters = Some(vec![self.app_filter()]);
        let describe = DescribeVpcsRequest { filters, ..Default::default() };
        let vpcs = self.client.call::<ec2::DescribeVpcs>(describe).await?.vpcs.unwrap_or_default();
        let mut found = false;
        for vpc in vpcs.into_iter().filter_map(|vpc| vpc.vpc_id) {
            self.remove_vpc(&vpc).await?;
            found = true;
        }
        found |= self.release_addresses().await?;
        Ok(found)
    }

    async fn remove_vpc(&mut self, vpc: &str) -> Result<(), DeployError> {
        self.remove_nat_gateways(vpc).await?;
        self.wait_for_interfaces(vpc).await?;
        self.remove_route_tables(vpc).await?;
        self.remove_security_groups(vpc).await?;
        let filters = Some(vec![filter("vpc-id", vpc)]);
        let describe = DescribeSubnetsRequest { filters, ..Default::default() };
        let subnets = self.client.call::<ec2::DescribeSubnets>(describe).await?.subnets;
        for subnet_id in subnets.into_iter().flatten().filter_map(|subnet| subnet.subnet_id) {
            let result = self
                .client
                .call::<ec2::DeleteSubnet>(DeleteSubnetRequest { subnet_id: subnet_id.clone() })
                .await;
            self.gone("subnet", &subnet_id, result, &["InvalidSubnetID.NotFound"])?;
        }
        // The gateway's public mappings must be gone before it can be detached.
        self.release_addresses().await?;
        self.remove_internet_gateways().await?;
        let result = self.client.call::<ec2::DeleteVpc>(DeleteVpcRequest { vpc_id: vpc.to_owned() }).await;
        self.gone("VPC", vpc, result, &["InvalidVpcID.NotFound"])?;
        Ok(())
    }

    async fn remove_nat_gateways(&mut self, vpc: &str) -> Result<(), DeployError> {
        let started = Instant::now();
        loop {
            let describe = DescribeNatGatewaysRequest {
                filter: Some(vec![filter("vpc-id", vpc)]),
                ..Default::default()
            };
            let found = self.client.call::<ec2::DescribeNatGateways>(describe).await?.nat_gateways;
            let mut left = 0;
            for nat in found.into_iter().flatten() {
                let id = nat.nat_gateway_id.unwrap_or_default();
                match nat.state.as_deref() {
                    Some("deleted" | "failed") => {}
                    Some("deleting") => left += 1,
                    _ => {
                        left += 1;
                        let delete = DeleteNatGatewayRequest { nat_gateway_id: id.clone() };
                        let result = self.client.call::<ec2::DeleteNatGateway>(delete).await;
                        self.gone("NAT gateway", &id, result, &["NatGatewayNotFound"])?;
                    }
                }
            }
            if left == 0 {
                return Ok(());
            }
            if started.elapsed() > GONE_TIME {
                return Err(DeployError::Slow {
                    what: "the end of the NAT gateways".into(),
                    after: GONE_TIME,
                });
            }
            self.waiting("NAT gateways are being deleted");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn wait_for_interfaces(&mut self, vpc: &str) -> Result<(), DeployError> {
        let started = Instant::now();
        loop {
            let filters = Some(vec![filter("vpc-id", vpc)]);
            let describe = DescribeNetworkInterfacesRequest { filters, ..Default::default() };
            let found =
                self.client.call::<ec2::DescribeNetworkInterfaces>(describe).await?.network_interfaces;
            let left = found.map_or(0, |interfaces| interfaces.len());
            if left == 0 {
                return Ok(());
            }
            if started.elapsed() > GONE_TIME {
                let what = format!("the end of {left} network interfaces in {vpc}");
                return Err(DeployError::Slow { what, after: GONE_TIME });
            }
            self.waiting(format!("{left} network interfaces are being deleted"));
            tokio::time::sleep(POLL).await;
        }
    }

    async fn remove_route_tables(&mut self, vpc: &str) -> Result<(), DeployError> {
        let filters = Some(vec![filter("vpc-id", vpc)]);
        let describe = DescribeRouteTablesRequest { filters, ..Default::default() };
        let tables = self.client.call::<ec2::DescribeRouteTables>(describe).await?.route_tables;
        for table in tables.into_iter().flatten() {
            let associations = table.associations.unwrap_or_default();
            if associations.iter().any(|association| association.main == Some(true)) {
                continue;
            }
            for association_id in
                associations.into_iter().filter_map(|known| known.route_table_association_id)
            {
                self.client
                    .call::<ec2::DisassociateRouteTable>(DisassociateRouteTableRequest { association_id })
                    .await?;
            }
            let id = table.route_table_id.unwrap_or_default();
            let delete = DeleteRouteTableRequest { route_table_id: id.clone() };
            let result = self.client.call::<ec2::DeleteRouteTable>(delete).await;
            self.gone("route table", &id, result, &["InvalidRouteTableID.NotFound"])?;
        }
        Ok(())
    }

    /// The tasks' group refers to the load balancer's, so it goes first.
    async fn remove_security_groups(&mut self, vpc: &str) -> Result<(), DeployError> {
        for suffix in ["tasks", "alb"] {
            let filters = Some(vec![filter("vpc-id", vpc), filter("group-name", &self.name(suffix))]);
            let describe = DescribeSecurityGroupsRequest { filters, ..Default::default() };
            let groups = self.client.call::<ec2::DescribeSecurityGroups>(describe).await?.security_groups;
            for id in groups.into_iter().flatten().filter_map(|group| group.group_id) {
                let delete = DeleteSecurityGroupRequest { group_id: Some(id.clone()) };
                let result = self.client.call::<ec2::DeleteSecurityGroup>(delete).await;
                self.gone("security group", &id, result, &["InvalidGroup.NotFound"])?;
            }
        }
        Ok(())
    }

    async fn remove_internet_gateways(&mut self) -> Result<(), DeployError> {
        let filters = Some(vec![self.app_filter()]);
        let describe = DescribeInternetGatewaysRequest { filters, ..Default::default() };
        let gateways = self.client.call::<ec2::DescribeInternetGateways>(describe).await?.internet_gateways;
        for gateway in gateways.into_iter().flatten() {
            let id = gateway.internet_gateway_id.unwrap_or_default();
            for vpc_id in gateway.attachments.into_iter().flatten().filter_map(|attachment| attachment.vpc_id)
            {
                let detach = DetachInternetGatewayRequest { internet_gateway_id: id.clone(), vpc_id };
                self.client.call::<ec2::DetachInternetGateway>(detach).await?;
            }
            let delete = DeleteInternetGatewayRequest { internet_gateway_id: id.clone() };
            let result = self.client.call::<ec2::DeleteInternetGateway>(delete).await;
            self.gone("internet gateway", &id, result, &["InvalidInternetGatewayID.NotFound"])?;
        }
        Ok(())
    }

    async fn release_addresses(&mut self) -> Result<bool, DeployError> {
        let filters = Some(vec![self.app_filter()]);
        let describe = DescribeAddressesRequest { filters, ..Default::default() };
        let addresses = self.client.call::<ec2::DescribeAddresses>(describe).await?.addresses;
        let mut found = false;
        for address in addresses.into_iter().flatten() {
            let name = address.public_ip.unwrap_or_default();
            let release =
                ReleaseAddressRequest { allocation_id: address.allocation_id, ..Default::default() };
            let result = self.client.call::<ec2::ReleaseAddress>(release).await;
            found |= self.gone("elastic IP", &name, result, &["InvalidAllocationID.NotFound"])?;
        }
        Ok(found)
    }

    async fn remove_roles(&mut self) -> Result<bool, DeployError> {
        let mut found = false;
        for suffix in ["execution", "task"] {
            let role_name = self.name(suffix);
            let list = ListAttachedRolePoliciesRequest { role_name: role_name.clone(), ..Default::default() };
            let attached =
                absent(self.client.call::<iam::ListAttachedRolePolicies>(list).await, &["NoSuchEntity"])?;
            let Some(attached) = attached else { continue };
            let policies = attached.attached_policies.into_iter().flatten();
            for policy_arn in policies.filter_map(|policy| policy.policy_arn) {
                let detach = DetachRolePolicyRequest { role_name: role_name.clone(), policy_arn };
                self.client.call::<iam::DetachRolePolicy>(detach).await?;
            }
            let result =
                self.client.call::<iam::DeleteRole>(DeleteRoleRequest { role_name: role_name.clone() }).await;
            found |= self.gone("role", &role_name, result, &["NoSuchEntity"])?;
        }
        Ok(found)
    }
}
