//! Whatever one side encodes, the other decodes to the same value: every operation, in every protocol that its
//! service speaks.

mod support;

use bytes::Bytes;
use http::Request;
use pileus_model::{OperationSchema, Protocol, Value};
use pileus_wire::{Dialect, decode, decode_response, detect, encode_request_as, encode_response, sigv4};
use proptest::prelude::*;
use support::{Draw, operations};

fn signed(request: Request<Bytes>, operation: &OperationSchema) -> Request<Bytes> {
    let credentials = sigv4::Credentials {
        access_key: "AKIDEXAMPLE".to_owned(),
        secret: pileus_core::Secret::new("secret"),
        session_token: None,
    };
    let now = pileus_core::Timestamp::from_secs(1_800_000_000);
    sigv4::sign(request, &credentials, "us-east-1", operation.service.signing_name, now).expect("signable")
}

fn request_round_trip(operation: &'static OperationSchema, protocol: Protocol, input: &Value) {
    let request = encode_request_as(protocol, operation, input, "http://localhost:4566").expect("a request");
    let (parts, body) = signed(request, operation).into_parts();
    let call = detect(pileus_aws::SERVICES, &parts, &body).expect("the operation is known");
    assert_eq!((call.operation.name, call.dialect.protocol), (operation.name, protocol));
    assert_eq!(&decode(&call).expect("what we encode is well-formed"), input, "{}", operation.name);
}

fn response_round_trip(operation: &'static OperationSchema, protocol: Protocol, output: &Value) {
    let dialect = Dialect { protocol, json_version: operation.service.json_version };
    let (parts, body) = encode_response(operation, dialect, output, "id").into_parts();
    let decoded = decode_response(operation, parts.status, &parts.headers, &body);
    assert_eq!(&decoded.expect("what we encode is well-formed"), output, "{}", operation.name);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests(seed in any::<u64>()) {
        for operation in operations() {
            for protocol in operation.service.protocols {
                let input = Draw::request(seed, *protocol).structure(operation.input, 6);
                request_round_trip(operation, *protocol, &input);
            }
        }
    }

    #[test]
    fn responses(seed in any::<u64>()) {
        for operation in operations() {
            for protocol in operation.service.protocols {
                response_round_trip(operation, *protocol, &Draw::new(seed, true).structure(operation.output, 6));
            }
        }
    }
}
