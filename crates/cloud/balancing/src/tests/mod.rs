//! Tests through the operations, on the reference architecture: a VPC with two public and two private subnets.

mod draining;
mod life;
mod refusals;
mod rendering;

use std::path::PathBuf;

use pileus_aws::ec2;
use pileus_aws::elbv2::{self, ops};
use pileus_contract::proxy::{Health, ProxyEvent, ProxySpec};
use pileus_kit::Cloud;
use pileus_state::{State, Tables};

/// The network of the reference architecture, and calls on it.
struct World {
    cloud: Cloud,
    vpc: String,
    /// In `us-east-1a` and `us-east-1b`.
    public: [String; 2],
    balancer_group: String,
}

const TARGET: &str = "10.0.10.5";

fn tables(tables: &mut Tables) {
    pileus_network::tables(tables);
    crate::tables(tables);
}

impl World {
    fn new() -> Self {
        let mut cloud = Cloud::new(tables, |router| {
            pileus_network::operations(router);
            crate::operations(router);
        });
        let input = ec2::CreateVpcRequest { cidr_block: Some("10.0.0.0/16".into()), ..Default::default() };
        let vpc = cloud.ok::<ec2::ops::CreateVpc>(input).vpc.unwrap().vpc_id.unwrap();
        let gateway = cloud.ok::<ec2::ops::CreateInternetGateway>(Default::default());
        let internet_gateway_id = gateway.internet_gateway.unwrap().internet_gateway_id.unwrap();
        let attach = ec2::AttachInternetGatewayRequest { internet_gateway_id, vpc_id: vpc.clone() };
        cloud.ok::<ec2::ops::AttachInternetGateway>(attach);
        let public = [("a", "10.0.1.0/24"), ("b", "10.0.2.0/24")];
        let public = public.map(|(zone, cidr)| subnet(&mut cloud, &vpc, zone, cidr));
        for (zone, cidr) in [("a", "10.0.10.0/24"), ("b", "10.0.11.0/24"), ("c", "10.0.12.0/24")] {
            subnet(&mut cloud, &vpc, zone, cidr);
        }
        let balancer_group = open_group(&mut cloud, &vpc, "balancer", 80);
        Self { cloud, vpc, public, balancer_group }
    }

    fn balancer_input(&self, name: &str) -> elbv2::CreateLoadBalancerInput {
        elbv2::CreateLoadBalancerInput {
            name: name.into(),
            subnets: Some(self.public.to_vec()),
            security_groups: Some(vec![self.balancer_group.clone()]),
            ..Default::default()
        }
    }

    fn group_input(&self, name: &str) -> elbv2::CreateTargetGroupInput {
        elbv2::CreateTargetGroupInput {
            name: name.into(),
            protocol: Some("HTTP".into()),
            port: Some(3000),
            vpc_id: Some(self.vpc.clone()),
            target_type: Some("ip".into()),
            ..Default::default()
        }
    }

    fn balancer(&mut self, name: &str) -> String {
        let output = self.cloud.ok::<ops::CreateLoadBalancer>(self.balancer_input(name));
        output.load_balancers.unwrap().remove(0).load_balancer_arn.unwrap()
    }

    fn group(&mut self, name: &str) -> String {
        let output = self.cloud.ok::<ops::CreateTargetGroup>(self.group_input(name));
        output.target_groups.unwrap().remove(0).target_group_arn.unwrap()
    }

    fn listener(&mut self, balancer: &str, port: i64, group: &str) -> String {
        let output = self.cloud.ok::<ops::CreateListener>(listener_input(balancer, port, group));
        output.listeners.unwrap().remove(0).listener_arn.unwrap()
    }

    fn register(&mut self, group: &str, address: &str) {
        self.cloud.ok::<ops::RegisterTargets>(elbv2::RegisterTargetsInput {
            target_group_arn: group.into(),
            targets: vec![target(address)],
        });
    }

    fn deregister(&mut self, group: &str, address: &str) {
        self.cloud.ok::<ops::DeregisterTargets>(elbv2::DeregisterTargetsInput {
            target_group_arn: group.into(),
            targets: vec![target(address)],
        });
    }

    /// State and reason of every target of a group, by address.
    fn health(&mut self, group: &str) -> Vec<(String, String, Option<String>)> {
        self.health_of(group, None)
    }

