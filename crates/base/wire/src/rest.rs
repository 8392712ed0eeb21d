//! restJson: the method and path choose the operation; members stand in the path, the query string, the headers or
//! the body. <https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html>

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use pileus_core::ApiError;
use pileus_model::{
    MemberSchema, OperationSchema, Place, Protocol, ServiceSchema, Shape, StructureSchema, Value,
};

use crate::form::{self, Pairs};
use crate::{error, json, percent, scalar};

/// A request with its path and query string taken apart.
#[derive(Clone)]
pub struct Message {
    /// The labels of the path, by the names of their members on the wire.
    labels: Vec<(&'static str, String)>,
    query: Pairs,
    headers: HeaderMap,
    body: Bytes,
}

impl Message {
    pub(crate) fn size(&self) -> usize {
        self.body.len()
    }
}

/// The operation that a request is for, with its parts. Of several, the one whose path says more literally.
pub(crate) fn route(
    services: &[&'static ServiceSchema],
    parts: &Parts,
    body: Bytes,
) -> Result<Option<(&'static OperationSchema, Message)>, ApiError> {
    let mut query = Pairs::new();
    form::parse(parts.uri.query().unwrap_or_default().as_bytes(), &mut query)?;
    let operations = services.iter().flat_map(|service| service.implemented.iter().copied());
    let operations = operations.filter(|operation| operation.http_method == parts.method.as_str());
    let matching = operations.filter_map(|operation| {
        let (labels, literals) = matches(operation.http_uri, parts.uri.path(), &query)?;
        Some((operation, labels, literals))
    });
    let best = matching.max_by_key(|(_, _, literals)| *literals);
    Ok(best.map(|(operation, labels, _)| {
        (operation, Message { labels, query, headers: parts.headers.clone(), body })
    }))
}

/// Holds a path against a template as `/a/{Label}/{Rest+}?fixed=x`. Returns the labels, and how much was literal.
fn matches(
    template: &'static str,
    path: &str,
    query: &Pairs,
) -> Option<(Vec<(&'static str, String)>, usize)> {
    let (template, fixed) = template.split_once('?').unwrap_or((template, ""));
    let wanted: Vec<&'static str> = segments(template);
    let found: Vec<&str> = segments(path);
    let (mut labels, mut literals, mut at) = (Vec::new(), 0, 0);
    for (index, want) in wanted.iter().enumerate() {
        let label = want.strip_prefix('{').and_then(|want| want.strip_suffix('}'));
        let greedy = label.and_then(|label| label.strip_suffix('+'));
        // A greedy label leaves the segments that come after it.
        let end = if greedy.is_some() { found.len().checked_sub(wanted.len() - index - 1)? } else { at + 1 };
        let text = found.get(at..end)?.join("/");
        match greedy.or(label) {
            Some(_) if text.is_empty() => return None,
            Some(label) => labels.push((label, percent::decode(&text)?)),
            None if text == *want => literals += 1,
            None => return None,
        }
        at = end;
    }
    for pair in fixed.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.iter().find(|(key, own)| key == name && (value.is_empty() || own == value))?;
        literals += 1;
    }
    (at == found.len()).then_some((labels, literals))
}

fn segments(path: &str) -> Vec<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() { Vec::new() } else { path.split('/').collect() }
}

/// Reads a request.
pub(crate) fn decode(operation: &'static OperationSchema, message: &Message) -> Result<Value, ApiError> {
    let schema = operation.input;
    check_query(operation, &message.query)?;
    let mut body = document(schema, &message.body, Some(operation))?;
    let mut members = Vec::new();
    for member in schema.members {
        let text = |text: Option<&str>| text.map(|text| one(operation, member, text)).transpose();
        let label = || message.labels.iter().find(|(name, _)| *name == member.wire).map(|(_, text)| &**text);
        let value = match member.place {
            Place::Body | Place::Payload => take(&mut body, member.name),
            Place::Label => text(label())?,
            Place::Query => from_query(operation, member, &message.query)?,
            Place::Header => {
                header(&message.headers, member).map(|text| many(operation, member, &text)).transpose()?
            }
            Place::Headers => prefixed(&message.headers, member.wire),
            // Of responses only.
            Place::Status => None,
        };
        members.extend(value.map(|value| (member.name, value)));
    }
    Ok(Value::Structure(members))
}

/// Every parameter is a member, part of the operation's own path, or the signature's.
fn check_query(operation: &'static OperationSchema, query: &Pairs) -> Result<(), ApiError> {
    let members = || operation.input.members.iter().filter(|member| member.place == Place::Query);
    let (_, fixed) = operation.http_uri.split_once('?').unwrap_or_default();
    let fixed: Vec<&str> = fixed.split('&').filter_map(|pair| pair.split('=').next()).collect();
    let known = |name: &str| {
        name.starts_with("X-Amz-")
            || fixed.contains(&name)
            || members().any(|member| member.wire == name || matches!(member.shape, Shape::Map { .. }))
    };
    match query.iter().find(|(name, _)| !known(name)) {
        Some((name, _)) => Err(error::unknown_parameter(Protocol::RestJson, operation, name)),
        None => Ok(()),
    }
}

fn from_query(
    operation: &'static OperationSchema,
    member: &'static MemberSchema,
    query: &Pairs,
) -> Result<Option<Value>, ApiError> {
    let mut own = query.iter().filter(|(name, _)| name == member.wire).map(|(_, value)| value.as_str());
    match member.shape {
        Shape::List { member: item, .. } => {
            let items =
                own.map(|text| parse(operation, member, item, text)).collect::<Result<Vec<_>, _>>()?;
            Ok(Some(Value::List(items)).filter(|items| *items != Value::List(Vec::new())))
        }
        Shape::Map { .. } => {
            let entries = query.iter().filter(|(name, _)| !name.starts_with("X-Amz-"));
            let entries = entries.map(|(name, value)| (name.clone(), Value::String(value.clone())));
            Ok(Some(Value::Map(entries.collect())))
        }
        _ => own.next_back().map(|text| one(operation, member, text)).transpose(),
    }
}

fn one(
    operation: &'static OperationSchema,
    member: &'static MemberSchema,
    text: &str,
) -> Result<Value, ApiError> {
    parse(operation, member, member.shape, text)
}

fn parse(
    operation: &'static OperationSchema,
    member: &'static MemberSchema,
    shape: &'static Shape,
    text: &str,
) -> Result<Value, ApiError> {
    let bad = |kind| error::bad_scalar(Protocol::RestJson, operation, member.wire, text, kind);
    scalar::parse(shape, text).map_err(bad)
}

/// A header's value; lists are separated by commas.
fn many(
    operation: &'static OperationSchema,
    member: &'static MemberSchema,
    text: &str,
) -> Result<Value, ApiError> {
    match member.shape {
        Shape::List { member: item, .. } => {
            let items = text.split(',').map(|text| parse(operation, member, item, text.trim()));
            Ok(Value::List(items.collect::<Result<_, _>>()?))
        }
        _ => one(operation, member, text),
    }
}

fn header(headers: &HeaderMap, member: &MemberSchema) -> Option<String> {
    let values: Vec<&str> =
        headers.get_all(member.wire).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// The headers with a prefix, as a map.
fn prefixed(headers: &HeaderMap, prefix: &str) -> Option<Value> {
    let prefix = prefix.to_ascii_lowercase();
    let entry = |(name, value): (&HeaderName, &HeaderValue)| {
        let key = name.as_str().strip_prefix(&prefix)?.to_owned();
        Some((key, Value::String(value.to_str().ok()?.to_owned())))
    };
    let entries: std::collections::BTreeMap<_, _> = headers.iter().filter_map(entry).collect();
    (!entries.is_empty()).then_some(Value::Map(entries))
}

fn take(value: &mut Value, name: &str) -> Option<Value> {
    let Value::Structure(members) = value else { return None };
    let index = members.iter().position(|(key, _)| *key == name)?;
    Some(members.swap_remove(index).1)
}

/// The members that the body holds: as a document's, or one that is the whole body.
fn document(
    schema: &'static StructureSchema,
    body: &[u8],
    operation: Option<&'static OperationSchema>,
) -> Result<Value, ApiError> {
    let Some(member) = payload(schema) else { return json::decode(schema, body, operation) };
    let value = match member.shape {
        _ if body.is_empty() => return Ok(Value::Structure(Vec::new())),
        Shape::Structure(inner) => json::decode(inner, body, operation)?,
        Shape::Blob { .. } => Value::Blob(body.to_vec()),
        _ => Value::String(
            String::from_utf8(body.to_vec()).map_err(|_| error::malformed("The body is not UTF-8."))?,
        ),
    };
    Ok(Value::Structure(vec![(member.name, value)]))
}

fn payload(schema: &'static StructureSchema) -> Option<&'static MemberSchema> {
    schema.members.iter().find(|member| member.place == Place::Payload)
}

/// What stands in the body, and its content type.
pub(crate) fn encode_body(schema: &'static StructureSchema, value: &Value) -> (&'static str, Vec<u8>) {
    let Some(member) = payload(schema) else { return ("application/json", json::encode(schema, value)) };
    match (member.shape, value.get(member.name)) {
        (Shape::Structure(inner), Some(value)) => ("application/json", json::encode(inner, value)),
        (_, Some(Value::Blob(bytes))) => ("application/octet-stream", bytes.clone()),
        (_, Some(Value::String(text))) => ("text/plain", text.clone().into_bytes()),
        _ => ("", Vec::new()),
    }
}

/// The headers of a message.
pub(crate) fn encode_headers(schema: &'static StructureSchema, value: &Value) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for member in schema.members {
        match (member.place, value.get(member.name)) {
            (Place::Header, Some(Value::List(items))) => {
                let items: Vec<String> = items.iter().filter_map(scalar::text).collect();
                headers.push((member.wire.to_owned(), items.join(",")));
            }
            (Place::Header, Some(value)) => {
                headers.extend(scalar::text(value).map(|text| (member.wire.to_owned(), text)));
            }
            (Place::Headers, Some(Value::Map(entries))) => {
                let entry = |(key, value): (&String, &Value)| {
                    Some((format!("{}{key}", member.wire), scalar::text(value)?))
                };
                headers.extend(entries.iter().filter_map(entry));
            }
            _ => {}
        }
    }
    headers
}

/// The status of a response, where a member says it.
pub(crate) fn encode_status(schema: &'static StructureSchema, value: &Value) -> Option<u16> {
    let member = schema.members.iter().find(|member| member.place == Place::Status)?;
    match value.get(member.name) {
        Some(Value::Integer(status)) => u16::try_from(*status).ok(),
        _ => None,
    }
}

/// The path and query string of a request.
pub(crate) fn encode_target(operation: &'static OperationSchema, input: &Value) -> String {
    let (template, fixed) = operation.http_uri.split_once('?').unwrap_or((operation.http_uri, ""));
    let (mut path, mut query) = (template.to_owned(), Vec::new());
    query.extend((!fixed.is_empty()).then(|| fixed.to_owned()));
    for member in operation.input.members {
        let Some(value) = input.get(member.name) else { continue };
        let pair = |name: &str, value: &Value| {
            Some(format!("{}={}", percent::encode(name), percent::encode(&scalar::text(value)?)))
        };
        match (member.place, value) {
            (Place::Label, value) => {
                let text = scalar::text(value).unwrap_or_default();
                path = path.replace(&format!("{{{}}}", member.wire), &percent::encode(&text));
                path = path.replace(&format!("{{{}+}}", member.wire), &percent::encode_path(&text));
            }
            (Place::Query, Value::List(items)) => {
                query.extend(items.iter().filter_map(|item| pair(member.wire, item)));
            }
            (Place::Query, Value::Map(entries)) => {
                query.extend(entries.iter().filter_map(|(key, item)| pair(key, item)));
            }
            (Place::Query, value) => query.extend(pair(member.wire, value)),
            _ => {}
        }
    }
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

/// Reads a response.
pub(crate) fn decode_response(
    operation: &'static OperationSchema,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Value, ApiError> {
    let schema = operation.output;
    let mut document = document(schema, body, None)?;
    let mut members = Vec::new();
    for member in schema.members {
        let value = match member.place {
            Place::Body | Place::Payload => take(&mut document, member.name),
            Place::Header => {
                header(headers, member).map(|text| many(operation, member, &text)).transpose()?
            }
            Place::Headers => prefixed(headers, member.wire),
            Place::Status => Some(Value::Integer(status.into())),
            Place::Label | Place::Query => None,
        };
        members.extend(value.map(|value| (member.name, value)));
    }
    Ok(Value::Structure(members))
}

#[cfg(test)]
mod tests {
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
}
