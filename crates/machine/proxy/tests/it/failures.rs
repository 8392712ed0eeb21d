//! What a client gets when targets fail: the exact status and body of an ALB.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pileus_contract::proxy::Health;

use crate::bed::{Bed, Target, respond, simple};
use crate::messages::{Message, read_until};

fn assert_page(response: &Message, status: u16, reason: &str) {
    assert_eq!(response.start, format!("HTTP/1.1 {status} {reason}"));
    assert_eq!(response.field("Server"), Some("awselb/2.0"));
    assert_eq!(response.field("Content-Type"), Some("text/html"));
    assert!(response.field("Date").is_some_and(|date| date.ends_with(" GMT")));
    assert_eq!(
        response.text(),
        format!(
            "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n\
             <center><h1>{status} {reason}</h1></center>\r\n</body>\r\n</html>\r\n"
        )
    );
}

/// An address on which nobody listens.
fn refusing() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("bound")
}

#[test]
fn a_refused_connection_is_502_at_once() {
    let target = Target { address: refusing(), ..Target::named("") };
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    for _ in 0..2 {
        assert_page(&wire.get("/"), 502, "Bad Gateway");
    }
    let rows = bed.wait_for_stats(|sums| sums.get("TargetConnectionErrorCount") == Some(&2));
    let count = |name: &str, group: bool| -> u64 {
        let of_kind = rows.iter().filter(|row| row.target_group.is_some() == group);
        of_kind.filter_map(|row| row.counts.get(name)).sum()
    };
    assert_eq!((count("HTTPCode_ELB_502_Count", false), count("HTTPCode_ELB_5XX_Count", false)), (2, 2));
    assert_eq!((count("RequestCount", true), count("HTTPCode_Target_5XX_Count", true)), (2, 0));
}

#[test]
fn broken_answers_are_502() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(33 * 1024));
    for answer in
        ["", "HTTP/1.1 200", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", &long]
    {
        let bytes = answer.to_owned().into_bytes();
        let target = Target::new(move |stream, _, _| {
            // The balancer may hang up before it has all of it.
            let _ = stream.write_all(&bytes);
            false
        });
        let mut bed = Bed::new(simple(&[&target]));
        assert_page(&bed.get("/"), 502, "Bad Gateway");
    }
}

#[test]
fn a_silent_target_is_504_after_the_idle_timeout() {
    let target = Target::new(|stream, _, _| read_until(stream, b"never").is_some());
    let mut spec = simple(&[&target]);
    spec.load_balancers[0].attributes.idle_timeout = Duration::from_millis(300);
    let mut bed = Bed::new(spec);
    let mut wire = bed.connect();
    for _ in 0..2 {
        assert_page(&wire.get("/"), 504, "Gateway Time-out");
    }
    bed.wait_for_stats(|sums| sums.get("HTTPCode_ELB_504_Count") == Some(&2));
}

#[test]
fn a_response_that_keeps_moving_does_not_time_out() {
    let target = Target::new(|stream, _, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").expect("sent");
        (0..10).all(|_| {
            std::thread::sleep(Duration::from_millis(60));
            stream.write_all(b"x").is_ok()
        })
    });
    let mut spec = simple(&[&target]);
    spec.load_balancers[0].attributes.idle_timeout = Duration::from_millis(300);
    assert_eq!(Bed::new(spec).get("/").text(), "xxxxxxxxxx");
}

#[test]
fn groups_without_targets_are_503() {
    let mut bed = Bed::new(simple(&[]));
    assert_page(&bed.get("/"), 503, "Service Temporarily Unavailable");
    // A target that no check has decided on yet gets nothing.
    let target = Target::new(|stream, _, _| respond(stream, 200, b"no"));
    target.health_status.store(500, Ordering::Relaxed);
    let mut spec = simple(&[&target]);
    spec.target_groups[0].targets[0].last_known = Some(Health::Initial);
    spec.target_groups[0].health_check.unhealthy_threshold = u32::MAX;
    bed.apply(spec);
    assert_page(&bed.get("/"), 503, "Service Temporarily Unavailable");
}

#[test]
fn a_response_cut_short_is_not_taken_for_whole() {
    for head in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}");
        let target = Target::new(move |stream, _, _| {
            stream.write_all(answer.as_bytes()).expect("sent");
            false
        });
        let mut bed = Bed::new(simple(&[&target]));
        let mut wire = bed.connect();
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let all = wire.rest();
        assert!(!all.ends_with(b"0\r\n\r\n"), "{}", all.escape_ascii());
    }
}

/// A target that closes a kept connection when its second request arrives, without an answer.
fn forgetful() -> (Target, Arc<AtomicBool>) {
    let armed = Arc::new(AtomicBool::new(false));
    let trigger = Arc::clone(&armed);
    let target = Target::new(move |stream, _, served| {
        if served > 0 && trigger.load(Ordering::Relaxed) {
            return false;
        }
        respond(stream, 200, b"ok")
    });
    (target, armed)
}

#[test]
fn a_safe_request_on_a_stale_connection_is_sent_again() {
    let (target, armed) = forgetful();
    let mut bed = Bed::with(simple(&[&target]), |config| config.workers = 1);
    let mut wire = bed.connect();
    assert_eq!(wire.get("/").text(), "ok");
    armed.store(true, Ordering::Relaxed);
    assert_eq!(wire.get("/").text(), "ok", "on a new connection");
    assert_eq!(target.connections.load(Ordering::Relaxed), 2);
}

#[test]
fn an_unsafe_request_on_a_stale_connection_is_502() {
    let (target, armed) = forgetful();
    let mut bed = Bed::with(simple(&[&target]), |config| config.workers = 1);
    let mut wire = bed.connect();
    assert_eq!(wire.get("/").text(), "ok");
    armed.store(true, Ordering::Relaxed);
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_page(&wire.receive(), 502, "Bad Gateway");
    assert_eq!(target.connections.load(Ordering::Relaxed), 1, "it was not sent twice");
}

#[test]
fn a_connection_that_the_target_closed_is_not_used() {
    // Announces nothing, but closes after every answer, as servers with a short keep-alive do.
    let target = Target::new(|stream, _, _| {
        respond(stream, 200, b"ok");
        false
    });
    let mut bed = Bed::with(simple(&[&target]), |config| config.workers = 1);
    let mut wire = bed.connect();
    for _ in 0..5 {
        wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(wire.receive().text(), "ok");
        // The end arrives a moment after the answer.
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_client_that_goes_away_frees_its_target() {
    let (gone, noticed) = std::sync::mpsc::channel();
    let target = Target::new(move |stream, _, _| {
        gone.send(read_until(stream, b"never").is_none()).expect("the test listens");
        false
    });
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    target.wait_for_request("GET");
    drop(wire);
    assert_eq!(noticed.recv_timeout(crate::bed::PATIENCE), Ok(true));
}
