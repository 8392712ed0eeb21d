//! Takes bytes in: from a request to a blob on disk, a chunk at a time, with all that must be known of them.

use std::io::{self, Read};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use http::HeaderMap;
use pileus_contract::{BlobStore, MachineError};
use pileus_core::{ApiError, IdGen};
use pileus_storage::Blob;
use pileus_storage::checksum::{Algorithm, Digested, Digests, Hasher};
use pileus_storage::error::not_implemented;
use s3s::TrailingHeaders;
use s3s::dto::StreamingBlob;
use tokio::runtime::Handle;

use super::addressing::text;
use super::convert::Checksums;
use crate::api::Engine;

/// The most that one request may store, in bytes: 5 GiB.
const MAX_SIZE: u64 = 5 << 30;
/// What a body that paused for too long is known by.
pub(super) const PAUSED: &str = "the client paused for too long";

/// What the client says of the bytes that it sends.
#[derive(Default)]
pub(super) struct Expected {
    /// In bytes.
    pub(super) length: Option<i64>,
    /// In base64.
    pub(super) md5: Option<String>,
    pub(super) checksum: Option<(Algorithm, String)>,
    /// The checksum that follows the body.
    pub(super) trailer: Option<(Algorithm, TrailingHeaders)>,
}

impl Expected {
    /// # Errors
    /// A header says it in no form of S3's.
    pub(super) fn of(
        headers: &HeaderMap,
        trailing: Option<TrailingHeaders>,
        length: Option<i64>,
        checksums: Checksums,
    ) -> Result<Self, ApiError> {
        let announced = text(headers, "x-amz-trailer").map(str::trim);
        let algorithm =
            announced.and_then(|name| Algorithm::ALL.into_iter().find(|one| one.header() == name));
        if let Some(name) =
            announced.filter(|name| algorithm.is_none() && name.starts_with("x-amz-checksum-"))
        {
            return Err(not_implemented(format_args!("the checksum in {name}")));
        }
        let md5 = text(headers, "content-md5").map(str::to_owned);
        if md5.as_ref().is_some_and(|md5| STANDARD.decode(md5).map_or(0, |bytes| bytes.len()) != 16) {
            return Err(ApiError::client("InvalidDigest", "The Content-MD5 you specified was invalid."));
        }
        Ok(Self { length, md5, checksum: checksums.stated()?, trailer: algorithm.zip(trailing) })
    }

    /// The algorithm that the client uses, if it uses one.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        let stated = self.checksum.as_ref().map(|(algorithm, _)| *algorithm);
        stated.or_else(|| self.trailer.as_ref().map(|(algorithm, _)| *algorithm))
    }

    /// # Errors
    /// The bytes are not those that the client meant.
    fn check(&self, digested: &Digested, checksum: Option<String>) -> Result<(), ApiError> {
        if self.length.is_some_and(|length| u64::try_from(length) != Ok(digested.size)) {
            return Err(incomplete());
        }
        let md5 = STANDARD.encode(hex_bytes(&digested.md5));
        if self.md5.as_ref().is_some_and(|expected| *expected != md5) {
            let message = "The Content-MD5 you specified did not match what we received.";
            return Err(ApiError::client("BadDigest", message));
        }
        let trailer = self.trailer.as_ref().and_then(|(algorithm, trailers)| {
            let value = trailers.read(|headers| text(headers, algorithm.header()).map(str::to_owned))??;
            Some((*algorithm, value))
        });
        match self.checksum.clone().or(trailer) {
            Some((algorithm, expected)) if Some(&expected) != checksum.as_ref() => {
                let name = algorithm.name();
                let message = format!("The {name} you specified did not match the calculated checksum.");
                Err(ApiError::client("BadDigest", message))
            }
            _ => Ok(()),
        }
    }
}

fn hex_bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0);
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).unwrap_or(0)).collect()
}

fn incomplete() -> ApiError {
    let message = "You did not provide the number of bytes specified by the Content-Length HTTP header";
    ApiError::client("IncompleteBody", message)
}

/// The blob of what has been received; none of what is empty.
pub(super) fn blob(digested: &Digested) -> Option<Blob> {
    (digested.size > 0).then(|| Blob { digest: digested.digest.clone(), size: digested.size })
}

