//! Refills: reads what is due from the store and gives it to a lane.
//!
//! A lane asks for one when something that is due waits in the store and there is room. Few refills run at once, because each may
//! read as much as there is room for when it begins.
//!
//! | failure | what follows |
//! | --- | --- |
//! | the store does not answer | the lane reads again after a second |
//! | a row that cannot be read: a panic | the lane reads again after ten seconds; other lanes are not held up |
//! | a due time that cannot be right | it is mended ([`super::due`]) |

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use hookwright_storage::{ReadLimits, Refill, Store};
use tokio::sync::Semaphore;

use super::{
    due::DueTimes,
    lane::{Job, Lane, LaneActions, Read},
};
use crate::{catalogue::Catalogue, clock};

/// How many lanes read back from the store at once.
const REFILLS_MAX: usize = 4;
/// When a lane reads back again after the store did not answer.
const FAILED_US: i64 = 1_000_000;
/// When a lane reads back again after that ended by a panic.
const PANICKED_US: i64 = 10_000_000;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Refills {
    store: Store,
    catalogue: Arc<Catalogue>,
    due_times: DueTimes,
    permits: Arc<Semaphore>,
}

impl Refills {
    pub(super) fn new(store: Store, catalogue: Arc<Catalogue>, due_times: DueTimes) -> Self {
        Self {
            store,
            catalogue,
            due_times,
            permits: Arc::new(Semaphore::new(REFILLS_MAX)),
        }
    }

    /// Reads back what is due for a lane. Returns what the lane wants then.
    pub(super) async fn refill(&self, lane: &Arc<Lane>) -> LaneActions {
        // Kept until the lane has what was read: from then on it counts as memory.
        let Ok(_permit) = self.permits.acquire().await else {
            return LaneActions::default();
        };
        let now = clock::schedule_us();
        let read = AssertUnwindSafe(self.read(lane, now)).catch_unwind().await;
        let read = read.unwrap_or_else(|_| {
            tracing::error!(webhook = %lane.webhook, "reading what is due ended by a panic: this is a bug; will try again");
            again_at(now + PANICKED_US)
        });
        lane.refilled(read, clock::schedule_us())
    }

    /// What is due for a lane and fits into it, and when what was not read is due.
    async fn read(&self, lane: &Lane, now: i64) -> Read {
        let plan = lane.plan_refill();
        let webhook = lane.webhook.raw();
        let discard = self.catalogue.discard(webhook);
        let limits = ReadLimits {
            rows: plan.rows,
            bytes: plan.bytes,
            first_bytes: plan.first_bytes,
        };
        match self.store.due_beyond(discard, webhook, now, limits).await {
            Ok(mut refill) => {
                if self.due_times.is_wrong(webhook, &refill, now) {
                    refill.more_due |= self.due_times.mend(webhook, now).await;
                }
                read_of(refill, now)
            }
            Err(error) => {
                tracing::warn!(%error, webhook = %lane.webhook, "cannot read what is due; will try again");
                again_at(now + FAILED_US)
            }
        }
    }
}

/// Nothing was read; the lane tries again at this time.
fn again_at(due_at: i64) -> Read {
    Read {
        next_due: Some(due_at),
        ..Read::default()
    }
}

fn read_of(refill: Refill, now: i64) -> Read {
    let jobs = refill.rows.into_iter().map(|row| Job {
        delivery: row.pending.delivery_id,
        webhook: row.pending.webhook_id,
        event: Arc::new(row.event),
        attempts: u32::try_from(row.pending.attempts).unwrap_or_default(),
        ordering_key: row.pending.ordering_key,
    });
    Read {
        jobs: jobs.collect(),
        next_due: if refill.more_due { Some(now) } else { refill.next_due },
        too_large: refill.too_large,
    }
}
