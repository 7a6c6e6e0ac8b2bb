//! Pull deliveries: hands them out on a lease, acknowledges them, and moves their deadlines.

use std::{pin::pin, sync::Arc, time::Duration};

use hookwright_delivery::{catalogue::Webhook, clock};
use hookwright_domain::id::{DeliveryId, WebhookId};
use hookwright_storage::{
    StoredEvent,
    pull::{Lease, Portion},
};
use tokio::time::Instant;

use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult},
    registry::WebhookRows,
    webhooks::{inactive, resource},
};

/// Bytes of a delivery in a response in addition to its payload and custom headers: names, our headers and signatures.
const DELIVERY_BYTES: usize = 2_000;
/// Interval at which a waiting call looks for deliveries that other nodes stored.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A pull request.
#[derive(Clone, Copy, Debug)]
pub struct PullRequest {
    /// Maximum number of deliveries.
    pub deliveries_max: usize,
    /// Time to acknowledge them.
    pub ack_timeout: Duration,
    /// Time to wait for a first delivery.
    pub wait: Duration,
    /// Maximum size of the response; a first delivery alone may exceed it.
    pub response_bytes_max: usize,
}

/// A leased delivery.
#[derive(Clone, Debug)]
pub struct PulledDelivery {
    /// Delivery and attempt, which identify the lease.
    pub lease: Lease,
    /// The deadline, in microseconds since the epoch.
    pub deadline: i64,
    /// The event.
    pub event: StoredEvent,
    /// The headers of its POST.
    pub headers: Vec<(String, String)>,
}

impl App {
    /// Hands out a webhook's pending deliveries, oldest first. If the caller disconnects the waiting ends; deliveries that
    /// it was given are handed out again after their deadline.
    ///
    /// # Errors
    /// When the organization has no such webhook, it is inactive, or it is a push webhook.
    pub async fn pull_deliveries(
        self: &Arc<Self>,
        caller: &Caller,
        organization: &str,
        id: WebhookId,
        request: PullRequest,
    ) -> AppResult<Vec<PulledDelivery>> {
        let until = Instant::now() + request.wait;
        self.fetched_webhook(caller, organization, id)?;
        if self.engine.holds() {
            return Err(AppError::Precondition {
                reason: "SERVER_HOLDS",
                subject: resource(organization, id),
                message: "the server runs with hold and gives out no deliveries; restart it without hold".to_owned(),
            });
        }
        let arrivals = self.engine.arrivals(id);
        let mut stopping = self.stopping.clone();
        let mut denied = pin!(self.until_denied(caller));
        loop {
            // Before the query, so that no delivery is missed in between.
            let mut arrival = pin!(arrivals.notified());
            arrival.as_mut().enable();
            let webhook = self.fetched_webhook(caller, organization, id)?;
            let app = Arc::clone(self);
            let handing_out = async move { app.hand_out(&webhook, request).await };
            let pulled = self.completion.run(handing_out).await??;
            let next_look = until.min(Instant::now() + LOOK_INTERVAL);
            if !pulled.is_empty() || *stopping.borrow() || next_look <= Instant::now() {
                return Ok(pulled);
            }
            tokio::select! {
                biased;
                error = &mut denied => return Err(error),
                () = arrival => {}
                () = tokio::time::sleep_until(next_look) => {}
                _ = stopping.changed() => {}
            }
        }
    }

