//! Append-only files of lines, each a JSON document.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use pileus_contract::MachineError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failed;

/// A file that lines are appended to. It is open only meanwhile: there is one for each log stream, and each task has had
/// its streams.
pub(crate) struct Appender {
    path: PathBuf,
    length: u64,
}

impl Appender {
    /// Opens or creates the file, and cuts off a last line that was not written to its end. Each whole line is given to
    /// `visit` with its offset.
    pub(crate) fn open<T: DeserializeOwned>(
        path: &Path,
        mut visit: impl FnMut(u64, T),
    ) -> Result<Self, MachineError> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(failed("open", path))?;
        let mut reader = BufReader::new(&file);
        let (mut length, mut line) = (0, Vec::new());
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(failed("read", path))?;
            if line.last() != Some(&b'\n') {
                break;
            }
            let document = serde_json::from_slice(&line);
            visit(
                length,
                document.map_err(|error| {
                    MachineError::new(format!("read {} at byte {length}", path.display()), error)
                })?,
            );
            length += read as u64;
        }
        file.set_len(length).map_err(failed("cut", path))?;
        Ok(Self { path: path.to_owned(), length })
    }

    /// Appends one line, whole or not at all; returns its offset.
    pub(crate) fn append(&mut self, document: &impl Serialize) -> Result<u64, MachineError> {
        let mut line = serde_json::to_vec(document)
            .map_err(|error| MachineError::new(format!("write {}", self.path.display()), error))?;
        line.push(b'\n');
        let file = OpenOptions::new().append(true).open(&self.path);
        let mut file = file.map_err(failed("open", &self.path))?;
        if let Err(error) = file.write_all(&line) {
            // What a full disk let through must not precede the next line.
            file.set_len(self.length).map_err(failed("cut", &self.path))?;
            return Err(failed("write", &self.path)(error));
        }
        let offset = self.length;
        self.length += line.len() as u64;
        Ok(offset)
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }
}

/// The documents of the file from `offset` on, until `visit` returns false.
pub(crate) fn read<T: DeserializeOwned>(
    path: &Path,
    offset: u64,
    mut visit: impl FnMut(T) -> bool,
) -> Result<(), MachineError> {
    let mut file = File::open(path).map_err(failed("open", path))?;
    file.seek(SeekFrom::Start(offset)).map_err(failed("read", path))?;
    let (mut reader, mut line) = (BufReader::new(file), Vec::new());
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(failed("read", path))?;
        if line.last() != Some(&b'\n') {
            return Ok(());
        }
        let document = serde_json::from_slice(&line);
        if !visit(document.map_err(|error| MachineError::new(format!("read {}", path.display()), error))?) {
            return Ok(());
        }
    }
}
