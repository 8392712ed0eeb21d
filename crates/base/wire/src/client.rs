//! The client's codec: an input value to a request, a response to an output value or AWS's error.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use pileus_core::ApiError;
use pileus_model::{OperationSchema, Protocol, Value};

use crate::{cbor, error, form, json, query, rest, xml};

/// Writes a request in the simplest protocol of the service. `endpoint` is a URL without a path, such as
/// `http://localhost:4566`.
///
/// # Errors
/// `InvalidEndpoint` where the endpoint is no URL.
pub fn encode_request(
    operation: &'static OperationSchema,
    input: &Value,
    endpoint: &str,
) -> Result<Request<Bytes>, ApiError> {
    encode_request_as(protocol_of(operation), operation, input, endpoint)
}

/// The protocol that [`encode_request`] and [`decode_response`] use.
fn protocol_of(operation: &OperationSchema) -> Protocol {
    let preference = [Protocol::Json, Protocol::RestJson, Protocol::Ec2, Protocol::Query];
    preference.into_iter().find(|protocol| operation.service.speaks(*protocol)).unwrap_or(Protocol::Cbor)
}

/// The same in a given protocol of the service.
///
/// # Errors
/// `InvalidEndpoint` where the endpoint is no URL.
pub fn encode_request_as(
    protocol: Protocol,
    operation: &'static OperationSchema,
    input: &Value,
    endpoint: &str,
) -> Result<Request<Bytes>, ApiError> {
    let service = operation.service;
    let endpoint = endpoint.trim_end_matches('/');
    let target = service.target_prefix.unwrap_or_default();
    let path = match protocol {
        Protocol::Cbor => format!("/service/{target}/operation/{}", operation.name),
        Protocol::RestJson => rest::encode_target(operation, input),
        _ => "/".to_owned(),
    };
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    let method = match protocol {
        Protocol::RestJson => operation.http_method,
        _ => Method::POST.as_str(),
    };
    let request = Request::builder().method(method).uri(format!("{endpoint}{path}")).header(HOST, host);
    let (request, body) = match protocol {
        Protocol::Json => {
            let request = request
                .header(CONTENT_TYPE, format!("application/x-amz-json-{}", service.json_version))
                .header("x-amz-target", format!("{target}.{}", operation.name));
            (request, json::encode(operation.input, input))
        }
        Protocol::Cbor => {
            let request =
                request.header(CONTENT_TYPE, "application/cbor").header("smithy-protocol", "rpc-v2-cbor");
            (request.header("accept", "application/cbor"), cbor::encode(operation.input, input))
        }
        Protocol::RestJson => {
            let headers = rest::encode_headers(operation.input, input);
            let (content_type, body) = rest::encode_body(operation.input, input);
            let with = |request: http::request::Builder, (name, value)| {
                request.header::<String, String>(name, value)
            };
            (headers.into_iter().fold(request.header(CONTENT_TYPE, content_type), with), body)
        }
        Protocol::Query | Protocol::Ec2 => {
            let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8");
            (request, form::join(&query::encode(operation, protocol, input)).into_bytes())
        }
    };
    request.body(Bytes::from(body)).map_err(|cause| {
        ApiError::client("InvalidEndpoint", format!("The endpoint '{endpoint}' is not a URL: {cause}."))
    })
}

/// Reads a response, in the protocol that its content type tells.
///
/// # Errors
/// The service's own error, or `MalformedResponse` (status 502) where the body cannot be understood.
pub fn decode_response(
    operation: &'static OperationSchema,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Value, ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let protocol = match content_type {
        "application/cbor" => Protocol::Cbor,
        json if json.starts_with("application/x-amz-json") => Protocol::Json,
        xml if xml.starts_with("text/xml") || xml.starts_with("application/xml") => Protocol::Query,
        _ => protocol_of(operation),
    };
    if !status.is_success() {
        return Err(decode_error(protocol, status, headers, body));
    }
    let output = operation.output;
    let decoded = match protocol {
        Protocol::Json => json::decode(output, body, None),
        Protocol::RestJson => rest::decode_response(operation, status.as_u16(), headers, body),
        Protocol::Cbor => cbor::decode(output, body, None),
        Protocol::Query | Protocol::Ec2 => decode_xml(operation, body),
    };
    decoded.map_err(|error| malformed(status, &error.message))
}

fn decode_xml(operation: &'static OperationSchema, body: &[u8]) -> Result<Value, ApiError> {
    let root = xml::parse(body)?;
    if operation.result_wrapper.is_empty() {
        return xml::decode(operation.output, &root);
    }
    match root.child(operation.result_wrapper) {
        Some(result) => xml::decode(operation.output, result),
        None => Err(error::malformed(format!("It has no {}.", operation.result_wrapper))),
    }
}

fn malformed(status: StatusCode, what: &str) -> ApiError {
    let message = format!("The response (status {}) cannot be understood: {what}", status.as_u16());
    ApiError::new("MalformedResponse", 502, message)
}

fn decode_error(protocol: Protocol, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiError {
    let found = match protocol {
        Protocol::Json => json_error(body),
        Protocol::RestJson => rest_error(headers, body),
        Protocol::Cbor => cbor::decode_error(body),
        Protocol::Query | Protocol::Ec2 => xml_error(body),
    };
    let Some((shape, message)) = found else {
        return malformed(status, &String::from_utf8_lossy(body).chars().take(256).collect::<String>());
    };
    // The code that the query protocols use, where the service has both.
    let query_code =
        headers.get("x-amzn-query-error").and_then(|value| value.to_str().ok()?.split(';').next());
    let code = query_code.unwrap_or(&shape);
    let code = code.rsplit('#').next().unwrap_or(code).to_owned();
    ApiError::new(code, status.as_u16(), message)
}

fn json_error(body: &[u8]) -> Option<(String, String)> {
    let document: serde_json::Value = serde_json::from_slice(body).ok()?;
    let get = |name: &str| document.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    Some((get("__type")?, get("message").or_else(|| get("Message")).unwrap_or_default()))
}

fn rest_error(headers: &HeaderMap, body: &[u8]) -> Option<(String, String)> {
    // The code may be followed by a URL.
    let code = headers.get("x-amzn-errortype")?.to_str().ok()?.split(':').next()?.to_owned();
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = document.get("message").or_else(|| document.get("Message")).and_then(|text| text.as_str());
    Some((code, message.unwrap_or_default().to_owned()))
}

fn xml_error(body: &[u8]) -> Option<(String, String)> {
    let root = xml::parse(body).ok()?;
    let path: &[&str] = if root.child("Errors").is_some() { &["Errors", "Error"] } else { &["Error"] };
    let get = |name: &'static str| root.text_at(&[path, &[name]].concat()).map(str::to_owned);
    Some((get("Code")?, get("Message").unwrap_or_default()))
}
