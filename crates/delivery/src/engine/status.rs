//! What the engine tells the server about itself: whether it works, what it holds, and what holds it up.

use hookwright_domain::id::WebhookId;

use super::{ClockReport, Engine, FailingPart, Stall, membership::LEASE_LOST, stall};
use crate::{catalogue::Target, clock};

/// What the engine holds right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauges {
    /// Deliveries in memory.
    pub deliveries_in_memory: usize,
    /// What they count against the memory limit.
    pub memory_bytes: usize,
    /// Attempts in flight.
    pub attempts_under_way: usize,
    /// Lanes.
    pub lanes: usize,
    /// Whether this node may send.
    pub lease_holds: bool,
}

impl Engine {
    /// Whether events are accepted and sent here: else the reason, for people to read.
    ///
    /// # Errors
    /// While this node's lease has ended, or it is joining the others again.
    pub fn may_work(&self) -> Result<(), &'static str> {
        if !self.parts.membership.may_accept() {
            Err(LEASE_LOST)
        } else if self.parts.lease.holds() {
            Ok(())
        } else {
            Err("this node cannot renew its lease, and sends nothing")
        }
    }

    /// Which part of the engine has failed, if one has: what is owed is safe in the store, and needs a fresh process.
    pub fn failed(&self) -> Option<&'static str> {
        self.parts.watchdog.failed()
    }

    /// Waits until a part of the engine fails.
    pub async fn failure(&self) -> &'static str {
        self.parts.watchdog.wait().await
    }

    /// What holds the engine up, if anything does: a webhook that is slow or fails does not.
    pub fn stall(&self) -> Option<Stall> {
        let parts = &self.parts;
        stall::find(&parts.commits, &parts.turns, &parts.lanes)
    }

    /// Whether this server was told to send nothing.
    pub fn holds(&self) -> bool {
        self.parts.options.hold
    }

    /// What is known of this machine's clock, after a look at it.
    pub async fn clock(&self) -> ClockReport {
        self.parts.clocks.look().await;
        self.parts.clocks.report()
    }

    /// The parts of the operator's that attempts fail by, and whether sending is paused because of them.
    pub fn failing_parts(&self) -> Vec<FailingPart> {
        self.parts.turns.faults().failing(clock::schedule_us())
    }

    /// Whether what waits for a webhook is sent at present: it is active, and its backlog is not being discarded.
    pub fn is_active(&self, webhook: WebhookId) -> bool {
        let catalogue = &self.parts.catalogue;
        matches!(catalogue.target(webhook.raw()), Target::Active(_)) && catalogue.discard(webhook.raw()).is_none()
    }

    /// How many deliveries are in memory, what they count, and how many attempts are in flight.
    pub fn gauges(&self) -> Gauges {
        let lanes = self.parts.lanes.all();
        Gauges {
            deliveries_in_memory: lanes.iter().map(|lane| lane.held()).sum(),
            memory_bytes: self.parts.memory.used(),
            attempts_under_way: self.parts.turns.taken(),
            lanes: lanes.len(),
            lease_holds: self.parts.lease.holds(),
        }
    }
}
