//! The network: a VPC over two zones, public and private subnets, an internet gateway, a NAT gateway in each zone, route
//! tables, and the two security groups of the architecture.

use std::time::{Duration, Instant};

use pileus_aws::ec2::{
    Address, AllocateAddressRequest, AssociateRouteTableRequest, AttachInternetGatewayRequest,
    AttributeBooleanValue, AuthorizeSecurityGroupIngressRequest, CreateInternetGatewayRequest,
    CreateNatGatewayRequest, CreateRouteRequest, CreateRouteTableRequest, CreateSecurityGroupRequest,
    CreateSubnetRequest, CreateVpcRequest, DescribeAddressesRequest, DescribeInternetGatewaysRequest,
    DescribeNatGatewaysRequest, DescribeRouteTablesRequest, DescribeSecurityGroupsRequest,
    DescribeSubnetsRequest, DescribeVpcsRequest, Filter, IpPermission, IpRange, ModifyVpcAttributeRequest,
    NatGateway, RouteTable, SecurityGroup, Tag, TagSpecification, UserIdGroupPair, ops,
};

use super::{APP_TAG, DeployError, Deployment, Outcome, POLL, given};

/// The ids that the rest of the architecture refers to.
pub(super) struct Network {
    pub(super) vpc: String,
    pub(super) public_subnets: Vec<String>,
    pub(super) private_subnets: Vec<String>,
    pub(super) balancer_group: String,
    pub(super) task_group: String,
    nat_gateways: Vec<String>,
}

/// How long a NAT gateway may take. AWS needs one to two minutes.
const NAT_TIME: Duration = Duration::from_secs(600);

