//! Requests to disable webhooks: those that only failed for too long, and those whose receiver answered 410 Gone.
//!
//! The store brings back the count of failures over all nodes with the commit that adds to it. Where that is enough, the
//! engine asks for the webhook to be disabled. The server does that in a transaction that checks the count and the last
//! success again. A request that finds the queue full is dropped: the next failure asks again.

use std::time::Duration;

use hookwright_domain::id::WebhookId;
use hookwright_storage::{FailingRule, HealthRow};
use tokio::sync::mpsc;

use super::{
    health::{Outcome, micros, success_interval},
    lane::Lane,
};
use crate::clock;

/// A webhook is never disabled for fewer failures than this, however long they took.
pub const FAILURES_MIN: i32 = 20;
/// How many requests may wait for the server.
const REQUESTS_MAX: usize = 256;

/// A webhook that the engine asks to have disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisableRequest {
    /// The webhook.
    pub webhook: WebhookId,
    /// Why.
    pub reason: DisableReason,
}

/// Why a webhook is to be disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisableReason {
    /// The receiver answered 410 Gone.
    Gone,
    /// Nothing but failures for too long: to be disabled only if that is so at every node, as the store knows.
    Failing(FailingRule),
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Disabling {
    requests: mpsc::Sender<DisableRequest>,
    /// A webhook that only failed for this long is disabled.
    after: Duration,
    /// How old the last success that this node stored may be while it has newer ones; `None` where there is one node only.
    interval: Option<Duration>,
}

impl Disabling {
    /// The receiver gets the requests.
    pub(super) fn new(after: Duration, several_nodes: bool) -> (Self, mpsc::Receiver<DisableRequest>) {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let disabling = Self {
            requests,
            after,
            interval: several_nodes.then(|| success_interval(after)),
        };
        (disabling, receiver)
    }

    /// What to store of an attempt that reached its receiver, or failed by its fault.
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

    /// Asks for webhooks to be disabled that have failed for long enough, by what the store knows after a commit.
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

    /// Asks for one webhook to be disabled.
    pub(super) fn ask(&self, webhook: WebhookId, reason: DisableReason) {
        let _ = self.requests.try_send(DisableRequest { webhook, reason });
    }
}

/// When a webhook is disabled for its failures.
fn rule(disable_after: Duration, now: i64) -> FailingRule {
    FailingRule {
        failures_min: FAILURES_MIN,
        since: now.saturating_sub(micros(disable_after)),
        success_interval_us: micros(success_interval(disable_after)),
    }
}
