//! The organizations, event types and webhooks of a world.

use futures::{StreamExt as _, TryStreamExt as _};
use hookwright_proto::v1::{
    CreateEventTypeRequest, CreateOrganizationRequest, CreateWebhookRequest, EventType, Webhook,
    event_type_service_client::EventTypeServiceClient, organization_service_client::OrganizationServiceClient,
    webhook_service_client::WebhookServiceClient,
};

use super::{ORGANIZATION, World};
use crate::parts::messages::Template;

/// How many webhooks are created at the same time.
const CREATED_AT_ONCE: usize = 32;

/// Events of these types, for the organization of all scenarios.
pub(in super::super) fn templates(event_types: &[String]) -> Vec<Template> {
    event_types
        .iter()
        .map(|event_type| Template::new(ORGANIZATION, event_type))
        .collect()
}

impl World {
    /// Creates an organization with this name: `organizations/acme`.
    pub(in super::super) async fn organization(&self, name: &str) -> anyhow::Result<()> {
        let request = CreateOrganizationRequest {
            organization_id: name.trim_start_matches("organizations/").to_owned(),
            organization: None,
        };
        let mut client = OrganizationServiceClient::new(self.channel());
        client.create_organization(self.request(request)?).await?;
        Ok(())
    }

    /// Creates organizations `organizations/prefix-0` and so on, and returns their names.
    pub(in super::super) async fn organizations(&self, prefix: &str, count: usize) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::with_capacity(count);
        for number in 0..count {
            let name = format!("organizations/{prefix}-{number}");
            self.organization(&name).await?;
            names.push(name);
        }
        Ok(names)
    }

    /// Registers event types `bench.0`, `bench.1` and so on, and returns their names.
    pub(in super::super) async fn event_types(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let mut client = EventTypeServiceClient::new(self.channel());
        let mut names = Vec::with_capacity(count);
        for number in 0..count {
            let name = format!("bench.{number}");
            let request = CreateEventTypeRequest {
                event_type_id: name.clone(),
                event_type: Some(EventType::default()),
            };
            client.create_event_type(self.request(request)?).await?;
            names.push(name);
        }
        Ok(names)
    }

    /// Installs a webhook on a host of the sink for one event type.
    pub(in super::super) async fn webhook(&self, host: usize, event_type: &str) -> anyhow::Result<Webhook> {
        self.webhook_of(ORGANIZATION, host, event_type).await
    }

    /// The same for any organization.
    pub(in super::super) async fn webhook_of(
        &self,
        organization: &str,
        host: usize,
        event_type: &str,
    ) -> anyhow::Result<Webhook> {
        let webhook = subscription(self.sink.url(host, "/payload"), event_type);
        self.create(organization.to_owned(), webhook).await
    }

    /// Creates a webhook of any kind.
    pub(in super::super) async fn create(&self, parent: String, webhook: Webhook) -> anyhow::Result<Webhook> {
        let request = CreateWebhookRequest {
            parent,
            webhook: Some(webhook),
        };
        let mut client = WebhookServiceClient::new(self.channel());
        Ok(client.create_webhook(self.request(request)?).await?.into_inner())
    }

    /// Creates many webhooks, each of an organization, and returns them in the same order.
    pub(in super::super) async fn create_all(&self, all: Vec<(String, Webhook)>) -> anyhow::Result<Vec<Webhook>> {
        let calls = all
            .into_iter()
            .map(|(organization, webhook)| self.create(organization, webhook));
        futures::stream::iter(calls)
            .buffered(CREATED_AT_ONCE)
            .try_collect()
            .await
    }
}

/// A webhook for one event type.
pub(in super::super) fn subscription(payload_url: String, event_type: &str) -> Webhook {
    Webhook {
        payload_url,
        events: vec![event_type.to_owned()],
        ..Webhook::default()
    }
}
