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

    /// Whether the region has the form of one, as in `us-gov-west-1`. A zone or a slip of the pen would otherwise be a
    /// region of its own, in which nothing is found.
    pub(crate) fn names_a_region(&self) -> bool {
        let mut parts: Vec<&str> = self.region.split('-').collect();
        let number = parts.pop().unwrap_or_default();
        let word = |part: &&str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_lowercase());
        let digits = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
        digits && number.len() <= 2 && parts.len() >= 2 && parts.iter().all(word)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_the_form_of_one() {
        let region = |name: &str| Scope::parse(&format!("key/20261122/{name}/ec2/aws4_request")).unwrap();
        for name in ["us-east-1", "eu-central-2", "us-gov-west-1", "ap-southeast-5", "us-iso-east-1"] {
            assert!(region(name).names_a_region(), "{name}");
        }
        for name in
            ["us-east-1a", "us-east1", "us-1", "mars", "US-EAST-1", "us--1", "us-east-100", "us-east-"]
        {
            assert!(!region(name).names_a_region(), "{name}");
        }
    }
}
