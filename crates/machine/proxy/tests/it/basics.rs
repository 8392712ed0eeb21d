//! Requests that go well.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::bed::{Bed, Target, Wire, respond, simple};

#[test]
fn requests_go_round_robin_over_kept_connections() {
    let (one, two) = (Target::named("one"), Target::named("two"));
    let mut bed = Bed::new(simple(&[&one, &two]));
    let mut wire = bed.connect();
    let mut counts = [0; 2];
    for _ in 0..40 {
        let response = wire.get("/");
        assert_eq!((response.status(), response.field("Connection")), (200, Some("keep-alive")));
        counts[usize::from(response.text() == "two")] += 1;
    }
    assert_eq!(counts, [20, 20]);
    assert_eq!(one.connections.load(Ordering::Relaxed), 1);
}

#[test]
fn nodes_listen_on_their_addresses() {
    let target = Target::named("one");
    let spec = simple(&[&target]);
    let node = SocketAddr::from((spec.load_balancers[0].nodes[0].address, 80));
    let _bed = Bed::new(spec);
    let mut wire = Wire::connect(node);
    assert_eq!(wire.get("/").text(), "one");
    let seen = target.requests();
    assert_eq!(seen[0].field("X-Forwarded-For"), Some("127.0.0.1"));
}

#[test]
fn posts_carry_their_body() {
    let target = Target::new(|stream, request, _| respond(stream, 200, &request.body));
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    for body in ["", "a=b", &"x".repeat(100_000)] {
        wire.send(format!("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(wire.receive().text(), body);
    }
}
