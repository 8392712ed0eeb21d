//! Requests as botocore sends them (`botocore_requests.py` recorded them): each is detected, its signature is
//! right, it decodes to the parameters that botocore was given, and it is valid.

use base64::Engine as _;
use bytes::Bytes;
use http::Request;
use http::request::Parts;
use pileus_core::{Secret, Timestamp};
use pileus_model::{Value, validate};
use pileus_wire::{decode, detect, sigv4};
use serde_json::{Value as Json, json};

fn recorded() -> Vec<Json> {
    serde_json::from_str(include_str!("botocore.json")).expect("the recording is JSON")
}

fn request(record: &Json) -> (Parts, Bytes) {
    let text = |name: &str| record[name].as_str().expect("text").to_owned();
    let mut request = Request::builder().method(text("method").as_str()).uri(text("url"));
    for (name, value) in record["headers"].as_object().expect("headers") {
        request = request.header(name, value.as_str().expect("text"));
    }
    let body = base64::engine::general_purpose::STANDARD.decode(text("body")).expect("base64");
    request.body(Bytes::from(body)).expect("a request").into_parts()
}

/// The value as the recorder wrote the parameters.
fn plain(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::Integer(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::String(value) => json!(value),
        Value::Blob(bytes) => json!(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::Timestamp(value) => json!(value.millis()),
        Value::List(items) => items.iter().map(plain).collect(),
        Value::Map(entries) => entries.iter().map(|(key, item)| (key.clone(), plain(item))).collect(),
        Value::Structure(members) => {
            members.iter().map(|(key, item)| ((*key).to_owned(), plain(item))).collect()
        }
    }
}

#[test]
fn botocores_requests_are_understood() {
    for record in recorded() {
        let (parts, body) = request(&record);
        let call = detect(pileus_aws::SERVICES, &parts, &body).expect("the operation is known");
        let name = format!("{}:{}", call.operation.service.name, call.operation.name);
        assert_eq!(
            name,
            format!("{}:{}", record["service"].as_str().unwrap(), record["operation"].as_str().unwrap())
        );
        let input = decode(&call).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(plain(&input), record["parameters"], "{name}");
        assert_eq!(validate(call.operation, &input), Ok(()), "{name}");
    }
}

#[test]
fn botocores_signatures_are_right() {
    let key = |_: &str| Some(sigv4::Key { secret: Secret::new("secret"), session: None });
    for record in recorded() {
        let (parts, body) = request(&record);
        let call = detect(pileus_aws::SERVICES, &parts, &body).expect("the operation is known");
        let now = Timestamp::parse(parts.headers["x-amz-date"].to_str().expect("text")).expect("a time");
        let service = call.operation.service.signing_name;
        let verified = sigv4::verify(&parts, &body, service, key, now);
        assert!(verified.is_ok(), "{}: {verified:?}", call.operation.name);
    }
}
