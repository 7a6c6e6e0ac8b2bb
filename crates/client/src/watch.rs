//! Watching deliveries.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::{Status, Streaming};

use crate::{
    error::Error,
    retry::{Backoff, delay, is_transient},
    service::Client,
    transport::lost,
    v1::{Delivery, WatchDeliveriesRequest, WatchDeliveriesResponse},
};

/// The server sends a message at least every 10 s: after three times as long the stream is considered broken.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Deliveries as they change; created by [`Client::watch_deliveries`].
///
/// When the stream breaks, or the server restarts, the watch resumes where it stopped: no change is missed, and some
/// deliveries may arrive twice. To resume in another process, store [`resume_token`](Self::resume_token) together with the
/// processed deliveries: it is valid for 24 hours.
#[derive(Debug)]
pub struct DeliveryWatch {
    client: Client,
    /// With the last received resume token.
    request: WatchDeliveriesRequest,
    stream: Option<Streaming<WatchDeliveriesResponse>>,
    /// The contents of the first response.
    first: Vec<Delivery>,
    /// The position after the deliveries that the caller has received.
    resume_token: String,
    backoff: Backoff,
}

impl Client {
    /// Watches deliveries as they change, from now on or from `request.resume_token`. Returns when the server has begun to
    /// watch: no later change is missed.
    ///
    /// # Errors
    /// As WatchDeliveries, for example NOT_FOUND for an unknown organization; DEADLINE_EXCEEDED or UNAVAILABLE if the watch
    /// does not begin within the client's timeout.
    pub async fn watch_deliveries(&self, request: WatchDeliveriesRequest) -> Result<DeliveryWatch, Error> {
        DeliveryWatch::begin(self.clone(), request).await
    }
}

impl DeliveryWatch {
    pub(crate) async fn begin(client: Client, request: WatchDeliveriesRequest) -> Result<Self, Error> {
        let deadline = Instant::now() + client.timeout();
        let mut watch = Self {
            backoff: client.retry_policy().backoff(),
            resume_token: request.resume_token.clone(),
            client,
            request,
            stream: None,
            first: Vec::new(),
        };
        loop {
            // There is no token before the first response.
            let left = deadline.saturating_duration_since(Instant::now());
            let status = match timeout(left, watch.receive()).await {
                Ok(Ok(deliveries)) => {
                    if deliveries.is_empty() {
                        watch.given();
                    }
                    watch.first = deliveries;
                    return Ok(watch);
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("the watch did not begin in time"),
            };
            let pause = watch.backoff.pause(delay(&status));
            if !is_transient(&status) || Instant::now() + pause >= deadline {
                return Err(status.into());
            }
            sleep(pause).await;
        }
    }

    /// The next changed deliveries: at least one, at most 1,000. Waits while there are none, and while the server is
    /// unavailable. Can be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// When the watch cannot continue: the resume token is too old (more than 24 hours without a connection), the
    /// organization or webhook was deleted, or the token is no longer valid.
    pub async fn next(&mut self) -> Result<Vec<Delivery>, Error> {
        if !self.first.is_empty() {
            self.given();
            return Ok(std::mem::take(&mut self.first));
        }
        loop {
            match self.receive().await {
                Ok(deliveries) => {
                    self.given();
                    if !deliveries.is_empty() {
                        return Ok(deliveries);
                    }
                }
                Err(status) if is_transient(&status) => sleep(self.backoff.pause(delay(&status))).await,
                Err(status) => return Err(status.into()),
            }
        }
    }

    /// The position after the deliveries that [`next`](Self::next) has returned.
    #[must_use]
    pub fn resume_token(&self) -> &str {
        &self.resume_token
    }

    fn given(&mut self) {
        self.resume_token.clone_from(&self.request.resume_token);
    }

    /// One response, on a stream that is opened if there is none.
    async fn receive(&mut self) -> Result<Vec<Delivery>, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let opened = self.client.deliveries().watch_deliveries(self.request.clone()).await?;
                self.stream.insert(opened.into_inner())
            }
        };
        let received = match timeout(SILENCE_MAX, stream.message()).await {
            Ok(Ok(Some(response))) => Ok(response),
            Ok(Ok(None)) => Err(Status::unavailable("the server ended the stream")),
            Ok(Err(status)) => Err(lost(status)),
            Err(_) => Err(Status::unavailable(format!("no message arrived for {SILENCE_MAX:?}"))),
        };
        match received {
            Ok(response) => {
                self.backoff.reset();
                if !response.resume_token.is_empty() {
                    self.request.resume_token = response.resume_token;
                }
                Ok(response.deliveries)
            }
            Err(status) => {
                self.stream = None;
                Err(status)
            }
        }
    }
}
