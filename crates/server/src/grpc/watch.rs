//! `WatchDeliveries`: deliveries out, as they change, until the client ends the stream.

use std::{
    pin::{Pin, pin},
    sync::Arc,
};

use futures::Stream;
use hookwright_proto::v1::{Delivery, WatchDeliveriesRequest, WatchDeliveriesResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{Api, conditions::conditions, name, records::delivery};
use crate::app::{
    App,
    access::Caller,
    watch::{DeliveryWatch, Seen},
};

/// Deliveries on their way to the client.
pub(super) type DeliveryStream = Pin<Box<dyn Stream<Item = Result<WatchDeliveriesResponse, Status>> + Send>>;

/// Maximum number of deliveries per response.
const DELIVERIES_MAX: usize = 1_000;
/// Capacity of the queue of responses: deliveries that the client has not read are read from the store later.
const WINDOW: usize = 2;

/// The client's filter, kept for the duration of the stream.
struct Client {
    app: Arc<App>,
    organization: String,
    caller: Caller,
    responses: mpsc::Sender<Result<WatchDeliveriesResponse, Status>>,
}

impl Api {
    pub(super) async fn watch(&self, request: &Request<WatchDeliveriesRequest>) -> Result<DeliveryStream, Status> {
        let caller = self.caller(request)?;
        let request = request.get_ref();
        let organization = name::organization("parent", &request.parent)?;
        let filter = conditions(
            organization,
            &request.webhook,
            &request.event_type,
            &request.states,
            &request.error_classes,
        )?;
        let watch = self
            .app
            .watch_deliveries(&caller, organization, filter, &request.resume_token)
            .await?;
        let (responses, stream) = mpsc::channel(WINDOW);
        let client = Client {
            app: Arc::clone(&self.app),
            organization: organization.to_owned(),
            caller,
            responses,
        };
        tokio::spawn(client.serve(watch));
        Ok(Box::pin(ReceiverStream::new(stream)))
    }
}

impl Client {
    /// Sends changes until the client disconnects, its token ends, or the server stops.
    async fn serve(self, mut watch: DeliveryWatch) {
        let mut last_token = watch.resume_token();
        let mut open = self.send(Vec::new(), last_token.clone()).await;
        // A stream can outlive its token.
        let mut denied = pin!(self.app.until_denied(&self.caller));
        while open {
            let seen = tokio::select! {
                biased;
                error = &mut denied => Err(error),
                seen = watch.next() => seen,
                () = self.responses.closed() => return,
            };
            match seen {
                Ok(seen) => open = self.pass_on(seen, &mut last_token).await,
                Err(error) => {
                    let _ = self.responses.send(Err(error.into())).await;
                    return;
                }
            }
        }
    }

    /// In several responses if there are many; only the last one moves the resume position.
    async fn pass_on(&self, seen: Seen, last_token: &mut String) -> bool {
        let mut deliveries = seen
            .deliveries
            .into_iter()
            .map(|record| delivery(&self.organization, record));
        loop {
            let some: Vec<Delivery> = deliveries.by_ref().take(DELIVERIES_MAX).collect();
            let is_last = deliveries.len() == 0;
            if is_last {
                last_token.clone_from(&seen.resume_token);
            }
            if !self.send(some, last_token.clone()).await {
                return false;
            }
            if is_last {
                return true;
            }
        }
    }

    /// False if the client is gone.
    async fn send(&self, deliveries: Vec<Delivery>, resume_token: String) -> bool {
        let response = WatchDeliveriesResponse {
            deliveries,
            resume_token,
        };
        self.responses.send(Ok(response)).await.is_ok()
    }
}
