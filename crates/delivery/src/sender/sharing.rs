//! Connections that several attempts share: those with HTTP/2.
//!
//! Attempts that need a connection to one receiver at the same time open one after the other. The first one opens it; if
//! it is HTTP/2, the others find streams on it, up to the receiver's limit. If it is HTTP/1.1, or if the receiver refuses
//! shared streams, connections are opened independently for a while.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::Connection;

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
    /// One permit; made for the first connection that may be shared.
    turn: Option<Arc<Semaphore>>,
    /// Until when connections are opened independently.
    unshared_until: Option<Instant>,
}

impl Opening {
    /// The permit to open a connection that may be shared. `None` if connections are opened independently.
    fn turn(&mut self) -> Option<Arc<Semaphore>> {
        if self.unshared_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        self.unshared_until = None;
        let turn = self.turn.get_or_insert_with(|| Arc::new(Semaphore::new(1)));
        Some(Arc::clone(turn))
    }

    /// Connections to another receiver may be shared.
    pub fn reset(&mut self) {
        self.unshared_until = None;
    }
}

/// A connection to use, or the permission to open one.
pub(super) enum Found {
    /// A stream of a connection.
    Shared(Connection),
    /// The attempt opens a connection that others may share. It holds a permit, unless it waited too long.
    Open(Option<OwnedSemaphorePermit>),
    /// The attempt opens a connection of its own.
    OpenAlone,
}

/// Waits for the turn to open a connection, or for a stream of one.
pub(super) async fn find(
    connections: &dyn SharedConnections,
    is_usable: impl Fn(&Connection) -> bool,
    deadline: Instant,
) -> Found {
    let Some(turn) = turn(connections) else {
        return Found::OpenAlone;
    };
    let until = deadline.min(Instant::now() + OPENING_WAIT_MAX);
    let permit = timeout_at(until, turn.acquire_owned()).await;
    if let Some(connection) = connections.take().filter(is_usable) {
        return Found::Shared(connection);
    }
    // The attempt before may have found that connections cannot be shared.
    if self::turn(connections).is_none() {
        return Found::OpenAlone;
    }
    Found::Open(permit.ok().and_then(Result::ok))
}

fn turn(connections: &dyn SharedConnections) -> Option<Arc<Semaphore>> {
    let mut turn = None;
    connections.with_opening(&mut |opening| turn = opening.turn());
    turn
}

/// Opens connections independently for a while.
pub(super) fn stop_sharing(connections: &dyn SharedConnections) {
    connections.with_opening(&mut |opening| opening.unshared_until = Some(Instant::now() + UNSHARED_FOR));
}
