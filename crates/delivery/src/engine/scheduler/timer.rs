//! The timer: when each lane next needs a look.
//!
//! There is one per node. It sleeps until the earliest time, without polling. A new time that is earlier than the
//! earliest one wakes it.

use std::{collections::BTreeSet, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock;

/// The longest sleep: a machine that was suspended detects due deliveries after this time at the latest.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// The timer of a node.
#[derive(Default)]
pub(super) struct Timer {
    due: Mutex<BTreeSet<(i64, i64)>>,
    earlier: Notify,
}

impl Timer {
    /// Schedules a look at the lane of `webhook` for `due_at`, by the schedule clock.
    pub(super) fn at(&self, due_at: i64, webhook: i64) {
        let mut due = self.due.lock();
        let earlier = due.first().is_none_or(|first| due_at < first.0);
        due.insert((due_at, webhook));
        drop(due);
        if earlier {
            self.earlier.notify_one();
        }
    }

    /// Waits until at least one lane is due, or for the longest sleep, and returns the webhooks of all that are due.
    pub(super) async fn next(&self) -> Vec<i64> {
        loop {
            let now = clock::schedule_us();
            let first = {
                let mut due = self.due.lock();
                let later = due.split_off(&(now + 1, i64::MIN));
                let ready = std::mem::replace(&mut *due, later);
                if !ready.is_empty() {
                    return ready.into_iter().map(|(_, webhook)| webhook).collect();
                }
                due.first().map(|first| first.0)
            };
            match first {
                Some(first) => {
                    let sleep = Duration::from_micros((first - now).unsigned_abs()).min(SLEEP_MAX);
                    // An earlier time that is added meanwhile ends this wait. After a sleep no lane may be due, if the
                    // clock was set meanwhile, so the caller checks again.
                    if tokio::time::timeout(sleep, self.earlier.notified()).await.is_err()
                        && first > clock::schedule_us()
                    {
                        return Vec::new();
                    }
                }
                None => self.earlier.notified().await,
            }
        }
    }
}
