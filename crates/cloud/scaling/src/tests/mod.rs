//! Tests through the handlers and [`crate::reconcile`], over real ECS records and a machine that starts and stops
//! whatever it is told to at once.

mod api;
mod histories;
mod policies;
mod schedules;

use std::time::Duration;

use pileus_aws::application_autoscaling as aas;
use pileus_aws::application_autoscaling::ops;
use pileus_aws::{ec2, ecs, iam};
use pileus_compute::{Effect, Report};
use pileus_contract::TaskState;
use pileus_contract::containers::{ContainerState, ContainerStatus, Exit};
use pileus_core::Timestamp;
use pileus_kit::{Cloud, push_image};
use pileus_monitoring::alarms::{PendingAction, StateValue};

const WEB: &str = "service/default/web";
const DIMENSION: &str = "ecs:service:DesiredCount";
const MINUTE: Duration = Duration::from_secs(60);

/// An ECS service `web`, and what plays the machine under it.
struct World {
    cloud: Cloud,
}

impl World {
    /// A service of `desired` running tasks whose deployment has completed, without a scalable target.
    fn new(desired: i64) -> Self {
        let mut cloud = cloud();
        let subnet = subnet(&mut cloud);
        execution_role(&mut cloud);
        cloud.ok::<ecs::ops::CreateCluster>(Default::default());
        push_image(&mut cloud, "web", "app", Some("latest"));
        cloud.ok::<ecs::ops::RegisterTaskDefinition>(definition());
        cloud.write(|cx| pileus_compute::adopt(cx.tx, Vec::new()));
        cloud.ok::<ecs::ops::CreateService>(ecs::CreateServiceRequest {
            service_name: "web".into(),
            task_definition: Some("web".into()),
            desired_count: Some(desired),
            launch_type: Some("FARGATE".into()),
            network_configuration: Some(ecs::NetworkConfiguration {
                awsvpc_configuration: Some(ecs::AwsVpcConfiguration {
                    subnets: vec![subnet],
                    ..Default::default()
                }),
            }),
            ..Default::default()
        });
        let mut world = Self { cloud };
        world.settle();
        world.pass(MINUTE);
        world
    }

    /// The same with a target between `min` and `max`.
    fn registered(desired: i64, min: i64, max: i64) -> Self {
        let mut world = Self::new(desired);
        world.cloud.ok::<ops::RegisterScalableTarget>(range(min, max));
        world
    }

