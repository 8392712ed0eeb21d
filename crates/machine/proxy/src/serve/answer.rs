//! Answers of the balancer's own: sent, counted, and what then becomes of the connection.

use pileus_core::Timestamp;

use super::io::write_both;
use super::stream::{Reader, Writer};
use super::{Connection, Next};
use crate::http1::error_page::Answer;
use crate::http1::{BodyKind, BodyReader};
use crate::stats::Metric;
use crate::worker::scratch::Scratch;

impl<R: Reader, W: Writer> Connection<R, W> {
    /// Answers a request that is not understood, or did not arrive; the connection ends with it.
    pub(super) async fn answer_error(&mut self, scratch: &mut Scratch, status: u16) -> Next {
        scratch.head.leave(BodyKind::UntilClose);
        scratch.to_head = false;
        self.answer_page(scratch, status, None, false).await
    }

    /// Answers with ALB's page for `status`.
    pub(super) async fn answer_page(
        &mut self,
        scratch: &mut Scratch,
        status: u16,
        note: Option<&str>,
        keep_alive: bool,
    ) -> Next {
        self.row(&self.worker.view()).elb_status(status);
        self.send(scratch, &Answer::page(status, note), keep_alive).await
    }

    /// Sends `answer` to the request in `scratch`, none of whose body was used.
    pub(super) async fn send(
        &mut self,
        scratch: &mut Scratch,
        answer: &Answer<'_>,
        keep_alive: bool,
    ) -> Next {
        let whole = skip_body(scratch);
        let keep_alive = keep_alive && whole;
        scratch.answer.clear();
        answer.write(&mut scratch.answer, scratch.to_head, keep_alive, now());
        self.idle.touch();
        let write = write_both(&mut self.writer, &scratch.answer, &[], || self.idle.touch());
        let written = self.idle.limit(write).await;
        self.row(&self.worker.view()).add(Metric::ProcessedBytes, scratch.answer.len() as u64);
        match (written, keep_alive, whole) {
            (Some(Ok(())), true, _) => Next::Keep,
            (Some(Ok(())), false, false) => Next::Linger,
            _ => Next::Close,
        }
    }
}

/// Forgets the request, its body included, where all of it has arrived. `false`: the client is still sending.
fn skip_body(scratch: &mut Scratch) -> bool {
    scratch.input.consume(scratch.head.len);
    let mut body = BodyReader::new(scratch.head.body);
    match body.take(scratch.input.filled()) {
        Ok(taken) => scratch.input.consume(taken),
        Err(_) => return false,
    }
    body.done()
}

pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
