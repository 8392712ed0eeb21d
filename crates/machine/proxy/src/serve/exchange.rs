//! One request and its response over one connection to a target: both directions at once, neither ahead of the
//! slower end. No task is spawned and, for a request without body, four system calls do the work: read and write
//! on either side.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::time::Instant;

use super::Next;
use super::io::{Idle, read, write_both};
use super::stream::{Reader, Writer};
use crate::http1::forward::ResponseHop;
use crate::http1::{BodyKind, BodyReader, Buffer};
use crate::stats::Row;
use crate::worker::scratch::Scratch;

/// Bodies that are surely longer are moved in larger pieces.
pub(super) const LARGE: usize = 64 * 1024;

pub(super) struct Exchange<'a> {
    pub(super) idle: &'a Idle,
    pub(super) group_row: &'a Row,
    pub(super) body: BodyKind,
    pub(super) upgrade: bool,
    pub(super) hop: ResponseHop,
    pub(super) state: State,
}

/// How far the exchange has come; both directions write to it.
#[derive(Default)]
pub(super) struct State {
    /// The whole request has gone out.
    pub(super) sent: Cell<bool>,
    /// The target's socket took a part of the request.
    pub(super) begun: Cell<bool>,
    pub(super) sent_at: Cell<Option<Instant>>,
    /// The balancer waits for the client's next bytes, not for the target to take them.
    starving: Cell<bool>,
    /// When the last part of a response's head came.
    pub(super) heard_at: Cell<Option<Instant>>,
    /// A byte of the final response has gone to the client.
    pub(super) responding: Cell<bool>,
    pub(super) bytes: Cell<u64>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Done {
        /// The connection to the target may carry another request.
        reusable: bool,
        next: Next,
    },
    /// Protocols were switched; the connections are tunnelled from here.
    Upgraded,
    /// The target closed without a byte of an answer.
    Stale,
    /// Nothing has gone to the client: it shall get this status.
    Failed(u16),
    /// The client has gone, or got only a part: there is nothing to be said.
    Lost,
}

/// Why the way to the target ended early.
enum Stop {
    ClientGone,
    BadBody,
    TargetGone,
}

impl Exchange<'_> {
    pub(super) async fn run(
        &self,
        reader: &mut impl Reader,
        writer: &mut impl Writer,
        stream: &mut TcpStream,
        scratch: &mut Scratch,
    ) -> Ended {
        let (mut from_target, mut to_target) = stream.split();
        let Scratch { input, request, output, response, answer, to_head, .. } = scratch;
        let mut upload = pin!(self.upload(reader, &mut to_target, input, request));
        let mut download = pin!(self.download(&mut from_target, writer, output, response, answer, *to_head));
        let mut uploading = true;
        poll_fn(|cx| {
            if uploading && let Poll::Ready(stop) = upload.as_mut().poll(cx) {
                uploading = false;
                match stop {
                    // An answer may have come all the same.
                    Stop::TargetGone => {}
                    Stop::BadBody if !self.state.responding.get() => return Poll::Ready(Ended::Failed(400)),
                    Stop::ClientGone | Stop::BadBody => return Poll::Ready(Ended::Lost),
                }
            }
            if let Poll::Ready(ended) = download.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            self.idle.poll_expired(cx).map(|()| self.timed_out())
        })
        .await
    }

    fn timed_out(&self) -> Ended {
        match (self.state.responding.get(), self.state.starving.get()) {
            (true, _) => Ended::Lost,
            (false, true) => Ended::Failed(408),
            (false, false) => Ended::Failed(504),
        }
    }

    /// Sends the request, then watches whether the client goes away. Ends only with a reason to stop.
    async fn upload(
        &self,
        reader: &mut impl Reader,
        target: &mut WriteHalf<'_>,
        input: &mut Buffer,
        head: &[u8],
    ) -> Stop {
        let mut body = BodyReader::new(self.body);
        let Ok(mut taken) = body.take(input.filled()) else { return Stop::BadBody };
        let mut head = head;
        loop {
            let begin = || {
                self.state.begun.set(true);
                self.idle.touch();
            };
            if self.write(target, head, &input.filled()[..taken], begin).await.is_err() {
                return Stop::TargetGone;
            }
            self.state.begun.set(true);
            head = &[];
            input.consume(taken);
            if body.done() {
                break;
            }
            self.state.starving.set(true);
            if body.at_least() > LARGE as u64 {
                input.grow(LARGE);
            }
            if !matches!(read(reader, input, LARGE).await, Ok(1..)) {
                return Stop::ClientGone;
            }
            self.state.starving.set(false);
            self.idle.touch();
            match body.take(input.filled()) {
                Ok(count) => taken = count,
                Err(_) => return Stop::BadBody,
            }
        }
        self.state.sent.set(true);
        let now = Instant::now();
        self.idle.touched(now);
        self.state.sent_at.set(Some(now));
        if input.is_empty() {
            client_gone(reader).await;
            return Stop::ClientGone;
        }
        pending().await
    }

    /// `stalled` is called when `to` takes only a part at once.
    pub(super) async fn write<W: AsyncWrite + Unpin>(
        &self,
        to: &mut W,
        first: &[u8],
        second: &[u8],
        stalled: impl FnMut(),
    ) -> std::io::Result<()> {
        self.state.bytes.set(self.state.bytes.get() + (first.len() + second.len()) as u64);
        write_both(to, first, second, stalled).await
    }
}

/// Waits until the client closes its side. A request sent ahead hides that; it is read in its turn.
async fn client_gone(reader: &mut impl Reader) {
    if !poll_fn(|cx| reader.poll_end(cx)).await {
        pending::<()>().await;
    }
}
