//! What container definitions can ask for beside a program: health checks, order, restarts, volumes, limits.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use pileus_contract::containers::{
    Condition, ContainerState, Dependency, Health, HealthCheck, RestartPolicy, VolumeMount,
};
use pileus_contract::{Containers, TaskEvent, TaskState};

use crate::kit::{Kit, PATIENCE, exit, wait_ended};

fn check(script: &str) -> Option<HealthCheck> {
    Some(HealthCheck {
        command: ["sh", "-c", script].map(str::to_owned).into(),
        interval: Duration::from_millis(400),
        timeout: Duration::from_millis(300),
        retries: 2,
        start_period: Duration::ZERO,
    })
}

fn after(container: &str, condition: Condition) -> Vec<Dependency> {
    vec![Dependency { container: container.to_owned(), condition }]
}

fn container<'a>(state: &'a TaskState, name: &str) -> &'a ContainerState {
    state.containers.iter().find(|container| container.name == name).expect("the container is in the state")
}

fn wait_state(events: &Receiver<TaskEvent>, what: &str, holds: impl Fn(&TaskState) -> bool) -> TaskState {
    loop {
        match events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("in time: {what}")) {
            TaskEvent::State(state) if holds(&state) => return state,
            TaskEvent::State(_) | TaskEvent::Logs { .. } => {}
        }
    }
}

#[test]
fn a_health_check_runs_in_the_container_as_its_user() {
    let kit = Kit::new();
    let mut spec = kit.task("t", "echo up; while :; do sleep 0.05; done");
    let app = &mut spec.containers[0];
    app.user = Some("node".to_owned());
    app.environment = BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]);
    app.working_directory = Some("/tmp".to_owned());
    // Restricted as the container is, and nothing of it is left over.
    let script = "echo $GREETING $(id -u) $(pwd) $(grep -c 'Seccomp:.2' /proc/self/status) $(cat /proc/1/comm) > seen; \
                  ls -l /proc/self/fd | wc -l; test ! -e /shared/sick";
    app.health_check = check(script);
    app.mounts = vec![VolumeMount { volume: "v0".into(), path: "/shared".into(), read_only: false }];
    let events = kit.containers().events();
    let state = kit.containers().start(&spec).unwrap();
    assert_eq!(state.containers[0].health, Some(Health::Unknown));
    wait_state(&events, "healthy", |state| container(state, "app").health == Some(Health::Healthy));
    let tmp = kit.config.data_dir.join("tasks/t/app/upper/tmp");
    assert_eq!(std::fs::read_to_string(tmp.join("seen")).unwrap(), "hello 1000 /tmp 1 sh\n");
    let sick = kit.config.data_dir.join("tasks/t/~volumes/v0/sick");
    std::fs::write(&sick, "").unwrap();
    wait_state(&events, "unhealthy", |state| container(state, "app").health == Some(Health::Unhealthy));
    std::fs::remove_file(&sick).unwrap();
    wait_state(&events, "healthy again", |state| container(state, "app").health == Some(Health::Healthy));
    kit.containers().stop("t").unwrap();
    wait_ended(&events, "t");
}

#[test]
fn a_health_check_that_hangs_has_failed() {
    let kit = Kit::new();
    let mut spec = kit.task("t", "sleep 1000");
    spec.containers[0].health_check = check("sleep 1000");
    let events = kit.containers().events();
    kit.containers().start(&spec).unwrap();
    wait_state(&events, "unhealthy", |state| container(state, "app").health == Some(Health::Unhealthy));
}

#[test]
fn containers_start_in_the_order_of_their_conditions_and_stop_in_reverse() {
    let kit = Kit::new();
    let mut spec = kit.task("t", "");
    let said = |name: &str| {
        format!(
            "trap 'echo {name} stops >> /shared/log; exit 0' TERM; echo {name} >> /shared/log; \
                                     touch /shared/{name}; while :; do sleep 0.05; done"
        )
    };
    let mut migrate = kit.container("migrate", "sleep 0.2; echo migrate >> /shared/log");
    migrate.essential = false;
    let mut db = kit.container("db", &said("db"));
    db.depends_on = after("migrate", Condition::Success);
    db.health_check = check("test -e /shared/db");
    let mut web = kit.container("web", &said("web"));
    web.depends_on = after("db", Condition::Healthy);
    // The last one first: the order is that of the conditions.
    spec.containers = vec![web, db, migrate];
    for container in &mut spec.containers {
        let mount = VolumeMount { volume: "v0".into(), path: "/shared".into(), read_only: false };
        container.mounts = vec![mount];
    }
    let events = kit.containers().events();
    kit.containers().start(&spec).unwrap();
    let log = kit.config.data_dir.join("tasks/t/~volumes/v0/log");
    crate::kit::wait_for("web", || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("web")));
    kit.containers().stop("t").unwrap();
    let state = wait_ended(&events, "t");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "migrate\ndb\nweb\nweb stops\ndb stops\n");
    assert_eq!(exit(&state, "migrate").code, Some(0));
}

