//! What nobody needs any more goes: uploads that were given up, layers that no image has, and with them their files.
//!
//! In two steps, so that a crash between them costs nothing but the next run's work. First records are forgotten, in a
//! transaction. Then files that no record names are deleted, by whoever has the store: [`blobs_in_use`] tells what to
//! spare.

use std::collections::HashSet;
use std::time::Duration;

use pileus_contract::{Bulk, MachineError};
use pileus_core::{Scope, Timestamp};
use pileus_state::{Record as _, State, Tx};

use crate::Image;
use crate::layer::{Layer, Upload};
use crate::lifecycle::LifecyclePolicy;

/// How long an upload may lie unfinished.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// How long a layer waits for an image, since it was uploaded or a client was told that it is there.
const UNUSED: Duration = Duration::from_secs(2 * 3600);

/// Forgets uploads that have lain unfinished for a day, with what they left on disk, and layers that their repository
/// has no image of; works on all accounts and regions. Returns when the next of them is due.
///
/// # Errors
/// What could not be removed; it is tried again with the next call.
pub fn collect(tx: &mut Tx, bulk: &Bulk, now: Timestamp) -> Result<Option<Timestamp>, MachineError> {
    let uploads = abandon_uploads(tx, bulk, now)?;
    Ok(uploads.into_iter().chain(forget_layers(tx, now)).min())
}

fn abandon_uploads(tx: &mut Tx, bulk: &Bulk, now: Timestamp) -> Result<Option<Timestamp>, MachineError> {
    let mut next = None;
    for (scope, upload) in tx.base().all::<Upload>() {
        let due = upload.begun + ABANDONED;
        if due <= now {
            bulk.blobs.abandon(&upload.id)?;
            tx.within(scope.clone(), |tx| tx.delete::<Upload>(&upload.id));
        } else {
            next = next.into_iter().chain([due]).min();
        }
    }
    Ok(next)
}

fn forget_layers(tx: &mut Tx, now: Timestamp) -> Option<Timestamp> {
    let base = tx.base();
    let images: Vec<(&Scope, _)> = base.all::<Image>().collect();
    let used: HashSet<(&Scope, &str, &str)> = images
        .iter()
        .flat_map(|(scope, image)| {
            let blobs = image.manifest.blobs();
            blobs.map(move |blob| (*scope, image.repository.as_str(), blob.digest.as_str()))
        })
        .collect();
    let mut next = None;
    for (scope, layer) in base.all::<Layer>() {
        if used.contains(&(scope, layer.repository.as_str(), layer.digest.as_str())) {
            continue;
        }
        let due = layer.seen + UNUSED;
        if due <= now {
            tx.within(scope.clone(), |tx| tx.delete::<Layer>(&layer.key()));
        } else {
            next = next.into_iter().chain([due]).min();
        }
    }
    next
}

/// When the tables last changed that decide what goes.
pub type Versions = [u64; 4];

/// The versions of this state.
pub fn versions(state: &State) -> Versions {
    [
        state.version_of::<Image>(),
        state.version_of::<Layer>(),
        state.version_of::<Upload>(),
        state.version_of::<LifecyclePolicy>(),
    ]
}

/// The digests of all blobs that a registry has: layers, configurations and manifests.
pub fn blobs_in_use(state: &State) -> HashSet<String> {
    let layers = state.all::<Layer>().map(|(_, layer)| layer.digest.clone());
    layers.chain(state.all::<Image>().map(|(_, image)| image.digest.clone())).collect()
}

#[cfg(test)]
mod tests {
    use pileus_aws::ecr;
    use pileus_kit::Cloud;

    use super::*;
    use crate::testing::{cloud, digest, layer, push, repository};

    fn collect_now(cloud: &mut Cloud) -> Option<Timestamp> {
        cloud.write(|cx| collect(cx.tx, cx.bulk, cx.now)).unwrap()
    }

    #[test]
    fn abandoned_uploads_go_after_a_day() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let input = ecr::InitiateLayerUploadRequest { repository_name: "web".into(), registry_id: None };
        let id = cloud.ok::<ecr::ops::InitiateLayerUpload>(input).upload_id.unwrap();
        cloud.bulk.blobs.upload(&id, 0, &mut "hello".as_bytes(), 5).unwrap();
        cloud.advance(ABANDONED - UNUSED);
        assert_eq!(
            (collect_now(&mut cloud), cloud.bulk.blobs.uploaded(&id)),
            (Some(cloud.now + UNUSED), Some(5))
        );
        cloud.advance(UNUSED);
        assert_eq!((collect_now(&mut cloud), cloud.bulk.blobs.uploaded(&id)), (None, None));
        assert_eq!(cloud.state.all::<Upload>().count(), 0);
    }

    #[test]
    fn a_layer_goes_when_its_last_image_has_gone() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        repository(&mut cloud, "api");
        let image = push(&mut cloud, "web", "one", Some("v1"));
        push(&mut cloud, "api", "one", Some("v1"));
        cloud.advance(UNUSED * 2);
        assert_eq!(collect_now(&mut cloud), None);
        assert_eq!(cloud.state.all::<Layer>().count(), 2);
        let delete = |repository: &str| ecr::DeleteRepositoryRequest {
            repository_name: repository.into(),
            force: Some(true),
            registry_id: None,
        };
        let gone = ecr::BatchDeleteImageRequest {
            repository_name: "web".into(),
            image_ids: vec![ecr::ImageIdentifier { image_digest: Some(image), image_tag: None }],
            registry_id: None,
        };
        cloud.ok::<ecr::ops::BatchDeleteImage>(gone);
        collect_now(&mut cloud);
        let left: Vec<_> = cloud.state.all::<Layer>().map(|(_, layer)| layer.repository.clone()).collect();
        assert_eq!(left, ["api"]);
        assert!(blobs_in_use(&cloud.state).contains(&digest("one")), "another repository has it");
        cloud.ok::<ecr::ops::DeleteRepository>(delete("api"));
        assert_eq!(blobs_in_use(&cloud.state), HashSet::new());
    }

    #[test]
    fn a_layer_waits_for_its_image() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        layer(&mut cloud, "web", "one");
        cloud.advance(UNUSED / 2);
        assert_eq!(collect_now(&mut cloud), Some(cloud.now + UNUSED / 2));
        // A client that asks for the layer is about to use it.
        let ask = ecr::BatchCheckLayerAvailabilityRequest {
            registry_id: None,
            repository_name: "web".into(),
            layer_digests: vec![digest("one")],
        };
        cloud.ok::<ecr::ops::BatchCheckLayerAvailability>(ask);
        cloud.advance(UNUSED / 2);
        assert_eq!(collect_now(&mut cloud), Some(cloud.now + UNUSED / 2));
        cloud.advance(UNUSED / 2);
        assert_eq!(collect_now(&mut cloud), None);
        assert_eq!(cloud.state.all::<Layer>().count(), 0);
    }
}
