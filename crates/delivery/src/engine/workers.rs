//! Workers: make one lane's attempts, one at a time, over one connection.
//!
//! ```text
//!  started with a turn --> next delivery --> attempt --> record --+
//!                            ^                                    |
//!                            +------------------------------------+
//!                            |
//!                            +--> ends: nothing to send, another lane waits for the turn or for a descriptor, or the
//!                                 engine stops
//! ```
//!
//! The lane hands out each delivery together with its webhook, so a worker never reads the configuration itself. The
//! caller of [`Workers::run`] passes the turn afterwards.
//!
//! A delivery whose attempt panics returns to the store, and the worker continues. A panic anywhere else in a worker
//! fails the engine ([`super::watchdog`]). A worker waits while the committer's queue of outcomes is full.

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
    lease::Lease,
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

/// The delay of a delivery whose attempt panicked without an outcome.
const PANICKED_US: i64 = 60_000_000;
const _: () = assert!(PANICKED_US <= WAIT_MAX_US);

/// A handle to the workers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Workers(Arc<Handles>);

/// The dependencies of workers.
pub(super) struct Handles {
    /// The format of requests.
    pub(super) format: RequestFormat,
    pub(super) sender: Sender,
    pub(super) threads: Threads,
    pub(super) turns: Arc<Turns<WakeHandle>>,
    pub(super) lease: Arc<Lease>,
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

    /// Runs a worker, which the lane has counted and which has its turn. Calls `resumed` if an attempt ends a pause of
    /// sending. Returns whether the lane keeps connections.
    pub(super) async fn run(&self, lane: &Arc<Lane>, resumed: impl Fn()) -> bool {
        let mut connection = lane.take_connection();
        let mut first = true;
        while let Some((job, webhook)) = lane.next(first, clock::schedule_us()) {
            first = false;
            self.work_off(lane, &webhook, &job, &mut connection, &resumed).await;
            if self.must_leave(lane) {
                lane.leave();
                break;
            }
        }
        if let Some(connection) = connection {
            lane.keep_connection(connection);
        }
        lane.keeps_connections()
    }

    /// Whether a worker ends although its lane may have further deliveries.
    fn must_leave(&self, lane: &Lane) -> bool {
        let Handles {
            stopping,
            turns,
            sender,
            ..
        } = &*self.0;
        stopping.has_begun() || sender.descriptors().is_wanted() || turns.contended() && lane.should_pass()
    }

    /// Makes one attempt and queues its outcome for the committer.
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
