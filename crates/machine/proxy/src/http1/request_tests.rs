//! Heads that ALB accepts, refuses, or finds ambiguous: among them the classic request-smuggling corpus.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<RequestHead, Reject> {
    let mut head = RequestHead::default();
    assert!(head.parse(text.as_bytes())?, "complete: {text:?}");
    Ok(head)
}

/// A request with these lines after the request line and `Host`.
fn with(fields: &str) -> Result<RequestHead, Reject> {
    parse(&format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

#[test]
fn splits_the_target() {
    let text = "GET http://b.example:8080/p/q?x=1?y HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let head = parse(text).expect("valid");
    let part = |span: Span| std::str::from_utf8(span.in_(text.as_bytes())).expect("ASCII");
    assert_eq!((part(head.path), part(head.query), part(head.host)), ("/p/q", "x=1?y", "b.example:8080"));
    assert_eq!((part(head.method), part(head.target), head.len), ("GET", "/p/q?x=1?y", text.len()));
}

#[test]
fn keeps_alive_as_the_version_says() {
    let keeps = |text| parse(text).expect("valid").keep_alive;
    assert!(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(!keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n"));
    assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
    assert!(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

#[test]
fn severe_requests_are_refused() {
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: a\rTransfer-Encoding: chunked\r\n",
        "X: a\0b\r\n",
        "X\0: b\r\n",
        "Host: b\r\n",
        "no colon here\r\n",
        "\u{b}Transfer-Encoding: chunked\r\n",
        "Transfer-Encod\u{131}ng: chunked\r\n",
    ] {
        assert_eq!(with(fields).map(|head| head.body), Err(Reject::Malformed), "{fields:?}");
    }
    for text in [
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTQ/1.1\r\nHost: a\r\n\r\n",
        "GET / \r\nHost: a\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert_eq!(parse(text).map(|head| head.len), Err(Reject::Malformed), "{text:?}");
    }
}

#[test]
fn other_refusals_have_their_own_status() {
    let status = |result: Result<RequestHead, Reject>| result.map(|head| head.len).map_err(Reject::status);
    for coding in ["gzip", "gzip, chunked", "chunked, identity", "xchunked", "\"chunked\"", "chunked;q=1", ""]
    {
        assert_eq!(status(with(&format!("Transfer-Encoding: {coding}\r\n"))), Err(501), "{coding}");
    }
    assert_eq!(status(parse("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n")), Err(405));
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3"] {
        assert_eq!(status(parse(&format!("GET / {version}\r\nHost: a\r\n\r\n"))), Err(505), "{version}");
    }
    let addresses = |count| format!("X-Forwarded-For: {}\r\n", vec!["10.0.0.1"; count].join(", "));
    assert!(with(&addresses(30)).is_ok());
    assert_eq!(status(with(&addresses(31))), Err(463));
    assert_eq!(status(with(&format!("{}{}", addresses(20), addresses(11)))), Err(463));
}

#[test]
fn ambiguous_requests_are_served_but_marked() {
    let marked = |text: &str| {
        let head = parse(text).expect("served");
        (head.ambiguous, head.body)
    };
    for (fields, body) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", BodyKind::Chunked),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", BodyKind::Length(5)),
        ("Transfer_Encoding: chunked\r\n", BodyKind::None),
    ] {
        assert_eq!(
            marked(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")),
            (true, body),
            "{fields:?}"
        );
    }
    assert_eq!(marked("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"), (true, BodyKind::Length(5)));
    assert_eq!(marked("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"), (false, BodyKind::None));
}

#[test]
fn limits_are_albs() {
    let line = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(len));
    assert!(parse(&line(16 * 1024 - 10)).is_ok());
    assert_eq!(parse(&line(16 * 1024)).map(|head| head.len), Err(Reject::LineTooLong));
    assert!(with(&format!("X: {}\r\n", "a".repeat(16 * 1024 - 1))).is_ok());
    assert_eq!(
        with(&format!("X: {}\r\n", "a".repeat(16 * 1024))).map(|head| head.len),
        Err(Reject::Malformed)
    );
    let many: String = (0..500).map(|index| format!("X-{index}: 1\r\n")).collect();
    assert_eq!(with(&many).map(|head| head.fields.len()), Ok(501));
    let unterminated = "GET / HTTP/1.1\r\nX: ".to_owned() + &"a".repeat(80 * 1024);
    assert_eq!(RequestHead::default().parse(unterminated.as_bytes()), Err(Reject::Malformed));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = RequestHead::default().parse(&bytes);
    }

    #[test]
    fn a_prefix_is_never_complete(cut in 0usize..70) {
        let text = b"POST /path?q HTTP/1.1\r\nHost: example\r\nContent-Length: 10\r\nA: b\r\n\r\n";
        prop_assume!(cut < text.len());
        prop_assert_eq!(RequestHead::default().parse(&text[..cut]), Ok(false));
    }
}
