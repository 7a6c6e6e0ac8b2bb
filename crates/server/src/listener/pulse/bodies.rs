//! The bodies of requests and answers, which record whether we or the peer are responsible for the current wait.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use axum::body::{Body, Bytes};
use http::Response;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::{Exchange, Patience, Pulse};

/// Maximum size of an answer's pieces: the next one is produced when the peer has read most of the previous one, which
/// proves that it reads.
const PIECE_BYTES: usize = 16 << 10;

impl Exchange {
    /// Wraps the request's body.
    pub(in crate::listener) fn question(&self, body: Incoming) -> Question {
        Question {
            body,
            pulse: Arc::clone(&self.pulse),
            number: self.number,
        }
    }

    /// Wraps the answer.
    pub(in crate::listener) fn answer(self, mut response: Response<Body>, patience: Patience) -> Response<Answer> {
        let kept = response.extensions_mut().remove::<UntilSent>();
        self.note(Some(Instant::now()));
        response.map(|body| Answer {
            body,
            rest: Bytes::new(),
            rest_until: None,
            patience,
            exchange: self,
            _kept: kept,
        })
    }
}

/// The body of a request. While its reader needs more bytes than have arrived, the request waits for the peer.
pub(crate) struct Question {
    body: Incoming,
    pulse: Arc<Pulse>,
    number: u64,
}

impl Question {
    fn note(&self, waits: bool) {
        let mut state = self.pulse.state.lock();
        let in_flight = state.in_flight.get_mut(&self.number);
        // Once there is an answer, the answer is waited for.
        if let Some(in_flight) = in_flight.filter(|in_flight| !in_flight.is_answered) {
            let since = || in_flight.waits_since.unwrap_or_else(Instant::now);
            in_flight.waits_since = waits.then(since);
        }
    }
}

impl HttpBody for Question {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.note(frame.is_pending());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.note(false);
    }
}

/// A value that an answer holds until it was sent or abandoned. Put it into the response's extensions.
#[derive(Clone)]
pub(crate) struct UntilSent {
    _held: Arc<dyn Send + Sync>,
}

impl UntilSent {
    pub(crate) fn new(held: impl Send + Sync + 'static) -> Self {
        Self { _held: Arc::new(held) }
    }
}

/// The body of an answer.
pub(in crate::listener) struct Answer {
    body: Body,
    /// The rest of a large frame.
    rest: Bytes,
    /// The deadline for reading it.
    rest_until: Option<Instant>,
    patience: Patience,
    exchange: Exchange,
    _kept: Option<UntilSent>,
}

impl Answer {
    /// Whether a steady but slow reader would take too long.
    fn is_late(&self) -> bool {
        self.rest_until.is_some_and(|until| Instant::now() >= until)
    }

    fn piece(&mut self) -> Bytes {
        if self.rest_until.is_none() {
            return std::mem::take(&mut self.rest);
        }
        // The piece in flight is a copy, so that it does not keep the whole frame in memory.
        Bytes::copy_from_slice(&self.rest.split_to(self.rest.len().min(PIECE_BYTES)))
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                other => {
                    // We have nothing to send now.
                    self.exchange.note(None);
                    return other;
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    let is_large = data.len() > PIECE_BYTES;
                    self.rest_until = is_large.then(|| Instant::now() + self.patience.for_reading(data.len()));
                    self.rest = data;
                }
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        } else if self.is_late() {
            return Poll::Ready(Some(Err(axum::Error::new("the answer is read too slowly"))));
        }
        let piece = self.piece();
        self.exchange.note(Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures::{FutureExt as _, future::poll_fn};

    use super::{
        super::{Pulse, Trust},
        *,
    };

    fn answer(pulse: &Arc<Pulse>, progress: Duration) -> Answer {
        let patience = Patience {
            head: progress,
            idle: progress,
            stranger_idle: progress,
            progress,
            rate: u32::MAX,
        };
        let body = Body::from(vec![b'x'; 2 * PIECE_BYTES]);
        pulse
            .begin(Trust::Admitted)
            .answer(Response::new(body), patience)
            .into_body()
    }

    /// The next piece of an answer that waits for nothing.
    fn next(answer: &mut Answer) -> Option<Result<Frame<Bytes>, axum::Error>> {
        let next = poll_fn(|cx| Pin::new(&mut *answer).poll_frame(cx));
        next.now_or_never().flatten()
    }

    #[test]
    fn a_large_answer_has_a_deadline() {
        let pulse = Arc::new(Pulse::default());
        let mut slow = answer(&pulse, Duration::ZERO);
        assert!(next(&mut slow).is_some_and(|piece| piece.is_ok()));
        assert!(next(&mut slow).is_some_and(|piece| piece.is_err()), "its time is over");
        let mut read = answer(&pulse, Duration::from_secs(3_600));
        assert!((0..2).all(|_| next(&mut read).is_some_and(|piece| piece.is_ok())));
        assert!(next(&mut read).is_none());
    }

    #[test]
    fn a_request_that_waits_for_us_is_not_idle() {
        let pulse = Arc::new(Pulse::default());
        let ours = pulse.begin(Trust::Admitted);
        assert_eq!(pulse.rests_since(), None);
        let unread = answer(&pulse, Duration::ZERO);
        assert_eq!(pulse.rests_since(), None, "one of two is ours to do");
        drop(ours);
        assert!(pulse.rests_since().is_some(), "nobody reads the other");
        drop(unread);
        assert!(pulse.rests_since().is_some());
    }
}
