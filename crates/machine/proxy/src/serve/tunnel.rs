//! After `101 Switching Protocols` (WebSocket): bytes pass both ways until both ends have closed, or nothing has
//! moved for the idle timeout, or the load balancer is gone.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::io::{Idle, read, write_both};
use super::stream::{Reader, Writer};
use crate::http1::Buffer;
use crate::http1::buffer::INITIAL;
use crate::worker::connections::Slot;

/// The bytes that passed. `input` and `output` hold what was read already from the client and the target.
pub(super) async fn tunnel(
    reader: &mut impl Reader,
    writer: &mut impl Writer,
    stream: &mut TcpStream,
    input: &mut Buffer,
    output: &mut Buffer,
    idle: &Idle,
    slot: &Slot,
) -> u64 {
    let (mut from_target, mut to_target) = stream.split();
    let (mut up, mut down) = (0, 0);
    {
        let mut upward = pin!(pump(reader, &mut to_target, input, idle, &mut up));
        let mut downward = pin!(pump(&mut from_target, writer, output, idle, &mut down));
        let (mut up_open, mut down_open) = (true, true);
        poll_fn(|cx| {
            if up_open && let Poll::Ready(clean) = upward.as_mut().poll(cx) {
                up_open = false;
                down_open &= clean;
            }
            if down_open && let Poll::Ready(clean) = downward.as_mut().poll(cx) {
                down_open = false;
                up_open &= clean;
            }
            slot.register(cx.waker());
            if (up_open || down_open) && !slot.closing() { idle.poll_expired(cx) } else { Poll::Ready(()) }
        })
        .await;
    }
    up + down
}

/// `true`: the end was reached and passed on; `false`: something broke.
async fn pump<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    to: &mut W,
    buffer: &mut Buffer,
    idle: &Idle,
    bytes: &mut u64,
) -> bool {
    loop {
        if write_both(to, buffer.filled(), &[], || idle.touch()).await.is_err() {
            return false;
        }
        *bytes += buffer.len() as u64;
        buffer.clear();
        match read(from, buffer, INITIAL).await {
            Ok(0) => return to.shutdown().await.is_ok(),
            Ok(_) => idle.touch(),
            Err(_) => return false,
        }
    }
}
