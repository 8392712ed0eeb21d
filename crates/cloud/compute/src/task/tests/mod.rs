//! One-off tasks from RunTask to their end, on a machine that the test plays.

use std::path::PathBuf;
use std::time::Duration;

use pileus_aws::ecs::{self, ops};
use pileus_aws::iam;
use pileus_contract::TaskState;
use pileus_contract::containers::{ContainerState, ContainerStatus, Exit};
use pileus_core::Secret;
use pileus_kit::{Cloud, push_image};

use crate::machine::{Effect, Report, TaskRef};
use crate::testing::{IMAGE, Place, base, cloud, definition, network};
use crate::{
    TaskLoad, adopt, credentials, effects, log_routes, metadata, metrics, observe, reconcile, task_spec,
};

mod execution;

/// A cloud whose machine has been asked what it has: nothing.
fn ready() -> (Cloud, Place) {
    let mut cloud = cloud();
    let place = base(&mut cloud);
    push_image(&mut cloud, "web", "app", Some("latest"));
    cloud.write(|cx| adopt(cx.tx, Vec::new()));
    (cloud, place)
}

fn request(place: &Place) -> ecs::RunTaskRequest {
    ecs::RunTaskRequest {
        task_definition: "web".into(),
        launch_type: Some("FARGATE".into()),
        network_configuration: network(place),
        ..Default::default()
    }
}

fn run(cloud: &mut Cloud, request: ecs::RunTaskRequest) -> TaskRef {
    let task = cloud.ok::<ops::RunTask>(request).tasks.unwrap().remove(0);
    step(cloud);
    let id = task.task_arn.unwrap().rsplit('/').next().unwrap().to_owned();
    TaskRef { scope: cloud.scope.clone(), id }
}

/// Lets the fabric and the controllers follow.
fn step(cloud: &mut Cloud) {
    let fabric = pileus_network::fabric_spec(&cloud.state);
    cloud.write(|cx| pileus_network::settle(cx.tx, &fabric, cx.now));
    cloud.write(|cx| reconcile(cx.tx, cx.now, cx.ids));
}

fn report(cloud: &mut Cloud, report: Report) {
    cloud.write(|cx| observe(cx.tx, report));
    step(cloud);
}

fn state(cloud: &Cloud, id: &str, status: ContainerStatus) -> Report {
    let ended = matches!(status, ContainerStatus::Exited(_));
    assert!(cloud.state.all::<crate::Task>().any(|(_, task)| task.id == id));
    let (name, runtime_id) = ("web".into(), "r".into());
    let containers = vec![ContainerState { name, runtime_id, status, health: None, restarts: 0 }];
    Report::Present(TaskState { id: id.into(), containers, ended })
}

fn running(cloud: &mut Cloud, id: &str) {
    let status = ContainerStatus::Running { since: cloud.now, pid: 1 };
    let running = state(cloud, id, status);
    report(cloud, running);
}

fn exited(cloud: &mut Cloud, id: &str, exit: Exit) {
    let exited = state(cloud, id, ContainerStatus::Exited(exit));
    report(cloud, exited);
}

fn exit(cloud: &Cloud, code: Option<i32>) -> Exit {
    Exit { at: cloud.now, code, out_of_memory: false, reason: None }
}

fn shown(cloud: &mut Cloud, task: &TaskRef) -> ecs::Task {
    let input = ecs::DescribeTasksRequest { tasks: vec![task.id.clone()], ..Default::default() };
    cloud.ok::<ops::DescribeTasks>(input).tasks.unwrap().remove(0)
}

fn status(cloud: &mut Cloud, task: &TaskRef) -> String {
    shown(cloud, task).last_status.unwrap()
}

#[test]
fn a_task_runs_and_ends_by_itself() {
    let (mut cloud, place) = ready();
    let task = run(&mut cloud, request(&place));
    assert_eq!(status(&mut cloud, &task), "PENDING");
    assert_eq!(effects(&cloud.state), [Effect::Start(task.clone())]);
    running(&mut cloud, &task.id);
    assert_eq!(status(&mut cloud, &task), "RUNNING");
    assert_eq!(effects(&cloud.state), []);
    let end = exit(&cloud, Some(0));
    exited(&mut cloud, &task.id, end);
    let ended = shown(&mut cloud, &task);
    assert_eq!(ended.last_status.as_deref(), Some("DEPROVISIONING"));
    assert_eq!(ended.stop_code.as_deref(), Some("EssentialContainerExited"));
    assert_eq!(ended.stopped_reason.as_deref(), Some("Essential container in task exited"));
    assert_eq!(ended.containers.unwrap()[0].exit_code, Some(0));
    assert_eq!(effects(&cloud.state), [Effect::Remove(task.id.clone())]);
    report(&mut cloud, Report::Removed { task: task.id.clone() });
    let stopped = shown(&mut cloud, &task);
    assert_eq!(stopped.last_status.as_deref(), Some("STOPPED"));
    assert_eq!(stopped.attachments.unwrap()[0].status.as_deref(), Some("DELETED"));
    assert_eq!(effects(&cloud.state), []);
    cloud.advance(Duration::from_secs(3599));
    step(&mut cloud);
    assert_eq!(status(&mut cloud, &task), "STOPPED");
    cloud.advance(Duration::from_secs(1));
    step(&mut cloud);
    assert_eq!(cloud.state.all::<crate::Task>().count(), 0);
}

