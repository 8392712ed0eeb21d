//! Images: manifests under their digests, and the tags that point to them.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/images.html>

mod api;
mod describe;
mod history;
mod referrers;

use std::sync::Arc;

use pileus_aws::ecr;
use pileus_contract::MachineError;
use pileus_core::{ApiError, Timestamp};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(crate) use api::delete;
pub(crate) use describe::has_status;
pub(crate) use history::ImageHistory;
pub(crate) use referrers::{annotations, referrers};

use crate::manifest::{self, MAX_MANIFEST, Manifest, ManifestError};
use crate::{Repository, layer};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub repository: String,
    /// Of the manifest.
    pub digest: String,
    pub pushed: Timestamp,
    /// Of configuration and layers, in bytes; for an index, the largest of its images.
    pub size: u64,
    /// The manifest to the byte.
    pub(crate) body: String,
    pub(crate) manifest: Manifest,
}

impl Record for Image {
    const KIND: &'static str = "ecr/image";

    fn key(&self) -> String {
        image_key(&self.repository, &self.digest)
    }
}

fn image_key(repository: &str, digest: &str) -> String {
    format!("{repository}@{digest}")
}

/// A name for an image, which can be moved to another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageTag {
    pub repository: String,
    pub tag: String,
    pub digest: String,
}

impl Record for ImageTag {
    const KIND: &'static str = "ecr/image-tag";

    fn key(&self) -> String {
        tag_key(&self.repository, &self.tag)
    }
}

fn tag_key(repository: &str, tag: &str) -> String {
    format!("{repository}:{tag}")
}

pub(crate) fn operations(router: &mut Router) {
    api::operations(router);
    describe::operations(router);
    referrers::operations(router);
}

/// A manifest that is to become an image.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NewImage<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) media_type: Option<&'a str>,
    pub(crate) tag: Option<&'a str>,
    /// The digest that the client expects.
    pub(crate) digest: Option<&'a str>,
}

/// Why a manifest did not become an image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutError {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(
        "a tag is of 1 to 128 letters, digits, and . _ -, and begins with none of . -; this one is not: {0}"
    )]
    Tag(String),
    #[error("the manifest has the digest {found}, not {expected}")]
    Digest { found: String, expected: String },
    #[error("these layers are not in the repository: {0:?}")]
    LayersNotFound(Vec<String>),
    #[error("these images of the index are not in the repository: {0:?}")]
    ImagesNotFound(Vec<String>),
    #[error(
        "The image tag '{tag}' already exists in the '{repository}' repository and cannot be overwritten because the \
         tag is immutable."
    )]
    TagIsImmutable { tag: String, repository: String },
    #[error("the manifest could not be stored: {0}")]
    Storage(#[from] MachineError),
}

/// Puts an image into a repository and moves the tag to it. Returns the image, and whether this changed anything.
pub(crate) fn put(
    cx: &mut Context,
    repository: &Repository,
    new: NewImage,
) -> Result<(Arc<Image>, bool), PutError> {
    let body = std::str::from_utf8(new.body).map_err(ManifestError::from)?;
    let manifest = manifest::parse(body, new.media_type)?;
    let digest = digest_of(new.body);
    if let Some(expected) = new.digest.filter(|expected| *expected != digest) {
        return Err(PutError::Digest { found: digest, expected: expected.to_owned() });
    }
    if let Some(tag) = new.tag.filter(|tag| !is_tag(tag)) {
        return Err(PutError::Tag(tag.to_owned()));
    }
    check_content(cx.tx, &repository.name, &manifest)?;
    let known = by_digest(cx.tx, &repository.name, &digest);
    let is_new = known.is_none();
    let image = match known {
        Some(known) => known,
        None => store(cx, &repository.name, &digest, body, manifest)?,
    };
    let moved = match new.tag {
        Some(tag) => point(cx.tx, repository, tag, &digest)?,
        None => false,
    };
    Ok((image, is_new || moved))
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub(crate) fn is_tag(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&text.len()) && !text.starts_with(['.', '-']) && text.bytes().all(allowed)
}

/// Layers, or the images of an index, must be there first.
fn check_content(tx: &Tx, repository: &str, manifest: &Manifest) -> Result<(), PutError> {
    let layers = manifest.blobs().filter(|blob| layer::get(tx, repository, &blob.digest).is_none());
    let layers: Vec<String> = layers.map(|blob| blob.digest.clone()).collect();
    if !layers.is_empty() {
        return Err(PutError::LayersNotFound(layers));
    }
    let images =
        manifest.manifests().iter().filter(|image| by_digest(tx, repository, &image.digest).is_none());
    let images: Vec<String> = images.map(|image| image.digest.clone()).collect();
    if images.is_empty() { Ok(()) } else { Err(PutError::ImagesNotFound(images)) }
}

