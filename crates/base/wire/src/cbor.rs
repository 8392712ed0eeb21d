//! Documents of Smithy RPC v2 CBOR.
//! <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>

use ciborium::Value as Cbor;
use pileus_core::{ApiError, Timestamp};
use pileus_model::{OperationSchema, Protocol, Shape, StructureSchema, Value};

use crate::error;
use crate::json::kind;

/// Nothing that a model describes nests as deep as this.
const MAX_DEPTH: usize = 64;
/// The tag of a time in seconds since the epoch.
const EPOCH_TIME: u64 = 1;

/// Reads a document; see `json::decode` for `operation`.
pub(crate) fn decode(
    schema: &'static StructureSchema,
    body: &[u8],
    operation: Option<&'static OperationSchema>,
) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(Value::Structure(Vec::new()));
    }
    let mut rest = body;
    let document: Cbor = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH)
        .map_err(|cause| error::malformed(format!("The body is not CBOR: {cause}.")))?;
    if !rest.is_empty() {
        return Err(error::malformed("The body has bytes after its CBOR document."));
    }
    Reader { operation }.structure(schema, document, "")
}

struct Reader {
    operation: Option<&'static OperationSchema>,
}

impl Reader {
    fn structure(
        &self,
        schema: &'static StructureSchema,
        document: Cbor,
        place: &str,
    ) -> Result<Value, ApiError> {
        let Cbor::Map(entries) = document else { return Err(mismatch(place, "Structure")) };
        let mut members: Vec<(usize, &'static str, Value)> =
            Vec::with_capacity(entries.len().min(schema.members.len()));
        for (key, document) in entries {
            let Cbor::Text(name) = key else { return Err(mismatch(place, "Structure with text keys")) };
            let found = schema.members.iter().position(|member| member.wire == name);
            match (found.and_then(|index| Some((index, schema.members.get(index)?))), self.operation) {
                (_, _) if matches!(document, Cbor::Null) => {}
                (Some((_, member)), _)
                    if matches!(member.shape, Shape::Opaque) && asks_nothing(&document) => {}
                (Some((index, member)), _) => {
                    if members.iter().any(|(other, _, _)| *other == index) {
                        return Err(error::malformed(format!("The member {name} is given twice.")));
                    }
                    members.push((index, member.name, self.value(member.shape, document, member.name)?));
                }
                (None, Some(operation)) if name != "__type" => {
                    return Err(error::unknown_parameter(Protocol::Cbor, operation, &name));
                }
                (None, _) => {}
            }
        }
        members.sort_by_key(|(index, _, _)| *index);
        Ok(Value::Structure(members.into_iter().map(|(_, name, value)| (name, value)).collect()))
    }

    fn value(&self, shape: &'static Shape, document: Cbor, place: &str) -> Result<Value, ApiError> {
        match (shape, document) {
            (Shape::Opaque, _) => Ok(Value::Bool(true)),
            (Shape::Structure(schema), document) => self.structure(schema, document, place),
            (Shape::List { member, .. }, Cbor::Array(items)) => {
                let items = items.into_iter().map(|item| self.value(member, item, place));
                Ok(Value::List(items.collect::<Result<_, _>>()?))
            }
            (Shape::Map { value, .. }, Cbor::Map(entries)) => {
                let entries = entries.into_iter().filter(|(_, item)| !matches!(item, Cbor::Null));
                let entries = entries.map(|(key, item)| match key {
                    Cbor::Text(key) => Ok((key, self.value(value, item, place)?)),
                    _ => Err(mismatch(place, "Map with text keys")),
                });
                Ok(Value::Map(entries.collect::<Result<_, ApiError>>()?))
            }
            (shape, document) => scalar(shape, document).ok_or_else(|| mismatch(place, kind(shape))),
        }
    }
}

fn asks_nothing(document: &Cbor) -> bool {
    match document {
        Cbor::Array(items) => items.is_empty(),
        Cbor::Map(entries) => entries.is_empty(),
        _ => false,
    }
}

fn scalar(shape: &Shape, document: Cbor) -> Option<Value> {
    match (shape, document) {
        (Shape::Bool, Cbor::Bool(value)) => Some(Value::Bool(value)),
        (Shape::Integer { .. }, Cbor::Integer(number)) => {
            i32::try_from(number).ok().map(|number| Value::Integer(number.into()))
        }
        (Shape::Long { .. }, Cbor::Integer(number)) => i64::try_from(number).ok().map(Value::Integer),
        (Shape::Double { .. }, number) => float(&number).map(Value::Float),
        (Shape::String(_) | Shape::Document, Cbor::Text(text)) => Some(Value::String(text)),
        (Shape::Blob { .. }, Cbor::Bytes(bytes)) => Some(Value::Blob(bytes)),
        (Shape::Timestamp, Cbor::Tag(EPOCH_TIME, seconds)) => {
            let seconds = float(&seconds).filter(|seconds| seconds.is_finite())?;
            Some(Value::Timestamp(Timestamp::from_secs_f64(seconds)))
        }
        _ => None,
    }
}

fn float(number: &Cbor) -> Option<f64> {
    match number {
        Cbor::Float(number) => Some(*number),
        Cbor::Integer(number) => i64::try_from(*number).ok().map(|number| number as f64),
        _ => None,
    }
}

fn mismatch(place: &str, kind: &str) -> ApiError {
    let place = if place.is_empty() { "The body" } else { place };
    error::malformed(format!("{place} can not be converted to {kind}"))
}

pub(crate) fn encode(schema: &'static StructureSchema, value: &Value) -> Vec<u8> {
    to_bytes(&structure(schema, value))
}

/// An error's document.
pub(crate) fn encode_error(shape: &str, message: &str) -> Vec<u8> {
    let entry = |key: &str, value: &str| (Cbor::Text(key.to_owned()), Cbor::Text(value.to_owned()));
    to_bytes(&Cbor::Map(vec![entry("__type", shape), entry("message", message)]))
}

/// The type and the message of an error's document.
pub(crate) fn decode_error(body: &[u8]) -> Option<(String, String)> {
    let document: Cbor = ciborium::de::from_reader_with_recursion_limit(body, MAX_DEPTH).ok()?;
    let entries = document.into_map().ok()?;
    let get = |names: &[&str]| {
        let entry = entries.iter().find(|(key, _)| key.as_text().is_some_and(|key| names.contains(&key)));
        entry.and_then(|(_, value)| value.as_text()).map(str::to_owned)
    };
    Some((get(&["__type"])?, get(&["message", "Message"]).unwrap_or_default()))
}

fn to_bytes(document: &Cbor) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(document, &mut out).expect("writing to memory does not fail");
    out
}

