//! The shim's side of the socket: orders from the engine, and the news for those who watch.
//!
//! A watcher is owed the newest state, not every one: one that does not read costs no memory.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use pileus_contract::TaskState;

use crate::protocol::{Message, Request, decode, encode};

/// Only the engine can open the socket; this guards against its mistakes.
const MAX_PEERS: usize = 32;

pub(super) struct Control {
    pub(super) listener: UnixListener,
    pub(super) peers: Vec<Peer>,
}

pub(super) struct Peer {
    pub(super) stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    watches: bool,
    owes_state: bool,
    owes_logs: BTreeSet<String>,
    closed: bool,
}

impl Control {
    pub(super) fn listen(path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, peers: Vec::new() })
    }

    pub(super) fn accept(&mut self) -> io::Result<()> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if transient(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.peers.len() < MAX_PEERS {
            stream.set_nonblocking(true)?;
            self.peers.push(Peer {
                stream,
                input: Vec::new(),
                output: Vec::new(),
                watches: false,
                owes_state: false,
                owes_logs: BTreeSet::new(),
                closed: false,
            });
        }
        Ok(())
    }

    /// The requests that have come from this peer.
    pub(super) fn receive(&mut self, index: usize) -> Vec<Request> {
        let Some(peer) = self.peers.get_mut(index) else { return Vec::new() };
        match peer.read() {
            Ok(requests) => requests,
            Err(_) => {
                peer.closed = true;
                Vec::new()
            }
        }
    }

    pub(super) fn watch(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        (peer.watches, peer.owes_state) = (true, true);
    }

    pub(super) fn reply(&mut self, index: usize, message: &Message) -> io::Result<()> {
        self.peers[index].output.extend(encode(message)?);
        Ok(())
    }

    pub(super) fn tell_state(&mut self) {
        for peer in self.peers.iter_mut().filter(|peer| peer.watches) {
            peer.owes_state = true;
        }
    }

    pub(super) fn tell_logs(&mut self, container: &str) {
        for peer in self.peers.iter_mut().filter(|peer| peer.watches) {
            peer.owes_logs.insert(container.to_owned());
        }
    }

    /// Sends what each peer can take, and forgets those that have gone.
    pub(super) fn flush(&mut self, state: &TaskState) {
        for peer in &mut self.peers {
            if peer.write(state).is_err() {
                peer.closed = true;
            }
        }
        self.peers.retain(|peer| !peer.closed);
    }
}

impl Peer {
    pub(super) fn wants_to_write(&self) -> bool {
        !self.output.is_empty()
    }

    fn read(&mut self) -> io::Result<Vec<Request>> {
        let mut chunk = vec![0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.input.extend_from_slice(&chunk[..count]),
            Err(error) if transient(&error) => {}
            Err(error) => return Err(error),
        }
        let mut requests = Vec::new();
        while let Some(request) = decode(&mut self.input)? {
            requests.push(request);
        }
        Ok(requests)
    }

    fn write(&mut self, state: &TaskState) -> io::Result<()> {
        loop {
            if self.output.is_empty() && !self.owe(state)? {
                return Ok(());
            }
            match self.stream.write(&self.output) {
                Ok(count) => self.output.drain(..count),
                Err(error) if transient(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
        }
    }

    /// Puts the next message that is owed into the output.
    fn owe(&mut self, state: &TaskState) -> io::Result<bool> {
        let message = if std::mem::take(&mut self.owes_state) {
            Message::State(state.clone())
        } else if let Some(container) = self.owes_logs.pop_first() {
            Message::Logs { container }
        } else {
            return Ok(false);
        };
        self.output = encode(&message)?;
        Ok(true)
    }
}

fn transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
