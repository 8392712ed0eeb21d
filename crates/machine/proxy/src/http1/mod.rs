//! HTTP/1.0 and 1.1 on the wire (RFC 9112): heads, bodies, and the answers that the balancer gives itself.
//! Nothing here does I/O; everything works on bytes that somebody else read.

pub(crate) mod body;
pub(crate) mod buffer;
pub(crate) mod error_page;
pub(crate) mod forward;
pub(crate) mod headers;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod trace;

pub(crate) use body::{BodyKind, BodyReader};
pub(crate) use buffer::Buffer;
pub(crate) use request::RequestHead;
pub(crate) use response::ResponseHead;

/// ALB's limits: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>
pub(crate) const MAX_REQUEST_LINE: usize = 16 * 1024;
pub(crate) const MAX_HEADER: usize = 16 * 1024;
pub(crate) const MAX_REQUEST_HEAD: usize = 64 * 1024 + MAX_REQUEST_LINE;
pub(crate) const MAX_RESPONSE_HEAD: usize = 32 * 1024;
/// Addresses in `X-Forwarded-For` that ALB accepts; more are answered with 463.
pub(crate) const MAX_FORWARDED_FOR: usize = 30;