    /// Lets ECS and the machine come to rest, and scaling follow.
    fn settle(&mut self) {
        for _ in 0..20 {
            let before = self.cloud.state.version();
            let fabric = pileus_network::fabric_spec(&self.cloud.state);
            self.cloud.write(|cx| pileus_network::settle(cx.tx, &fabric, cx.now));
            self.cloud.write(|cx| pileus_compute::reconcile(cx.tx, cx.now, cx.ids));
            for effect in pileus_compute::effects(&self.cloud.state) {
                let report = played(&self.cloud, &effect);
                self.cloud
                    .write(|cx| report.into_iter().for_each(|report| pileus_compute::observe(cx.tx, report)));
            }
            self.reconcile();
            if self.cloud.state.version() == before {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    fn reconcile(&mut self) -> Option<Timestamp> {
        let metrics = self.cloud.bulk.metrics.clone();
        self.cloud.write(|cx| crate::reconcile(cx.tx, cx.ids, &*metrics, cx.now))
    }

    fn pass(&mut self, time: Duration) {
        self.cloud.advance(time);
        self.settle();
    }

    fn desired(&self) -> u32 {
        let service = self.cloud.state.get::<pileus_compute::Service>(&self.cloud.scope, "default/web");
        service.expect("it is there").desired
    }

    fn set_desired(&mut self, desired: i64) {
        self.cloud.ok::<ecs::ops::UpdateService>(ecs::UpdateServiceRequest {
            service: "web".into(),
            desired_count: Some(desired),
            ..Default::default()
        });
    }

    /// An alarm of this name tells the policy that the newest datapoint is `value`.
    fn trigger(&mut self, alarm: &str, policy: &str, value: f64) {
        let (action, alarm) = (policy.to_owned(), alarm.to_owned());
        self.cloud.write(|cx| {
            cx.tx.put(PendingAction {
                at: cx.now,
                alarm,
                action,
                old: StateValue::Alarm,
                new: StateValue::Alarm,
                value: Some(value),
                repeated: true,
            });
        });
        self.reconcile();
    }

    /// Newest first.
    fn activities(&mut self) -> Vec<aas::ScalingActivity> {
        let input = aas::DescribeScalingActivitiesRequest {
            service_namespace: "ecs".into(),
            include_not_scaled_activities: Some(true),
            ..Default::default()
        };
        self.cloud.ok::<ops::DescribeScalingActivities>(input).scaling_activities.expect("a list")
    }

    fn newest(&mut self) -> aas::ScalingActivity {
        self.activities().into_iter().next().expect("there is one")
    }
}

/// What the machine answers to an effect.
fn played(cloud: &Cloud, effect: &Effect) -> Option<Report> {
    let state = |id: &str, status: ContainerStatus| {
        let ended = matches!(status, ContainerStatus::Exited(_));
        let container =
            ContainerState { name: "web".into(), runtime_id: id.into(), status, health: None, restarts: 0 };
        Report::Present(TaskState { id: id.into(), containers: vec![container], ended })
    };
    Some(match effect {
        Effect::Start(task) => state(&task.id, ContainerStatus::Running { since: cloud.now, pid: 1 }),
        Effect::Stop(task) => state(
            task,
            ContainerStatus::Exited(Exit {
                at: cloud.now,
                code: Some(0),
                out_of_memory: false,
                reason: None,
            }),
        ),
        Effect::Remove(task) => Report::Removed { task: task.clone() },
    })
}

fn cloud() -> Cloud {
    Cloud::new(
        |tables| {
            pileus_network::tables(tables);
            pileus_balancing::tables(tables);
            pileus_registry::tables(tables);
            pileus_monitoring::tables(tables);
            pileus_secrets::tables(tables);
            pileus_security::tables(tables);
            pileus_compute::tables(tables);
            crate::tables(tables);
        },
        |router| {
            pileus_network::operations(router);
            pileus_registry::operations(router);
            pileus_monitoring::operations(router);
            pileus_security::operations(router);
            pileus_compute::operations(router);
            crate::operations(router);
        },
    )
}

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

fn subnet(cloud: &mut Cloud) -> String {
    let vpc = ec2::CreateVpcRequest { cidr_block: Some("10.0.0.0/16".into()), ..Default::default() };
    let vpc = cloud.ok::<ec2::ops::CreateVpc>(vpc).vpc.unwrap().vpc_id.unwrap();
    let input = ec2::CreateSubnetRequest {
        vpc_id: vpc,
        cidr_block: Some("10.0.0.0/20".into()),
        availability_zone: Some("us-east-1a".into()),
        ..Default::default()
    };
    cloud.ok::<ec2::ops::CreateSubnet>(input).subnet.unwrap().subnet_id.unwrap()
}

fn definition() -> ecs::RegisterTaskDefinitionRequest {
    let container = ecs::ContainerDefinition {
        name: Some("web".into()),
        image: Some("000000000000.dkr.ecr.us-east-1.amazonaws.com/web:latest".into()),
        ..Default::default()
    };
    ecs::RegisterTaskDefinitionRequest {
        family: "web".into(),
        network_mode: Some("awsvpc".into()),
        requires_compatibilities: Some(vec!["FARGATE".into()]),
        cpu: Some("256".into()),
        memory: Some("512".into()),
        execution_role_arn: Some("arn:aws:iam::000000000000:role/execution".into()),
        container_definitions: vec![container],
        ..Default::default()
    }
}

fn range(min: i64, max: i64) -> aas::RegisterScalableTargetRequest {
    aas::RegisterScalableTargetRequest {
        service_namespace: "ecs".into(),
        resource_id: WEB.into(),
        scalable_dimension: DIMENSION.into(),
        min_capacity: Some(min),
        max_capacity: Some(max),
        ..Default::default()
    }
}

fn put(name: &str) -> aas::PutScalingPolicyRequest {
    aas::PutScalingPolicyRequest {
        policy_name: name.into(),
        service_namespace: "ecs".into(),
        resource_id: WEB.into(),
        scalable_dimension: DIMENSION.into(),
        ..Default::default()
    }
}

fn tracking(target: f64) -> aas::TargetTrackingScalingPolicyConfiguration {
    aas::TargetTrackingScalingPolicyConfiguration {
        target_value: target,
        predefined_metric_specification: Some(aas::PredefinedMetricSpecification {
            predefined_metric_type: "ECSServiceAverageCPUUtilization".into(),
            resource_label: None,
        }),
        scale_out_cooldown: Some(60),
        scale_in_cooldown: Some(60),
        ..Default::default()
    }
}

fn put_tracking(
    name: &str,
    configuration: aas::TargetTrackingScalingPolicyConfiguration,
) -> aas::PutScalingPolicyRequest {
    aas::PutScalingPolicyRequest {
        policy_type: Some("TargetTrackingScaling".into()),
        target_tracking_scaling_policy_configuration: Some(configuration),
        ..put(name)
    }
}

/// A policy that adds `amount`, above its alarm's threshold where positive and else below it.
fn put_step(name: &str, amount: i64, cooldown: i64) -> aas::PutScalingPolicyRequest {
    let bound = |wanted: bool| wanted.then_some(0.0);
    aas::PutScalingPolicyRequest {
        policy_type: Some("StepScaling".into()),
        step_scaling_policy_configuration: Some(aas::StepScalingPolicyConfiguration {
            adjustment_type: Some("ChangeInCapacity".into()),
            step_adjustments: Some(vec![aas::StepAdjustment {
                metric_interval_lower_bound: bound(amount > 0),
                metric_interval_upper_bound: bound(amount <= 0),
                scaling_adjustment: amount,
            }]),
            cooldown: Some(cooldown),
            ..Default::default()
        }),
        ..put(name)
    }
}
