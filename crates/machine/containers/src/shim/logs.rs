//! What a container writes: pipes read into lines, lines put into the spool. The container is never held up.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read};
use pileus_core::Timestamp;

use crate::spool::{MAX_LINE, Spool};

/// Read at once from one pipe, so that a container that floods does not starve the others.
const CHUNK: usize = 64 << 10;

/// Both streams of one container.
pub(super) struct Output {
    spool: Spool,
    pub(super) streams: Vec<Stream>,
    /// Lines that could not be spooled.
    dropped: u64,
}

pub(super) struct Stream {
    pub(super) pipe: OwnedFd,
    /// The beginning of a line that has no end yet.
    partial: Vec<u8>,
    pub(super) open: bool,
}

/// The container's ends of its pipes.
pub(super) struct Ends {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl Output {
    pub(super) fn create(spool: PathBuf) -> io::Result<(Self, Ends)> {
        let (stdout, stdout_end) = pipe()?;
        let (stderr, stderr_end) = pipe()?;
        let streams = [stdout, stderr].map(|pipe| Stream { pipe, partial: Vec::new(), open: true });
        let output = Self { spool: Spool::create(spool)?, streams: streams.into(), dropped: 0 };
        Ok((output, Ends { stdout: stdout_end, stderr: stderr_end }))
    }

    /// New pipes for the container that is started again; its former ones have been drained.
    pub(super) fn reopen(&mut self) -> io::Result<Ends> {
        let (stdout, stdout_end) = pipe()?;
        let (stderr, stderr_end) = pipe()?;
        self.streams = [stdout, stderr].map(|pipe| Stream { pipe, partial: Vec::new(), open: true }).into();
        Ok(Ends { stdout: stdout_end, stderr: stderr_end })
    }

    /// Moves what a stream has now into the spool; `true` where that was something.
    pub(super) fn pump(&mut self, index: usize, now: Timestamp) -> bool {
        let Some(stream) = self.streams.get_mut(index) else { return false };
        let mut chunk = [0; CHUNK];
        let whole = match read(&stream.pipe, &mut chunk) {
            Ok(0) => {
                stream.open = false;
                std::mem::take(&mut stream.partial)
            }
            Ok(count) => take_lines(&mut stream.partial, &chunk[..count]),
            Err(Errno::EAGAIN | Errno::EINTR) => return false,
            Err(_) => {
                stream.open = false;
                return false;
            }
        };
        self.append(&whole, now);
        !whole.is_empty()
    }

    /// Takes all that is left: the container has ended, and nothing writes any more.
    pub(super) fn drain(&mut self, now: Timestamp) {
        for index in 0..self.streams.len() {
            // At most what a pipe can hold, should a writer have survived after all.
            for _ in 0..32 {
                if !self.streams[index].open
                    || (!self.pump(index, now) && self.streams[index].partial.is_empty())
                {
                    break;
                }
            }
            let rest = std::mem::take(&mut self.streams[index].partial);
            self.append(&rest, now);
            self.streams[index].open = false;
        }
    }

    /// Spools text of whole lines.
    fn append(&mut self, text: &[u8], now: Timestamp) {
        if text.is_empty() {
            return;
        }
        if self.dropped > 0 {
            let note = format!("[pileus] {} lines were lost: the disk was full", self.dropped);
            if self.spool.append(now, std::iter::once(note.as_bytes())).is_ok() {
                self.dropped = 0;
            }
        }
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        if self.spool.append(now, split(text)).is_err() {
            self.dropped += split(text).count() as u64;
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((ours, theirs))
}

/// Adds `chunk` and takes out what ends with a line break, or is too long to wait for one.
fn take_lines(partial: &mut Vec<u8>, chunk: &[u8]) -> Vec<u8> {
    partial.extend_from_slice(chunk);
    let end = match partial.iter().rposition(|byte| *byte == b'\n') {
        Some(last) => last + 1,
        // Something is kept back, or a line break that follows would look like an empty line.
        None => partial.len().saturating_sub(1) / MAX_LINE * MAX_LINE,
    };
    let rest = partial.split_off(end);
    std::mem::replace(partial, rest)
}

/// Lines of at most `MAX_LINE` bytes.
fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').flat_map(|line| {
        let pieces = line.chunks(MAX_LINE);
        // An empty line has no chunks, but is a line.
        pieces.chain(line.is_empty().then_some(line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_lines_are_split_and_empty_ones_kept() {
        let long = vec![b'x'; MAX_LINE + 1];
        let text = [b"a\n\n".as_slice(), &long].concat();
        let lengths: Vec<usize> = split(&text).map(<[u8]>::len).collect();
        assert_eq!(lengths, [1, 0, MAX_LINE, 1]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_reordered(text in "[ab\n]{0,200}", cut in 1usize..40) {
            let (mut partial, mut whole) = (Vec::new(), Vec::new());
            for chunk in text.as_bytes().chunks(cut) {
                let lines = take_lines(&mut partial, chunk);
                prop_assert!(lines.is_empty() || lines.ends_with(b"\n"));
                whole.extend(lines);
            }
            whole.extend(&partial);
            prop_assert!(!partial.contains(&b'\n'));
            prop_assert_eq!(whole, text.into_bytes());
        }
    }
}
