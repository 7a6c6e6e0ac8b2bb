//! Tracks the requests in flight on one connection, and whether we or the peer are responsible for the current wait.
//!
//! - The connection's task learns here when a timeout of [`Patience`] has expired: idle, or stalled.
//! - [`super::slots`] selects the connection to evict here when all slots are taken.
//! - A listener that authenticates requests reports the outcome with the request's [`Ticket`]. A connection without an
//!   admitted request is evicted first, and an admitted stream may stay silent.

mod bodies;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};

pub(crate) use self::bodies::{Question, UntilSent};

/// The timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until the head of its first request has arrived.
    pub(crate) head: Duration,
    /// Between requests, after one was admitted.
    pub(crate) idle: Duration,
    /// Between requests, while none was admitted.
    pub(crate) stranger_idle: Duration,
    /// Without receiving more of a request, or accepting the next piece of an answer.
    pub(crate) progress: Duration,
    /// Minimum rate in bytes per second of a large answer, averaged over the whole answer.
    pub(crate) rate: u32,
}

impl Patience {
    /// Time to read a number of bytes at the minimum rate.
    fn for_reading(self, bytes: usize) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.progress + Duration::from_secs(bytes / u64::from(self.rate.max(1)))
    }
}

/// The expired timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Idle.
    Idle,
    /// It does not send the rest of a request, or does not read the answer.
    Stalled,
}

/// See the module.
#[derive(Default)]
pub(super) struct Pulse {
    state: Mutex<State>,
    evicted: Notify,
}

struct State {
    /// The requests in flight, by number.
    in_flight: HashMap<u64, InFlight>,
    begun: u64,
    /// When the last one ended, or the connection began.
    rests_since: Instant,
    /// Whether a request was ever admitted.
    is_known: bool,
}

/// The trust of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Not authenticated: its connection may be evicted while it is in flight.
    Stranger,
    /// Admitted.
    Admitted,
    /// Admitted, and a stream: both ends may be silent without a limit.
    Stream,
}

/// A request in flight.
struct InFlight {
    begun: Instant,
    trust: Trust,
    /// Whether there is an answer.
    is_answered: bool,
    /// Since when it waits for the peer: to send the rest of the request, or to read more of the answer.
    waits_since: Option<Instant>,
}

impl InFlight {
    /// Since when the peer is responsible for the wait. For a request this begins at its start: an occasional byte changes
    /// nothing.
    fn peer_waited_for_since(&self) -> Option<Instant> {
        match self.trust {
            Trust::Stranger => return Some(self.begun),
            Trust::Admitted => {}
            Trust::Stream => return None,
        }
        let since = self.waits_since?;
        Some(if self.is_answered { since } else { self.begun })
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            in_flight: HashMap::new(),
            begun: 0,
            rests_since: Instant::now(),
            is_known: false,
        }
    }
}

impl Pulse {
    /// Records a new request.
    pub(super) fn begin(self: &Arc<Self>, trust: Trust) -> Exchange {
        let mut state = self.state.lock();
        state.is_known |= trust != Trust::Stranger;
        let number = state.begun;
        state.begun += 1;
        let in_flight = InFlight {
            begun: Instant::now(),
            trust,
            is_answered: false,
            waits_since: None,
        };
        state.in_flight.insert(number, in_flight);
        Exchange {
            pulse: Arc::clone(self),
            number,
        }
    }

    /// Whether a request was ever admitted on the connection.
    pub(super) fn is_known(&self) -> bool {
        self.state.lock().is_known
    }

    /// Whether an admitted stream is in flight.
    pub(super) fn serves_streams(&self) -> bool {
        let state = self.state.lock();
        let mut in_flight = state.in_flight.values();
        in_flight.any(|in_flight| in_flight.trust == Trust::Stream)
    }

    /// Since when we have nothing to do: no request is in flight, or all wait for the peer.
    pub(super) fn rests_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        let mut since = None;
        for in_flight in state.in_flight.values() {
            since = since.max(Some(in_flight.peer_waited_for_since()?));
        }
        Some(since.unwrap_or(state.rests_since))
    }

    /// Notifies the connection's task that its slot is needed.
    pub(super) fn evict(&self) {
        self.evicted.notify_one();
    }

    /// Waits until the connection's slot is needed.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Waits until a timeout expires, and returns which.
    pub(super) async fn overdue(&self, patience: Patience) -> Overdue {
        // A request that begins during this sleep expires no earlier.
        let idle = patience.idle.min(patience.stranger_idle);
        let shortest = patience.head.min(idle).min(patience.progress);
        loop {
            let left = match self.waits_for(patience) {
                Some((what, left)) if left.is_zero() => return what,
                Some((_, left)) => left.min(shortest),
                None => shortest,
            };
            sleep(left).await;
        }
    }

    /// The next timeout, and its remaining time.
    fn waits_for(&self, patience: Patience) -> Option<(Overdue, Duration)> {
        let state = self.state.lock();
        if state.in_flight.is_empty() {
            let limit = match (state.begun, state.is_known) {
                (0, _) => patience.head,
                (_, true) => patience.idle,
                (_, false) => patience.stranger_idle,
            };
            return Some((Overdue::Idle, limit.saturating_sub(state.rests_since.elapsed())));
        }
        let bounded = state.in_flight.values();
        let bounded = bounded.filter(|request| request.trust != Trust::Stream);
        let since = bounded.filter_map(|request| request.waits_since).min()?;
        Some((Overdue::Stalled, patience.progress.saturating_sub(since.elapsed())))
    }
}

/// A request in flight, until its answer was sent or abandoned.
pub(super) struct Exchange {
    pulse: Arc<Pulse>,
    number: u64,
}

/// Admits a request to a listener that authenticates.
pub(crate) struct Ticket {
    pulse: Arc<Pulse>,
    number: u64,
}

impl Ticket {
    /// Records that the request was authenticated.
    pub(crate) fn admit(self, is_stream: bool) {
        let mut state = self.pulse.state.lock();
        state.is_known = true;
        if let Some(in_flight) = state.in_flight.get_mut(&self.number) {
            in_flight.trust = if is_stream { Trust::Stream } else { Trust::Admitted };
        }
    }
}

impl Exchange {
    /// Lets a layer above admit the request.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket {
            pulse: Arc::clone(&self.pulse),
            number: self.number,
        }
    }

    fn note(&self, waits_since: Option<Instant>) {
        if let Some(in_flight) = self.pulse.state.lock().in_flight.get_mut(&self.number) {
            in_flight.is_answered = true;
            in_flight.waits_since = waits_since;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.pulse.state.lock();
        state.in_flight.remove(&self.number);
        if state.in_flight.is_empty() {
            state.rests_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_nobody_admitted_keeps_no_slot_and_an_admitted_stream_does() {
        let pulse = Arc::new(Pulse::default());
        let call = pulse.begin(Trust::Stranger);
        assert!(pulse.rests_since().is_some() && !pulse.is_known());
        call.ticket().admit(true);
        assert_eq!(pulse.rests_since(), None, "the stream is in use");
        assert!(pulse.is_known() && pulse.serves_streams());
        drop(call);
        assert!(pulse.is_known() && !pulse.serves_streams());
    }
}
