//! The pool of a lane's connections: idle ones, and shared ones (HTTP/2), whose streams are handed out.
//!
//! A worker takes an idle connection when it starts, and returns it when it ends. Of a shared connection it takes a handle
//! with a stream, and the pool keeps a handle without one. A connection is closed if it was idle or open for too long, if
//! the webhook's URL has changed ([`super::mode`]), or if the pool is full. It is evicted if it is idle, the least recently
//! used one of all lanes, and an attempt needs its descriptor ([`crate::descriptors`]).

use super::Lane;
use crate::{
    descriptors::{Descriptors, Idle},
    sender::{Connection, Opening, SharedConnections},
};

/// How many connections a lane keeps: as many as it may have attempts in flight by default.
const KEPT_MAX: usize = 256;

/// The pool of connections, most recently used last.
pub(super) struct IdleConnections {
    kept: Vec<Idle<Connection>>,
    opening: Opening,
    descriptors: Descriptors,
}

impl IdleConnections {
    pub(super) fn new(descriptors: Descriptors) -> Self {
        Self {
            kept: Vec::new(),
            opening: Opening::default(),
            descriptors,
        }
    }

    /// The most recently used idle connection, or a handle of a shared one with a free stream.
    pub(super) fn take(&mut self) -> Option<Connection> {
        for place in (0..self.kept.len()).rev() {
            let kept = &self.kept[place];
            let taken = if kept.is(Connection::is_shared) {
                kept.share(Connection::with_stream)
            } else {
                // It may have been evicted.
                self.kept.remove(place).take()
            };
            if taken.is_some() {
                return taken;
            }
        }
        None
    }

    /// Keeps a connection, unless the pool is full, or the connection is idle and an attempt waits for its descriptor. Of a
    /// shared one it keeps one handle, the last that was used.
    pub(super) fn keep(&mut self, connection: Connection) {
        let connection = connection.without_stream().unwrap_or(connection);
        if connection.is_shared() || self.kept.len() >= KEPT_MAX {
            // A shared one that has ended is of no use, and its place is needed for the next.
            let is_useful = |kept: &Connection| !kept.is_same(&connection) && (!kept.is_shared() || kept.is_fresh());
            self.kept.retain(|kept| kept.is(is_useful));
        }
        if self.kept.len() < KEPT_MAX && connection.is_fresh() {
            self.kept.extend(self.descriptors.keep(connection));
        }
    }

    /// Closes the connections for which `keep` returns false.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Connection) -> bool) {
        self.kept.retain(|kept| kept.is(&mut keep));
        self.opening.reset();
    }

    /// Closes connections that have been idle for too long. Returns whether some are left.
    pub(super) fn close_idle(&mut self) -> bool {
        self.kept.retain(|kept| kept.is(Connection::is_fresh));
        !self.kept.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Closes all connections.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }
}

impl SharedConnections for Lane {
    fn take(&self) -> Option<Connection> {
        self.take_connection()
    }

    fn share(&self, connection: Connection) {
        self.keep_connection(connection);
    }

    fn with_opening(&self, access: &mut dyn FnMut(&mut Opening)) {
        access(&mut self.lock().idle.opening);
    }
}
