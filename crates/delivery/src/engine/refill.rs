//! Refills: read due deliveries from the store and give them to a lane.
//!
//! A lane requests one if due deliveries are in the store and memory is available. Few refills run at once, because
//! each may read as much as fits when it begins.
//!
//! | failure | what follows |
//! | --- | --- |
//! | the store does not answer | the lane reads again after a second |
//! | a row that cannot be read: a panic | the lane reads again after ten seconds; other lanes are not delayed |
//! | an impossible due time | it is corrected ([`super::due`]) |

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use hookwright_storage::{ReadLimits, Refill, Store};
use tokio::sync::Semaphore;

use super::{
    due::DueTimes,
    lane::{Job, Lane, LaneActions, Read},
};
use crate::{catalogue::Catalogue, clock};

/// How many lanes read from the store at once.
const REFILLS_MAX: usize = 4;
/// The delay after which a lane reads again if the store did not answer.
const FAILED_US: i64 = 1_000_000;
/// The delay after which a lane reads again after a panic.
const PANICKED_US: i64 = 10_000_000;

/// A handle to refills. Cheap to clone.
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

    /// Reads due deliveries for a lane. Returns the lane's next actions.
    pub(super) async fn refill(&self, lane: &Arc<Lane>) -> LaneActions {
        // Kept until the lane has the deliveries: from then on they count as memory.
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

    /// The due deliveries of a lane that fit into it, and when the first of the others is due.
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
                    refill.more_due |= self.due_times.correct(webhook, now).await;
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

/// The result of a failed refill, which the lane repeats at this time.
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
