//! The log spool of a container: an append-only sequence of timestamped lines in at most two files.
//!
//! A line is a frame: length (4 bytes), milliseconds since the epoch (8 bytes), both big endian, and the text. A file
//! is named after the logical offset of its first byte, so offsets go on growing when the older file is dropped. The
//! shim writes, the engine reads, without a lock: a frame that is not whole yet is not there yet.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pileus_contract::containers::LogLine;
use pileus_core::Timestamp;

/// A longer line is split.
pub(crate) const MAX_LINE: usize = 256 << 10;

/// When the file in use reaches this, the older one is dropped and a new one begun: 64 MiB in all.
const SEGMENT: u64 = 32 << 20;

/// One read returns no more text than this.
const MAX_READ: u64 = 4 << 20;

const HEAD: usize = 12;

pub(crate) struct Spool {
    directory: PathBuf,
    file: File,
    /// Logical offset of the file's first byte.
    start: u64,
    length: u64,
    segment: u64,
}

impl Spool {
    /// Makes a new, empty spool.
    pub(crate) fn create(directory: PathBuf) -> io::Result<Self> {
        Self::with_segment(directory, SEGMENT)
    }

    fn with_segment(directory: PathBuf, segment: u64) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let file = new_segment(&directory, 0)?;
        Ok(Self { directory, file, start: 0, length: 0, segment })
    }

    /// Appends lines with one write. After an error the spool is as it was before.
    pub(crate) fn append<'a>(
        &mut self,
        at: Timestamp,
        lines: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let mut frames = Vec::new();
        for line in lines {
            frames.extend_from_slice(&(line.len() as u32).to_be_bytes());
            frames.extend_from_slice(&at.millis().to_be_bytes());
            frames.extend_from_slice(line);
        }
        if self.length >= self.segment {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all_at(&frames, self.length) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += frames.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let next = self.start + self.length;
        let file = new_segment(&self.directory, next)?;
        for (start, path) in segments(&self.directory)? {
            if start < self.start {
                fs::remove_file(path)?;
            }
        }
        (self.file, self.start, self.length) = (file, next, 0);
        Ok(())
    }
}

fn new_segment(directory: &Path, start: u64) -> io::Result<File> {
    let path = directory.join(format!("{start:020}.log"));
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// The files of a spool by logical offset, in order.
fn segments(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let start = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        all.extend(start.map(|start| (start, path)));
    }
    all.sort();
    Ok(all)
}

/// At most `limit` lines from the logical `offset` on, and the offset after them. Where the lines at `offset` have been
/// dropped, reading goes on with the oldest that is left.
pub(crate) fn read(directory: &Path, offset: u64, limit: usize) -> io::Result<(Vec<LogLine>, u64)> {
    let segments = segments(directory)?;
    let first = segments.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
    let (mut lines, mut position, mut bytes) = (Vec::new(), offset, 0);
    for (start, path) in &segments[first..] {
        position = position.max(*start);
        let mut file = BufReader::new(File::open(path)?);
        file.seek(SeekFrom::Start(position - start))?;
        while lines.len() < limit && bytes < MAX_READ {
            let Some((line, length)) = frame(&mut file)? else { break };
            lines.push(line);
            bytes += length;
            position += length;
        }
    }
    Ok((lines, position))
}

/// The next line and the length of its frame; `None` where there is no whole one.
fn frame(file: &mut impl Read) -> io::Result<Option<(LogLine, u64)>> {
    let mut head = [0; HEAD];
    if !fill(file, &mut head)? {
        return Ok(None);
    }
    let [a, b, c, d, millis @ ..] = head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > MAX_LINE {
        return Err(io::Error::other("the offset is not that of a line"));
    }
    let mut text = vec![0; length];
    if !fill(file, &mut text)? {
        return Ok(None);
    }
    let at = Timestamp::from_millis(i64::from_be_bytes(millis));
    let message = String::from_utf8_lossy(&text).into_owned();
    Ok(Some((LogLine { at, message }, (HEAD + length) as u64)))
}

fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(spool: &mut Spool, texts: &[&str]) {
        spool.append(Timestamp::from_millis(42), texts.iter().map(|text| text.as_bytes())).unwrap();
    }

    fn texts(directory: &Path, offset: u64, limit: usize) -> (Vec<String>, u64) {
        let (lines, next) = read(directory, offset, limit).unwrap();
        (lines.into_iter().map(|line| line.message).collect(), next)
    }

    #[test]
    fn lines_come_back_in_order_and_by_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(dir.path().join("web")).unwrap();
        let spooled = dir.path().join("web");
        assert_eq!(texts(&spooled, 0, 10), (vec![], 0));
        put(&mut spool, &["one", "", "three"]);
        let (first, next) = texts(&spooled, 0, 2);
        assert_eq!(first, ["one", ""]);
        put(&mut spool, &["four"]);
        let (rest, end) = texts(&spooled, next, 10);
        assert_eq!(rest, ["three", "four"]);
        assert_eq!(texts(&spooled, end, 10), (vec![], end));
        assert_eq!(read(&spooled, 0, 1).unwrap().0[0].at, Timestamp::from_millis(42));
    }

    #[test]
    fn the_oldest_part_is_dropped_and_offsets_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::with_segment(dir.path().to_owned(), 60).unwrap();
        let mut next = 0;
        for number in 0..50 {
            put(&mut spool, &[&format!("line {number:02}")]);
            let (seen, after) = texts(dir.path(), next, 10);
            assert_eq!(seen, [format!("line {number:02}")]);
            next = after;
        }
        assert_eq!(next, 50 * 19);
        assert!(segments(dir.path()).unwrap().len() <= 2);
        let (left, end) = texts(dir.path(), 0, 100);
        assert_eq!((left.last().map(String::as_str), end), (Some("line 49"), next));
        assert!(left.len() >= 4 && left.len() < 10, "{left:?}");
    }

    #[test]
    fn half_a_line_is_not_there_yet() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(dir.path().to_owned()).unwrap();
        put(&mut spool, &["whole"]);
        let whole = spool.length;
        spool.file.write_all_at(&[0, 0, 0, 9, 0, 0], whole).unwrap();
        assert_eq!(texts(dir.path(), 0, 10), (vec!["whole".to_owned()], whole));
        assert!(read(dir.path(), 3, 10).is_err(), "an offset within a line is noticed");
    }
}
