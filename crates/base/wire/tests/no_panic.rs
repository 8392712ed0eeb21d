//! No bytes make a decoder panic, whichever side they come from: arbitrary ones, and valid ones with changes.

mod support;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, StatusCode};
use pileus_model::{Protocol, validate};
use pileus_wire::{Dialect, decode, decode_response, detect, encode_request_as, encode_response};
use proptest::prelude::*;
use support::{Draw, operations};

/// The server's whole way in.
fn receive(parts: &Parts, body: Bytes) {
    if let Ok(call) = detect(pileus_aws::SERVICES, parts, &body)
        && let Ok(input) = decode(&call)
    {
        let _ = validate(call.operation, &input);
    }
}

/// Overwrites, drops and repeats some bytes.
fn damage(bytes: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..draw.below(4) {
        let place = draw.below(bytes.len());
        match draw.below(3) {
            0 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte = draw.below(256) as u8),
            1 => bytes.truncate(place),
            _ => bytes.extend_from_within(place..),
        }
    }
    bytes
}

fn headers_for(kind: usize) -> Vec<(&'static str, &'static str)> {
    match kind {
        0 => vec![("x-amz-target", "AmazonEC2ContainerServiceV20141113.RegisterTaskDefinition")],
        1 => vec![("smithy-protocol", "rpc-v2-cbor")],
        2 => vec![
            ("content-encoding", "gzip"),
            ("x-amz-target", "GraniteServiceVersion20100801.PutMetricData"),
        ],
        _ => vec![],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_requests(kind in 0usize..4, body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let uri = "/service/GraniteServiceVersion20100801/operation/PutMetricData";
        let mut request = Request::builder().method("POST").uri(uri);
        for (name, value) in headers_for(kind) {
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        receive(&parts, Bytes::from(body));
    }

    #[test]
    fn arbitrary_parameters(
        action in 0usize..operations().len(),
        names in proptest::collection::vec("[A-Z][A-Za-z]{0,12}([.](member|entry|key|value|[0-9]{1,12}|[A-Z][a-z]{1,9})){0,6}=.{0,8}", 0..8),
    ) {
        let body = format!("Action={}&{}", operations()[action].name, names.join("&"));
        let (parts, ()) = Request::builder().method("POST").uri("/").body(()).expect("a request").into_parts();
        receive(&parts, Bytes::from(body));
    }

    #[test]
    fn arbitrary_paths(
        method in "(GET|PUT|POST|DELETE)",
        uri in "/([a-zA-Z0-9%/._-]|listRegions|getAlternateContact){0,8}([?]([a-z%=&+]{0,12}))?",
        body in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        if let Ok(request) = Request::builder().method(method.as_str()).uri(uri).body(()) {
            receive(&request.into_parts().0, Bytes::from(body));
        }
    }

    #[test]
    fn arbitrary_responses(at in 0usize..operations().len(), status in 200u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for content_type in ["application/cbor", "application/x-amz-json-1.1", "application/json", "text/xml"] {
            let headers = [(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type))];
            let status = StatusCode::from_u16(status).expect("in range");
            let _ = decode_response(operations()[at], status, &headers.into_iter().collect(), &body);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_messages(seed in any::<u64>()) {
        let mut draw = Draw::new(seed, true);
        for operation in operations() {
            for protocol in operation.service.protocols {
                let input = Draw::request(seed, *protocol).structure(operation.input, 6);
                let request = encode_request_as(*protocol, operation, &input, "http://localhost").expect("a request");
                let (parts, body) = request.into_parts();
                receive(&parts, damage(&body, &mut draw).into());
                let dialect = Dialect { protocol: *protocol, json_version: "1.1" };
                let output = Draw::new(seed, true).structure(operation.output, 6);
                let (parts, body) = encode_response(operation, dialect, &output, "id").into_parts();
                let _ = decode_response(operation, parts.status, &parts.headers, &damage(&body, &mut draw));
            }
        }
    }
}

#[test]
fn nothing_is_allocated_for_gaps_or_claimed_lengths() {
    let post = |uri: &str, header: (&str, &str), body: Vec<u8>| {
        let request = Request::builder().method("POST").uri(uri).header(header.0, header.1);
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        detect(pileus_aws::SERVICES, &parts, &body.into())
            .map_err(|rejection| rejection.error)
            .and_then(|call| decode(&call))
    };
    let form = ("content-type", "application/x-www-form-urlencoded");
    let gap = b"Action=DescribeVpcs&Version=2016-11-15&VpcId.4000000000=vpc-1&VpcId.7=vpc-0".to_vec();
    let input = post("/", form, gap).expect("gaps are no error");
    let ids = input.get("VpcIds").map(|ids| format!("{ids:?}")).expect("the list is there");
    assert_eq!(ids, "List([String(\"vpc-0\"), String(\"vpc-1\")])");
    let deep = format!("Action=DescribeVpcs&Version=2016-11-15&VpcId{}=x", ".1".repeat(10_000));
    assert_eq!(post("/", form, deep.into_bytes()).expect_err("too deep").code, "MalformedQueryString");
    let json = ("x-amz-target", "AmazonEC2ContainerServiceV20141113.ListClusters");
    assert_eq!(post("/", json, vec![b'['; 100_000]).expect_err("too deep").code, "SerializationException");
    let cbor = ("smithy-protocol", "rpc-v2-cbor");
    let uri = "/service/GraniteServiceVersion20100801/operation/ListMetrics";
    for claim in [[0xbb_u8; 9], [0x9b; 9], [0x7b; 9], [0x5b; 9], [0x81; 9]] {
        assert_eq!(post(uri, cbor, claim.to_vec()).expect_err("cut off").code, "SerializationException");
    }
    assert_eq!(post(uri, cbor, vec![0x81; 100_000]).expect_err("too deep").code, "SerializationException");
}

#[test]
fn a_gzip_bomb_stops_at_the_limit() {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&vec![b' '; 17 << 20]).expect("memory");
    let bomb = encoder.finish().expect("memory");
    let request = Request::builder().uri("/").header("content-encoding", "gzip");
    let request = request.header("x-amz-target", "GraniteServiceVersion20100801.PutMetricData");
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let rejection = detect(pileus_aws::SERVICES, &parts, &bomb.into()).expect_err("too large");
    assert_eq!((rejection.error.status, rejection.dialect.protocol), (413, Protocol::Json));
}
