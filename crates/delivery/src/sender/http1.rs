//! HTTP/1.1 (RFC 9112) with hyper, for webhooks: one POST at a time over a kept-alive connection.
//!
//! | module | addition to hyper |
//! | --- | --- |
//! | [`client`] | a connection without a task: the attempt polls it |
//! | [`request`] | header names in the case and order of the contract |
//! | [`tap`] | the bytes of a head, and responses of receivers that stopped reading |
//! | [`salvage`] | the status of a head that hyper rejects |
//!
//! Everything is bounded: a response's head by 64 KiB and 128 header lines, interim responses by 100, the body by [`super::body`],
//! and all of it by the attempt's deadline. A status that arrived in time counts, whatever the other header lines and the body are.

mod client;
mod no_head;
mod replay;
mod request;
mod salvage;
mod tap;
mod wake;

use bytes::Bytes;
use hookwright_domain::outcome::ErrorClass;
use http::{
    HeaderMap, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, client::conn::http1::Builder};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};

use self::{
    client::Client,
    no_head::NoHead,
    tap::{HEAD_BYTES_MAX, Observer, Tap},
};
use super::{AttemptRequest, Exchange, Failure, Phases, ResponseRecord, body};
use crate::connector::elapsed_us;

const INTERIM_MAX: usize = 100;
/// A request with a longer body is not repeated after sending it has failed, because the receiver may have processed a part.
const BODY_REPEATED_MAX: usize = 16 << 10;

/// A connection over a stream.
pub(crate) struct Http1<S: AsyncRead + AsyncWrite + Unpin> {
    /// `None` once the connection cannot be used any more.
    client: Option<Client<Tap<S>>>,
    observer: Observer,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    pub(crate) async fn start(stream: S) -> Self {
        let observer = Observer::default();
        Self {
            client: start(Tap::new(stream, observer.clone())).await,
            observer,
        }
    }

    /// Sends a request and reads its response.
    pub(crate) async fn exchange(
        &mut self,
        attempt: &AttemptRequest<'_>,
        deadline: Instant,
        phases: &mut Phases,
    ) -> Exchange {
        let begun = Instant::now();
        let request = match request::build(attempt, &self.observer) {
            Ok(request) => request,
            Err(error) => {
                let failure = Failure::new(ErrorClass::Internal, "the request cannot be built");
                return Exchange::Failed(failure.with_detail(error.to_string()));
            }
        };
        self.observer.expect_head();
        match timeout_at(deadline, self.send(request)).await {
            Err(_) => not_in_time(),
            Ok(Ok(response)) => {
                phases.wait_us = Some(elapsed_us(begun));
                self.finish(response, deadline, phases).await
            }
            Ok(Err(error)) => {
                phases.wait_us = Some(elapsed_us(begun));
                let is_long = attempt.body.len() > BODY_REPEATED_MAX;
                // Rare, and large: on the heap, so that the other exchanges stay small.
                Box::pin(self.recover(error, is_long, deadline, phases)).await
            }
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Option<hyper::Error>> {
        match &mut self.client {
            Some(client) => client.send(request, || !self.observer.is_flooded()).await,
            None => Err(None),
        }
    }

    /// Reads the body, and decides whether the connection can be used again.
    async fn finish(&mut self, response: Response<Incoming>, deadline: Instant, phases: &mut Phases) -> Exchange {
        let Some(client) = &mut self.client else {
            return NoHead::closed().into_exchange();
        };
        if self.observer.is_flooded() {
            return NoHead::flooded().into_exchange();
        }
        let is_sent = self.observer.has_head();
        let version = response.version();
        let (record, headers, complete) = read(client, response, deadline, phases).await;
        let trusted = is_sent && complete && record.status != 101 && is_framed_clearly(record.status, &headers);
        drop(headers);
        let reusable = trusted && client.is_idle();
        if reusable && version == Version::HTTP_10 {
            self.restart().await;
        }
        Exchange::Response(record, reusable)
    }

    /// Starts a new hyper connection over the stream. The old one would continue in HTTP/1.0, with other headers.
    async fn restart(&mut self) {
        if let Some(client) = self.client.take() {
            let (stream, _) = client.into_parts();
            self.client = start(stream).await;
        }
    }

    /// The result of an exchange in which hyper found no response.
    async fn recover(
        &mut self,
        error: Option<hyper::Error>,
        is_long: bool,
        deadline: Instant,
        phases: &mut Phases,
    ) -> Exchange {
        let begun = Instant::now();
        let Some((tap, unread)) = self.client.take().map(Client::into_parts) else {
            return NoHead::closed().into_exchange();
        };
        if !error.as_ref().is_some_and(hyper::Error::is_parse) {
            return NoHead::of(error, &self.observer.seen(), !unread.is_empty(), is_long).into_exchange();
        }
        let (stream, came) = tap.into_parts();
        match timeout_at(deadline, salvage::read_again(&came, stream)).await {
            Err(_) => not_in_time(),
            Ok(Err(no_head)) => no_head.into_exchange(),
            Ok(Ok((response, mut client))) => {
                *phases.wait_us.get_or_insert_default() += elapsed_us(begun);
                let (record, ..) = read(&mut client, response, deadline, phases).await;
                Exchange::Response(record, false)
            }
        }
    }
}

async fn start<S: AsyncRead + AsyncWrite + Unpin>(stream: Tap<S>) -> Option<Client<Tap<S>>> {
    // hyper opens it without sending or reading anything: that cannot fail.
    Client::start(Builder::new().max_buf_size(HEAD_BYTES_MAX), stream)
        .await
        .ok()
}

/// Reads a response: its record, its headers, and whether its body is complete.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<S>,
    response: Response<Incoming>,
    deadline: Instant,
    phases: &mut Phases,
) -> (ResponseRecord, HeaderMap, bool) {
    let begun = Instant::now();
    let (head, incoming) = response.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let mut record = ResponseRecord::head(head.status.as_u16(), headers);
    let complete = body::read(&mut client.body(incoming), deadline, &mut record).await;
    phases.body_us = Some(elapsed_us(begun));
    (record, head.headers, complete)
}

/// Whether a head defines the end of its body without ambiguity (RFC 9112, section 6.3). hyper accepts more than that.
fn is_framed_clearly(status: u16, headers: &HeaderMap) -> bool {
    if status < 200 || status == 204 || status == 304 {
        return true;
    }
    let (mut lengths, mut codings) = (
        headers.get_all(CONTENT_LENGTH).iter(),
        headers.get_all(TRANSFER_ENCODING).iter(),
    );
    match (lengths.next(), lengths.next(), codings.next(), codings.next()) {
        (Some(length), None, None, None) => length.as_bytes().iter().all(u8::is_ascii_digit),
        (None, None, Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

fn not_in_time() -> Exchange {
    Exchange::Failed(Failure::new(ErrorClass::Timeout, "the receiver did not answer in time"))
}

#[cfg(test)]
mod tests;
