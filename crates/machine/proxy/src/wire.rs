//! The control protocol between engine and balancer: length-prefixed JSON over a Unix socket that only its owner
//! may open. A frame is four bytes of length, big-endian, and that many bytes of JSON.

use std::io::{self, Read, Write};

use pileus_contract::proxy::{ProxyEvent, ProxySpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// 1,000 targets in 100 groups take well under 1 MB.
const MAX_FRAME: usize = 64 * 1024 * 1024;

/// From the engine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Answered with [`Report::Applied`] when every worker serves by it.
    Apply {
        generation: u64,
        spec: ProxySpec,
    },
    /// Asks for [`ProxyEvent::Started`], the state as it is, and every event from now on. Ends the subscription of
    /// any earlier connection.
    Subscribe,
    Shutdown,
}

/// From the balancer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Applied { generation: u64, failure: Option<String> },
    Event(ProxyEvent),
}

pub(crate) fn write_frame(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(too_long(length));
    }
    frame[..4].copy_from_slice(&(length as u32).to_be_bytes());
    to.write_all(&frame)
}

/// `None` at the end of the stream.
pub(crate) fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(too_long(length));
    }
    let mut frame = Vec::new();
    if from.take(length as u64).read_to_end(&mut frame)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(serde_json::from_slice(&frame)?))
}

fn too_long(length: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("frame of {length} bytes exceeds {MAX_FRAME}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_bad_ones_are_errors() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &Command::Subscribe).expect("memory");
        let read = |mut bytes: &[u8]| read_frame::<Command>(&mut bytes);
        assert!(matches!(read(&bytes), Ok(Some(Command::Subscribe))));
        assert!(matches!(read(b""), Ok(None)));
        assert!(read(&bytes[..bytes.len() - 1]).is_err(), "cut short");
        assert!(read(&[0xff; 8]).is_err(), "too long");
        assert!(read(b"\0\0\0\x02{}").is_err(), "no such command");
    }
}
