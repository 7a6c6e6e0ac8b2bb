//! Limits the bytes of request messages in flight over all connections of the gRPC listener.
//!
//! A message takes its size from the [`Budget`] when its length prefix arrives, before the rest of it is read, and releases
//! it when its call is answered. If no bytes are free, the call waits briefly, and HTTP/2 flow control stops its body; then
//! it fails with RESOURCE_EXHAUSTED. Small messages have a separate budget, so that large ones do not block them.
//!
//! A compressed message takes its compressed size first, and its real size once it is decompressed. That happens only when
//! the whole call has arrived. No call waits while it holds such a message: it fails if the bytes are not free.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tonic::Status;

use super::MESSAGE_BYTES_MAX;
use crate::app::error::AppError;

/// The maximum size of a small message.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// The overhead of a message in addition to its bytes.
const OVERHEAD_BYTES: usize = 256;
/// Time that a message waits for others to be answered.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The minimum budget: its larger part holds one message of the maximum size.
pub(crate) const BUDGET_BYTES_MIN: usize = 48 << 20;

/// The metrics of requests.
#[derive(Clone, Default)]
pub(crate) struct RequestMetrics {
    /// Bytes of messages in flight.
    in_flight: Gauge,
    /// Bytes of bodies read.
    pub(super) read: Counter,
    /// Messages rejected because no bytes were free.
    exhausted: Counter,
    /// Calls rejected because they had no valid token.
    pub(super) unauthenticated: Counter,
    /// Calls without a token that were rejected because too many were in flight.
    pub(super) crowded: Counter,
}

impl RequestMetrics {
    /// Creates and registers the metrics.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Bytes of gRPC request messages in flight, which grpc-request-bytes-max limits";
        registry.register("grpc_request_bytes_in_flight", help, metrics.in_flight.clone());
        let help = "Bytes of gRPC request bodies read";
        registry.register("grpc_request_bytes_read", help, metrics.read.clone());
        let help = "gRPC messages rejected because grpc-request-bytes-max was reached";
        registry.register("grpc_requests_exhausted", help, metrics.exhausted.clone());
        let help = "gRPC calls rejected before their body was read, because they had no valid token";
        registry.register("grpc_requests_unauthenticated", help, metrics.unauthenticated.clone());
        let help = "gRPC calls without a token rejected because too many were in flight";
        registry.register("grpc_requests_crowded", help, metrics.crowded.clone());
        metrics
    }
}

/// The budget of messages, over all connections.
pub(super) struct Budget {
    small: Pool,
    large: Pool,
    wait: Duration,
    metrics: RequestMetrics,
}

struct Pool {
    left: Semaphore,
    bytes: usize,
}

/// Bytes of both pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    small: usize,
    large: usize,
}

impl Cost {
    /// The cost of a message of a size.
    fn of(bytes: usize) -> Self {
        match bytes + OVERHEAD_BYTES {
            cost if bytes <= SMALL_BYTES_MAX => Self { small: cost, large: 0 },
            cost => Self { small: 0, large: cost },
        }
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            small: self.small + other.small,
            large: self.large + other.large,
        }
    }

    const fn bytes(self) -> usize {
        self.small + self.large
    }
}

impl Pool {
    fn new(bytes: usize) -> Self {
        Self {
            left: Semaphore::new(bytes),
            bytes,
        }
    }

    /// The bytes taken for a size: at most the whole budget.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.bytes)).unwrap_or(u32::MAX)
    }

    fn try_take(&self, bytes: usize) -> bool {
        let take = || self.left.try_acquire_many(self.permits(bytes));
        bytes == 0 || take().map(SemaphorePermit::forget).is_ok()
    }

    async fn take(&self, bytes: usize) {
        if bytes > 0
            && let Ok(permit) = self.left.acquire_many(self.permits(bytes)).await
        {
            permit.forget();
        }
    }

    fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.left.add_permits(bytes.min(self.bytes));
        }
    }
}

impl Budget {
    /// A quarter of the bytes is reserved for small messages.
    pub(super) fn new(bytes: usize, metrics: RequestMetrics) -> Self {
        let bytes = bytes.clamp(BUDGET_BYTES_MIN, u32::MAX as usize);
        Self {
            small: Pool::new(bytes / 4),
            large: Pool::new(bytes - bytes / 4),
            wait: WAIT_MAX,
            metrics,
        }
    }

