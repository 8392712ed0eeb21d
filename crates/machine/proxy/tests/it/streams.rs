//! Bodies in both directions, in every framing, and protocols that are switched.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::bed::{Bed, Target, respond, simple, until};
use crate::messages::{read_body, read_exact, read_message, read_until};

const HOST: &str = "Host: web.us-east-1.elb.localhost\r\n";

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let target = Target::new(|stream, request, _| {
        assert_eq!((request.text(), &request.trailers[..]), ("hello world", &["Digest: abc".to_owned()][..]));
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n3\r\nabc\r\n0\r\nSum: 3\r\n\r\n";
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    for _ in 0..2 {
        wire.send(format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nTrailer: Digest\r\n\r\n"));
        wire.send("5;x=y\r\nhello\r\n").send("6\r\n world\r\n0\r\nDigest: abc\r\n\r\n");
        let response = wire.receive();
        assert_eq!((response.text(), &response.trailers[..]), ("abc", &["Sum: 3".to_owned()][..]));
    }
    assert_eq!(target.connections.load(Ordering::Relaxed), 1, "the connection was used again");
}

#[test]
fn a_request_streams_while_the_client_still_writes() {
    let (first, first_came) = channel();
    let target = Target::new(move |stream, _, _| {
        first.send(read_exact(stream, 5)).expect("the test listens");
        let rest = read_exact(stream, 5);
        respond(stream, 200, &rest)
    });
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    wire.send(format!("POST / HTTP/1.1\r\n{HOST}X-Unread: 1\r\nContent-Length: 10\r\n\r\nfirst"));
    assert_eq!(first_came.recv().expect("arrived before the end was sent"), b"first");
    assert_eq!(wire.send("later").receive().text(), "later");
}

#[test]
fn a_response_streams_while_the_target_still_writes() {
    let (go, told) = channel::<()>();
    let told = std::sync::Mutex::new(told);
    let target = Target::new(move |stream, _, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").expect("sent");
        told.lock().expect("no panic").recv().expect("the test says so");
        stream.write_all(b"later").is_ok()
    });
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    wire.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    assert!(read_until(&mut wire.stream, b"first").is_some());
    go.send(()).expect("the target listens");
    assert_eq!(read_exact(&mut wire.stream, 5), b"later");
}

/// Waits until `count` stands still, and returns it.
fn settled(count: &AtomicUsize) -> usize {
    let mut before = 0;
    until("a stand-still", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = count.load(Ordering::Relaxed);
        now > 0 && now == std::mem::replace(&mut before, now)
    });
    before
}

const HUGE: usize = 64 * 1024 * 1024;

#[test]
fn a_slow_reader_slows_the_target_down() {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let target = Target::new(move |stream, _, _| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let piece = vec![b'x'; 64 * 1024];
        (0..HUGE / piece.len()).all(|_| {
            counter.fetch_add(piece.len(), Ordering::Relaxed);
            stream.write_all(&piece).is_ok()
        })
    });
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    wire.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    assert!(settled(&written) < HUGE / 2, "the balancer took all of it");
    let response = wire.receive();
    assert!(response.body.len() == HUGE && response.body.iter().all(|&byte| byte == b'x'));
    assert_eq!(wire.get("/").body.len(), HUGE);
}

#[test]
fn a_slow_target_slows_the_client_down() {
    let (go, told) = channel::<()>();
    let told = std::sync::Mutex::new(told);
    let target = Target::new(move |stream, request, _| {
        told.lock().expect("no panic").recv().expect("the test says so");
        let mut request = request.clone();
        read_body(stream, &mut request, true);
        respond(stream, 200, request.body.len().to_string().as_bytes())
    });
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    wire.send(format!("POST / HTTP/1.1\r\n{HOST}X-Unread: 1\r\nContent-Length: {HUGE}\r\n\r\n"));
    let written = Arc::new(AtomicUsize::new(0));
    let (counter, mut stream) = (Arc::clone(&written), wire.stream.try_clone().expect("a handle"));
    let writer = std::thread::spawn(move || {
        let piece = vec![b'x'; 64 * 1024];
        while counter.load(Ordering::Relaxed) < HUGE {
            stream.write_all(&piece).expect("sent");
            counter.fetch_add(piece.len(), Ordering::Relaxed);
        }
    });
    assert!(settled(&written) < HUGE / 2, "the balancer took all of it");
    go.send(()).expect("the target listens");
    assert_eq!(wire.receive().text(), HUGE.to_string());
    writer.join().expect("all was sent");
}

