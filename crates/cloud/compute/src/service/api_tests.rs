//! The service operations as a client sees them.

use pileus_aws::ecs::{self, ops};
use pileus_kit::Cloud;

use crate::testing::{base, cloud, definition, service, target_group};

fn describe(cloud: &mut Cloud) -> ecs::Service {
    let input = ecs::DescribeServicesRequest { services: vec!["web".into()], ..Default::default() };
    cloud.ok::<ops::DescribeServices>(input).services.unwrap().remove(0)
}

fn update(cloud: &mut Cloud, change: impl FnOnce(&mut ecs::UpdateServiceRequest)) -> ecs::Service {
    let mut input = ecs::UpdateServiceRequest { service: "web".into(), ..Default::default() };
    change(&mut input);
    cloud.ok::<ops::UpdateService>(input).service.unwrap()
}

#[test]
fn a_new_service_shows_the_defaults_of_aws() {
    let mut cloud = cloud();
    let place = base(&mut cloud);
    cloud.ok::<ops::CreateService>(service(&place, 2));
    let shown = describe(&mut cloud);
    assert_eq!(shown.status.as_deref(), Some("ACTIVE"));
    assert_eq!(shown.service_arn.as_deref(), Some("arn:aws:ecs:us-east-1:000000000000:service/default/web"));
    let configuration = shown.deployment_configuration.unwrap();
    assert_eq!(
        (configuration.minimum_healthy_percent, configuration.maximum_percent),
        (Some(100), Some(200))
    );
    assert_eq!(shown.availability_zone_rebalancing.as_deref(), Some("ENABLED"));
    assert_eq!(shown.propagate_tags.as_deref(), Some("NONE"));
    assert_eq!(shown.platform_version.as_deref(), Some("LATEST"));
    let network = shown.network_configuration.unwrap().awsvpc_configuration.unwrap();
    assert_eq!(network.assign_public_ip.as_deref(), Some("DISABLED"));
    let deployment = &shown.deployments.unwrap()[0];
    assert_eq!(deployment.status.as_deref(), Some("PRIMARY"));
    assert_eq!(deployment.rollout_state.as_deref(), Some("IN_PROGRESS"));
}

/// Clients find the service deployment of a deployment by its digits.
#[test]
fn the_revision_carries_the_digits_of_the_deployment() {
    let mut cloud = cloud();
    let place = base(&mut cloud);
    cloud.ok::<ops::CreateService>(service(&place, 2));
    let id = describe(&mut cloud).deployments.unwrap().remove(0).id.unwrap();
    let digits = id.strip_prefix("ecs-svc/").unwrap();
    let list = ecs::ListServiceDeploymentsRequest { service: "web".into(), ..Default::default() };
    let listed = cloud.ok::<ops::ListServiceDeployments>(list).service_deployments.unwrap();
    let revision = listed[0].target_service_revision_arn.clone().unwrap();
    assert!(revision.ends_with(&format!("service-revision/default/web/{digits}")), "{revision}");
    let described = cloud.ok::<ops::DescribeServiceDeployments>(ecs::DescribeServiceDeploymentsRequest {
        service_deployment_arns: vec![listed[0].service_deployment_arn.clone().unwrap()],
    });
    assert_eq!(described.service_deployments.unwrap()[0].status.as_deref(), Some("IN_PROGRESS"));
    let revisions = cloud.ok::<ops::DescribeServiceRevisions>(ecs::DescribeServiceRevisionsRequest {
        service_revision_arns: vec![revision, "arn:aws:ecs:us-east-1:0:service-revision/a/b/1".into()],
    });
    assert_eq!(revisions.service_revisions.unwrap().len(), 1);
    assert_eq!(revisions.failures.unwrap()[0].reason.as_deref(), Some("MISSING"));
}

#[test]
fn only_what_changes_the_revision_starts_a_deployment() {
    let mut cloud = cloud();
    let place = base(&mut cloud);
    cloud.ok::<ops::CreateService>(service(&place, 2));
    let deployments = |shown: ecs::Service| shown.deployments.unwrap().len();
    assert_eq!(deployments(update(&mut cloud, |u| u.desired_count = Some(3))), 1);
    let percents = ecs::DeploymentConfiguration { maximum_percent: Some(150), ..Default::default() };
    let shown = update(&mut cloud, |u| u.deployment_configuration = Some(percents));
    assert_eq!(shown.deployment_configuration.clone().unwrap().minimum_healthy_percent, Some(100));
    assert_eq!(deployments(shown), 1);
    assert_eq!(deployments(update(&mut cloud, |u| u.task_definition = Some("web:1".into()))), 1);
    assert_eq!(deployments(update(&mut cloud, |u| u.force_new_deployment = Some(true))), 2);
    cloud.ok::<ops::RegisterTaskDefinition>(definition());
    let shown = update(&mut cloud, |u| u.task_definition = Some("web".into()));
    assert!(shown.task_definition.as_deref().unwrap().ends_with("web:2"));
    assert_eq!(deployments(shown), 3);
}