    fn try_take(&self, cost: Cost) -> bool {
        if !self.small.try_take(cost.small) {
            return false;
        }
        if !self.large.try_take(cost.large) {
            self.small.release(cost.small);
            return false;
        }
        self.count(cost);
        true
    }

    /// Waits for bytes in one pool at a time, always in this order.
    async fn take(&self, cost: Cost) {
        self.small.take(cost.small).await;
        // If the wait ends here, the taken bytes are released.
        let first = Returned(
            self,
            Cost {
                small: cost.small,
                large: 0,
            },
        );
        self.large.take(cost.large).await;
        #[expect(clippy::disallowed_methods, reason = "`count` takes over the permit")]
        std::mem::forget(first);
        self.count(cost);
    }

    fn release(&self, cost: Cost) {
        self.small.release(cost.small);
        self.large.release(cost.large);
        self.metrics.in_flight.dec_by(i64::try_from(cost.bytes()).unwrap_or(0));
    }

    fn count(&self, cost: Cost) {
        self.metrics.in_flight.inc_by(i64::try_from(cost.bytes()).unwrap_or(0));
    }

    /// The error for a call when no bytes are free.
    fn exhausted(&self) -> Status {
        self.metrics.exhausted.inc();
        let max = (self.small.bytes + self.large.bytes) >> 20;
        AppError::Exhausted {
            subject: "request bytes in flight".to_owned(),
            message: format!(
                "the requests in flight use all of their {max} MiB (grpc-request-bytes-max); retry, or send smaller messages"
            ),
        }
        .into()
    }
}

/// Bytes of the small pool, which are released if a wait is abandoned.
struct Returned<'a>(&'a Budget, Cost);

impl Drop for Returned<'_> {
    fn drop(&mut self) {
        self.0.small.release(self.1.small);
    }
}

/// A call's part of the budget. Releases the rest when it is dropped.
pub(super) struct InFlight {
    budget: Arc<Budget>,
    held: Mutex<Held>,
    is_compressed: AtomicBool,
}

struct Held {
    cost: Cost,
    /// Each message's share, in order, if a call has many.
    messages: Option<VecDeque<Cost>>,
}

impl InFlight {
    pub(super) fn new(budget: Arc<Budget>, has_many_messages: bool) -> Self {
        let held = Held {
            cost: Cost::default(),
            messages: has_many_messages.then(VecDeque::new),
        };
        Self {
            budget,
            held: Mutex::new(held),
            is_compressed: AtomicBool::new(false),
        }
    }

    pub(super) fn metrics(&self) -> &RequestMetrics {
        &self.budget.metrics
    }

    /// Takes the bytes of messages whose lengths have arrived, if they are free.
    pub(super) fn try_take(&self, lengths: &Lengths) -> bool {
        let taken = self.budget.try_take(lengths.cost);
        if taken {
            self.keep(lengths);
        }
        taken
    }

    /// Waits for the bytes of messages, with a timeout.
    ///
    /// # Errors
    /// When they are not released in time.
    pub(super) async fn take(self: Arc<Self>, lengths: Lengths) -> Result<(), Status> {
        let taken = timeout(self.budget.wait, self.budget.take(lengths.cost)).await;
        taken.map_err(|_| self.budget.exhausted())?;
        self.keep(&lengths);
        Ok(())
    }

    fn keep(&self, lengths: &Lengths) {
        if lengths.is_compressed {
            self.is_compressed.store(true, Ordering::Relaxed);
        }
        let mut held = self.held.lock();
        held.cost = held.cost.plus(lengths.cost);
        if let Some(messages) = &mut held.messages {
            messages.extend(lengths.messages.iter().copied());
        }
    }

    /// Takes the real size of a compressed message. `bytes` returns the size, and is called only for such a message.
    ///
    /// # Errors
    /// When the bytes are not free now.
    pub(super) fn settle(&self, bytes: impl FnOnce() -> usize) -> Result<(), Status> {
        if !self.is_compressed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let cost = Cost::of(bytes());
        if !self.budget.try_take(cost) {
            return Err(self.budget.exhausted());
        }
        let mut held = self.held.lock();
        held.cost = held.cost.plus(cost);
        if let Some(last) = held.messages.as_mut().and_then(VecDeque::back_mut) {
            *last = last.plus(cost);
        }
        Ok(())
    }

