//! Errors in requests, in the words of each protocol, and the two names that an error can have.

use pileus_core::ApiError;
use pileus_model::{ErrorSchema, OperationSchema, Protocol};

/// A text value where another kind was expected.
pub(crate) fn bad_scalar(
    protocol: Protocol,
    operation: &OperationSchema,
    parameter: &str,
    text: &str,
    kind: &str,
) -> ApiError {
    let shown: String = text.chars().take(128).collect();
    let (service, name) = (operation.service.signing_name, operation.name);
    match protocol {
        Protocol::Ec2 => ApiError::client(
            "InvalidParameterValue",
            format!("Value ({shown}) for parameter {parameter} is invalid. Expected a value of type {kind}."),
        ),
        Protocol::Query => ApiError::client(
            "MalformedInput",
            format!("'{shown}' at '{parameter}' is not a value of type {kind} ({service}:{name})."),
        ),
        Protocol::Json | Protocol::Cbor | Protocol::RestJson => ApiError::client(
            "SerializationException",
            format!("'{parameter}' is not a value of type {kind}."),
        ),
    }
}

/// A member that the model does not have, or does not have in this place: it would be dropped silently.
pub(crate) fn unknown_parameter(
    protocol: Protocol,
    operation: &OperationSchema,
    parameter: &str,
) -> ApiError {
    let shown: String = parameter.chars().take(256).collect();
    match protocol {
        Protocol::Ec2 => {
            ApiError::client("UnknownParameter", format!("The parameter {shown} is not recognized"))
        }
        _ => {
            let (service, name) = (operation.service.signing_name, operation.name);
            ApiError::not_implemented(format!("the parameter {shown} of {service}:{name}"))
        }
    }
}

/// A document that is not in the protocol's syntax.
pub(crate) fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::client("SerializationException", message)
}

/// The model's entry for an error, by either of its names.
pub(crate) fn declared<'a>(operation: Option<&'a OperationSchema>, code: &str) -> Option<&'a ErrorSchema> {
    operation?.errors.iter().find(|error| error.code == code || error.shape == code)
}
