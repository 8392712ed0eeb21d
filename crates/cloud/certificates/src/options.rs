//! Options of certificates: whether a certificate is logged in public.
//!
//! What this engine issues is never logged anywhere: the option is kept and told, as AWS does for private certificates.

use pileus_aws::acm::{CertificateOptions, UpdateCertificateOptionsRequest, ops};
use pileus_core::ApiError;
use pileus_model::Unit;
use pileus_service::{Context, Router};

use crate::record::{Certificate, Source, find};

pub(crate) fn operations(router: &mut Router) {
    router.on::<ops::UpdateCertificateOptions>(update_certificate_options);
}

/// # Errors
/// The certificate is to be exportable.
pub(crate) fn read(given: Option<CertificateOptions>) -> Result<CertificateOptions, ApiError> {
    let given = given.unwrap_or_default();
    if given.export.as_deref() == Some("ENABLED") {
        return Err(ApiError::not_implemented("certificates that can be exported (Options.Export)"));
    }
    let logging = given.certificate_transparency_logging_preference.unwrap_or_else(|| "ENABLED".into());
    Ok(CertificateOptions {
        certificate_transparency_logging_preference: Some(logging),
        export: given.export,
    })
}

fn update_certificate_options(
    cx: &mut Context,
    input: UpdateCertificateOptionsRequest,
) -> Result<Unit, ApiError> {
    let mut certificate = Certificate::clone(&*find(cx.tx, &input.certificate_arn)?);
    if matches!(certificate.source, Source::Imported(_)) {
        let message = "The options of an imported certificate cannot be changed.";
        return Err(ApiError::client("InvalidStateException", message));
    }
    let given = read(Some(input.options))?;
    certificate.options.certificate_transparency_logging_preference =
        given.certificate_transparency_logging_preference;
    cx.tx.put(certificate);
    Ok(Unit {})
}
