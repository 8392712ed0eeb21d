//! The one error that a client of the AWS APIs sees. Codecs turn it into the protocol's own form.

use std::borrow::Cow;
use std::fmt;

/// An AWS error: its code, the HTTP status it travels with, and a message for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// AWS's code, such as `InvalidVpcID.NotFound`.
    pub code: Cow<'static, str>,
    /// The HTTP status, 400..=599.
    pub status: u16,
    pub message: String,
}

impl ApiError {
    pub fn new(code: impl Into<Cow<'static, str>>, status: u16, message: impl Into<String>) -> Self {
        Self { code: code.into(), status, message: message.into() }
    }

    /// A client fault with status 400, the usual one.
    pub fn client(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(code, 400, message)
    }

    /// A fault of ours. Its cause goes to the log, not to the client.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("InternalFailure", 500, message)
    }

    /// A value or combination of values that AWS accepts and Pileus does not implement.
    /// Status 400, so that no SDK retries it.
    pub fn not_implemented(what: impl fmt::Display) -> Self {
        Self::client("UnsupportedOperation", format!("Pileus does not implement {what}."))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ApiError {}