/// Stores a body as a blob, which is on disk when this returns. `algorithm` is that of the checksum to be kept.
///
/// # Errors
/// The body ends early, is too large or is not what the client meant; then nothing is left of it.
pub(super) async fn receive(
    engine: &Arc<Engine>,
    body: Option<StreamingBlob>,
    expected: Expected,
    algorithm: Algorithm,
) -> Result<Digested, ApiError> {
    if expected.length.is_some_and(|length| u64::try_from(length).is_ok_and(|length| length > MAX_SIZE)) {
        return Err(too_large());
    }
    let (objects, id) = (engine.machine.objects.clone(), engine.ids(IdGen::uuid));
    let runtime = Handle::current();
    let work = move || {
        let also = expected.algorithm().filter(|stated| *stated != algorithm).map(Hasher::new);
        let digests = Digests::new(algorithm);
        let mut reader = Reader { body, chunk: Bytes::new(), runtime, digests, also, failure: None };
        let stored = store(&*objects, &id, &mut reader, &expected);
        if stored.is_err() {
            // What cannot be removed now goes when the engine starts again.
            let _ = objects.abandon(&id);
        }
        stored
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "an object could not be taken in");
        Err(ApiError::new("InternalError", 500, "We encountered an internal error. Please try again."))
    })
}

fn store(
    objects: &dyn BlobStore,
    id: &str,
    reader: &mut Reader,
    expected: &Expected,
) -> Result<Digested, ApiError> {
    let uploaded = objects.upload(id, 0, reader, MAX_SIZE);
    if let Some(failure) = reader.failure.take() {
        return Err(failure);
    }
    uploaded.map_err(failed)?;
    let digested = reader.digests.clone().finish();
    let stated = reader.also.take().map_or_else(|| digested.checksum.clone(), Hasher::finish);
    expected.check(&digested, Some(stated.value))?;
    if digested.size == 0 {
        objects.abandon(id).map_err(failed)?;
    } else {
        objects.finish(id, &digested.digest).map_err(failed)?;
    }
    Ok(digested)
}

/// A failure of our disk.
pub(super) fn failed(error: MachineError) -> ApiError {
    tracing::error!(%error, "an object could not be stored or read");
    ApiError::new("InternalError", 500, "We encountered an internal error. Please try again.")
}

fn too_large() -> ApiError {
    let message = "Your proposed upload exceeds the maximum allowed size";
    ApiError::client("EntityTooLarge", message)
}

/// A body that is read by a thread that may block, and hashed as it passes.
struct Reader {
    body: Option<StreamingBlob>,
    chunk: Bytes,
    runtime: Handle,
    digests: Digests,
    /// The client's checksum where another one is kept.
    also: Option<Hasher>,
    failure: Option<ApiError>,
}

impl Reader {
    /// The next chunk; empty at the end.
    fn next(&mut self) -> Result<Bytes, ApiError> {
        let Some(body) = &mut self.body else { return Ok(Bytes::new()) };
        loop {
            match self.runtime.block_on(body.next()) {
                None => return Ok(Bytes::new()),
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => return Ok(chunk),
                Some(Err(error)) => return Err(broken(&error.to_string())),
            }
        }
    }
}

/// Why a body broke off, as far as `s3s` says it in words.
fn broken(error: &str) -> ApiError {
    if error.contains("Sha256Mismatch") {
        let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
        ApiError::client("XAmzContentSHA256Mismatch", message)
    } else if error.contains("Signature") {
        let message = "The request signature we calculated does not match the signature you provided. Check your key \
                       and signing method.";
        ApiError::new("SignatureDoesNotMatch", 403, message)
    } else if error.contains(PAUSED) {
        let message =
            "Your socket connection to the server was not read from or written to within the timeout period.";
        ApiError::client("RequestTimeout", message)
    } else {
        incomplete()
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            match self.next() {
                Ok(chunk) => self.chunk = chunk,
                Err(failure) => {
                    let error = io::Error::other(failure.message.clone());
                    self.failure = Some(failure);
                    return Err(error);
                }
            }
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        self.digests.update(&buffer[..length]);
        if let Some(also) = &mut self.also {
            also.update(&buffer[..length]);
        }
        Ok(length)
    }
}
