//! HTTP/2, if a receiver offers it. Attempts share a connection: each has a handle with one stream.
//!
//! A handle gets a stream while the connection has fewer than the receiver's limit (SETTINGS_MAX_CONCURRENT_STREAMS). When
//! something suggests that the connection is broken, such as a timeout, no further streams begin on it. A connection ends
//! with its last stream, or with its last handle. It also ends with its last stream if an attempt waits for a descriptor:
//! all its streams together hold one permit, which is released when its socket is closed.
//!
//! A receiver can refuse a request without processing it (RFC 9113, section 8.7): it resets the stream with
//! REFUSED_STREAM, or sends GOAWAY with a lower stream. Such a request is [`Unanswered::Refused`]: it is repeated. One that
//! is refused with HTTP_1_1_REQUIRED is repeated over HTTP/1.1.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::poll_fn};
use h2::{
    Ping, Reason, RecvStream,
    client::{self, SendRequest},
};
use hookwright_domain::outcome::ErrorClass;
use http::{
    Request, Response, Version,
    header::{CONTENT_LENGTH, HeaderName, HeaderValue},
};
use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use super::{
    AttemptRequest, BODY_KEPT_MAX, BODY_READ_MAX, Exchange, Failure, Phases, ResponseRecord, Unanswered,
    sharing::OpeningTurn,
};
use crate::{
    connector::{Stream, elapsed_us},
    descriptors::{Descriptors, Permit},
};

const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;
/// How many bytes of responses a receiver may send before they are read, over all streams.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// How many streams a connection has at most, whatever its receiver allows.
const STREAMS_MAX: usize = 256;
/// How long the receiver may take to send its settings. Other attempts wait for them.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the last frames of a connection may take that is not used any more. A receiver that does not read must not hold
/// the descriptor.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A handle of a connection, whose frames a separate task handles. The task ends with the last handle.
pub(crate) struct Http2 {
    connection: Arc<Mutex<State>>,
    /// Whether it has one of the connection's streams.
    has_stream: bool,
}

/// The state of a connection.
struct State {
    /// `None` if no further streams may begin.
    sender: Option<SendRequest<Bytes>>,
    /// How many handles have a stream.
    streams: usize,
    /// Dropped when nothing uses the connection any more.
    in_use: Option<oneshot::Sender<()>>,
    descriptors: Descriptors,
}

impl State {
    /// Whether further streams may begin.
    fn is_open(&mut self) -> bool {
        let Some(sender) = &mut self.sender else {
            return false;
        };
        // Fails once the connection ended, or the receiver sent GOAWAY.
        let ready = poll_fn(|context| sender.poll_ready(context)).now_or_never();
        !matches!(ready, Some(Err(_)))
    }

    /// Ends a stream. The connection ends with the last one if no further ones may begin, or if an attempt waits for its
    /// descriptor. That attempt looks for idle connections only once, so this check is made under the lock.
    fn end_stream(&mut self) {
        self.streams -= 1;
        if self.streams == 0 && (self.sender.is_none() || self.descriptors.is_wanted()) {
            self.sender = None;
            self.in_use = None;
        }
    }

    /// How many streams the receiver allows: one until its settings are known.
    fn streams_max(&self) -> usize {
        let sender = self.sender.as_ref();
        sender.map_or(0, |sender| sender.current_max_send_streams().min(STREAMS_MAX))
    }
}

impl Http2 {
    /// Starts HTTP/2 on a new connection, which holds the permit. Returns a handle with a stream. The turn passes when the
    /// receiver's settings are known, or with the connection.
    pub(crate) async fn start(
        stream: Stream,
        deadline: Instant,
        turn: Option<OpeningTurn>,
        permit: Permit,
        descriptors: Descriptors,
    ) -> Result<Self, Failure> {
        let handshake = client::Builder::new()
            .enable_push(false)
            .initial_max_send_streams(1)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_reset_streams(8)
            .handshake(stream);
        match timeout_at(deadline, handshake).await {
            Err(_) => Err(no_answer_in_time()),
            Ok(Err(error)) => Err(failure(&error)),
            Ok(Ok((sender, connection))) => {
                let (in_use, unused) = oneshot::channel();
                tokio::spawn(handle_frames(connection, turn, unused, permit));
                let state = State {
                    sender: Some(sender),
                    streams: 1,
                    in_use: Some(in_use),
                    descriptors,
                };
                Ok(Self {
                    connection: Arc::new(Mutex::new(state)),
                    has_stream: true,
                })
            }
        }
    }

