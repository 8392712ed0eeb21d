//! AWS Signature Version 4, in headers and in presigned URLs.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

mod canonical;
mod scope;
mod sign;
mod verify;

pub use scope::Scope;
pub use sign::{Credentials, Unsignable, presign, sign};
pub use verify::{AuthError, Key, Verified, verify};

pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

#[cfg(test)]
mod tests;
