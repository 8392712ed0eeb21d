//! What makes a listener an HTTPS one: a security policy and certificates of ACM.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/https-listener-certificates.html>

use std::collections::BTreeSet;

use pileus_aws::elbv2::{
    AddListenerCertificatesInput, AddListenerCertificatesOutput, Certificate,
    DescribeListenerCertificatesInput, DescribeListenerCertificatesOutput, RemoveListenerCertificatesInput,
    RemoveListenerCertificatesOutput, ops,
};
use pileus_certificates::Unusable;
use pileus_contract::proxy::TlsSpec;
use pileus_core::{ApiError, Timestamp};
use pileus_service::{Context, Router};
use pileus_state::{State, Tx};
use serde::{Deserialize, Serialize};

use super::{Listener, policy};
use crate::load_balancer::LoadBalancer;
use crate::resource::{self, invalid};

/// Besides the default one of each listener.
pub(crate) const MAX_CERTIFICATES: usize = 25;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Secure {
    pub(super) policy: String,
    /// The ARN of the default certificate.
    pub(super) default: String,
    /// ARNs.
    others: Vec<String>,
}

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::DescribeListenerCertificates>(describe_listener_certificates)
        .on::<ops::AddListenerCertificates>(add_listener_certificates)
        .on::<ops::RemoveListenerCertificates>(remove_listener_certificates);
}

/// What a request for a listener of this protocol asks for; `before` is what the listener has.
pub(super) fn parse(
    protocol: &str,
    ssl_policy: Option<String>,
    certificates: Option<Vec<Certificate>>,
    before: Option<&Secure>,
) -> Result<Option<Secure>, ApiError> {
    let default = certificates.filter(|certificates| !certificates.is_empty()).map(only).transpose()?;
    match protocol {
        "HTTP" if ssl_policy.is_none() && default.is_none() => Ok(None),
        "HTTP" => Err(invalid("Certificates and an SSL policy cannot be specified for HTTP listeners")),
        "HTTPS" => {
            let default = default.or_else(|| before.map(|before| before.default.clone()));
            let default = default.ok_or_else(|| {
                ApiError::client("CertificateNotFound", "A certificate must be specified for HTTPS listeners")
            })?;
            let kept = before.map(|before| before.policy.clone());
            let policy = ssl_policy.or(kept).unwrap_or_else(|| policy::DEFAULT.into());
            policy::find(&policy)?;
            let others = before.map(|before| before.others.clone()).unwrap_or_default();
            Ok(Some(Secure { policy, default, others }))
        }
        other => {
            let message = format!("The protocol '{other}' is not supported by application load balancers");
            Err(ApiError::client("UnsupportedProtocol", message))
        }
    }
}

/// The ARN of the one certificate that a request may name.
fn only(certificates: Vec<Certificate>) -> Result<String, ApiError> {
    match <[Certificate; 1]>::try_from(certificates) {
        Ok([certificate]) => {
            certificate.certificate_arn.ok_or_else(|| invalid("A certificate ARN must be specified"))
        }
        Err(_) => Err(ApiError::client("TooManyCertificates", "Exactly one certificate must be specified")),
    }
}

impl Secure {
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.default).chain(&self.others)
    }

    /// What the balancer gets: certificates that are gone or not issued are left out.
    pub(crate) fn spec(&self, state: &State) -> Option<TlsSpec> {
        let policy = policy::find(&self.policy).ok()?;
        let certificates = self.certificates().filter_map(|arn| pileus_certificates::material(state, arn));
        Some(TlsSpec {
            versions: policy.versions(),
            cipher_suites: policy.suites(),
            certificates: certificates.collect(),
        })
    }
}

/// The ARNs of the certificates that a load balancer's listeners have.
pub(crate) fn certificates_of(tx: &Tx, balancer: &str) -> BTreeSet<String> {
    let listeners = super::of_load_balancer(tx, balancer);
    listeners
        .iter()
        .filter_map(|listener| listener.secure.as_ref())
        .flat_map(Secure::certificates)
        .cloned()
        .collect()
}