    /// The share of the first of many messages, held until they are answered.
    pub(super) fn take_out(&self, messages: usize) -> Taken {
        let mut held = self.held.lock();
        let mut cost = Cost::default();
        if let Some(queue) = &mut held.messages {
            let messages = messages.min(queue.len());
            cost = queue.drain(..messages).fold(cost, Cost::plus);
        }
        held.cost.small -= cost.small;
        held.cost.large -= cost.large;
        Taken {
            budget: Arc::clone(&self.budget),
            cost,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.budget.release(self.held.get_mut().cost);
    }
}

/// The share of some messages, which is released when it is dropped.
pub(super) struct Taken {
    budget: Arc<Budget>,
    cost: Cost,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.budget.release(self.cost);
    }
}

/// The lengths of the messages that begin in one piece of a body.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths {
    cost: Cost,
    messages: Vec<Cost>,
    is_compressed: bool,
}

impl Lengths {
    /// Records a message. A message above the maximum size takes nothing: it is rejected for its size before it is read.
    pub(super) fn add(&mut self, bytes: usize, is_compressed: bool, keeps_each: bool) {
        let cost = if bytes > MESSAGE_BYTES_MAX {
            Cost::default()
        } else {
            Cost::of(bytes)
        };
        self.cost = self.cost.plus(cost);
        self.is_compressed |= is_compressed;
        if keeps_each {
            self.messages.push(cost);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cost == Cost::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn lengths(bytes: &[usize]) -> Lengths {
        let mut lengths = Lengths::default();
        for bytes in bytes {
            lengths.add(*bytes, false, true);
        }
        lengths
    }

    fn call(budget: &Arc<Budget>) -> Arc<InFlight> {
        Arc::new(InFlight::new(Arc::clone(budget), true))
    }

    #[tokio::test]
    async fn x05_large_messages_wait_for_one_another_and_delay_no_small_one() {
        let mut budget = Budget::new(128 * MIB, RequestMetrics::default());
        budget.wait = Duration::from_millis(1);
        let budget = Arc::new(budget);
        let mut calls: Vec<_> = (0..24).map(|_| call(&budget)).collect();
        let large = lengths(&[30 * MIB]);
        let taken = calls.iter().filter(|call| call.try_take(&large)).count();
        assert_eq!(taken, 3, "as many as fit 96 MiB");
        assert!(call(&budget).try_take(&lengths(&[1_000; 16])), "a small one");
        let status = Arc::clone(&calls[23]).take(large.clone()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        calls.remove(0);
        Arc::clone(&calls[22]).take(large).await.unwrap();
        drop(calls);
        assert_eq!(budget.metrics.in_flight.get(), 0, "all bytes are released");
    }

    #[test]
    fn the_permits_of_a_streams_messages_return_as_they_are_answered() {
        let budget = Arc::new(Budget::new(0, RequestMetrics::default()));
        let stream = call(&budget);
        assert!(stream.try_take(&lengths(&[100, 200, MIB])));
        let first = stream.take_out(2);
        let last = stream.take_out(1);
        assert_eq!((first.cost.small, first.cost.large), (300 + 2 * OVERHEAD_BYTES, 0));
        drop((first, last));
        assert_eq!(budget.metrics.in_flight.get(), 0);
    }

    #[test]
    fn a_compressed_message_is_refused_where_its_size_does_not_fit() {
        let budget = Arc::new(Budget::new(0, RequestMetrics::default()));
        let mut compressed = Lengths::default();
        compressed.add(1_000, true, false);
        let (first, second) = (call(&budget), call(&budget));
        assert!(first.try_take(&compressed) && second.try_take(&compressed));
        first.settle(|| 30 * MIB).unwrap();
        assert_eq!(
            second.settle(|| 30 * MIB).unwrap_err().code(),
            tonic::Code::ResourceExhausted
        );
        drop(first);
        second.settle(|| 30 * MIB).unwrap();
    }
}
