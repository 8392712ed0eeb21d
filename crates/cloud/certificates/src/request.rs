//! Asking for a certificate.
//! <https://docs.aws.amazon.com/acm/latest/APIReference/API_RequestCertificate.html>

use std::collections::BTreeMap;
use std::time::Duration;

use pileus_aws::acm::{
    CertificateOptions, RequestCertificateRequest, RequestCertificateResponse, ResendValidationEmailRequest,
    ops,
};
use pileus_core::{ApiError, IdGen, Timestamp};
use pileus_model::Unit;
use pileus_service::{Context, Router};

use crate::options;
use crate::record::{Certificate, Request, Source, Validation, find, invalid};
use crate::tags;

/// How long the same token means the same request.
const TOKEN_VALID: Duration = Duration::from_secs(3600);
const DEFAULT_KEY: &str = "RSA_2048";
/// What ACM issues.
const KEYS: [&str; 3] = [DEFAULT_KEY, "EC_prime256v1", "EC_secp384r1"];

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::RequestCertificate>(request_certificate)
        .on::<ops::ResendValidationEmail>(resend_validation_email);
}

fn request_certificate(
    cx: &mut Context,
    input: RequestCertificateRequest,
) -> Result<RequestCertificateResponse, ApiError> {
    check_method(input.validation_method.as_deref())?;
    let key_algorithm = input.key_algorithm.clone().unwrap_or_else(|| DEFAULT_KEY.into());
    if !KEYS.contains(&key_algorithm.as_str()) {
        return Err(invalid(format!(
            "The key algorithm {key_algorithm} is not supported for certificates from ACM."
        )));
    }
    let names = names(&input);
    names.iter().try_for_each(|name| check_name(name))?;
    check_validation_domains(&input, &names)?;
    let options = options::read(input.options)?;
    let tags = tags::read(input.tags)?;
    if let Some(arn) = asked_before(cx, input.idempotency_token.as_deref(), &names) {
        return Ok(RequestCertificateResponse { certificate_arn: Some(arn) });
    }
    let certificate = Certificate {
        id: cx.ids.uuid(),
        domain: input.domain_name.to_lowercase(),
        key_algorithm,
        created: cx.now,
        source: Source::Requested(Request {
            token: input.idempotency_token,
            validations: validations(cx.ids, &names),
            failure: None,
        }),
        names,
        options: CertificateOptions { export: Some("DISABLED".into()), ..options },
        tags,
        users: Default::default(),
        material: None,
    };
    let arn = certificate.arn(cx.scope());
    cx.tx.put(certificate);
    Ok(RequestCertificateResponse { certificate_arn: Some(arn) })
}

fn check_method(method: Option<&str>) -> Result<(), ApiError> {
    match method {
        Some("DNS") => Ok(()),
        Some("HTTP") => Err(ApiError::not_implemented("validation of domains over HTTP; DNS it must be")),
        _ => Err(ApiError::not_implemented(
            "validation of domains by e-mail, which AWS uses where no ValidationMethod is given; DNS it must be",
        )),
    }
}

/// A name of at least two labels; only the first may be a star.
fn check_name(name: &str) -> Result<(), ApiError> {
    let base = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && base.contains('.') && base.split('.').all(is_label) {
        return Ok(());
    }
    Err(invalid(format!(
        "1 validation error detected: Value '{name}' at 'domainName' failed to satisfy constraint: Member must \
         satisfy regular expression pattern: (\\*\\.)?(((?!-)[A-Za-z0-9-]{{0,62}}[A-Za-z0-9])\\.)+((?!-)[A-Za-z0-9-]{{1,62}}[A-Za-z0-9])"
    )))
}

/// The names of the certificate, each once, the domain first.
fn names(input: &RequestCertificateRequest) -> Vec<String> {
    let mut names = vec![input.domain_name.to_lowercase()];
    for name in input.subject_alternative_names.iter().flatten() {
        let name = name.to_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A validation domain is the name itself or one above it, and for a name of the certificate.
fn check_validation_domains(input: &RequestCertificateRequest, names: &[String]) -> Result<(), ApiError> {
    for option in input.domain_validation_options.iter().flatten() {
        let (name, above) = (option.domain_name.to_lowercase(), option.validation_domain.to_lowercase());
        let known = names.contains(&name) && (name == above || name.ends_with(&format!(".{above}")));
        if !known {
            let message = format!(
                "The validation domain {} is not {} or a superdomain of it, or that is no name of the certificate.",
                option.validation_domain, option.domain_name
            );
            return Err(ApiError::client("InvalidDomainValidationOptionsException", message));
        }
    }
    Ok(())
}

fn asked_before(cx: &Context, token: Option<&str>, names: &[String]) -> Option<String> {
    let token = token?;
    let recent = |created: Timestamp| created + TOKEN_VALID > cx.now;
    let same = |certificate: &Certificate| {
        let known =
            matches!(&certificate.source, Source::Requested(by) if by.token.as_deref() == Some(token));
        known && certificate.names == names && recent(certificate.created)
    };
    cx.tx.find::<Certificate>(same).map(|certificate| certificate.arn(cx.scope()))
}

/// A name and the one with a star before it have the same record.
fn validations(ids: &mut IdGen, names: &[String]) -> Vec<Validation> {
    let mut records: BTreeMap<String, (String, String)> = BTreeMap::new();
    let validation = |name: &String| {
        let base = name.strip_prefix("*.").unwrap_or(name);
        let (record_name, record_value) = records.entry(base.to_owned()).or_insert_with(|| {
            let (own, target, zone) = (ids.hex(32), ids.hex(32), ids.alphanumeric(10).to_lowercase());
            (format!("_{own}.{base}."), format!("_{target}.{zone}.acm-validations.aws."))
        });
        Validation {
            name: name.clone(),
            record_name: record_name.clone(),
            record_value: record_value.clone(),
        }
    };
    names.iter().map(validation).collect()
}

fn resend_validation_email(cx: &mut Context, input: ResendValidationEmailRequest) -> Result<Unit, ApiError> {
    find(cx.tx, &input.certificate_arn)?;
    let message = "Resend validation email is only supported for certificates that are validated by e-mail.";
    Err(ApiError::client("InvalidStateException", message))
}
