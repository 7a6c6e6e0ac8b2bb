//! Requests to disable webhooks: those that have only failed for too long, and those whose receiver answered 410 Gone.
//!
//! The commit that adds failures returns their count over all nodes. If that count is high enough, the engine requests
//! that the webhook be disabled. The server does that in a transaction that checks the count and the last success
//! again. If the queue is full, a request is dropped: the next failure repeats it.

use std::time::Duration;

use hookwright_domain::id::WebhookId;
use hookwright_storage::{FailingRule, HealthRow};
use tokio::sync::mpsc;

use super::{
    health::{Outcome, micros, success_interval},
    lane::Lane,
};
use crate::clock;

/// The minimum number of failures after which a webhook is disabled, however long they took.
pub const FAILURES_MIN: i32 = 20;
/// The maximum number of queued requests.
const REQUESTS_MAX: usize = 256;

/// A request to disable a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisableRequest {
    /// The webhook.
    pub webhook: WebhookId,
    /// The reason.
    pub reason: DisableReason,
}

/// Why a webhook is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisableReason {
    /// The receiver answered 410 Gone.
    Gone,
    /// It has only failed for too long. The server disables it only if the store shows the same for every node.
    Failing(FailingRule),
}

/// A handle to the requests. Cheap to clone.
#[derive(Clone)]
pub(super) struct Disabling {
    requests: mpsc::Sender<DisableRequest>,
    /// How long a webhook must only fail before it is disabled.
    after: Duration,
    /// How old the last stored success may be while there are newer ones; `None` if there is only one node.
    interval: Option<Duration>,
}

impl Disabling {
    /// Returns the receiver of the requests, too.
    pub(super) fn new(after: Duration, several_nodes: bool) -> (Self, mpsc::Receiver<DisableRequest>) {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let disabling = Self {
            requests,
            after,
            interval: several_nodes.then(|| success_interval(after)),
        };
        (disabling, receiver)
    }

    /// The result to store of an attempt that reached its receiver, or failed by the receiver's fault.
    pub(super) fn track(&self, lane: &Lane, success: bool) -> Option<Outcome> {
        let now = clock::schedule_us();
        lane.with_health(|health| {
            if success {
                health.succeeded(now, self.interval)
            } else {
                Some(health.failed(now))
            }
        })
    }

    /// Requests to disable webhooks that have failed for long enough, according to the store after a commit.
    pub(super) fn judge(&self, failing: &[HealthRow]) {
        if failing.is_empty() {
            return;
        }
        let rule = rule(self.after, clock::schedule_us());
        for row in failing {
            let since = row.failing_since.filter(|since| *since <= rule.since);
            if since.is_some() && row.failures >= rule.failures_min {
                self.ask(WebhookId::from_raw(row.webhook_id), DisableReason::Failing(rule));
            }
        }
    }

    /// Requests to disable one webhook.
    pub(super) fn ask(&self, webhook: WebhookId, reason: DisableReason) {
        let _ = self.requests.try_send(DisableRequest { webhook, reason });
    }
}

/// The rule for disabling a webhook for its failures.
fn rule(disable_after: Duration, now: i64) -> FailingRule {
    FailingRule {
        failures_min: FAILURES_MIN,
        since: now.saturating_sub(micros(disable_after)),
        success_interval_us: micros(success_interval(disable_after)),
    }
}
