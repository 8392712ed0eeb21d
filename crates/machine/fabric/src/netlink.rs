//! A route-netlink socket: batches of changes, each acknowledged, and dumps.
//!
//! It is synchronous because the kernel answers before `send` returns, and it belongs to the namespace in which it
//! was opened, so later changes there cost no switch of namespaces.

use std::io;
use std::os::fd::AsRawFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use crate::error::{FabricError, Result};
use crate::namespace::Namespace;

/// Messages in one write: their acknowledgements must fit the socket's receive buffer.
const BATCH: usize = 64;
/// How often a dump is asked for again when the table changed under it.
const DUMP_ATTEMPTS: usize = 10;

pub(crate) const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;
pub(crate) const REPLACE: u16 = NLM_F_CREATE | NLM_F_REPLACE;
pub(crate) const PLAIN: u16 = 0;

/// One change, with the words for its failure.
pub(crate) struct Request {
    pub action: String,
    pub message: RouteNetlinkMessage,
    pub flags: u16,
    /// An error that means that the wanted state is there already.
    pub tolerate: &'static [Errno],
}

impl Request {
    pub(crate) fn new(action: impl Into<String>, message: RouteNetlinkMessage, flags: u16) -> Self {
        Self { action: action.into(), message, flags, tolerate: &[] }
    }

    pub(crate) fn tolerate(mut self, errors: &'static [Errno]) -> Self {
        self.tolerate = errors;
        self
    }
}

pub(crate) struct Netlink {
    socket: Socket,
    place: String,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket inside `namespace`.
    pub(crate) fn open(namespace: &Namespace) -> Result<Self> {
        namespace.run(|| Self::open_here(&namespace.name))
    }

    /// Opens a socket in the calling thread's namespace.
    pub(crate) fn open_here(place: &str) -> Result<Self> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.set_cap_ack(true)?;
            socket.set_netlink_get_strict_chk(true)?;
            io::Result::Ok(socket)
        };
        let socket = open().map_err(|e| FabricError::kernel("open a netlink socket", e))?;
        Ok(Self { socket, place: place.to_owned(), sequence: 0 })
    }

    /// Makes all changes in order; each is tried even when an earlier one fails.
    ///
    /// # Errors
    /// The first failure.
    pub(crate) fn change(&mut self, requests: &[Request]) -> Result<()> {
        let mut first = Ok(());
        for batch in requests.chunks(BATCH) {
            let result = self.change_batch(batch);
            first = first.and(result);
        }
        first
    }

    fn change_batch(&mut self, batch: &[Request]) -> Result<()> {
        let base = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(batch.len() * 128);
        for request in batch {
            self.sequence = self.sequence.wrapping_add(1);
            let flags = NLM_F_REQUEST | NLM_F_ACK | request.flags;
            bytes.extend(encode(request.message.clone(), flags, self.sequence));
        }
        self.send(&bytes)?;
        let mut first = Ok(());
        let mut answered = 0;
        while answered < batch.len() {
            for message in self.receive()? {
                let NetlinkPayload::Error(error) = message.payload else { continue };
                let index = message.header.sequence_number.wrapping_sub(base) as usize;
                let Some(request) = batch.get(index) else { continue };
                answered += 1;
                let Some(code) = error.code else { continue };
                let errno = Errno::from_raw(-code.get());
                if !request.tolerate.contains(&errno) {
                    first = first.and(Err(self.failure(&request.action, errno.into())));
                }
            }
        }
        first
    }

    /// Everything that a `Get…` message with the dump flag lists.
    pub(crate) fn dump(
        &mut self,
        action: &str,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(list) = self.dump_once(action, message)? {
                return Ok(list);
            }
        }
        Err(self.failure(action, io::Error::from(Errno::EAGAIN)))
    }

    fn dump_once(
        &mut self,
        action: &str,
        message: &RouteNetlinkMessage,
    ) -> Result<Option<Vec<RouteNetlinkMessage>>> {
        self.request(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut list = Vec::new();
        let mut consistent = true;
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                consistent &= message.header.flags & NLM_F_DUMP_INTR == 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => list.push(inner),
                    NetlinkPayload::Done(_) => return Ok(consistent.then_some(list)),
                    NetlinkPayload::Error(error) => return Err(self.failure(action, error.to_io())),
                    _ => {}
                }
            }
        }
    }

    /// The answer to a `Get…` message about one thing; `None` if there is no such thing.
    pub(crate) fn get(
        &mut self,
        action: &str,
        message: RouteNetlinkMessage,
    ) -> Result<Option<RouteNetlinkMessage>> {
        self.request(message, NLM_F_REQUEST)?;
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => return Ok(Some(inner)),
                    NetlinkPayload::Error(error) => {
                        let error = error.to_io();
                        return match error.raw_os_error().map(Errno::from_raw) {
                            Some(Errno::ENODEV) => Ok(None),
                            _ => Err(self.failure(action, error)),
                        };
                    }
                    _ => {}
                }
            }
        }
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = encode(message, flags, self.sequence);
        self.send(&bytes)
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        self.socket.send(bytes, 0).map(drop).map_err(|e| self.failure("send to the kernel", e))
    }

    /// One datagram, which may hold several messages.
    fn receive(&self) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        let (bytes, _) = self.socket.recv_from_full().map_err(|e| self.failure("hear from the kernel", e))?;
        let mut messages = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some(length) = rest.first_chunk().map(|head| u32::from_ne_bytes(*head) as usize) {
            let message = NetlinkMessage::deserialize(rest).map_err(|e| {
                self.failure(
                    "understand the kernel",
                    io::Error::new(io::ErrorKind::InvalidData, e.to_string()),
                )
            })?;
            messages.push(message);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(messages)
    }

    fn failure(&self, action: &str, source: io::Error) -> FabricError {
        FabricError::Netlink { place: self.place.clone(), action: action.to_owned(), source }
    }
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Netlink({}, fd {})", self.place, self.socket.as_raw_fd())
    }
}

fn encode(message: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
    message.serialize(&mut bytes);
    bytes
}
