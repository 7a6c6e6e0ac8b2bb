//! Pulling: for receivers that the server cannot reach.

use std::{collections::HashMap, future::Future, time::Duration};

use tokio::{task::JoinSet, time::sleep};
use tonic::Request;

use crate::{
    error::Error,
    retry::Backoff,
    service::Client,
    v1::{
        AcknowledgeDeliveriesRequest, AcknowledgeDeliveriesResponse, ExtendDeliveriesRequest, PullDeliveriesRequest,
        PulledDelivery,
    },
};

const DELIVERIES_MAX: u16 = 100;
const ACK_TIMEOUT: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_secs(20);
/// Maximum number of deliveries that one call can acknowledge.
const ACKS_MAX: usize = 1_000;

/// Builds a [`Puller`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct PullerBuilder(Puller);

/// Pulls the deliveries of one webhook, and acknowledges them. Cheap to clone; several pullers can share a webhook's
/// deliveries.
///
/// At least once: a delivery that is not acknowledged before its deadline is handed out again, to any puller, with the same
/// `webhook-id` header. Its signatures verify like those of a POST.
#[derive(Clone, Debug)]
pub struct Puller {
    client: Client,
    webhook: String,
    deliveries_max: u16,
    ack_timeout: Duration,
    wait: Duration,
}

impl Client {
    /// Builds a puller of a webhook (`organizations/{organization_id}/webhooks/{webhook_id}`) whose delivery mode is PULL.
    pub fn puller(&self, webhook: impl Into<String>) -> PullerBuilder {
        PullerBuilder::new(self.clone(), webhook.into())
    }
}

impl PullerBuilder {
    pub(crate) fn new(client: Client, webhook: String) -> Self {
        Self(Puller {
            client,
            webhook,
            deliveries_max: DELIVERIES_MAX,
            ack_timeout: ACK_TIMEOUT,
            wait: WAIT,
        })
    }

    /// Maximum number of deliveries per pull, which [`Puller::run`] handles concurrently: 1 to 1,000; 100 by default.
    pub fn deliveries_max(mut self, count: u16) -> Self {
        self.0.deliveries_max = count;
        self
    }

    /// Time to acknowledge pulled deliveries: 1 s to 12 h; 60 s by default.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.0.ack_timeout = timeout;
        self
    }

    /// Time that a call waits for a first delivery if there is none: at most 50 s; 20 s by default.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.0.wait = wait;
        self
    }

    /// Builds the puller. The server validates the values at the first call.
    #[must_use]
    pub fn build(self) -> Puller {
        self.0
    }
}

impl Puller {
    /// Pulls pending deliveries, oldest first; empty if none arrived within [`wait`](PullerBuilder::wait).
    ///
    /// # Errors
    /// As PullDeliveries: FAILED_PRECONDITION for a push webhook or an inactive one, NOT_FOUND, PERMISSION_DENIED (it needs
    /// the scope `manage`), INVALID_ARGUMENT for values out of range.
    pub async fn pull(&self) -> Result<Vec<PulledDelivery>, Error> {
        let mut request = Request::new(PullDeliveriesRequest {
            webhook: self.webhook.clone(),
            max_deliveries: self.deliveries_max.into(),
            ack_timeout: Some(duration(self.ack_timeout)),
            wait: Some(duration(self.wait)),
            response_bytes_max: 0,
        });
        request.set_timeout(self.wait + self.client.timeout());
        Ok(self
            .client
            .pull()
            .pull_deliveries(request)
            .await?
            .into_inner()
            .deliveries)
    }

    /// Acknowledges deliveries by their `ack_id`s: they are durably delivered when this returns. Returns those that were not
    /// acknowledged, because their deadline had passed and they were handed out again, or because they were already
    /// acknowledged or cancelled.
    ///
    /// # Errors
    /// As AcknowledgeDeliveries. After UNAVAILABLE it can be called again: acknowledged deliveries are then among the stale
    /// ones.
    pub async fn acknowledge(&self, ack_ids: Vec<String>) -> Result<Vec<String>, Error> {
        let mut stale = Vec::new();
        for ack_ids in ack_ids.chunks(ACKS_MAX) {
            let request = AcknowledgeDeliveriesRequest {
                webhook: self.webhook.clone(),
                ack_ids: ack_ids.to_vec(),
            };
            let AcknowledgeDeliveriesResponse { stale_ack_ids } =
                self.client.pull().acknowledge_deliveries(request).await?.into_inner();
            stale.extend(stale_ack_ids);
        }
        Ok(stale)
    }

