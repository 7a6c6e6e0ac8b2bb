//! HTTP/1.1 (RFC 9112) for webhooks: one POST at a time over a kept-alive connection.
//!
//! Everything is bounded: a response's head by 64 KiB and 128 header lines, interim responses by 100, the body by `BODY_READ_MAX`,
//! and all of it by the attempt's deadline. A status that arrived in time counts, whatever the other header lines and the body are.

mod body;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod head;

use std::io::ErrorKind;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use hookwright_domain::outcome::ErrorClass;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout_at},
};

use self::{
    body::Framing,
    head::{Head, NoHead, read_final_head},
};
use super::{AttemptRequest, BODY_KEPT_MAX, Exchange, Failure, Phases, Unanswered};
use crate::{
    connector::{Stream, elapsed_us},
    descriptors::Permit,
};

/// A body up to this size is sent in one write with the head. A larger one is not copied.
const BODY_INLINE_MAX: usize = 16 << 10;

/// A connection, and the bytes read from it after the last response.
pub(crate) struct Http1 {
    stream: Stream,
    buffer: BytesMut,
    out: Vec<u8>,
    /// Released after the stream is closed.
    _permit: Permit,
}

impl Http1 {
    pub(crate) fn new(stream: Stream, permit: Permit) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            out: Vec::new(),
            _permit: permit,
        }
    }

    /// Sends a request and reads its response.
    pub(crate) async fn exchange(
        &mut self,
        request: &AttemptRequest<'_>,
        deadline: Instant,
        phases: &mut Phases,
    ) -> Exchange {
        if let Some(ended) = self.check_idle() {
            return ended;
        }
        let begun = Instant::now();
        self.write_head(request);
        let head = match timeout_at(deadline, self.send_and_read_head(&request.body)).await {
            Err(_) => {
                return Exchange::Failed(Failure::new(ErrorClass::Timeout, "the receiver did not answer in time"));
            }
            Ok(Ok(head)) => head,
            Ok(Err(no_head)) => return no_head.into_exchange(),
        };
        phases.wait_us = Some(elapsed_us(begun));
        let Head {
            mut record,
            framing,
            keep_alive,
        } = head;
        let begun = Instant::now();
        let (body, complete) = self.read_body(framing, deadline).await;
        phases.body_us = Some(elapsed_us(begun));
        record.truncated = body.len() > BODY_KEPT_MAX || !complete;
        record.body = Bytes::from(body).slice(..).split_to_at_most(BODY_KEPT_MAX);
        // Bytes after the response answer no request: such a connection is not used again.
        let reusable = keep_alive && complete && self.buffer.is_empty() && record.status != 101;
        Exchange::Response(record, reusable)
    }

    /// Rejects a kept-alive connection that has ended, or that received bytes without a request.
    fn check_idle(&mut self) -> Option<Exchange> {
        let mut byte = [0; 1];
        let error = match self.stream.read(&mut byte).now_or_never()? {
            Ok(0) => std::io::Error::from(ErrorKind::UnexpectedEof),
            Ok(_) => std::io::Error::other("something came unasked"),
            Err(error) => error,
        };
        Some(Exchange::Unanswered(Unanswered::Closed, reset(&error)))
    }

    fn write_head(&mut self, request: &AttemptRequest<'_>) {
        let out = &mut self.out;
        out.clear();
        out.extend_from_slice(b"POST ");
        out.extend_from_slice(request.url.path_and_query().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(request.url.authority().as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in request.headers {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(itoa::Buffer::new().format(request.body.len()).as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }

    async fn send_and_read_head(&mut self, body: &Bytes) -> Result<Head, NoHead> {
        if body.len() <= BODY_INLINE_MAX {
            self.out.extend_from_slice(body);
            let sent = write(&mut self.stream, &self.out, &[]).await;
            return read_final_head(&mut self.stream, &mut self.buffer, sent.err()).await;
        }
        Box::pin(self.send_large_and_read_head(body)).await
    }

    /// Reads while it sends, because a receiver may answer before it has read a large body.
    async fn send_large_and_read_head(&mut self, body: &Bytes) -> Result<Head, NoHead> {
        let (mut reading, mut writing) = tokio::io::split(&mut self.stream);
        let head = read_final_head(&mut reading, &mut self.buffer, None);
        let sent = write(&mut writing, &self.out, body);
        tokio::pin!(head, sent);
        tokio::select! {
            early = &mut head => early.map(|head| Head { keep_alive: false, ..head }),
            // The body is sent, or the receiver has stopped reading: its answer counts in both cases.
            sent = &mut sent => match (head.await, sent) {
                (Err(NoHead::Closed(_)), Err(error)) => Err(NoHead::Broken(error)),
                (Ok(head), Err(_)) => Ok(Head { keep_alive: false, ..head }),
                (head, _) => head,
            },
        }
    }

    /// Reads a body. Returns the bytes, and whether they are complete.
    async fn read_body(&mut self, framing: Framing, deadline: Instant) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        let reading = framing.read(&mut self.stream, &mut self.buffer, &mut body);
        let complete = matches!(timeout_at(deadline, reading).await, Ok(Ok(true)));
        (body, complete)
    }
}

async fn write(stream: &mut (impl tokio::io::AsyncWrite + Unpin), head: &[u8], body: &[u8]) -> std::io::Result<()> {
    stream.write_all(head).await?;
    stream.write_all(body).await?;
    stream.flush().await
}

impl NoHead {
    fn into_exchange(self) -> Exchange {
        match self {
            Self::Closed(error) => Exchange::Unanswered(Unanswered::Closed, reset(&error)),
            Self::Broken(error) => Exchange::Failed(reset(&error)),
            Self::Invalid(problem) => Exchange::Failed(Failure::new(ErrorClass::InvalidResponse, problem)),
        }
    }
}

fn reset(error: &std::io::Error) -> Failure {
    Failure::new(
        ErrorClass::Reset,
        "the receiver closed the connection before it answered",
    )
    .with_detail(error.to_string())
}

trait SplitToAtMost {
    /// The first part, at most `max` bytes. A long rest is not kept in memory.
    fn split_to_at_most(self, max: usize) -> Self;
}

impl SplitToAtMost for Bytes {
    fn split_to_at_most(self, max: usize) -> Self {
        if self.len() > max {
            Self::copy_from_slice(&self[..max])
        } else {
            self
        }
    }
}
