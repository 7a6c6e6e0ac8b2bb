//! HTTP/2, if a receiver offers it: one stream at a time over its own connection.
//!
//! A receiver can refuse a request without processing it (RFC 9113, section 8.7): it resets the stream with
//! REFUSED_STREAM, or sends GOAWAY with a lower stream. Such a request is [`Unanswered::Refused`]: it is repeated. One that
//! is refused with HTTP_1_1_REQUIRED is repeated over HTTP/1.1.

use bytes::Bytes;
use futures::{FutureExt as _, future::poll_fn};
use h2::{
    Reason, RecvStream,
    client::{self, SendRequest},
};
use hookwright_domain::outcome::ErrorClass;
use http::{
    Request, Response, Version,
    header::{CONTENT_LENGTH, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::{AttemptRequest, BODY_KEPT_MAX, BODY_READ_MAX, Exchange, Failure, Phases, ResponseRecord, Unanswered};
use crate::connector::{Stream, elapsed_us};

const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;

/// A connection whose frames a separate task handles. The task ends with it.
pub(crate) struct Http2 {
    sender: SendRequest<Bytes>,
}

impl Http2 {
    pub(crate) async fn start(stream: Stream, deadline: Instant) -> Result<Self, Failure> {
        let handshake = client::Builder::new()
            .enable_push(false)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_concurrent_reset_streams(8)
            .handshake(TokioIo::new(stream));
        match timeout_at(deadline, handshake).await {
            Err(_) => Err(no_answer_in_time()),
            Ok(Err(error)) => Err(failure(&error)),
            Ok(Ok((sender, connection))) => {
                // The exchange in flight gets the error that ends the connection.
                tokio::spawn(async move { drop(connection.await) });
                Ok(Self { sender })
            }
        }
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
        let response = match timeout_at(deadline, self.send(head, request.body.clone())).await {
            Err(_) => return Exchange::Failed(no_answer_in_time()),
            Ok(Err(error)) => return unanswered(&error),
            Ok(Ok(response)) => response,
        };
        phases.wait_us = Some(elapsed_us(begun));
        let begun = Instant::now();
        let (record, complete) = read(response, deadline).await;
        phases.body_us = Some(elapsed_us(begun));
        Exchange::Response(record, complete && !self.is_closed())
    }

    /// Sends a request and reads the head of its response. A response may come before the whole body was sent.
    async fn send(&self, head: Request<()>, body: Bytes) -> Result<Response<RecvStream>, h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut sending) = sender.send_request(head, body.is_empty())?;
        if !body.is_empty() {
            // The library sends it as the receiver's windows allow. It is shared, so waiting takes no memory.
            sending.send_data(body, true)?;
        }
        response.await
    }

    /// Whether the connection ended, or the receiver sent GOAWAY.
    fn is_closed(&mut self) -> bool {
        let ready = poll_fn(|context| self.sender.poll_ready(context)).now_or_never();
        matches!(ready, Some(Err(_)))
    }
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

/// Reads a response's body. Returns whether it is complete.
async fn read(response: Response<RecvStream>, deadline: Instant) -> (ResponseRecord, bool) {
    let (head, mut incoming) = response.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let mut record = ResponseRecord::head(head.status.as_u16(), headers);
    let mut body = Vec::new();
    let mut complete = false;
    while body.len() < BODY_READ_MAX {
        match timeout_at(deadline, incoming.data()).await {
            Ok(None) => {
                complete = true;
                break;
            }
            Ok(Some(Ok(data))) => {
                // Fails only if the stream has ended.
                let _ = incoming.flow_control().release_capacity(data.len());
                body.extend_from_slice(&data);
            }
            // The receiver needs no more of the request (RFC 9113, section 8.1).
            Ok(Some(Err(error))) if error.reason() == Some(Reason::NO_ERROR) => {
                complete = true;
                break;
            }
            Ok(Some(Err(_))) | Err(_) => break,
        }
    }
    record.truncated = body.len() > BODY_KEPT_MAX || !complete;
    body.truncate(BODY_KEPT_MAX);
    record.body = Bytes::from(body);
    (record, complete)
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
