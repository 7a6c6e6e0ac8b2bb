//! Retention: removes expired events, in steps that are too small to delay deliveries. An event with a pending delivery
//! stays, however old it is, and blocks no other event.
//!
//! One node at a time removes events. The next round resumes a failed one where it stopped. The metric
//! `hookwright_retention_oldest_overdue_seconds` reports how long ago the oldest event expired. Ages use a clock that does
//! not jump forward.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use hookwright_delivery::clock;
use hookwright_domain::id::{first_at, time_us};
use hookwright_storage::{Expired, Retention, Store, StoreError, changes::CHANGES_KEPT_US};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, sleep};

/// Interval of rounds.
const INTERVAL: Duration = Duration::from_secs(600);
/// How long to pause after a step, as a multiple of its duration.
const REST: u32 = 9;
/// The same while retention is behind: it must remove events faster than publishers add them, or the disk fills.
const REST_BEHIND: u32 = 2;
/// From this many seconds of overdue on, retention is behind.
const BEHIND_S: i64 = 4 * 3_600;
const REST_MIN: Duration = Duration::from_millis(20);
/// Number of tries per round to drop a day that another session reads, and the pause between them.
const BUSY_TRIES: u32 = 5;
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// Retention of finished replays and operations, in microseconds: the same as for hourly figures.
const REPLAYS_KEPT_US: i64 = 90 * 86_400_000_000;

/// Retention of the audit log, in microseconds; also of revoked and expired tokens, which it names.
const AUDIT_KEPT_US: i64 = 400 * 86_400_000_000;

/// Metrics of retention.
#[derive(Clone, Default)]
pub(crate) struct Figures {
    /// Events removed.
    pub(crate) removed: Counter,
    pub(crate) overdue: Overdue,
}

/// Since when the oldest expired event has been overdue, as of the last steps.
#[derive(Clone, Default)]
pub(crate) struct Overdue(Arc<AtomicI64>);

impl Overdue {
    /// The seconds for which the oldest event has been stored beyond its retention; 0 if there is none.
    pub(crate) fn seconds(&self, now: i64) -> i64 {
        match self.0.load(Ordering::Relaxed) {
            0 => 0,
            since => now.saturating_sub(since).max(0) / 1_000_000,
        }
    }

    /// Records when the oldest stored event expired, in microseconds since the Unix epoch; `None` if there is none.
    fn note(&self, since: Option<i64>) {
        self.0.store(since.unwrap_or(0), Ordering::Relaxed);
    }

    fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// Runs until the server stops. If `retention` is zero it removes no events, but still maintains the store.
pub(crate) async fn run(store: Store, retention: Duration, figures: Figures) {
    let interval = if retention.is_zero() {
        INTERVAL
    } else {
        INTERVAL.min(retention).max(Duration::from_secs(1))
    };
    let mut pass = Pass {
        kept_us: i64::try_from(retention.as_micros()).unwrap_or(i64::MAX),
        figures,
        ..Pass::default()
    };
    loop {
        if let Err(error) = round(&store, &mut pass).await {
            tracing::warn!(%error, "retention could not finish its round; the next one resumes where it stopped");
        }
        sleep(interval).await;
    }
}

async fn round(store: &Store, pass: &mut Pass) -> Result<(), StoreError> {
    // Every node creates the partitions of the coming days, whether or not it has the turn.
    store.maintain(clock::now_us()).await?;
    match store.begin_retention().await {
        Ok(Some(turn)) => {
            if pass.kept_us > 0 {
                pass.run(store, turn).await?;
            }
            forget(store).await
        }
        Ok(None) => {
            // Another node removes events, and publishes its progress.
            pass.figures.overdue.note(None);
            Ok(())
        }
        Err(error) => {
            pass.interrupted();
            Err(error)
        }
    }
}

/// Removes data with a fixed retention.
async fn forget(store: &Store) -> Result<(), StoreError> {
    let now = clock::retention_us();
    loop {
        let begun = Instant::now();
        if store.forget_changes(now - CHANGES_KEPT_US).await?
            + store.forget_stats(now).await?
            + store.forget_audit(now - AUDIT_KEPT_US).await?
            == 0
        {
            break;
        }
        rest(begun).await;
    }
    loop {
        let begun = Instant::now();
        let forgotten = store.forget_replays(now - REPLAYS_KEPT_US).await?
            + store.forget_operations(now - REPLAYS_KEPT_US).await?
            + store.forget_tokens(now - AUDIT_KEPT_US).await?;
        if forgotten == 0 {
            break;
        }
        rest(begun).await;
    }
    loop {
        let begun = Instant::now();
        if !store.maintain(clock::reference_us()).await? {
            return Ok(());
        }
        rest(begun).await;
    }
}

/// A pass over all expired events.
#[derive(Default)]
struct Pass {
    kept_us: i64,
    figures: Figures,
    /// Where the last round stopped; 0 to begin with the oldest event.
    next: i64,
    /// When the oldest event expired that this pass could not remove.
    left: Option<i64>,
    /// Events up to this time were removed when a pass last finished.
    finished: Option<i64>,
}

/// The removals of a round. Logs them at its end, however the round ends.
#[derive(Default)]
struct Removed {
    events: usize,
    steps: usize,
}

impl Drop for Removed {
    fn drop(&mut self) {
        if self.events > 0 {
            let Self { events, steps } = *self;
            tracing::info!(events, steps, "removed expired events");
        }
    }
}

impl Pass {
    async fn run(&mut self, store: &Store, mut turn: Retention) -> Result<(), StoreError> {
        let mut removed = Removed::default();
        loop {
            let begun = Instant::now();
            let step = self.step(store, &mut turn).await.inspect_err(|_| self.interrupted())?;
            self.figures.removed.inc_by(step.events as u64);
            removed.events += step.events;
            removed.steps += 1;
            match step.next {
                Some(next) => self.next = next,
                None => {
                    self.next = 0;
                    self.figures.overdue.note(self.left.take());
                    return Ok(());
                }
            }
            let overdue_s = self.figures.overdue.seconds(clock::retention_us());
            pause(begun, rest_of(overdue_s)).await;
        }
    }

    /// One step. A step that found a day in use is repeated a few times.
    async fn step(&mut self, store: &Store, turn: &mut Retention) -> Result<Expired, StoreError> {
        let mut tries = 1;
        loop {
            let limit = clock::retention_us().saturating_sub(self.kept_us);
            // Above the watermark, rows alone do not show whether a delivery is final. The watermark itself is the id of
            // an event that is accounted for: without it, an idle server would keep its last event without a limit.
            let accounted = store.lowest_watermark().await?;
            let before = first_at(limit).min(accounted.saturating_add(1));
            let step = turn.step(self.next, before).await?;
            let since = step.overdue.map(|place| time_us(place).saturating_add(self.kept_us));
            if since.is_some() {
                self.figures.overdue.note(self.left.or(since));
            }
            if step.next.is_none() {
                self.finished = Some(limit);
            }
            let Some(reason) = &step.busy else { return Ok(step) };
            if tries == BUSY_TRIES {
                tracing::warn!(%reason, "an expired day cannot be dropped, because it is in use; the next round retries");
                self.left = self.left.or(since);
                return Ok(step);
            }
            tries += 1;
            sleep(BUSY_PAUSE).await;
        }
    }

    /// The store did not answer. If no event is known to be overdue, those that expired since the last pass may be.
    fn interrupted(&self) {
        if !self.figures.overdue.is_noted()
            && let Some(finished) = self.finished
        {
            self.figures.overdue.note(Some(finished.saturating_add(self.kept_us)));
        }
    }
}

/// How long to pause, as a multiple of a step's duration, while the oldest event has been overdue for this many seconds.
fn rest_of(overdue_s: i64) -> u32 {
    if overdue_s < BEHIND_S { REST } else { REST_BEHIND }
}

async fn rest(begun: Instant) {
    pause(begun, REST).await;
}

async fn pause(begun: Instant, times: u32) {
    sleep((begun.elapsed() * times).max(REST_MIN)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_that_is_behind_pauses_less() {
        let overdue = Overdue::default();
        let hour = 3_600_000_000;
        overdue.note(Some(hour));
        assert_eq!(rest_of(overdue.seconds(hour)), REST);
        assert_eq!(rest_of(overdue.seconds(4 * hour)), REST);
        assert_eq!(rest_of(overdue.seconds(5 * hour)), REST_BEHIND);
        overdue.note(None);
        assert_eq!(rest_of(overdue.seconds(9 * hour)), REST);
    }
}
