//! Connections that several attempts share: those with HTTP/2.
//!
//! Attempts that need a connection to one receiver at the same time open one after the other. The first one opens it; if
//! it is HTTP/2, the others find streams on it, up to the receiver's limit. If it is HTTP/1.1, or if the receiver refuses
//! shared streams, connections are opened independently for a while.
//!
//! If the attempt that opens a connection waits for a descriptor, the others wait with it. That wait is not part of any of
//! these attempts ([`super::course`]).

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{Connection, course::Course};

/// How long an attempt waits for another one to open a connection. Then it opens its own.
const OPENING_WAIT_MAX: Duration = Duration::from_secs(3);
/// How long connections are opened independently after they could not be shared.
const UNSHARED_FOR: Duration = Duration::from_secs(60);

/// The connections of one lane.
pub trait SharedConnections: Sync {
    /// A connection that is idle, or another handle of one with a free stream.
    fn take(&self) -> Option<Connection>;

    /// Keeps a handle of a new connection, so that other attempts can use its streams.
    fn share(&self, connection: Connection);

    /// Accesses the order in which connections are opened.
    fn with_opening(&self, access: &mut dyn FnMut(&mut Opening));
}

/// The order in which a lane's connections are opened.
#[derive(Debug, Default)]
pub struct Opening {
    /// Made for the first connection that may be shared.
    turn: Option<Arc<Turn>>,
    /// Until when connections are opened independently.
    unshared_until: Option<Instant>,
}

impl Opening {
    /// The turn to open a connection that may be shared. `None` if connections are opened independently.
    fn turn(&mut self) -> Option<Arc<Turn>> {
        if self.unshared_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        self.unshared_until = None;
        Some(Arc::clone(self.turn.get_or_insert_default()))
    }

    /// Connections to another receiver may be shared.
    pub fn reset(&mut self) {
        self.unshared_until = None;
    }
}

/// The turn to open a connection, and how long the attempts that had it have waited for descriptors.
#[derive(Debug)]
struct Turn {
    free: Arc<Semaphore>,
    waits: Mutex<Waits>,
}

#[derive(Debug, Default)]
struct Waits {
    past: Duration,
    since: Option<Instant>,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(1)),
            waits: Mutex::default(),
        }
    }
}

impl Turn {
    /// How long the attempts that had the turn have waited for descriptors until now.
    fn waited(&self) -> Duration {
        let waits = self.waits.lock();
        waits.past + waits.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// The turn of one attempt, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpeningTurn {
    turn: Arc<Turn>,
    _permit: OwnedSemaphorePermit,
}

impl OpeningTurn {
    /// Counts the time since `since` as a wait for a descriptor, until the result is dropped.
    pub(super) fn wait_since(&self, since: Instant) -> DescriptorWait<'_> {
        self.turn.waits.lock().since = Some(since);
        DescriptorWait(&self.turn)
    }
}

/// The wait of the attempt that has the turn, for a descriptor.
pub(super) struct DescriptorWait<'a>(&'a Turn);

impl Drop for DescriptorWait<'_> {
    fn drop(&mut self) {
        let mut waits = self.0.waits.lock();
        if let Some(since) = waits.since.take() {
            waits.past += since.elapsed();
        }
    }
}

/// A connection to use, or the permission to open one.
pub(super) enum Found {
    /// A stream of a connection.
    Shared(Connection),
    /// The attempt opens a connection that others may share. It has the turn, unless it waited too long.
    Open(Option<OpeningTurn>),
    /// The attempt opens its own connection.
    OpenAlone,
}

/// Waits for the turn to open a connection, or for a stream of one.
pub(super) async fn find(
    connections: &dyn SharedConnections,
    is_usable: impl Fn(&Connection) -> bool,
    course: &mut Course,
) -> Found {
    let Some(turn) = turn(connections) else {
        return Found::OpenAlone;
    };
    let own_turn = wait_for(turn, course).await;
    if let Some(connection) = connections.take().filter(is_usable) {
        return Found::Shared(connection);
    }
    // The attempt before may have found that connections cannot be shared.
    if self::turn(connections).is_none() {
        return Found::OpenAlone;
    }
    Found::Open(own_turn)
}

/// Waits for the turn, for a limited time. Waits of other attempts for descriptors are not counted.
async fn wait_for(turn: Arc<Turn>, course: &mut Course) -> Option<OpeningTurn> {
    let (begun, before) = (Instant::now(), turn.waited());
    let until = course.deadline().min(begun + OPENING_WAIT_MAX);
    let acquiring = Arc::clone(&turn.free).acquire_owned();
    tokio::pin!(acquiring);
    let mut uncounted = Duration::ZERO;
    let permit = loop {
        match timeout_at(until + uncounted, acquiring.as_mut()).await {
            Ok(permit) => break permit.ok(),
            Err(_) => {
                let now = turn.waited().saturating_sub(before);
                if now <= uncounted {
                    break None;
                }
                uncounted = now;
            }
        }
    };
    let uncounted = turn.waited().saturating_sub(before);
    course.exclude(uncounted.min(begun.elapsed()));
    permit.map(|permit| OpeningTurn { turn, _permit: permit })
}

fn turn(connections: &dyn SharedConnections) -> Option<Arc<Turn>> {
    let mut turn = None;
    connections.with_opening(&mut |opening| turn = opening.turn());
    turn
}

/// Opens connections independently for a while.
pub(super) fn stop_sharing(connections: &dyn SharedConnections) {
    connections.with_opening(&mut |opening| opening.unshared_until = Some(Instant::now() + UNSHARED_FOR));
}