fn structure(schema: &'static StructureSchema, value: &Value) -> Cbor {
    let members = schema.members.iter().filter_map(|member| {
        let value = value.get(member.name)?;
        Some((Cbor::Text(member.wire.to_owned()), document(member.shape, value)))
    });
    Cbor::Map(members.collect())
}

fn document(shape: &'static Shape, value: &Value) -> Cbor {
    match (shape, value) {
        (Shape::Structure(schema), value) => structure(schema, value),
        (Shape::List { member, .. }, Value::List(items)) => {
            Cbor::Array(items.iter().map(|item| document(member, item)).collect())
        }
        (Shape::Map { value: shape, .. }, Value::Map(entries)) => {
            let entries = entries.iter().map(|(key, item)| (Cbor::Text(key.clone()), document(shape, item)));
            Cbor::Map(entries.collect())
        }
        (_, Value::Bool(value)) => Cbor::Bool(*value),
        (_, Value::Integer(value)) => Cbor::Integer((*value).into()),
        (_, Value::Float(value)) => Cbor::Float(*value),
        (_, Value::String(text)) => Cbor::Text(text.clone()),
        (_, Value::Blob(bytes)) => Cbor::Bytes(bytes.clone()),
        (_, Value::Timestamp(time)) => Cbor::Tag(EPOCH_TIME, Box::new(Cbor::Float(time.secs_f64()))),
        (_, Value::List(_) | Value::Map(_) | Value::Structure(_)) => Cbor::Null,
    }
}
