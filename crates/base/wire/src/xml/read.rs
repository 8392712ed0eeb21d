//! Reads a structure out of an element. Elements that the schema does not have are passed over: the server may
//! be newer than the model.

use pileus_core::ApiError;
use pileus_model::{Shape, StructureSchema, Value};

use super::tree::Element;
use crate::error::malformed;
use crate::scalar;

pub(crate) fn decode(schema: &'static StructureSchema, element: &Element) -> Result<Value, ApiError> {
    let mut members = Vec::with_capacity(element.children.len());
    for member in schema.members {
        let mut found = element.children.iter().filter(|child| child.name == member.wire).peekable();
        if found.peek().is_some() {
            members.push((member.name, named(member.shape, found)?));
        }
    }
    Ok(Value::Structure(members))
}

/// The value of all elements of one name.
fn named<'a>(
    shape: &'static Shape,
    mut elements: impl Iterator<Item = &'a Element>,
) -> Result<Value, ApiError> {
    match shape {
        Shape::List { member, flattened: true, .. } => list(member, elements),
        Shape::Map { value, key_name, value_name, flattened: true, .. } => {
            map(value, key_name, value_name, elements)
        }
        _ => elements
            .next()
            .map_or_else(|| Err(malformed("An XML element is missing.")), |one| value(shape, one)),
    }
}

fn value(shape: &'static Shape, element: &Element) -> Result<Value, ApiError> {
    match shape {
        Shape::Structure(schema) => decode(schema, element),
        Shape::List { member, item, .. } => {
            list(member, element.children.iter().filter(|child| child.name == *item))
        }
        Shape::Map { value, key_name, value_name, .. } => {
            map(value, key_name, value_name, element.children.iter().filter(|child| child.name == "entry"))
        }
        _ => scalar::parse(shape, &element.text).map_err(|kind| {
            malformed(format!("The XML element {} does not hold a value of type {kind}.", element.name))
        }),
    }
}

fn list<'a>(member: &'static Shape, elements: impl Iterator<Item = &'a Element>) -> Result<Value, ApiError> {
    elements.map(|element| value(member, element)).collect::<Result<_, _>>().map(Value::List)
}

fn map<'a>(
    shape: &'static Shape,
    key_name: &str,
    value_name: &str,
    entries: impl Iterator<Item = &'a Element>,
) -> Result<Value, ApiError> {
    let entry = |entry: &Element| match (entry.child(key_name), entry.child(value_name)) {
        (Some(key), Some(item)) => Ok((key.text.clone(), value(shape, item)?)),
        _ => Err(malformed("An entry of a map in the XML document lacks its key or its value.")),
    };
    entries.map(entry).collect::<Result<_, _>>().map(Value::Map)
}
