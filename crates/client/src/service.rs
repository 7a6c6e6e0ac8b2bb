//! The client.

use std::time::Duration;

use crate::{
    transport::Transport,
    v1::{
        audit_service_client::AuditServiceClient, delivery_service_client::DeliveryServiceClient,
        event_service_client::EventServiceClient, event_type_service_client::EventTypeServiceClient,
        installation_service_client::InstallationServiceClient, node_service_client::NodeServiceClient,
        operation_service_client::OperationServiceClient, organization_service_client::OrganizationServiceClient,
        portal_service_client::PortalServiceClient, pull_service_client::PullServiceClient,
        replay_service_client::ReplayServiceClient, token_service_client::TokenServiceClient,
        webhook_service_client::WebhookServiceClient,
    },
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

    pub(crate) fn retry_policy(&self) -> crate::RetryPolicy {
        self.transport.settings().retry.unwrap_or_default()
    }
}
