//! Stragglers: cancels deliveries that became pending in the store after their webhook was deleted.
//!
//! The operation that deletes a webhook cancels its pending deliveries at that time. A delivery may be stored later, by
//! a node that had not learned of the deletion, or by a node that was lost.
//!
//! | state of a webhook | what follows |
//! | --- | --- |
//! | queued, once | webhooks take turns, with a pause after each step |
//! | more is left after a step | it is queued again, behind the others |
//! | its operation is running, or it is not deleted | it leaves the queue |
//! | the store does not answer, or the queue is full | the sweep ([`super::sweep`]) repeats it |

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hookwright_domain::id::WebhookId;
use hookwright_storage::{Store, operations::Cancelled};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock;

/// The limit on queued webhooks. The next sweep finds the others.
const QUEUE_MAX: usize = 1_000;
/// The pause after a step, which is a transaction of up to 1,000 rows.
const PAUSE: Duration = Duration::from_millis(20);

/// Deleted webhooks with pending deliveries. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Stragglers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    webhooks: BTreeSet<i64>,
    /// The last webhook that had its turn.
    last: i64,
}

impl Stragglers {
    /// Queues a webhook, once. Returns false if the queue is full.
    pub(super) fn add(&self, webhook: i64) -> bool {
        let mut queue = self.0.queue.lock();
        let has_room = queue.webhooks.len() < QUEUE_MAX;
        if has_room && queue.webhooks.insert(webhook) {
            self.0.wake.notify_one();
        }
        has_room
    }

    /// Takes the next webhook out of the queue.
    fn next(&self) -> Option<i64> {
        let mut queue = self.0.queue.lock();
        let after = queue.last.saturating_add(1);
        let next = queue.webhooks.range(after..).next().or_else(|| queue.webhooks.first());
        let next = *next?;
        queue.webhooks.remove(&next);
        queue.last = next;
        Some(next)
    }

    fn clear(&self) {
        self.0.queue.lock().webhooks.clear();
    }

    /// Processes the queue until the engine stops.
    pub(super) async fn run(self, store: Store) {
        loop {
            self.0.wake.notified().await;
            while let Some(webhook) = self.next() {
                match store.cancel_pending(webhook, clock::now_us()).await {
                    Ok(Cancelled::ByOperation | Cancelled::NotDeleted) => {}
                    Ok(Cancelled::All) => tokio::time::sleep(PAUSE).await,
                    Ok(Cancelled::More) => {
                        self.add(webhook);
                        tokio::time::sleep(PAUSE).await;
                    }
                    Err(error) => {
                        let webhook = WebhookId::from_raw(webhook);
                        tracing::warn!(%error, %webhook, "cannot cancel the pending deliveries of a deleted webhook; \
                                                          will try again");
                        self.clear();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_have_their_turn_once_and_the_queue_is_bounded() {
        let stragglers = Stragglers::default();
        for webhook in [5, 3, 9, 3] {
            assert!(stragglers.add(webhook));
        }
        assert_eq!(stragglers.next(), Some(3));
        // More is left of it: the others come first.
        assert!(stragglers.add(3));
        assert_eq!([(); 4].map(|()| stragglers.next()), [Some(5), Some(9), Some(3), None]);
        let added = (0..5_000).filter(|webhook| stragglers.add(*webhook)).count();
        assert_eq!(added, QUEUE_MAX);
    }
}
