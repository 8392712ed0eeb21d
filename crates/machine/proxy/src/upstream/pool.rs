//! Idle connections to targets, kept by each worker for itself: no locks. The last one used is the next one used,
//! so that connections beyond the need grow old and are closed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::daemon::snapshot::NodeKey;

/// Idle connections to one target from one node.
const MAX_IDLE: usize = 256;
/// How long one may be idle.
const MAX_AGE: Duration = Duration::from_secs(60);

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    pub(crate) node: NodeKey,
    pub(crate) target: SocketAddrV4,
}

#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    since: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<PoolKey, Vec<Idle>, BuildHasherDefault<Mix>>>,
}

/// A hasher for few bytes that nobody hostile chooses, an order of magnitude cheaper than the standard one.
#[derive(Clone, Copy, Debug, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Pool {
    /// A connection that is open as far as is known.
    pub(crate) fn take(&self, key: &PoolKey) -> Option<TcpStream> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(key)?;
        while let Some(Idle { stream, .. }) = connections.pop() {
            if is_quiet(&stream) {
                return Some(stream);
            }
        }
        None
    }

    pub(crate) fn put(&self, key: PoolKey, stream: TcpStream, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(key).or_default();
        if connections.len() < MAX_IDLE {
            connections.push(Idle { stream, since: now });
        }
    }

    /// Closes what the target closed, and what was idle for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        for connections in idle.values_mut() {
            connections.retain(|one| now.duration_since(one.since) < MAX_AGE && is_quiet(&one.stream));
        }
        idle.retain(|_, connections| !connections.is_empty());
    }

    /// Closes the connections whose ends are not in the configuration any more.
    pub(crate) fn retain(&self, keeps: impl Fn(&PoolKey) -> bool) {
        self.idle.borrow_mut().retain(|key, _| keeps(key));
    }
}

/// Nothing arrived on it: neither its end nor bytes that nobody asked for. Costs no system call while epoll has
/// reported nothing.
fn is_quiet(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
