//! What is kept of a certificate, and how one is found.

use std::collections::BTreeSet;
use std::sync::Arc;

use pileus_aws::acm::CertificateOptions;
use pileus_core::{ApiError, Arn, Scope, Secret, Tags, Timestamp};
use pileus_service::Described;
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::facts::Facts;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Certificate {
    pub(crate) id: String,
    pub(crate) domain: String,
    /// The domain first.
    pub(crate) names: Vec<String>,
    pub(crate) key_algorithm: String,
    pub(crate) created: Timestamp,
    pub(crate) source: Source,
    pub(crate) options: CertificateOptions,
    pub(crate) tags: Tags,
    /// The ARNs of the load balancers that serve it.
    pub(crate) users: BTreeSet<String>,
    /// Absent until it has been issued.
    pub(crate) material: Option<Material>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    Requested(Request),
    Imported(Timestamp),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) token: Option<String>,
    /// One for each name.
    pub(crate) validations: Vec<Validation>,
    /// Why the certificate could not be issued.
    pub(crate) failure: Option<String>,
}

/// The DNS record by which AWS would be shown that a name is the client's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Validation {
    pub(crate) name: String,
    pub(crate) record_name: String,
    pub(crate) record_value: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Material {
    /// PEM.
    pub(crate) certificate: String,
    /// PEM of the issuers; may be absent of an imported one.
    pub(crate) chain: Option<String>,
    /// PEM.
    pub(crate) key: Secret,
    pub(crate) issued: Timestamp,
    pub(crate) facts: Facts,
}

impl Record for Certificate {
    const KIND: &'static str = "acm/certificate";

    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Certificate {
    pub(crate) fn arn(&self, scope: &Scope) -> String {
        scope.arn("acm", format_args!("certificate/{}", self.id))
    }

    pub(crate) fn status(&self, now: Timestamp) -> &'static str {
        match (&self.source, &self.material) {
            (_, Some(material)) if material.facts.not_after <= now => "EXPIRED",
            (_, Some(_)) => "ISSUED",
            (Source::Requested(Request { failure: Some(_), .. }), None) => "FAILED",
            (_, None) => "PENDING_VALIDATION",
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self.source {
            Source::Requested(_) => "AMAZON_ISSUED",
            Source::Imported(_) => "IMPORTED",
        }
    }

    pub(crate) fn renewal_eligibility(&self) -> &'static str {
        let renewed = matches!(self.source, Source::Requested(_)) && !self.users.is_empty();
        if renewed && self.material.is_some() { "ELIGIBLE" } else { "INELIGIBLE" }
    }
}

/// The id in a certificate's ARN, if it is of this account and Region.
pub(crate) fn id_of<'a>(arn: &'a str, scope: &Scope) -> Option<&'a str> {
    let arn = Arn::parse(arn)?;
    let here = (arn.service, arn.region, arn.account) == ("acm", &*scope.region, &*scope.account);
    arn.resource.strip_prefix("certificate/").filter(|_| here)
}

/// The certificate that a request names.
///
/// # Errors
/// It is no certificate's ARN, or there is no such certificate.
pub(crate) fn find(tx: &Tx, arn: &str) -> Result<Arc<Certificate>, ApiError> {
    let parsed = Arn::parse(arn).filter(|arn| arn.service == "acm");
    if !parsed.is_some_and(|arn| arn.resource.starts_with("certificate/")) {
        let message = format!("The ARN {arn} is not that of a certificate.");
        return Err(ApiError::client("InvalidArnException", message));
    }
    let found = id_of(arn, tx.scope()).and_then(|id| tx.get::<Certificate>(id));
    found.ok_or_else(|| {
        ApiError::client("ResourceNotFoundException", format!("Could not find certificate {arn}."))
    })
}

/// What policies see of the certificate that an ARN names.
pub(crate) fn described(tx: &Tx, arn: &str) -> Option<Described> {
    let certificate = tx.get::<Certificate>(id_of(arn, tx.scope())?)?;
    Some(Described { arn: arn.to_owned(), tags: certificate.tags.clone(), policy: None })
}

pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("ValidationException", message)
}
