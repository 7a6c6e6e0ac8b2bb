//! The engine: takes checked events, makes them durable and delivers them.
//!
//! ```text
//!   publish                                                        timer, room, turns
//!      |                                                                   |
//!      v            commit                  hand over, settle              v
//!    inbox ----> committer ----> store     committer ----> lanes <---> scheduler
//!      ^                           |                         ^             |
//!      |                           |        refills ---------+             | starts, with a turn
//!      |                           +----------^                            v
//!      +------------------------------------------------- recorder <--- workers ----> POST
//! ```
//!
//! Around this circle:
//!
//! ```text
//!   watermark keeper    writes rows for deliveries long in memory    --> recorder, inbox
//!   recovery            resumes unfinished work of a previous run    --> lanes, recorder
//!   heartbeats          node lease, configuration, other nodes       --> scheduler, adoption
//!   adoption            takes over the work of lost nodes            --> scheduler
//!   rejoin              joins again after a lost lease               --> lanes, recovery
//!   sweep               compares store and lanes, and repairs        --> scheduler, stragglers
//!   statistics, stragglers                                           --> store
//!   watchdog            fails the engine when a part ends
//! ```
//!
//! | component | file | state | task |
//! | --- | --- | --- | --- |
//! | inbox | `inbox`, `reply` | queued calls and records | |
//! | committer | `committer`, `batch` | records that are not stored yet | a thread |
//! | lanes | `lanes`, `lane` | deliveries in memory, by webhook | |
//! | memory | `memory`, `room` | bytes in memory; lanes waiting for a place | |
//! | turns | `turns`, `standing`, `faults` | attempts in flight; lanes waiting for a turn | |
//! | scheduler | `scheduler` | the timer | timer, room, turns, reviews, probes |
//! | workers | `workers`, `threads` | none | one for each lane with a turn |
//! | refills | `refill`, `due` | permits | one for each lane that reads |
//! | watermark | `watermark`, `watermark_keeper` | the last event that is accounted for | keeper |
//! | recovery | `recovery` | its task | until it is done |
//! | membership | `membership`, `lease`, `heartbeat`, `adoption`, `rejoin` | configuration in force, node lease | heartbeats |
//! | statistics | `statistics` | whether anything was counted | every ten seconds |
//! | sweep | `sweep`, `inspection`, `stragglers` | observations; deleted webhooks | every ten seconds |
//!
//! `wiring` creates the components and gives each the handles that it needs. A component uses only components of which
//! it has a handle.
//!
//! `invariant` names the conditions that must always hold.
//!
//! [`Engine`] is a cheap handle for the server. It guarantees that an event is acknowledged only after its commit, that
//! every durable delivery is attempted until it ends, that memory is bounded for any backlog, and that a crash repeats
//! at most the attempts whose outcomes were not committed.

mod adoption;
mod batch;
mod changes;
mod clocks;
mod command;
mod committer;
mod disabling;
mod due;
mod faults;
mod health;
mod heartbeat;
mod inbox;
mod inspection;
mod invariant;
mod lane;
mod lanes;
mod lease;
mod limit;
mod membership;
mod memory;
mod options;
mod progress;
mod record;
mod recorder;
mod recovery;
mod refill;
mod rejoin;
mod reply;
mod room;
mod scheduler;
mod shutdown;
mod stall;
mod standing;
mod statistics;
mod status;
mod stopping;
mod stragglers;
mod sweep;
mod threads;
mod turns;
mod watchdog;
mod watermark;
mod watermark_keeper;
mod wiring;
mod workers;

use std::{borrow::Cow, sync::Arc, time::Duration};

use hookwright_domain::{
    id::{DeliveryId, IdGenerator, WebhookId},
    outcome::DeliveryState,
};
use hookwright_storage::{Store, StoreError, StoredEvent};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
};

pub use self::{
    clocks::ClockReport,
    command::{Draft, PublishError, PublishResults, Published},
    disabling::{DisableReason, DisableRequest, FAILURES_MIN},
    faults::FailingPart,
    options::EngineOptions,
    stall::Stall,
    status::Gauges,
};
use self::{membership::LEASE_LOST, wiring::Parts};
use crate::{
    catalogue::{Catalogue, Webhook},
    metrics::Metrics,
    request::PreparedRequest,
    sender::Sender,
    trace::TraceContext,
};

/// Handle to a running engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    parts: Arc<Parts>,
}

