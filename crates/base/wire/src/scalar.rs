//! Scalars as text, in the form that the query protocols, XML and the lenient parts of JSON share.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_core::Timestamp;
use pileus_model::{Shape, Value};

/// Reads a scalar; the error names the kind that was expected.
pub(crate) fn parse(shape: &Shape, text: &str) -> Result<Value, &'static str> {
    match shape {
        Shape::Bool => parse_bool(text).map(Value::Bool).ok_or("Boolean"),
        Shape::Integer { .. } => {
            text.trim().parse::<i32>().map(|n| Value::Integer(n.into())).map_err(|_| "Integer")
        }
        Shape::Long { .. } => text.trim().parse().map(Value::Integer).map_err(|_| "Long"),
        Shape::Double { .. } => parse_float(text.trim()).map(Value::Float).ok_or("Double"),
        Shape::String(_) | Shape::Document => Ok(Value::String(text.to_owned())),
        Shape::Blob { .. } => STANDARD.decode(text.trim()).map(Value::Blob).map_err(|_| "Blob"),
        Shape::Timestamp => parse_time(text.trim()).map(Value::Timestamp).ok_or("Timestamp"),
        Shape::Opaque => Ok(Value::Bool(true)),
        Shape::List { .. } => Err("List"),
        Shape::Map { .. } => Err("Map"),
        Shape::Structure(_) => Err("Structure"),
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// JSON and XML spell the special values as words.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

pub(crate) fn float_word(number: f64) -> Option<&'static str> {
    match number {
        number if number.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

/// ISO 8601, or seconds since the epoch.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| {
        text.parse().ok().filter(|seconds: &f64| seconds.is_finite()).map(Timestamp::from_secs_f64)
    })
}

/// Writes a scalar; `None` for lists, maps and structures.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Integer(value) => Some(value.to_string()),
        Value::Float(value) => Some(float_word(*value).map_or_else(|| value.to_string(), str::to_owned)),
        Value::String(value) => Some(value.clone()),
        Value::Blob(bytes) => Some(base64(bytes)),
        Value::Timestamp(value) => Some(value.iso8601()),
        Value::List(_) | Value::Map(_) | Value::Structure(_) => None,
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
