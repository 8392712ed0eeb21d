//! The process: found again, restarted, ended; and the engine's side of it.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use pileus_contract::proxy::{Health, Proxy, ProxyEvent};
use pileus_proxy::{BalancerConfig, balancer_main};

use crate::bed::{Bed, Target, Wire, simple, start, until};

fn wait_for_start(bed: &mut Bed) -> Pid {
    let pid = bed.wait_for("the start", |event| match event {
        ProxyEvent::Started { pid } => Some(*pid),
        _ => None,
    });
    Pid::from_raw(i32::try_from(pid).expect("a pid"))
}

#[test]
fn a_killed_balancer_is_back_on_the_same_port() {
    let target = Target::named("one");
    let mut bed = Bed::new(simple(&[&target]));
    let first = wait_for_start(&mut bed);
    let edge = bed.edge(80);
    kill(first, Signal::SIGKILL).expect("it ran");
    let second = wait_for_start(&mut bed);
    assert_ne!(first, second);
    assert_eq!(bed.edge(80), edge);
    assert_eq!(Wire::connect(edge).get("/").text(), "one");
    bed.change(|spec| spec.load_balancers[0].attributes.xff_client_port = true);
    assert_eq!(bed.get("/").text(), "one");
}

#[test]
fn the_engine_may_go_and_come_back() {
    let target = Target::named("one");
    let mut bed = Bed::new(simple(&[&target]));
    let pid = wait_for_start(&mut bed);
    let mut wire = bed.connect();
    assert_eq!(wire.get("/").text(), "one");
    // The first engine's client goes; the balancer stays and hears health by itself.
    bed.client = start(&bed.config);
    assert_eq!(wire.get("/").text(), "one");
    bed.events = bed.client.events();
    assert_eq!(wait_for_start(&mut bed), pid, "the same process");
    bed.wait_for_health(target.address.port(), &Health::Healthy);
    bed.change(|spec| spec.load_balancers[0].attributes.xff_client_port = true);
    assert_eq!(wire.get("/").text(), "one");
}

#[test]
fn a_balancer_alone_serves_by_what_it_kept() {
    let (one, two) = (Target::named("one"), Target::named("two"));
    let mut bed = Bed::new(simple(&[&one, &two]));
    let pid = wait_for_start(&mut bed);
    let edge = bed.edge(80);
    two.health_status.store(500, std::sync::atomic::Ordering::Relaxed);
    let reason = pileus_contract::proxy::UnhealthyReason::ResponseCodeMismatch(500);
    bed.wait_for_health(two.address.port(), &Health::Unhealthy(reason));
    // What was learnt is on disk within a moment.
    let state = bed.config.run_dir.join("balancer.json");
    until("what was learnt", || {
        std::fs::read_to_string(&state).expect("kept").contains("ResponseCodeMismatch")
    });
    assert_eq!(std::fs::metadata(&state).expect("kept").permissions().mode() & 0o777, 0o600);
    // No engine is there to hand it a configuration.
    let json = serde_json::to_string(&bed.config).expect("JSON");
    drop(std::mem::replace(&mut bed.client, start(&BalancerConfig::new(bed.config.run_dir.join("other")))));
    kill(pid, Signal::SIGKILL).expect("it ran");
    waitpid(pid, None).expect("a child of this process");
    let alone = Command::new(env!("CARGO_BIN_EXE_pileus-balancer")).arg(json).stderr(Stdio::null()).spawn();
    let mut alone = Alone(alone.expect("started"));
    until("the edge", || TcpStream::connect(edge).is_ok());
    let mut wire = Wire::connect(edge);
    assert!((0..10).all(|_| wire.get("/").text() == "one"), "it knows what it knew");
    bed.client.teardown().expect("the other one");
    bed.client = start(&bed.config);
    bed.client.teardown().expect("asked to end");
    assert!(alone.0.wait().expect("ended").success());
}

/// A balancer that nobody supervises, killed at the latest with the test.
struct Alone(Child);

impl Drop for Alone {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.0.kill();
    }
}

#[test]
fn teardown_leaves_no_process_and_no_state() {
    let target = Target::named("one");
    let mut bed = Bed::new(simple(&[&target]));
    let pid = wait_for_start(&mut bed);
    let socket = bed.config.run_dir.join("balancer.sock");
    assert_eq!(std::fs::metadata(&socket).expect("there").permissions().mode() & 0o777, 0o600);
    bed.client.teardown().expect("ended");
    assert_eq!(kill(pid, None), Err(nix::errno::Errno::ESRCH));
    assert!(!socket.exists() && !bed.config.run_dir.join("balancer.json").exists());
    assert!(bed.client.apply(&bed.spec).is_err(), "nobody is there to be configured");
}

#[test]
fn a_second_balancer_in_the_same_place_is_refused() {
    let bed = Bed::new(simple(&[]));
    let error = balancer_main(bed.config.clone()).expect_err("taken");
    assert!(error.to_string().contains("another balancer holds"), "{error}");
}

#[test]
fn a_command_that_cannot_run_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let client = pileus_proxy::BalancerClient::start(["/nowhere/pileus"], BalancerConfig::new(dir.path()))
        .expect("a thread");
    let error = client.apply(&simple(&[])).expect_err("nothing to configure");
    assert!(error.to_string().contains("No such file"), "{error}");
}

#[test]
fn garbage_on_the_control_socket_harms_nobody() {
    use std::io::Write;
    let target = Target::named("one");
    let mut bed = Bed::new(simple(&[&target]));
    for garbage in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x05hello", b"\0\0"] {
        let mut stream = std::os::unix::net::UnixStream::connect(bed.config.run_dir.join("balancer.sock"))
            .expect("connected");
        stream.write_all(garbage).expect("sent");
    }
    bed.change(|spec| spec.load_balancers[0].attributes.xff_client_port = true);
    assert_eq!(bed.get("/").text(), "one");
}
