//! Where a message body ends (RFC 9112 §6 and §7), found while its bytes pass by.
//!
//! Chunked bodies pass as they are: the reader follows their grammar strictly (no bare CR or LF, no lenient sizes),
//! so that nobody behind the balancer can read the same bytes differently.

/// How a body is delimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyKind {
    #[default]
    None,
    Length(u64),
    Chunked,
    /// Responses only: the body ends with the connection.
    UntilClose,
}

/// The chunked framing is malformed or its trailers exceed the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadChunk;

/// A chunk-size line, extensions included, that is longer is refused.
const MAX_CHUNK_LINE: u32 = 4 * 1024;
/// All trailer fields together.
const MAX_TRAILERS: u32 = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size {
        digits: u8,
        line: u32,
    },
    Extension {
        line: u32,
    },
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer {
        total: u32,
    },
    TrailerLine {
        total: u32,
    },
    TrailerLf {
        total: u32,
    },
    LastLf,
}

/// Follows one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyReader {
    kind: BodyKind,
    /// Bytes left of the body (`Length`) or of the chunk.
    left: u64,
    chunk: Chunk,
    done: bool,
}

/// A piece of the input that a [`BodyReader`] accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) len: usize,
    /// Content, not chunk framing.
    pub(crate) data: bool,
}

impl BodyReader {
    pub(crate) fn new(kind: BodyKind) -> Self {
        let left = if let BodyKind::Length(length) = kind { length } else { 0 };
        let chunk = Chunk::Size { digits: 0, line: 0 };
        Self { kind, left, chunk, done: matches!(kind, BodyKind::None | BodyKind::Length(0)) }
    }

    pub(crate) fn done(&self) -> bool {
        self.done
    }

    /// How many more bytes the body surely has: worth a larger buffer.
    pub(crate) fn at_least(&self) -> u64 {
        self.left
    }

    /// How much of `input` belongs to the body.
    pub(crate) fn take(&mut self, input: &[u8]) -> Result<usize, BadChunk> {
        let mut taken = 0;
        while taken < input.len() && !self.done {
            taken += self.next(&input[taken..])?.len;
        }
        Ok(taken)
    }

    /// The next piece of the body at the start of `input`, which is not empty.
    pub(crate) fn next(&mut self, input: &[u8]) -> Result<Piece, BadChunk> {
        match self.kind {
            BodyKind::None => Ok(Piece { len: 0, data: true }),
            BodyKind::UntilClose => Ok(Piece { len: input.len(), data: true }),
            BodyKind::Length(_) => {
                let len = self.advance(input.len());
                self.done = self.left == 0;
                Ok(Piece { len, data: true })
            }
            BodyKind::Chunked => self.next_chunked(input),
        }
    }

    fn advance(&mut self, available: usize) -> usize {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(available);
        self.left -= len as u64;
        len
    }

    fn next_chunked(&mut self, input: &[u8]) -> Result<Piece, BadChunk> {
        if self.chunk == Chunk::Data {
            let len = self.advance(input.len());
            if self.left == 0 {
                self.chunk = Chunk::DataCr;
            }
            return Ok(Piece { len, data: true });
        }
        let mut len = 0;
        for &byte in input {
            self.chunk = self.step(byte)?;
            len += 1;
            if self.done || self.chunk == Chunk::Data {
                break;
            }
        }
        Ok(Piece { len, data: false })
    }

