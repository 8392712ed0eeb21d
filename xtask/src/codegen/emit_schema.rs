//! Writes `schema.rs`: the tables of structures and of the shapes that they are made of.

use std::fmt::Write as _;

use pileus_model::Pattern;

use super::model::ShapeModel;
use super::names::{capitalised, constant};
use super::select::{Member, Selection, Support};

pub(crate) fn schema(selection: &Selection) -> String {
    let mut out = format!(
        "//! The tables of {}: structures, and shapes with constraints.\n\n\
         #![allow(unused_imports, reason = \"not every service has every kind of shape\")]\n\n\
         use pileus_model::{{MemberSchema, Pattern, Shape, StringShape, StructureSchema}};\n\n",
        selection.name
    );
    for name in &selection.shapes {
        if let Some(shape) = selection.model.shapes.get(name) {
            out.push_str(&shape_table(selection, name, shape));
        }
    }
    for (name, members) in &selection.structures {
        out.push_str(&structure_table(selection, name, members));
    }
    out
}

fn structure_table(selection: &Selection, name: &str, members: &[Member]) -> String {
    let constant = constant(name);
    let mut out = String::new();
    let rust_name = capitalised(name);
    let _ = write!(
        out,
        "pub(crate) static {constant}: StructureSchema = StructureSchema {{ name: \"{rust_name}\", members: &["
    );
    for member in members {
        out.push_str(&member_entry(selection, name, member));
        out.push(',');
    }
    out.push_str("] };\n\n");
    out
}

fn member_entry(selection: &Selection, owner: &str, member: &Member) -> String {
    let name = &member.name;
    let mut out = match member.support {
        Support::Unsupported => format!("MemberSchema::unsupported(\"{name}\")"),
        _ => {
            format!("MemberSchema::new(\"{name}\", {})", shape_reference(selection, &member.reference.shape))
        }
    };
    let wire = member.reference.location_name.as_ref().unwrap_or(name);
    let query = query_name(selection, member);
    if wire != name || query != *name {
        let _ = write!(out, ".named(\"{wire}\", \"{query}\")");
    }
    if let Some(place) = place(selection, owner, member) {
        let _ = write!(out, ".at(pileus_model::Place::{place})");
    }
    if member.required && selection.from_input.contains(owner) {
        out.push_str(".required()");
    }
    if sensitive(selection, &member.reference.shape) {
        out.push_str(".sensitive()");
    }
    if matches!(member.support, Support::NoEffect(_)) {
        out.push_str(".no_effect()");
    }
    out
}

/// Where a member stands in restJson, if it is not in the document.
fn place(selection: &Selection, owner: &str, member: &Member) -> Option<&'static str> {
    if !selection.model.metadata.protocols.iter().any(|protocol| protocol == "rest-json") {
        return None;
    }
    let payload = selection.model.shapes.get(owner).and_then(|shape| shape.payload.as_ref());
    match member.reference.location.as_deref() {
        Some("uri") => Some("Label"),
        Some("querystring") => Some("Query"),
        Some("header") => Some("Header"),
        Some("headers") => Some("Headers"),
        Some("statusCode") => Some("Status"),
        _ => (payload == Some(&member.name)).then_some("Payload"),
    }
}

/// EC2 capitalises: <https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html>
fn query_name(selection: &Selection, member: &Member) -> String {
    let reference = &member.reference;
    let name = reference.location_name.as_ref().unwrap_or(&member.name);
    if selection.model.metadata.protocols.iter().any(|protocol| protocol == "ec2") {
        return reference.query_name.clone().unwrap_or_else(|| capitalised(name));
    }
    name.clone()
}

/// Whether a value of the shape may not be shown: by its own trait, or for what a list of it holds.
fn sensitive(selection: &Selection, name: &str) -> bool {
    let Some(shape) = selection.model.shapes.get(name) else { return false };
    shape.sensitive || shape.member.as_ref().is_some_and(|member| sensitive(selection, &member.shape))
}

