//! The credential scope: which key signed, for which day, region and service.

use http::header::AUTHORIZATION;
use http::request::Parts;

use super::ALGORITHM;
use crate::percent;

/// `<access key>/<date>/<region>/<service>/aws4_request`, as a request states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub access_key: String,
    /// `YYYYMMDD`.
    pub date: String,
    pub region: String,
    pub service: String,
}

impl Scope {
    /// The scope that a request claims; nothing about it is verified yet.
    pub fn of(parts: &Parts) -> Option<Self> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some(header) = header {
            return Self::parse(field(header, "Credential")?);
        }
        let pairs = parts.uri.query().unwrap_or_default().split('&');
        let value =
            pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == "X-Amz-Credential")?.1;
        Self::parse(&percent::decode(value)?)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(5, '/').map(str::to_owned);
        let terminator = parts.next()?;
        let (service, region, date, access_key) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let named = [&service, &region, &date, &access_key].iter().all(|part| !part.is_empty());
        (named && terminator == "aws4_request").then_some(Self { access_key, date, region, service })
    }

    /// What stands in the string to sign.
    pub(crate) fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// A field of the `Authorization` header: `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
pub(crate) fn field<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let fields = header.strip_prefix(ALGORITHM)?.split(',');
    fields
        .filter_map(|field| field.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
