//! hyper's client for HTTP/1.1, polled by the attempt that uses it.
//!
//! hyper's connection is a future that does all reading and writing. The task of the attempt polls it, and then the future that
//! depends on it: the response, or the next part of the body. Nothing else completes those, so they need no waker. Between
//! attempts no task polls the connection; the next request detects what happened meanwhile.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::{Builder, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::unconstrained,
};

use super::wake::OwnWaker;

/// See the module.
pub(super) struct Client<S: AsyncRead + AsyncWrite + Unpin> {
    requests: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<S>, Full<Bytes>>,
    /// Whether the connection's future is done.
    ended: bool,
    waker: OwnWaker,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) async fn start(builder: &Builder, stream: S) -> hyper::Result<Self> {
        let (requests, connection) = builder.handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            requests,
            connection,
            ended: false,
            waker: OwnWaker::new(),
        })
    }

    /// Sends a request and reads the head of its response. Waits only while `go_on` returns true.
    ///
    /// # Errors
    /// hyper's error. `None` if the connection had ended before, or `go_on` returned false.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        go_on: impl Fn() -> bool,
    ) -> Result<Response<Incoming>, Option<hyper::Error>> {
        let mut response = pin!(self.waker.muted(|| self.requests.send_request(request)));
        poll_fn(|cx| {
            self.advance(cx);
            match poll_unwoken(|cx| response.as_mut().poll(cx)) {
                Poll::Ready(result) => Poll::Ready(result.map_err(Some)),
                Poll::Pending if self.ended || !go_on() => Poll::Ready(Err(None)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// The body of a response.
    pub(super) fn body(&mut self, incoming: Incoming) -> ReceivedBody<'_, S> {
        ReceivedBody { client: self, incoming }
    }

    /// Whether the exchange is complete, and the connection can take another request: nothing arrived after the response.
    pub(super) fn is_idle(&mut self) -> bool {
        if !self.requests.is_ready() {
            let _ = poll_unwoken(|cx| {
                self.advance(cx);
                Poll::Ready(())
            });
        }
        !self.ended && self.requests.is_ready()
    }

    /// The stream, and the bytes that were read from it after the last parsed message.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        let parts = self.connection.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }

    fn advance(&mut self, cx: &Context<'_>) {
        if !self.ended {
            let mut cx = self.waker.context(cx);
            self.ended = self.connection.poll_without_shutdown(&mut cx).is_ready();
        }
    }
}

/// Polls a future that only the connection completes. The runtime must not make it yield, because nothing would wake the task.
fn poll_unwoken<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    pin!(unconstrained(poll_fn(poll))).poll(&mut Context::from_waker(Waker::noop()))
}

/// The body of a response, with the connection that it comes from.
pub(super) struct ReceivedBody<'a, S: AsyncRead + AsyncWrite + Unpin> {
    client: &'a mut Client<S>,
    incoming: Incoming,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ReceivedBody<'_, S> {
    fn poll_incoming(&mut self) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let mut incoming = Pin::new(&mut self.incoming);
        let poll = || poll_unwoken(|cx| incoming.as_mut().poll_frame(cx));
        self.client.waker.muted(poll)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Body for ReceivedBody<'_, S> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        // The first part usually came with the head.
        if let Poll::Ready(frame) = self.poll_incoming() {
            return Poll::Ready(frame);
        }
        self.client.advance(cx);
        match self.poll_incoming() {
            // The connection cannot end before its body does; if it did, no more would come.
            Poll::Pending if self.client.ended => Poll::Ready(None),
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
