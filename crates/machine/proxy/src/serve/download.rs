//! The half of an exchange that brings the response: its head, read and passed on, then its body.

use tokio::net::tcp::ReadHalf;
use tokio::time::Instant;

use super::Next;
use super::exchange::{Ended, Exchange, LARGE};
use super::io::read;
use super::stream::Writer;
use crate::http1::forward::{self, ResponseHop};
use crate::http1::{BodyKind, BodyReader, Buffer, MAX_RESPONSE_HEAD, ResponseHead};

/// The first part of a body that is not longer is copied behind the head: one plain write costs less than a
/// vectored one.
const SMALL: usize = 4 * 1024;

impl Exchange<'_> {
    pub(super) async fn download(
        &self,
        target: &mut ReadHalf<'_>,
        client: &mut impl Writer,
        output: &mut Buffer,
        head: &mut ResponseHead,
        answer: &mut Vec<u8>,
        to_head: bool,
    ) -> Ended {
        output.clear();
        loop {
            if let Err(ended) = self.read_head(target, output, head, to_head).await {
                return ended;
            }
            if head.status == 101 || head.status >= 200 {
                break;
            }
            if self.hop.client_minor == 1 {
                answer.clear();
                forward::response(answer, output.filled(), head, self.hop);
                if self.pass(client, answer, &[]).await.is_err() {
                    return Ended::Lost;
                }
            }
            output.consume(head.len);
        }
        self.count(head.status);
        if head.status == 101 {
            return self.switch(client, output, head, answer).await;
        }
        self.relay(target, client, output, head, answer).await
    }

    async fn read_head(
        &self,
        target: &mut ReadHalf<'_>,
        output: &mut Buffer,
        head: &mut ResponseHead,
        to_head: bool,
    ) -> Result<(), Ended> {
        loop {
            if !output.is_empty() {
                match head.parse(output.filled(), to_head) {
                    Ok(true) if head.len > MAX_RESPONSE_HEAD => return Err(Ended::Failed(502)),
                    Ok(true) => return Ok(()),
                    Ok(false) if output.len() > MAX_RESPONSE_HEAD => return Err(Ended::Failed(502)),
                    Ok(false) => {}
                    Err(_) => return Err(Ended::Failed(502)),
                }
            }
            match read(target, output, 2 * MAX_RESPONSE_HEAD).await {
                Ok(1..) => {}
                _ if self.state.heard_at.get().is_some() => return Err(Ended::Failed(502)),
                _ => return Err(Ended::Stale),
            }
            let now = Instant::now();
            self.idle.touched(now);
            self.state.heard_at.set(Some(now));
        }
    }

    fn count(&self, status: u16) {
        self.group_row.target_status(status);
        if let (Some(sent), Some(heard)) = (self.state.sent_at.get(), self.state.heard_at.get()) {
            self.group_row.response_time(heard.saturating_duration_since(sent).as_micros() as u64);
        }
    }

    async fn switch(
        &self,
        client: &mut impl Writer,
        output: &mut Buffer,
        head: &ResponseHead,
        answer: &mut Vec<u8>,
    ) -> Ended {
        if !self.upgrade {
            return Ended::Failed(502);
        }
        answer.clear();
        forward::response(answer, output.filled(), head, self.hop);
        output.consume(head.len);
        match self.pass(client, answer, &[]).await {
            Ok(()) => Ended::Upgraded,
            Err(_) => Ended::Lost,
        }
    }

    async fn relay(
        &self,
        target: &mut ReadHalf<'_>,
        client: &mut impl Writer,
        output: &mut Buffer,
        head: &ResponseHead,
        answer: &mut Vec<u8>,
    ) -> Ended {
        let unchunk = head.body == BodyKind::Chunked && self.hop.client_minor == 0;
        let keep_alive = self.hop.keep_alive && head.body != BodyKind::UntilClose && !unchunk;
        answer.clear();
        forward::response(answer, output.filled(), head, ResponseHop { keep_alive, ..self.hop });
        output.consume(head.len);
        let mut body = BodyReader::new(head.body);
        self.state.responding.set(true);
        if let Err(ended) = self.relay_filled(client, output, &mut body, answer, unchunk).await {
            return ended;
        }
        if body.at_least() > LARGE as u64 {
            output.grow(LARGE);
        }
        while !body.done() {
            match read(target, output, LARGE).await {
                Ok(1..) => self.idle.touch(),
                Ok(_) if head.body == BodyKind::UntilClose => break,
                _ => return Ended::Lost,
            }
            if let Err(ended) = self.relay_filled(client, output, &mut body, &mut Vec::new(), unchunk).await {
                return ended;
            }
        }
        let sent = self.state.sent.get();
        let next = match (sent, keep_alive) {
            (true, true) => Next::Keep,
            (true, false) => Next::Close,
            (false, _) => Next::Linger,
        };
        let reusable = sent && head.keep_alive && head.body != BodyKind::UntilClose && output.is_empty();
        Ended::Done { reusable, next }
    }

    async fn pass(&self, client: &mut impl Writer, first: &[u8], second: &[u8]) -> std::io::Result<()> {
        self.write(client, first, second, || self.idle.touch()).await
    }

    /// Passes on what has been read, after `head`.
    async fn relay_filled(
        &self,
        client: &mut impl Writer,
        output: &mut Buffer,
        body: &mut BodyReader,
        head: &mut Vec<u8>,
        unchunk: bool,
    ) -> Result<(), Ended> {
        if unchunk {
            while !output.is_empty() && !body.done() {
                let piece = body.next(output.filled()).map_err(|_| Ended::Lost)?;
                if piece.data {
                    self.pass(client, head, &output.filled()[..piece.len]).await.map_err(|_| Ended::Lost)?;
                    head.clear();
                }
                output.consume(piece.len);
            }
            return self.pass(client, head, &[]).await.map_err(|_| Ended::Lost);
        }
        let taken = body.take(output.filled()).map_err(|_| Ended::Lost)?;
        let mut rest = &output.filled()[..taken];
        if !head.is_empty() && taken <= SMALL {
            head.extend_from_slice(rest);
            rest = &[];
        }
        self.pass(client, head, rest).await.map_err(|_| Ended::Lost)?;
        output.consume(taken);
        Ok(())
    }
}
