//! Buckets: their names, their life and what is configured for them.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>

use std::sync::Arc;

use pileus_core::{ApiError, Scope, Tags, Timestamp};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cors::CorsRule;
use crate::error::{access_denied, invalid_argument, malformed_xml, no_such_bucket};
use crate::lifecycle::Lifecycle;
use crate::object::Version;
use crate::upload::Upload;
use crate::{object, policy};

/// The most buckets of an account.
pub const MAX_BUCKETS: usize = 10_000;

/// A bucket with all that is configured for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    pub name: String,
    pub region: String,
    /// The account that has it.
    pub owner: String,
    pub created: Timestamp,
    pub versioning: Versioning,
    pub ownership: Option<Ownership>,
    pub public_access: Option<PublicAccess>,
    pub policy: Option<String>,
    pub tags: Tags,
    pub cors: Vec<CorsRule>,
    pub lifecycle: Option<Lifecycle>,
    /// Of the default encryption. Nothing is a key of KMS, so it only echoes.
    pub bucket_key: bool,
}

impl Record for Bucket {
    const KIND: &'static str = "s3/bucket";

    fn key(&self) -> String {
        self.name.clone()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    /// Never asked for: objects have no versions.
    Never,
    Enabled,
    Suspended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    BucketOwnerEnforced,
    BucketOwnerPreferred,
    ObjectWriter,
}

impl Ownership {
    /// # Errors
    /// There is none of this name.
    pub fn parse(name: &str) -> Result<Self, ApiError> {
        match name {
            "BucketOwnerEnforced" => Ok(Self::BucketOwnerEnforced),
            "BucketOwnerPreferred" => Ok(Self::BucketOwnerPreferred),
            "ObjectWriter" => Ok(Self::ObjectWriter),
            _ => Err(malformed_xml()),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::BucketOwnerEnforced => "BucketOwnerEnforced",
            Self::BucketOwnerPreferred => "BucketOwnerPreferred",
            Self::ObjectWriter => "ObjectWriter",
        }
    }
}

/// The block of public access. ACLs that grant anything to the public are not implemented at all, so two of the four
/// have nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAccess {
    pub block_acls: bool,
    pub ignore_acls: bool,
    pub block_policy: bool,
    pub restrict_buckets: bool,
}

impl PublicAccess {
    /// That of a new bucket.
    pub const BLOCKED: Self =
        Self { block_acls: true, ignore_acls: true, block_policy: true, restrict_buckets: true };
}

/// What a bucket is created with.
#[derive(Clone, Debug)]
pub struct Creation<'a> {
    pub name: &'a str,
    pub account: &'a str,
    /// The region that the request was signed for.
    pub endpoint_region: &'a str,
    pub location_constraint: Option<&'a str>,
    pub ownership: Option<Ownership>,
    pub tags: &'a Tags,
}

impl Bucket {
    pub fn arn(&self) -> String {
        format!("arn:aws:s3:::{}", self.name)
    }

    /// Whether ACLs do not exist for it.
    pub fn enforces_ownership(&self) -> bool {
        self.ownership == Some(Ownership::BucketOwnerEnforced)
    }

    /// Whether everybody may use it by its policy, as far as the block of public access does not prevent that.
    pub fn is_public(&self) -> bool {
        self.policy.as_deref().is_some_and(policy::is_public)
    }

    /// Whether strangers are kept out although the policy lets them in.
    pub fn restricts_public(&self) -> bool {
        self.public_access.is_some_and(|block| block.restrict_buckets) && self.is_public()
    }
}

/// The canonical user id of an account: what ACLs and listings name it by.
pub fn canonical_id(account: &str) -> String {
    hex::encode(Sha256::digest(format!("pileus canonical user {account}")))
}

/// The bucket of this name.
///
/// # Errors
/// There is none.
pub fn get(tx: &Tx, name: &str) -> Result<Arc<Bucket>, ApiError> {
    tx.get::<Bucket>(name).ok_or_else(no_such_bucket)
}

/// The bucket of this name in a snapshot.
pub fn find(state: &State, name: &str) -> Option<Arc<Bucket>> {
    state.get::<Bucket>(&crate::scope(), name)
}

