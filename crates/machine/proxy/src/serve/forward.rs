//! A request to a target: over a kept connection or a new one, once or, where that is safe, twice.
//!
//! A target may close a kept connection at the very moment a request goes out on it. Such a request is sent again,
//! once, on a new connection to the same target, if nothing of an answer has come and sending it twice cannot do
//! anything twice: because not a byte of it was sent the first time, or because it has no body and its method is
//! idempotent (GET, HEAD, OPTIONS, PUT, DELETE). Any other request gets 502, as from an ALB.

use tokio::net::TcpStream;

use super::exchange::{Ended, Exchange};
use super::route::Way;
use super::stream::{Reader, Writer};
use super::tunnel::tunnel;
use super::{Connection, Next};
use crate::http1::forward::{self, Hop};
use crate::http1::{BodyKind, forward::ResponseHop};
use crate::stats::Metric;
use crate::upstream::connect::{CONNECT_TIMEOUT, ConnectError, connect};
use crate::upstream::pool::PoolKey;
use crate::worker::scratch::Scratch;
use crate::worker::view::InFlight;
use pileus_contract::proxy::LoadBalancerAttributes;

impl<R: Reader, W: Writer> Connection<R, W> {
    /// Writes the head for the target.
    pub(super) fn write_request(&self, scratch: &mut Scratch, attributes: &LoadBalancerAttributes) {
        let hop = Hop {
            client: &self.peer.text,
            client_port: self.peer.port,
            listener_port: self.slot.door().listener_port(),
            tls: self.tls,
            attributes,
            epoch_secs: self.worker.epoch_secs(self.now),
        };
        scratch.request.clear();
        let mut random = self.worker.random.borrow_mut();
        forward::request(&mut scratch.request, scratch.input.filled(), &scratch.head, &hop, &mut random);
    }

    pub(super) async fn forward(&mut self, scratch: &mut Scratch, way: Way, keep: bool) -> Next {
        way.group_row.add(Metric::RequestCount, 1);
        let body = scratch.head.body;
        let safe = body == BodyKind::None && scratch.head.idempotent(scratch.input.filled());
        let received = scratch.head.len as u64;
        scratch.input.consume(scratch.head.len);
        scratch.head.leave(body);
        let _in_flight = InFlight::new(way.target.clone());
        let mut attempt = 0;
        let mut bytes = received;
        let next = loop {
            let (mut stream, reused) = match self.reach(&way, attempt > 0).await {
                Ok(reached) => reached,
                Err(status) => break self.answer_page(scratch, status, None, keep).await,
            };
            let (ended, begun) = self.exchange(scratch, &way, &mut stream, body, keep, &mut bytes).await;
            break match ended {
                Ended::Stale if reused && (safe || !begun) && attempt == 0 => {
                    attempt = 1;
                    continue;
                }
                Ended::Stale => self.answer_page(scratch, 502, None, keep).await,
                Ended::Done { reusable, next } => {
                    if reusable && !scratch.head.ambiguous {
                        self.keep_upstream(&way, stream);
                    }
                    next
                }
                Ended::Failed(status) => self.answer_page(scratch, status, None, keep).await,
                Ended::Upgraded => {
                    let Scratch { input, output, .. } = scratch;
                    let (reader, writer) = (&mut self.reader, &mut self.writer);
                    bytes += tunnel(reader, writer, &mut stream, input, output, &self.idle, &self.slot).await;
                    Next::Close
                }
                Ended::Lost => Next::Abort,
            };
        };
        way.row.add(Metric::ProcessedBytes, bytes);
        next
    }

    /// A connection to the target, and whether it was used before; else the status to answer with.
    async fn reach(&self, way: &Way, fresh: bool) -> Result<(TcpStream, bool), u16> {
        let key = PoolKey { node: way.node.key(), target: way.target.address };
        if let Some(stream) = (!fresh).then(|| self.worker.pool.take(&key)).flatten() {
            return Ok((stream, true));
        }
        match connect(&way.node, way.target.address, CONNECT_TIMEOUT).await {
            Ok(stream) => {
                self.idle.touch();
                Ok((stream, false))
            }
            Err(error) => {
                way.group_row.add(Metric::TargetConnectionErrorCount, 1);
                tracing::debug!(target = %way.target.address, ?error, "no connection to the target");
                Err(if matches!(error, ConnectError::Timeout) { 504 } else { 502 })
            }
        }
    }

    fn keep_upstream(&self, way: &Way, stream: TcpStream) {
        let key = PoolKey { node: way.node.key(), target: way.target.address };
        // The configuration may have changed meanwhile.
        let current =
            self.place.as_ref().is_some_and(|place| place.generation == self.worker.generation.get());
        if current || self.worker.view().reaches(&key) {
            self.worker.pool.put(key, stream, self.now);
        }
    }

    /// How it ended, and whether the target's socket took any of the request.
    async fn exchange(
        &mut self,
        scratch: &mut Scratch,
        way: &Way,
        stream: &mut TcpStream,
        body: BodyKind,
        keep: bool,
        bytes: &mut u64,
    ) -> (Ended, bool) {
        let minor = scratch.head.minor;
        let exchange = Exchange {
            idle: &self.idle,
            group_row: &way.group_row,
            body,
            upgrade: scratch.head.upgrade,
            hop: ResponseHop { client_minor: minor, keep_alive: keep },
            state: Default::default(),
        };
        let ended = exchange.run(&mut self.reader, &mut self.writer, stream, scratch).await;
        *bytes += exchange.state.bytes.get();
        // What an answer of our own may assume of the client's side.
        let body = if exchange.state.sent.get() { BodyKind::None } else { BodyKind::UntilClose };
        scratch.head.leave(body);
        (ended, exchange.state.begun.get())
    }
}
