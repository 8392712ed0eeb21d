//! Writes `lib.rs` with the list of services, and each service's `mod.rs` and `ops.rs`.

use std::fmt::Write as _;

use super::access::{Access, ServiceAccess};
use super::model::{ShapeModel, ShapeRef};
use super::names::{capitalised, constant, module};
use super::select::Selection;

pub(crate) fn library(selections: &[Selection]) -> String {
    let mut out = String::from(
        "//! The AWS APIs that Pileus implements: a module per service with its shapes, its operations (`ops`)\n\
         //! and its schema (`SERVICE`). `operations.toml` says what is generated, `SUPPORT.md` what is supported.\n\n",
    );
    for selection in selections {
        let _ = writeln!(out, "pub mod {};", module(&selection.name));
    }
    out.push_str("\nuse pileus_model::ServiceSchema;\n\n/// Every service.\n");
    out.push_str("pub static SERVICES: &[&ServiceSchema] = &[");
    for selection in selections {
        let _ = write!(out, "&{}::SERVICE,", module(&selection.name));
    }
    out.push_str("];\n");
    out
}

pub(crate) fn service(selection: &Selection) -> String {
    let metadata = &selection.model.metadata;
    let protocols: Vec<&str> = metadata.protocols.iter().filter_map(|name| protocol(name)).collect();
    let operations: Vec<&String> = selection.model.operations.keys().collect();
    let implemented: Vec<String> =
        selection.operations.iter().map(|name| format!("&{}", constant(name))).collect();
    format!(
        "//! {name} {version}.\n\n\
         pub mod ops;\nmod schema;\nmod shapes;\n\n\
         pub use shapes::*;\n\n\
         use ops::schemas::*;\nuse pileus_model::{{Protocol, ServiceSchema, Validation}};\n\n\
         pub static SERVICE: ServiceSchema = ServiceSchema {{\
         name: {name:?}, signing_name: {signing:?}, endpoint_prefix: {endpoint:?}, target_prefix: {target:?},\
         json_version: {json:?}, protocols: &[{protocols}], xml_namespace: {namespace:?},\
         api_version: {version:?}, query_compatible: {compatible}, validation: Validation::{validation},\
         operations: &{operations:?}, implemented: &[{implemented}] }};\n",
        name = selection.name,
        version = metadata.api_version,
        signing = metadata.signing_name.as_ref().unwrap_or(&metadata.endpoint_prefix),
        endpoint = metadata.endpoint_prefix,
        target = metadata.target_prefix,
        json = metadata.json_version.as_deref().unwrap_or("1.1"),
        protocols = protocols.join(", "),
        namespace = metadata.xml_namespace.as_deref().unwrap_or_default(),
        compatible = metadata.aws_query_compatible.is_some(),
        validation = validation(&selection.validation),
        implemented = implemented.join(", "),
    )
}

fn protocol(name: &str) -> Option<&'static str> {
    match name {
        "json" => Some("Protocol::Json"),
        "query" => Some("Protocol::Query"),
        "ec2" => Some("Protocol::Ec2"),
        "smithy-rpc-v2-cbor" => Some("Protocol::Cbor"),
        "rest-json" => Some("Protocol::RestJson"),
        _ => None,
    }
}

fn validation(name: &str) -> String {
    if matches!(name, "Ec2" | "Ecr") { name.to_owned() } else { format!("Common({name:?})") }
}

pub(crate) fn operations(selection: &Selection, access: &Access) -> String {
    let metadata = &selection.model.metadata;
    let signing_name = metadata.signing_name.as_ref().unwrap_or(&metadata.endpoint_prefix);
    let nothing = ServiceAccess::default();
    let access = access.get(&selection.name).unwrap_or(&nothing);
    let mut out = format!(
        "//! The operations of {}: a marker type each, and their schemas.\n\n\
         use pileus_model::Operation;\n\n",
        selection.name
    );
    let mut schemas = String::new();
    for name in &selection.operations {
        let Some(model) = selection.model.operations.get(name) else { continue };
        let (input, input_schema) = end(model.input.as_ref());
        let (output, output_schema) = end(model.output.as_ref());
        let _ = write!(
            out,
            "pub struct {name};\n\nimpl Operation for {name} {{ type Input = {input}; type Output = {output}; \
             const SCHEMA: &'static pileus_model::OperationSchema = &schemas::{}; }}\n\n",
            constant(name)
        );
        let wrapper =
            model.output.as_ref().and_then(|output| output.result_wrapper.as_deref()).unwrap_or_default();
        let errors: String = model.errors.iter().map(|error| error_entry(selection, error)).collect();
        let _ = write!(
            schemas,
            "pub(crate) static {}: OperationSchema = OperationSchema {{ name: {name:?}, service: &super::super::SERVICE, \
             input: {input_schema}, output: {output_schema}, result_wrapper: {wrapper:?}, http_method: {:?}, \
             http_uri: {:?}, errors: &[{errors}], access: {} }};\n\n",
            constant(name),
            model.http.method,
            model.http.request_uri,
            access.emit(name, signing_name),
        );
    }
    let _ = write!(
        out,
        "pub(super) mod schemas {{\n#![allow(unused_imports, reason = \"some services have no errors or no empty output\")]\n\
         use pileus_model::{{AccessSchema, ErrorSchema, OperationSchema, Structure, Unit}};\n\n{schemas}}}\n"
    );
    out
}

/// The type and the schema of an input or output.
fn end(reference: Option<&ShapeRef>) -> (String, String) {
    match reference {
        Some(reference) => (
            format!("super::{}", capitalised(&reference.shape)),
            format!("&super::super::schema::{}", constant(&reference.shape)),
        ),
        None => ("pileus_model::Unit".to_owned(), "Unit::SCHEMA".to_owned()),
    }
}

fn error_entry(selection: &Selection, error: &ShapeRef) -> String {
    let name = &error.shape;
    let shape = selection.model.shapes.get(name);
    let traits = shape.and_then(|shape| shape.error.as_ref());
    let code = traits.and_then(|traits| traits.code.as_ref()).unwrap_or(name);
    let status = traits.and_then(|traits| traits.http_status_code).unwrap_or_else(|| default_status(shape));
    format!("ErrorSchema {{ shape: {name:?}, code: {code:?}, status: {status} }},")
}

fn default_status(shape: Option<&ShapeModel>) -> u16 {
    if shape.is_some_and(|shape| shape.fault) { 500 } else { 400 }
}
