//! Uploads in parts.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>

use std::sync::Arc;

use pileus_core::{ApiError, IdGen, Timestamp};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::checksum::{self, Algorithm};
use crate::error::{invalid_argument, invalid_request, malformed_xml, no_such_upload};
use crate::object::{
    Blob, Content, Description, PartOfObject, Precondition, Version, check_key, put, versions_prefix,
};

/// The least size of every part but the last, in bytes.
const MIN_PART: u64 = 5 << 20;
const MAX_PARTS: u32 = 10_000;

/// An upload that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    pub bucket: String,
    pub key: String,
    pub id: String,
    pub begun: Timestamp,
    /// The ARN of who began it.
    pub initiator: String,
    pub described: Description,
    pub algorithm: Algorithm,
    /// Whether the client chose the algorithm, so that the answers show it.
    pub chosen: bool,
    /// Whether the object's checksum is to be that of the parts' checksums.
    pub composite: bool,
}

impl Record for Upload {
    const KIND: &'static str = "s3/upload";

    fn key(&self) -> String {
        format!("{}{}", versions_prefix(&self.bucket, &self.key), self.id)
    }
}

/// A part that has been uploaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub upload: String,
    pub number: u32,
    pub blob: Blob,
    /// In hexadecimal: its ETag.
    pub md5: String,
    pub checksum: String,
    pub modified: Timestamp,
}

impl Record for Part {
    const KIND: &'static str = "s3/part";

    fn key(&self) -> String {
        part_key(&self.upload, self.number)
    }
}

fn part_key(upload: &str, number: u32) -> String {
    format!("{upload}/{number:05}")
}

/// A part as the client names it when it completes an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    pub number: u32,
    /// Without quotes.
    pub etag: String,
    pub checksum: Option<String>,
}

/// What an upload is completed with.
#[derive(Clone, Debug)]
pub struct Completion {
    pub parts: Vec<Completed>,
    /// The checksum of the whole as the client knows it.
    pub checksum: Option<String>,
    pub precondition: Precondition,
}

/// What an upload begins with.
#[derive(Clone, Debug)]
pub struct Beginning {
    pub key: String,
    pub initiator: String,
    pub described: Description,
    pub algorithm: Option<Algorithm>,
    /// `COMPOSITE` or `FULL_OBJECT`.
    pub kind: Option<String>,
}

/// Begins an upload.
///
/// # Errors
/// The key, the description or the kind of checksum breaks a rule.
pub fn begin(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdGen,
    bucket: &Bucket,
    beginning: Beginning,
) -> Result<Upload, ApiError> {
    let Beginning { key, initiator, described, algorithm, kind } = beginning;
    check_key(&key)?;
    described.check()?;
    let composite = is_composite(algorithm, kind.as_deref())?;
    let upload = Upload {
        bucket: bucket.name.clone(),
        key,
        id: ids.alphanumeric(64),
        begun: now,
        initiator,
        described,
        algorithm: algorithm.unwrap_or(Algorithm::Crc64Nvme),
        chosen: algorithm.is_some(),
        composite,
    };
    tx.put(upload.clone());
    Ok(upload)
}

fn is_composite(algorithm: Option<Algorithm>, kind: Option<&str>) -> Result<bool, ApiError> {
    let fits = |kind: &str, name: &str| {
        let message = format!("The {kind} checksum type cannot be used with the {name} checksum algorithm.");
        invalid_request(message)
    };
    match (algorithm, kind) {
        (None, Some(_)) => Err(invalid_request(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        )),
        (Some(Algorithm::Crc64Nvme), Some("COMPOSITE")) => Err(fits("COMPOSITE", "CRC64NVME")),
        (Some(algorithm @ (Algorithm::Sha1 | Algorithm::Sha256)), Some("FULL_OBJECT")) => {
            Err(fits("FULL_OBJECT", algorithm.name()))
        }
        (None | Some(Algorithm::Crc64Nvme), None) | (Some(_), Some("FULL_OBJECT")) => Ok(false),
        (Some(_), None | Some("COMPOSITE")) => Ok(true),
        (Some(_), Some(_)) => Err(invalid_request("Value for x-amz-checksum-type header is invalid.")),
    }
}

/// The upload with this id, which must be of this key.
///
/// # Errors
/// There is none.
pub fn get(tx: &Tx, bucket: &str, key: &str, id: &str) -> Result<Arc<Upload>, ApiError> {
    tx.get::<Upload>(&format!("{}{id}", versions_prefix(bucket, key))).ok_or_else(no_such_upload)
}

