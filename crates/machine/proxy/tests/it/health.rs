//! Health checks and what follows from them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pileus_contract::proxy::{Algorithm, Health, UnhealthyReason};

use crate::bed::{Bed, Target, respond, simple};
use crate::messages::read_until;

fn mismatch(status: u16) -> Health {
    Health::Unhealthy(UnhealthyReason::ResponseCodeMismatch(status))
}

#[test]
fn a_new_target_becomes_healthy_and_gets_traffic() {
    let target = Target::named("one");
    let mut spec = simple(&[&target]);
    spec.target_groups[0].targets[0].last_known = None;
    let mut bed = Bed::new(spec);
    bed.wait_for_health(target.address.port(), &Health::Initial);
    bed.wait_for_health(target.address.port(), &Health::Healthy);
    assert_eq!(bed.get("/").text(), "one");
}

#[test]
fn an_unhealthy_target_gets_no_traffic_until_it_recovers() {
    let (one, two) = (Target::named("one"), Target::named("two"));
    let mut bed = Bed::new(simple(&[&one, &two]));
    one.health_status.store(500, Ordering::Relaxed);
    bed.wait_for_health(one.address.port(), &mismatch(500));
    one.health_status.store(503, Ordering::Relaxed);
    bed.wait_for_health(one.address.port(), &mismatch(503));
    let mut wire = bed.connect();
    assert!((0..10).all(|_| wire.get("/").text() == "two"));
    one.health_status.store(200, Ordering::Relaxed);
    bed.wait_for_health(one.address.port(), &Health::Healthy);
    assert_eq!((0..10).filter(|_| wire.get("/").text() == "one").count(), 5);
}

#[test]
fn with_no_healthy_target_all_get_traffic() {
    let (one, two) = (Target::named("one"), Target::named("two"));
    let mut bed = Bed::new(simple(&[&one, &two]));
    for target in [&one, &two] {
        target.health_status.store(500, Ordering::Relaxed);
        bed.wait_for_health(target.address.port(), &mismatch(500));
    }
    let mut wire = bed.connect();
    assert_eq!((0..10).filter(|_| wire.get("/").text() == "one").count(), 5);
}

#[test]
fn reasons_tell_silence_from_refusal() {
    let silent = Target::new(|stream, _, _| read_until(stream, b"never").is_some());
    let mut spec = simple(&[&silent]);
    let check = &mut spec.target_groups[0].health_check;
    check.path = "/silent".into();
    check.timeout = Duration::from_secs(5);
    let mut bed = Bed::new(spec);
    bed.wait_for_health(silent.address.port(), &Health::Unhealthy(UnhealthyReason::Timeout));
    let checks = silent.requests();
    assert_eq!(checks[0].start, "GET /silent HTTP/1.1");
    assert_eq!(checks[0].field("User-Agent"), Some("ELB-HealthChecker/2.0"));
    assert_eq!(checks[0].field("Host"), Some(silent.address.to_string().as_str()));
    // The next check goes to a port where nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    bed.change(|spec| spec.target_groups[0].health_check.port = Some(free.port()));
    bed.wait_for_health(silent.address.port(), &Health::Unhealthy(UnhealthyReason::FailedHealthChecks));
}

#[test]
fn a_changed_check_does_not_forget() {
    let target = Target::named("one");
    let mut bed = Bed::new(simple(&[&target]));
    target.health_status.store(500, Ordering::Relaxed);
    bed.wait_for_health(target.address.port(), &mismatch(500));
    // From now on 500 is good: two checks, not one, bring it back, so it was not taken for a new one.
    bed.change(|spec| spec.target_groups[0].health_check.matcher = vec![(500, 500)]);
    bed.wait_for_health(target.address.port(), &Health::Healthy);
}

#[test]
fn least_outstanding_requests_avoids_the_busy() {
    let busy = Target::new(|stream, request, _| {
        if request.start.contains("/slow") {
            read_until(stream, b"never");
        }
        respond(stream, 200, b"busy")
    });
    let idle = Target::named("idle");
    let mut spec = simple(&[&busy]);
    spec.target_groups[0].algorithm = Algorithm::LeastOutstandingRequests;
    let mut bed = Bed::new(spec);
    let mut slow = bed.connect();
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    busy.wait_for_request("GET");
    bed.change(|spec| spec.target_groups[0].targets.push(idle.spec()));
    let mut wire = bed.connect();
    assert!((0..10).all(|_| wire.get("/").text() == "idle"));
}