    fn health_of(&mut self, group: &str, address: Option<&str>) -> Vec<(String, String, Option<String>)> {
        let input = elbv2::DescribeTargetHealthInput {
            target_group_arn: group.into(),
            targets: address.map(|address| vec![target(address)]),
        };
        let output = self.cloud.ok::<ops::DescribeTargetHealth>(input);
        let descriptions = output.target_health_descriptions.unwrap().into_iter();
        descriptions
            .map(|description| {
                let health = description.target_health.unwrap();
                (description.target.unwrap().id, health.state.unwrap(), health.reason)
            })
            .collect()
    }

    fn balancer_state(&mut self, arn: &str) -> String {
        let input = elbv2::DescribeLoadBalancersInput {
            load_balancer_arns: Some(vec![arn.into()]),
            ..Default::default()
        };
        let mut output = self.cloud.ok::<ops::DescribeLoadBalancers>(input);
        output.load_balancers.as_mut().unwrap().remove(0).state.unwrap().code.unwrap()
    }

    /// Does what an engine with a perfect machine does: applies the network, then the balancer's configuration.
    fn converge(&mut self) -> ProxySpec {
        let fabric = pileus_network::fabric_spec(&self.cloud.state);
        self.cloud.write(|cx| pileus_network::settle(cx.tx, &fabric, cx.now));
        let spec = spec(&self.cloud.state);
        self.cloud.write(|cx| crate::settle(cx.tx, &spec, cx.now));
        spec
    }

    /// The balancer reports the health of a target.
    fn report(&mut self, spec: &ProxySpec, address: &str, health: Health) {
        let event = ProxyEvent::Health {
            target_group: spec.target_groups[0].id.clone(),
            address: address.parse().unwrap(),
            port: 3000,
            health,
            at: self.cloud.now,
        };
        self.cloud.write(|cx| crate::observe(cx.tx, &event));
    }
}

fn spec(state: &State) -> ProxySpec {
    crate::proxy_spec(state, &|interface| PathBuf::from("/run/netns").join(interface))
}

fn subnet(cloud: &mut Cloud, vpc: &str, zone: &str, cidr: &str) -> String {
    let input = ec2::CreateSubnetRequest {
        vpc_id: vpc.into(),
        cidr_block: Some(cidr.into()),
        availability_zone: Some(format!("us-east-1{zone}")),
        ..Default::default()
    };
    cloud.ok::<ec2::ops::CreateSubnet>(input).subnet.unwrap().subnet_id.unwrap()
}

/// A security group that lets everybody in to one port.
fn open_group(cloud: &mut Cloud, vpc: &str, name: &str, port: i64) -> String {
    let input = ec2::CreateSecurityGroupRequest {
        group_name: name.into(),
        description: "test".into(),
        vpc_id: Some(vpc.into()),
        ..Default::default()
    };
    let id = cloud.ok::<ec2::ops::CreateSecurityGroup>(input).group_id.unwrap();
    cloud.ok::<ec2::ops::AuthorizeSecurityGroupIngress>(ec2::AuthorizeSecurityGroupIngressRequest {
        group_id: Some(id.clone()),
        ip_protocol: Some("tcp".into()),
        from_port: Some(port),
        to_port: Some(port),
        cidr_ip: Some("0.0.0.0/0".into()),
        ..Default::default()
    });
    id
}

fn target(address: &str) -> elbv2::TargetDescription {
    elbv2::TargetDescription { id: address.into(), ..Default::default() }
}

fn forward(group: &str) -> elbv2::Action {
    elbv2::Action { r#type: "forward".into(), target_group_arn: Some(group.into()), ..Default::default() }
}

fn fixed(status: &str) -> elbv2::Action {
    elbv2::Action {
        r#type: "fixed-response".into(),
        fixed_response_config: Some(elbv2::FixedResponseActionConfig {
            status_code: status.into(),
            content_type: Some("text/plain".into()),
            message_body: Some("no".into()),
        }),
        ..Default::default()
    }
}

fn listener_input(balancer: &str, port: i64, group: &str) -> elbv2::CreateListenerInput {
    elbv2::CreateListenerInput {
        load_balancer_arn: balancer.into(),
        protocol: Some("HTTP".into()),
        port: Some(port),
        default_actions: vec![forward(group)],
        ..Default::default()
    }
}

fn rule_input(listener: &str, priority: i64, path: &str, action: elbv2::Action) -> elbv2::CreateRuleInput {
    elbv2::CreateRuleInput {
        listener_arn: listener.into(),
        priority,
        conditions: vec![elbv2::RuleCondition {
            field: Some("path-pattern".into()),
            path_pattern_config: Some(elbv2::PathPatternConditionConfig { values: Some(vec![path.into()]) }),
            ..Default::default()
        }],
        actions: vec![action],
        ..Default::default()
    }
}
