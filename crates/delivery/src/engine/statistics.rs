//! Statistics of attempts: counted in each lane as attempts end, and added to the store's rows every ten seconds.
//!
//! | state | what happens |
//! | --- | --- |
//! | nothing counted | the component sleeps |
//! | counted | it stores what all lanes counted at the end of the interval, and sleeps again |
//!
//! A crash loses the counts of the last interval. If the store does not answer, an interval is lost, and the log
//! reports it. Minutes and hours are those of the wall clock, because users read them. No decision depends on them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hookwright_domain::{id::time_us, outcome::DeliveryState};
use hookwright_storage::{
    Store,
    stats::{INSTALLATION, PERIODS, StatsRow, Tally},
};
use tokio::sync::Notify;

use super::{lane::Lane, lanes::Lanes};
use crate::clock;

/// How often the counts are stored, in microseconds: a divisor of a minute, so that an interval belongs to a single
/// minute.
const INTERVAL_US: i64 = 10_000_000;

/// A handle to the statistics. Cheap to clone.
#[derive(Clone)]
pub(super) struct Statistics(Arc<Shared>);

struct Shared {
    store: Store,
    lanes: Lanes,
    /// Whether anything was counted since the last time.
    counted: AtomicBool,
    wake: Notify,
}

impl Statistics {
    pub(super) fn new(store: Store, lanes: Lanes) -> Self {
        Self(Arc::new(Shared {
            store,
            lanes,
            counted: AtomicBool::new(false),
            wake: Notify::new(),
        }))
    }

    /// Counts an attempt of a delivery of an organization's event.
    pub(super) fn count(&self, lane: &Lane, organization: i64, event: i64, state: DeliveryState, took: Duration) {
        let latency = clock::reference_us() - time_us(event);
        lane.count(organization, |tally| {
            tally.attempts += 1;
            tally
                .durations
                .record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            if state == DeliveryState::Delivered {
                tally.delivered += 1;
                tally.latencies.record(latency.max(0).unsigned_abs());
            } else {
                tally.failed_attempts += 1;
                tally.failed += i64::from(state == DeliveryState::Failed);
            }
        });
        if !self.0.counted.load(Ordering::Relaxed) && !self.0.counted.swap(true, Ordering::AcqRel) {
            self.0.wake.notify_one();
        }
    }

    /// Stores the counts, until the engine ends.
    pub(super) async fn run(self) {
        loop {
            self.0.wake.notified().await;
            let rest = INTERVAL_US - clock::now_us().rem_euclid(INTERVAL_US);
            tokio::time::sleep(Duration::from_micros(rest.unsigned_abs())).await;
            self.store().await;
        }
    }

    /// Stores the counts so far.
    pub(super) async fn store(&self) {
        self.0.counted.store(false, Ordering::Release);
        // They were counted before this moment, in the interval that has just ended.
        let at = clock::now_us() - INTERVAL_US / 2;
        let mut subjects: HashMap<i64, Tally> = HashMap::new();
        for lane in self.0.lanes.all() {
            let Some((organization, tally)) = lane.take_tally() else {
                continue;
            };
            for subject in [INSTALLATION, organization, lane.webhook.raw()] {
                subjects.entry(subject).or_default().add(&tally);
            }
        }
        let rows: Vec<StatsRow> = subjects
            .into_iter()
            .flat_map(|(subject, tally)| rows(subject, tally, at))
            .collect();
        if let Err(error) = self.0.store.add_stats(rows).await {
            tracing::warn!(%error, "some statistics could not be stored");
        }
    }
}

/// One row for each kind of period.
fn rows(subject: i64, tally: Tally, at: i64) -> impl Iterator<Item = StatsRow> {
    PERIODS.into_iter().map(move |(period, _)| StatsRow {
        subject,
        period,
        started_at: at - at.rem_euclid(period * 1_000_000),
        tally: tally.clone(),
    })
}
