//! A service whose members stand in every place that there is.

use http::{Request, StatusCode};
use pileus_model::{AccessSchema, Validation};

use super::*;
use crate::{Call, Content, Dialect, decode, detect, encode_error, encode_request, encode_response};

static LIST: Shape = Shape::list(&Shape::STRING, "member");
static MAP: Shape = Shape::Map {
    key: &Shape::STRING,
    value: &Shape::STRING,
    key_name: "key",
    value_name: "value",
    flattened: false,
    min: 0,
    max: usize::MAX,
};
static INPUT: StructureSchema = StructureSchema {
    name: "PutThing",
    members: &[
        MemberSchema::new("Shelf", &Shape::STRING).at(Place::Label),
        MemberSchema::new("Key", &Shape::STRING).at(Place::Label),
        MemberSchema::new("Count", &Shape::INTEGER).named("count", "count").at(Place::Query),
        MemberSchema::new("Names", &LIST).named("name", "name").at(Place::Query),
        MemberSchema::new("Owner", &Shape::STRING).named("x-owner", "x-owner").at(Place::Header),
        MemberSchema::new("Extra", &MAP).named("x-extra-", "x-extra-").at(Place::Headers),
        MemberSchema::new("Note", &Shape::STRING),
    ],
};
static OUTPUT: StructureSchema = StructureSchema {
    name: "PutThingOutput",
    members: &[
        MemberSchema::new("Code", &Shape::INTEGER).at(Place::Status),
        MemberSchema::new("Tags", &LIST).named("x-tags", "x-tags").at(Place::Header),
        MemberSchema::new("Content", &Shape::BLOB).at(Place::Payload),
    ],
};
static ACCESS: AccessSchema =
    AccessSchema { action: "things:PutThing", resources: &[], keys: &[], passes: &[], tagging: None };
static PUT: OperationSchema = OperationSchema {
    name: "PutThing",
    service: &THINGS,
    input: &INPUT,
    output: &OUTPUT,
    result_wrapper: "",
    http_method: "PUT",
    http_uri: "/things/{Shelf}/{Key+}/content?whole",
    errors: &[pileus_model::ErrorSchema { shape: "NoShelf", code: "NoShelf", status: 404 }],
    access: &ACCESS,
};
static THINGS: ServiceSchema = ServiceSchema {
    name: "things",
    signing_name: "things",
    endpoint_prefix: "things",
    target_prefix: None,
    json_version: "1.1",
    protocols: &[Protocol::RestJson],
    xml_namespace: "",
    api_version: "1",
    query_compatible: false,
    validation: Validation::Common("ValidationException"),
    operations: &["PutThing"],
    implemented: &[&PUT],
};

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn input() -> Value {
    Value::Structure(vec![
        ("Shelf", text("a/b ü")),
        ("Key", text("x/y z")),
        ("Count", Value::Integer(7)),
        ("Names", Value::List(vec![text("p"), text("q&r")])),
        ("Owner", text("me")),
        ("Extra", Value::Map([("one".to_owned(), text("1"))].into())),
        ("Note", text("hello")),
    ])
}

fn received(request: Request<Bytes>) -> Result<Value, ApiError> {
    let (parts, body) = request.into_parts();
    let call = detect(&[&THINGS], &parts, &body).map_err(|rejection| rejection.error)?;
    assert_eq!((call.operation.name, call.dialect.protocol), ("PutThing", Protocol::RestJson));
    decode(&call)
}

#[test]
fn every_place_of_a_request_is_written_and_read() {
    let request = encode_request(&PUT, &input(), "http://localhost:4566").unwrap();
    assert_eq!(request.method(), "PUT");
    assert_eq!(
        request.uri().path_and_query().unwrap().as_str(),
        "/things/a%2Fb%20%C3%BC/x/y%20z/content?whole&count=7&name=p&name=q%26r"
    );
    assert_eq!(received(request), Ok(input()));
}

#[test]
fn what_has_no_place_is_refused() {
    let put = |uri: &str, body: &'static str| {
        received(Request::put(uri).body(Bytes::from_static(body.as_bytes())).unwrap())
    };
    let code = |result: Result<Value, ApiError>| result.unwrap_err().code.into_owned();
    assert!(put("/things/a/b/content?whole", "").is_ok());
    assert_eq!(code(put("/things/a/b/content?whole&colour=red", "")), "UnsupportedOperation");
    assert_eq!(code(put("/things/a/b/content?whole", "{\"Shelf\":\"z\"}")), "UnsupportedOperation");
    assert_eq!(code(put("/things/a/b/content?whole&count=many", "")), "SerializationException");
    assert_eq!(code(put("/things/a/b/content?whole", "[")), "SerializationException");
    // Another path, or without what the operation's own has.
    for uri in ["/things/a/b/content", "/things/a/content?whole", "/things//b/content?whole", "/"] {
        assert_eq!(code(put(uri, "")), "MissingAction", "{uri}");
    }
}

#[test]
fn a_response_has_its_status_headers_and_payload() {
    let output = Value::Structure(vec![
        ("Code", Value::Integer(201)),
        ("Tags", Value::List(vec![text("a"), text("b")])),
        ("Content", Value::Blob(vec![0, 255])),
    ]);
    let dialect = Dialect { protocol: Protocol::RestJson, json_version: "1.1" };
    let (parts, body) = encode_response(&PUT, dialect, &output, "id").into_parts();
    assert_eq!((parts.status, &body[..]), (StatusCode::CREATED, &[0, 255][..]));
    assert_eq!(decode_response(&PUT, 201, &parts.headers, &body), Ok(output));
    let error = ApiError::client("NoShelf", "There is no such shelf.");
    let (parts, body) = encode_error(Some(&PUT), dialect, &error, "id").into_parts();
    assert_eq!(
        (parts.status, &parts.headers["x-amzn-errortype"]),
        (StatusCode::NOT_FOUND, &"NoShelf".parse().unwrap())
    );
    let told = crate::decode_response(&PUT, parts.status, &parts.headers, &body).unwrap_err();
    assert_eq!(told, ApiError::new("NoShelf", 404, "There is no such shelf."));
}

#[test]
fn a_message_does_not_show_what_it_holds() {
    let request = Request::put("/things/a/b/content?whole&name=hunter2").body(Bytes::new()).unwrap();
    let (parts, body) = request.into_parts();
    let Call { content, .. } = detect(&[&THINGS], &parts, &body).unwrap();
    assert!(matches!(content, Content::Message(_)) && !format!("{content:?}").contains("hunter2"));
}
