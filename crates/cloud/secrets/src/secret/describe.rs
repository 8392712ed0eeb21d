//! What is said of secrets.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html>

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_aws::secretsmanager::{
    DescribeSecretRequest, DescribeSecretResponse, ListSecretsRequest, ListSecretsResponse, SecretListEntry,
    ops,
};
use pileus_core::{ApiError, Scope, Timestamp, paginate};
use pileus_service::{Context, Router};

use super::record::{ManagedSecret, find, is_over};
use super::{bad_token, filter, limit, tags};

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::DescribeSecret>(describe_secret).on::<ops::ListSecrets>(list_secrets);
}

fn describe_secret(
    cx: &mut Context,
    input: DescribeSecretRequest,
) -> Result<DescribeSecretResponse, ApiError> {
    let secret = find(cx.tx, &input.secret_id, cx.now)?;
    let entry = entry(&secret, cx.scope());
    Ok(DescribeSecretResponse {
        arn: entry.arn,
        name: entry.name,
        description: entry.description,
        kms_key_id: entry.kms_key_id,
        last_changed_date: entry.last_changed_date,
        last_accessed_date: entry.last_accessed_date,
        deleted_date: entry.deleted_date,
        tags: entry.tags,
        version_ids_to_stages: entry.secret_versions_to_stages,
        created_date: entry.created_date,
        ..DescribeSecretResponse::default()
    })
}

fn entry(secret: &ManagedSecret, scope: &Scope) -> SecretListEntry {
    let labelled = secret.versions.iter().filter(|version| !version.stages.is_empty());
    let stages: BTreeMap<_, _> =
        labelled.map(|version| (version.id.clone(), version.stages.clone())).collect();
    SecretListEntry {
        arn: Some(secret.arn(scope)),
        name: Some(secret.name.clone()),
        description: secret.description.clone(),
        kms_key_id: secret.kms_key_id.clone(),
        last_changed_date: Some(secret.changed),
        last_accessed_date: secret.accessed,
        deleted_date: secret.deletion.as_ref().map(|deletion| deletion.due),
        tags: Some(tags::write(&secret.tags)).filter(|tags| !tags.is_empty()),
        secret_versions_to_stages: Some(stages).filter(|stages| !stages.is_empty()),
        created_date: Some(secret.created),
        ..SecretListEntry::default()
    }
}

fn list_secrets(cx: &mut Context, input: ListSecretsRequest) -> Result<ListSecretsResponse, ApiError> {
    let planned = input.include_planned_deletion.unwrap_or(false);
    let filters = input.filters.unwrap_or_default();
    let shown = |secret: &Arc<ManagedSecret>| {
        !is_over(secret, cx.now)
            && (planned || secret.deletion.is_none())
            && filter::matches(secret, &filters)
    };
    let by = input.sort_by.as_deref().unwrap_or("created-date");
    let descending = input.sort_order.as_deref() != Some("asc");
    let key = |secret: &Arc<ManagedSecret>| sort_key(secret, by, descending);
    let mut secrets: Vec<_> = cx.tx.list::<ManagedSecret>().into_iter().filter(shown).collect();
    secrets.sort_by_cached_key(key);
    let token = input.next_token.as_deref();
    let (page, next_token) = paginate(secrets, key, token, limit(input.max_results, 100), bad_token)?;
    let secret_list = page.iter().map(|secret| entry(secret, cx.scope())).collect();
    Ok(ListSecretsResponse { secret_list: Some(secret_list), next_token })
}

/// A text whose order is the order asked for; no two secrets have the same.
fn sort_key(secret: &ManagedSecret, by: &str, descending: bool) -> String {
    let time = match by {
        "name" if descending => {
            // Inverted bytes turn the order round; the end of a name then comes after all that could follow.
            let inverted: String = secret.name.bytes().map(|byte| format!("{:02x}", !byte)).collect();
            return inverted + "z";
        }
        "name" => return secret.name.clone(),
        "last-accessed-date" => secret.accessed.unwrap_or_default(),
        "last-changed-date" => secret.changed,
        _ => secret.created,
    };
    let millis = Timestamp::millis(time);
    format!("{:016x}{}", if descending { i64::MAX - millis } else { millis }, secret.name)
}
