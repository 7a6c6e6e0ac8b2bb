//! File descriptors for connections to receivers: a permit for each open connection, and eviction of idle ones.
//!
//! ```text
//!             acquire                keep
//!   free ---------------> in use ------------> idle
//!    ^                      |  ^                | |
//!    |       dropped        |  |      take      | |  evicted: the least recently used one of all lanes,
//!    +----------------------+  +----------------+ |  because an attempt needs a new connection
//!    +--------------------------------------------+
//! ```
//!
//! - The permits come from the [`Budget`], which divides the limit on open files. They are shared by all lanes.
//! - An attempt that finds no free permit evicts idle connections and waits. Waiting attempts get permits in order. While
//!   one waits, a connection that becomes idle is closed, and workers give up their connections after each delivery
//!   (`Descriptors::is_wanted`).
//! - A shared connection (HTTP/2) has one permit for all its streams. It is idle while it has no stream: only then it is
//!   evicted. If an attempt waits when its last stream ends, it closes.
//! - A connection to a host name needs more permits until its name is resolved, for the sockets of the DNS queries. If the
//!   answer is cached, it does not. A race of addresses takes more permits only if they are free.
//! - A worker that keeps its connection never comes here, except that it reads whether permits are wanted.
//!
//! Failures: another part of the process, or another process, may use more descriptors than the budget assumes. The system
//! then refuses a descriptor in spite of the permit. The sender evicts idle connections and tries again for about 1.5 s
//! (`Descriptors::recover_from_refusal`) before it reports a fault of the operator's.

mod budget;
mod idle;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::unconstrained,
    time::sleep,
};

pub use self::budget::{Budget, Listeners, TooFewDescriptors};
use self::idle::Queue;
pub(crate) use self::idle::{Idle, Keep};

/// How many idle connections are closed when the system refuses a descriptor.
const REFUSAL_EVICTIONS: usize = 8;

/// The permits of connections to receivers, and the idle connections of all lanes. Cheap to clone.
#[derive(Clone)]
pub struct Descriptors(Arc<Shared>);

struct Shared {
    max: usize,
    permits: Arc<Semaphore>,
    /// Attempts that wait for permits.
    waiting: AtomicUsize,
    idle: Queue,
    waits: Counter,
    evictions: Counter,
    refusals: Counter,
}

/// The current numbers of connections to receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Open connections, and sockets of DNS queries.
    pub open: usize,
    /// Those of them that are kept for later attempts: idle ones, and shared ones that may be in use.
    pub idle: usize,
    /// The maximum of open ones.
    pub max: usize,
}

/// The right to hold descriptors, until it is dropped: after the connection.
#[derive(Debug)]
pub(crate) struct Permit(Option<OwnedSemaphorePermit>);

impl Permit {
    /// Keeps one descriptor, and releases the others.
    pub(crate) fn keep_one(&mut self) {
        if let Some(all) = &mut self.0 {
            let others = all.num_permits().saturating_sub(1);
            drop(all.split(others));
        }
    }

    /// The permit of one more descriptor, if one is free.
    pub(crate) fn another(&self) -> Option<Self> {
        let permits = Arc::clone(self.0.as_ref()?.semaphore());
        permits.try_acquire_owned().ok().map(|permit| Self(Some(permit)))
    }
}

impl Descriptors {
    /// Permits for `max` descriptors.
    pub fn new(max: usize) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            max,
            permits: Arc::new(Semaphore::new(max)),
            waiting: AtomicUsize::new(0),
            idle: Queue::default(),
            waits: Counter::default(),
            evictions: Counter::default(),
            refusals: Counter::default(),
        }))
    }

    /// Without a limit: for a program that has few connections.
    pub fn unlimited() -> Self {
        Self::new(Semaphore::MAX_PERMITS)
    }

    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Attempts that waited for a descriptor before they opened a connection";
        registry.register("receiver_connection_waits", help, self.0.waits.clone());
        let help = "Idle connections to receivers that were closed because others needed their descriptors";
        registry.register("receiver_connections_evicted", help, self.0.evictions.clone());
        let help = "Descriptors that the system refused for a connection to a receiver, each time it was asked";
        registry.register("receiver_connections_refused", help, self.0.refusals.clone());
    }

    /// The current numbers.
    pub fn counts(&self) -> ConnectionCounts {
        ConnectionCounts {
            open: self.0.max - self.0.permits.available_permits(),
            idle: self.0.idle.len(),
            max: self.0.max,
        }
    }

    /// How many attempts wait for permits.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Acquire)
    }

    /// Whether an attempt waits for a permit, so that workers should give up their connections.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.waiting.load(Ordering::Acquire) > 0
    }

    /// A permit for this number of descriptors, if they are free and no attempt waits for them.
    pub(crate) fn try_acquire(&self, count: usize) -> Option<Permit> {
        let permits = Arc::clone(&self.0.permits);
        let permit = permits.try_acquire_many_owned(self.clamp(count)).ok()?;
        Some(Permit(Some(permit)))
    }

    /// A permit for this number of descriptors. Evicts as many idle connections and waits, if too few are free.
    pub(crate) async fn acquire(&self, count: usize) -> Permit {
        if let Some(permit) = self.try_acquire(count) {
            return permit;
        }
        self.0.waits.inc();
        let _waiting = Waiting::begin(&self.0.waiting);
        let permits = Arc::clone(&self.0.permits);
        let acquiring = unconstrained(permits.acquire_many_owned(self.clamp(count)));
        tokio::pin!(acquiring);
        // It enters the queue first: otherwise other attempts could take the permits of the evicted connections.
        let acquired = match acquiring.as_mut().now_or_never() {
            Some(acquired) => acquired,
            None => {
                self.evict(count);
                acquiring.await
            }
        };
        // The semaphore is never closed.
        Permit(acquired.ok())
    }

    /// Closes idle connections after the system refused a descriptor, and waits for a moment.
    pub(crate) async fn recover_from_refusal(&self, pause: Duration) {
        self.0.refusals.inc();
        self.evict(REFUSAL_EVICTIONS);
        sleep(pause).await;
    }

    /// Keeps a connection until it is taken or evicted. Closes it if it is idle and an attempt waits for its descriptor.
    pub(crate) fn keep<C: Keep>(&self, connection: C) -> Option<Idle<C>> {
        self.0.idle.push(connection, || !self.is_wanted())
    }

    /// Closes idle connections, least recently used first.
    fn evict(&self, count: usize) {
        let evicted = self.0.idle.evict(count);
        self.0.evictions.inc_by(evicted as u64);
    }

    fn clamp(&self, count: usize) -> u32 {
        u32::try_from(count.min(self.0.max)).unwrap_or(u32::MAX)
    }
}

/// Counts an attempt that waits, also if it is cancelled.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether the process or the machine has reached its limit on open files.
pub(crate) fn lacks_descriptors(error: &std::io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

#[cfg(test)]
mod tests;
