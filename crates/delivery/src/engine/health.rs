//! The health of one webhook, as its lane at this node knows it.
//!
//! The store counts failures over all nodes: a node adds its own with the commit that holds their outcomes. A success
//! at any node clears the count. A node that knows of failures clears them with its next success. A node that knows of
//! none stores a success if its last stored one is older than [`success_interval`]. [`super::disabling`] acts on the
//! count.
//!
//! | state | next success | next failure |
//! | --- | --- | --- |
//! | healthy, alone | not stored | stored: failing |
//! | healthy, among nodes | stored if the last stored one is old | stored: failing |
//! | failing | stored: healthy | stored |
//!
//! Times are those of the schedule clock, so setting a clock, or a node whose clock is ahead, disables no webhook
//! early.

use std::{collections::HashMap, time::Duration};

use hookwright_storage::{Store, StoreError};

use crate::clock;

/// The interval between successes that a node stores: a part of the time until a webhook is disabled, with a maximum.
const SUCCESS_INTERVALS: u32 = 8;
const SUCCESS_INTERVAL_MAX: Duration = Duration::from_secs(3_600);

/// A node's memory of a webhook's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// The store may contain failures.
    failing: bool,
    /// When the last success was stored.
    noted_at: Option<i64>,
}

/// The result of an attempt, for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It succeeded at this time.
    Succeeded(i64),
    /// It failed at this time, by the receiver's fault.
    Failed(i64),
}

impl Health {
    /// The health of a webhook with failures in the store.
    pub(super) fn failing() -> Self {
        Self {
            failing: true,
            noted_at: None,
        }
    }

    /// Records a success. Returns the result to store, if any; `interval` is `None` if there is only one node.
    pub(super) fn succeeded(&mut self, now: i64, interval: Option<Duration>) -> Option<Outcome> {
        let old = |noted: i64| interval.is_some_and(|interval| now.saturating_sub(noted) >= micros(interval));
        let news = interval.is_some() && self.noted_at.is_none_or(old);
        if !self.failing && !news {
            return None;
        }
        *self = Self {
            failing: false,
            noted_at: Some(now),
        };
        Some(Outcome::Succeeded(now))
    }

    /// Records a failure of the receiver. Returns the result to store.
    pub(super) fn failed(&mut self, now: i64) -> Outcome {
        self.failing = true;
        Outcome::Failed(now)
    }
}

/// How old the last success that a node stored may be while there are newer ones.
pub(super) fn success_interval(disable_after: Duration) -> Duration {
    (disable_after / SUCCESS_INTERVALS).min(SUCCESS_INTERVAL_MAX)
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The health of failing webhooks in the store at the start. An older version may have written times from the future, with
/// a wrong wall clock. They are replaced with the current time, because no success could end such a streak.
///
/// # Errors
/// Fails if the store does not answer.
pub(super) async fn known(store: &Store) -> Result<HashMap<i64, Health>, StoreError> {
    store.correct_health(clock::schedule_us()).await?;
    let rows = store.all_failing_webhooks().await?.into_iter();
    Ok(rows.map(|row| (row.webhook_id, Health::failing())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_success_is_stored_that_ends_failures() {
        let mut health = Health::default();
        assert_eq!(health.succeeded(1, None), None);
        assert_eq!(health.failed(2), Outcome::Failed(2));
        assert_eq!(health.succeeded(3, None), Some(Outcome::Succeeded(3)));
        assert_eq!(health.succeeded(4, None), None);
        assert_eq!(
            Health::failing().succeeded(5, None),
            Some(Outcome::Succeeded(5)),
            "failures from before the start"
        );
    }

    #[test]
    fn among_nodes_a_success_is_stored_now_and_then() {
        let interval = Some(Duration::from_secs(10));
        let mut health = Health::default();
        let stored: Vec<i64> = (0..30)
            .filter(|at| health.succeeded(at * SECOND, interval).is_some())
            .collect();
        assert_eq!(stored, [0, 10, 20]);
    }

    #[test]
    fn successes_are_stored_often_enough_to_keep_a_webhook() {
        assert_eq!(success_interval(Duration::from_secs(5 * 86_400)), SUCCESS_INTERVAL_MAX);
        assert_eq!(success_interval(Duration::from_secs(8)), Duration::from_secs(1));
        assert_eq!(success_interval(Duration::ZERO), Duration::ZERO);
    }
}
