//! Documents of awsJson 1.0 and 1.1.
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>

use pileus_core::{ApiError, Timestamp};
use pileus_model::{OperationSchema, Place, Protocol, Shape, StructureSchema, Value};
use serde_json::Value as Json;

use crate::error;
use crate::scalar;

/// Reads a document. `operation` is given for requests, whose unknown members are refused; responses may have
/// members that are newer than the model.
pub(crate) fn decode(
    schema: &'static StructureSchema,
    body: &[u8],
    operation: Option<&'static OperationSchema>,
) -> Result<Value, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Structure(Vec::new()));
    }
    // serde_json bounds the depth of a document to 128.
    let document: Json = serde_json::from_slice(body)
        .map_err(|cause| error::malformed(format!("The body is not JSON: {cause}.")))?;
    Reader { operation }.structure(schema, document, &Path::Root)
}

struct Reader {
    operation: Option<&'static OperationSchema>,
}

/// Where in the document, for error messages.
enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn text(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Member(Self::Root, name) => (*name).to_owned(),
            Self::Member(parent, name) => format!("{}.{name}", parent.text()),
            Self::Item(parent, index) => format!("{}[{index}]", parent.text()),
        }
    }
}

impl Reader {
    fn structure(
        &self,
        schema: &'static StructureSchema,
        document: Json,
        path: &Path<'_>,
    ) -> Result<Value, ApiError> {
        let Json::Object(mut object) = document else {
            return Err(mismatch(path, &document, "Structure"));
        };
        let mut members = Vec::with_capacity(object.len());
        for member in schema.members.iter().filter(|member| member.place == Place::Body) {
            let path = Path::Member(path, member.wire);
            match object.remove(member.wire) {
                None | Some(Json::Null) => {}
                Some(document) if matches!(member.shape, Shape::Opaque) && asks_nothing(&document) => {}
                Some(document) => members.push((member.name, self.value(member.shape, document, &path)?)),
            }
        }
        let unknown = object.iter().find(|(name, document)| !document.is_null() && *name != "__type");
        match (self.operation, unknown) {
            (Some(operation), Some((name, _))) => {
                let parameter = Path::Member(path, name).text();
                Err(error::unknown_parameter(Protocol::Json, operation, &parameter))
            }
            _ => Ok(Value::Structure(members)),
        }
    }

    fn value(&self, shape: &'static Shape, document: Json, path: &Path<'_>) -> Result<Value, ApiError> {
        match (shape, document) {
            (Shape::Opaque, _) => Ok(Value::Bool(true)),
            (Shape::Document, document) => Ok(Value::String(document.to_string())),
            (Shape::Structure(schema), document) => self.structure(schema, document, path),
            (Shape::List { member, .. }, Json::Array(items)) => {
                let items = items.into_iter().enumerate();
                let items = items.map(|(index, item)| self.value(member, item, &Path::Item(path, index)));
                Ok(Value::List(items.collect::<Result<_, _>>()?))
            }
            (Shape::Map { value, .. }, Json::Object(entries)) => {
                let entries = entries.into_iter().filter(|(_, item)| !item.is_null());
                let entries = entries.map(|(key, item)| {
                    let item = self.value(value, item, &Path::Member(path, &key))?;
                    Ok((key, item))
                });
                Ok(Value::Map(entries.collect::<Result<_, ApiError>>()?))
            }
            (shape, document) => scalar(shape, &document).map_err(|kind| mismatch(path, &document, kind)),
        }
    }
}

