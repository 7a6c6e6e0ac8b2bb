//! The client.

use std::time::Duration;

use crate::{
    builder::ClientBuilder,
    error::Error,
    publisher::PublisherBuilder,
    pull::PullerBuilder,
    transport::Transport,
    v1::{
        WatchDeliveriesRequest, audit_service_client::AuditServiceClient,
        delivery_service_client::DeliveryServiceClient, event_service_client::EventServiceClient,
        event_type_service_client::EventTypeServiceClient, installation_service_client::InstallationServiceClient,
        node_service_client::NodeServiceClient, operation_service_client::OperationServiceClient,
        organization_service_client::OrganizationServiceClient, portal_service_client::PortalServiceClient,
        pull_service_client::PullServiceClient, replay_service_client::ReplayServiceClient,
        token_service_client::TokenServiceClient, webhook_service_client::WebhookServiceClient,
    },
    watch::DeliveryWatch,
};

/// A client of one Hookwright installation. Cheap to clone; all clones, and everything created from them, share one
/// connection and can be used concurrently.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
}

macro_rules! services {
    ($($(#[$doc:meta])* $name:ident: $client:ident,)*) => {
        impl Client {$(
            $(#[$doc])*
            #[must_use]
            pub fn $name(&self) -> $client<Transport> {
                let bytes_max = self.transport.settings().message_bytes_max;
                $client::new(self.transport.clone()).max_decoding_message_size(bytes_max)
            }
        )*}
    };
}

services! {
    /// The tenants of the installation.
    organizations: OrganizationServiceClient,
    /// The registered event types.
    event_types: EventTypeServiceClient,
    /// The webhooks of organizations.
    webhooks: WebhookServiceClient,
    /// Published events. To publish use [`Client::publish`], [`Client::publish_batch`] and [`Client::publisher`], which
    /// retry failures; a publish call made here is retried only if it is marked as [`Repeatable`](crate::Repeatable).
    events: EventServiceClient,
    /// Deliveries and their attempts. To watch them see [`Client::watch_deliveries`].
    deliveries: DeliveryServiceClient,
    /// Replays of many deliveries.
    replays: ReplayServiceClient,
    /// Long-running work on many deliveries.
    operations: OperationServiceClient,
    /// Pull deliveries. See [`Client::puller`].
    pull: PullServiceClient,
    /// API tokens.
    tokens: TokenServiceClient,
    /// The audit log.
    audit: AuditServiceClient,
    /// Portal links, which give customers access to the console.
    portal: PortalServiceClient,
    /// The version and settings of the installation.
    installation: InstallationServiceClient,
    /// The servers of the installation.
    nodes: NodeServiceClient,
}

impl Client {
    /// Builds a client of the server at an address such as `http://127.0.0.1:50051` or `https://hookwright.internal:50051`.
    pub fn builder(address: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(address.into())
    }

    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport }
    }

    /// The transport, for generated clients of other services at the same address.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport.clone()
    }

    /// The default timeout of a call.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.transport.settings().timeout
    }

    /// Builds a stream of events, each sent until it is acknowledged.
    pub fn publisher(&self) -> PublisherBuilder {
        PublisherBuilder::new(self.clone())
    }

    /// Watches deliveries as they change, from now on or from `request.resume_token`. Returns when the server has begun to
    /// watch: no later change is missed.
    ///
    /// # Errors
    /// As WatchDeliveries, for example NOT_FOUND for an unknown organization; DEADLINE_EXCEEDED or UNAVAILABLE if the watch
    /// does not begin within the client's timeout.
    pub async fn watch_deliveries(&self, request: WatchDeliveriesRequest) -> Result<DeliveryWatch, Error> {
        DeliveryWatch::begin(self.clone(), request).await
    }

    /// Builds a puller of a webhook (`organizations/{organization_id}/webhooks/{webhook_id}`) whose delivery mode is PULL.
    pub fn puller(&self, webhook: impl Into<String>) -> PullerBuilder {
        PullerBuilder::new(self.clone(), webhook.into())
    }

    pub(crate) fn retry_policy(&self) -> crate::RetryPolicy {
        self.transport.settings().retry.unwrap_or_default()
    }
}
