//! What happens on a connection: which requests are under way, and for whom each of them waits. Whoever serves the connection reads
//! here when it has been idle, or an answer has not been read, for too long.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::body::{Body, Bytes};
use http::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};

/// An answer is handed on in pieces of this size at most: the next one is asked for when the reader has taken most of what went
/// before, which is how we know that it reads.
const PIECE_BYTES: usize = 16 << 10;

/// How long a connection may do nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until the head of its first request is there.
    pub(crate) head: Duration,
    /// Between requests.
    pub(crate) idle: Duration,
    /// Without taking the next piece of an answer.
    pub(crate) reading: Duration,
}

/// What a connection did for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing.
    Idle,
    /// It asked, and does not read the answer.
    Unread,
}

/// See the module.
#[derive(Default)]
pub(super) struct Pulse {
    state: Mutex<State>,
    evicted: Notify,
}

struct State {
    /// The requests under way, by number; for those whose answer waits to be read, since when.
    under_way: HashMap<u64, Option<Instant>>,
    begun: u64,
    /// When the last one ended, or the connection began.
    rests_since: Instant,
}

impl Default for State {
    fn default() -> Self {
        Self {
            under_way: HashMap::new(),
            begun: 0,
            rests_since: Instant::now(),
        }
    }
}

impl Pulse {
    /// Notes that a request came.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        let mut state = self.state.lock();
        let number = state.begun;
        state.begun += 1;
        state.under_way.insert(number, None);
        Exchange {
            pulse: Arc::clone(self),
            number,
        }
    }

    /// Since when nothing is under way.
    pub(super) fn rests_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        state.under_way.is_empty().then_some(state.rests_since)
    }

    /// Tells whoever serves the connection that its place is needed.
    pub(super) fn evict(&self) {
        self.evicted.notify_one();
    }

    /// Waits until the connection's place is needed.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Waits until the connection tries our patience, and tells how.
    pub(super) async fn overdue(&self, patience: Patience) -> Overdue {
        // What begins while this sleeps is overdue no earlier than that.
        let shortest = patience.head.min(patience.idle).min(patience.reading);
        loop {
            let left = match self.waits_for(patience) {
                Some((what, left)) if left.is_zero() => return what,
                Some((_, left)) => left.min(shortest),
                None => shortest,
            };
            sleep(left).await;
        }
    }

    /// What would be overdue next, and in what time.
    fn waits_for(&self, patience: Patience) -> Option<(Overdue, Duration)> {
        let state = self.state.lock();
        if state.under_way.is_empty() {
            let limit = if state.begun == 0 { patience.head } else { patience.idle };
            return Some((Overdue::Idle, limit.saturating_sub(state.rests_since.elapsed())));
        }
        let since = state.under_way.values().flatten().min()?;
        Some((Overdue::Unread, patience.reading.saturating_sub(since.elapsed())))
    }
}

/// A request that is under way, until its answer was handed on or given up.
pub(super) struct Exchange {
    pulse: Arc<Pulse>,
    number: u64,
}

impl Exchange {
    /// The answer as it is to be sent.
    pub(super) fn answer(self, mut response: Response<Body>) -> Response<Answer> {
        let kept = response.extensions_mut().remove::<UntilSent>();
        self.note(Some(Instant::now()));
        response.map(|body| Answer {
            body,
            rest: Bytes::new(),
            exchange: self,
            _kept: kept,
        })
    }

    fn note(&self, waits_since: Option<Instant>) {
        self.pulse.state.lock().under_way.insert(self.number, waits_since);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.pulse.state.lock();
        state.under_way.remove(&self.number);
        if state.under_way.is_empty() {
            state.rests_since = Instant::now();
        }
    }
}

/// Something that an answer holds until it was sent or given up. Put it into the response's extensions.
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
pub(super) struct Answer {
    body: Body,
    /// What was not handed on yet of a large frame.
    rest: Bytes,
    exchange: Exchange,
    _kept: Option<UntilSent>,
}

impl Answer {
    fn piece(&mut self) -> Bytes {
        // What is in flight is a copy, so that it does not hold on to all of which it is a part.
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
                    // It is we who have nothing to say now.
                    self.exchange.note(None);
                    return other;
                }
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
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
