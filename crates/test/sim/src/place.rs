//! The stage of every simulation: a VPC with two zones, a load balancer, a cluster.

use std::time::Duration;

use pileus_aws::{ec2, ecs, elbv2, iam};
use pileus_kit::Cloud;

use crate::PORT;

/// How long targets drain in simulations.
pub(crate) const DELAY: Duration = Duration::from_secs(20);

pub(crate) struct Place {
    subnets: Vec<String>,
    target_group: String,
}

pub(crate) fn cloud() -> Cloud {
    Cloud::new(
        |tables| {
            pileus_network::tables(tables);
            pileus_security::tables(tables);
            pileus_registry::tables(tables);
            pileus_monitoring::tables(tables);
            pileus_balancing::tables(tables);
            pileus_compute::tables(tables);
        },
        |router| {
            pileus_network::operations(router);
            pileus_registry::operations(router);
            pileus_security::operations(router);
            pileus_balancing::operations(router);
            pileus_compute::operations(router);
        },
    )
}

/// The role that tasks are prepared with, as the developer guide has it made.
fn execution_role(cloud: &mut Cloud) {
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",
        "Principal":{"Service":"ecs-tasks.amazonaws.com"}}]}"#;
    cloud.ok::<iam::ops::CreateRole>(iam::CreateRoleRequest {
        role_name: "execution".into(),
        assume_role_policy_document: trust.into(),
        ..Default::default()
    });
    cloud.ok::<iam::ops::AttachRolePolicy>(iam::AttachRolePolicyRequest {
        role_name: "execution".into(),
        policy_arn: "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy".into(),
    });
}

pub(crate) fn build(cloud: &mut Cloud) -> Place {
    execution_role(cloud);
    let vpc = vpc(cloud);
    let subnets: Vec<String> = [("10.0.1.0/24", "us-east-1a"), ("10.0.2.0/24", "us-east-1b")]
        .into_iter()
        .map(|(cidr, zone)| subnet(cloud, &vpc, cidr, zone))
        .collect();
    let target_group = target_group(cloud, &vpc);
    let balancer = elbv2::CreateLoadBalancerInput {
        name: "web".into(),
        subnets: Some(subnets.clone()),
        scheme: Some("internal".into()),
        ..Default::default()
    };
    let balancer = cloud.ok::<elbv2::ops::CreateLoadBalancer>(balancer).load_balancers;
    let balancer = balancer.unwrap_or_default().remove(0).load_balancer_arn.unwrap_or_default();
    cloud.ok::<elbv2::ops::CreateListener>(elbv2::CreateListenerInput {
        load_balancer_arn: balancer,
        protocol: Some("HTTP".into()),
        port: Some(80),
        default_actions: vec![elbv2::Action {
            r#type: "forward".into(),
            target_group_arn: Some(target_group.clone()),
            ..Default::default()
        }],
        ..Default::default()
    });
    cloud.ok::<ecs::ops::CreateCluster>(Default::default());
    Place { subnets, target_group }
}

fn vpc(cloud: &mut Cloud) -> String {
    let input = ec2::CreateVpcRequest { cidr_block: Some("10.0.0.0/16".into()), ..Default::default() };
    let vpc = cloud.ok::<ec2::ops::CreateVpc>(input).vpc;
    vpc.and_then(|vpc| vpc.vpc_id).unwrap_or_default()
}

fn subnet(cloud: &mut Cloud, vpc: &str, cidr: &str, zone: &str) -> String {
    let input = ec2::CreateSubnetRequest {
        vpc_id: vpc.into(),
        cidr_block: Some(cidr.into()),
        availability_zone: Some(zone.into()),
        ..Default::default()
    };
    let subnet = cloud.ok::<ec2::ops::CreateSubnet>(input).subnet;
    subnet.and_then(|subnet| subnet.subnet_id).unwrap_or_default()
}

fn target_group(cloud: &mut Cloud, vpc: &str) -> String {
    let input = elbv2::CreateTargetGroupInput {
        name: "web".into(),
        protocol: Some("HTTP".into()),
        port: Some(PORT.into()),
        vpc_id: Some(vpc.into()),
        target_type: Some("ip".into()),
        ..Default::default()
    };
    let groups = cloud.ok::<elbv2::ops::CreateTargetGroup>(input).target_groups;
    let arn = groups.unwrap_or_default().remove(0).target_group_arn.unwrap_or_default();
    let delay = elbv2::TargetGroupAttribute {
        key: Some("deregistration_delay.timeout_seconds".into()),
        value: Some(DELAY.as_secs().to_string()),
    };
    cloud.ok::<elbv2::ops::ModifyTargetGroupAttributes>(elbv2::ModifyTargetGroupAttributesInput {
        target_group_arn: arn.clone(),
        attributes: vec![delay],
    });
    arn
}

/// Registers the next revision of the family `web`, whose image has this digest; returns its ARN.
pub(crate) fn definition(cloud: &mut Cloud, digest: &str, checked: bool) -> String {
    let container = ecs::ContainerDefinition {
        name: Some("web".into()),
        image: Some(format!("000000000000.dkr.ecr.us-east-1.amazonaws.com/web@{digest}")),
        port_mappings: Some(vec![ecs::PortMapping {
            container_port: Some(PORT.into()),
            ..Default::default()
        }]),
        health_check: checked
            .then(|| ecs::HealthCheck { command: vec!["CMD".into(), "check".into()], ..Default::default() }),
        ..Default::default()
    };
    let input = ecs::RegisterTaskDefinitionRequest {
        family: "web".into(),
        network_mode: Some("awsvpc".into()),
        requires_compatibilities: Some(vec!["FARGATE".into()]),
        cpu: Some("256".into()),
        memory: Some("512".into()),
        execution_role_arn: Some("arn:aws:iam::000000000000:role/execution".into()),
        container_definitions: vec![container],
        ..Default::default()
    };
    let registered = cloud.ok::<ecs::ops::RegisterTaskDefinition>(input).task_definition;
    registered.and_then(|definition| definition.task_definition_arn).unwrap_or_default()
}

pub(crate) fn service(
    place: &Place,
    definition: &str,
    desired: i64,
    configuration: ecs::DeploymentConfiguration,
) -> ecs::CreateServiceRequest {
    ecs::CreateServiceRequest {
        service_name: "web".into(),
        task_definition: Some(definition.into()),
        desired_count: Some(desired),
        launch_type: Some("FARGATE".into()),
        deployment_configuration: Some(configuration),
        network_configuration: Some(ecs::NetworkConfiguration {
            awsvpc_configuration: Some(ecs::AwsVpcConfiguration {
                subnets: place.subnets.clone(),
                ..Default::default()
            }),
        }),
        load_balancers: Some(vec![ecs::LoadBalancer {
            target_group_arn: Some(place.target_group.clone()),
            container_name: Some("web".into()),
            container_port: Some(PORT.into()),
        }]),
        ..Default::default()
    }
}
