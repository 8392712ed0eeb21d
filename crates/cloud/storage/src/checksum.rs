//! The checksums of objects: computed while bytes pass, combined for uploads in parts.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};
use pileus_core::ApiError;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::Sha256;

use crate::error::{invalid_request, not_implemented};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// By its name in the API.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn parse(name: &str) -> Result<Self, ApiError> {
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        known.ok_or_else(|| match name {
            "SHA512" | "MD5" | "XXHASH64" | "XXHASH3" | "XXHASH128" => {
                not_implemented(format_args!("the checksum algorithm {name}"))
            }
            _ => invalid_request("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"),
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header that carries its value.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    /// The bytes of a CRC, most significant first.
    fn bytes(self, crc: u64) -> Vec<u8> {
        let bytes = crc.to_be_bytes();
        if self == Self::Crc64Nvme { bytes.to_vec() } else { bytes[4..].to_vec() }
    }
}

/// The checksum of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    pub algorithm: Algorithm,
    /// In base64; a composite one ends with `-` and the number of parts.
    pub value: String,
    /// Whether it is the checksum of the parts' checksums.
    pub composite: bool,
}

/// Computes a checksum.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    state: HasherState,
}

#[derive(Clone)]
enum HasherState {
    Crc(Box<crc_fast::Digest>),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match (algorithm.crc(), algorithm) {
            (Some(crc), _) => HasherState::Crc(Box::new(crc_fast::Digest::new(crc))),
            (None, Algorithm::Sha1) => HasherState::Sha1(Sha1::new()),
            (None, _) => HasherState::Sha256(Sha256::new()),
        };
        Self { algorithm, state }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            HasherState::Crc(digest) => digest.update(bytes),
            HasherState::Sha1(digest) => digest.update(bytes),
            HasherState::Sha256(digest) => digest.update(bytes),
        }
    }

    pub fn finish(self) -> Checksum {
        let bytes = match self.state {
            HasherState::Crc(digest) => self.algorithm.bytes(digest.finalize()),
            HasherState::Sha1(digest) => digest.finalize().to_vec(),
            HasherState::Sha256(digest) => digest.finalize().to_vec(),
        };
        Checksum { algorithm: self.algorithm, value: STANDARD.encode(bytes), composite: false }
    }
}

/// What stores and clients know content by: the digest that names its blob, the MD5 that makes its ETag, a checksum.
#[derive(Clone)]
pub struct Digests {
    sha256: Sha256,
    md5: Md5,
    checksum: Hasher,
    size: u64,
}

/// The digests of content that has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digested {
    /// `sha256:<64 hex>`
    pub digest: String,
    /// In hexadecimal.
    pub md5: String,
    pub checksum: Checksum,
    /// In bytes.
    pub size: u64,
}

impl Digests {
    pub fn new(algorithm: Algorithm) -> Self {
        Self { sha256: Sha256::new(), md5: Md5::new(), checksum: Hasher::new(algorithm), size: 0 }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.md5.update(bytes);
        self.checksum.update(bytes);
        self.size += bytes.len() as u64;
    }

    pub fn finish(self) -> Digested {
        Digested {
            digest: format!("sha256:{}", hex::encode(self.sha256.finalize())),
            md5: hex::encode(self.md5.finalize()),
            checksum: self.checksum.finish(),
            size: self.size,
        }
    }
}

/// The ETag of an object of these parts, whose MD5s are in hexadecimal.
pub(crate) fn etag_of_parts<'a>(md5s: impl ExactSizeIterator<Item = &'a str>) -> String {
    let (count, mut md5) = (md5s.len(), Md5::new());
    for part in md5s {
        md5.update(hex::decode(part).unwrap_or_default());
    }
    format!("{}-{count}", hex::encode(md5.finalize()))
}

/// The checksum of an object of parts, of which the values (in base64) and sizes are given.
pub(crate) fn of_parts(algorithm: Algorithm, composite: bool, parts: &[(&str, u64)]) -> Checksum {
    let decoded = parts.iter().map(|(value, size)| (STANDARD.decode(value).unwrap_or_default(), *size));
    match algorithm.crc().filter(|_| !composite) {
        Some(crc) => {
            let number =
                |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            let combined = decoded
                .map(|(bytes, size)| (number(&bytes), size))
                .reduce(|(one, length), (two, size)| {
                    (crc_fast::checksum_combine(crc, one, two, size), length + size)
                })
                .map_or(0, |(crc, _)| crc);
            let value = STANDARD.encode(algorithm.bytes(combined));
            Checksum { algorithm, value, composite: false }
        }
        None => {
            let mut hasher = Hasher::new(algorithm);
            decoded.for_each(|(bytes, _)| hasher.update(&bytes));
            let value = format!("{}-{}", hasher.finish().value, parts.len());
            Checksum { algorithm, value, composite: true }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(algorithm: Algorithm, bytes: &[u8]) -> String {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish().value
    }

    #[test]
    fn values_are_those_that_clients_compute() {
        for (algorithm, expected) in [
            (Algorithm::Crc32, "y/Q5Jg=="),
            (Algorithm::Crc32c, "4waSgw=="),
            (Algorithm::Crc64Nvme, "rosUhgp5mIg="),
            (Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE="),
            (Algorithm::Sha256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
        ] {
            assert_eq!(of(algorithm, b"123456789"), expected, "{algorithm:?}");
        }
    }

    #[test]
    fn a_whole_object_has_the_checksum_of_its_parts_together() {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let (one, two, three) = (of(algorithm, b"abc"), of(algorithm, b"defgh"), of(algorithm, b"i"));
            let whole = of_parts(algorithm, false, &[(&one, 3), (&two, 5), (&three, 1)]);
            assert_eq!(whole.value, of(algorithm, b"abcdefghi"), "{algorithm:?}");
        }
        let composite = of_parts(Algorithm::Sha256, false, &[(&of(Algorithm::Sha256, b"a"), 1)]);
        assert!(composite.composite && composite.value.ends_with("=-1"), "{composite:?}");
    }
}