#[test]
fn bad_requests_have_the_errors_of_aws() {
    let mut cloud = cloud();
    let place = base(&mut cloud);
    let tasks = ecs::ListTasksRequest { service_name: Some("none".into()), ..Default::default() };
    assert_eq!(cloud.code::<ops::ListTasks>(tasks), "ServiceNotFoundException");
    let vpc = cloud.state.all::<pileus_network::Vpc>().next().unwrap().1.id.clone();
    let unused = target_group(&mut cloud, &vpc, "unused");
    type Break<'a> = &'a dyn Fn(&mut ecs::CreateServiceRequest);
    let group = |r: &mut ecs::CreateServiceRequest, arn: &str| {
        r.load_balancers.as_mut().unwrap()[0].target_group_arn = Some(arn.to_owned());
    };
    let percents = |minimum, maximum| {
        Some(ecs::DeploymentConfiguration {
            minimum_healthy_percent: Some(minimum),
            maximum_percent: Some(maximum),
            ..Default::default()
        })
    };
    let cases: [(Break, &str, &str); 14] = [
        (&|r| r.cluster = Some("none".into()), "ClusterNotFoundException", "Cluster not found."),
        (&|r| r.task_definition = Some("none".into()), "ClientException", "TaskDefinition not found."),
        (&|r| r.desired_count = None, "InvalidParameterException", "desired count"),
        (
            &|r| r.network_configuration = None,
            "InvalidParameterException",
            "Network Configuration must be provided",
        ),
        (&|r| r.launch_type = Some("EC2".into()), "UnsupportedOperation", "other than FARGATE"),
        (&|r| group(r, &unused), "InvalidParameterException", "does not have an associated load balancer."),
        (
            &|r| r.load_balancers.as_mut().unwrap()[0].container_port = Some(80),
            "InvalidParameterException",
            "The container web did not have a container port 80 defined.",
        ),
        (
            &|r| r.load_balancers.as_mut().unwrap()[0].container_name = Some("x".into()),
            "InvalidParameterException",
            "The container x does not exist in the task definition.",
        ),
        (&|r| r.deployment_configuration = percents(100, 100), "InvalidParameterException", "cannot be 100"),
        (
            &|r| r.deployment_configuration = percents(200, 100),
            "InvalidParameterException",
            "minimumHealthyPercent",
        ),
        (&|r| r.scheduling_strategy = Some("DAEMON".into()), "InvalidParameterException", "DAEMON"),
        (&|r| r.enable_execute_command = Some(true), "UnsupportedOperation", "enableExecuteCommand"),
        (
            &|r| {
                r.load_balancers = None;
                r.health_check_grace_period_seconds = Some(30);
            },
            "InvalidParameterException",
            "Health check grace period is only valid",
        ),
        (
            &|r| {
                let network = r.network_configuration.as_mut().unwrap();
                network.awsvpc_configuration.as_mut().unwrap().subnets = vec!["subnet-00000000".into()];
            },
            "InvalidParameterException",
            "ErrorCode: InvalidSubnetID.NotFound",
        ),
    ];
    for (break_it, code, message) in cases {
        let mut request = service(&place, 2);
        break_it(&mut request);
        let error = cloud.call::<ops::CreateService>(request).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(message), "{message}: {error}");
    }
}

#[test]
fn creating_twice_needs_the_same_token() {
    let mut cloud = cloud();
    let place = base(&mut cloud);
    let request = ecs::CreateServiceRequest { client_token: Some("one".into()), ..service(&place, 1) };
    let first = cloud.ok::<ops::CreateService>(request.clone()).service.unwrap();
    let again = cloud.ok::<ops::CreateService>(request).service.unwrap();
    assert_eq!(first.deployments, again.deployments);
    let other = cloud.call::<ops::CreateService>(service(&place, 1)).unwrap_err();
    assert_eq!(other.message, "Creation of service was not idempotent.");
}

#[test]
fn a_service_is_deleted_at_zero_or_by_force() {
    let mut cloud = cloud();
    let place = base(&mut cloud);
    cloud.ok::<ops::CreateService>(service(&place, 1));
    let delete = |force| ecs::DeleteServiceRequest { service: "web".into(), force, ..Default::default() };
    assert_eq!(cloud.code::<ops::DeleteService>(delete(None)), "InvalidParameterException");
    let deleted = cloud.ok::<ops::DeleteService>(delete(Some(true))).service.unwrap();
    assert_eq!(deleted.status.as_deref(), Some("DRAINING"));
    let input = ecs::UpdateServiceRequest { service: "web".into(), ..Default::default() };
    assert_eq!(cloud.code::<ops::UpdateService>(input), "ServiceNotActiveException");
    assert_eq!(cloud.ok::<ops::ListServices>(Default::default()).service_arns, Some(Vec::new()));
    let draining = cloud.call::<ops::CreateService>(service(&place, 1)).unwrap_err();
    assert_eq!(draining.message, "Unable to Start a service that is still Draining.");
}

#[test]
fn what_is_missing_is_listed_as_a_failure() {
    let mut cloud = cloud();
    base(&mut cloud);
    let input = ecs::DescribeServicesRequest { services: vec!["no".into()], ..Default::default() };
    let failures = cloud.ok::<ops::DescribeServices>(input).failures.unwrap();
    assert_eq!(failures[0].arn.as_deref(), Some("arn:aws:ecs:us-east-1:000000000000:service/default/no"));
    assert_eq!(failures[0].reason.as_deref(), Some("MISSING"));
    let input = ecs::DescribeServicesRequest {
        cluster: Some("no".into()),
        services: vec!["web".into()],
        ..Default::default()
    };
    assert_eq!(cloud.code::<ops::DescribeServices>(input), "ClusterNotFoundException");
}