#[test]
fn a_task_without_a_target_is_stopped_at_once() {
    let (mut cloud, place) = ready();
    let task = run(&mut cloud, request(&place));
    running(&mut cloud, &task.id);
    let input = ecs::StopTaskRequest {
        task: shown(&mut cloud, &task).task_arn.unwrap(),
        reason: Some("enough".into()),
        ..Default::default()
    };
    let stopping = cloud.ok::<ops::StopTask>(input).task.unwrap();
    assert_eq!(stopping.last_status.as_deref(), Some("STOPPING"));
    assert_eq!(stopping.desired_status.as_deref(), Some("STOPPED"));
    assert_eq!(stopping.stop_code.as_deref(), Some("UserInitiated"));
    assert_eq!(stopping.stopped_reason.as_deref(), Some("enough"));
    assert_eq!(effects(&cloud.state), [Effect::Stop(task.id.clone())]);
    report(&mut cloud, Report::StopRequested { task: task.id.clone() });
    assert_eq!(effects(&cloud.state), [], "the stop sequence has begun");
    let end = exit(&cloud, Some(143));
    exited(&mut cloud, &task.id, end);
    assert_eq!(status(&mut cloud, &task), "DEPROVISIONING");
}

#[test]
fn what_keeps_a_task_from_starting_is_told() {
    let (mut cloud, place) = ready();
    // The container cannot be created.
    let task = run(&mut cloud, request(&place));
    let reason = "CannotStartContainerError: no such user".to_owned();
    report(&mut cloud, Report::StartFailed { task: task.id.clone(), reason: reason.clone() });
    let failed = shown(&mut cloud, &task);
    assert_eq!(failed.stop_code.as_deref(), Some("TaskFailedToStart"));
    assert_eq!(failed.stopped_reason, Some(reason));
    assert_eq!(failed.started_at, None);
    // The image is not there.
    let mut missing = definition();
    missing.container_definitions[0].image = Some(IMAGE.replace("latest", "none"));
    cloud.ok::<ops::RegisterTaskDefinition>(missing);
    let task = run(&mut cloud, request(&place));
    let failed = shown(&mut cloud, &task);
    let reason = failed.stopped_reason.unwrap();
    assert!(reason.starts_with("CannotPullContainerError: "), "{reason}");
    assert!(reason.ends_with("/web:none: not found"), "{reason}");
}

#[test]
fn a_task_killed_for_memory_says_so() {
    let (mut cloud, place) = ready();
    let task = run(&mut cloud, request(&place));
    running(&mut cloud, &task.id);
    let end = Exit { out_of_memory: true, ..exit(&cloud, Some(137)) };
    exited(&mut cloud, &task.id, end);
    let container = shown(&mut cloud, &task).containers.unwrap().remove(0);
    assert_eq!(container.exit_code, Some(137));
    assert_eq!(container.reason.as_deref(), Some("OutOfMemoryError: Container killed due to memory usage"));
}

#[test]
fn nothing_is_done_or_concluded_before_the_machine_was_asked() {
    let (mut cloud, place) = ready();
    let alive = run(&mut cloud, request(&place));
    running(&mut cloud, &alive.id);
    let waiting = run(&mut cloud, request(&place));
    cloud.restart();
    step(&mut cloud);
    assert_eq!(
        (status(&mut cloud, &alive), status(&mut cloud, &waiting)),
        ("RUNNING".into(), "PENDING".into())
    );
    assert_eq!(effects(&cloud.state), []);
    cloud.write(|cx| adopt(cx.tx, Vec::new()));
    step(&mut cloud);
    let lost = shown(&mut cloud, &alive);
    assert_eq!(
        lost.stopped_reason.as_deref(),
        Some("The task was not found on the machine when the engine started")
    );
    assert!(effects(&cloud.state).contains(&Effect::Start(waiting)));
}

