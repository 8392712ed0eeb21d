//! What a task gets, what it writes, how it ends and how it is stopped.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use pileus_containers::runtime_id;
use pileus_contract::{Containers, TaskEvent};
use pileus_core::Secret;

use crate::kit::{Kit, PATIENCE, alive, exit, pid, status, wait_ended, wait_for};

#[test]
fn exit_codes_and_output() {
    let kit = Kit::new();
    let (exit, output) = kit.run(&kit.task("t", "echo one; echo two >&2; printf three; exit 7"));
    assert_eq!((exit.code, exit.out_of_memory, exit.reason), (Some(7), false, None));
    let mut sorted = output;
    sorted.sort();
    assert_eq!(sorted, ["one", "three", "two"]);
    let (exit, _) = kit.run(&kit.task("signalled", "sh -c 'kill -9 $$'; exit $?"));
    assert_eq!(exit.code, Some(137));
}

#[test]
fn environment_identity_and_files() {
    let kit = Kit::new();
    let script = "id -u; id -g; id -G; echo $HOME; pwd; echo $A-$B-$S; hostname; cat /etc/hostname /etc/resolv.conf; \
                  echo $PATH; touch /tmp/x && echo wrote";
    let config =
        serde_json::json!({"Env": ["A=image", "B=image"], "User": "node", "WorkingDir": "/made/for/it"});
    let mut spec = kit.task("t", script);
    let layers = [crate::kit::layer(&[("etc/resolv.conf", "old")])];
    let app = &mut spec.containers[0];
    app.image = kit.blobs().image(&[kit.busybox_layer(), layers[0].clone()], &config);
    app.environment = BTreeMap::from([("B".to_owned(), "spec".to_owned())]);
    app.secrets = BTreeMap::from([("S".to_owned(), Secret::new("hush"))]);
    let (exit, output) = kit.run(&spec);
    assert_eq!(exit.code, Some(0), "{output:?}");
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let host = "ip-10-0-0-4.ec2.internal";
    let expected = ["1000", "1000", "1000 29", "/home/node", "/made/for/it", "image-spec-hush", host, host];
    assert_eq!(output[..8], expected);
    assert_eq!(output[8..11], ["nameserver 10.0.0.2", "search ec2.internal", "options timeout:2 attempts:3"]);
    assert_eq!(output[11..], [path, "wrote"]);
}

