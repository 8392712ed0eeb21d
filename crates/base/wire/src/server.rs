//! The server's codec: a call to an input value, an output value or an error to a response.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::response::Builder;
use http::{Response, StatusCode};
use pileus_core::ApiError;
use pileus_model::{OperationSchema, Protocol, Value};

use crate::detect::{Call, Content, Dialect};
use crate::xml::{Writer, structure};
use crate::{cbor, error, json, query, rest};

/// Reads the input of a call. It has the shapes of the model, and is yet to be validated.
///
/// # Errors
/// The protocol's error for a malformed document or a member that the model does not have.
pub fn decode(call: &Call) -> Result<Value, ApiError> {
    let operation = call.operation;
    match (&call.content, call.dialect.protocol) {
        (Content::Message(message), _) => rest::decode(operation, message),
        (Content::Form(pairs), protocol) => query::decode(operation, protocol, pairs),
        (Content::Document(body), Protocol::Cbor) => cbor::decode(operation.input, body, Some(operation)),
        (Content::Document(body), _) => json::decode(operation.input, body, Some(operation)),
    }
}

/// The response for an output.
pub fn encode_response(
    operation: &'static OperationSchema,
    dialect: Dialect,
    output: &Value,
    request_id: &str,
) -> Response<Bytes> {
    let builder = response(dialect, 200, request_id);
    let no_output = operation.output.name == "Unit";
    match dialect.protocol {
        Protocol::Json if no_output => finish(builder, json_type(dialect), Vec::new()),
        Protocol::Json => finish(builder, json_type(dialect), json::encode(operation.output, output)),
        Protocol::Cbor if no_output => finish(builder, "", Vec::new()),
        Protocol::Cbor => finish(builder, "application/cbor", cbor::encode(operation.output, output)),
        Protocol::RestJson => rest_response(operation, output, request_id),
        Protocol::Query => finish(builder, "text/xml", query_response(operation, output, request_id)),
        Protocol::Ec2 => {
            finish(builder, "text/xml;charset=UTF-8", ec2_response(operation, output, request_id))
        }
    }
}

/// The response for an error. The `operation`, where it is known, gives the error's names in each protocol.
pub fn encode_error(
    operation: Option<&'static OperationSchema>,
    dialect: Dialect,
    error: &ApiError,
    request_id: &str,
) -> Response<Bytes> {
    let mut builder = response(dialect, error.status, request_id);
    let declared = error::declared(operation, &error.code);
    let shape = declared.map_or(&*error.code, |declared| declared.shape);
    let code = declared.map_or(&*error.code, |declared| declared.code);
    if operation.is_some_and(|operation| operation.service.query_compatible) {
        builder = builder.header("x-amzn-query-error", format!("{code};{}", fault(error)));
    }
    match dialect.protocol {
        Protocol::Json => {
            let document = serde_json::json!({ "__type": shape, "message": error.message });
            finish(builder, json_type(dialect), document.to_string().into_bytes())
        }
        Protocol::Cbor => finish(builder, "application/cbor", cbor::encode_error(shape, &error.message)),
        Protocol::RestJson => {
            let status = declared.map_or(error.status, |declared| declared.status);
            let document = serde_json::json!({ "message": error.message });
            let builder = response(dialect, status, request_id).header("x-amzn-errortype", shape);
            finish(builder, "application/json", document.to_string().into_bytes())
        }
        Protocol::Query => {
            let namespace = operation.map_or("", |operation| operation.service.xml_namespace);
            finish(builder, "text/xml", query_error(namespace, code, error, request_id))
        }
        Protocol::Ec2 => finish(builder, "text/xml;charset=UTF-8", ec2_error(code, error, request_id)),
    }
}

fn rest_response(operation: &'static OperationSchema, output: &Value, request_id: &str) -> Response<Bytes> {
    let schema = operation.output;
    let status = rest::encode_status(schema, output).unwrap_or(200);
    let mut builder = response(Dialect::new(Protocol::RestJson), status, request_id);
    for (name, value) in rest::encode_headers(schema, output) {
        builder = builder.header(name, value);
    }
    if schema.name == "Unit" {
        return finish(builder, "", Vec::new());
    }
    let (content_type, body) = rest::encode_body(schema, output);
    finish(builder, content_type, body)
}

/// Whose fault it is, in the query protocol's words.
fn fault(error: &ApiError) -> &'static str {
    if error.status >= 500 { "Receiver" } else { "Sender" }
}

fn json_type(dialect: Dialect) -> &'static str {
    if dialect.json_version == "1.0" { "application/x-amz-json-1.0" } else { "application/x-amz-json-1.1" }
}

fn response(dialect: Dialect, status: u16, request_id: &str) -> Builder {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let builder = Response::builder().status(status).header("x-amzn-requestid", request_id);
    if dialect.protocol == Protocol::Cbor {
        builder.header("smithy-protocol", "rpc-v2-cbor")
    } else {
        builder
    }
}

fn finish(builder: Builder, content_type: &'static str, body: Vec<u8>) -> Response<Bytes> {
    let builder = if content_type.is_empty() { builder } else { builder.header(CONTENT_TYPE, content_type) };
    // A code that cannot stand in a header is the only way to fail; the status and the body still tell.
    builder.body(Bytes::from(body)).unwrap_or_else(|_| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

fn query_response(operation: &'static OperationSchema, output: &Value, request_id: &str) -> Vec<u8> {
    let mut writer = Writer::default();
    let name = format!("{}Response", operation.name);
    writer.element_in(&name, operation.service.xml_namespace, |writer| {
        if !operation.result_wrapper.is_empty() {
            writer.element(operation.result_wrapper, |writer| structure(writer, operation.output, output));
        }
        writer.element("ResponseMetadata", |writer| writer.text("RequestId", request_id));
    });
    writer.into_bytes()
}

fn ec2_response(operation: &'static OperationSchema, output: &Value, request_id: &str) -> Vec<u8> {
    let mut writer = Writer::document();
    let name = format!("{}Response", operation.name);
    writer.element_in(&name, operation.service.xml_namespace, |writer| {
        writer.text("requestId", request_id);
        // EC2 answers `true` where the model has no output.
        if operation.output.members.is_empty() {
            writer.text("return", "true");
        }
        structure(writer, operation.output, output);
    });
    writer.into_bytes()
}

fn query_error(namespace: &str, code: &str, error: &ApiError, request_id: &str) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.element_in("ErrorResponse", namespace, |writer| {
        writer.element("Error", |writer| {
            writer.text("Type", fault(error));
            writer.text("Code", code);
            writer.text("Message", &error.message);
        });
        writer.text("RequestId", request_id);
    });
    writer.into_bytes()
}

fn ec2_error(code: &str, error: &ApiError, request_id: &str) -> Vec<u8> {
    let mut writer = Writer::document();
    writer.element("Response", |writer| {
        writer.element("Errors", |writer| {
            writer.element("Error", |writer| {
                writer.text("Code", code);
                writer.text("Message", &error.message);
            });
        });
        writer.text("RequestID", request_id);
    });
    writer.into_bytes()
}