/// How a table refers to a shape: by a constant of `Shape` where it has no constraints.
fn shape_reference(selection: &Selection, name: &str) -> String {
    let Some(shape) = selection.model.shapes.get(name) else { return String::new() };
    let checked = selection.from_input.contains(name) && constrained(shape);
    match shape.kind.as_str() {
        "structure" if shape.document => "&Shape::Document".to_owned(),
        "structure" => format!("&Shape::Structure(&{})", constant(name)),
        "boolean" => "&Shape::Bool".to_owned(),
        "timestamp" => "&Shape::Timestamp".to_owned(),
        "integer" if !checked => "&Shape::INTEGER".to_owned(),
        "long" if !checked => "&Shape::LONG".to_owned(),
        "float" | "double" if !checked => "&Shape::DOUBLE".to_owned(),
        "string" if !checked => "&Shape::STRING".to_owned(),
        "blob" if !checked => "&Shape::BLOB".to_owned(),
        _ => format!("&{}", constant(name)),
    }
}

fn constrained(shape: &ShapeModel) -> bool {
    shape.min.is_some() || shape.max.is_some() || shape.pattern.is_some() || !shape.values.is_empty()
}

/// The static of a shape; empty for those that `Shape` has a constant for.
fn shape_table(selection: &Selection, name: &str, shape: &ShapeModel) -> String {
    let constant = constant(name);
    if shape_reference(selection, name) != format!("&{constant}") {
        return String::new();
    }
    let body = match shape.kind.as_str() {
        "list" => list(selection, shape),
        "map" => map(selection, shape),
        "string" => return string(&constant, shape),
        "blob" => format!("Blob {{ {} }}", lengths(shape)),
        "integer" => format!("Integer {{ {} }}", range(shape, "i32::MIN as i64", "i32::MAX as i64")),
        "long" => format!("Long {{ {} }}", range(shape, "i64::MIN", "i64::MAX")),
        _ => format!(
            "Double {{ min: {:?}, max: {:?} }}",
            shape.min.unwrap_or(f64::MIN),
            shape.max.unwrap_or(f64::MAX)
        ),
    };
    format!("static {constant}: Shape = Shape::{body};\n\n")
}

fn list(selection: &Selection, shape: &ShapeModel) -> String {
    let Some(member) = &shape.member else { return String::new() };
    let item = member.location_name.as_deref().unwrap_or("member");
    let reference = shape_reference(selection, &member.shape);
    let flattened = shape.flattened;
    if !flattened && shape.min.is_none() && shape.max.is_none() {
        return format!("list({reference}, \"{item}\")");
    }
    format!("List {{ member: {reference}, item: \"{item}\", flattened: {flattened}, {} }}", lengths(shape))
}

fn map(selection: &Selection, shape: &ShapeModel) -> String {
    let (Some(key), Some(value)) = (&shape.key, &shape.value) else { return String::new() };
    format!(
        "Map {{ key: {}, value: {}, key_name: \"{}\", value_name: \"{}\", flattened: {}, {} }}",
        shape_reference(selection, &key.shape),
        shape_reference(selection, &value.shape),
        key.location_name.as_deref().unwrap_or("key"),
        value.location_name.as_deref().unwrap_or("value"),
        shape.flattened,
        lengths(shape)
    )
}

fn string(constant: &str, shape: &ShapeModel) -> String {
    if !shape.values.is_empty() {
        let values = &shape.values;
        return format!("static {constant}: Shape = Shape::String(&StringShape::one_of(&{values:?}));\n\n");
    }
    let mut out = String::new();
    let mut pattern = "None".to_owned();
    if let Some(source) = shape.pattern.as_ref().filter(|source| Pattern::check(source).is_ok()) {
        let _ = writeln!(out, "static PATTERN_OF_{constant}: Pattern = Pattern::new({source:?});");
        pattern = format!("Some(&PATTERN_OF_{constant})");
    }
    let _ = writeln!(
        out,
        "static {constant}: Shape = Shape::String(&StringShape {{ {}, pattern: {pattern}, values: &[] }});\n",
        lengths(shape)
    );
    out
}

fn lengths(shape: &ShapeModel) -> String {
    range(shape, "0", "usize::MAX")
}

fn range(shape: &ShapeModel, lowest: &str, highest: &str) -> String {
    let text = |limit: Option<f64>, default: &str| {
        limit.map_or_else(|| default.to_owned(), |limit| limit.to_string())
    };
    format!("min: {}, max: {}", text(shape.min, lowest), text(shape.max, highest))
}
