//! The canonical request, the string to sign and the signature.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use super::{ALGORITHM, Scope};
use crate::percent;

/// The hash that stands for a payload that is not signed.
pub(crate) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The request in the form that both sides hash. `None` where a signed header is missing or is not text.
pub(crate) fn request(
    parts: &Parts,
    scope: &Scope,
    signed_headers: &[&str],
    payload: &str,
) -> Option<String> {
    let mut headers = String::new();
    for name in signed_headers {
        headers.push_str(&format!("{name}:{}\n", header_value(parts, name)?));
    }
    let path = if scope.service == "s3" { once(parts.uri.path())? } else { twice(parts.uri.path()) };
    Some(format!(
        "{}\n{path}\n{}\n{headers}\n{}\n{payload}",
        parts.method,
        query(parts.uri.query().unwrap_or_default())?,
        signed_headers.join(";"),
    ))
}

/// All values of a header, in order, with runs of spaces made one.
fn header_value(parts: &Parts, name: &str) -> Option<String> {
    let mut values = Vec::new();
    for value in parts.headers.get_all(name) {
        let text = std::str::from_utf8(value.as_bytes()).ok()?;
        values.push(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
    }
    match (values.is_empty(), name) {
        (true, "host") => parts.uri.authority().map(ToString::to_string),
        (true, _) => None,
        (false, _) => Some(values.join(",")),
    }
}

/// S3 encodes the path once and leaves its segments alone.
fn once(path: &str) -> Option<String> {
    Some(percent::encode_path(&percent::decode(path)?))
}

/// Other services resolve dot segments and encode what is already encoded.
fn twice(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let slash = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    percent::encode_path(&format!("/{}{slash}", segments.join("/")))
}

/// Sorted by encoded name, then value; the signature itself is not signed.
fn query(query: &str) -> Option<String> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != "X-Amz-Signature" {
            pairs.push((percent::encode(&percent::decode(name)?), percent::encode(&percent::decode(value)?)));
        }
    }
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    Some(pairs.join("&"))
}

/// `time` is the request's own, in the `x-amz-date` form.
pub(crate) fn string_to_sign(canonical_request: &str, scope: &Scope, time: &str) -> String {
    format!("{ALGORITHM}\n{time}\n{}\n{}", scope.text(), sha256_hex(canonical_request.as_bytes()))
}

pub(crate) fn signature(secret: &str, scope: &Scope, string_to_sign: &str) -> String {
    let mut key = hmac(format!("AWS4{secret}").as_bytes(), scope.date.as_bytes());
    for part in [scope.region.as_str(), scope.service.as_str(), "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    hex::encode(hmac(&key, string_to_sign.as_bytes()))
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}