#[test]
fn secrets_are_nowhere_to_be_read() {
    let kit = Kit::new();
    let mut spec = kit.task("t", "echo up; sleep 1000");
    spec.containers[0].secrets = BTreeMap::from([("S".to_owned(), Secret::new("open-sesame"))]);
    spec.metadata = BTreeMap::from([("/v2/credentials/x".to_owned(), Secret::new("open-sesame"))]);
    kit.containers().start(&spec).unwrap();
    kit.wait_output("t", "app", "up");
    let directory = kit.config.run_dir.join("t");
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let found = Command::new("grep")
        .args(["-rl", "--devices=skip", "open-sesame"])
        .args([&directory, &kit.config.data_dir])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn what_cannot_be_run_is_told() {
    let kit = Kit::new();
    let mut spec = kit.task("missing", "");
    spec.containers[0].command = Some(vec!["no-such-program".to_owned()]);
    let helper = kit.container("helper", "sleep 1000");
    spec.containers.insert(0, helper);
    let events = kit.containers().events();
    let state = kit.containers().start(&spec).unwrap();
    assert!(state.ended, "{state:?}");
    let app = exit(&state, "app");
    assert_eq!(app.code, None);
    assert!(app.reason.as_deref().unwrap().contains("no-such-program"), "{app:?}");
    assert!(exit(&state, "helper").reason.unwrap().contains("essential"));
    wait_ended(&events, "missing");

    let mut spec = kit.task("user", "true");
    spec.containers[0].user = Some("nobody-here".to_owned());
    let state = kit.containers().start(&spec).unwrap();
    assert!(exit(&state, "app").reason.unwrap().contains("nobody-here"));

    let mut spec = kit.task("network", "true");
    spec.namespace = "/run/netns/not-there".into();
    let error = kit.containers().start(&spec).unwrap_err();
    assert!(error.to_string().contains("/run/netns/not-there"), "{error}");
    assert!(
        kit.containers().list().unwrap().iter().all(|state| state.id != "network"),
        "nothing is left of it"
    );
}

#[test]
fn a_started_task_is_left_as_it_is() {
    let kit = Kit::new();
    let spec = kit.task("cd189a933e5849daa93386466019ab50", "sleep 1000");
    let first = kit.containers().start(&spec).unwrap();
    assert_eq!(first.containers[0].runtime_id, runtime_id(&spec.id, "app"));
    let second = kit.containers().start(&spec).unwrap();
    assert_eq!(pid(&first, "app"), pid(&second, "app"));
}

#[test]
fn stop_asks_then_kills() {
    let kit = Kit::new();
    let events = kit.containers().events();
    let willing = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done";
    kit.containers().start(&kit.task("willing", willing)).unwrap();
    kit.wait_output("willing", "app", "up");
    kit.containers().stop("willing").unwrap();
    assert_eq!(exit(&wait_ended(&events, "willing"), "app").code, Some(3));
    assert_eq!(kit.output("willing", "app"), ["up", "bye"]);

    let mut stubborn = kit.task("stubborn", "trap '' TERM; echo up; while :; do sleep 0.05; done");
    stubborn.containers[0].stop_timeout = Duration::from_millis(300);
    kit.containers().start(&stubborn).unwrap();
    kit.wait_output("stubborn", "app", "up");
    let asked = Instant::now();
    kit.containers().stop("stubborn").unwrap();
    assert_eq!(exit(&wait_ended(&events, "stubborn"), "app").code, Some(137));
    assert!(asked.elapsed() >= Duration::from_millis(300), "it was given its time");

    kit.containers().stop("unknown").unwrap();
}

#[test]
fn the_images_stop_signal_is_used() {
    let kit = Kit::new();
    let events = kit.containers().events();
    let mut spec = kit.task("t", "trap 'exit 5' QUIT; echo up; while :; do sleep 0.05; done");
    spec.containers[0].image =
        kit.blobs().image(&[kit.busybox_layer()], &serde_json::json!({"StopSignal": "SIGQUIT"}));
    kit.containers().start(&spec).unwrap();
    kit.wait_output("t", "app", "up");
    kit.containers().stop("t").unwrap();
    assert_eq!(exit(&wait_ended(&events, "t"), "app").code, Some(5));
}

#[test]
fn an_essential_container_takes_the_others_along() {
    let kit = Kit::new();
    let events = kit.containers().events();
    let mut spec = kit.task("t", "while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 4");
    spec.containers
        .push(kit.container("side", "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done"));
    let mut brief = kit.container("brief", "exit 9");
    brief.essential = false;
    spec.containers.push(brief);
    let state = kit.containers().start(&spec).unwrap();
    kit.wait_output("t", "side", "up");
    wait_for("the brief one's exit", || {
        matches!(status(&kit.state("t"), "brief"), pileus_contract::containers::ContainerStatus::Exited(_))
    });
    assert!(!kit.state("t").ended, "one that is not essential ends alone");
    std::fs::write(format!("/proc/{}/root/tmp/go", pid(&state, "app")), "").unwrap();
    let ended = wait_ended(&events, "t");
    let codes = ["app", "side", "brief"].map(|name| exit(&ended, name).code);
    assert_eq!(codes, [Some(4), Some(0), Some(9)]);
    assert_eq!(kit.output("t", "side"), ["up", "asked"]);
}

#[test]
fn containers_of_a_task_share_localhost() {
    let kit = Kit::new();
    let mut spec = kit.task(
        "t",
        "for i in $(seq 200); do wget -qO- http://127.0.0.1:8080/page && exit 0; sleep 0.1; done; exit 1",
    );
    let serve = "mkdir /www; echo hello > /www/page; exec busybox httpd -f -p 8080 -h /www";
    let mut web = kit.container("web", serve);
    web.stop_timeout = Duration::from_millis(10);
    spec.containers.push(web);
    let (exit, output) = kit.run(&spec);
    assert_eq!((exit.code, output.last().map(String::as_str)), (Some(0), Some("hello")));
}

#[test]
fn metadata_is_served_from_the_first_instruction_and_replaced() {
    let kit = Kit::new();
    let fetch = "wget -qO- http://169.254.170.2/v4/x; echo; ";
    let script = format!(
        "{fetch} echo ready; while [ ! -e /tmp/go ]; do sleep 0.05; done; {fetch} wget -qO- http://169.254.170.2/none || echo missing"
    );
    let mut spec = kit.task("t", &script);
    spec.metadata = BTreeMap::from([("/v4/x".to_owned(), Secret::new("first"))]);
    let events = kit.containers().events();
    let state = kit.containers().start(&spec).unwrap();
    kit.wait_output("t", "app", "ready");
    let replacement = BTreeMap::from([("/v4/x".to_owned(), Secret::new("second"))]);
    kit.containers().serve_metadata("t", &replacement).unwrap();
    std::fs::write(format!("/proc/{}/root/tmp/go", pid(&state, "app")), "").unwrap();
    wait_ended(&events, "t");
    let output: Vec<String> =
        kit.output("t", "app").into_iter().filter(|line| !line.contains("wget:")).collect();
    assert_eq!(output, ["first", "ready", "second", "missing"]);
    assert!(kit.containers().serve_metadata("t", &replacement).is_err(), "the task is gone");
}

#[test]
fn metadata_is_for_the_task_alone() {
    let kit = Kit::new();
    let neighbour = kit.another_namespace();
    let (own, other) = (kit.namespace.name(), neighbour.name());
    ip(&["-n", own, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other]);
    for (namespace, address) in [(own, "10.9.0.1/24"), (other, "10.9.0.2/24")] {
        ip(&["-n", namespace, "address", "add", address, "dev", "eth0"]);
        ip(&["-n", namespace, "link", "set", "eth0", "up"]);
    }
    ip(&["-n", other, "route", "add", "169.254.170.2", "via", "10.9.0.1"]);
    let mut spec = kit.task("t", "wget -qO- http://169.254.170.2/x; echo; cat /etc/hosts; sleep 1000");
    spec.metadata = BTreeMap::from([("/x".to_owned(), Secret::new("mine"))]);
    kit.containers().start(&spec).unwrap();
    kit.wait_output("t", "app", "mine");
    kit.wait_output("t", "app", "10.9.0.1 ip-10-0-0-4.ec2.internal");
    let script = "exec 3<>/dev/tcp/169.254.170.2/80 && printf 'GET /x HTTP/1.1\\r\\n\\r\\n' >&3 && cat <&3";
    let fetch = ["netns", "exec", other, "timeout", "5", "bash", "-c", script];
    let fetched = Command::new("ip").args(fetch).output().unwrap();
    let complaint = String::from_utf8_lossy(&fetched.stderr);
    assert!(complaint.contains("refused") && fetched.stdout.is_empty(), "{fetched:?}");
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}

#[test]
fn new_output_is_told_and_read_by_pieces() {
    let kit = Kit::new();
    let events = kit.containers().events();
    kit.containers()
        .start(
            &kit.task(
                "t",
                "seq 1 5000; yes x | head -c 600000 | busybox tr -d '\\n'; echo; echo end; sleep 0.3",
            ),
        )
        .unwrap();
    let mut told = false;
    loop {
        match events.recv_timeout(PATIENCE).unwrap() {
            TaskEvent::Logs { task, container } => {
                told |= (task, container) == ("t".to_owned(), "app".to_owned());
            }
            TaskEvent::State(state) if state.ended => break,
            TaskEvent::State(_) => {}
        }
    }
    assert!(told);
    let (mut offset, mut lines) = (0, Vec::new());
    loop {
        let (piece, next) = kit.containers().logs("t", "app", offset, 999).unwrap();
        if piece.is_empty() {
            break;
        }
        lines.extend(piece.into_iter().map(|line| line.message));
        offset = next;
    }
    assert_eq!(lines.len(), 5003, "a line over 256 KiB is split");
    assert_eq!(lines[4999], "5000");
    assert_eq!(lines[5000].len() + lines[5001].len(), 150_000 * 2);
    assert_eq!(lines[5002], "end");
}

#[test]
fn usage_is_measured() {
    let kit = Kit::new();
    let state = kit.containers().start(&kit.task("t", "echo up; while :; do :; done")).unwrap();
    kit.wait_output("t", "app", "up");
    wait_for("CPU time", || kit.containers().usage("t").unwrap().cpu > Duration::from_millis(50));
    let usage = kit.containers().usage("t").unwrap();
    assert!(usage.memory_bytes > 10_000 && usage.memory_bytes < 64 << 20, "{usage:?}");
    assert!(alive(pid(&state, "app")));
    kit.containers().remove("t").unwrap();
    assert!(kit.containers().usage("t").is_err());
}

#[test]
fn many_tasks_start_at_once() {
    let kit = Kit::new();
    let namespaces: Vec<_> = (0..4).map(|_| kit.another_namespace()).collect();
    std::thread::scope(|scope| {
        for (index, namespace) in namespaces.iter().enumerate() {
            let kit = &kit;
            scope.spawn(move || {
                let mut spec = kit.task(&format!("t{index}"), "echo up; sleep 1000");
                spec.namespace = namespace.path();
                kit.containers().start(&spec).unwrap();
            });
        }
    });
    for index in 0..4 {
        kit.wait_output(&format!("t{index}"), "app", "up");
    }
    assert_eq!(kit.containers().list().unwrap().len(), 4);
}