    /// A handle without a stream, to be kept for later attempts.
    pub(crate) fn without_stream(&self) -> Self {
        Self {
            connection: Arc::clone(&self.connection),
            has_stream: false,
        }
    }

    /// A handle with a stream, if one is free.
    pub(crate) fn with_stream(&self) -> Option<Self> {
        let mut state = self.connection.lock();
        if !state.is_open() || state.streams >= state.streams_max() {
            return None;
        }
        state.streams += 1;
        Some(Self {
            connection: Arc::clone(&self.connection),
            has_stream: true,
        })
    }

    /// Whether both are handles of one connection.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connection, &other.connection)
    }

    /// Whether further streams may begin.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.lock().is_open()
    }

    /// Whether other handles have streams.
    pub(crate) fn is_used_by_others(&self) -> bool {
        self.connection.lock().streams > usize::from(self.has_stream)
    }

    pub(crate) async fn exchange(
        &mut self,
        request: &AttemptRequest<'_>,
        deadline: Instant,
        phases: &mut Phases,
    ) -> Exchange {
        let begun = Instant::now();
        let head = match build(request) {
            Ok(head) => head,
            Err(error) => {
                let failure = Failure::new(ErrorClass::Internal, "the request cannot be built");
                return Exchange::Failed(failure.with_detail(error.to_string()));
            }
        };
        // Another handle may have ended the connection.
        let Some(sender) = self.connection.lock().sender.clone() else {
            return Exchange::Unanswered(Unanswered::Refused, ended());
        };
        let response = match timeout_at(deadline, send(sender, head, request.body.clone())).await {
            Err(_) => {
                self.end();
                return Exchange::Failed(no_answer_in_time());
            }
            Ok(Err(error)) => {
                let is_of_stream =
                    error.is_reset() && error.is_remote() && error.reason() != Some(Reason::REFUSED_STREAM);
                if !is_of_stream {
                    self.end();
                }
                return unanswered(&error);
            }
            Ok(Ok(response)) => response,
        };
        phases.wait_us = Some(elapsed_us(begun));
        let begun = Instant::now();
        let (record, end) = read(response, deadline).await;
        phases.body_us = Some(elapsed_us(begun));
        if end == BodyEnd::Broken {
            self.end();
        }
        Exchange::Response(record, self.is_reusable())
    }

    /// Lets no further streams begin. The connection closes after those in flight.
    fn end(&self) {
        self.connection.lock().sender = None;
    }

    /// Whether the handle may keep its stream: not if the receiver has lowered its limit since.
    fn is_reusable(&self) -> bool {
        let mut state = self.connection.lock();
        state.is_open() && state.streams <= state.streams_max()
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        if self.has_stream {
            self.connection.lock().end_stream();
        }
    }
}

/// Handles a connection's frames until it ends, and closes its socket before it releases its permit.
async fn handle_frames(
    connection: client::Connection<Stream, Bytes>,
    turn: Option<OpeningTurn>,
    unused: oneshot::Receiver<()>,
    permit: Permit,
) {
    {
        let frames = frames_of(connection, turn);
        tokio::pin!(frames);
        tokio::select! {
            () = frames.as_mut() => {}
            _ = unused => {
                let _ = timeout(CLOSE_TIMEOUT, frames).await;
            }
        }
    }
    drop(permit);
}

/// Handles a connection's frames until it ends. Exchanges in flight get the error that ends it.
async fn frames_of(mut connection: client::Connection<Stream, Bytes>, turn: Option<OpeningTurn>) {
    if let Some(turn) = turn
        && let Some(mut pings) = connection.ping_pong()
    {
        // The receiver sends its settings before anything else, so they are known when it has answered a ping.
        tokio::select! {
            _ = &mut connection => return,
            _ = timeout(SETTINGS_TIMEOUT, pings.ping(Ping::opaque())) => drop(turn),
        }
    }
    // The error was given to the exchanges.
    let _ = connection.await;
}

