//! HTTP/2, if a receiver offers it: one stream at a time over its own connection.

use std::io;

use bytes::Bytes;
use hookwright_domain::outcome::ErrorClass;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    header::{CONTENT_LENGTH, HeaderName, HeaderValue},
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use super::{AttemptRequest, BODY_KEPT_MAX, BODY_READ_MAX, Exchange, Failure, Phases, ResponseRecord};
use crate::connector::{Stream, elapsed_us};

const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;

/// A connection whose frames a separate task handles. The task ends with it.
pub(crate) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
}

impl Http2 {
    pub(crate) async fn start(stream: Stream, deadline: Instant) -> Result<Self, Failure> {
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_concurrent_reset_streams(8)
            .handshake(stream);
        match timeout_at(deadline, handshake).await {
            Err(_) => Err(Failure::new(ErrorClass::Timeout, "the receiver did not answer in time")),
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
        let http_request = match build(request) {
            Ok(request) => request,
            Err(error) => {
                let failure = Failure::new(ErrorClass::Internal, "the request cannot be built");
                return Exchange::Failed(failure.with_detail(error.to_string()));
            }
        };
        let sent = async {
            self.sender.ready().await?;
            self.sender.send_request(http_request).await
        };
        let response = match timeout_at(deadline, sent).await {
            Err(_) => {
                return Exchange::Failed(Failure::new(ErrorClass::Timeout, "the receiver did not answer in time"));
            }
            // The receiver refused it before processing it, so the request may be repeated on a new connection.
            Ok(Err(error)) if error.is_closed() || error.is_canceled() => return Exchange::Closed(failure(&error)),
            Ok(Err(error)) => return Exchange::Failed(failure(&error)),
            Ok(Ok(response)) => response,
        };
        phases.wait_us = Some(elapsed_us(begun));
        let begun = Instant::now();
        let (record, complete) = read(response, deadline).await;
        phases.body_us = Some(elapsed_us(begun));
        Exchange::Response(record, complete && !self.sender.is_closed())
    }
}

fn build(request: &AttemptRequest<'_>) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut http_request = Request::post(request.url.as_str()).body(Full::new(request.body.clone()))?;
    let headers = http_request.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    for (name, value) in request.headers {
        headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    Ok(http_request)
}

async fn read(response: Response<Incoming>, deadline: Instant) -> (ResponseRecord, bool) {
    let (head, mut incoming) = response.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let mut record = ResponseRecord::head(head.status.as_u16(), headers);
    let mut body = Vec::new();
    let mut complete = false;
    while body.len() < BODY_READ_MAX {
        match timeout_at(deadline, incoming.frame()).await {
            Ok(None) => {
                complete = true;
                break;
            }
            Ok(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    body.extend_from_slice(data);
                }
            }
            Ok(Some(Err(_))) | Err(_) => break,
        }
    }
    record.truncated = body.len() > BODY_KEPT_MAX || !complete;
    body.truncate(BODY_KEPT_MAX);
    record.body = Bytes::from(body);
    (record, complete)
}

fn failure(error: &hyper::Error) -> Failure {
    let io = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    let (class, message) = if io.is_some() || error.is_closed() || error.is_canceled() {
        (
            ErrorClass::Reset,
            "the receiver closed the connection before it answered",
        )
    } else {
        (ErrorClass::InvalidResponse, "the response is not valid HTTP/2")
    };
    let cause = std::error::Error::source(error)
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    Failure::new(class, message).with_detail(format!("{error}{cause}"))
}
