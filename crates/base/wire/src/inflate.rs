//! Compressed request bodies: SDKs gzip large `PutMetricData` requests.
//! <https://smithy.io/2.0/spec/behavior-traits.html#requestcompression-trait>

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::CONTENT_ENCODING;
use http::request::Parts;
use pileus_core::ApiError;

/// The most that a compressed body may grow to, in bytes.
const LIMIT: u64 = 16 << 20;

/// The body as it was before its `Content-Encoding`.
pub(crate) fn inflate(parts: &Parts, body: &Bytes) -> Result<Bytes, ApiError> {
    match parts.headers.get(CONTENT_ENCODING).map(http::HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Ok(body.clone()),
        Some(b"gzip") => gunzip(body),
        Some(_) => {
            Err(ApiError::new("UnsupportedMediaType", 415, "The only supported Content-Encoding is gzip."))
        }
    }
}

fn gunzip(body: &Bytes) -> Result<Bytes, ApiError> {
    let mut out = Vec::new();
    let read = GzDecoder::new(body.as_ref()).take(LIMIT + 1).read_to_end(&mut out);
    match read {
        Ok(size) if size as u64 <= LIMIT => Ok(out.into()),
        Ok(_) => Err(ApiError::new(
            "RequestEntityTooLarge",
            413,
            format!("The request body is larger than {LIMIT} bytes when decompressed."),
        )),
        Err(error) => {
            Err(ApiError::client("SerializationException", format!("The gzip body is damaged: {error}.")))
        }
    }
}
