//! The deliveries of the webhook: pulls, acknowledges and delays them. Survives restarts of the server.

use std::{collections::VecDeque, time::Duration};

use hookwright_proto::v1::{
    AcknowledgeDeliveriesRequest, ExtendDeliveriesRequest, PullDeliveriesRequest, PulledDelivery,
};

use super::args::ForwardArgs;
use crate::{
    client::{Client, input, patience::Patience},
    output,
};

/// Number of deliveries per pull.
const FETCHED_MAX: u16 = 10;
/// Time that the server waits for a delivery if there is none.
const WAIT: Duration = Duration::from_secs(20);
/// A generous bound on a delivery's overhead in addition to its attempt.
const MARGIN: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Queue<'a> {
    client: &'a Client,
    /// The webhook's resource name.
    pub(super) webhook: String,
    /// Pulled, and not started yet.
    fetched: VecDeque<PulledDelivery>,
    /// Deliveries that `next` returned, until they are acknowledged or delayed.
    current: Option<String>,
    ack_timeout: Duration,
    patience: Patience,
}

impl<'a> Queue<'a> {
    pub(super) fn new(client: &'a Client, args: &ForwardArgs) -> Self {
        Self {
            client,
            webhook: String::new(),
            fetched: VecDeque::new(),
            current: None,
            // The last pulled delivery waits until all others have had their time.
            ack_timeout: (args.attempt_timeout + MARGIN) * u32::from(FETCHED_MAX),
            patience: Patience::default(),
        }
    }

    /// The next delivery, as soon as there is one.
    pub(super) async fn next(&mut self) -> anyhow::Result<PulledDelivery> {
        while self.fetched.is_empty() {
            let request = PullDeliveriesRequest {
                webhook: self.webhook.clone(),
                max_deliveries: FETCHED_MAX.into(),
                ack_timeout: Some(input::duration(self.ack_timeout)),
                wait: Some(input::duration(WAIT)),
                response_bytes_max: 0,
            };
            match self
                .client
                .pulls()
                .pull_deliveries(self.client.waiting(request, WAIT))
                .await
            {
                Ok(response) => {
                    self.patience.succeeded();
                    self.fetched.extend(response.into_inner().deliveries);
                }
                Err(status) => self.patience.wait_after(status).await?,
            }
        }
        let delivery = self.fetched.pop_front().unwrap_or_default();
        self.current = Some(delivery.ack_id.clone());
        Ok(delivery)
    }

    /// Acknowledges a delivery that `next` returned.
    pub(super) async fn acknowledge(&mut self, delivery: &PulledDelivery) -> anyhow::Result<()> {
        let stale = loop {
            let request = AcknowledgeDeliveriesRequest {
                webhook: self.webhook.clone(),
                ack_ids: vec![delivery.ack_id.clone()],
            };
            match self.client.pulls().acknowledge_deliveries(request).await {
                Ok(response) => break response.into_inner().stale_ack_ids,
                Err(status) => self.patience.wait_after(status).await?,
            }
        };
        self.settled(delivery, &stale);
        Ok(())
    }

    /// Makes the server hand out a delivery that `next` returned again after a delay.
    pub(super) async fn put_off(&mut self, delivery: &PulledDelivery, delay: Duration) -> anyhow::Result<()> {
        let stale = loop {
            match self.extend(vec![delivery.ack_id.clone()], delay).await {
                Ok(stale) => break stale,
                Err(status) => self.patience.wait_after(status).await?,
            }
        };
        self.settled(delivery, &stale);
        Ok(())
    }

    fn settled(&mut self, delivery: &PulledDelivery, stale: &[String]) {
        self.patience.succeeded();
        self.current = None;
        if !stale.is_empty() {
            output::note(&format!(
                "{} was acknowledged, cancelled or handed out again in the meantime",
                crate::client::names::id(&delivery.delivery)
            ));
        }
    }

    async fn extend(&self, ack_ids: Vec<String>, ack_timeout: Duration) -> Result<Vec<String>, tonic::Status> {
        let request = ExtendDeliveriesRequest {
            webhook: self.webhook.clone(),
            ack_ids,
            ack_timeout: Some(input::duration(ack_timeout)),
        };
        let response = self.client.pulls().extend_deliveries(request).await?;
        Ok(response.into_inner().stale_ack_ids)
    }

    /// Releases pulled deliveries that were not processed. If that fails, they return when their lease ends.
    pub(super) async fn release(&mut self) {
        let mut ack_ids: Vec<String> = self.fetched.drain(..).map(|one| one.ack_id).collect();
        ack_ids.extend(self.current.take());
        if ack_ids.is_empty() {
            return;
        }
        if let Err(status) = self.extend(ack_ids, Duration::ZERO).await {
            output::note(&format!(
                "unprocessed deliveries could not be released ({}); the server hands them out again within {}",
                output::printable(status.message()),
                crate::units::show_duration(self.ack_timeout)
            ));
        }
    }
}
