//! Gives bytes out: from the blobs of an object, a chunk at a time, as the client takes them.

use std::collections::VecDeque;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use pileus_contract::BlobStore;
use pileus_core::ApiError;
use pileus_storage::Blob;
use s3s::dto::StreamingBlob;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::receive::failed;

const CHUNK: usize = 1 << 16;

/// A piece of a file.
struct Piece {
    path: PathBuf,
    bytes: Range<u64>,
}

struct Reading {
    pieces: VecDeque<Piece>,
    /// The file of the piece before the first, and how much of it is still to be read.
    open: Option<(File, u64)>,
}

/// The bytes of `range`, which lies within the blobs.
///
/// # Errors
/// A record names a blob that cannot be.
pub(super) fn body(
    objects: &dyn BlobStore,
    blobs: &[Blob],
    range: Range<u64>,
) -> Result<StreamingBlob, ApiError> {
    let (mut pieces, mut start) = (VecDeque::new(), 0);
    for blob in blobs {
        let (from, to) = (range.start.max(start), range.end.min(start + blob.size));
        if from < to {
            let path = objects.path(&blob.digest).map_err(failed)?;
            pieces.push_back(Piece { path, bytes: from - start..to - start });
        }
        start += blob.size;
    }
    let reading = Reading { pieces, open: None };
    Ok(StreamingBlob::wrap(futures_util::stream::unfold(reading, |mut reading| async move {
        reading.next().await.transpose().map(|chunk| (chunk, reading))
    })))
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let (file, left) = match &mut self.open {
            Some((file, left)) if *left > 0 => (file, left),
            _ => match self.pieces.pop_front() {
                None => return Ok(None),
                Some(piece) => {
                    let mut file = File::open(&piece.path).await?;
                    file.seek(SeekFrom::Start(piece.bytes.start)).await?;
                    let (file, left) = self.open.insert((file, piece.bytes.end - piece.bytes.start));
                    (file, left)
                }
            },
        };
        let mut chunk = vec![0; usize::try_from(*left).unwrap_or(CHUNK).min(CHUNK)];
        let read = file.read(&mut chunk).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        chunk.truncate(read);
        *left -= read as u64;
        Ok(Some(chunk.into()))
    }
}
