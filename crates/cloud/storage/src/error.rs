//! S3's errors: its own codes and statuses.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

use std::fmt;

use pileus_core::ApiError;

pub fn no_such_bucket() -> ApiError {
    ApiError::new("NoSuchBucket", 404, "The specified bucket does not exist")
}

pub fn no_such_key() -> ApiError {
    ApiError::new("NoSuchKey", 404, "The specified key does not exist.")
}

pub fn no_such_version() -> ApiError {
    ApiError::new("NoSuchVersion", 404, "The specified version does not exist.")
}

pub fn no_such_upload() -> ApiError {
    let message = "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have \
                   been aborted or completed.";
    ApiError::new("NoSuchUpload", 404, message)
}

pub fn access_denied() -> ApiError {
    ApiError::new("AccessDenied", 403, "Access Denied")
}

pub fn invalid_argument(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidArgument", message)
}

pub fn invalid_request(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidRequest", message)
}

pub fn malformed_xml() -> ApiError {
    let message = "The XML you provided was not well-formed or did not validate against our published schema";
    ApiError::client("MalformedXML", message)
}

pub fn precondition_failed() -> ApiError {
    let message = "At least one of the pre-conditions you specified did not hold";
    ApiError::new("PreconditionFailed", 412, message)
}

/// S3's own code for what a header or a document asks in vain. Its status is one that no SDK retries.
pub fn not_implemented(what: impl fmt::Display) -> ApiError {
    ApiError::new("NotImplemented", 501, format!("Pileus does not implement {what}."))
}