/// What an unsupported member may hold without asking for anything.
fn asks_nothing(document: &Json) -> bool {
    match document {
        Json::Array(items) => items.is_empty(),
        Json::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

fn scalar(shape: &Shape, document: &Json) -> Result<Value, &'static str> {
    match (shape, document) {
        (Shape::Bool, Json::Bool(value)) => Ok(Value::Bool(*value)),
        (Shape::Integer { .. } | Shape::Long { .. }, Json::Number(number)) => integer(shape, number)
            .map(Value::Integer)
            .ok_or(if matches!(shape, Shape::Long { .. }) { "Long" } else { "Integer" }),
        (Shape::Double { .. }, Json::Number(number)) => number.as_f64().map(Value::Float).ok_or("Double"),
        (Shape::Timestamp, Json::Number(number)) => number
            .as_f64()
            .map(|seconds| Value::Timestamp(Timestamp::from_secs_f64(seconds)))
            .ok_or("Timestamp"),
        (Shape::String(_), Json::String(text)) => Ok(Value::String(text.clone())),
        (Shape::Blob { .. }, Json::String(text)) => scalar::from_base64(text).map(Value::Blob).ok_or("Blob"),
        (Shape::Timestamp, Json::String(text)) => {
            scalar::parse_time(text).map(Value::Timestamp).ok_or("Timestamp")
        }
        (Shape::Double { .. }, Json::String(text)) => {
            scalar::parse_float(text).filter(|number| !number.is_finite()).map(Value::Float).ok_or("Double")
        }
        (shape, _) => Err(kind(shape)),
    }
}

/// Numbers without a fraction are integers however they are written.
fn integer(shape: &Shape, number: &serde_json::Number) -> Option<i64> {
    let exact = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
    let number = number.as_i64().or_else(|| number.as_f64().and_then(exact))?;
    let fits = matches!(shape, Shape::Long { .. }) || i32::try_from(number).is_ok();
    fits.then_some(number)
}

pub(crate) fn kind(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "Boolean",
        Shape::Integer { .. } => "Integer",
        Shape::Long { .. } => "Long",
        Shape::Double { .. } => "Double",
        Shape::String(_) => "String",
        Shape::Blob { .. } => "Blob",
        Shape::Timestamp => "Timestamp",
        Shape::List { .. } => "List",
        Shape::Map { .. } => "Map",
        Shape::Structure(_) | Shape::Document | Shape::Opaque => "Structure",
    }
}

fn mismatch(path: &Path<'_>, document: &Json, kind: &str) -> ApiError {
    let found = match document {
        Json::Null => "NULL_VALUE",
        Json::Bool(true) => "TRUE_VALUE",
        Json::Bool(false) => "FALSE_VALUE",
        Json::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Json::Number(_) => "NUMBER_VALUE",
        Json::String(_) => "STRING_VALUE",
        Json::Array(_) => "START_ARRAY",
        Json::Object(_) => "START_OBJECT",
    };
    let path: String = path.text().chars().take(256).collect();
    let place = if path.is_empty() { String::new() } else { format!(" (at '{path}')") };
    error::malformed(format!("{found} can not be converted to {kind}{place}"))
}

pub(crate) fn encode(schema: &'static StructureSchema, value: &Value) -> Vec<u8> {
    structure(schema, value).to_string().into_bytes()
}

fn structure(schema: &'static StructureSchema, value: &Value) -> Json {
    let members = schema.members.iter().filter(|member| member.place == Place::Body).filter_map(|member| {
        let value = value.get(member.name)?;
        Some((member.wire.to_owned(), document(member.shape, value)))
    });
    Json::Object(members.collect())
}

fn document(shape: &'static Shape, value: &Value) -> Json {
    match (shape, value) {
        (Shape::Structure(schema), value) => structure(schema, value),
        (Shape::List { member, .. }, Value::List(items)) => {
            items.iter().map(|item| document(member, item)).collect()
        }
        (Shape::Map { value: shape, .. }, Value::Map(entries)) => {
            Json::Object(entries.iter().map(|(key, item)| (key.clone(), document(shape, item))).collect())
        }
        (Shape::Document, Value::String(text)) => serde_json::from_str(text).unwrap_or(Json::Null),
        (_, Value::Bool(value)) => (*value).into(),
        (_, Value::Integer(value)) => (*value).into(),
        (_, Value::Float(value)) => scalar::float_word(*value).map_or_else(|| (*value).into(), Into::into),
        (_, Value::Timestamp(time)) if time.millis() % 1000 == 0 => time.secs().into(),
        (_, Value::Timestamp(time)) => time.secs_f64().into(),
        (_, value) => scalar::text(value).map_or(Json::Null, Into::into),
    }
}
