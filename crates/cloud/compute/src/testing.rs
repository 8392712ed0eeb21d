//! Helpers of this crate's tests: the reference architecture in a few lines.

use pileus_aws::{ec2, ecs, elbv2, iam};
use pileus_kit::Cloud;

/// A cloud with the services that ECS needs.
pub(crate) fn cloud() -> Cloud {
    Cloud::new(
        |tables| {
            pileus_network::tables(tables);
            pileus_balancing::tables(tables);
            pileus_registry::tables(tables);
            pileus_monitoring::tables(tables);
            pileus_security::tables(tables);
            pileus_secrets::tables(tables);
            crate::tables(tables);
        },
        |router| {
            pileus_network::operations(router);
            pileus_balancing::operations(router);
            pileus_registry::operations(router);
            pileus_security::operations(router);
            pileus_secrets::operations(router);
            pileus_monitoring::operations(router);
            crate::operations(router);
        },
    )
}

/// Two subnets in two zones, and a target group behind a load balancer.
pub(crate) struct Place {
    pub(crate) subnets: Vec<String>,
    pub(crate) target_group: String,
}

pub(crate) const IMAGE: &str = "000000000000.dkr.ecr.us-east-1.amazonaws.com/web:latest";

pub(crate) fn place(cloud: &mut Cloud) -> Place {
    let vpc = ec2::CreateVpcRequest { cidr_block: Some("10.0.0.0/16".into()), ..Default::default() };
    let vpc = cloud.ok::<ec2::ops::CreateVpc>(vpc).vpc.unwrap().vpc_id.unwrap();
    let subnets: Vec<String> = [("10.0.1.0/24", "us-east-1a"), ("10.0.2.0/24", "us-east-1b")]
        .into_iter()
        .map(|(cidr, zone)| {
            let input = ec2::CreateSubnetRequest {
                vpc_id: vpc.clone(),
                cidr_block: Some(cidr.into()),
                availability_zone: Some(zone.into()),
                ..Default::default()
            };
            cloud.ok::<ec2::ops::CreateSubnet>(input).subnet.unwrap().subnet_id.unwrap()
        })
        .collect();
    let target_group = target_group(cloud, &vpc, "web");
    let gateway = cloud.ok::<ec2::ops::CreateInternetGateway>(Default::default());
    let gateway = gateway.internet_gateway.unwrap().internet_gateway_id.unwrap();
    cloud.ok::<ec2::ops::AttachInternetGateway>(ec2::AttachInternetGatewayRequest {
        internet_gateway_id: gateway,
        vpc_id: vpc,
    });
    let balancer = elbv2::CreateLoadBalancerInput {
        name: "web".into(),
        subnets: Some(subnets.clone()),
        ..Default::default()
    };
    let balancer = cloud.ok::<elbv2::ops::CreateLoadBalancer>(balancer).load_balancers.unwrap();
    cloud.ok::<elbv2::ops::CreateListener>(elbv2::CreateListenerInput {
        load_balancer_arn: balancer[0].load_balancer_arn.clone().unwrap(),
        protocol: Some("HTTP".into()),
        port: Some(80),
        default_actions: vec![elbv2::Action {
            r#type: "forward".into(),
            target_group_arn: Some(target_group.clone()),
            ..Default::default()
        }],
        ..Default::default()
    });
    Place { subnets, target_group }
}

/// A target group that no load balancer uses yet.
pub(crate) fn target_group(cloud: &mut Cloud, vpc: &str, name: &str) -> String {
    let input = elbv2::CreateTargetGroupInput {
        name: name.into(),
        protocol: Some("HTTP".into()),
        port: Some(3000),
        vpc_id: Some(vpc.into()),
        target_type: Some("ip".into()),
        ..Default::default()
    };
    let groups = cloud.ok::<elbv2::ops::CreateTargetGroup>(input).target_groups.unwrap();
    groups[0].target_group_arn.clone().unwrap()
}

/// A valid request for the family `web`.
pub(crate) fn definition() -> ecs::RegisterTaskDefinitionRequest {
    ecs::RegisterTaskDefinitionRequest {
        family: "web".into(),
        network_mode: Some("awsvpc".into()),
        requires_compatibilities: Some(vec!["FARGATE".into()]),
        cpu: Some("256".into()),
        memory: Some("512".into()),
        execution_role_arn: Some("arn:aws:iam::000000000000:role/execution".into()),
        container_definitions: vec![container("web")],
        ..Default::default()
    }
}

pub(crate) fn container(name: &str) -> ecs::ContainerDefinition {
    ecs::ContainerDefinition {
        name: Some(name.into()),
        image: Some(IMAGE.into()),
        port_mappings: Some(vec![ecs::PortMapping { container_port: Some(3000), ..Default::default() }]),
        ..Default::default()
    }
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

/// A cluster, a role and the task definition `web:1`.
pub(crate) fn base(cloud: &mut Cloud) -> Place {
    let place = place(cloud);
    execution_role(cloud);
    cloud.ok::<ecs::ops::CreateCluster>(Default::default());
    cloud.ok::<ecs::ops::RegisterTaskDefinition>(definition());
    place
}

pub(crate) fn network(place: &Place) -> Option<ecs::NetworkConfiguration> {
    Some(ecs::NetworkConfiguration {
        awsvpc_configuration: Some(ecs::AwsVpcConfiguration {
            subnets: place.subnets.clone(),
            ..Default::default()
        }),
    })
}

/// A valid request for the service `web` of `desired` tasks behind the load balancer.
pub(crate) fn service(place: &Place, desired: i64) -> ecs::CreateServiceRequest {
    ecs::CreateServiceRequest {
        service_name: "web".into(),
        task_definition: Some("web".into()),
        desired_count: Some(desired),
        launch_type: Some("FARGATE".into()),
        network_configuration: network(place),
        load_balancers: Some(vec![ecs::LoadBalancer {
            target_group_arn: Some(place.target_group.clone()),
            container_name: Some("web".into()),
            container_port: Some(3000),
        }]),
        ..Default::default()
    }
}
