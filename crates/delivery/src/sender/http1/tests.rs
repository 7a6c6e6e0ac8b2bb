//! Exchanges over a stream in memory.

mod bodies;
mod heads;
mod requests;

use std::{
    borrow::Cow,
    collections::VecDeque,
    io::{ErrorKind, Result},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use hookwright_domain::url::PayloadUrl;
use tokio::io::ReadBuf;

use super::*;
use crate::request::HeaderLine;

const READS_BEFORE_CLOSE: usize = 8;

/// What a receiver does after its last piece.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// It keeps the connection open.
    Open,
    /// It closes after [`READS_BEFORE_CLOSE`] more reads, which is after the exchange where that does not depend on it.
    Closed,
}

/// A receiver that sends pieces, each in a separate read, after a request arrived.
#[derive(Clone)]
struct Script(Arc<Mutex<State>>);

struct State {
    /// The pieces for each request.
    answers: VecDeque<Vec<Vec<u8>>>,
    /// The pieces that are due.
    pieces: VecDeque<Vec<u8>>,
    end: End,
    fruitless_reads: usize,
    /// Each write.
    written: Vec<Vec<u8>>,
    takes_requests: bool,
}

impl Script {
    fn new<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, end: End) -> Self {
        let pieces = pieces.into_iter().map(<[u8]>::to_vec).collect();
        Self(Arc::new(Mutex::new(State {
            answers: VecDeque::from([pieces]),
            pieces: VecDeque::new(),
            end,
            fruitless_reads: 0,
            written: Vec::new(),
            takes_requests: true,
        })))
    }

    fn then(self, answer: &str) -> Self {
        self.state().answers.push_back(vec![answer.as_bytes().to_vec()]);
        self
    }

    fn refusing_requests(self) -> Self {
        self.state().takes_requests = false;
        self
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn written(&self) -> Vec<String> {
        let written = &self.state().written;
        written
            .iter()
            .map(|bytes| String::from_utf8(bytes.clone()).unwrap())
            .collect()
    }
}

impl AsyncRead for Script {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let mut state = self.state();
        let Some(mut piece) = state.pieces.pop_front() else {
            let unasked = state.written.is_empty() && state.takes_requests;
            return match state.end {
                End::Closed if state.fruitless_reads == READS_BEFORE_CLOSE => Poll::Ready(Ok(())),
                End::Closed if !unasked => {
                    state.fruitless_reads += 1;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                _ => Poll::Pending,
            };
        };
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(&piece);
        if !rest.is_empty() {
            state.pieces.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        self.poll_write_vectored(cx, &[std::io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let mut state = self.state();
        let answer = state.answers.pop_front().unwrap_or_default();
        state.pieces.extend(answer);
        if !state.pieces.is_empty() || state.end == End::Closed {
            cx.waker().wake_by_ref();
        }
        if !state.takes_requests {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let written = bufs.concat_bytes();
        state.written.push(written.clone());
        Poll::Ready(Ok(written.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl ConcatBytes for [std::io::IoSlice<'_>] {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|slice| slice.iter().copied()).collect()
    }
}

/// What an exchange comes to.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Response { record: ResponseRecord, reusable: bool },
    Failed(ErrorClass, String),
    Closed,
}

impl Outcome {
    /// The status, the body, and whether the connection can be used again.
    fn response(&self) -> (u16, &[u8], bool) {
        match self {
            Self::Response { record, reusable } => (record.status, &record.body, *reusable),
            other => panic!("no response: {other:?}"),
        }
    }

    fn record(&self) -> &ResponseRecord {
        match self {
            Self::Response { record, .. } => record,
            other => panic!("no response: {other:?}"),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.record().headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn class(&self) -> Option<ErrorClass> {
        match self {
            Self::Failed(class, _) => Some(*class),
            _ => None,
        }
    }
}

async fn exchange(http: &mut Http1<Script>, headers: &[HeaderLine<'_>], body: &'static [u8]) -> Outcome {
    let url = PayloadUrl::parse("http://receiver.example:8080/hook?a=b").unwrap();
    let attempt = AttemptRequest {
        url: &url,
        skip_verify: false,
        timeout: Duration::from_secs(5),
        headers,
        body: Bytes::from_static(body),
        is_current: &|| true,
    };
    let deadline = Instant::now() + attempt.timeout;
    match http.exchange(&attempt, deadline, &mut Phases::default()).await {
        Exchange::Response(record, reusable) => Outcome::Response { record, reusable },
        Exchange::Failed(failure) => Outcome::Failed(failure.class, failure.message),
        Exchange::Closed(_) => Outcome::Closed,
    }
}

/// What one exchange comes to that is answered with these pieces.
async fn answered<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, end: End) -> Outcome {
    let mut http = Http1::start(Script::new(pieces, end)).await;
    exchange(&mut http, &[("X-One", Cow::Borrowed("1"))], b"{}").await
}

/// The same without an `async fn` around it.
fn answered_now<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.unwrap().block_on(answered(pieces, End::Closed))
}
