//! `Debug` of generated structs: the members by name, with sensitive ones as `***`.

use std::fmt::{self, Debug as _};

use crate::schema::{Shape, StructureSchema};
use crate::value::Value;

/// Formats a structure value without what its schema calls sensitive.
pub fn redacted<'a>(schema: &'a StructureSchema, value: &'a Value) -> Redacted<'a> {
    Redacted(Part::Structure(schema), value)
}

pub struct Redacted<'a>(Part<'a>, &'a Value);

#[derive(Clone, Copy)]
enum Part<'a> {
    Structure(&'a StructureSchema),
    Shape(&'a Shape),
    Hidden,
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Part::Hidden, _) => f.write_str("***"),
            (Part::Structure(schema), Value::Structure(members)) => format_structure(schema, members, f),
            (Part::Shape(Shape::Structure(schema)), Value::Structure(members)) => {
                format_structure(schema, members, f)
            }
            (Part::Shape(Shape::List { member, .. }), Value::List(items)) => {
                f.debug_list().entries(items.iter().map(|item| Redacted(Part::Shape(member), item))).finish()
            }
            (Part::Shape(Shape::Map { value, .. }), Value::Map(entries)) => {
                let entries = entries.iter().map(|(key, item)| (key, Redacted(Part::Shape(value), item)));
                f.debug_map().entries(entries).finish()
            }
            (_, value) => format_plain(value, f),
        }
    }
}

fn format_structure(
    schema: &StructureSchema,
    members: &[(&'static str, Value)],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut out = f.debug_struct(schema.name);
    for (name, value) in members {
        let part = match schema.members.iter().find(|member| member.name == *name) {
            Some(member) if !member.sensitive => Part::Shape(member.shape),
            _ => Part::Hidden,
        };
        out.field(name, &Redacted(part, value));
    }
    out.finish()
}

fn format_plain(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Bool(value) => value.fmt(f),
        Value::Integer(value) => value.fmt(f),
        Value::Float(value) => value.fmt(f),
        Value::String(value) => value.fmt(f),
        Value::Blob(bytes) => write!(f, "<{} bytes>", bytes.len()),
        Value::Timestamp(value) => value.fmt(f),
        Value::List(_) | Value::Map(_) | Value::Structure(_) => write!(f, "<{}>", value.kind()),
    }
}
