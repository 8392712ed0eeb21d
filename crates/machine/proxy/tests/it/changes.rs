//! New configurations while requests run.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use pileus_contract::proxy::{Health, ListenerSpec, ProxyEvent, RuleAction};

use crate::bed::{Bed, Target, Wire, default_rule, load_balancer, respond, simple, until};
use crate::messages::{read_exact, read_until};

fn wait_for_drained(bed: &mut Bed, port: u16) {
    bed.wait_for("drained", |event| match event {
        ProxyEvent::Drained { port: of, .. } if *of == port => Some(()),
        _ => None,
    });
}

#[test]
fn a_draining_target_finishes_what_it_has() {
    let (go, told) = channel::<()>();
    let told = std::sync::Mutex::new(told);
    let leaving = Target::new(move |stream, _, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhe").expect("sent");
        told.lock().expect("no panic").recv().expect("the test says so");
        stream.write_all(b"re").is_ok()
    });
    let staying = Target::named("staying");
    let mut bed = Bed::new(simple(&[&leaving]));
    let mut slow = bed.connect();
    slow.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    leaving.wait_for_request("GET");
    bed.change(|spec| {
        spec.target_groups[0].targets[0].draining = true;
        spec.target_groups[0].targets.push(staying.spec());
    });
    let mut wire = bed.connect();
    assert!((0..10).all(|_| wire.get("/").text() == "staying"));
    let early = bed.events.try_iter().any(|event| matches!(event, ProxyEvent::Drained { .. }));
    assert!(!early, "a request is in flight");
    go.send(()).expect("the target listens");
    assert_eq!(slow.receive().text(), "here");
    wait_for_drained(&mut bed, leaving.address.port());
}

#[test]
fn an_idle_target_is_drained_at_once() {
    let (leaving, staying) = (Target::named("leaving"), Target::named("staying"));
    let mut bed = Bed::new(simple(&[&leaving, &staying]));
    bed.change(|spec| spec.target_groups[0].targets[0].draining = true);
    wait_for_drained(&mut bed, leaving.address.port());
}

#[test]
fn no_request_fails_while_the_configuration_changes() {
    let targets: Vec<Target> = (0..3).map(|_| Target::named("ok")).collect();
    let mut bed = Bed::new(simple(&targets.iter().collect::<Vec<_>>()));
    let edge = bed.edge(80);
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            std::thread::spawn(move || {
                let mut wire = Wire::connect(edge);
                while !stop.load(Ordering::Relaxed) {
                    if client == 0 {
                        wire = Wire::connect(edge);
                    }
                    let response = wire.get("/");
                    assert_eq!((response.status(), response.text()), (200, "ok"));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..60 {
        bed.change(|spec| {
            let group = &mut spec.target_groups[0];
            group.targets.rotate_left(1);
            for (index, target) in group.targets.iter_mut().enumerate() {
                target.draining = index == 0;
                target.last_known = Some(Health::Healthy);
            }
            spec.load_balancers[0].attributes.xff_client_port = round % 2 == 0;
        });
        let before = served.load(Ordering::Relaxed);
        until("more answers", || {
            assert!(clients.iter().all(|client| !client.is_finished()), "a client failed");
            served.load(Ordering::Relaxed) >= before + 5
        });
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("every request succeeded");
    }
}

#[test]
fn rules_change_under_an_open_connection() {
    let target = Target::named("one");
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    assert_eq!(wire.get("/").text(), "one");
    bed.change(|spec| {
        spec.load_balancers[0].listeners[0].rules[0].action =
            RuleAction::FixedResponse { status: 200, content_type: "text/html".into(), body: "fixed".into() };
    });
    assert_eq!(wire.get("/").text(), "fixed");
}

#[test]
fn listeners_come_and_go() {
    let (go, told) = channel::<()>();
    let told = std::sync::Mutex::new(told);
    let target = Target::new(move |stream, request, _| {
        if request.start.contains("/slow") {
            told.lock().expect("no panic").recv().expect("the test says so");
        }
        respond(stream, 200, b"ok")
    });
    let mut spec = simple(&[&target]);
    let rule = default_rule(RuleAction::Forward(vec![("targetgroup/g/1".into(), 1)]));
    spec.load_balancers[0].listeners.push(ListenerSpec { port: 81, tls: None, rules: vec![rule] });
    let mut bed = Bed::new(spec);
    let node = SocketAddr::from((bed.spec.load_balancers[0].nodes[0].address, 81));
    let (mut idle, mut busy, mut edge) =
        (Wire::connect(node), Wire::connect(node), Wire::connect(bed.edge(81)));
    for wire in [&mut idle, &mut edge] {
        assert_eq!(wire.get("/").text(), "ok");
    }
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    target.wait_for_request("/slow");
    bed.change(|spec| spec.load_balancers[0].listeners.truncate(1));
    assert!(idle.rest().is_empty() && edge.rest().is_empty(), "idle connections end");
    go.send(()).expect("the target listens");
    assert_eq!(read_exact(&mut busy.stream, 15), b"HTTP/1.1 200 St", "a request in flight is finished");
    assert!(busy.rest().ends_with(b"ok"));
    assert!(std::net::TcpStream::connect(node).is_err(), "nobody listens any more");
    assert_eq!(bed.get("/").text(), "ok");
}

#[test]
fn a_taken_port_is_told_and_tried_again() {
    let target = Target::named("one");
    let spec = simple(&[&target]);
    let node = SocketAddr::from((spec.load_balancers[0].nodes[0].address, 80));
    let squatter = std::net::TcpListener::bind(node).expect("free until now");
    let mut bed = Bed::new(spec);
    let reason = bed.wait_for("the failure", |event| match event {
        ProxyEvent::ListenFailed { port: 80, reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.contains("in use"), "{reason}");
    drop(squatter);
    bed.change(|_| {});
    assert_eq!(Wire::connect(node).get("/").text(), "one");
}

#[test]
fn the_next_free_port_stands_in_at_the_edge() {
    let target = Target::named("one");
    let squatter = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = squatter.local_addr().expect("bound").port();
    let mut bed = Bed::with(simple(&[&target]), |config| {
        config.edge_ports.insert(80, taken);
    });
    assert_ne!(bed.edge(80).port(), taken);
    assert_eq!(bed.get("/").text(), "one");
}

#[test]
fn a_deleted_load_balancer_takes_its_tunnels_along() {
    let target = Target::new(|stream, _, _| {
        stream
            .write_all(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .expect("sent");
        read_until(stream, b"never").is_some()
    });
    let mut spec = simple(&[&target]);
    let forward = RuleAction::Forward(vec![("targetgroup/g/1".into(), 1)]);
    spec.load_balancers.push(load_balancer("other", default_rule(forward)));
    let mut bed = Bed::new(spec);
    let request = |name: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: {name}.us-east-1.elb.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
    };
    let (mut web, mut other) = (bed.connect(), bed.connect());
    assert_eq!(web.send(request("web")).receive().status(), 101);
    assert_eq!(other.send(request("other")).receive().status(), 101);
    bed.change(|spec| spec.load_balancers.truncate(1));
    assert!(other.rest().is_empty(), "closed although the edge still listens");
    web.send("still open");
    bed.change(|spec| spec.load_balancers.clear());
    assert!(web.rest().is_empty());
}
