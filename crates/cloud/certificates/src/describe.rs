//! What is said of a certificate, and the certificate itself.
//! <https://docs.aws.amazon.com/acm/latest/APIReference/API_DescribeCertificate.html>

use pileus_aws::acm::{
    CertificateDetail, DescribeCertificateRequest, DescribeCertificateResponse, DomainValidation,
    ExportCertificateRequest, ExportCertificateResponse, ExtendedKeyUsage, GetCertificateRequest,
    GetCertificateResponse, KeyUsage, ResourceRecord, ops,
};
use pileus_core::{ApiError, Scope, Timestamp};
use pileus_service::{Context, Router};

use crate::facts::Facts;
use crate::record::{Certificate, Request, Source, find, invalid};

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::DescribeCertificate>(describe_certificate)
        .on::<ops::GetCertificate>(get_certificate)
        .on::<ops::ExportCertificate>(export_certificate);
}

fn describe_certificate(
    cx: &mut Context,
    input: DescribeCertificateRequest,
) -> Result<DescribeCertificateResponse, ApiError> {
    let certificate = find(cx.tx, &input.certificate_arn)?;
    let certificate = Some(detail(&certificate, cx.scope(), cx.now));
    Ok(DescribeCertificateResponse { certificate })
}

fn detail(certificate: &Certificate, scope: &Scope, now: Timestamp) -> CertificateDetail {
    let (mut issued, mut imported) = (None, None);
    let (mut validations, mut failure) = (None, None);
    match &certificate.source {
        Source::Requested(request) => {
            issued = certificate.material.as_ref().map(|material| material.issued);
            validations = Some(domain_validations(request, certificate.material.is_some()));
            failure = request.failure.as_ref().map(|_| "OTHER".to_owned());
        }
        Source::Imported(at) => imported = Some(*at),
    }
    let known = CertificateDetail {
        certificate_arn: Some(certificate.arn(scope)),
        domain_name: Some(certificate.domain.clone()),
        subject_alternative_names: Some(certificate.names.clone()),
        domain_validation_options: validations,
        created_at: Some(certificate.created),
        issued_at: issued,
        imported_at: imported,
        status: Some(certificate.status(now).into()),
        key_algorithm: Some(certificate.key_algorithm.clone()),
        in_use_by: Some(certificate.users.iter().cloned().collect()),
        failure_reason: failure,
        r#type: Some(certificate.kind().into()),
        renewal_eligibility: Some(certificate.renewal_eligibility().into()),
        options: Some(certificate.options.clone()),
        // Until there is a certificate, this much of it is known.
        subject: Some(format!("CN={}", certificate.domain)),
        ..CertificateDetail::default()
    };
    match &certificate.material {
        Some(material) => with_facts(known, &material.facts),
        None => {
            CertificateDetail { key_usages: Some(Vec::new()), extended_key_usages: Some(Vec::new()), ..known }
        }
    }
}

fn with_facts(detail: CertificateDetail, facts: &Facts) -> CertificateDetail {
    let usage = |name: &String| KeyUsage { name: Some(name.clone()) };
    let extended = |(name, oid): &(String, String)| ExtendedKeyUsage {
        name: Some(name.clone()),
        oid: Some(oid.clone()),
    };
    CertificateDetail {
        serial: Some(facts.serial.clone()),
        subject: Some(facts.subject.clone()),
        issuer: Some(facts.issuer.clone()),
        not_before: Some(facts.not_before),
        not_after: Some(facts.not_after),
        signature_algorithm: Some(facts.signature_algorithm.clone()),
        key_usages: Some(facts.key_usages.iter().map(usage).collect()),
        extended_key_usages: Some(facts.extended_key_usages.iter().map(extended).collect()),
        ..detail
    }
}

fn domain_validations(request: &Request, done: bool) -> Vec<DomainValidation> {
    let status = match (done, &request.failure) {
        (true, _) => "SUCCESS",
        (false, Some(_)) => "FAILED",
        (false, None) => "PENDING_VALIDATION",
    };
    let validation = |validation: &crate::record::Validation| DomainValidation {
        domain_name: Some(validation.name.clone()),
        validation_domain: Some(validation.name.clone()),
        validation_status: Some(status.into()),
        resource_record: Some(ResourceRecord {
            name: Some(validation.record_name.clone()),
            r#type: Some("CNAME".into()),
            value: Some(validation.record_value.clone()),
        }),
        validation_method: Some("DNS".into()),
        ..DomainValidation::default()
    };
    request.validations.iter().map(validation).collect()
}

fn get_certificate(
    cx: &mut Context,
    input: GetCertificateRequest,
) -> Result<GetCertificateResponse, ApiError> {
    let certificate = find(cx.tx, &input.certificate_arn)?;
    let material = certificate.material.as_ref().ok_or_else(|| {
        let message = "The certificate request is in process and the certificate in your account has not yet been \
                       issued.";
        ApiError::client("RequestInProgressException", message)
    })?;
    Ok(GetCertificateResponse {
        certificate: Some(material.certificate.clone()),
        certificate_chain: material.chain.clone(),
    })
}

/// Only private certificates, and public ones that were asked for as such, can be exported: neither is here.
fn export_certificate(
    cx: &mut Context,
    input: ExportCertificateRequest,
) -> Result<ExportCertificateResponse, ApiError> {
    let certificate = find(cx.tx, &input.certificate_arn)?;
    let arn = certificate.arn(cx.scope());
    Err(invalid(format!("Certificate ARN: {arn} is not a private certificate")))
}
