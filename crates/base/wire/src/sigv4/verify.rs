//! The server's side: who signed a request, and whether the signature is theirs and fresh.

use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use pileus_core::{ApiError, Secret, Timestamp};
use pileus_model::Protocol;
use subtle::ConstantTimeEq as _;

use super::canonical::{UNSIGNED_PAYLOAD, request, sha256_hex, signature, string_to_sign};
use super::scope::field;
use super::{ALGORITHM, Scope};
use crate::percent;

/// How far the clocks of client and server may be apart, in milliseconds.
const SKEW: i64 = 15 * 60 * 1000;
/// The longest life of a presigned URL, in seconds: a week.
const MAX_EXPIRES: i64 = 7 * 24 * 3600;

/// What the server knows of an access key.
#[derive(Clone, Debug)]
pub struct Key {
    pub secret: Secret,
    /// Of temporary credentials, with their end.
    pub session: Option<(Secret, Timestamp)>,
}

/// A request whose signature is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub scope: Scope,
    /// Whether the signature covers the body.
    pub payload_signed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("Missing Authentication Token")]
    Missing,
    #[error("{0}")]
    Incomplete(String),
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    #[error("The security token included in the request is invalid.")]
    WrongToken,
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    #[error("Signature expired: {0}")]
    Expired(String),
    #[error("Signature not yet current: {0}")]
    NotYetCurrent(String),
    #[error("Credential should be scoped to correct service: '{0}'. ")]
    WrongService(String),
    #[error("Credential should be scoped to a valid Region, not '{0}'. ")]
    WrongRegion(String),
    #[error(
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{0}'."
    )]
    WrongDate(String),
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    WrongPayload,
    #[error("Pileus does not implement signed chunked uploads ({0}).")]
    Streaming(String),
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details.\n\nThe Canonical String \
         for this request should have been\n'{canonical_request}'\n\nThe String-to-Sign should have been\n\
         '{string_to_sign}'"
    )]
    WrongSignature { canonical_request: String, string_to_sign: String },
}

impl AuthError {
    /// The error as a service of the protocol reports it.
    pub fn into_api(self, protocol: Protocol) -> ApiError {
        let (query, json, ec2) = match &self {
            Self::Missing => (
                ("MissingAuthenticationToken", 403),
                ("MissingAuthenticationTokenException", 403),
                ("MissingAuthenticationToken", 403),
            ),
            Self::Incomplete(_) => (
                ("IncompleteSignature", 400),
                ("IncompleteSignatureException", 400),
                ("IncompleteSignature", 400),
            ),
            Self::UnknownKey | Self::WrongToken => {
                (("InvalidClientTokenId", 403), ("UnrecognizedClientException", 403), ("AuthFailure", 401))
            }
            Self::ExpiredToken => {
                (("ExpiredToken", 403), ("ExpiredTokenException", 403), ("RequestExpired", 400))
            }
            Self::Expired(_) | Self::NotYetCurrent(_) => {
                (("SignatureDoesNotMatch", 403), ("InvalidSignatureException", 403), ("RequestExpired", 400))
            }
            Self::Streaming(_) => {
                (("UnsupportedOperation", 400), ("UnsupportedOperation", 400), ("UnsupportedOperation", 400))
            }
            Self::WrongService(_)
            | Self::WrongRegion(_)
            | Self::WrongDate(_)
            | Self::WrongPayload
            | Self::WrongSignature { .. } => {
                (("SignatureDoesNotMatch", 403), ("InvalidSignatureException", 403), ("AuthFailure", 401))
            }
        };
        let (code, status) = match protocol {
            Protocol::Query => query,
            Protocol::Json | Protocol::Cbor | Protocol::RestJson => json,
            Protocol::Ec2 => ec2,
        };
        ApiError::new(code, status, self.to_string())
    }
}

/// The signature that a request carries, in either form.
struct Claim {
    scope: Scope,
    time: String,
    signed_headers: String,
    signature: String,
    token: Option<String>,
    /// Of a presigned URL, in seconds.
    expires: Option<i64>,
}

/// Verifies a request for `service` (a signing name). `lookup` finds the key that an access key id names.
///
/// # Errors
/// Why the request cannot be trusted; [`AuthError::into_api`] words it for a protocol.
pub fn verify(
    parts: &Parts,
    body: &[u8],
    service: &str,
    lookup: impl FnOnce(&str) -> Option<Key>,
    now: Timestamp,
) -> Result<Verified, AuthError> {
    let claim = claim(parts)?;
    check_time(&claim, now)?;
    let signed: Vec<&str> = claim.signed_headers.split(';').collect();
    check_signed_headers(parts, &signed)?;
    let (payload, payload_signed) = payload(parts, &claim, body)?;
    let key = lookup(&claim.scope.access_key).ok_or(AuthError::UnknownKey)?;
    let canonical_request = request(parts, &claim.scope, &signed, &payload).ok_or_else(|| {
        AuthError::Incomplete("A header that the signature names is missing or is not text.".to_owned())
    })?;
    let string_to_sign = string_to_sign(&canonical_request, &claim.scope, &claim.time);
    let expected = signature(key.secret.reveal(), &claim.scope, &string_to_sign);
    if !equal(&expected, &claim.signature) {
        return Err(AuthError::WrongSignature { canonical_request, string_to_sign });
    }
    check_token(&key, claim.token.as_deref(), now)?;
    if claim.scope.service != service {
        return Err(AuthError::WrongService(service.to_owned()));
    }
    if !claim.scope.names_a_region() {
        return Err(AuthError::WrongRegion(claim.scope.region));
    }
    Ok(Verified { scope: claim.scope, payload_signed })
}

