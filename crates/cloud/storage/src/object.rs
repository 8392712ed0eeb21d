//! Objects: the versions of what is under a key, from the newest to the oldest.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html>

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_core::{ApiError, IdGen, Tags, Timestamp};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Versioning};
use crate::checksum::Checksum;
use crate::error::{invalid_argument, no_such_key, no_such_version, precondition_failed};

/// The id of a version that was written while its bucket did not keep versions.
pub const NULL_VERSION: &str = "null";
/// The longest key, in bytes of UTF-8.
const MAX_KEY: usize = 1024;
/// The most user metadata, names and values together, in bytes.
const MAX_METADATA: usize = 2048;
const STORAGE_CLASSES: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
];

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub bucket: String,
    pub key: String,
    /// Greater than that of every version of this key that was there before it.
    pub order: u64,
    pub id: String,
    pub modified: Timestamp,
    /// Absent from a delete marker.
    pub content: Option<Content>,
}

impl Record for Version {
    const KIND: &'static str = "s3/version";

    fn key(&self) -> String {
        format!("{}{:016x}", versions_prefix(&self.bucket, &self.key), u64::MAX - self.order)
    }
}

/// What a version holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// In bytes.
    pub size: u64,
    /// Its bytes, one blob after the other; none for an empty object.
    pub blobs: Vec<Blob>,
    /// Without quotes.
    pub etag: String,
    pub checksum: Option<Checksum>,
    /// Of an object that was uploaded in parts.
    pub parts: Vec<PartOfObject>,
    pub described: Description,
}

/// What the client says of an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// `content-type` and the like, by the header's name in lower case.
    pub headers: BTreeMap<String, String>,
    pub metadata: BTreeMap<String, String>,
    pub tags: Tags,
    pub storage_class: String,
}

/// Bytes in the store of blobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    pub digest: String,
    /// In bytes.
    pub size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartOfObject {
    pub number: u32,
    /// In bytes.
    pub size: u64,
    pub checksum: Option<String>,
}

