//! The filters by which secrets are listed.
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_search-secret.html>

use pileus_aws::secretsmanager::Filter;

use super::record::ManagedSecret;

/// Whether a secret meets every filter, each by one of its values.
pub(super) fn matches(secret: &ManagedSecret, filters: &[Filter]) -> bool {
    filters.iter().all(|filter| {
        let key = filter.key.as_deref().unwrap_or_default();
        let values = filter.values.as_deref().unwrap_or_default();
        values.iter().any(|value| match value.strip_prefix('!') {
            Some(value) => !meets(secret, key, value),
            None => meets(secret, key, value),
        })
    })
}

fn meets(secret: &ManagedSecret, key: &str, value: &str) -> bool {
    let starts = |text: &str| text.starts_with(value);
    match key {
        "name" => starts(&secret.name),
        "description" => {
            let own = secret.description.as_deref().unwrap_or_default().to_lowercase();
            own.starts_with(&value.to_lowercase())
        }
        "tag-key" => secret.tags.keys().any(|key| starts(key)),
        "tag-value" => secret.tags.values().any(|value| starts(value)),
        "all" => value.split_whitespace().all(|word| anywhere(secret, &word.to_lowercase())),
        // A secret without replicas has no primary Region, and no service of AWS owns one here.
        _ => false,
    }
}

/// Whether some attribute has a word that starts so.
fn anywhere(secret: &ManagedSecret, word: &str) -> bool {
    let tags = secret.tags.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
    let mut attributes = tags.chain([secret.name.as_str()]).chain(secret.description.as_deref());
    attributes.any(|text| {
        let text = text.to_lowercase();
        text.starts_with(word) || text.split(|c: char| !c.is_alphanumeric()).any(|own| own.starts_with(word))
    })
}