    fn step(&mut self, byte: u8) -> Result<Chunk, BadChunk> {
        Ok(match (self.chunk, byte) {
            (Chunk::Size { digits, line }, _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.left = self.left << 4 | u64::from(digit);
                Chunk::Size { digits: digits + 1, line: line + 1 }
            }
            (Chunk::Size { digits: 1.., .. } | Chunk::Extension { .. }, b'\r') => Chunk::SizeLf,
            (Chunk::Size { digits: 1.., line }, b';') => Chunk::Extension { line },
            (Chunk::Extension { line }, b'\t' | b' '..=b'~' | 0x80..) if line < MAX_CHUNK_LINE => {
                Chunk::Extension { line: line + 1 }
            }
            (Chunk::SizeLf, b'\n') if self.left == 0 => Chunk::Trailer { total: 0 },
            (Chunk::SizeLf, b'\n') => Chunk::Data,
            (Chunk::DataCr, b'\r') => Chunk::DataLf,
            (Chunk::DataLf, b'\n') => Chunk::Size { digits: 0, line: 0 },
            (Chunk::Trailer { .. }, b'\r') => Chunk::LastLf,
            (Chunk::Trailer { .. }, b' ' | b'\t') => return Err(BadChunk),
            (Chunk::TrailerLine { total }, b'\r') => Chunk::TrailerLf { total },
            (Chunk::Trailer { total } | Chunk::TrailerLine { total }, b'\t' | b' '..=b'~' | 0x80..)
                if total < MAX_TRAILERS =>
            {
                Chunk::TrailerLine { total: total + 1 }
            }
            (Chunk::TrailerLf { total }, b'\n') => Chunk::Trailer { total },
            (Chunk::LastLf, b'\n') => {
                self.done = true;
                Chunk::LastLf
            }
            _ => return Err(BadChunk),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The content of `input` and how many bytes of it the body takes, fed in steps of `step` bytes.
    fn read(kind: BodyKind, input: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), BadChunk> {
        let mut reader = BodyReader::new(kind);
        let (mut content, mut at) = (Vec::new(), 0);
        while at < input.len() && !reader.done() {
            let end = (at + step).min(input.len());
            let piece = reader.next(&input[at..end])?;
            if piece.data {
                content.extend_from_slice(&input[at..at + piece.len]);
            }
            at += piece.len;
        }
        Ok((content, at, reader.done()))
    }

    #[test]
    fn ends_where_the_length_says() {
        assert_eq!(read(BodyKind::Length(3), b"abcGET /", 2), Ok((b"abc".to_vec(), 3, true)));
        assert_eq!(read(BodyKind::None, b"GET /", 2), Ok((vec![], 0, true)));
    }

    #[test]
    fn follows_chunks_extensions_and_trailers() {
        let body = b"4;a=\"b\"\r\nwiki\r\n00A\r\n0123456789\r\n0\r\nDigest: x\r\n\r\nGET /";
        for step in 1..body.len() {
            assert_eq!(
                read(BodyKind::Chunked, body, step),
                Ok((b"wiki0123456789".to_vec(), body.len() - 5, true))
            );
        }
    }

    #[test]
    fn refuses_lenient_framing() {
        for body in [
            &b"4\nwiki\r\n0\r\n\r\n"[..],
            b"\r\n",
            b"4 \r\nwiki",
            b" 4\r\nwiki",
            b"0x4\r\nwiki",
            b"+4\r\nwiki",
            b"-1\r\n",
            b"4\r\nwiki!\r\n",
            b"4\r\nwiki\n0\r\n\r\n",
            b"4;a\nb\r\nwiki",
            b"4;a\rb\r\nwiki",
            b"0\r\nA: b\n\r\n",
            b"0\r\n folded\r\n\r\n",
            b"FFFFFFFFFFFFFFFF\r\n",
            b"0\r\n\n",
        ] {
            assert_eq!(read(BodyKind::Chunked, body, 7), Err(BadChunk), "{}", body.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_chunking_gives_back_the_content(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            step in 1usize..50,
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            let (content, used, done) = read(BodyKind::Chunked, &body, step).expect("valid");
            prop_assert_eq!(content, chunks.concat());
            prop_assert!(done && used == body.len());
        }

        #[test]
        fn no_input_makes_it_panic_or_stall(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = BodyReader::new(BodyKind::Chunked);
            let _ = reader.take(&input);
        }
    }
}
