//! Writing restJson: where each member of a message goes.

use pileus_model::{OperationSchema, Place, Shape, StructureSchema, Value};

use super::payload;
use crate::{json, percent, scalar};

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
