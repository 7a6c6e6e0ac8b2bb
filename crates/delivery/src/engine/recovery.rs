//! What a former run left unfinished: found at start, and worked off while new work already flows.
//!
//! Two kinds: deliveries with a pending row, which their lanes read back when due; and deliveries of events above the
//! checkpoint that have no row at all, which were in memory when the process ended.

use std::sync::Arc;

use hookwright_domain::id::EventId;
use hookwright_storage::{StoreError, UnfinishedEvent};

use super::{
    Inner,
    lane::{Job, Place},
    progress::Progress,
    record::Record,
};
use crate::clock;

/// How many events are looked at in one step; the store bounds the bytes of a page by itself.
const PAGE: usize = 500;

/// The stretch of events to look through.
pub(super) struct Recovery {
    after: i64,
    last: i64,
}

impl Recovery {
    /// How much of the stretch lies up to an event, by the time of its id.
    fn percent(&self, event: i64) -> i64 {
        let (done, all) = (event.saturating_sub(self.after), self.last.saturating_sub(self.after));
        i64::try_from(i128::from(done) * 100 / i128::from(all.max(1))).unwrap_or(100)
    }
}

impl Inner {
    /// Fixes the stretch before the first new event is accepted.
    pub(super) async fn plan_recovery(&self) -> Result<Recovery, StoreError> {
        let after = self.store.checkpoint().await?;
        let last = self.ids.next(clock::reference_us() / 1_000).max(after);
        self.checkpoint.start(after);
        Ok(Recovery { after, last })
    }

    /// Works the stretch off. The checkpoint stays where it is until this is done.
    pub(super) async fn recover(self: Arc<Self>, recovery: Recovery) {
        let _running = self.metrics.recovery_running();
        // By an older configuration a webhook that is new would look deleted.
        self.membership.wait_until_accepting().await;
        tracing::info!(
            "looking for deliveries that wait in the store, and for those that were in memory when the server last ended"
        );
        self.recover_pending().await;
        let mut progress = Progress::begin();
        let mut after = recovery.after;
        let mut found = 0;
        while after < recovery.last {
            let page = self
                .until_done("unfinished events", || {
                    self.store.unfinished(after, recovery.last, PAGE)
                })
                .await;
            for event in page.events {
                let deliveries = event.positions.len();
                self.recover_event(event).await;
                found += deliveries;
                self.metrics.recovered(deliveries);
                if progress.is_due() {
                    let percent = recovery.percent(after);
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
        self.checkpoint.recovered(recovery.last);
    }

    /// Tells the lanes what waits for them, a page of webhooks at a time: sending goes on meanwhile.
    async fn recover_pending(self: &Arc<Self>) {
        let mut progress = Progress::begin();
        let mut webhooks = 0;
        let mut after = None;
        loop {
            let (page, next) = self
                .until_done("pending deliveries", || self.store.pending_page(after))
                .await;
            webhooks += page.len();
            for (webhook, due_at) in page {
                self.scheduler.look_at_stored(webhook, due_at);
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

    async fn recover_event(self: &Arc<Self>, unfinished: UnfinishedEvent) {
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

    /// Into the lane's memory if there is room, else into the store as pending; ended if the webhook is gone.
    async fn recover_job(self: &Arc<Self>, job: Job) {
        let now = clock::schedule_us();
        let lane = self.lanes.get(job.webhook);
        if lane.is_gone() {
            self.recorder.record(Record::cancelled(&lane, &job, now)).await;
            return;
        }
        let place = Place {
            delivery: job.delivery,
            event: job.event.id,
            organization: job.event.organization_id,
        };
        let shared_by = job.event.webhooks.len();
        let weight = self.memory.weigh(job.event.id, job.event.payload.len(), shared_by);
        if lane.reserve(place, weight.clone(), now) {
            let actions = lane.enqueue(job, now);
            self.scheduler.act(&lane, actions);
        } else {
            lane.keep_until_settled(place, weight, now);
            self.recorder.record(Record::parked(&lane, &job, now)).await;
        }
    }

    /// Repeats until the store answers.
    async fn until_done<T, F>(&self, what: &str, mut work: impl FnMut() -> F) -> T
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match work().await {
                Ok(done) => return done,
                Err(error) => {
                    tracing::warn!(%error, "cannot read {what} yet; will try again");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        }
    }
}
