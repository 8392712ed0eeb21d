//! Writes `shapes.rs`: the structs, as the body of one `structure!` invocation.

use std::fmt::Write as _;

use super::names;
use super::select::{Member, Selection, Support};

pub(crate) fn shapes(selection: &Selection) -> String {
    let mut out = format!(
        "//! The shapes of {} that the allow-listed operations reach.\n\n\
         #![allow(unused_imports, reason = \"not every service has every kind of member\")]\n\n\
         use std::collections::BTreeMap;\n\n\
         use pileus_core::Timestamp;\n\
         use pileus_model::Blob;\n\n\
         use super::schema;\n\n\
         pileus_model::structure! {{\n",
        selection.name
    );
    for (name, members) in &selection.structures {
        let members = members.iter().filter(|member| in_struct(member));
        let fields: String = members.map(|member| field(selection, name, member)).collect();
        let body = if fields.is_empty() { "{}".to_owned() } else { format!("{{\n{fields}    }}") };
        let _ = writeln!(out, "    {} = schema::{} {body}", names::capitalised(name), names::constant(name));
    }
    out.push_str("}\n");
    out
}

fn in_struct(member: &Member) -> bool {
    matches!(member.support, Support::Supported | Support::NoEffect(_))
}

fn field(selection: &Selection, owner: &str, member: &Member) -> String {
    let mut ty = rust_type(selection, &member.reference.shape);
    if selection.recursive(owner, &member.reference.shape) {
        ty = format!("Box<{ty}>");
    }
    if !(member.required && selection.from_input.contains(owner)) {
        ty = format!("Option<{ty}>");
    }
    format!("        {}: {ty} = \"{}\",\n", names::field(&member.name), member.name)
}

fn rust_type(selection: &Selection, name: &str) -> String {
    let Some(shape) = selection.model.shapes.get(name) else { return name.to_owned() };
    let part = |part: &Option<super::model::ShapeRef>| match part {
        Some(reference) => rust_type(selection, &reference.shape),
        None => "String".to_owned(),
    };
    match shape.kind.as_str() {
        "structure" if !shape.document => names::capitalised(name),
        "list" => format!("Vec<{}>", part(&shape.member)),
        "map" => format!("BTreeMap<String, {}>", part(&shape.value)),
        "boolean" => "bool".to_owned(),
        "integer" | "long" => "i64".to_owned(),
        "float" | "double" => "f64".to_owned(),
        "timestamp" => "Timestamp".to_owned(),
        "blob" => "Blob".to_owned(),
        _ => "String".to_owned(),
    }
}
