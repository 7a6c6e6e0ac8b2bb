//! The transport of every call: token, deadline, and safe retries.

use std::{
    error::Error as StdError,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::AUTHORIZATION, request::Parts};
use http_body_util::{BodyExt as _, Collected, Full, LengthLimitError, Limited};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, body::Body, transport::Channel};
use tower::{Service, ServiceExt as _};

use crate::{
    calls::Kind,
    retry::{self, RetryPolicy},
    tls::{Noticed, TlsFault},
};

const TIMEOUT_HEADER: &str = "grpc-timeout";
const TIMEOUT_SLACK: Duration = Duration::from_millis(20);
/// Overhead of a message on the wire.
const FRAMING_BYTES: usize = 1 << 10;

/// Marks a request as safe to repeat, so that it is retried like a read: `request.extensions_mut().insert(Repeatable)`. Use
/// it for publish calls whose events all carry a request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeatable;

/// The transport of the generated clients: adds the token and a deadline, and retries calls if that is safe. A lost or
/// refused connection is UNAVAILABLE. Cheap to clone; all clones share one connection.
///
/// Use [`tonic::Request::set_timeout`] for a call with another timeout.
#[derive(Clone, Debug)]
pub struct Transport {
    channel: Channel,
    shared: Arc<Settings>,
}

#[derive(Debug)]
pub(crate) struct Settings {
    /// Marked as sensitive, so that it is neither printed nor indexed by header compression.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) timeout: Duration,
    /// `None` disables retries.
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) message_bytes_max: usize,
    pub(crate) noticed: Noticed,
}

impl Settings {
    /// The status of a call without an answer, with the finding about its connection.
    fn unreached(&self, error: Box<dyn StdError + Send + Sync>) -> Status {
        match self.noticed.get() {
            Some(fault) if TlsFault::of(&*error).is_none() => broken(Box::new(fault)),
            _ => broken(error),
        }
    }
}

impl Transport {
    pub(crate) fn new(channel: Channel, settings: Settings) -> Self {
        Self {
            channel,
            shared: Arc::new(settings),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared
    }

    async fn stream(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let deadline = Instant::now() + self.shared.timeout;
        match timeout_at(deadline, self.channel.oneshot(request)).await {
            Ok(answered) => answered.map_err(|error| self.shared.unreached(error.into())),
            // A stream is long-lived: its user reopens it.
            Err(_) => Err(Status::unavailable(format!(
                "the stream did not open within {:?}",
                self.shared.timeout
            ))),
        }
    }

    async fn unary(self, request: Request<Body>, repeat: bool) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let allowed = asked_timeout(&parts.headers).unwrap_or(self.shared.timeout);
        let deadline = Instant::now() + allowed;
        let body = body.collect().await?.to_bytes();
        let mut backoff = self.shared.retry.filter(|_| repeat).map(RetryPolicy::backoff);
        let mut last = None;
        loop {
            let attempt = self.attempt(&parts, body.clone(), deadline);
            let Ok(outcome) = timeout_at(deadline, attempt).await else {
                return Err(late(allowed, last));
            };
            let status = failure(&outcome).filter(retry::is_transient);
            let (Some(status), Some(backoff)) = (status, &mut backoff) else {
                return outcome.map(|response| response.map(Body::new));
            };
            let pause = backoff.pause(retry::delay(&status));
            if Instant::now() + pause >= deadline {
                return outcome.map(|response| response.map(Body::new));
            }
            last = Some(status);
            sleep(pause).await;
        }
    }