    async fn hand_out(&self, webhook: &Webhook, request: PullRequest) -> AppResult<Vec<PulledDelivery>> {
        let now = clock::schedule_us();
        let deadline = now + micros(request.ack_timeout);
        // Reserves the overhead of the deliveries first: at most half of the response.
        let beside = DELIVERY_BYTES + webhook.headers.iter().map(header_bytes).sum::<usize>();
        let rows = (request.response_bytes_max / 2 / beside).clamp(1, request.deliveries_max);
        let portion = Portion {
            rows,
            bytes: request.response_bytes_max.saturating_sub(rows * beside),
            until: deadline,
            discard: self.registry.snapshot().discards.get(&webhook.id.raw()).copied(),
        };
        let leased = self.store.hand_out(webhook.id.raw(), now, portion).await?;
        let again = leased.iter().any(|leased| leased.attempt > 1);
        if again {
            self.engine.changed();
        }
        let pulled = leased.into_iter().map(|leased| {
            let delivery = DeliveryId::from_raw(leased.delivery);
            let number = leased.attempt.unsigned_abs();
            let headers = self.engine.signed_headers(webhook, delivery, number, &leased.event);
            Ok(PulledDelivery {
                lease: (leased.delivery, leased.attempt),
                deadline: clock::shown_us(deadline),
                headers: headers
                    .ok_or_else(|| AppError::internal(&"the webhook's signing secret cannot be decrypted"))?,
                event: leased.event,
            })
        });
        pulled.collect()
    }

    /// Ends leased deliveries as delivered. Returns the stale leases.
    ///
    /// # Errors
    /// When the organization has no such webhook, or it is a push webhook.
    pub async fn acknowledge_deliveries(
        &self,
        caller: &Caller,
        organization: &str,
        id: WebhookId,
        leases: &[Lease],
    ) -> AppResult<Vec<Lease>> {
        let row = self.pull_webhook(caller, organization, id)?.row;
        let now = clock::schedule_us();
        let acknowledged = self.store.acknowledge(id.raw(), leases, now).await?;
        for one in &acknowledged {
            let took = u64::try_from(now - one.leased_at).unwrap_or(0);
            self.engine
                .acknowledged(id, row.organization_id, one.event, Duration::from_micros(took));
        }
        if !acknowledged.is_empty() {
            self.engine.changed();
            // Another delivery of the same key may be due now.
            self.engine.stored(id);
        }
        let done: Vec<Lease> = acknowledged.iter().map(|one| (one.delivery, one.attempt)).collect();
        Ok(stale(leases, &done))
    }

    /// Moves the deadlines of leased deliveries. Returns the stale leases.
    ///
    /// # Errors
    /// When the organization has no such webhook, or it is a push webhook.
    pub async fn extend_deliveries(
        &self,
        caller: &Caller,
        organization: &str,
        id: WebhookId,
        leases: &[Lease],
        ack_timeout: Duration,
    ) -> AppResult<Vec<Lease>> {
        self.pull_webhook(caller, organization, id)?;
        let until = clock::schedule_us() + micros(ack_timeout);
        let extended = self.store.extend_leases(id.raw(), leases, until).await?;
        if ack_timeout.is_zero() && !extended.is_empty() {
            self.engine.stored(id);
        }
        Ok(stale(leases, &extended))
    }

    /// An active pull webhook.
    fn fetched_webhook(&self, caller: &Caller, organization: &str, id: WebhookId) -> AppResult<Arc<Webhook>> {
        let row = self.pull_webhook(caller, organization, id)?.row;
        let webhook = self.registry.snapshot().webhooks.get(&id.raw()).cloned();
        match webhook {
            _ if !row.active => Err(inactive(organization, id)),
            Some(webhook) => Ok(webhook),
            None => Err(AppError::internal(&"the stored webhook cannot be read")),
        }
    }

    fn pull_webhook(&self, caller: &Caller, organization: &str, id: WebhookId) -> AppResult<WebhookRows> {
        let rows = self.webhook_for(caller, Scope::Manage, organization, id)?;
        if rows.row.pull {
            return Ok(rows);
        }
        Err(AppError::Precondition {
            reason: "WEBHOOK_IS_PUSH",
            subject: resource(organization, id),
            message: "the deliveries of this webhook are posted to its payload_url; create one with delivery_mode DELIVERY_MODE_PULL \
                 (`hookwright webhooks create --pull`) to pull them"
                .to_owned(),
        })
    }
}

/// Bytes of a header in a response.
fn header_bytes((name, value): &(String, String)) -> usize {
    const FRAMING: usize = 12;
    name.len() + value.len() + FRAMING
}

fn stale(asked: &[Lease], done: &[Lease]) -> Vec<Lease> {
    let left = asked.iter().filter(|lease| !done.contains(lease));
    left.copied().collect()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}
