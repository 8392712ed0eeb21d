//! One client connection from its first byte to its last: read a head, find its way, answer or forward, again.
//!
//! An idle connection holds no buffer. Requests that were sent ahead (pipelined) are answered in turn.

mod answer;
mod download;
mod exchange;
mod forward;
mod io;
mod route;
mod stream;
mod tunnel;

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::http1::MAX_REQUEST_HEAD;
use crate::http1::request::{Reject, limit_partial};
use crate::stats::{Metric, Row};
use crate::tls::{self, Agreed};
use crate::worker::Worker;
use crate::worker::connections::Slot;
use crate::worker::scratch::Scratch;
use io::Idle;
use stream::{Reader, TlsHalf, Writer};

/// Before the load balancer is known, ALB's default counts.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long, and for how many bytes, a closing connection still listens, so that the last answer arrives.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;

struct Connection<R, W> {
    reader: R,
    writer: W,
    /// What was agreed with a client that speaks TLS.
    tls: Option<Agreed>,
    worker: Rc<Worker>,
    slot: Slot,
    peer: Peer,
    idle: Idle,
    opened: Instant,
    /// When the request at hand began.
    now: Instant,
    /// Where the connection is counted, and the node it came to, once that is known.
    place: Option<Place>,
}

/// The client as rules and headers see it: IPv4, as in an ALB with `ip-address-type` `ipv4`.
struct Peer {
    address: Ipv4Addr,
    text: String,
    port: u16,
}

#[derive(Debug)]
struct Place {
    generation: u64,
    load_balancer: usize,
    node: usize,
    row: Rc<Row>,
}

/// What becomes of the connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Another request may come.
    Keep,
    Close,
    /// Reset: the client got only a part of the response and must not take it for the whole.
    Abort,
    /// Close, but read on for a moment: the client is still sending, and a reset would eat the answer.
    Linger,
}

pub(crate) async fn serve(mut stream: TcpStream, peer: SocketAddr, slot: Slot, worker: Rc<Worker>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the client has gone before it was served");
        return;
    }
    let speaks_tls = match tls::expected(&worker.view(), slot.door()) {
        true => match tokio::time::timeout(DEFAULT_IDLE_TIMEOUT, tls::first_byte(&stream)).await {
            Ok(Ok(first)) => first == tls::HANDSHAKE,
            _ => return,
        },
        false => false,
    };
    if !speaks_tls {
        let (reader, writer) = stream.split();
        return converse(reader, writer, None, peer, slot, worker).await;
    }
    match tls::accept(stream, &worker, slot.door()).await {
        Ok(stream) => {
            let agreed = Agreed::of(&stream);
            let stream = RefCell::new(stream);
            converse(TlsHalf(&stream), TlsHalf(&stream), agreed, peer, slot, worker).await;
        }
        Err(error) => {
            tracing::debug!(%error, "no TLS with a client");
            worker.view().door_row(slot.door()).add(Metric::ClientTlsNegotiationErrorCount, 1);
        }
    }
}

async fn converse<R: Reader, W: Writer>(
    reader: R,
    writer: W,
    tls: Option<Agreed>,
    peer: SocketAddr,
    slot: Slot,
    worker: Rc<Worker>,
) {
    let now = Instant::now();
    let mut connection = Connection {
        reader,
        writer,
        tls,
        worker,
        slot,
        peer: Peer::new(peer),
        idle: Idle::new(DEFAULT_IDLE_TIMEOUT),
        opened: now,
        now,
        place: None,
    };
    match connection.run().await {
        Next::Linger => connection.linger().await,
        Next::Abort => connection.abort(),
        Next::Keep | Next::Close => connection.close().await,
    }
    if let Some(place) = connection.place.take() {
        place.row.connection_closed();
    }
}

impl Peer {
    fn new(peer: SocketAddr) -> Self {
        let address = match peer.ip() {
            IpAddr::V4(address) => address,
            IpAddr::V6(address) if address.is_loopback() => Ipv4Addr::LOCALHOST,
            IpAddr::V6(address) => address.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
        };
        Self { address, text: address.to_string(), port: peer.port() }
    }
}