    /// One try, including the whole answer: a failure while it is read can be retried as well.
    async fn attempt(
        &self,
        parts: &Parts,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Response<Collected<Bytes>>, Status> {
        let mut request = Request::from_parts(parts.clone(), Body::new(Full::new(body)));
        let left = deadline.saturating_duration_since(Instant::now());
        // The channel has the same timeout; the timer around all tries should expire first, because it has the earlier
        // error.
        let told = left.saturating_add(TIMEOUT_SLACK);
        request.headers_mut().insert(TIMEOUT_HEADER, timeout_value(told));
        let answered = self.channel.clone().oneshot(request).await;
        let answered = answered.map_err(|error| self.shared.unreached(error.into()));
        let (parts, body) = answered?.into_parts();
        let limit = self.shared.message_bytes_max.saturating_add(FRAMING_BYTES);
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(Response::from_parts(parts, body)),
            Err(error) if error.is::<LengthLimitError>() => Err(Status::out_of_range(format!(
                "the answer is larger than {} bytes; raise the client's message_bytes_max, or request less",
                self.shared.message_bytes_max
            ))),
            Err(error) => Err(broken(error)),
        }
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Each call waits for its own turn on the channel.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(authorization) = &self.shared.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let this = self.clone();
        let kind = Kind::of(request.uri().path());
        if kind == Kind::Stream {
            return Box::pin(this.stream(request));
        }
        let repeat = kind == Kind::Read || request.extensions().get::<Repeatable>().is_some();
        Box::pin(this.unary(request, repeat))
    }
}

/// The status of a failure.
fn failure(outcome: &Result<Response<Collected<Bytes>>, Status>) -> Option<Status> {
    let response = match outcome {
        Ok(response) => response,
        Err(status) => return Some(status.clone()),
    };
    let trailers = response.body().trailers();
    let status = Status::from_header_map(response.headers()).or_else(|| Status::from_header_map(trailers?));
    status.filter(|status| status.code() != Code::Ok)
}

/// No answer, or an incomplete one: UNAVAILABLE, whatever the reason.
pub(crate) fn broken(error: Box<dyn StdError + Send + Sync>) -> Status {
    if let Some(fault) = TlsFault::of(&*error) {
        let mut status = Status::unavailable(format!("cannot connect: {fault}"));
        status.set_source(error.into());
        return status;
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    let mut status = Status::unavailable(text);
    status.set_source(error.into());
    status
}

/// A stream that broke has no status of the server: the library's status becomes UNAVAILABLE.
pub(crate) fn lost(status: Status) -> Status {
    if StdError::source(&status).is_none() {
        return status;
    }
    let mut unavailable = Status::unavailable(status.message());
    unavailable.set_source(Arc::new(status));
    unavailable
}

fn late(allowed: Duration, last: Option<Status>) -> Status {
    let before = last.map(|status| format!("; before that: {}", status.message()));
    Status::deadline_exceeded(format!("no answer within {allowed:?}{}", before.unwrap_or_default()))
}

/// The caller's deadline, see <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.
fn asked_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT_HEADER)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.checked_mul(3_600)?),
        "M" => Duration::from_secs(number.checked_mul(60)?),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// At most eight digits, as the protocol requires: milliseconds for 27 hours, seconds beyond.
fn timeout_value(left: Duration) -> HeaderValue {
    let millis = left.as_millis().max(1);
    let text = if millis < 100_000_000 {
        format!("{millis}m")
    } else {
        format!("{}S", left.as_secs().min(99_999_999))
    };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("1m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_goes_over_the_wire_and_back() {
        for left in [
            Duration::from_millis(1),
            Duration::from_secs(30),
            Duration::from_secs(200_000),
        ] {
            let value = timeout_value(left);
            assert!(value.len() <= 9, "{value:?}");
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(TIMEOUT_HEADER), value)]);
            assert_eq!(asked_timeout(&headers), Some(left));
        }
        let mut request = tonic::Request::new(());
        request.set_timeout(Duration::from_secs(90));
        let headers = request.metadata().clone().into_headers();
        assert_eq!(asked_timeout(&headers), Some(Duration::from_secs(90)));
        for bad in ["", "m", "1x", "-1S", "99999999999999999999S"] {
            let value = HeaderValue::from_static(bad);
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(TIMEOUT_HEADER), value)]);
            assert_eq!(asked_timeout(&headers), None, "{bad}");
        }
    }

    #[test]
    fn a_broken_connection_is_unavailable_and_says_why() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let status = broken(Box::new(refused));
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "refused"));
        assert!(StdError::source(&status).is_some());
    }
}
