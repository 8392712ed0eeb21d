//! AWS's own managed policies, in the version that is the default at AWS: those that the reference architecture and the
//! people who work on it use. `aws.json` has their documents as AWS publishes them.
//! <https://docs.aws.amazon.com/aws-managed-policy/latest/reference/>

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use pileus_core::{Tags, Timestamp};
use serde::Deserialize;

use super::{ManagedPolicy, Version};
use crate::policy::{Kind, Policy, parse};

#[derive(Deserialize)]
struct Published {
    name: String,
    path: String,
    id: String,
    created: String,
    updated: String,
    version: u32,
    description: Option<String>,
    document: serde_json::Value,
}

struct Known {
    policy: Arc<ManagedPolicy>,
    parsed: OnceLock<Policy>,
}

/// By ARN.
static POLICIES: LazyLock<BTreeMap<String, Known>> = LazyLock::new(|| {
    let published: Vec<Published> =
        serde_json::from_str(include_str!("aws.json")).expect("the file is checked by a test");
    published.into_iter().map(known).collect()
});

fn known(published: Published) -> (String, Known) {
    let Published { name, path, id, created, updated, version, description, document } = published;
    let time = |text: &str| Timestamp::parse(text).unwrap_or(Timestamp::from_secs(0));
    let updated = time(&updated);
    let document = Version { document: document.to_string(), created: updated };
    let arn = format!("arn:aws:iam::aws:policy{path}{name}");
    let policy = ManagedPolicy {
        name,
        path,
        id,
        description,
        created: time(&created),
        updated,
        versions: BTreeMap::from([(version, document)]),
        default: version,
        last: version,
        tags: Tags::new(),
    };
    (arn, Known { policy: Arc::new(policy), parsed: OnceLock::new() })
}

/// The policy of AWS that `arn` names.
pub(super) fn find(arn: &str) -> Option<&'static Arc<ManagedPolicy>> {
    POLICIES.get(arn).map(|known| &known.policy)
}

/// The same, read. Its document is read once.
pub(super) fn parsed(arn: &str) -> Option<&'static Policy> {
    let known = POLICIES.get(arn)?;
    let read = || parse(Kind::Identity, known.policy.document()).expect("AWS's own policies are policies");
    Some(known.parsed.get_or_init(read))
}

/// All of them, with their ARNs.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static Arc<ManagedPolicy>)> {
    POLICIES.iter().map(|(arn, known)| (arn.as_str(), &known.policy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_policies_and_the_dates_are_dates() {
        for (arn, policy) in all() {
            parsed(arn).expect("it is there");
            assert!(policy.created.millis() > 0 && policy.updated >= policy.created, "{arn}");
            assert!(policy.id.starts_with("ANPA") && policy.id.len() == 21, "{arn}");
        }
        let execution = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy";
        assert_eq!(find(execution).expect("it is there").id, "ANPAJG4T4G4PV56DE72PY");
    }
}
