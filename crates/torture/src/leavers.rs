//! Callers that leave: they make calls that change something and cancel them after some milliseconds, and they pull
//! deliveries and cancel the acknowledgements likewise. Each of their changes must be complete or absent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hookwright_domain::id::EventId;
use hookwright_proto::v1::{
    AcknowledgeDeliveriesRequest, CreateEventTypeRequest, CreateOrganizationRequest, CreateWebhookRequest,
    DeleteOrganizationRequest, DeleteWebhookRequest, DeliveryMode, ExtendDeliveriesRequest, ListOrganizationsRequest,
    ListWebhooksRequest, PublishEventRequest, PullDeliveriesRequest, RotateSigningSecretRequest, UpdateWebhookRequest,
    Webhook, event_service_client::EventServiceClient, event_type_service_client::EventTypeServiceClient,
    organization_service_client::OrganizationServiceClient, publish_event_request::Payload,
    pull_service_client::PullServiceClient, webhook_service_client::WebhookServiceClient,
};
use prost_types::FieldMask;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::{
    Random,
    history::{Entry, History},
    nodes::{Addresses, any_channel, authorized},
    now_us,
};

const ORGANIZATION: &str = "organizations/leavers";
/// The prefix of organizations that these calls create.
const PREFIX: &str = "left-";
/// The type of the pulled events.
pub(crate) const EVENT_TYPE: &str = "left";
const PAUSE: Duration = Duration::from_millis(40);
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The lease of pulled deliveries.
const LEASE_SECONDS: i64 = 3;

pub(crate) struct Leavers {
    /// From then on it only pulls and acknowledges.
    settles: Arc<AtomicBool>,
    leaver: Leaver,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Leaver {
    addresses: Addresses,
    token: String,
    history: Arc<History>,
    random: Random,
    webhook: String,
    channel: Option<Channel>,
}

impl Leavers {
    /// Installs the webhook that they pull from, and starts them.
    pub(crate) async fn start(
        addresses: &Addresses,
        token: &str,
        history: &Arc<History>,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let mut leaver = Leaver {
            addresses: Arc::clone(addresses),
            token: token.to_owned(),
            history: Arc::clone(history),
            random: Random::new(seed.wrapping_add(104_729)),
            webhook: String::new(),
            channel: None,
        };
        leaver.install().await?;
        let settles = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(leaver.clone().run(Arc::clone(&settles)));
        Ok(Self { settles, leaver, task })
    }