/// An account's buckets, by name.
pub fn list(state: &State, account: &str) -> Vec<Arc<Bucket>> {
    state.list::<Bucket>(&crate::scope()).filter(|bucket| bucket.owner == account).collect()
}

/// Creates a bucket. In us-east-1 creating one's own bucket again is no error, as on AWS.
///
/// # Errors
/// AWS's, for a bad or taken name and a location that does not fit the endpoint.
pub fn create(tx: &mut Tx, now: Timestamp, creation: &Creation) -> Result<(), ApiError> {
    check_name(creation.name)?;
    let region = region_of(creation)?;
    if let Some(existing) = tx.get::<Bucket>(creation.name) {
        return taken(&existing, creation);
    }
    if list(tx.base(), creation.account).len() >= MAX_BUCKETS {
        let message = "You have attempted to create more buckets than allowed";
        return Err(ApiError::client("TooManyBuckets", message));
    }
    tx.put(Bucket {
        name: creation.name.to_owned(),
        region,
        owner: creation.account.to_owned(),
        created: now,
        versioning: Versioning::Never,
        ownership: Some(creation.ownership.unwrap_or(Ownership::BucketOwnerEnforced)),
        public_access: Some(PublicAccess::BLOCKED),
        policy: None,
        tags: creation.tags.clone(),
        cors: Vec::new(),
        lifecycle: None,
        bucket_key: false,
    });
    Ok(())
}

fn taken(existing: &Bucket, creation: &Creation) -> Result<(), ApiError> {
    let here = Scope::DEFAULT_REGION;
    if existing.owner != creation.account {
        let message = "The requested bucket name is not available. The bucket namespace is shared by all users of \
                       the system. Please select a different name and try again.";
        return Err(ApiError::new("BucketAlreadyExists", 409, message));
    }
    if creation.endpoint_region == here && existing.region == here {
        return Ok(());
    }
    let message = "Your previous request to create the named bucket succeeded and you already own it.";
    Err(ApiError::new("BucketAlreadyOwnedByYou", 409, message))
}

/// The region that the bucket is to be in: that of the endpoint, but us-east-1's makes buckets anywhere.
fn region_of(creation: &Creation) -> Result<String, ApiError> {
    let (endpoint, here) = (creation.endpoint_region, Scope::DEFAULT_REGION);
    match creation.location_constraint.filter(|constraint| !constraint.is_empty()) {
        None if endpoint == here => Ok(here.to_owned()),
        None => Err(incompatible("unspecified")),
        Some(constraint) if constraint == here => {
            let message = "The specified location-constraint is not valid";
            Err(ApiError::client("InvalidLocationConstraint", message))
        }
        Some(constraint) if endpoint != here && constraint != endpoint => Err(incompatible(constraint)),
        // Europe's first region has an older name.
        Some("EU") => Ok("eu-west-1".to_owned()),
        Some(constraint) if is_region(constraint) => Ok(constraint.to_owned()),
        Some(_) => {
            let message = "The specified location-constraint is not valid";
            Err(ApiError::client("InvalidLocationConstraint", message))
        }
    }
}

fn incompatible(constraint: &str) -> ApiError {
    let message = format!(
        "The {constraint} location constraint is incompatible for the region specific endpoint this request was sent to."
    );
    ApiError::client("IllegalLocationConstraintException", message)
}

fn is_region(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let (number, words) = parts.split_last().unwrap_or((&"", &[]));
    words.len() >= 2
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        && (1..=2).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// # Errors
/// The name breaks one of S3's rules.
pub fn check_name(name: &str) -> Result<(), ApiError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| plain(*byte));
    let (bytes, labels) = (name.as_bytes(), name.split('.').collect::<Vec<_>>());
    let address = labels.len() == 4 && labels.iter().all(|label| label.parse::<u8>().is_ok());
    let reserved = ["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| name.starts_with(prefix))
        || ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"]
            .iter()
            .any(|suffix| name.ends_with(suffix));
    let good = (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| plain(*byte) || matches!(byte, b'.' | b'-'))
        && edge(bytes.first())
        && edge(bytes.last())
        && labels.iter().all(|label| !label.is_empty())
        && !address
        && !reserved;
    if good {
        Ok(())
    } else {
        Err(ApiError::client("InvalidBucketName", "The specified bucket is not valid."))
    }
}

