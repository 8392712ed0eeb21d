//! The operations that are measured, and what must be there for them.

use std::time::Duration;

use pileus_aws::cloudwatch::{MetricDatum, PutMetricDataInput, ops as cloudwatch};
use pileus_aws::ecs::{
    ContainerDefinition, CreateServiceRequest, DescribeServicesRequest, RegisterTaskDefinitionRequest,
    ops as ecs,
};
use pileus_aws::secretsmanager::{CreateSecretRequest, GetSecretValueRequest, ops as secrets};
use pileus_delivery::client::Client;

use crate::api::{CLUSTER, network};
use crate::load::{self, Load};

/// Of the service, the family, the secret and the metric.
const NAME: &str = "bench";

/// One of each kind: a read, a write, bulk data, and a small read that applications make.
#[derive(Clone, Copy)]
pub(super) enum Operation {
    DescribeServices,
    RegisterTaskDefinition,
    PutMetricData,
    GetSecretValue,
}

impl Operation {
    pub(super) const ALL: [Self; 4] =
        [Self::DescribeServices, Self::RegisterTaskDefinition, Self::PutMetricData, Self::GetSecretValue];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DescribeServices => "DescribeServices",
            Self::RegisterTaskDefinition => "RegisterTaskDefinition",
            Self::PutMetricData => "PutMetricData",
            Self::GetSecretValue => "GetSecretValue",
        }
    }

    pub(super) async fn load(self, port: u16, connections: usize, time: Duration) -> anyhow::Result<Load> {
        match self {
            Self::DescribeServices => {
                let request = DescribeServicesRequest {
                    cluster: Some(CLUSTER.into()),
                    services: vec![NAME.into()],
                    ..Default::default()
                };
                load::run::<ecs::DescribeServices>(port, &request, connections, time).await
            }
            Self::RegisterTaskDefinition => {
                load::run::<ecs::RegisterTaskDefinition>(port, &definition(), connections, time).await
            }
            Self::PutMetricData => {
                let datum = MetricDatum { metric_name: NAME.into(), value: Some(1.0), ..Default::default() };
                let request = PutMetricDataInput { namespace: NAME.into(), metric_data: Some(vec![datum]) };
                load::run::<cloudwatch::PutMetricData>(port, &request, connections, time).await
            }
            Self::GetSecretValue => {
                let request = GetSecretValueRequest { secret_id: NAME.into(), ..Default::default() };
                load::run::<secrets::GetSecretValue>(port, &request, connections, time).await
            }
        }
    }
}

fn definition() -> RegisterTaskDefinitionRequest {
    let container = ContainerDefinition {
        name: Some("app".into()),
        image: Some("bench:latest".into()),
        ..Default::default()
    };
    RegisterTaskDefinitionRequest {
        family: NAME.into(),
        network_mode: Some("awsvpc".into()),
        requires_compatibilities: Some(vec!["FARGATE".into()]),
        cpu: Some("256".into()),
        memory: Some("512".into()),
        container_definitions: vec![container],
        ..Default::default()
    }
}

/// A service without tasks, and a secret.
pub(super) async fn prepare(client: &Client) -> anyhow::Result<()> {
    let network = network(client).await?;
    client.call::<ecs::RegisterTaskDefinition>(definition()).await?;
    let service = CreateServiceRequest {
        cluster: Some(CLUSTER.into()),
        service_name: NAME.into(),
        task_definition: Some(NAME.into()),
        desired_count: Some(0),
        launch_type: Some("FARGATE".into()),
        network_configuration: Some(network),
        ..Default::default()
    };
    client.call::<ecs::CreateService>(service).await?;
    let secret = CreateSecretRequest {
        name: NAME.into(),
        secret_string: Some("a password of some length".into()),
        ..Default::default()
    };
    client.call::<secrets::CreateSecret>(secret).await?;
    Ok(())
}