/// Tells ACM what has changed in the certificates of a load balancer, which were `before`.
///
/// # Errors
/// One that is new cannot serve.
pub(crate) fn note_use(
    tx: &mut Tx,
    balancer: &str,
    before: &BTreeSet<String>,
    now: Timestamp,
) -> Result<(), ApiError> {
    let after = certificates_of(tx, balancer);
    let user = resource::arn::<LoadBalancer>(tx.scope(), balancer);
    for gone in before.difference(&after) {
        pileus_certificates::release(tx, gone, &user);
    }
    for new in after.difference(before) {
        pileus_certificates::use_by(tx, new, &user, now).map_err(|error| match error {
            Unusable::Missing => {
                ApiError::client("CertificateNotFound", format!("Certificate ARN '{new}' is not valid"))
            }
            Unusable::NotIssued => ApiError::client(
                "UnsupportedCertificate",
                format!("The certificate '{new}' must have a fully-qualified domain name, a supported signature, and a supported key size."),
            ),
        })?;
    }
    Ok(())
}

fn of(cx: &Context, arn: &str) -> Result<(Listener, Secure), ApiError> {
    let listener = Listener::clone(&*resource::find(cx.tx, arn)?);
    match listener.secure.clone() {
        Some(secure) => Ok((listener, secure)),
        None => {
            let message = "Certificates are supported by HTTPS listeners only";
            Err(ApiError::client("UnsupportedProtocol", message))
        }
    }
}

fn describe_listener_certificates(
    cx: &mut Context,
    input: DescribeListenerCertificatesInput,
) -> Result<DescribeListenerCertificatesOutput, ApiError> {
    let (_, secure) = of(cx, &input.listener_arn)?;
    let mut arns: Vec<&String> = secure.certificates().collect();
    arns.sort();
    let (arns, next_marker) =
        resource::page(arns, |arn| (*arn).clone(), input.marker.as_deref(), input.page_size)?;
    let certificates = arns.into_iter().map(|arn| shape(arn, Some(*arn == secure.default)));
    Ok(DescribeListenerCertificatesOutput { certificates: Some(certificates.collect()), next_marker })
}

fn add_listener_certificates(
    cx: &mut Context,
    input: AddListenerCertificatesInput,
) -> Result<AddListenerCertificatesOutput, ApiError> {
    let (mut listener, mut secure) = of(cx, &input.listener_arn)?;
    let arn = only(input.certificates)?;
    let before = certificates_of(cx.tx, listener.load_balancer());
    if !secure.certificates().any(|known| *known == arn) {
        secure.others.push(arn.clone());
    }
    if secure.others.len() > MAX_CERTIFICATES {
        let message = format!("A load balancer can have at most {MAX_CERTIFICATES} certificates");
        return Err(ApiError::client("TooManyCertificates", message));
    }
    listener.secure = Some(secure);
    cx.tx.put(listener.clone());
    note_use(cx.tx, listener.load_balancer(), &before, cx.now)?;
    Ok(AddListenerCertificatesOutput { certificates: Some(vec![shape(&arn, Some(false))]) })
}

fn remove_listener_certificates(
    cx: &mut Context,
    input: RemoveListenerCertificatesInput,
) -> Result<RemoveListenerCertificatesOutput, ApiError> {
    let (mut listener, mut secure) = of(cx, &input.listener_arn)?;
    let arn = only(input.certificates)?;
    if arn == secure.default {
        let message = "The default certificate of a listener cannot be removed";
        return Err(ApiError::client("OperationNotPermitted", message));
    }
    let before = certificates_of(cx.tx, listener.load_balancer());
    secure.others.retain(|other| *other != arn);
    listener.secure = Some(secure);
    cx.tx.put(listener.clone());
    note_use(cx.tx, listener.load_balancer(), &before, cx.now)?;
    Ok(RemoveListenerCertificatesOutput {})
}

pub(super) fn shape(arn: &str, is_default: Option<bool>) -> Certificate {
    Certificate { certificate_arn: Some(arn.to_owned()), is_default }
}