/// Deletes a bucket in which nothing is left.
///
/// # Errors
/// It holds versions, delete markers or unfinished uploads.
pub fn delete(tx: &mut Tx, name: &str) -> Result<(), ApiError> {
    get(tx, name)?;
    let prefix = object::bucket_prefix(name);
    let version = tx.first_from::<Version>(&prefix).filter(|version| version.bucket == name);
    if let Some(version) = version {
        let message = match version.id.as_str() {
            object::NULL_VERSION => "The bucket you tried to delete is not empty",
            _ => "The bucket you tried to delete is not empty. You must delete all versions in the bucket.",
        };
        return Err(ApiError::new("BucketNotEmpty", 409, message));
    }
    // Uploads that were never completed go with their bucket.
    while let Some(upload) = tx.first_from::<Upload>(&prefix).filter(|upload| upload.bucket == name) {
        crate::upload::end(tx, &upload);
    }
    tx.delete::<Bucket>(name);
    Ok(())
}

/// Changes what is configured for a bucket.
///
/// # Errors
/// There is no such bucket.
pub fn configure(tx: &mut Tx, name: &str, change: impl FnOnce(&mut Bucket)) -> Result<(), ApiError> {
    tx.update::<Bucket>(name, change).map(drop).ok_or_else(no_such_bucket)
}

/// Gives a bucket a policy, whose syntax has been checked.
///
/// # Errors
/// It is public and public policies are blocked, or it speaks of something else than this bucket.
pub fn put_policy(tx: &mut Tx, name: &str, document: &str) -> Result<(), ApiError> {
    let bucket = get(tx, name)?;
    policy::check_resources(document, &bucket.arn())?;
    if bucket.public_access.is_some_and(|block| block.block_policy) && policy::is_public(document) {
        return Err(access_denied());
    }
    configure(tx, name, |bucket| bucket.policy = Some(document.to_owned()))
}

/// Checks the tags of a bucket (50 at most) or an object (10 at most).
///
/// # Errors
/// A tag breaks a rule, or there are too many.
pub fn check_tags(tags: &[(String, String)], most: usize) -> Result<Tags, ApiError> {
    let distinct: Tags = tags.iter().cloned().collect();
    if distinct.len() < tags.len() {
        return Err(ApiError::client("InvalidTag", "Cannot provide multiple Tags with the same key"));
    }
    if tags.len() > most {
        let message =
            format!("{} tags cannot be greater than {most}", if most > 10 { "Bucket" } else { "Object" });
        return Err(ApiError::client("BadRequest", message));
    }
    let long =
        |key: &str, value: &str| key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256;
    if tags.iter().any(|(key, value)| long(key, value)) {
        return Err(ApiError::client("InvalidTag", "The TagKey or TagValue you have provided is invalid"));
    }
    if tags.iter().any(|(key, _)| key.to_ascii_lowercase().starts_with("aws:")) {
        let message = "System tags cannot be added/updated by requester";
        return Err(ApiError::client("InvalidTag", message));
    }
    Ok(distinct)
}

