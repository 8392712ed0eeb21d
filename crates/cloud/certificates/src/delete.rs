//! Deleting a certificate.

use pileus_aws::acm::{DeleteCertificateRequest, ops};
use pileus_core::ApiError;
use pileus_model::Unit;
use pileus_service::{Context, Router};

use crate::record::{Certificate, find};

pub(crate) fn operations(router: &mut Router) {
    router.on::<ops::DeleteCertificate>(delete_certificate);
}

fn delete_certificate(cx: &mut Context, input: DeleteCertificateRequest) -> Result<Unit, ApiError> {
    let certificate = find(cx.tx, &input.certificate_arn)?;
    if !certificate.users.is_empty() {
        let message =
            format!("Certificate {} in account {} is in use.", input.certificate_arn, cx.scope().account);
        return Err(ApiError::client("ResourceInUseException", message));
    }
    cx.tx.delete::<Certificate>(&certificate.id);
    Ok(Unit {})
}