/// Sends a request and reads the head of its response. A response may come before the whole body was sent.
async fn send(sender: SendRequest<Bytes>, head: Request<()>, body: Bytes) -> Result<Response<RecvStream>, h2::Error> {
    let mut sender = sender.ready().await?;
    let (response, mut sending) = sender.send_request(head, body.is_empty())?;
    // A reference to the connection less, so that it closes when it has ended.
    drop(sender);
    if !body.is_empty() {
        // The library sends it as the receiver's windows allow. It is shared, so waiting takes no memory.
        sending.send_data(body, true)?;
    }
    response.await
}

fn build(request: &AttemptRequest<'_>) -> Result<Request<()>, http::Error> {
    let mut head = Request::post(request.url.as_str()).version(Version::HTTP_2).body(())?;
    let headers = head.headers_mut();
    headers.reserve(request.headers.len() + 1);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    for (name, value) in request.headers {
        headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    Ok(head)
}

/// How a response's body ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyEnd {
    /// It is complete.
    Complete,
    /// It is longer than what is read. The rest of the stream is cancelled.
    TooLong,
    /// It did not arrive in time, or the stream broke.
    Broken,
}

/// Reads a response's body.
async fn read(response: Response<RecvStream>, deadline: Instant) -> (ResponseRecord, BodyEnd) {
    let (head, mut incoming) = response.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let mut record = ResponseRecord::head(head.status.as_u16(), headers);
    let mut body = Vec::new();
    let end = loop {
        if body.len() >= BODY_READ_MAX {
            break BodyEnd::TooLong;
        }
        match timeout_at(deadline, incoming.data()).await {
            Ok(None) => break BodyEnd::Complete,
            Ok(Some(Ok(data))) => {
                // Fails only if the stream has ended.
                let _ = incoming.flow_control().release_capacity(data.len());
                body.extend_from_slice(&data);
            }
            // The receiver needs no more of the request (RFC 9113, section 8.1).
            Ok(Some(Err(error))) if error.reason() == Some(Reason::NO_ERROR) => break BodyEnd::Complete,
            Ok(Some(Err(_))) | Err(_) => break BodyEnd::Broken,
        }
    };
    record.truncated = body.len() > BODY_KEPT_MAX || end != BodyEnd::Complete;
    body.truncate(BODY_KEPT_MAX);
    record.body = Bytes::from(body);
    (record, end)
}

/// Classifies the end of a request without a response.
fn unanswered(error: &h2::Error) -> Exchange {
    let failure = failure(error);
    if error.is_remote() && error.reason() == Some(Reason::HTTP_1_1_REQUIRED) {
        return Exchange::Unanswered(Unanswered::Http1Required, failure);
    }
    // The library reports a GOAWAY only for streams above its last one, and for requests that were not sent.
    let is_refused = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && is_refused {
        Exchange::Unanswered(Unanswered::Refused, failure)
    } else if error.is_io() {
        Exchange::Unanswered(Unanswered::Closed, failure)
    } else {
        Exchange::Failed(failure)
    }
}

fn ended() -> Failure {
    Failure::new(ErrorClass::Reset, "the connection ended before the request was sent")
}

fn no_answer_in_time() -> Failure {
    Failure::new(ErrorClass::Timeout, "the receiver did not answer in time")
}

fn failure(error: &h2::Error) -> Failure {
    let reason = error.reason().filter(|_| error.is_remote());
    let (class, message) = match reason {
        Some(Reason::REFUSED_STREAM) => (
            ErrorClass::Reset,
            "the receiver refused the request without processing it (REFUSED_STREAM)".to_owned(),
        ),
        Some(_) if error.is_go_away() => (
            ErrorClass::Reset,
            "the receiver ended the connection without processing the request (GOAWAY)".to_owned(),
        ),
        Some(reason) => (
            ErrorClass::Reset,
            format!("the receiver reset the request's stream: {}", reason.description()),
        ),
        None if error.is_io() => (
            ErrorClass::Reset,
            "the receiver closed the connection before it answered".to_owned(),
        ),
        None => (
            ErrorClass::InvalidResponse,
            "the response is not valid HTTP/2".to_owned(),
        ),
    };
    Failure::new(class, message).with_detail(error.to_string())
}