/// # Errors
/// Parts are numbered from 1 to 10,000.
pub fn check_number(number: i32) -> Result<u32, ApiError> {
    u32::try_from(number).ok().filter(|number| (1..=MAX_PARTS).contains(number)).ok_or_else(|| {
        invalid_argument(format!("Part number must be an integer between 1 and {MAX_PARTS}, inclusive"))
    })
}

/// Takes note of a part whose blob is stored; it replaces one of the same number.
///
/// # Errors
/// The upload has ended meanwhile.
pub fn put_part(tx: &mut Tx, bucket: &str, key: &str, part: Part) -> Result<(), ApiError> {
    get(tx, bucket, key, &part.upload)?;
    tx.put(part);
    Ok(())
}

/// The parts of an upload that come after a number.
pub fn parts(tx: &Tx, upload: &Upload, after: u32) -> Vec<Arc<Part>> {
    let (mut parts, mut from) = (Vec::new(), part_key(&upload.id, after.saturating_add(1)));
    while let Some(part) = tx.first_from::<Part>(&from).filter(|part| part.upload == upload.id) {
        from = part_key(&upload.id, part.number + 1);
        parts.push(part);
    }
    parts
}

/// Ends an upload: it and its parts are forgotten.
pub fn end(tx: &mut Tx, upload: &Upload) {
    for part in parts(tx, upload, 0) {
        tx.delete::<Part>(&part.key());
    }
    tx.delete::<Upload>(&Record::key(upload));
}

/// Makes an object of the parts that the client names.
///
/// # Errors
/// AWS's, for parts that are not there, too small, out of order, and for a checksum of the whole that is another.
pub fn complete(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdGen,
    bucket: &Bucket,
    upload: &Upload,
    completion: &Completion,
) -> Result<Version, ApiError> {
    let parts = chosen(tx, upload, &completion.parts)?;
    let values: Vec<_> = parts.iter().map(|part| (part.checksum.as_str(), part.blob.size)).collect();
    let checksum = checksum::of_parts(upload.algorithm, upload.composite, &values);
    if completion.checksum.as_ref().is_some_and(|expected| *expected != checksum.value) {
        let name = upload.algorithm.name();
        let message = format!("The {name} you specified did not match the calculated checksum.");
        return Err(ApiError::client("BadDigest", message));
    }
    let shown = |part: &Part| PartOfObject {
        number: part.number,
        size: part.blob.size,
        checksum: Some(part.checksum.clone()).filter(|_| upload.chosen),
    };
    let content = Content {
        size: parts.iter().map(|part| part.blob.size).sum(),
        blobs: parts.iter().filter(|part| part.blob.size > 0).map(|part| part.blob.clone()).collect(),
        etag: checksum::etag_of_parts(parts.iter().map(|part| part.md5.as_str())),
        checksum: Some(checksum),
        parts: parts.iter().map(|part| shown(part)).collect(),
        described: upload.described.clone(),
    };
    let version = put(tx, now, ids, bucket, &upload.key, content, &completion.precondition)?;
    end(tx, upload);
    Ok(version)
}

fn chosen(tx: &Tx, upload: &Upload, named: &[Completed]) -> Result<Vec<Arc<Part>>, ApiError> {
    if named.is_empty() {
        return Err(malformed_xml());
    }
    if !named.is_sorted_by(|one, two| one.number < two.number) {
        let message = "The list of parts was not in ascending order. Parts must be ordered by part number.";
        return Err(ApiError::client("InvalidPartOrder", message));
    }
    let mut parts = Vec::with_capacity(named.len());
    for name in named {
        let part = tx.get::<Part>(&part_key(&upload.id, name.number));
        let fits = |part: &Arc<Part>| {
            part.md5 == name.etag && name.checksum.as_ref().is_none_or(|checksum| *checksum == part.checksum)
        };
        parts.push(part.filter(fits).ok_or_else(|| {
            let message = "One or more of the specified parts could not be found. The part may not have been \
                           uploaded, or the specified entity tag may not match the part's entity tag.";
            ApiError::client("InvalidPart", message)
        })?);
    }
    if parts.iter().rev().skip(1).any(|part| part.blob.size < MIN_PART) {
        let message = "Your proposed upload is smaller than the minimum allowed size";
        return Err(ApiError::client("EntityTooSmall", message));
    }
    Ok(parts)
}

