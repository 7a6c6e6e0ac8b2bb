//! The recovery of unfinished work of a previous run, while new work already proceeds.
//!
//! The store contains two kinds of it. Deliveries with a pending row are read by their lanes when they are due.
//! Deliveries of events above the watermark without any row were in memory when the process ended.
//!
//! | state | what happens |
//! | --- | --- |
//! | planned | the range of events to search is fixed, before the first new event is accepted |
//! | waiting | the configuration in force may be outdated, in which case a new webhook would look deleted |
//! | running | pages of pending rows, then pages of events; the watermark does not move |
//! | done | the watermark advances |
//! | stopped: the lease was lost | the remaining work belongs to other nodes |
//!
//! While the store does not answer, a page is requested again every second.

use std::{sync::Arc, time::Duration};

use hookwright_domain::id::{EventId, IdGenerator};
use hookwright_storage::{Store, StoreError, UnfinishedEvent};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::{
    lane::{Job, Place},
    lanes::Lanes,
    membership::Membership,
    memory::Memory,
    progress::Progress,
    record::Record,
    recorder::Recorder,
    scheduler::Scheduler,
    watchdog::Watchdog,
    watermark::Watermark,
};
use crate::{clock, metrics::Metrics};

/// How many events one step reads. The store limits the bytes of a page.
const PAGE: usize = 500;
/// The delay before the store is queried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The range of events to search.
pub(super) struct Stretch {
    after: i64,
    last: i64,
}

impl Stretch {
    /// How much of the range is before an event, by the time of its id.
    fn percent(&self, event: i64) -> i64 {
        let (done, all) = (event.saturating_sub(self.after), self.last.saturating_sub(self.after));
        i64::try_from(i128::from(done) * 100 / i128::from(all.max(1))).unwrap_or(100)
    }
}

/// A handle to recovery. Cheap to clone.
#[derive(Clone)]
pub(super) struct Recovery(Arc<Shared>);

struct Shared {
    handles: Handles,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// The dependencies of recovery.
pub(super) struct Handles {
    pub(super) store: Store,
    pub(super) ids: Arc<IdGenerator>,
    pub(super) lanes: Lanes,
    pub(super) memory: Arc<Memory>,
    pub(super) scheduler: Scheduler,
    pub(super) recorder: Recorder,
    pub(super) watermark: Watermark,
    pub(super) membership: Membership,
    pub(super) metrics: Arc<Metrics>,
    pub(super) watchdog: Watchdog,
}

impl Recovery {
    pub(super) fn new(handles: Handles) -> Self {
        Self(Arc::new(Shared {
            handles,
            task: Mutex::default(),
        }))
    }

    fn handles(&self) -> &Handles {
        &self.0.handles
    }

    /// Fixes the range before the first new event is accepted.
    pub(super) async fn plan(&self) -> Result<Stretch, StoreError> {
        let Handles {
            store, ids, watermark, ..
        } = self.handles();
        let after = store.watermark().await?;
        let last = ids.next(clock::reference_us() / 1_000).max(after);
        watermark.start(after);
        Ok(Stretch { after, last })
    }

    /// Starts the recovery of a range.
    pub(super) fn start(&self, stretch: Stretch) {
        let task = self.handles().watchdog.spawn("recovery", self.clone().run(stretch));
        *self.0.task.lock() = Some(task);
    }

    /// Ends the work, and returns when it has ended: its deliveries do not belong to this node any more.
    pub(super) async fn stop(&self) {
        if let Some(task) = self.abort() {
            // It was aborted, or had ended before.
            let _ = task.await;
        }
    }

    /// Aborts the work. Returns its task, if it was started and not stopped before.
    pub(super) fn abort(&self) -> Option<JoinHandle<()>> {
        let task = self.0.task.lock().take();
        task.inspect(JoinHandle::abort)
    }

    /// The task, for tests.
    #[cfg(test)]
    pub(super) fn task(&self) -> &Mutex<Option<JoinHandle<()>>> {
        &self.0.task
    }

    async fn run(self, stretch: Stretch) {
        let handles = self.handles();
        let _running = handles.metrics.recovery_running();
        handles.membership.wait_until_accepting().await;
        tracing::info!(
            "looking for deliveries that wait in the store, and for those that were in memory when the server last ended"
        );
        self.recover_pending().await;
        let mut progress = Progress::begin();
        let mut after = stretch.after;
        let mut found = 0;
        while after < stretch.last {
            let page = until_done("unfinished events", || {
                handles.store.unfinished(after, stretch.last, PAGE)
            })
            .await;
            for event in page.events {
                let deliveries = event.positions.len();
                self.recover_event(event).await;
                found += deliveries;
                handles.metrics.recovered(deliveries);
                if progress.is_due() {
                    let percent = stretch.percent(after);
                    tracing::info!(deliveries = found, percent, "resuming deliveries that were in memory");
                }
            }
            after = page.last_id;
        }
        if found > 0 {
            tracing::info!(
                deliveries = found,
                "resumed deliveries that were in memory when the server last ended"
            );
        }
        handles.watermark.recovered(stretch.last);
    }

    /// Notifies the lanes of their pending deliveries, a page of webhooks at a time. Sending continues meanwhile.
    async fn recover_pending(&self) {
        let Handles { store, scheduler, .. } = self.handles();
        let mut progress = Progress::begin();
        let mut webhooks = 0;
        let mut after = None;
        loop {
            let (page, next) = until_done("pending deliveries", || store.pending_page(after)).await;
            webhooks += page.len();
            for (webhook, due_at) in page {
                scheduler.look_at_stored(webhook, due_at);
            }
            if progress.is_due() {
                tracing::info!(webhooks, "finding webhooks for which deliveries wait in the store");
            }
            if next.is_none() {
                return;
            }
            after = next;
        }
    }

    async fn recover_event(&self, unfinished: UnfinishedEvent) {
        let event = Arc::new(unfinished.event);
        for position in unfinished.positions {
            let Some(webhook) = event.webhooks.get(position).copied() else {
                continue;
            };
            let job = Job {
                delivery: EventId::from_raw(event.id).delivery(position).raw(),
                webhook,
                event: Arc::clone(&event),
                attempts: 0,
                ordering_key: None,
            };
            self.recover_job(job).await;
        }
    }

    /// Adds a delivery to the lane's memory if it fits, otherwise stores it as pending. Ends it if the webhook was
    /// deleted.
    async fn recover_job(&self, job: Job) {
        let Handles {
            lanes,
            memory,
            scheduler,
            recorder,
            ..
        } = self.handles();
        let now = clock::schedule_us();
        let lane = lanes.get(job.webhook);
        if lane.is_gone() {
            recorder.record(Record::cancelled(&lane, &job, now)).await;
            return;
        }
        let place = Place {
            delivery: job.delivery,
            event: job.event.id,
            organization: job.event.organization_id,
        };
        let shared_by = job.event.webhooks.len();
        let weight = memory.weigh(job.event.id, job.event.payload.len(), shared_by);
        if lane.reserve(place, weight.clone(), now) {
            let actions = lane.enqueue(job, now);
            scheduler.act(&lane, actions);
        } else {
            lane.keep_until_settled(place, weight, now);
            recorder.record(Record::parked(&lane, &job, now)).await;
        }
    }
}

/// Retries until the store answers.
async fn until_done<T, F>(what: &str, mut work: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match work().await {
            Ok(done) => return done,
            Err(error) => {
                tracing::warn!(%error, "cannot read {what} yet; will try again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}