/// Checks a canned ACL for a bucket or an object in it. Only such as grant nothing to others exist.
///
/// # Errors
/// ACLs are switched off, or it grants something to somebody.
pub fn check_acl(bucket: &Bucket, acl: &str) -> Result<(), ApiError> {
    match acl {
        "bucket-owner-full-control" => Ok(()),
        _ if bucket.enforces_ownership() => {
            Err(ApiError::client("AccessControlListNotSupported", "The bucket does not allow ACLs"))
        }
        "private" | "bucket-owner-read" => Ok(()),
        "public-read" | "public-read-write" if bucket.public_access.is_some_and(|block| block.block_acls) => {
            Err(access_denied())
        }
        "public-read" | "public-read-write" | "authenticated-read" | "aws-exec-read"
        | "log-delivery-write" => Err(crate::error::not_implemented(format_args!(
            "the canned ACL {acl}; a bucket policy can say the same"
        ))),
        _ => Err(invalid_argument("")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{S3, bucket};

    #[test]
    fn names() {
        for good in ["abc", "my-bucket.logs", "0bucket9", &"a".repeat(63)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in [
            "ab",
            "Abc",
            "a_b",
            "-abc",
            "abc.",
            "a..b",
            "192.168.0.1",
            "xn--abc",
            "abc-s3alias",
            &"a".repeat(64),
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    static NO_TAGS: Tags = Tags::new();

    fn creation<'a>(account: &'a str, endpoint: &'a str, constraint: Option<&'a str>) -> Creation<'a> {
        Creation {
            name: "abc",
            account,
            endpoint_region: endpoint,
            location_constraint: constraint,
            ownership: None,
            tags: &NO_TAGS,
        }
    }

    #[test]
    fn a_name_is_taken_for_everybody() {
        let mut s3 = S3::new();
        let us = creation("111111111111", "us-east-1", None);
        s3.write(|tx, now, _| create(tx, now, &us)).unwrap();
        s3.write(|tx, now, _| create(tx, now, &us)).unwrap();
        let other = creation("222222222222", "us-east-1", None);
        assert_eq!(s3.write(|tx, now, _| create(tx, now, &other)).unwrap_err().code, "BucketAlreadyExists");
        let elsewhere = creation("111111111111", "eu-west-1", Some("eu-west-1"));
        let error = s3.write(|tx, now, _| create(tx, now, &elsewhere)).unwrap_err();
        assert_eq!(error.code, "BucketAlreadyOwnedByYou");
    }

    #[test]
    fn locations_fit_the_endpoint() {
        for (endpoint, constraint, expected) in [
            ("us-east-1", None, Ok("us-east-1")),
            ("us-east-1", Some("eu-west-1"), Ok("eu-west-1")),
            ("us-east-1", Some("EU"), Ok("eu-west-1")),
            ("us-east-1", Some("us-east-1"), Err("InvalidLocationConstraint")),
            ("us-east-1", Some("mars"), Err("InvalidLocationConstraint")),
            ("eu-west-1", None, Err("IllegalLocationConstraintException")),
            ("eu-west-1", Some("eu-west-1"), Ok("eu-west-1")),
            ("eu-west-1", Some("eu-west-2"), Err("IllegalLocationConstraintException")),
        ] {
            let found = region_of(&creation("1", endpoint, constraint));
            let found = found.as_deref().map_err(|error| error.code.as_ref());
            assert_eq!(found, expected, "{endpoint} {constraint:?}");
        }
    }

    #[test]
    fn only_an_empty_bucket_goes() {
        let mut s3 = S3::new();
        bucket(&mut s3, "abc", Versioning::Enabled);
        s3.put("abc", "key", "hello");
        assert_eq!(s3.write(|tx, _, _| delete(tx, "abc")).unwrap_err().code, "BucketNotEmpty");
        let id = s3.put("abc", "key", "hello").id;
        assert_ne!(id, object::NULL_VERSION);
        assert_eq!(s3.write(|tx, _, _| delete(tx, "abcd")).unwrap_err().code, "NoSuchBucket");
    }

    #[test]
    fn acls_are_private_or_refused() {
        let mut s3 = S3::new();
        bucket(&mut s3, "abc", Versioning::Never);
        let mut enforced = Bucket::clone(&find(&s3.state, "abc").unwrap());
        assert_eq!(check_acl(&enforced, "private").unwrap_err().code, "AccessControlListNotSupported");
        enforced.ownership = Some(Ownership::BucketOwnerPreferred);
        assert_eq!(check_acl(&enforced, "private"), Ok(()));
        assert_eq!(check_acl(&enforced, "public-read").unwrap_err().code, "AccessDenied");
        enforced.public_access = None;
        assert_eq!(check_acl(&enforced, "public-read").unwrap_err().code, "NotImplemented");
    }
}
