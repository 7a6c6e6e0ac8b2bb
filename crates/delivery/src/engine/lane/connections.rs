//! The pool of a lane's idle connections.
//!
//! A worker takes one when it starts, and returns its connection when it ends. A connection is closed if it was idle or
//! open for too long, if the webhook's URL has changed ([`super::mode`]), or if the pool is full.

use crate::sender::Connection;

/// How many idle connections a lane keeps.
const IDLE_MAX: usize = 64;

/// The pool of idle connections.
#[derive(Default)]
pub(super) struct IdleConnections(Vec<Connection>);

impl IdleConnections {
    /// The most recently used connection.
    pub(super) fn take(&mut self) -> Option<Connection> {
        self.0.pop()
    }

    /// Keeps a connection, unless the pool is full.
    pub(super) fn keep(&mut self, connection: Connection) {
        if self.0.len() < IDLE_MAX {
            self.0.push(connection);
        }
    }

    /// Closes the connections for which `keep` returns false.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Connection) -> bool) {
        self.0.retain(keep);
    }

    /// Closes connections that have been idle for too long. Returns whether some are left.
    pub(super) fn close_idle(&mut self) -> bool {
        self.0.retain(Connection::is_fresh);
        !self.0.is_empty()
    }

    /// Closes all connections.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
