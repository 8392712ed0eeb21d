//! Listing certificates.
//! <https://docs.aws.amazon.com/acm/latest/APIReference/API_ListCertificates.html>

use std::sync::Arc;

use pileus_aws::acm::{CertificateSummary, Filters, ListCertificatesRequest, ListCertificatesResponse, ops};
use pileus_core::{ApiError, Scope, Timestamp, paginate};
use pileus_service::{Context, Router};

use crate::record::{Certificate, Source, invalid};

const MAX_ITEMS: usize = 1000;
/// Without a filter, keys of other kinds are left out: clients of long ago knew RSA only.
const DEFAULT_KEYS: [&str; 2] = ["RSA_1024", "RSA_2048"];

pub(crate) fn operations(router: &mut Router) {
    router.on::<ops::ListCertificates>(list_certificates);
}

fn list_certificates(
    cx: &mut Context,
    input: ListCertificatesRequest,
) -> Result<ListCertificatesResponse, ApiError> {
    if input.sort_by.is_some() != input.sort_order.is_some() {
        let message = "SortBy and SortOrder must be given together.";
        return Err(ApiError::client("InvalidArgsException", message));
    }
    let statuses = input.certificate_statuses.unwrap_or_default();
    let includes = input.includes.unwrap_or_default();
    let shown = |certificate: &Arc<Certificate>| {
        let status = certificate.status(cx.now);
        (statuses.is_empty() || statuses.iter().any(|own| own == status)) && included(certificate, &includes)
    };
    let descending = input.sort_order.as_deref() == Some("DESCENDING");
    let key = |certificate: &Arc<Certificate>| {
        let created = certificate.created.millis();
        format!("{:016x}{}", if descending { i64::MAX - created } else { created }, certificate.id)
    };
    let mut found: Vec<_> = cx.tx.list::<Certificate>().into_iter().filter(shown).collect();
    found.sort_by_cached_key(key);
    let limit = input.max_items.and_then(|max| usize::try_from(max).ok()).unwrap_or(MAX_ITEMS);
    let bad_token = || invalid("The NextToken is not one of this operation's.");
    let (page, next_token) = paginate(found, key, input.next_token.as_deref(), limit, bad_token)?;
    let summaries = page.iter().map(|certificate| summary(certificate, cx.scope(), cx.now)).collect();
    Ok(ListCertificatesResponse { next_token, certificate_summary_list: Some(summaries) })
}

fn included(certificate: &Certificate, includes: &Filters) -> bool {
    let facts = certificate.material.as_ref().map(|material| &material.facts);
    let usages: Vec<&str> = facts.iter().flat_map(|facts| &facts.key_usages).map(String::as_str).collect();
    let extended: Vec<&str> =
        facts.iter().flat_map(|facts| &facts.extended_key_usages).map(|(name, _)| name.as_str()).collect();
    // An empty list filters nothing; `ANY` is met by all.
    let meets = |wanted: &Option<Vec<String>>, own: &[&str]| {
        let wanted = wanted.as_deref().unwrap_or_default();
        wanted.is_empty() || wanted.iter().any(|wanted| wanted == "ANY" || own.contains(&wanted.as_str()))
    };
    let key = certificate.key_algorithm.as_str();
    let of_key = match includes.key_types.as_deref() {
        None | Some([]) => DEFAULT_KEYS.contains(&key),
        Some(types) => types.iter().any(|wanted| wanted == key),
    };
    of_key
        && meets(&includes.key_usage, &usages)
        && meets(&includes.extended_key_usage, &extended)
        && includes.export_option.as_deref() != Some("ENABLED")
        // No service manages certificates here.
        && includes.managed_by.is_none()
}

fn summary(certificate: &Certificate, scope: &Scope, now: Timestamp) -> CertificateSummary {
    let facts = certificate.material.as_ref().map(|material| &material.facts);
    let (issued, imported) = match certificate.source {
        Source::Requested(_) => (certificate.material.as_ref().map(|material| material.issued), None),
        Source::Imported(at) => (None, Some(at)),
    };
    let names = |facts: &crate::facts::Facts| {
        facts.extended_key_usages.iter().map(|(name, _)| name.clone()).collect()
    };
    CertificateSummary {
        certificate_arn: Some(certificate.arn(scope)),
        domain_name: Some(certificate.domain.clone()),
        subject_alternative_name_summaries: Some(certificate.names.clone()),
        has_additional_subject_alternative_names: Some(false),
        status: Some(certificate.status(now).into()),
        r#type: Some(certificate.kind().into()),
        key_algorithm: Some(certificate.key_algorithm.clone()),
        key_usages: Some(facts.map(|facts| facts.key_usages.clone()).unwrap_or_default()),
        extended_key_usages: Some(facts.map(names).unwrap_or_default()),
        export_option: certificate.options.export.clone(),
        in_use: Some(!certificate.users.is_empty()),
        renewal_eligibility: Some(certificate.renewal_eligibility().into()),
        not_before: facts.map(|facts| facts.not_before),
        not_after: facts.map(|facts| facts.not_after),
        created_at: Some(certificate.created),
        issued_at: issued,
        imported_at: imported,
        ..CertificateSummary::default()
    }
}