#[test]
fn a_task_that_no_record_knows_is_removed() {
    let (mut cloud, _) = ready();
    let stray = TaskState { id: "stray".into(), containers: Vec::new(), ended: false };
    cloud.restart();
    cloud.write(|cx| adopt(cx.tx, vec![stray]));
    assert_eq!(effects(&cloud.state), [Effect::Remove("stray".into())]);
    report(&mut cloud, Report::Removed { task: "stray".into() });
    assert_eq!(effects(&cloud.state), []);
    assert_eq!(cloud.state.all::<crate::machine::TaskObservation>().count(), 0);
}

#[test]
fn the_same_token_runs_a_task_once() {
    let (mut cloud, place) = ready();
    let once = || ecs::RunTaskRequest { client_token: Some("once".into()), ..request(&place) };
    let (first, second) = (run(&mut cloud, once()), run(&mut cloud, once()));
    assert_eq!(first, second);
    let many = cloud.ok::<ops::RunTask>(ecs::RunTaskRequest { count: Some(4), ..request(&place) });
    let zones: Vec<_> = many.tasks.unwrap().into_iter().map(|task| task.availability_zone.unwrap()).collect();
    assert_eq!(zones, ["us-east-1a", "us-east-1b", "us-east-1a", "us-east-1b"]);
    let bad = ecs::RunTaskRequest { count: Some(11), ..request(&place) };
    assert_eq!(cloud.code::<ops::RunTask>(bad), "InvalidParameterException");
    let with = |container: ecs::ContainerOverride| ecs::RunTaskRequest {
        overrides: Some(ecs::TaskOverride {
            container_overrides: Some(vec![container]),
            ..Default::default()
        }),
        ..request(&place)
    };
    let name = |name: &str| ecs::ContainerOverride { name: Some(name.into()), ..Default::default() };
    assert_eq!(cloud.code::<ops::RunTask>(with(name("other"))), "InvalidParameterException");
    let greedy = ecs::ContainerOverride { memory: Some(513), ..name("web") };
    assert_eq!(cloud.code::<ops::RunTask>(with(greedy)), "ClientException");
}

#[test]
fn the_spec_carries_environment_overrides_and_metadata() {
    let (mut cloud, place) = ready();
    let mut web = definition();
    let pair =
        |name: &str, value: &str| ecs::KeyValuePair { name: Some(name.into()), value: Some(value.into()) };
    web.container_definitions[0].environment = Some(vec![pair("A", "1"), pair("B", "1")]);
    web.container_definitions[0].command = Some(vec!["serve".into()]);
    web.task_role_arn = Some("arn:aws:iam::000000000000:role/app".into());
    cloud.ok::<ops::RegisterTaskDefinition>(web);
    let overrides = ecs::ContainerOverride {
        name: Some("web".into()),
        command: Some(vec!["migrate".into()]),
        environment: Some(vec![pair("B", "2")]),
        ..Default::default()
    };
    let overrides = ecs::TaskOverride { container_overrides: Some(vec![overrides]), ..Default::default() };
    let task = run(&mut cloud, ecs::RunTaskRequest { overrides: Some(overrides), ..request(&place) });
    let secret = Secret::new("{}");
    let namespace = |interface: &str| PathBuf::from("/run/netns").join(interface);
    let spec = task_spec(&cloud.state, &task, &namespace, Some(&secret), Default::default()).unwrap();
    assert_eq!((spec.cpu_units, spec.memory_mib), (256, 512));
    assert_eq!(spec.nameserver.to_string(), "10.0.0.2");
    assert_eq!(
        (spec.hostname.as_str(), spec.search_domain.as_str()),
        ("ip-10-0-1-5.ec2.internal", "ec2.internal")
    );
    assert!(spec.namespace.starts_with("/run/netns/"));
    let container = &spec.containers[0];
    assert_eq!(container.command, Some(vec!["migrate".into()]));
    let variable = |name: &str| container.environment.get(name).map(String::as_str);
    assert_eq!((variable("A"), variable("B")), (Some("1"), Some("2")));
    assert_eq!(variable("AWS_REGION"), Some("us-east-1"));
    let uri =
        variable("ECS_CONTAINER_METADATA_URI_V4").unwrap().strip_prefix("http://169.254.170.2").unwrap();
    let document = |path: &str| -> serde_json::Value {
        serde_json::from_str(spec.metadata.get(path).unwrap().reveal()).unwrap()
    };
    assert_eq!(document(uri)["Name"], "web");
    let whole = document(&format!("{uri}/task"));
    assert_eq!((&whole["Family"], &whole["Limits"]["CPU"]), (&"web".into(), &0.25.into()));
    assert_eq!(document(variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").unwrap()), serde_json::json!({}));
    assert_eq!(metadata(&cloud.state, &task, Some(&secret)), spec.metadata);
}

#[test]
fn roles_that_cannot_be_assumed_keep_a_task_from_starting() {
    let (mut cloud, place) = ready();
    let mut web = definition();
    web.task_role_arn = Some("arn:aws:iam::000000000000:role/app".into());
    cloud.ok::<ops::RegisterTaskDefinition>(web);
    let task = run(&mut cloud, request(&place));
    let attempt = |cloud: &mut Cloud| {
        cloud.write(|cx| {
            let mut mint = pileus_security::Mint { ids: cx.ids, entropy: cx.entropy };
            credentials(cx.tx, &mut mint, &task, cx.now)
        })
    };
    let failure = attempt(&mut cloud).unwrap_err().to_string();
    assert!(
        failure.starts_with("ResourceInitializationError: ECS was unable to assume the role"),
        "{failure}"
    );
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",
        "Principal":{"Service":"ecs-tasks.amazonaws.com"}}]}"#;
    cloud.ok::<iam::ops::CreateRole>(iam::CreateRoleRequest {
        role_name: "app".into(),
        assume_role_policy_document: trust.into(),
        ..Default::default()
    });
    let made = attempt(&mut cloud).unwrap().unwrap();
    assert!(made.document.reveal().contains("role/app"));
}