#[test]
fn what_can_never_start_ends_the_task_where_it_is_essential() {
    let kit = Kit::new();
    let events = kit.containers().events();
    let mut spec = kit.task("failed", "");
    let mut first = kit.container("first", "exit 3");
    first.essential = false;
    let mut second = kit.container("second", "echo never");
    second.depends_on = after("first", Condition::Success);
    spec.containers = vec![first, second];
    kit.containers().start(&spec).unwrap();
    let state = wait_ended(&events, "failed");
    let second = exit(&state, "second");
    assert_eq!(second.code, None);
    assert!(second.reason.unwrap().contains("did not exit successfully"));

    let mut spec = kit.task("late", "");
    let mut first = kit.container("first", "sleep 1000");
    first.start_timeout = Some(Duration::from_millis(100));
    first.stop_timeout = Duration::ZERO;
    let mut second = kit.container("second", "echo never");
    second.depends_on = after("first", Condition::Complete);
    spec.containers = vec![first, second];
    spec.namespace = kit.namespace.path();
    kit.containers().remove("failed").unwrap();
    kit.containers().start(&spec).unwrap();
    let state = wait_ended(&events, "late");
    assert!(exit(&state, "second").reason.unwrap().contains("start timeout"));
}

#[test]
fn a_restart_policy_starts_the_same_container_again() {
    let kit = Kit::new();
    let script =
        "if [ -e /tmp/once ]; then echo again; exit 5; fi; touch /tmp/once; echo first; sleep 0.3; exit 1";
    let mut spec = kit.task("t", script);
    let policy = RestartPolicy { ignored_exit_codes: vec![], attempt_period: Duration::from_millis(200) };
    spec.containers[0].restart = Some(policy);
    let (exit, output) = kit.run(&spec);
    assert_eq!(output, ["first", "again"], "what it had written was there");
    assert_eq!(exit.code, Some(5), "the second time it had not run long enough");
    assert_eq!(kit.state("t").containers[0].restarts, 1);
    kit.containers().remove("t").unwrap();
    let mut spec = kit.task("ignored", script);
    let policy = RestartPolicy { ignored_exit_codes: vec![1], attempt_period: Duration::ZERO };
    spec.containers[0].restart = Some(policy);
    assert_eq!(kit.run(&spec).1, ["first"]);
}

#[test]
fn volumes_are_shared_and_may_be_read_only() {
    let kit = Kit::new();
    let mut spec = kit
        .task("t", "while [ ! -e /in/file ]; do sleep 0.02; done; cat /in/file; touch /in/other || echo no");
    spec.containers[0].mounts =
        vec![VolumeMount { volume: "v0".into(), path: "/in".into(), read_only: true }];
    let mut writer = kit.container("writer", "echo shared > /tmp/file; id -u; sleep 1000");
    writer.user = Some("node".to_owned());
    writer.mounts = vec![VolumeMount { volume: "v0".into(), path: "/tmp".into(), read_only: false }];
    writer.readonly_rootfs = true;
    writer.stop_timeout = Duration::ZERO;
    // The first that is made gives the mode of its directory to the volume.
    spec.containers.insert(0, writer);
    let (exit, output) = kit.run(&spec);
    assert_eq!(exit.code, Some(0));
    assert_eq!(output[0], "shared", "{output:?}");
    assert_eq!(output.last().unwrap(), "no");
}

#[test]
fn limits_capabilities_and_kernel_parameters() {
    let kit = Kit::new();
    let script = "ulimit -n; ulimit -Hn; grep CapBnd /proc/self/status; cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let mut spec = kit.task("t", script);
    let app = &mut spec.containers[0];
    app.ulimits = BTreeMap::from([("nofile".to_owned(), (512, 600)), ("core".to_owned(), (0, 0))]);
    app.drop_capabilities = vec!["ALL".to_owned()];
    app.ptrace = true;
    spec.sysctls = BTreeMap::from([("net.ipv4.ip_unprivileged_port_start".to_owned(), "77".to_owned())]);
    let (exit, output) = kit.run(&spec);
    assert_eq!(exit.reason, None);
    assert_eq!(output, ["512", "600", "CapBnd:\t0000000000080000", "77"]);
}

#[test]
fn an_init_process_forwards_signals_and_reaps() {
    let kit = Kit::new();
    let script = "trap 'echo bye; exit 4' TERM; (sleep 0.01 & ); sleep 0.2; echo $$ $(ls /proc | grep -c '^[0-9]'); \
                  grep -l '^State:.Z' /proc/[0-9]*/status; echo up; while :; do sleep 0.05; done";
    let mut spec = kit.task("t", script);
    spec.containers[0].init = true;
    let events = kit.containers().events();
    kit.containers().start(&spec).unwrap();
    kit.wait_output("t", "app", "up");
    let output = kit.output("t", "app");
    assert!(output[0].starts_with("2 "), "the program is not the first process: {output:?}");
    assert_eq!(output.len(), 2, "nobody is left unreaped: {output:?}");
    kit.containers().stop("t").unwrap();
    assert_eq!(exit(&wait_ended(&events, "t"), "app").code, Some(4));
    assert_eq!(kit.output("t", "app").last().unwrap(), "bye");
    kit.containers().remove("t").unwrap();
    let mut spec = kit.task("killed", "kill -9 $$");
    spec.containers[0].init = true;
    assert_eq!(kit.run(&spec).0.code, Some(137));
}

#[test]
fn containers_may_share_their_processes() {
    let kit = Kit::new();
    let mut spec = kit.task("t", "sleep 0.3; grep -l marker-of-other /proc/[0-9]*/cmdline | wc -l; echo $$");
    spec.shared_processes = true;
    let mut other = kit.container("other", "sleep 1000; echo marker-of-other");
    other.stop_timeout = Duration::ZERO;
    spec.containers.push(other);
    let (exit, output) = kit.run(&spec);
    assert_eq!(exit.code, Some(0));
    assert_ne!(output[0], "0", "{output:?}");
    assert_ne!(output[1], "1", "the first process is nobody's: {output:?}");
}
