//! Tags of certificates.

use pileus_aws::acm::{
    AddTagsToCertificateRequest, ListTagsForCertificateRequest, ListTagsForCertificateResponse,
    RemoveTagsFromCertificateRequest, Tag, ops,
};
use pileus_core::{ApiError, Tags, tags};
use pileus_model::Unit;
use pileus_service::{Context, Router};

use crate::record::{Certificate, find};

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::AddTagsToCertificate>(add_tags_to_certificate)
        .on::<ops::RemoveTagsFromCertificate>(remove_tags_from_certificate)
        .on::<ops::ListTagsForCertificate>(list_tags_for_certificate);
}

/// The tags of a request.
///
/// # Errors
/// A key is given twice, or is none that AWS takes.
pub(crate) fn read(given: Option<Vec<Tag>>) -> Result<Tags, ApiError> {
    let mut out = Tags::new();
    for tag in given.unwrap_or_default() {
        if out.insert(tag.key.clone(), tag.value.unwrap_or_default()).is_some() {
            let message = format!("The tag key {} is given more than once.", tag.key);
            return Err(ApiError::client("InvalidTagException", message));
        }
    }
    tags::check(&out, "InvalidTagException")?;
    Ok(out)
}

fn add_tags_to_certificate(cx: &mut Context, input: AddTagsToCertificateRequest) -> Result<Unit, ApiError> {
    let mut certificate = Certificate::clone(&*find(cx.tx, &input.certificate_arn)?);
    certificate.tags.extend(read(Some(input.tags))?);
    tags::check(&certificate.tags, "TooManyTagsException")?;
    cx.tx.put(certificate);
    Ok(Unit {})
}

/// A tag that is given with a value goes only if it has that value.
fn remove_tags_from_certificate(
    cx: &mut Context,
    input: RemoveTagsFromCertificateRequest,
) -> Result<Unit, ApiError> {
    let mut certificate = Certificate::clone(&*find(cx.tx, &input.certificate_arn)?);
    for tag in input.tags {
        let own = certificate.tags.get(&tag.key);
        if tag.value.as_ref().is_none_or(|value| own == Some(value)) {
            certificate.tags.remove(&tag.key);
        }
    }
    cx.tx.put(certificate);
    Ok(Unit {})
}

fn list_tags_for_certificate(
    cx: &mut Context,
    input: ListTagsForCertificateRequest,
) -> Result<ListTagsForCertificateResponse, ApiError> {
    let certificate = find(cx.tx, &input.certificate_arn)?;
    let tag = |(key, value): (&String, &String)| Tag { key: key.clone(), value: Some(value.clone()) };
    Ok(ListTagsForCertificateResponse { tags: Some(certificate.tags.iter().map(tag).collect()) })
}
