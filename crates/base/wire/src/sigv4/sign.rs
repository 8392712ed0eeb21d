//! The client's side: signs a request in its headers, or its URL.

use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Uri};
use pileus_core::{Secret, Timestamp};

use super::canonical::{UNSIGNED_PAYLOAD, request, sha256_hex, signature, string_to_sign};
use super::{ALGORITHM, Scope};
use crate::percent;

/// What a client signs with.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub access_key: String,
    pub secret: Secret,
    /// Of temporary credentials.
    pub session_token: Option<Secret>,
}

/// A value that cannot stand in a header or a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be signed: its {0} cannot stand in a header or URL")]
pub struct Unsignable(&'static str);

fn header_value(text: &str, what: &'static str) -> Result<HeaderValue, Unsignable> {
    HeaderValue::from_str(text).map_err(|_| Unsignable(what))
}

fn scope(credentials: &Credentials, region: &str, service: &str, time: &str) -> Scope {
    Scope {
        access_key: credentials.access_key.clone(),
        date: time.chars().take(8).collect(),
        region: region.to_owned(),
        service: service.to_owned(),
    }
}

/// Adds `x-amz-date`, the session token and `Authorization` to a request. It signs `host`, `content-type` and
/// all `x-amz-*` headers.
///
/// # Errors
/// Where a credential or the host cannot stand in a header.
pub fn sign(
    http: Request<Bytes>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    now: Timestamp,
) -> Result<Request<Bytes>, Unsignable> {
    let (mut parts, body) = http.into_parts();
    let time = now.amz_date();
    set_host(&mut parts)?;
    parts.headers.insert("x-amz-date", header_value(&time, "date")?);
    if let Some(token) = &credentials.session_token {
        let mut value = header_value(token.reveal(), "session token")?;
        value.set_sensitive(true);
        parts.headers.insert("x-amz-security-token", value);
    }
    let scope = scope(credentials, region, service, &time);
    let names = signed_names(&parts);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let payload = match parts.headers.get("x-amz-content-sha256").map(HeaderValue::as_bytes) {
        Some(value) if value == UNSIGNED_PAYLOAD.as_bytes() => UNSIGNED_PAYLOAD.to_owned(),
        _ => sha256_hex(&body),
    };
    let canonical = request(&parts, &scope, &names, &payload).ok_or(Unsignable("headers"))?;
    let signature =
        signature(credentials.secret.reveal(), &scope, &string_to_sign(&canonical, &scope, &time));
    let authorization = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
        scope.access_key,
        scope.text(),
        names.join(";")
    );
    parts.headers.insert(AUTHORIZATION, header_value(&authorization, "credentials")?);
    Ok(Request::from_parts(parts, body))
}

fn set_host(parts: &mut Parts) -> Result<(), Unsignable> {
    if !parts.headers.contains_key(HOST) {
        let host = parts.uri.authority().map(ToString::to_string).ok_or(Unsignable("host"))?;
        parts.headers.insert(HOST, header_value(&host, "host")?);
    }
    Ok(())
}

/// The names of the headers to sign, sorted.
fn signed_names(parts: &Parts) -> Vec<String> {
    let wanted =
        |name: &&HeaderName| **name == HOST || **name == CONTENT_TYPE || name.as_str().starts_with("x-amz-");
    let mut names: Vec<String> = parts.headers.keys().filter(wanted).map(ToString::to_string).collect();
    names.sort();
    names
}

/// A URL that stands for a request without a body, valid for `expires` seconds.
///
/// # Errors
/// Where the URL has no host, or the credentials cannot stand in it.
pub fn presign(
    http: Request<Bytes>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    now: Timestamp,
    expires: u32,
) -> Result<Uri, Unsignable> {
    let (mut parts, body) = http.into_parts();
    let time = now.amz_date();
    set_host(&mut parts)?;
    let scope = scope(credentials, region, service, &time);
    let credential = format!("{}/{}", scope.access_key, scope.text());
    let mut query: Vec<String> = parts.uri.query().map(str::to_owned).into_iter().collect();
    query.push(format!(
        "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={time}&X-Amz-Expires={expires}\
         &X-Amz-SignedHeaders=host",
        percent::encode(&credential)
    ));
    if let Some(token) = &credentials.session_token {
        query.push(format!("X-Amz-Security-Token={}", percent::encode(token.reveal())));
    }
    parts.uri = with_query(&parts.uri, &query.join("&"))?;
    let payload = if scope.service == "s3" { UNSIGNED_PAYLOAD.to_owned() } else { sha256_hex(&body) };
    let canonical = request(&parts, &scope, &["host"], &payload).ok_or(Unsignable("headers"))?;
    let signature =
        signature(credentials.secret.reveal(), &scope, &string_to_sign(&canonical, &scope, &time));
    with_query(&parts.uri, &format!("{}&X-Amz-Signature={signature}", query.join("&")))
}

fn with_query(uri: &Uri, query: &str) -> Result<Uri, Unsignable> {
    let mut parts = uri.clone().into_parts();
    let path = format!("{}?{query}", uri.path());
    parts.path_and_query = Some(path.parse().map_err(|_| Unsignable("URL"))?);
    Uri::from_parts(parts).map_err(|_| Unsignable("URL"))
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.access_key, self.text())
    }
}