    /// Moves the deadlines of deliveries to a time from now, up to 12 h; without a time, releases them to be handed out at
    /// once. Returns those whose deadline was not moved.
    ///
    /// # Errors
    /// As ExtendDeliveries.
    pub async fn extend(&self, ack_ids: Vec<String>, ack_timeout: Duration) -> Result<Vec<String>, Error> {
        let mut stale = Vec::new();
        for ack_ids in ack_ids.chunks(ACKS_MAX) {
            let request = ExtendDeliveriesRequest {
                webhook: self.webhook.clone(),
                ack_ids: ack_ids.to_vec(),
                ack_timeout: Some(duration(ack_timeout)),
            };
            stale.extend(
                self.client
                    .pull()
                    .extend_deliveries(request)
                    .await?
                    .into_inner()
                    .stale_ack_ids,
            );
        }
        Ok(stale)
    }

    /// Pulls continuously: passes each delivery to `handle`, those of one call concurrently, and acknowledges those for
    /// which it returned true. The others, and those whose handler panicked, are handed out again after their deadline. The
    /// deadlines of deliveries that take longer than half of [`ack_timeout`](PullerBuilder::ack_timeout) are extended
    /// repeatedly.
    ///
    /// It retries while the server is unavailable. To stop it, drop the future (`tokio::select!`): deliveries in progress
    /// are then handed out again.
    ///
    /// # Errors
    /// When pulling cannot continue: the webhook was deleted, deactivated or is a push webhook, or the token is no longer
    /// valid.
    pub async fn run<H, F>(&self, handle: H) -> Result<(), Error>
    where
        H: Fn(PulledDelivery) -> F,
        F: Future<Output = bool> + Send + 'static,
    {
        let mut backoff = self.client.retry_policy().backoff();
        loop {
            let deliveries = self.patiently(&mut backoff, || self.pull()).await?;
            let mut in_flight = JoinSet::new();
            let mut ack_ids = HashMap::new();
            for delivery in deliveries {
                let ack_id = delivery.ack_id.clone();
                let task = in_flight.spawn(handle(delivery));
                ack_ids.insert(task.id(), ack_id);
            }
            self.settle(in_flight, ack_ids, &mut backoff).await?;
        }
    }

    /// Acknowledges handled deliveries, until all are handled.
    async fn settle(
        &self,
        mut in_flight: JoinSet<bool>,
        mut ack_ids: HashMap<tokio::task::Id, String>,
        backoff: &mut Backoff,
    ) -> Result<(), Error> {
        while !in_flight.is_empty() {
            let mut done = Vec::new();
            tokio::select! {
                Some(first) = in_flight.join_next_with_id() => {
                    let others = std::iter::from_fn(|| in_flight.try_join_next_with_id());
                    for ended in std::iter::once(first).chain(others) {
                        let (id, handled) = ended.unwrap_or_else(|failed| (failed.id(), false));
                        done.extend(ack_ids.remove(&id).filter(|_| handled));
                    }
                }
                () = sleep(self.ack_timeout / 2) => {
                    let slow = || self.extend(ack_ids.values().cloned().collect(), self.ack_timeout);
                    self.patiently(backoff, slow).await?;
                }
            }
            if !done.is_empty() {
                self.patiently(backoff, || self.acknowledge(done.clone())).await?;
            }
        }
        Ok(())
    }

    /// Retries a call until it succeeds or fails permanently.
    async fn patiently<T, F>(&self, backoff: &mut Backoff, call: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        loop {
            match call().await {
                Ok(answer) => {
                    backoff.reset();
                    return Ok(answer);
                }
                Err(error) if error.is_transient() || error.code() == tonic::Code::DeadlineExceeded => {
                    sleep(backoff.pause(error.retry_delay())).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A duration that protobuf cannot represent exceeds any limit: the server rejects it and names the field.
fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration {
        seconds: i64::MAX,
        nanos: 0,
    })
}
