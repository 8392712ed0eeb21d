//! The engine's side of a shim's socket.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::config::TaskDir;
use crate::protocol::{Message, Request, read, write};

/// A shim answers at once, or is broken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects to the task's shim; `None` where it has none.
pub(crate) fn connect(dir: &TaskDir) -> io::Result<Option<UnixStream>> {
    match UnixStream::connect(dir.socket()) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The process that serves the other end.
pub(crate) fn shim_pid(stream: &UnixStream) -> io::Result<i32> {
    Ok(getsockopt(stream, PeerCredentials)?.pid())
}

/// Sends one order and waits until it is taken; `false` where the task has no shim.
pub(crate) fn order(dir: &TaskDir, request: &Request) -> io::Result<bool> {
    let Some(mut stream) = connect(dir)? else { return Ok(false) };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let answer = write(&mut stream, request).and_then(|()| read(&mut stream));
    match answer {
        Ok(Message::Done) => Ok(true),
        Ok(other) => Err(io::Error::other(format!("unexpected answer {other:?}"))),
        // It ended between our words.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
