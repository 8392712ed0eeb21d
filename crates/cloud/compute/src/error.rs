//! The errors of the ECS API.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html>

use pileus_core::ApiError;

/// The request is wrong in a way that has no error of its own.
pub(crate) fn client(message: impl Into<String>) -> ApiError {
    ApiError::client("ClientException", message)
}

pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameterException", message)
}

pub(crate) fn bad_token() -> ApiError {
    invalid("Invalid token.")
}

/// Refuses a value that AWS accepts and Pileus does not carry out.
pub(crate) fn refuse_unless(supported: bool, what: impl std::fmt::Display) -> Result<(), ApiError> {
    if supported { Ok(()) } else { Err(ApiError::not_implemented(what)) }
}