impl Engine {
    /// Starts the engine on the current runtime: the committer on its own thread, then the recovery of unfinished work
    /// of a previous run, while new work already proceeds. The receiver gets the webhooks to disable.
    ///
    /// # Errors
    /// Fails if the store cannot list pending work.
    pub async fn start(
        store: Store,
        catalogue: Arc<Catalogue>,
        ids: Arc<IdGenerator>,
        sender: Sender,
        metrics: Arc<Metrics>,
        options: EngineOptions,
    ) -> Result<(Self, mpsc::Receiver<DisableRequest>), StoreError> {
        let (parts, disable_requests) = wiring::start(store, catalogue, ids, sender, metrics, options).await?;
        let parts = Arc::new(parts);
        Ok((Self { parts }, disable_requests))
    }

    /// Publishes events. Returns when they are durable, with a result for each in order.
    pub async fn publish(&self, drafts: Vec<Draft>) -> PublishResults {
        let count = drafts.len();
        let refused = |error: PublishError| (0..count).map(|_| Err(error.clone())).collect();
        if self.parts.stopping.has_begun() {
            return refused(PublishError::Stopping);
        }
        let losses = self.parts.membership.losses();
        if !self.parts.membership.may_accept() {
            return refused(PublishError::Unavailable(LEASE_LOST));
        }
        self.parts.memory.ease().await;
        let (reply, answer) = oneshot::channel();
        if self.parts.inbox.publish(drafts, losses, reply).await.is_err() {
            return refused(PublishError::Stopping);
        }
        answer.await.unwrap_or_else(|_| refused(PublishError::Stopping))
    }

    /// Notifies the engine of a pending delivery in the store: a ping that was committed together with its webhook.
    pub fn stored(&self, webhook: WebhookId) {
        self.parts.scheduler.note_due_now(webhook.raw());
    }

    /// Notifies the engine that a delivery was ended in the store. If it is only queued in memory, it is not sent any
    /// more.
    pub fn skipped(&self, webhook: WebhookId, delivery: DeliveryId) {
        self.parts.lanes.forget(webhook.raw(), delivery.raw());
    }

    /// Notified when this node stores a pending delivery for a pull webhook.
    pub fn arrivals(&self, webhook: WebhookId) -> Arc<Notify> {
        self.parts.lanes.get(webhook.raw()).arrivals()
    }

    /// The headers of one attempt, signed now; `None` if the webhook's secret cannot be opened.
    pub fn signed_headers(
        &self,
        webhook: &Webhook,
        delivery: DeliveryId,
        number: u32,
        event: &StoredEvent,
    ) -> Option<Vec<(String, String)>> {
        let parent = TraceContext::of_event(event);
        let trace = parent.child(&parent.attempt_span(delivery, number), delivery.raw(), number);
        let prepared = PreparedRequest::new(&self.parts.options.format, webhook, delivery.raw(), event, &trace)?;
        let owned = |(name, value): (&str, Cow<'_, str>)| (name.to_owned(), value.into_owned());
        Some(prepared.headers.into_iter().map(owned).collect())
    }

    /// Changes whenever this node has made outcomes of deliveries durable.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.parts.changes.subscribe()
    }

    /// Notifies the engine that a caller has changed deliveries in the store.
    pub fn changed(&self) {
        self.parts.changes.notify();
    }

    /// Counts a pulled delivery that was acknowledged.
    pub fn acknowledged(&self, webhook: WebhookId, organization: i64, event: i64, took: Duration) {
        let lane = self.parts.lanes.get(webhook.raw());
        self.parts
            .statistics
            .count(&lane, organization, event, DeliveryState::Delivered, took);
    }

    /// Notifies the engine that a webhook has changed in the catalogue. Its lane pauses, resumes or closes accordingly.
    pub fn webhook_changed(&self, webhook: WebhookId) {
        self.parts.scheduler.webhook_changed(webhook.raw());
        // The deliveries of a deleted webhook are cancelled.
        self.parts.changes.notify();
    }

    /// Versions of the configuration from other nodes, as this node learns of them. The catalogue must be loaded again.
    pub fn configurations(&self) -> tokio::sync::watch::Receiver<i64> {
        self.parts.membership.subscribe()
    }

    /// Notifies the engine that the catalogue contains a version of the configuration.
    pub fn configured(&self, version: i64) {
        self.parts.membership.confirm(version);
    }

    /// Starts a task that runs until the server stops. The engine fails if it panics or ends earlier.
    pub fn supervise(&self, part: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.parts.watchdog.spawn_permanent(part, task)
    }
}

#[cfg(test)]
mod tests;
