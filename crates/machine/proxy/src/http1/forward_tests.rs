//! What targets and clients get to see.

use super::*;

const TRACE: &str = "Root=1-67891233-abcdef012345678912345678";

fn attributes() -> LoadBalancerAttributes {
    LoadBalancerAttributes::default()
}

fn forward_on(port: u16, attributes: &LoadBalancerAttributes, request_text: &str) -> String {
    let mut head = RequestHead::default();
    assert_eq!(head.parse(request_text.as_bytes()), Ok(true), "{request_text}");
    let hop = Hop {
        client: "192.0.2.7",
        client_port: 4711,
        listener_port: port,
        tls: None,
        attributes,
        epoch_secs: 1,
    };
    let mut out = Vec::new();
    request(&mut out, request_text.as_bytes(), &head, &hop, &mut Random::new());
    let text = String::from_utf8(out).expect("ASCII");
    let (before, after) = text.split_once("X-Amzn-Trace-Id: ").expect("always there");
    let (id, after) = after.split_once("\r\n").expect("a line");
    assert!(id.starts_with("Root=1-00000001-") || id.contains(TRACE), "{id}");
    format!("{before}{after}")
}

fn forward(request: &str) -> String {
    forward_on(80, &attributes(), request)
}

#[test]
fn adds_albs_fields_and_drops_those_of_the_hop() {
    assert_eq!(
        forward(
            "GET /a?b=c HTTP/1.1\r\nHost: web.localhost:8080\r\nUser-Agent: curl\r\nConnection: keep-alive, X-Mine\r\n\
             X-Mine: 1\r\nKeep-Alive: 5\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\nUpgrade: h2c\r\n\
             TE: gzip\r\nAccept: */*\r\n\r\n"
        ),
        "GET /a?b=c HTTP/1.1\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 80\r\n\
         Host: web.localhost\r\nUser-Agent: curl\r\nAccept: */*\r\n\r\n"
    );
}

#[test]
fn hosts_follow_the_listener_unless_preserved() {
    let host = |port, attributes: &LoadBalancerAttributes, target: &str, host: &str| {
        let text = forward_on(port, attributes, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        text.lines().find_map(|line| line.strip_prefix("Host: ")).expect("always there").to_owned()
    };
    let preserve = LoadBalancerAttributes { preserve_host_header: true, ..attributes() };
    assert_eq!(host(80, &attributes(), "/", "a.example:99"), "a.example");
    assert_eq!(host(8080, &attributes(), "/", "a.example:99"), "a.example:8080");
    assert_eq!(host(8080, &attributes(), "/", "[::1]"), "[::1]:8080");
    assert_eq!(host(80, &attributes(), "/", "[::1]:8080"), "[::1]");
    assert_eq!(host(80, &attributes(), "http://b.example:1/x", "a.example"), "b.example");
    assert_eq!(host(80, &preserve, "/", "a.example:99"), "a.example:99");
}

#[test]
fn forwarded_for_is_appended_preserved_or_removed() {
    let request =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n\r\n";
    let lines = |attributes: &LoadBalancerAttributes| -> Vec<String> {
        let text = forward_on(80, attributes, request);
        text.lines().filter_map(|line| line.strip_prefix("X-Forwarded-For: ")).map(str::to_owned).collect()
    };
    assert_eq!(lines(&attributes()), ["10.0.0.1, 10.0.0.2, 192.0.2.7"]);
    let with_port = LoadBalancerAttributes { xff_client_port: true, ..attributes() };
    assert_eq!(lines(&with_port), ["10.0.0.1, 10.0.0.2, 192.0.2.7:4711"]);
    let preserve = LoadBalancerAttributes { xff_mode: XffMode::Preserve, ..attributes() };
    assert_eq!(lines(&preserve), ["10.0.0.1", "10.0.0.2"]);
    let remove = LoadBalancerAttributes { xff_mode: XffMode::Remove, ..attributes() };
    assert!(lines(&remove).is_empty());
}

#[test]
fn framing_is_written_anew() {
    let framed = |fields: &str| {
        let text = forward(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        text.lines()
            .filter(|line| line.contains("ength") || line.contains("Transfer"))
            .collect::<Vec<_>>()
            .join("|")
    };
    assert_eq!(framed("content-length: 007\r\n"), "Content-Length: 7");
    assert_eq!(framed("Content-Length: 0\r\n"), "Content-Length: 0");
    assert_eq!(framed("Content-Length: 3\r\nTransfer-Encoding: Chunked\r\n"), "Transfer-Encoding: chunked");
    assert_eq!(framed("Content-Length: 3\r\nContent-Length: 3\r\n"), "Content-Length: 3");
    assert_eq!(framed(""), "");
}

#[test]
fn upgrades_and_invalid_names() {
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(forward(upgrade).ends_with("Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"));
    let other = forward("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    assert!(!other.contains("pgrade"), "{other}");
    let odd = "GET / HTTP/1.1\r\nHost: a\r\nX_Odd: 1\r\nX-Even: 2\r\n\r\n";
    assert!(forward(odd).contains("X_Odd: 1\r\n"));
    let drop = LoadBalancerAttributes { drop_invalid_header_fields: true, ..attributes() };
    let dropped = forward_on(80, &drop, odd);
    assert!(!dropped.contains("X_Odd") && dropped.contains("X-Even: 2\r\n"));
}

#[test]
fn responses_pass_but_for_the_hop() {
    let answer = |text: &str, client_minor, keep_alive| {
        let mut head = ResponseHead::default();
        assert_eq!(head.parse(text.as_bytes(), false), Ok(true));
        let mut out = Vec::new();
        response(&mut out, text.as_bytes(), &head, ResponseHop { client_minor, keep_alive });
        String::from_utf8(out).expect("ASCII")
    };
    let text = "HTTP/1.0 200 Fine\r\nServer: mine\r\nConnection: close, x-hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n\
                transfer-encoding: chunked\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(
        answer(text, 1, true),
        "HTTP/1.1 200 Fine\r\nServer: mine\r\ntransfer-encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
    );
    assert_eq!(answer(text, 0, false), "HTTP/1.1 200 Fine\r\nServer: mine\r\nConnection: close\r\n\r\n");
    assert_eq!(answer("HTTP/1.1 100 Continue\r\n\r\n", 1, true), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(
        answer("HTTP/1.1 101 X\r\nUpgrade: ws\r\nConnection: upgrade\r\n\r\n", 1, false),
        "HTTP/1.1 101 X\r\nUpgrade: ws\r\nConnection: upgrade\r\n\r\n"
    );
}
