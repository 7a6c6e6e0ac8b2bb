//! Retention: what has been kept for long enough goes, in small steps that deliveries do not feel. Only what is final goes: an
//! event of which a delivery is still pending stays, however old it is. What is old is told by a clock that does not jump forward.

use std::time::Duration;

use hookwright_delivery::clock;
use hookwright_domain::id::first_at;
use hookwright_storage::{Store, StoreError, changes::CHANGES_KEPT_US};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, sleep};

/// How often it is looked for what has outlived its time.
const INTERVAL: Duration = Duration::from_secs(600);
/// Of the time, the steps take at most one part in so many.
const REST: u32 = 9;
const REST_MIN: Duration = Duration::from_millis(20);
/// How long it is told of a replay that has ended, in microseconds: as long as its figures by the hour.
const REPLAYS_KEPT_US: i64 = 90 * 86_400_000_000;

/// How long the audit log is kept, in microseconds; and tokens that were revoked or have expired, which it names.
const AUDIT_KEPT_US: i64 = 400 * 86_400_000_000;

/// Runs until the server stops. Keeps everything where `retention` is zero, and looks after the store all the same.
pub(crate) async fn run(store: Store, retention: Duration, removed: Counter) {
    let interval = if retention.is_zero() {
        INTERVAL
    } else {
        INTERVAL.min(retention).max(Duration::from_secs(1))
    };
    loop {
        if let Err(error) = round(&store, retention, &removed).await {
            tracing::warn!(%error, "retention could not finish its round; the next one will go on");
        }
        sleep(interval).await;
    }
}

async fn round(store: &Store, retention: Duration, removed: &Counter) -> Result<(), StoreError> {
    if !retention.is_zero() {
        let kept_us = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
        // Above the checkpoint, whether a delivery is final is not told by rows alone.
        let before = first_at(clock::retention_us().saturating_sub(kept_us)).min(store.lowest_checkpoint().await?);
        let mut next = Some(0);
        while let Some(after) = next {
            let begun = Instant::now();
            let step = store.expire(after, before).await?;
            removed.inc_by(step.events as u64);
            next = step.next;
            rest(begun).await;
        }
    }
    let now = clock::retention_us();
    loop {
        let begun = Instant::now();
        if store.forget_changes(now - CHANGES_KEPT_US).await? + store.forget_stats(now).await? == 0 {
            break;
        }
        rest(begun).await;
    }
    store.forget_replays(now - REPLAYS_KEPT_US).await?;
    store.forget_audit(now - AUDIT_KEPT_US).await?;
    store.forget_tokens(now - AUDIT_KEPT_US).await?;
    loop {
        let begun = Instant::now();
        if !store.maintain(clock::reference_us()).await? {
            return Ok(());
        }
        rest(begun).await;
    }
}

async fn rest(begun: Instant) {
    sleep((begun.elapsed() * REST).max(REST_MIN)).await;
}
