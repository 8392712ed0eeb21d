//! What all EC2 resources have in common: an id with a prefix, and the errors of an id that is not there.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>

use std::sync::Arc;

use pileus_core::ApiError;
use pileus_state::{Record, Tx};

/// A record whose key is its EC2 id.
pub trait Resource: Record {
    /// What stands before the hyphen of its ids.
    const PREFIX: &'static str;
    /// Its resource type in tag specifications.
    const TYPE: &'static str;
    /// What AWS's messages call its id.
    const NOUN: &'static str;
    const NOT_FOUND: &'static str;
    const MALFORMED: &'static str;

    fn not_found(id: &str) -> ApiError {
        ApiError::client(Self::NOT_FOUND, format!("The {} '{id}' does not exist", Self::NOUN))
    }
}

/// The resource of this id.
///
/// # Errors
/// AWS's code for an id of this kind that is unknown or malformed.
pub fn find<R: Resource>(tx: &Tx, id: &str) -> Result<Arc<R>, ApiError> {
    match tx.get::<R>(id) {
        Some(found) => Ok(found),
        None if is_id(R::PREFIX, id) => Err(R::not_found(id)),
        None => {
            let message = format!("Invalid id: \"{id}\" (expecting \"{}-...\")", R::PREFIX);
            Err(ApiError::client(R::MALFORMED, message))
        }
    }
}

/// Whether `id` is `prefix-` and 8 or 17 hexadecimal digits.
pub(crate) fn is_id(prefix: &str, id: &str) -> bool {
    let digits = id.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    digits.is_some_and(|digits| {
        matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The answer to the deletion of something that others depend on.
pub(crate) fn in_use(what: &str, id: &str) -> ApiError {
    let message = format!("The {what} '{id}' has dependencies and cannot be deleted.");
    ApiError::client("DependencyViolation", message)
}

pub(crate) fn missing(parameter: &str) -> ApiError {
    ApiError::client("MissingParameter", format!("The request must contain the parameter {parameter}"))
}

pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameterValue", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_a_prefix_and_8_or_17_digits() {
        for (id, good) in [
            ("vpc-0123456789abcdef0", true),
            ("vpc-01234567", true),
            ("vpc-0123456", false),
            ("vpc-0123456789ABCDEF0", false),
            ("subnet-01234567", false),
            ("vpc", false),
            ("", false),
        ] {
            assert_eq!(is_id("vpc", id), good, "{id}");
        }
    }
}
