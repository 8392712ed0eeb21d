//! A client's connection as it is read and written: a plain socket, or TLS over one.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio_rustls::server::TlsStream;

pub(super) trait Reader: AsyncRead + Unpin {
    /// Ready when bytes, the end or an error are there. Takes nothing.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// The same, telling whether it is the end, or an error, rather than bytes.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<bool>;
}

pub(super) trait Writer: AsyncWrite + Unpin {
    /// Makes the connection end with a reset when it is dropped.
    fn reset(&self) -> io::Result<()>;
}

impl Reader for ReadHalf<'_> {
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.as_ref().poll_read_ready(cx).map(|_| ())
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if ready!(self.as_ref().poll_read_ready(cx)).is_err() {
            return Poll::Ready(true);
        }
        let mut byte = [0];
        self.as_ref().poll_peek(cx, &mut ReadBuf::new(&mut byte)).map(|peeked| !matches!(peeked, Ok(1..)))
    }
}

impl Writer for WriteHalf<'_> {
    fn reset(&self) -> io::Result<()> {
        self.as_ref().set_zero_linger()
    }
}

/// One of the two halves of a TLS connection; both are of one task, so neither is borrowed while the other is.
pub(super) struct TlsHalf<'s>(pub(super) &'s RefCell<TlsStream<TcpStream>>);

impl Reader for TlsHalf<'_> {
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut *self.0.borrow_mut()).poll_fill_buf(cx).map(|_| ())
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        Pin::new(&mut *self.0.borrow_mut())
            .poll_fill_buf(cx)
            .map(|bytes| bytes.map_or(true, <[u8]>::is_empty))
    }
}

impl Writer for TlsHalf<'_> {
    fn reset(&self) -> io::Result<()> {
        self.0.borrow().get_ref().0.set_zero_linger()
    }
}

impl AsyncRead for TlsHalf<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsHalf<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)
    }
}
