//! Workers: make one lane's attempts, one after another, over one connection.
//!
//! ```text
//!  started with a turn --> next delivery --> attempt --> record --+
//!                            ^                                    |
//!                            +------------------------------------+
//!                            |
//!                            +--> ends: nothing to send, another lane waits for the turn, or the engine stops
//! ```
//!
//! The lane hands out each delivery together with the webhook to send it to: a worker never looks at the configuration by
//! itself. The caller of [`Workers::run`] passes the turn on afterwards.
//!
//! A delivery whose attempt panics goes back to the store, and the worker goes on; a panic anywhere else in a worker is one of the
//! engine ([`super::watchdog`]). A worker waits while the committer's queue of outcomes is full.

mod attempt;
mod verdict;

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use hookwright_domain::id::DeliveryId;
use hookwright_storage::fault;

use super::{
    clocks::Clocks,
    disabling::Disabling,
    due::WAIT_MAX_US,
    lane::{Job, Lane, WakeHandle},
    record::Record,
    recorder::Recorder,
    statistics::Statistics,
    stopping::Stopping,
    threads::Threads,
    turns::Turns,
    watchdog::Watchdog,
};
use crate::{
    catalogue::Webhook,
    clock,
    metrics::Metrics,
    request::RequestFormat,
    sender::{Connection, Sender},
};

/// When a delivery is due again whose attempt ended by a panic that no outcome could be made of.
const PANICKED_US: i64 = 60_000_000;
const _: () = assert!(PANICKED_US <= WAIT_MAX_US);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Workers(Arc<Handles>);

/// What workers need.
pub(super) struct Handles {
    /// How the webhook's request looks.
    pub(super) format: RequestFormat,
    pub(super) sender: Sender,
    pub(super) threads: Threads,
    pub(super) turns: Arc<Turns<WakeHandle>>,
    pub(super) recorder: Recorder,
    pub(super) statistics: Statistics,
    pub(super) disabling: Disabling,
    pub(super) clocks: Clocks,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stopping: Stopping,
    pub(super) watchdog: Watchdog,
}

impl Workers {
    pub(super) fn new(handles: Handles) -> Self {
        Self(Arc::new(handles))
    }

    /// Starts a worker's task on the thread of its webhook.
    pub(super) fn spawn(&self, webhook: i64, work: impl Future<Output = ()> + Send + 'static) {
        let work = self.0.watchdog.clone().guard("worker", work);
        self.0.threads.of(webhook).spawn(work);
    }

    /// Works for a lane that has counted the worker, which has its turn. Calls `resumed` when an attempt shows that sending may go
    /// on that was paused. Returns whether the lane keeps a connection that was used.
    pub(super) async fn run(&self, lane: &Arc<Lane>, resumed: impl Fn()) -> bool {
        let mut connection = lane.take_connection();
        let mut first = true;
        while let Some((job, webhook)) = lane.next(first, clock::schedule_us()) {
            first = false;
            self.work_off(lane, &webhook, &job, &mut connection, &resumed).await;
            if self.0.stopping.has_begun() || self.0.turns.contended() {
                lane.leave();
                break;
            }
        }
        match connection {
            Some(connection) => {
                lane.keep_connection(connection);
                true
            }
            None => false,
        }
    }

    /// Makes one attempt and queues what came of it for the committer.
    async fn work_off(
        &self,
        lane: &Arc<Lane>,
        webhook: &Arc<Webhook>,
        job: &Job,
        connection: &mut Option<Connection>,
        resumed: &impl Fn(),
    ) {
        let attempt = AssertUnwindSafe(self.attempt(lane, webhook, job, connection, resumed));
        let record = attempt.catch_unwind().await.unwrap_or_else(|_| {
            let delivery = DeliveryId::from_raw(job.delivery);
            tracing::error!(webhook = %lane.webhook, %delivery, "an attempt could not be recorded: this is a bug");
            Record::parked(lane, job, clock::schedule_us() + PANICKED_US)
        });
        fault::point("after-send");
        self.0.recorder.record(record).await;
    }
}
