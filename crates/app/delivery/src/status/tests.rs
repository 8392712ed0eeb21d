//! The view of canned answers, as JSON: the interface that programs rely on.

use expect_test::expect;
use pileus_aws::ecs::{Attachment, Container, KeyValuePair, ServiceEvent};
use pileus_aws::elbv2::{LoadBalancer, TargetDescription, TargetHealth};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_795_377_600);

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn ago(seconds: u64) -> Option<Timestamp> {
    Some(NOW - Duration::from_secs(seconds))
}

fn task(id: &str, status: &str) -> Task {
    let detail = KeyValuePair { name: some("privateIPv4Address"), value: some("10.0.10.5") };
    Task {
        task_arn: some(&format!("arn:aws:ecs:us-east-1:000000000000:task/app/{id}")),
        availability_zone: some("us-east-1a"),
        last_status: some(status),
        created_at: ago(62),
        started_at: ago(60),
        task_definition_arn: some("arn:aws:ecs:us-east-1:000000000000:task-definition/app:3"),
        attachments: Some(vec![Attachment { details: Some(vec![detail]), ..Default::default() }]),
        ..Default::default()
    }
}

fn observed() -> Observed {
    let deployment = Deployment {
        id: some("ecs-svc/1"),
        status: some("PRIMARY"),
        task_definition: some("arn:aws:ecs:us-east-1:000000000000:task-definition/app:3"),
        rollout_state: some("COMPLETED"),
        rollout_state_reason: some("ECS deployment ecs-svc/1 completed."),
        desired_count: Some(1),
        running_count: Some(1),
        created_at: ago(90),
        ..Default::default()
    };
    let event = ServiceEvent {
        created_at: ago(30),
        message: some("(service app) has reached a steady state."),
        ..Default::default()
    };
    let service = Service {
        service_name: some("app"),
        cluster_arn: some("arn:aws:ecs:us-east-1:000000000000:cluster/app"),
        status: some("ACTIVE"),
        task_definition: some("arn:aws:ecs:us-east-1:000000000000:task-definition/app:3"),
        desired_count: Some(1),
        running_count: Some(1),
        pending_count: Some(0),
        deployments: Some(vec![deployment]),
        events: Some(vec![event]),
        ..Default::default()
    };
    let target = TargetHealthDescription {
        target: Some(TargetDescription {
            id: "10.0.10.5".into(),
            port: Some(3000),
            availability_zone: some("us-east-1a"),
        }),
        target_health: Some(TargetHealth { state: some("healthy"), ..Default::default() }),
        ..Default::default()
    };
    let balancer = LoadBalancer { dns_name: some("app-1.us-east-1.elb.localhost"), ..Default::default() };
    let usage = Usage { cpu: Some(1.5), memory: Some(12.25) };
    Observed {
        service,
        tasks: vec![task("0123456789abcdef", "RUNNING")],
        targets: vec![target],
        balancer: Some(balancer),
        usage: [("0123456789abcdef".to_owned(), usage)].into(),
    }
}

#[test]
fn json_is_an_interface() {
    let view = View::new("app", &observed(), Some(8080), NOW);
    let json = serde_json::to_string_pretty(&view).unwrap();
    expect![[r#"
        {
          "app": "app",
          "url": "http://app-1.us-east-1.elb.localhost:8080",
          "steady": true,
          "service": {
            "name": "app",
            "cluster": "app",
            "status": "ACTIVE",
            "task_definition": "app:3",
            "desired": 1,
            "running": 1,
            "pending": 0
          },
          "deployments": [
            {
              "id": "ecs-svc/1",
              "status": "PRIMARY",
              "task_definition": "app:3",
              "rollout": "COMPLETED",
              "reason": "ECS deployment ecs-svc/1 completed.",
              "desired": 1,
              "running": 1,
              "pending": 0,
              "failed": 0,
              "since": "2026-11-22T19:58:30.000Z"
            }
          ],
          "tasks": [
            {
              "id": "0123456789abcdef",
              "az": "us-east-1a",
              "address": "10.0.10.5",
              "state": "RUNNING",
              "since": "2026-11-22T19:59:00.000Z",
              "task_definition": "app:3",
              "cpu_percent": 1.5,
              "memory_percent": 12.25
            }
          ],
          "targets": [
            {
              "address": "10.0.10.5",
              "port": 3000,
              "az": "us-east-1a",
              "health": "healthy",
              "reason": null,
              "description": null
            }
          ],
          "events": [
            {
              "at": "2026-11-22T19:59:30.000Z",
              "message": "(service app) has reached a steady state."
            }
          ],
          "warnings": []
        }"#]]
    .assert_eq(&json);
}

#[test]
fn port_80_is_not_said() {
    assert_eq!(url("a.elb.localhost", 80), "http://a.elb.localhost");
    assert_eq!(url("a.elb.localhost", 18099), "http://a.elb.localhost:18099");
}

#[test]
fn what_is_wrong_is_said_and_not_steady() {
    let mut observed = observed();
    observed.targets[0].target_health = Some(TargetHealth {
        state: some("unhealthy"),
        reason: some("Target.Timeout"),
        description: some("Request timed out"),
    });
    let mut stopped = task("feedfeedfeedfeed", "STOPPED");
    stopped.stop_code = some("EssentialContainerExited");
    stopped.stopped_reason = some("Essential container in task exited");
    stopped.stopped_at = ago(60);
    stopped.containers =
        Some(vec![Container { name: some("app"), exit_code: Some(1), ..Default::default() }]);
    let mut long_ago = stopped.clone();
    long_ago.stopped_at = ago(3600);
    observed.tasks.extend([stopped, long_ago]);
    let view = View::new("app", &observed, None, NOW);
    assert!(!view.steady);
    assert_eq!(view.url, None);
    assert_eq!(view.tasks.len(), 1, "stopped tasks are not listed");
    expect![[r#"
        No port of this host leads to the load balancer; see the engine's log.
        No target is healthy.
        Task feedfeed stopped: Essential container in task exited (container app exited with 1)"#]]
    .assert_eq(&view.warnings.join("\n"));
}

#[test]
fn a_rollout_under_way_is_not_steady() {
    let mut observed = observed();
    observed.service.running_count = Some(0);
    observed.tasks[0].last_status = some("PENDING");
    observed.tasks[0].started_at = None;
    observed.tasks[0].attachments = None;
    let view = View::new("app", &observed, Some(80), NOW);
    assert!(!view.steady);
    assert_eq!(view.tasks[0].since, ago(62));
    assert_eq!(view.tasks[0].address, None);
}
