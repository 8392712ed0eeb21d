//! restJson: the method and path choose the operation; members stand in the path, the query string, the headers or
//! the body. <https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html>

mod encode;

#[cfg(test)]
mod tests;

pub(crate) use encode::{encode_body, encode_headers, encode_status, encode_target};

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
