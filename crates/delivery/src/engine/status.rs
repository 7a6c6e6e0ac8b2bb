//! The engine's status for the server: whether it works, its size, and the cause of a stall.

use hookwright_domain::id::WebhookId;

use super::{ClockReport, Engine, FailingPart, Stall, membership::LEASE_LOST, stall};
use crate::{catalogue::Target, clock};

/// The current sizes of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauges {
    /// Deliveries in memory.
    pub deliveries_in_memory: usize,
    /// Their bytes against the memory limit.
    pub memory_bytes: usize,
    /// Attempts in flight.
    pub attempts_in_flight: usize,
    /// Lanes.
    pub lanes: usize,
    /// Whether this node may send.
    pub lease_holds: bool,
}

impl Engine {
    /// Whether events are accepted and sent here. The error is the reason, as text.
    ///
    /// # Errors
    /// Fails while this node's lease has ended, or while it is joining the others again.
    pub fn may_work(&self) -> Result<(), &'static str> {
        if !self.parts.membership.may_accept() {
            Err(LEASE_LOST)
        } else if self.parts.lease.holds() {
            Ok(())
        } else {
            Err("this node cannot renew its lease, and sends nothing")
        }
    }

    /// The part of the engine that has failed, if one has. Owed deliveries are safe in the store, and need a new
    /// process.
    pub fn failed(&self) -> Option<&'static str> {
        self.parts.watchdog.failed()
    }

    /// Waits until a part of the engine fails.
    pub async fn failure(&self) -> &'static str {
        self.parts.watchdog.wait().await
    }

    /// The cause of a stall, if there is one. A slow or failing webhook is not a stall.
    pub fn stall(&self) -> Option<Stall> {
        let parts = &self.parts;
        stall::find(&parts.commits, &parts.turns, &parts.lanes)
    }

    /// Whether this server is configured to send nothing.
    pub fn holds(&self) -> bool {
        self.parts.options.hold
    }

    /// The state of this machine's clock, after a check.
    pub async fn clock(&self) -> ClockReport {
        self.parts.clocks.look().await;
        self.parts.clocks.report()
    }

    /// The failing parts of the operator's, and whether sending is paused because of them.
    pub fn failing_parts(&self) -> Vec<FailingPart> {
        self.parts.turns.faults().failing(clock::schedule_us())
    }

    /// Whether a webhook's backlog is being sent: it is active, and its backlog is not being discarded.
    pub fn is_active(&self, webhook: WebhookId) -> bool {
        let catalogue = &self.parts.catalogue;
        matches!(catalogue.target(webhook.raw()), Target::Active(_)) && catalogue.discard(webhook.raw()).is_none()
    }

    /// How many deliveries are in memory, their bytes, and how many attempts are in flight.
    pub fn gauges(&self) -> Gauges {
        let lanes = self.parts.lanes.all();
        Gauges {
            deliveries_in_memory: lanes.iter().map(|lane| lane.held()).sum(),
            memory_bytes: self.parts.memory.used(),
            attempts_in_flight: self.parts.turns.taken(),
            lanes: lanes.len(),
            lease_holds: self.parts.lease.holds(),
        }
    }
}