/// Registers `web` with the awslogs driver.
fn register_logging(cloud: &mut Cloud, create_group: &str) {
    let mut web = definition();
    let options = [
        ("awslogs-group", "/ecs/web"),
        ("awslogs-region", "us-east-1"),
        ("awslogs-stream-prefix", "app"),
        ("awslogs-create-group", create_group),
    ];
    web.container_definitions[0].log_configuration = Some(ecs::LogConfiguration {
        log_driver: "awslogs".into(),
        options: Some(options.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        ..Default::default()
    });
    cloud.ok::<ops::RegisterTaskDefinition>(web);
}

#[test]
fn a_missing_log_group_keeps_a_task_from_starting() {
    let (mut cloud, place) = ready();
    register_logging(&mut cloud, "false");
    let task = run(&mut cloud, request(&place));
    let failed = shown(&mut cloud, &task);
    assert_eq!(failed.stop_code.as_deref(), Some("TaskFailedToStart"));
    let reason = failed.stopped_reason.unwrap();
    assert!(reason.starts_with("ResourceInitializationError: failed to validate logger args"), "{reason}");
    assert!(reason.contains("ResourceNotFoundException"), "{reason}");
}

#[test]
fn log_lines_go_to_prefix_container_and_task() {
    let (mut cloud, place) = ready();
    register_logging(&mut cloud, "true");
    // AWS's policy for execution roles does not allow groups to be made.
    let task = run(&mut cloud, request(&place));
    assert!(shown(&mut cloud, &task).stopped_reason.unwrap().contains("logs:CreateLogGroup"));
    execution::restrict(&mut cloud, r#"{"Effect":"Allow","Action":["ecr:*","logs:*"],"Resource":"*"}"#);
    let task = run(&mut cloud, request(&place));
    assert_eq!(cloud.state.all::<pileus_monitoring::logs::LogStream>().count(), 1);
    let mut routes = log_routes(&cloud.state);
    routes.retain(|route| route.task == task);
    assert_eq!(routes.len(), 1);
    assert_eq!(routes[0].stream.stream, format!("app/web/{}", task.id));
    assert_eq!((routes[0].stream.group.as_str(), routes[0].create_group), ("/ecs/web", true));
}

#[test]
fn only_tasks_of_services_have_metrics() {
    let (mut cloud, place) = ready();
    cloud.ok::<ops::CreateService>(ecs::CreateServiceRequest {
        load_balancers: None,
        ..crate::testing::service(&place, 2)
    });
    step(&mut cloud);
    let alone = run(&mut cloud, request(&place));
    let tasks: Vec<TaskRef> = cloud
        .state
        .all::<crate::Task>()
        .map(|(scope, task)| TaskRef { scope: scope.clone(), id: task.id.clone() })
        .collect();
    for task in &tasks {
        running(&mut cloud, &task.id);
    }
    let load = |task: &TaskRef, cores| TaskLoad { task: task.clone(), cores, memory_bytes: 256 << 20 };
    let mut loads = vec![load(&alone, 9.0)];
    loads.extend(tasks.iter().filter(|task| **task != alone).zip([0.125, 0.25]).map(|(t, c)| load(t, c)));
    let points = metrics(&cloud.state, &loads, cloud.now);
    let of = |name: &str| {
        let found = points.iter().find(|(_, key, _)| key.name == name).unwrap();
        (found.2.min, found.2.max, found.2.count)
    };
    assert_eq!(points.len(), 2);
    assert_eq!(of("CPUUtilization"), (50.0, 100.0, 2.0));
    assert_eq!(of("MemoryUtilization"), (50.0, 50.0, 2.0));
}