/// Stores the manifest: as a blob for whoever runs the image, and as a record.
fn store(
    cx: &mut Context,
    repository: &str,
    digest: &str,
    body: &str,
    manifest: Manifest,
) -> Result<Arc<Image>, PutError> {
    cx.bulk.blobs.put(digest, &mut body.as_bytes(), MAX_MANIFEST as u64)?;
    let blobs = manifest.blobs().filter_map(|blob| layer::get(cx.tx, repository, &blob.digest));
    let blobs = blobs.map(|layer| layer.size).sum();
    let images = manifest.manifests().iter().filter_map(|image| by_digest(cx.tx, repository, &image.digest));
    let image = Image {
        repository: repository.to_owned(),
        digest: digest.to_owned(),
        pushed: cx.now,
        size: images.map(|image| image.size).max().unwrap_or(blobs),
        body: body.to_owned(),
        manifest,
    };
    cx.tx.put(image.clone());
    Ok(Arc::new(image))
}

/// Points a tag to an image; returns whether it did not do so before.
fn point(tx: &mut Tx, repository: &Repository, tag: &str, digest: &str) -> Result<bool, PutError> {
    match tx.get::<ImageTag>(&tag_key(&repository.name, tag)) {
        Some(old) if old.digest == digest => return Ok(false),
        Some(_) if repository.mutability.is_immutable(tag) => {
            return Err(PutError::TagIsImmutable {
                tag: tag.to_owned(),
                repository: repository.name.clone(),
            });
        }
        _ => {}
    }
    tx.put(ImageTag { repository: repository.name.clone(), tag: tag.to_owned(), digest: digest.to_owned() });
    Ok(true)
}

pub(crate) fn by_digest(tx: &Tx, repository: &str, digest: &str) -> Option<Arc<Image>> {
    tx.get::<Image>(&image_key(repository, digest))
}

pub(crate) fn by_tag(tx: &Tx, repository: &str, tag: &str) -> Option<Arc<Image>> {
    by_digest(tx, repository, &tx.get::<ImageTag>(&tag_key(repository, tag))?.digest)
}

/// The image that a tag or digest stands for.
pub(crate) fn by_reference(tx: &Tx, repository: &str, reference: &str) -> Option<Arc<Image>> {
    if reference.contains(':') {
        by_digest(tx, repository, reference)
    } else {
        by_tag(tx, repository, reference)
    }
}

/// The images of a repository in order of digest.
pub(crate) fn images(tx: &Tx, repository: &str) -> Vec<Arc<Image>> {
    let mut images = tx.list::<Image>();
    images.retain(|image| image.repository == repository);
    images
}

/// The tags of a repository in order.
pub(crate) fn tags(tx: &Tx, repository: &str) -> Vec<Arc<ImageTag>> {
    let mut tags = tx.list::<ImageTag>();
    tags.retain(|tag| tag.repository == repository);
    tags
}

/// The tags of an image in order.
pub(crate) fn tags_of(tx: &Tx, image: &Image) -> Vec<String> {
    let mut tags = tags(tx, &image.repository);
    tags.retain(|tag| tag.digest == image.digest);
    tags.iter().map(|tag| tag.tag.clone()).collect()
}

/// The image of an identifier.
///
/// # Errors
/// There is none.
pub(crate) fn known(tx: &Tx, repository: &str, id: &ecr::ImageIdentifier) -> Result<Arc<Image>, ApiError> {
    api::identified(tx, repository, id).map_err(|_| describe::not_found(tx, repository, id))
}

/// Whether something in the repository would lack an image without this one: an index that it is in.
pub(crate) fn is_referenced(tx: &Tx, repository: &str, digest: &str) -> bool {
    let refers = |index: &Arc<Image>| index.manifest.manifests().iter().any(|image| image.digest == digest);
    images(tx, repository).iter().any(refers)
}

fn remove_tag(tx: &mut Tx, repository: &str, tag: &str) {
    tx.delete::<ImageTag>(&tag_key(repository, tag));
}

/// Removes an image with all its tags; returns those.
fn remove(tx: &mut Tx, repository: &str, digest: &str) -> Vec<String> {
    let mut tags = tags(tx, repository);
    tags.retain(|tag| tag.digest == digest);
    tags.iter().for_each(|tag| remove_tag(tx, repository, &tag.tag));
    tx.delete::<Image>(&image_key(repository, digest));
    ImageHistory::forget(tx, repository, digest);
    tags.iter().map(|tag| tag.tag.clone()).collect()
}

/// Removes an image with its tags and with what refers to it.
pub(crate) fn remove_with_referrers(tx: &mut Tx, repository: &str, digest: &str) {
    let mut doomed = vec![digest.to_owned()];
    // An image is gone before what refers to it is looked at, so a circle ends.
    while let Some(digest) = doomed.pop() {
        remove(tx, repository, &digest);
        doomed.extend(referrers(tx, repository, &digest).iter().map(|image| image.digest.clone()));
    }
}

/// Forgets all images of a repository.
pub(crate) fn forget_repository(tx: &mut Tx, repository: &str) {
    for image in images(tx, repository) {
        remove(tx, repository, &image.digest);
    }
}

#[cfg(test)]
mod tests {
    use super::is_tag;

    #[test]
    fn tags_have_an_alphabet() {
        for (text, good) in [
            ("latest", true),
            ("v1.2_3-a", true),
            ("_x", true),
            ("", false),
            ("-x", false),
            ("a:b", false),
            ("é", false),
        ] {
            assert_eq!(is_tag(text), good, "{text}");
        }
        assert!(is_tag(&"a".repeat(128)) && !is_tag(&"a".repeat(129)));
    }
}