fn equal(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

fn claim(parts: &Parts) -> Result<Claim, AuthError> {
    match parts.headers.get(AUTHORIZATION) {
        Some(header) => header_claim(parts, header),
        None => query_claim(parts),
    }
}

fn header_claim(parts: &Parts, header: &HeaderValue) -> Result<Claim, AuthError> {
    let header = header.to_str().unwrap_or_default();
    if !header.starts_with(ALGORITHM) {
        return Err(AuthError::Incomplete(format!(
            "Authorization header requires the algorithm {ALGORITHM}."
        )));
    }
    let field = |name: &str| {
        let missing = || AuthError::Incomplete(format!("Authorization header requires '{name}' parameter."));
        field(header, name).filter(|value| !value.is_empty()).ok_or_else(missing)
    };
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Claim {
        scope: scope(field("Credential")?)?,
        signed_headers: field("SignedHeaders")?.to_owned(),
        signature: field("Signature")?.to_owned(),
        time: text("x-amz-date").ok_or_else(|| {
            AuthError::Incomplete(
                "Authorization header requires existence of a 'X-Amz-Date' header.".to_owned(),
            )
        })?,
        token: text("x-amz-security-token"),
        expires: None,
    })
}

fn query_claim(parts: &Parts) -> Result<Claim, AuthError> {
    let pairs = || parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let find =
        |name: &str| pairs().find(|(key, _)| *key == name).and_then(|(_, value)| percent::decode(value));
    if find("X-Amz-Algorithm").ok_or(AuthError::Missing)? != ALGORITHM {
        return Err(AuthError::Incomplete(format!("X-Amz-Algorithm must be {ALGORITHM}.")));
    }
    let parameter = |name: &str| {
        find(name).ok_or_else(|| AuthError::Incomplete(format!("The query string requires '{name}'.")))
    };
    let expires =
        parameter("X-Amz-Expires")?.parse().ok().filter(|seconds| (1..=MAX_EXPIRES).contains(seconds));
    Ok(Claim {
        scope: scope(&parameter("X-Amz-Credential")?)?,
        signed_headers: parameter("X-Amz-SignedHeaders")?,
        signature: parameter("X-Amz-Signature")?,
        time: parameter("X-Amz-Date")?,
        token: find("X-Amz-Security-Token"),
        expires: Some(expires.ok_or_else(|| {
            AuthError::Incomplete(format!("X-Amz-Expires must be between 1 and {MAX_EXPIRES} seconds."))
        })?),
    })
}

fn scope(text: &str) -> Result<Scope, AuthError> {
    Scope::parse(text).ok_or_else(|| {
        AuthError::Incomplete(
            "Credential must have the form <key>/<date>/<region>/<service>/aws4_request.".to_owned(),
        )
    })
}

fn check_time(claim: &Claim, now: Timestamp) -> Result<(), AuthError> {
    let time = Timestamp::parse(&claim.time).filter(|_| claim.time.len() == 16).ok_or_else(|| {
        AuthError::Incomplete("The signature's date must have the form YYYYMMDD'T'HHMMSS'Z'.".to_owned())
    })?;
    if !claim.time.starts_with(&claim.scope.date) || claim.scope.date.len() != 8 {
        return Err(AuthError::WrongDate(claim.scope.date.chars().take(16).collect()));
    }
    let age = now.millis().saturating_sub(time.millis());
    let life = claim.expires.map_or(SKEW, |seconds| seconds * 1000);
    let (sent, now) = (&claim.time, now.amz_date());
    if age > life {
        return Err(AuthError::Expired(format!(
            "{sent} is now earlier than {now} by more than {} s.",
            life / 1000
        )));
    }
    if age < -SKEW {
        return Err(AuthError::NotYetCurrent(format!("{sent} is still later than {now} (+ 15 min.)")));
    }
    Ok(())
}

/// What decides the meaning of a request must be under its signature.
fn check_signed_headers(parts: &Parts, signed: &[&str]) -> Result<(), AuthError> {
    let unsigned = |name: &&str| parts.headers.contains_key(*name) && !signed.contains(name);
    let missing = if signed.contains(&"host") { None } else { Some("host") };
    match missing.or_else(|| ["x-amz-target"].into_iter().find(unsigned)) {
        Some(name) => Err(AuthError::Incomplete(format!("'{name}' must be a signed header."))),
        None => Ok(()),
    }
}

/// The payload's hash as signed, and whether it is the body's.
fn payload(parts: &Parts, claim: &Claim, body: &[u8]) -> Result<(String, bool), AuthError> {
    let stated = parts.headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
    match stated {
        Some(UNSIGNED_PAYLOAD) => Ok((UNSIGNED_PAYLOAD.to_owned(), false)),
        Some(streaming) if streaming.starts_with("STREAMING-") => {
            Err(AuthError::Streaming(streaming.to_owned()))
        }
        None if claim.expires.is_some() && claim.scope.service == "s3" => {
            Ok((UNSIGNED_PAYLOAD.to_owned(), false))
        }
        stated => {
            let computed = sha256_hex(body);
            match stated {
                Some(stated) if !equal(stated, &computed) => Err(AuthError::WrongPayload),
                _ => Ok((computed, true)),
            }
        }
    }
}

fn check_token(key: &Key, token: Option<&str>, now: Timestamp) -> Result<(), AuthError> {
    match (&key.session, token) {
        (Some((expected, _)), Some(token)) if !equal(expected.reveal(), token) => Err(AuthError::WrongToken),
        (Some(_), None) => Err(AuthError::WrongToken),
        (Some((_, end)), Some(_)) if now >= *end => Err(AuthError::ExpiredToken),
        (None, _) | (Some(_), Some(_)) => Ok(()),
    }
}
