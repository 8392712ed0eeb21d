//! Clients that send nonsense, too much, too slowly, or nothing.

use std::io::Write;
use std::time::Duration;

use crate::bed::{Bed, Target, Wire, respond, simple};

fn quick(target: &Target) -> Bed {
    let mut spec = simple(&[target]);
    spec.load_balancers[0].attributes.idle_timeout = Duration::from_millis(300);
    Bed::new(spec)
}

#[test]
fn refusals_have_albs_status_and_end_the_connection() {
    let target = Target::named("one");
    let mut bed = Bed::new(simple(&[&target]));
    let addresses = vec!["10.0.0.1"; 31].join(",");
    for (request, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n".to_owned(), 400),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(17 * 1024)), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(17 * 1024)), 400),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {addresses}\r\n\r\n"), 463),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(), 501),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505),
        // Chunks that are none: found while the body passes.
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(), 400),
    ] {
        let mut wire = bed.connect();
        let response = wire.send(&request).receive();
        assert_eq!(response.status(), status, "{}", &request[..request.len().min(60)]);
        assert_eq!(response.field("Connection"), Some("close"));
        assert!(wire.rest().is_empty());
    }
    assert!(target.requests().is_empty(), "nothing of it reached the target");
    bed.wait_for_stats(|sums| sums.get("HTTPCode_ELB_4XX_Count") == Some(&9));
}

#[test]
fn a_smuggled_request_reaches_nobody() {
    let target = Target::new(|stream, request, _| respond(stream, 200, request.start.as_bytes()));
    let mut bed = Bed::new(simple(&[&target]));
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    // CL.TE: the balancer goes by the chunks, sends only these on, and uses neither connection again.
    let ambiguous = format!(
        "POST /outer HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
        smuggled.len() + 5
    );
    let mut wire = bed.connect();
    let response = wire.send(ambiguous).receive();
    assert_eq!((response.text(), response.field("Connection")), ("POST /outer HTTP/1.1", Some("close")));
    assert!(wire.rest().is_empty());
    let seen = target.requests();
    assert_eq!(seen.len(), 1);
    assert!(
        seen[0].field("Content-Length").is_none() && seen[0].field("Transfer-Encoding") == Some("chunked")
    );
    bed.get("/next");
    assert_eq!(target.connections.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[test]
fn heads_that_trickle_time_out_as_a_whole() {
    let target = Target::named("one");
    let mut bed = quick(&target);
    // The balancer learns the load balancer's timeout with the first request.
    let mut wire = bed.connect();
    assert_eq!(wire.get("/").text(), "one");
    let mut writer = wire.stream.try_clone().expect("a handle");
    let trickle = std::thread::spawn(move || {
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ".iter().chain(std::iter::repeat_n(&b'x', 300)) {
            std::thread::sleep(Duration::from_millis(20));
            if writer.write_all(&[*byte]).is_err() {
                break;
            }
        }
    });
    assert_eq!(wire.receive().status(), 408);
    trickle.join().expect("ends with the connection");
}

#[test]
fn bodies_that_stop_are_408_and_idle_connections_just_end() {
    let target = Target::named("one");
    let mut bed = quick(&target);
    let mut wire = bed.connect();
    let response = wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").receive();
    assert_eq!((response.status(), response.field("Connection")), (408, Some("close")));
    let mut wire = bed.connect();
    assert_eq!(wire.get("/").text(), "one");
    assert!(wire.rest().is_empty(), "no answer to a request that was never begun");
}

#[test]
fn too_many_connections_are_turned_away() {
    let target = Target::named("one");
    let mut bed = Bed::with(simple(&[&target]), |config| {
        config.workers = 1;
        config.max_connections = 3;
    });
    let mut open: Vec<Wire> = (0..3).map(|_| bed.connect()).collect();
    for wire in &mut open {
        assert_eq!(wire.get("/").text(), "one");
    }
    assert!(bed.connect().rest().is_empty());
    bed.wait_for_stats(|sums| sums.get("RejectedConnectionCount") == Some(&1));
    open.pop();
    let served = || {
        let mut wire = bed.connect();
        // It may be turned away as long as the other's end has not been noticed.
        let _ = wire.stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        wire.rest().ends_with(b"one")
    };
    let mut attempts = std::iter::repeat_with(served).take(100);
    assert!(attempts.any(|served| served));
}

#[test]
fn hundreds_of_silent_connections_do_not_hinder_the_others() {
    let target = Target::named("one");
    let mut bed = Bed::new(simple(&[&target]));
    let edge = bed.edge(80);
    let silent: Vec<Wire> = (0..300).map(|_| Wire::connect(edge)).collect();
    assert_eq!(bed.get("/").text(), "one");
    drop(silent);
}
