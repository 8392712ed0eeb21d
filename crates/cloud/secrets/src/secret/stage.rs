//! Staging labels: each is on one version of a secret at most, and two of them Secrets Manager moves itself.
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html#term_version>

use std::time::Duration;

use pileus_core::Timestamp;

use super::record::{CURRENT, ManagedSecret, PREVIOUS};

/// As many versions are kept whatever their age.
const KEPT: usize = 100;
/// Every version is kept for so long.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Takes a label off the version that has it.
pub(super) fn detach(secret: &mut ManagedSecret, stage: &str) {
    for version in &mut secret.versions {
        version.stages.retain(|own| own != stage);
    }
}

/// Puts a label on a version. The version that `AWSCURRENT` leaves becomes `AWSPREVIOUS`.
pub(super) fn attach(secret: &mut ManagedSecret, id: &str, stage: &str) {
    let former = secret.holder(stage).map(|version| version.id.clone());
    if former.as_deref() == Some(id) {
        return;
    }
    detach(secret, stage);
    put(secret, id, stage);
    if let (CURRENT, Some(former)) = (stage, former) {
        detach(secret, PREVIOUS);
        put(secret, &former, PREVIOUS);
    }
}

fn put(secret: &mut ManagedSecret, id: &str, stage: &str) {
    if let Some(version) = secret.versions.iter_mut().find(|version| version.id == id) {
        version.stages.push(stage.to_owned());
    }
}

/// The ids of deprecated versions, oldest first, that are let go of: those beyond the newest hundred that are older
/// than a day.
pub(super) fn expired(secret: &ManagedSecret, now: Timestamp) -> Vec<String> {
    let surplus = secret.versions.len().saturating_sub(KEPT);
    let old = secret.versions.iter().filter(|version| version.stages.is_empty());
    let old = old.filter(|version| version.created + KEPT_FOR <= now);
    old.take(surplus).map(|version| version.id.clone()).collect()
}