impl Deployment<'_> {
    pub(super) async fn network(&mut self) -> Result<Network, DeployError> {
        let vpc = self.vpc().await?;
        let internet_gateway = self.internet_gateway(&vpc).await?;
        let cidrs = self.manifest.network.subnets();
        let (mut public, mut private) = (Vec::new(), Vec::new());
        for (index, letter) in ["a", "b"].into_iter().enumerate() {
            let zone = format!("{}{letter}", self.client.region());
            public.push(
                self.subnet(&vpc, &format!("public-{letter}"), &cidrs.public[index].to_string(), &zone)
                    .await?,
            );
            private.push(
                self.subnet(&vpc, &format!("private-{letter}"), &cidrs.private[index].to_string(), &zone)
                    .await?,
            );
        }
        let route =
            |gateway: &str| CreateRouteRequest { gateway_id: Some(gateway.to_owned()), ..Default::default() };
        self.route_table(&vpc, "public", &public, route(&internet_gateway)).await?;
        let mut nat_gateways = Vec::new();
        for (index, letter) in ["a", "b"].into_iter().enumerate() {
            let nat = self.nat_gateway(&vpc, letter, &public[index]).await?;
            let route = CreateRouteRequest { nat_gateway_id: Some(nat.clone()), ..Default::default() };
            self.route_table(&vpc, &format!("private-{letter}"), &private[index..=index], route).await?;
            nat_gateways.push(nat);
        }
        let anywhere = IpPermission {
            ip_ranges: Some(vec![IpRange { cidr_ip: Some("0.0.0.0/0".into()), description: None }]),
            ..tcp(80)
        };
        let balancer_group =
            self.security_group(&vpc, "alb", "Load balancer: HTTP from anywhere", anywhere).await?;
        let from_balancer = IpPermission {
            user_id_group_pairs: Some(vec![UserIdGroupPair {
                group_id: Some(balancer_group.clone()),
                ..Default::default()
            }]),
            ..tcp(self.manifest.port)
        };
        let task_group =
            self.security_group(&vpc, "tasks", "Tasks: only from the load balancer", from_balancer).await?;
        Ok(Network {
            vpc,
            public_subnets: public,
            private_subnets: private,
            balancer_group,
            task_group,
            nat_gateways,
        })
    }

    async fn vpc(&mut self) -> Result<String, DeployError> {
        let started = Instant::now();
        let filters = Some(vec![self.app_filter()]);
        let found = self
            .client
            .call::<ops::DescribeVpcs>(DescribeVpcsRequest { filters, ..Default::default() })
            .await?;
        if let Some(id) = found.vpcs.and_then(|vpcs| vpcs.into_iter().next()?.vpc_id) {
            self.resource("VPC", &id, Outcome::Unchanged, started);
            return Ok(id);
        }
        let request = CreateVpcRequest {
            cidr_block: Some(self.manifest.network.cidr.to_string()),
            tag_specifications: self.tags("vpc", "vpc"),
            ..Default::default()
        };
        let vpc = self.client.call::<ops::CreateVpc>(request).await?.vpc;
        let id = given(vpc.and_then(|vpc| vpc.vpc_id), "the VPC", "VpcId")?;
        let yes = Some(AttributeBooleanValue { value: Some(true) });
        let names =
            ModifyVpcAttributeRequest { vpc_id: id.clone(), enable_dns_hostnames: yes, ..Default::default() };
        self.client.call::<ops::ModifyVpcAttribute>(names).await?;
        self.resource("VPC", &id, Outcome::Created, started);
        Ok(id)
    }

    async fn internet_gateway(&mut self, vpc: &str) -> Result<String, DeployError> {
        let started = Instant::now();
        let filters = Some(vec![self.app_filter()]);
        let request = DescribeInternetGatewaysRequest { filters, ..Default::default() };
        let found = self.client.call::<ops::DescribeInternetGateways>(request).await?.internet_gateways;
        let found = found.and_then(|gateways| gateways.into_iter().next());
        let attached = found
            .as_ref()
            .is_some_and(|gateway| gateway.attachments.as_ref().is_some_and(|list| !list.is_empty()));
        let mut outcome = if found.is_some() { Outcome::Unchanged } else { Outcome::Created };
        let id = match found {
            Some(gateway) => gateway.internet_gateway_id,
            None => {
                let tag_specifications = self.tags("internet-gateway", "igw");
                let request = CreateInternetGatewayRequest { tag_specifications };
                let created = self.client.call::<ops::CreateInternetGateway>(request).await?.internet_gateway;
                created.and_then(|gateway| gateway.internet_gateway_id)
            }
        };
        let id = given(id, "the internet gateway", "InternetGatewayId")?;
        if !attached {
            let attach =
                AttachInternetGatewayRequest { internet_gateway_id: id.clone(), vpc_id: vpc.to_owned() };
            self.client.call::<ops::AttachInternetGateway>(attach).await?;
            outcome = Outcome::Created;
        }
        self.resource("internet gateway", &id, outcome, started);
        Ok(id)
    }

    async fn subnet(
        &mut self,
        vpc: &str,
        suffix: &str,
        cidr: &str,
        zone: &str,
    ) -> Result<String, DeployError> {
        let started = Instant::now();
        let filters = Some(vec![filter("vpc-id", vpc), filter("cidr-block", cidr)]);
        let request = DescribeSubnetsRequest { filters, ..Default::default() };
        let found = self.client.call::<ops::DescribeSubnets>(request).await?.subnets;
        if let Some(id) = found.and_then(|subnets| subnets.into_iter().next()?.subnet_id) {
            self.resource("subnet", &format!("{id} {cidr} {zone}"), Outcome::Unchanged, started);
            return Ok(id);
        }
        let request = CreateSubnetRequest {
            vpc_id: vpc.to_owned(),
            cidr_block: Some(cidr.to_owned()),
            availability_zone: Some(zone.to_owned()),
            tag_specifications: self.tags("subnet", suffix),
            ..Default::default()
        };
        let subnet = self.client.call::<ops::CreateSubnet>(request).await?.subnet;
        let id = given(subnet.and_then(|subnet| subnet.subnet_id), "the subnet", "SubnetId")?;
        self.resource("subnet", &format!("{id} {cidr} {zone}"), Outcome::Created, started);
        Ok(id)
    }

    /// A NAT gateway and its address. One that failed or is being deleted is replaced.
    async fn nat_gateway(&mut self, vpc: &str, letter: &str, subnet: &str) -> Result<String, DeployError> {
        let started = Instant::now();
        let filters = vec![filter("vpc-id", vpc), filter("subnet-id", subnet)];
        let request = DescribeNatGatewaysRequest { filter: Some(filters), ..Default::default() };
        let found =
            self.client.call::<ops::DescribeNatGateways>(request).await?.nat_gateways.unwrap_or_default();
        let usable = |nat: &NatGateway| matches!(nat.state.as_deref(), Some("pending" | "available"));
        if let Some(id) = found.into_iter().find(usable).and_then(|nat| nat.nat_gateway_id) {
            self.resource("NAT gateway", &id, Outcome::Unchanged, started);
            return Ok(id);
        }
        let name = self.name(&format!("nat-{letter}"));
        let filters = Some(vec![self.app_filter(), filter("tag:Name", &name)]);
        let request = DescribeAddressesRequest { filters, ..Default::default() };
        let free = |address: &Address| address.association_id.is_none();
        let addresses =
            self.client.call::<ops::DescribeAddresses>(request).await?.addresses.unwrap_or_default();
        let allocation = match addresses.into_iter().find(free).and_then(|address| address.allocation_id) {
            Some(allocation) => allocation,
            None => {
                let tag_specifications = self.tags("elastic-ip", &format!("nat-{letter}"));
                let request = AllocateAddressRequest {
                    domain: Some("vpc".into()),
                    tag_specifications,
                    ..Default::default()
                };
                let address = self.client.call::<ops::AllocateAddress>(request).await?;
                given(address.allocation_id, "the elastic IP address", "AllocationId")?
            }
        };
        let request = CreateNatGatewayRequest {
            subnet_id: Some(subnet.to_owned()),
            allocation_id: Some(allocation),
            tag_specifications: self.tags("natgateway", &format!("nat-{letter}")),
            ..Default::default()
        };
        let nat = self.client.call::<ops::CreateNatGateway>(request).await?.nat_gateway;
        let id = given(nat.and_then(|nat| nat.nat_gateway_id), "the NAT gateway", "NatGatewayId")?;
        self.resource("NAT gateway", &id, Outcome::Created, started);
        Ok(id)
    }

    /// A route table with a default route, associated with the subnets. `route` names the target.
    async fn route_table(
        &mut self,
        vpc: &str,
        suffix: &str,
        subnets: &[String],
        route: CreateRouteRequest,
    ) -> Result<(), DeployError> {
        let started = Instant::now();
        let name = self.name(suffix);
        let filters = Some(vec![filter("vpc-id", vpc), filter("tag:Name", &name)]);
        let request = DescribeRouteTablesRequest { filters, ..Default::default() };
        let found = self.client.call::<ops::DescribeRouteTables>(request).await?.route_tables;
        let mut outcome = Outcome::Unchanged;
        let table = match found.and_then(|tables| tables.into_iter().next()) {
            Some(table) => table,
            None => {
                outcome = Outcome::Created;
                let tag_specifications = self.tags("route-table", suffix);
                let request = CreateRouteTableRequest {
                    vpc_id: vpc.to_owned(),
                    tag_specifications,
                    ..Default::default()
                };
                let created = self.client.call::<ops::CreateRouteTable>(request).await?.route_table;
                given(created, "the route table", "RouteTable")?
            }
        };
        let id = given(table.route_table_id.clone(), "the route table", "RouteTableId")?;
        if self.default_route(&table, &id, route).await? | self.associations(&table, &id, subnets).await?
            && outcome == Outcome::Unchanged
        {
            outcome = Outcome::Updated;
        }
        self.resource("route table", &format!("{id} {suffix}"), outcome, started);
        Ok(())
    }

    /// Makes the default route lead where `route` says. True if that was a change.
    async fn default_route(
        &mut self,
        table: &RouteTable,
        id: &str,
        mut route: CreateRouteRequest,
    ) -> Result<bool, DeployError> {
        const ANYWHERE: &str = "0.0.0.0/0";
        let mut routes = table.routes.iter().flatten();
        let existing = routes.find(|known| known.destination_cidr_block.as_deref() == Some(ANYWHERE));
        if let Some(existing) = existing {
            if existing.gateway_id == route.gateway_id && existing.nat_gateway_id == route.nat_gateway_id {
                return Ok(false);
            }
            let replace = pileus_aws::ec2::ReplaceRouteRequest {
                route_table_id: id.to_owned(),
                destination_cidr_block: Some(ANYWHERE.into()),
                gateway_id: route.gateway_id,
                nat_gateway_id: route.nat_gateway_id,
                ..Default::default()
            };
            self.client.call::<ops::ReplaceRoute>(replace).await?;
            return Ok(true);
        }
        route.route_table_id = id.to_owned();
        route.destination_cidr_block = Some(ANYWHERE.into());
        self.client.call::<ops::CreateRoute>(route).await?;
        Ok(true)
    }

    async fn associations(
        &mut self,
        table: &RouteTable,
        id: &str,
        subnets: &[String],
    ) -> Result<bool, DeployError> {
        let mut changed = false;
        for subnet in subnets {
            let mut known = table.associations.iter().flatten();
            if known.any(|association| association.subnet_id.as_ref() == Some(subnet)) {
                continue;
            }
            let request =
                AssociateRouteTableRequest { route_table_id: id.to_owned(), subnet_id: Some(subnet.clone()) };
            self.client.call::<ops::AssociateRouteTable>(request).await?;
            changed = true;
        }
        Ok(changed)
    }

    /// A security group with one rule for what may come in.
    async fn security_group(
        &mut self,
        vpc: &str,
        suffix: &str,
        description: &str,
        ingress: IpPermission,
    ) -> Result<String, DeployError> {
        let started = Instant::now();
        let name = self.name(suffix);
        let filters = Some(vec![filter("vpc-id", vpc), filter("group-name", &name)]);
        let request = DescribeSecurityGroupsRequest { filters, ..Default::default() };
        let found = self.client.call::<ops::DescribeSecurityGroups>(request).await?.security_groups;
        let found = found.and_then(|groups| groups.into_iter().next());
        let allowed = found.as_ref().is_some_and(|group| allows(group, &ingress));
        let mut outcome = if allowed { Outcome::Unchanged } else { Outcome::Updated };
        let id = match found.and_then(|group| group.group_id) {
            Some(id) => id,
            None => {
                outcome = Outcome::Created;
                let request = CreateSecurityGroupRequest {
                    group_name: name.clone(),
                    description: description.to_owned(),
                    vpc_id: Some(vpc.to_owned()),
                    tag_specifications: self.tags("security-group", suffix),
                };
                let created = self.client.call::<ops::CreateSecurityGroup>(request).await?;
                given(created.group_id, "the security group", "GroupId")?
            }
        };
        if !allowed {
            let request = AuthorizeSecurityGroupIngressRequest {
                group_id: Some(id.clone()),
                ip_permissions: Some(vec![ingress]),
                ..Default::default()
            };
            self.client.call::<ops::AuthorizeSecurityGroupIngress>(request).await?;
        }
        self.resource("security group", &format!("{id} {name}"), outcome, started);
        Ok(id)
    }

    /// Waits until the NAT gateways work.
    pub(super) async fn wait_for_nat(&mut self, network: &Network) -> Result<(), DeployError> {
        let started = Instant::now();
        loop {
            let request = DescribeNatGatewaysRequest {
                nat_gateway_ids: Some(network.nat_gateways.clone()),
                ..Default::default()
            };
            let found =
                self.client.call::<ops::DescribeNatGateways>(request).await?.nat_gateways.unwrap_or_default();
            for nat in &found {
                if let Some(state @ ("failed" | "deleted")) = nat.state.as_deref() {
                    let what = format!("NAT gateway {}", nat.nat_gateway_id.as_deref().unwrap_or("?"));
                    let reason = nat.failure_message.clone();
                    return Err(DeployError::State { what, state: state.to_owned(), reason });
                }
            }
            if found.iter().all(|nat| nat.state.as_deref() == Some("available")) {
                return Ok(());
            }
            if started.elapsed() > NAT_TIME {
                return Err(DeployError::Slow { what: "the NAT gateways".into(), after: NAT_TIME });
            }
            self.waiting("NAT gateways");
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) fn app_filter(&self) -> Filter {
        filter(&format!("tag:{APP_TAG}"), &self.manifest.name)
    }

    fn tags(&self, resource_type: &str, suffix: &str) -> Option<Vec<TagSpecification>> {
        let tag = |key: &str, value: String| Tag { key: Some(key.to_owned()), value: Some(value) };
        let tags = vec![tag("Name", self.name(suffix)), tag(APP_TAG, self.manifest.name.clone())];
        Some(vec![TagSpecification { resource_type: Some(resource_type.to_owned()), tags: Some(tags) }])
    }
}

pub(super) fn filter(name: &str, value: &str) -> Filter {
    Filter { name: Some(name.to_owned()), values: Some(vec![value.to_owned()]) }
}

fn tcp(port: u16) -> IpPermission {
    let port = Some(i64::from(port));
    IpPermission { ip_protocol: Some("tcp".into()), from_port: port, to_port: port, ..Default::default() }
}

/// Whether the group has the rule already.
fn allows(group: &SecurityGroup, wanted: &IpPermission) -> bool {
    let cidrs = |permission: &IpPermission| {
        permission.ip_ranges.iter().flatten().filter_map(|range| range.cidr_ip.clone()).collect::<Vec<_>>()
    };
    let groups = |permission: &IpPermission| {
        permission
            .user_id_group_pairs
            .iter()
            .flatten()
            .filter_map(|pair| pair.group_id.clone())
            .collect::<Vec<_>>()
    };
    group.ip_permissions.iter().flatten().any(|known| {
        known.ip_protocol == wanted.ip_protocol
            && known.from_port == wanted.from_port
            && known.to_port == wanted.to_port
            && cidrs(wanted).iter().all(|cidr| cidrs(known).contains(cidr))
            && groups(wanted).iter().all(|id| groups(known).contains(id))
    })
}