impl<R: Reader, W: Writer> Connection<R, W> {
    async fn run(&mut self) -> Next {
        let mut scratch: Option<Box<Scratch>> = None;
        for count in 0u64.. {
            let ahead = scratch.take_if(|scratch| !scratch.input.is_empty());
            if let Some(used) = scratch.take() {
                self.worker.give_back(used);
            }
            if ahead.is_none() && !self.wait(count == 0).await {
                return Next::Close;
            }
            let mut current = ahead.unwrap_or_else(|| self.worker.take_scratch());
            let next = self.request(&mut current).await;
            if next != Next::Keep {
                self.worker.give_back(current);
                return next;
            }
            scratch = Some(current);
        }
        Next::Close
    }

    /// Waits for the first byte of a request. `false`: there will be none.
    async fn wait(&mut self, first: bool) -> bool {
        let arrived = poll_fn(|cx| {
            self.slot.register(cx.waker());
            if self.slot.closing() {
                return Poll::Ready(None);
            }
            if self.reader.poll_arrival(cx).is_ready() {
                return Poll::Ready(Some(true));
            }
            self.idle.poll_expired(cx).map(|()| Some(false))
        })
        .await;
        if arrived == Some(false) && first {
            // ALB tells a client that never said a word; one between two requests just sees the end.
            let mut scratch = self.worker.take_scratch();
            self.answer_error(&mut scratch, 408).await;
            self.worker.give_back(scratch);
        }
        arrived == Some(true)
    }

    async fn request(&mut self, scratch: &mut Scratch) -> Next {
        self.now = Instant::now();
        self.idle.touched(self.now);
        match self.read_head(scratch).await {
            Head::Complete => {}
            Head::Gone => return Next::Close,
            Head::TimedOut => return self.answer_error(scratch, 408).await,
            Head::Rejected(reject) => return self.answer_error(scratch, reject.status()).await,
        }
        self.respond(scratch).await
    }

    /// The whole head must arrive within the idle timeout, however slowly its bytes trickle.
    async fn read_head(&mut self, scratch: &mut Scratch) -> Head {
        let mut seen = 0usize;
        loop {
            let filled = scratch.input.filled();
            if seen == 0 || has_blank_line(&filled[seen.saturating_sub(3)..]) {
                match scratch.head.parse(filled) {
                    Ok(true) => return Head::Complete,
                    Ok(false) => {}
                    Err(reject) => return Head::Rejected(reject),
                }
            } else if let Err(reject) = limit_partial(filled) {
                return Head::Rejected(reject);
            }
            seen = filled.len();
            let read = io::read(&mut self.reader, &mut scratch.input, MAX_REQUEST_HEAD);
            match self.idle.limit(read).await {
                None => return Head::TimedOut,
                Some(Ok(0) | Err(_)) => return Head::Gone,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Tells a client that speaks TLS that this was all; a plain socket is just dropped.
    async fn close(&mut self) {
        if self.tls.is_some() {
            // A client that does not take it in time has gone.
            let _ = tokio::time::timeout(LINGER, self.writer.shutdown()).await;
        }
    }

    fn abort(&self) {
        if let Err(error) = self.writer.reset() {
            tracing::debug!(%error, "cannot reset a client's connection");
        }
    }

    async fn linger(&mut self) {
        if self.writer.shutdown().await.is_err() {
            return;
        }
        let mut scratch = self.worker.take_scratch();
        let drain = async {
            let mut left = LINGER_BYTES;
            while left > 0 {
                scratch.input.clear();
                match self.reader.read(scratch.input.space(0)).await {
                    Ok(count) if count > 0 => left = left.saturating_sub(count),
                    _ => return,
                }
            }
        };
        // The end of the time is the end of the courtesy.
        let _ = tokio::time::timeout(LINGER, drain).await;
        self.worker.give_back(scratch);
    }

    /// Counts the connection where it belongs, once.
    fn settle(&mut self, place: Place) {
        match &self.place {
            Some(before) if Rc::ptr_eq(&before.row, &place.row) => {}
            before => {
                if let Some(before) = before {
                    before.row.connection_closed();
                }
                place.row.add(Metric::NewConnectionCount, 1);
                place.row.connection_opened();
            }
        }
        self.place = Some(place);
    }
}

#[derive(Debug)]
enum Head {
    Complete,
    /// The client closed, or the connection broke.
    Gone,
    TimedOut,
    Rejected(Reject),
}

fn has_blank_line(bytes: &[u8]) -> bool {
    bytes.windows(3).any(|window| window == b"\n\r\n" || window[1..] == *b"\n\n" || window[..2] == *b"\n\n")
        || bytes == b"\n\n"
}