#[test]
fn expectations_and_interim_responses_pass() {
    let target = Target::new(|stream, request, _| {
        assert_eq!(request.field("Expect"), Some("100-continue"));
        stream
            .write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
            .expect("sent");
        let mut request = request.clone();
        read_body(stream, &mut request, true);
        respond(stream, 201, &request.body)
    });
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    for _ in 0..2 {
        wire.send(format!("PUT / HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
        let early = wire.receive();
        assert_eq!((early.status(), early.field("Link")), (103, Some("</a>")));
        assert_eq!(wire.receive().status(), 100);
        let response = wire.send("body").receive();
        assert_eq!((response.status(), response.text()), (201, "body"));
    }
}

#[test]
fn bodiless_responses_end_where_they_should() {
    let target = Target::new(|stream, request, _| {
        let status = request.start.split(['/', ' ']).nth(2).expect("a path");
        let length = if status == "204" { "" } else { "Content-Length: 5\r\n" };
        stream.write_all(format!("HTTP/1.1 {status} X\r\n{length}\r\n").as_bytes()).is_ok()
    });
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    wire.send(format!("HEAD /200 HTTP/1.1\r\n{HOST}\r\n"));
    let head = read_message(&mut wire.stream, true, false).expect("a response");
    assert_eq!((head.status(), head.field("Content-Length")), (200, Some("5")));
    for status in ["204", "304"] {
        assert_eq!(wire.get(&format!("/{status}")).start, format!("HTTP/1.1 {status} X"));
    }
    assert_eq!(target.connections.load(Ordering::Relaxed), 1);
}

#[test]
fn clients_of_http_1_0_get_no_chunks() {
    let target = Target::new(|stream, _, _| {
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: 1\r\n\r\n";
        stream.write_all(chunked.as_bytes()).is_ok()
    });
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    let answer = wire.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").rest();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde");
    assert_eq!(target.requests()[0].start, "GET / HTTP/1.1");
}

#[test]
fn clients_of_http_1_0_may_keep_the_connection() {
    let target = Target::named("one");
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    for _ in 0..2 {
        wire.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = wire.receive();
        assert_eq!((response.text(), response.field("Connection")), ("one", Some("keep-alive")));
    }
    assert!(wire.send("GET / HTTP/1.0\r\n\r\n").rest().ends_with(b"Connection: close\r\n\r\none"));
}

#[test]
fn a_response_may_end_with_its_connection() {
    let target = Target::new(|stream, _, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nas long as it is").expect("sent");
        false
    });
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    let response = wire.get("/");
    assert_eq!((response.text(), response.field("Connection")), ("as long as it is", Some("close")));
}

#[test]
fn websockets_are_tunnelled() {
    let target = Target::new(|stream, request, _| {
        assert_eq!(
            (request.field("Upgrade"), request.field("Connection")),
            (Some("websocket"), Some("upgrade"))
        );
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).expect("sent");
        let mut all = Vec::new();
        while let Some(line) = read_until(stream, b"\n") {
            stream.write_all(&line).expect("echoed");
            all.extend(line);
        }
        stream.write_all(format!("{} bytes", all.len()).as_bytes()).expect("sent");
        false
    });
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    // The first line comes along with the request.
    wire.send(format!("GET /chat HTTP/1.1\r\n{HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\none\n"));
    let head = read_until(&mut wire.stream, b"\r\n\r\n").expect("a head");
    assert!(head.starts_with(b"HTTP/1.1 101 ") && head.ends_with(b"Connection: upgrade\r\n\r\n"));
    assert_eq!(read_exact(&mut wire.stream, 9), b"helloone\n");
    wire.send("two\n");
    assert_eq!(read_exact(&mut wire.stream, 4), b"two\n");
    wire.stream.shutdown(std::net::Shutdown::Write).expect("half closed");
    assert_eq!(wire.rest(), b"8 bytes");
}

#[test]
fn pipelined_requests_are_answered_in_turn() {
    let target = Target::new(|stream, request, _| respond(stream, 200, request.start.as_bytes()));
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    let posts = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    wire.send(format!("GET /1 HTTP/1.1\r\n{HOST}\r\n{posts}GET /3 HTTP/1.1\r\n{HOST}\r\nGET /4 HT"));
    for expected in ["GET /1 HTTP/1.1", "POST /2 HTTP/1.1", "GET /3 HTTP/1.1"] {
        assert_eq!(wire.receive().text(), expected);
    }
    wire.send(format!("TP/1.1\r\n{HOST}\r\n"));
    assert_eq!(wire.receive().text(), "GET /4 HTTP/1.1");
}

#[test]
fn an_early_answer_arrives_although_the_client_still_sends() {
    let target = Target::new(|stream, _, _| {
        respond(stream, 413, b"too much");
        // Reads what comes, so that nothing is reset.
        let _ = stream.read(&mut [0; 1024]);
        false
    });
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    wire.send(format!("POST / HTTP/1.1\r\n{HOST}X-Unread: 1\r\nContent-Length: 1000000\r\n\r\nabc"));
    let response = wire.receive();
    assert_eq!((response.status(), response.text()), (413, "too much"));
    assert!(wire.rest().is_empty(), "the connection ends with it");
}