    /// Stops leaving calls, and deletes the resources that these calls created. Pending deliveries are acknowledged
    /// until this value is dropped.
    pub(crate) async fn settle(&mut self) {
        self.settles.store(true, Ordering::Release);
        while let Err(error) = self.leaver.delete_all().await {
            // A node will be up again soon.
            self.leaver.channel = None;
            let _ = error;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

impl Drop for Leavers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes a call, and leaves it after a while; `None` if it was left, or failed.
macro_rules! leave {
    ($leaver:expr, $client:ident . $method:ident($message:expr)) => {{
        let message = $message;
        let leaver = &mut *$leaver;
        let patience = Duration::from_micros(leaver.random.next() % 15_000);
        let mut request = authorized(message, &leaver.token)?;
        let channel = leaver.channel().await?;
        if leaver.random.below(2) == 0 {
            request.set_timeout(patience);
        }
        let at = now_us();
        let answer = tokio::time::timeout(patience, $client::new(channel).$method(request)).await;
        let is_left = !matches!(answer, Ok(Ok(_)));
        leaver.history.add(&Entry::Left {
            at,
            call: stringify!($method).to_owned(),
            is_left,
        });
        answer.ok().and_then(Result::ok).map(tonic::Response::into_inner)
    }};
}

/// Makes a call and waits for its answer.
macro_rules! call {
    ($leaver:expr, $client:ident . $method:ident($message:expr)) => {{
        let message = $message;
        let leaver = &mut *$leaver;
        let channel = leaver.channel().await?;
        let request = authorized(message, &leaver.token)?;
        $client::new(channel).$method(request).await?.into_inner()
    }};
}

impl Leaver {
    async fn channel(&mut self) -> anyhow::Result<Channel> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let made = any_channel(&self.addresses, &mut self.random).await?;
        self.channel = Some(made.clone());
        Ok(made)
    }

    async fn install(&mut self) -> anyhow::Result<()> {
        let organization_id = ORGANIZATION.rsplit('/').next().unwrap_or_default().to_owned();
        let organization = CreateOrganizationRequest {
            organization_id,
            organization: None,
        };
        call!(self, OrganizationServiceClient.create_organization(organization));
        let event_type = CreateEventTypeRequest {
            event_type_id: EVENT_TYPE.to_owned(),
            event_type: None,
        };
        call!(self, EventTypeServiceClient.create_event_type(event_type));
        let webhook = CreateWebhookRequest {
            parent: ORGANIZATION.to_owned(),
            webhook: Some(fetched()),
        };
        self.webhook = call!(self, WebhookServiceClient.create_webhook(webhook)).name;
        Ok(())
    }

    async fn run(mut self, settles: Arc<AtomicBool>) {
        for number in 0_u64.. {
            let done = if settles.load(Ordering::Acquire) {
                self.acknowledge_all().await
            } else {
                self.round(number).await
            };
            if done.is_err() {
                // The node is down or unreachable.
                self.channel = None;
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn round(&mut self, number: u64) -> anyhow::Result<()> {
        self.publish(number).await?;
        let organization = CreateOrganizationRequest {
            organization_id: format!("{PREFIX}{number}"),
            organization: None,
        };
        leave!(self, OrganizationServiceClient.create_organization(organization));
        let webhook = CreateWebhookRequest {
            parent: ORGANIZATION.to_owned(),
            webhook: Some(Webhook {
                active: Some(false),
                ..fetched()
            }),
        };
        leave!(self, WebhookServiceClient.create_webhook(webhook));
        let update = UpdateWebhookRequest {
            webhook: Some(Webhook {
                name: self.webhook.clone(),
                description: format!("at {number}"),
                ..Webhook::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["description".to_owned()],
            }),
        };
        leave!(self, WebhookServiceClient.update_webhook(update));
        let rotation = RotateSigningSecretRequest {
            name: self.webhook.clone(),
            force: true,
            ..RotateSigningSecretRequest::default()
        };
        leave!(self, WebhookServiceClient.rotate_signing_secret(rotation));
        leave!(self, PullServiceClient.pull_deliveries(self.pull()));
        let leases = self.lease().await?;
        if leases.is_empty() {
            return Ok(());
        }
        let extension = ExtendDeliveriesRequest {
            webhook: self.webhook.clone(),
            ack_ids: leases[..leases.len() / 3].to_vec(),
            ack_timeout: None,
        };
        if !extension.ack_ids.is_empty() {
            leave!(self, PullServiceClient.extend_deliveries(extension));
        }
        leave!(
            self,
            PullServiceClient.acknowledge_deliveries(self.acknowledgement(leases))
        );
        Ok(())
    }

    async fn publish(&mut self, number: u64) -> anyhow::Result<()> {
        for _ in 0..3 {
            let event = PublishEventRequest {
                organization: ORGANIZATION.to_owned(),
                event_type: EVENT_TYPE.to_owned(),
                payload: Some(Payload::Json(format!(r#"{{"number":{number}}}"#).into())),
                ..PublishEventRequest::default()
            };
            let published = call!(self, EventServiceClient.publish_event(event));
            let id = published
                .event
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .parse::<EventId>();
            self.history.add(&Entry::Offered {
                at: now_us(),
                event: id.map_or(0, EventId::raw),
            });
        }
        Ok(())
    }

    fn pull(&self) -> PullDeliveriesRequest {
        PullDeliveriesRequest {
            webhook: self.webhook.clone(),
            max_deliveries: 100,
            ack_timeout: Some(prost_types::Duration {
                seconds: LEASE_SECONDS,
                nanos: 0,
            }),
            wait: None,
            response_bytes_max: 0,
        }
    }

    async fn lease(&mut self) -> anyhow::Result<Vec<String>> {
        let pulled = call!(self, PullServiceClient.pull_deliveries(self.pull()));
        Ok(pulled.deliveries.into_iter().map(|delivery| delivery.ack_id).collect())
    }

    fn acknowledgement(&self, ack_ids: Vec<String>) -> AcknowledgeDeliveriesRequest {
        AcknowledgeDeliveriesRequest {
            webhook: self.webhook.clone(),
            ack_ids,
        }
    }

    async fn acknowledge_all(&mut self) -> anyhow::Result<()> {
        let leases = self.lease().await?;
        if !leases.is_empty() {
            call!(
                self,
                PullServiceClient.acknowledge_deliveries(self.acknowledgement(leases))
            );
        }
        Ok(())
    }

    /// Deletes the resources that the calls created, so that nothing is owed to them in the end.
    async fn delete_all(&mut self) -> anyhow::Result<()> {
        let of_ours = ListWebhooksRequest {
            parent: ORGANIZATION.to_owned(),
            page_size: 1_000,
            ..ListWebhooksRequest::default()
        };
        let mut webhooks = call!(self, WebhookServiceClient.list_webhooks(of_ours)).webhooks;
        webhooks.retain(|webhook| webhook.name != self.webhook);
        for webhook in webhooks {
            let deletion = DeleteWebhookRequest { name: webhook.name };
            call!(self, WebhookServiceClient.delete_webhook(deletion));
        }
        let by_the_way = ListOrganizationsRequest {
            page_size: 1_000,
            organization_id_prefix: PREFIX.to_owned(),
            ..ListOrganizationsRequest::default()
        };
        let organizations = call!(self, OrganizationServiceClient.list_organizations(by_the_way)).organizations;
        for organization in organizations {
            let deletion = DeleteOrganizationRequest {
                name: organization.name,
                force: true,
            };
            call!(self, OrganizationServiceClient.delete_organization(deletion));
        }
        Ok(())
    }
}

fn fetched() -> Webhook {
    Webhook {
        delivery_mode: DeliveryMode::Pull.into(),
        events: vec![EVENT_TYPE.to_owned()],
        ..Webhook::default()
    }
}
