//! Stream of a connection that keeps the bytes of a response's head, and reads on after the receiver has stopped reading.
//!
//! - hyper does not return the bytes of a head that it rejects. The tap keeps them, so that the head can be read again.
//! - A receiver may answer before it has read the request, and close. The tap hides the error of a write and discards the
//!   rest of the request, so that hyper continues and reads the answer.

use std::{
    io::{Error, IoSlice, Result},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, ext::on_informational};
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::INTERIM_MAX;

/// Maximum bytes before a head is complete, including interim responses.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;
/// A longer buffer is not kept for the next response.
const KEPT_CAPACITY_MAX: usize = 4 << 10;
/// The first bytes of a TLS alert.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];
/// The beginning of the status line of each supported version; a `0` or `1` follows.
pub(super) const VERSION: &[u8] = b"HTTP/1.";

/// The reason why received bytes are not a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the receiver speaks TLS on this port (should its URL begin with https://?)")]
    SpeaksTls,
    #[error("the response is not valid HTTP")]
    NotHttp,
    #[error("a response head of more than {HEAD_BYTES_MAX} bytes")]
    TooLong,
}

/// Observations of the exchange in progress.
#[derive(Default)]
pub(super) struct Seen {
    /// Whether the head is still being read.
    in_head: bool,
    /// The bytes received since the request, up to the end of the head or a little further.
    head: Vec<u8>,
    /// The number of interim responses.
    interim: usize,
    /// The error that ended sending.
    pub(super) unsent: Option<Error>,
}

impl Seen {
    /// Whether any byte of a response came.
    pub(super) fn has_begun(&self) -> bool {
        !self.head.is_empty()
    }

    /// Whether there were more interim responses than one exchange may have.
    pub(super) fn is_flooded(&self) -> bool {
        self.interim > INTERIM_MAX
    }

    /// Keeps bytes of a head. Rejects them as soon as they cannot become a response.
    fn keep(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.in_head {
            return Ok(());
        }
        let was_decided = begins(&self.head).len() >= VERSION.len();
        self.head.extend_from_slice(bytes);
        if self.head.len() > HEAD_BYTES_MAX {
            return Err(Error::other(Refusal::TooLong));
        }
        let begun = begins(&self.head);
        let compared = begun.len().min(VERSION.len());
        if was_decided || begun[..compared] == VERSION[..compared] {
            Ok(())
        } else if begun.starts_with(&TLS_ALERT) {
            Err(Error::other(Refusal::SpeaksTls))
        } else {
            Err(Error::other(Refusal::NotHttp))
        }
    }
}

/// The bytes from the status line on. Empty lines before it are skipped.
fn begins(head: &[u8]) -> &[u8] {
    let empty = head.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    &head[empty..]
}

/// See [`Seen`]. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Observer(Arc<Mutex<Seen>>);

impl Observer {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock()
    }

    /// A request is about to be sent.
    pub(super) fn expect_head(&self) {
        let mut seen = self.seen();
        seen.in_head = true;
        seen.head.clear();
        seen.interim = 0;
    }

    /// A head has been read. Returns whether the whole request could be written so far.
    pub(super) fn has_head(&self) -> bool {
        let mut seen = self.seen();
        seen.in_head = false;
        if seen.head.capacity() > KEPT_CAPACITY_MAX {
            seen.head = Vec::new();
        }
        seen.unsent.is_none()
    }

    /// Has each interim response to a request counted.
    pub(super) fn count_interim(&self, request: &mut Request<Full<Bytes>>) {
        let observer = self.clone();
        on_informational(request, move |_| observer.seen().interim += 1);
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.seen().is_flooded()
    }
}

/// See the module.
pub(super) struct Tap<S> {
    stream: S,
    observer: Observer,
}

impl<S> Tap<S> {
    pub(super) fn new(stream: S, observer: Observer) -> Self {
        Self { stream, observer }
    }

    /// The stream, and the bytes that came since the request.
    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        let head = std::mem::take(&mut self.observer.seen().head);
        (self.stream, head)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.observer.seen().keep(&buf.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin> Tap<S> {
    /// Writes, unless a write has failed. `discarded` is the result of a write that fails.
    fn attempt<T>(&mut self, discarded: T, write: impl FnOnce(Pin<&mut S>) -> Poll<Result<T>>) -> Poll<Result<T>> {
        if self.observer.seen().unsent.is_some() {
            return Poll::Ready(Ok(discarded));
        }
        let written = ready!(write(Pin::new(&mut self.stream)));
        Poll::Ready(Ok(written.unwrap_or_else(|error| {
            self.observer.seen().unsent = Some(error);
            discarded
        })))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        self.attempt(buf.len(), |stream| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        self.attempt(length, |stream| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.attempt((), |stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.attempt((), |stream| stream.poll_shutdown(cx))
    }
}