/// The upload with this id in a snapshot, with its parts.
///
/// # Errors
/// There is none.
pub fn find(
    state: &State,
    bucket: &str,
    key: &str,
    id: &str,
    after: u32,
) -> Result<(Arc<Upload>, Vec<Arc<Part>>), ApiError> {
    let tx = Tx::new(state, crate::scope());
    let upload = get(&tx, bucket, key, id)?;
    let parts = parts(&tx, &upload, after);
    Ok((upload, parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::Versioning;
    use crate::checksum::Digests;
    use crate::testing::{S3, bucket, described};

    fn part(upload: &Upload, number: u32, byte: u8, size: u64) -> Part {
        let mut digests = Digests::new(upload.algorithm);
        digests.update(&vec![byte; usize::try_from(size).unwrap()]);
        let digested = digests.finish();
        Part {
            upload: upload.id.clone(),
            number,
            blob: Blob { digest: digested.digest, size },
            md5: digested.md5,
            checksum: digested.checksum.value,
            modified: Timestamp::default(),
        }
    }

    fn begun(s3: &mut S3, algorithm: Option<Algorithm>) -> Upload {
        bucket(s3, "abc", Versioning::Never);
        let beginning = Beginning {
            key: "big".into(),
            initiator: "me".into(),
            described: described(),
            algorithm,
            kind: None,
        };
        s3.write(|tx, now, ids| {
            let bucket = crate::bucket::get(tx, "abc")?;
            begin(tx, now, ids, &bucket, beginning)
        })
        .unwrap()
    }

    fn finish(s3: &mut S3, upload: &Upload, named: &[(u32, &str)]) -> Result<Version, ApiError> {
        let parts = named
            .iter()
            .map(|(number, etag)| Completed { number: *number, etag: (*etag).to_owned(), checksum: None })
            .collect();
        let completion = Completion { parts, checksum: None, precondition: Precondition::None };
        s3.write(|tx, now, ids| {
            let bucket = crate::bucket::get(tx, "abc")?;
            complete(tx, now, ids, &bucket, upload, &completion)
        })
    }

    #[test]
    fn parts_become_one_object() {
        let mut s3 = S3::new();
        let upload = begun(&mut s3, None);
        let (one, two) = (part(&upload, 1, b'a', MIN_PART), part(&upload, 2, b'b', 3));
        for part in [one.clone(), two.clone()] {
            s3.write(|tx, _, _| put_part(tx, "abc", "big", part)).unwrap();
        }
        for (named, code) in [
            (vec![], "MalformedXML"),
            (vec![(2, two.md5.as_str()), (1, &one.md5)], "InvalidPartOrder"),
            (vec![(1, two.md5.as_str())], "InvalidPart"),
            (vec![(3, two.md5.as_str())], "InvalidPart"),
        ] {
            assert_eq!(finish(&mut s3, &upload, &named).unwrap_err().code, code);
        }
        let version = finish(&mut s3, &upload, &[(1, &one.md5), (2, &two.md5)]).unwrap();
        let content = version.content.unwrap();
        assert_eq!((content.size, content.blobs.len(), content.parts.len()), (MIN_PART + 3, 2, 2));
        assert!(content.etag.ends_with("-2"), "{}", content.etag);
        let mut whole = Digests::new(Algorithm::Crc64Nvme);
        whole.update(&vec![b'a'; usize::try_from(MIN_PART).unwrap()]);
        whole.update(b"bbb");
        assert_eq!(content.checksum.unwrap(), whole.finish().checksum);
        assert_eq!(s3.state.all::<Part>().count() + s3.state.all::<Upload>().count(), 0);
        assert_eq!(finish(&mut s3, &upload, &[(1, &one.md5)]).unwrap_err().code, "InvalidPart");
    }

    #[test]
    fn only_the_last_part_may_be_small() {
        let mut s3 = S3::new();
        let upload = begun(&mut s3, Some(Algorithm::Sha256));
        let (one, two) = (part(&upload, 1, b'a', 3), part(&upload, 2, b'b', 3));
        for part in [one.clone(), two.clone()] {
            s3.write(|tx, _, _| put_part(tx, "abc", "big", part)).unwrap();
        }
        let both = [(1, one.md5.as_str()), (2, &two.md5)];
        assert_eq!(finish(&mut s3, &upload, &both).unwrap_err().code, "EntityTooSmall");
        let version = finish(&mut s3, &upload, &both[..1]).unwrap();
        assert!(version.content.unwrap().checksum.unwrap().value.ends_with("-1"));
    }

    #[test]
    fn kinds_of_checksum_fit_their_algorithm() {
        use Algorithm::{Crc32, Crc64Nvme, Sha256};
        for (algorithm, kind, expected) in [
            (None, None, Ok(false)),
            (Some(Crc32), None, Ok(true)),
            (Some(Crc32), Some("FULL_OBJECT"), Ok(false)),
            (Some(Crc64Nvme), Some("COMPOSITE"), Err(())),
            (Some(Sha256), Some("FULL_OBJECT"), Err(())),
            (None, Some("COMPOSITE"), Err(())),
        ] {
            assert_eq!(is_composite(algorithm, kind).map_err(drop), expected, "{algorithm:?} {kind:?}");
        }
    }
}
