//! Importing a certificate that was issued elsewhere.
//! <https://docs.aws.amazon.com/acm/latest/userguide/import-certificate-prerequisites.html>

use std::sync::Arc;

use pileus_aws::acm::{CertificateOptions, ImportCertificateRequest, ImportCertificateResponse, ops};
use pileus_core::{ApiError, Secret, Timestamp};
use pileus_service::{Context, Router};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::facts::{self, Facts};
use crate::record::{Certificate, Material, Source, find, invalid};
use crate::tags;

/// No chain is longer.
const MAX_CHAIN: usize = 10;

pub(crate) fn operations(router: &mut Router) {
    router.on::<ops::ImportCertificate>(import_certificate);
}

fn import_certificate(
    cx: &mut Context,
    input: ImportCertificateRequest,
) -> Result<ImportCertificateResponse, ApiError> {
    let material = material(&input, cx.now)?;
    let tags = tags::read(input.tags.clone())?;
    let mut certificate = match &input.certificate_arn {
        Some(arn) if tags.is_empty() => replaced(&*find(cx.tx, arn)?, &material.facts)?,
        Some(_) => return Err(invalid("You cannot specify tags when you re-import a certificate.")),
        None => Certificate {
            id: cx.ids.uuid(),
            domain: String::new(),
            names: Vec::new(),
            key_algorithm: String::new(),
            created: cx.now,
            source: Source::Imported(cx.now),
            options: CertificateOptions {
                certificate_transparency_logging_preference: Some("DISABLED".into()),
                export: None,
            },
            tags,
            users: Default::default(),
            material: None,
        },
    };
    let facts = &material.facts;
    let first = facts.common_name.clone().or_else(|| facts.names.first().cloned());
    certificate.domain = first.unwrap_or_else(|| facts.subject.clone());
    certificate.names = facts.names.clone();
    if certificate.names.is_empty() {
        certificate.names.push(certificate.domain.clone());
    }
    certificate.key_algorithm = facts.key_algorithm.clone();
    certificate.source = Source::Imported(cx.now);
    certificate.material = Some(material);
    let arn = certificate.arn(cx.scope());
    cx.tx.put(certificate);
    Ok(ImportCertificateResponse { certificate_arn: Some(arn) })
}

/// A certificate that another one is imported in place of.
fn replaced(old: &Certificate, new: &Facts) -> Result<Certificate, ApiError> {
    if !matches!(old.source, Source::Imported(_)) {
        return Err(invalid("The certificate was not imported, so nothing can be imported in place of it."));
    }
    // A load balancer serves it: its key must stay of one kind.
    let kind = |algorithm: &str| algorithm.split('_').next().map(str::to_owned);
    if !old.users.is_empty() && kind(&old.key_algorithm) != kind(&new.key_algorithm) {
        return Err(invalid("The key algorithm of a certificate that is in use cannot be changed."));
    }
    Ok(old.clone())
}

fn material(input: &ImportCertificateRequest, now: Timestamp) -> Result<Material, ApiError> {
    let unreadable = |what: &str, why: String| invalid(format!("Could not parse the {what}: {why}."));
    let own = facts::from_pem(&input.certificate).map_err(|why| unreadable("certificate", why))?;
    let [own] = <[CertificateDer; 1]>::try_from(own).map_err(|_| {
        invalid(
            "Certificate field contains more than one certificate. You can specify only one certificate in this field.",
        )
    })?;
    let facts = facts::read(&own).map_err(|why| unreadable("certificate", why))?;
    if facts.not_after <= now {
        return Err(invalid("The certificate has expired, and so cannot be imported."));
    }
    if facts.not_before > now {
        return Err(invalid("The certificate is not yet valid, and so cannot be imported."));
    }
    let chain = input.certificate_chain.as_deref().map(facts::from_pem).transpose();
    let chain = chain.map_err(|why| unreadable("certificate chain", why))?;
    check_chain(&own, chain.as_deref().unwrap_or_default())?;
    check_key(own, &input.private_key)?;
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map_err(|_| invalid("What is imported must be PEM, which is ASCII text."))
    };
    Ok(Material {
        certificate: text(&input.certificate)?,
        chain: input.certificate_chain.as_deref().map(text).transpose()?,
        key: Secret::new(text(&input.private_key)?),
        issued: now,
        facts,
    })
}

/// Each certificate is signed by the next.
fn check_chain(own: &CertificateDer, chain: &[CertificateDer]) -> Result<(), ApiError> {
    let broken = || invalid("Could not validate the certificate with the certificate chain.");
    if chain.len() > MAX_CHAIN {
        return Err(invalid(format!("A certificate chain has at most {MAX_CHAIN} certificates.")));
    }
    let mut subject = facts::parse(own).map_err(|_| broken())?;
    for issuer in chain {
        let issuer = facts::parse(issuer).map_err(|_| broken())?;
        subject.verify_signature(Some(issuer.public_key())).map_err(|_| broken())?;
        subject = issuer;
    }
    Ok(())
}

fn check_key(own: CertificateDer<'static>, key: &[u8]) -> Result<(), ApiError> {
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| invalid(format!("The private key is not an unencrypted key in PEM: {error}.")))?;
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| invalid(format!("The private key is not supported: {error}.")))?;
    CertifiedKey::new(vec![own], Arc::clone(&key))
        .keys_match()
        .map_err(|_| invalid("The private key does not match the public key of the certificate."))
}
