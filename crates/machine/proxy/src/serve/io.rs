//! Reading, writing and waiting on a connection.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http1::Buffer;

/// Reads once into `buffer`, which grows up to `limit`. 0: the end of the stream.
pub(crate) async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut Buffer,
    limit: usize,
) -> io::Result<usize> {
    let count = {
        let space = buffer.space(limit);
        if space.is_empty() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let mut space = ReadBuf::new(space);
        poll_fn(|cx| Pin::new(&mut *reader).poll_read(cx, &mut space)).await?;
        space.filled().len()
    };
    buffer.filled_more(count);
    Ok(count)
}

/// Writes both parts, in one system call where the socket takes them. `stalled` is called whenever the socket took
/// only a part.
pub(crate) async fn write_both<W: AsyncWrite + Unpin>(
    writer: &mut W,
    mut first: &[u8],
    mut second: &[u8],
    mut stalled: impl FnMut(),
) -> io::Result<()> {
    if first.is_empty() && second.is_empty() {
        return Ok(());
    }
    loop {
        let count = match (first.is_empty(), second.is_empty()) {
            (true, true) => break,
            (false, true) => poll_fn(|cx| Pin::new(&mut *writer).poll_write(cx, first)).await?,
            (true, false) => poll_fn(|cx| Pin::new(&mut *writer).poll_write(cx, second)).await?,
            (false, false) => {
                let parts = [IoSlice::new(first), IoSlice::new(second)];
                poll_fn(|cx| Pin::new(&mut *writer).poll_write_vectored(cx, &parts)).await?
            }
        };
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if count == first.len() + second.len() {
            break;
        }
        stalled();
        let of_first = count.min(first.len());
        first = &first[of_first..];
        second = &second[count - of_first..];
    }
    // TLS may still hold what it took; a socket has nothing to flush.
    poll_fn(|cx| Pin::new(&mut *writer).poll_flush(cx)).await
}

/// A deadline that moves with every sign of life. Moving it costs nothing: the timer is set again only when it
/// fires too early.
#[derive(Debug)]
pub(crate) struct Idle {
    since: Cell<Instant>,
    limit: Cell<Duration>,
    timer: RefCell<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(crate) fn new(limit: Duration) -> Self {
        let now = Instant::now();
        Self {
            since: Cell::new(now),
            limit: Cell::new(limit),
            timer: RefCell::new(Box::pin(sleep_until(now + limit))),
        }
    }

    pub(crate) fn touch(&self) {
        self.touched(Instant::now());
    }

    /// [`Self::touch`] by one who knows the time.
    pub(crate) fn touched(&self, now: Instant) {
        self.since.set(now);
    }

    pub(crate) fn set_limit(&self, limit: Duration) {
        if self.limit.replace(limit) > limit {
            self.timer.borrow_mut().as_mut().reset(self.due());
        }
    }

    fn due(&self) -> Instant {
        self.since.get() + self.limit.get()
    }

    pub(crate) fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.timer.borrow_mut();
        loop {
            std::task::ready!(timer.as_mut().poll(cx));
            if self.due() <= timer.deadline() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(self.due());
        }
    }

    /// `work`, or `None` when the deadline passes first.
    pub(crate) async fn limit<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            self.poll_expired(cx).map(|()| None)
        })
        .await
    }
}
