//! What engine and shim say to each other: frames of a length (4 bytes, big endian) and JSON, bounded.
//!
//! The engine keeps one connection to every shim on which it watches; each other request has a connection of its
//! own. The first answer, whether the task has started, comes over the socket that is the shim's stdout.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use pileus_contract::{TaskSpec, TaskState};
use pileus_core::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::image::ImageConfig;

/// The largest frame: metadata documents of a task fit in it many times.
pub(crate) const MAX_FRAME: usize = 4 << 20;

/// All that the shim must know to start a task.
#[derive(Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) task: TaskSpec,
    /// The task's cgroup, relative to the root of the hierarchy.
    pub(crate) cgroup: String,
    /// Where the directories of the layers are.
    pub(crate) layers_dir: PathBuf,
    /// The task's writable layers and log spools.
    pub(crate) scratch_dir: PathBuf,
    /// One for each container of the task, in the same order.
    pub(crate) images: Vec<LaunchImage>,
}

impl Launch {
    /// The directory of a volume. No container's name begins as that of the parent.
    pub(crate) fn volume_dir(&self, volume: &str) -> PathBuf {
        self.scratch_dir.join("~volumes").join(volume)
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct LaunchImage {
    /// Names in the layers directory, the base first.
    pub(crate) layers: Vec<String>,
    pub(crate) config: ImageConfig,
}

/// What the shim says about the start, once.
#[derive(Serialize, Deserialize)]
pub(crate) enum StartAnswer {
    Started { state: TaskState, stages: Vec<Stage> },
    Failed { why: String },
}

/// How long a part of the start took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) micros: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Request {
    /// Send the state now and at every change, and tell of new log data.
    Watch,
    /// Begin the stop sequence.
    Stop,
    Metadata(BTreeMap<String, Secret>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    Done,
    State(TaskState),
    Logs { container: String },
}

/// The frame that carries `value`.
pub(crate) fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, value)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(io::Error::other(format!("message of {length} bytes; at most {MAX_FRAME} are allowed")));
    }
    frame[..4].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(frame)
}

/// Takes the first whole frame out of `buffer`; `None` where there is none yet.
pub(crate) fn decode<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let end = 4 + check_length(*head)?;
    if buffer.len() < end {
        return Ok(None);
    }
    let value = serde_json::from_slice(&buffer[4..end])?;
    buffer.drain(..end);
    Ok(Some(value))
}

pub(crate) fn write(stream: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    stream.write_all(&encode(value)?)
}

pub(crate) fn read<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<T> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let mut body = vec![0; check_length(head)?];
    stream.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

fn check_length(head: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(head) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::other(format!("message of {length} bytes; at most {MAX_FRAME} are allowed")));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_survive_any_cut(texts in prop::collection::vec(".{0,40}", 1..5), cut in 1usize..20) {
            let bytes: Vec<u8> = texts.iter().flat_map(|text| encode(text).unwrap()).collect();
            let (mut buffer, mut seen) = (Vec::new(), Vec::<String>::new());
            for piece in bytes.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(text) = decode(&mut buffer).unwrap() {
                    seen.push(text);
                }
            }
            prop_assert_eq!(seen, texts);
        }
    }

    #[test]
    fn a_huge_length_is_refused_before_it_is_believed() {
        let mut buffer = vec![0xff; 8];
        assert!(decode::<String>(&mut buffer).is_err());
        assert!(read::<String>(&mut &[0xff, 0xff, 0xff, 0xff][..]).is_err());
    }
}