/// What must hold of the present object for a write to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    #[default]
    None,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match` with an ETag; `*` is any object.
    Matches(String),
}

/// What a deletion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// The version that was deleted, or the marker that was made.
    pub version_id: Option<String>,
    /// Whether a marker was made or deleted.
    pub marker: bool,
}

/// What the keys of a bucket's records begin with.
pub(crate) fn bucket_prefix(bucket: &str) -> String {
    format!("{bucket}/")
}

/// What the keys of the versions of one object begin with. Object keys have no NUL, so that versions lie before every
/// longer key.
pub(crate) fn versions_prefix(bucket: &str, key: &str) -> String {
    format!("{bucket}/{key}\0")
}

impl Version {
    pub fn is_marker(&self) -> bool {
        self.content.is_none()
    }

    fn is_of(&self, bucket: &str, key: &str) -> bool {
        self.bucket == bucket && self.key == key
    }
}

impl Description {
    /// # Errors
    /// There is too much metadata, or the storage class is unknown.
    pub fn check(&self) -> Result<(), ApiError> {
        let length: usize = self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if length > MAX_METADATA {
            let message = "Your metadata headers exceed the maximum allowed metadata size";
            return Err(ApiError::client("MetadataTooLarge", message));
        }
        if STORAGE_CLASSES.contains(&self.storage_class.as_str()) {
            return Ok(());
        }
        Err(ApiError::client("InvalidStorageClass", "The storage class you specified is not valid"))
    }

    /// Whether it must be restored before it can be read, which is not implemented.
    pub fn is_archived(&self) -> bool {
        matches!(self.storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE")
    }
}

/// # Errors
/// The key is too long, empty or cannot be listed.
pub fn check_key(key: &str) -> Result<(), ApiError> {
    if key.len() > MAX_KEY {
        return Err(ApiError::client("KeyTooLongError", "Your key is too long"));
    }
    if key.is_empty() || key.contains('\0') {
        return Err(invalid_argument("A key has at least one character and no NUL."));
    }
    Ok(())
}

/// The newest version of a key, which may be a delete marker.
pub fn newest(tx: &Tx, bucket: &str, key: &str) -> Option<Arc<Version>> {
    tx.first_from::<Version>(&versions_prefix(bucket, key)).filter(|version| version.is_of(bucket, key))
}

/// The version with this id.
fn version(tx: &Tx, bucket: &str, key: &str, id: &str) -> Option<Arc<Version>> {
    let mut next = newest(tx, bucket, key);
    while let Some(version) = next {
        if version.id == id {
            return Some(version);
        }
        next = tx.first_from::<Version>(&after(&version)).filter(|version| version.is_of(bucket, key));
    }
    None
}

fn after(version: &Version) -> String {
    format!("{}\0", version.key())
}

/// What a reader of a key finds there.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Object(Arc<Version>),
    /// The newest version, or the one that was asked for, is a delete marker.
    Marker(Arc<Version>),
}

/// The version with this id, or the newest.
///
/// # Errors
/// There is none.
pub fn find(state: &State, bucket: &str, key: &str, id: Option<&str>) -> Result<Found, ApiError> {
    let tx = Tx::new(state, crate::scope());
    let found = match id {
        None => newest(&tx, bucket, key).ok_or_else(no_such_key)?,
        Some(id) => version(&tx, bucket, key, id).ok_or_else(no_such_version)?,
    };
    Ok(if found.is_marker() { Found::Marker(found) } else { Found::Object(found) })
}

/// Puts an object, as the bucket keeps versions. Its blobs are stored already.
///
/// # Errors
/// The key or the description breaks a rule, or the precondition does not hold.
pub fn put(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdGen,
    bucket: &Bucket,
    key: &str,
    content: Content,
    precondition: &Precondition,
) -> Result<Version, ApiError> {
    check_key(key)?;
    content.described.check()?;
    check_precondition(tx, &bucket.name, key, precondition)?;
    Ok(add(tx, now, ids, bucket, key, Some(content)))
}

/// # Errors
/// It does not hold.
pub fn check_precondition(
    tx: &Tx,
    bucket: &str,
    key: &str,
    precondition: &Precondition,
) -> Result<(), ApiError> {
    let present = newest(tx, bucket, key);
    let present = present.as_ref().and_then(|version| version.content.as_ref());
    match (precondition, present) {
        (Precondition::None, _) | (Precondition::Absent, None) => Ok(()),
        (Precondition::Matches(_), None) => Err(no_such_key()),
        (Precondition::Matches(etag), Some(_)) if etag == "*" => Ok(()),
        (Precondition::Matches(etag), Some(content)) if *etag == content.etag => Ok(()),
        (Precondition::Absent | Precondition::Matches(_), Some(_)) => Err(precondition_failed()),
    }
}

/// Adds a version on top; without content it is a delete marker.
fn add(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdGen,
    bucket: &Bucket,
    key: &str,
    content: Option<Content>,
) -> Version {
    let order = newest(tx, &bucket.name, key).map_or(0, |newest| newest.order + 1);
    let id = if bucket.versioning == Versioning::Enabled {
        ids.alphanumeric(32)
    } else {
        if let Some(null) = version(tx, &bucket.name, key, NULL_VERSION) {
            tx.delete::<Version>(&null.key());
        }
        NULL_VERSION.to_owned()
    };
    let added =
        Version { bucket: bucket.name.clone(), key: key.to_owned(), order, id, modified: now, content };
    tx.put(added.clone());
    added
}

/// Deletes the version with this id for ever; without an id, deletes the object as the bucket keeps versions. What is
/// not there is no error.
pub fn delete(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdGen,
    bucket: &Bucket,
    key: &str,
    id: Option<&str>,
) -> Deleted {
    if let Some(id) = id {
        let there = version(tx, &bucket.name, key, id);
        let marker = there.as_ref().is_some_and(|version| version.is_marker());
        if let Some(there) = there {
            tx.delete::<Version>(&there.key());
        }
        return Deleted { version_id: Some(id.to_owned()), marker };
    }
    if bucket.versioning == Versioning::Never {
        if let Some(there) = newest(tx, &bucket.name, key) {
            tx.delete::<Version>(&there.key());
        }
        return Deleted::default();
    }
    let marker = add(tx, now, ids, bucket, key, None);
    Deleted { version_id: Some(marker.id), marker: true }
}

/// Changes a version in place: its tags or its storage class. Returns its id.
///
/// # Errors
/// There is none, or it is a delete marker.
pub fn change(
    tx: &mut Tx,
    bucket: &str,
    key: &str,
    id: Option<&str>,
    change: impl FnOnce(&mut Content),
) -> Result<String, ApiError> {
    let there = match id {
        None => newest(tx, bucket, key).filter(|newest| !newest.is_marker()).ok_or_else(no_such_key)?,
        Some(id) => version(tx, bucket, key, id).ok_or_else(no_such_version)?,
    };
    if there.is_marker() {
        let message = "The specified method is not allowed against this resource.";
        return Err(ApiError::new("MethodNotAllowed", 405, message));
    }
    tx.update::<Version>(&there.key(), |version| {
        if let Some(content) = &mut version.content {
            change(content);
        }
    });
    Ok(there.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{S3, bucket};

    fn etag(s3: &S3, key: &str, id: Option<&str>) -> Result<String, String> {
        match find(&s3.state, "abc", key, id) {
            Ok(Found::Object(version)) => Ok(version.content.as_ref().unwrap().etag.clone()),
            Ok(Found::Marker(_)) => Err("marker".into()),
            Err(error) => Err(error.code.into_owned()),
        }
    }

    #[test]
    fn without_versions_there_is_one_object() {
        let mut s3 = S3::new();
        bucket(&mut s3, "abc", Versioning::Never);
        assert_eq!(s3.put("abc", "key", "one").id, NULL_VERSION);
        s3.put("abc", "key", "two");
        s3.put("abc", "key2", "three");
        assert_eq!(etag(&s3, "key", None).unwrap(), "two");
        assert_eq!(s3.delete("abc", "key", None), Deleted::default());
        assert_eq!(etag(&s3, "key", None).unwrap_err(), "NoSuchKey");
        assert_eq!(s3.state.all::<Version>().count(), 1);
    }

    #[test]
    fn versions_are_kept_and_marked_as_deleted() {
        let mut s3 = S3::new();
        bucket(&mut s3, "abc", Versioning::Enabled);
        let (one, two) = (s3.put("abc", "key", "one").id, s3.put("abc", "key", "two").id);
        assert_eq!(etag(&s3, "key", Some(&one)).unwrap(), "one");
        let marker = s3.delete("abc", "key", None);
        assert!(marker.marker);
        assert_eq!(etag(&s3, "key", None).unwrap_err(), "marker");
        assert_eq!(etag(&s3, "key", Some(&two)).unwrap(), "two");
        assert!(s3.delete("abc", "key", marker.version_id.as_deref()).marker);
        assert_eq!(etag(&s3, "key", None).unwrap(), "two");
        s3.delete("abc", "key", Some(&two));
        assert_eq!(etag(&s3, "key", None).unwrap(), "one");
        assert_eq!(etag(&s3, "key", Some(&two)).unwrap_err(), "NoSuchVersion");
    }

    #[test]
    fn suspended_versioning_has_one_null_version() {
        let mut s3 = S3::new();
        bucket(&mut s3, "abc", Versioning::Never);
        s3.put("abc", "key", "old");
        s3.version("abc", Versioning::Enabled);
        let kept = s3.put("abc", "key", "kept").id;
        s3.version("abc", Versioning::Suspended);
        assert_eq!(s3.put("abc", "key", "new").id, NULL_VERSION);
        assert_eq!(etag(&s3, "key", Some(NULL_VERSION)).unwrap(), "new");
        assert_eq!(etag(&s3, "key", None).unwrap(), "new");
        assert_eq!(etag(&s3, "key", Some(&kept)).unwrap(), "kept");
        assert_eq!(s3.state.all::<Version>().count(), 2);
        let marker = s3.delete("abc", "key", None);
        assert_eq!(marker.version_id.as_deref(), Some(NULL_VERSION));
        assert_eq!(s3.state.all::<Version>().count(), 2);
    }

    #[test]
    fn writes_can_depend_on_what_is_there() {
        let mut s3 = S3::new();
        bucket(&mut s3, "abc", Versioning::Never);
        let attempt =
            |s3: &mut S3, precondition| s3.try_put("abc", "lock", "x", &precondition).map_err(|e| e.code);
        assert_eq!(attempt(&mut s3, Precondition::Matches("x".into())).unwrap_err(), "NoSuchKey");
        assert!(attempt(&mut s3, Precondition::Absent).is_ok());
        assert_eq!(attempt(&mut s3, Precondition::Absent).unwrap_err(), "PreconditionFailed");
        assert_eq!(attempt(&mut s3, Precondition::Matches("y".into())).unwrap_err(), "PreconditionFailed");
        assert!(attempt(&mut s3, Precondition::Matches("x".into())).is_ok());
        s3.delete("abc", "lock", None);
        assert!(attempt(&mut s3, Precondition::Absent).is_ok());
    }

    #[test]
    fn keys_and_descriptions_have_limits() {
        assert!(check_key(&"k".repeat(1024)).is_ok());
        assert_eq!(check_key(&"k".repeat(1025)).unwrap_err().code, "KeyTooLongError");
        assert!(check_key("a\0b").is_err());
        let mut described = Description { storage_class: "STANDARD".into(), ..Description::default() };
        assert_eq!(described.check(), Ok(()));
        described.metadata.insert("a".into(), "b".repeat(2048));
        assert_eq!(described.check().unwrap_err().code, "MetadataTooLarge");
    }
}
