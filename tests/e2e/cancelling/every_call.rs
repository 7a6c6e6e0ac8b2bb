//! Every call that changes something, made by callers who leave before its end.

use std::collections::BTreeSet;

use hookwright_proto::v1::{
    AcknowledgeDeliveriesRequest, ArchiveEventTypeRequest, BatchPublishEventsRequest, CancelDeliveryRequest,
    CancelOperationRequest, CancelReplayRequest, CompleteSigningSecretRotationRequest, CreateEventTypeRequest,
    CreateOrganizationRequest, CreateTokenRequest, CreateWebhookRequest, DeleteEventTypeRequest,
    DeleteOrganizationRequest, DeleteWebhookRequest, Delivery, DeliveryState, EventType, ExtendDeliveriesRequest,
    Organization, PingWebhookRequest, PublishStreamRequest, PullDeliveriesRequest, ReplayDeliveriesRequest,
    ReplayDeliveryRequest, ReplaySelection, ResumeWebhookRequest, RetryDeliveryRequest, RevealSigningSecretRequest,
    RevokePortalLinkRequest, RevokeTokenRequest, RotateSigningSecretRequest, SkipDeliveryRequest, TokenScope,
    UnarchiveEventTypeRequest, UpdateEventTypeRequest, UpdateOrganizationRequest, UpdateWebhookRequest, Webhook,
};
use prost::Message as _;
use prost_types::{Duration as ProtoDuration, FieldMask, FileDescriptorSet};
use tonic::{Code, Request};

use super::{Moments, fetched};
use crate::support::{ACME, Clients, event, portal_link, token};

/// Makes a call whose caller leaves after a while, by either way of leaving, and notes its name.
macro_rules! leave {
    ($leaving:ident, $name:literal, $service:ident . $method:ident($message:expr)) => {{
        $leaving.names.insert($name);
        let after = $leaving.moments.next();
        let mut request = Request::new($message);
        if $leaving.moments.below(2) == 0 {
            request.set_timeout(after);
        }
        let _ = tokio::time::timeout(after, $leaving.clients.$service.$method(request)).await;
    }};
}

/// The resources that the calls act on.
pub(super) struct Subjects {
    pub(super) round: usize,
    /// A pull webhook whose deliveries must all be acknowledged in the end.
    pub(super) webhook: String,
    /// A pull webhook whose deliveries are retried, skipped and cancelled.
    pub(super) steered: String,
    /// A webhook that every kind of update changes.
    pub(super) changed: String,
    pub(super) leases: Vec<String>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) token: String,
    /// A running replay.
    pub(super) replay: String,
    /// An operation that was running a moment ago. Some rounds have none.
    pub(super) operation: Option<String>,
}

/// Callers who leave, and what they call.
struct Leaving<'a> {
    clients: &'a mut Clients,
    moments: &'a mut Moments,
    on: &'a Subjects,
    names: BTreeSet<&'static str>,
}

/// Makes every call that changes something once, and leaves each before it ends. Returns the names of the calls.
pub(super) async fn leave_every_call(
    clients: &mut Clients,
    moments: &mut Moments,
    on: &Subjects,
) -> BTreeSet<&'static str> {
    let mut leaving = Leaving {
        clients,
        moments,
        on,
        names: BTreeSet::new(),
    };
    leaving.operation().await;
    leaving.organizations().await;
    leaving.event_types().await;
    leaving.credentials().await;
    leaving.webhook().await;
    leaving.secrets().await;
    leaving.pulls().await;
    leaving.deliveries().await;
    leaving.events().await;
    leaving.names
}

/// The mask of one field.
fn mask(path: &str) -> Option<FieldMask> {
    Some(FieldMask {
        paths: vec![path.to_owned()],
    })
}

impl Leaving<'_> {
    /// The name of some delivery.
    fn some(&mut self) -> String {
        let count = u64::try_from(self.on.deliveries.len()).unwrap();
        let at = usize::try_from(self.moments.below(count)).unwrap();
        self.on.deliveries[at].name.clone()
    }

    /// A running operation, which somebody else may cancel at the same time.
    async fn operation(&mut self) {
        let round = self.on.round;
        if let Some(name) = self.on.operation.clone() {
            leave!(
                self,
                "CancelOperation",
                operations.cancel_operation(CancelOperationRequest { name: name.clone() })
            );
            // In every second round another caller cancels it at the same time.
            if round.is_multiple_of(2)
                && let Err(status) = self
                    .clients
                    .operations
                    .cancel_operation(CancelOperationRequest { name })
                    .await
            {
                assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
            }
        }
    }

    /// Organizations and their webhooks.
    async fn organizations(&mut self) {
        let round = self.on.round;
        let mine = format!("organizations/round-{round}");
        let organization_id = format!("round-{round}");
        leave!(
            self,
            "CreateOrganization",
            organizations.create_organization(CreateOrganizationRequest {
                organization_id,
                organization: None
            })
        );
        let hook = Some(Webhook {
            description: format!("round {round}"),
            ..fetched()
        });
        leave!(
            self,
            "CreateWebhook",
            webhooks.create_webhook(CreateWebhookRequest {
                parent: mine.clone(),
                webhook: hook.clone()
            })
        );
        leave!(
            self,
            "CreateWebhook",
            webhooks.create_webhook(CreateWebhookRequest {
                parent: ACME.to_owned(),
                webhook: hook
            })
        );
        let renamed = Some(Organization {
            name: mine.clone(),
            display_name: format!("Round {round}"),
            ..Organization::default()
        });
        leave!(
            self,
            "UpdateOrganization",
            organizations.update_organization(UpdateOrganizationRequest {
                organization: renamed,
                update_mask: None
            })
        );
        if round.is_multiple_of(3) {
            leave!(
                self,
                "DeleteOrganization",
                organizations.delete_organization(DeleteOrganizationRequest {
                    name: mine,
                    force: true
                })
            );
        }
    }

    /// Event types.
    async fn event_types(&mut self) {
        let round = self.on.round;
        let event_type_id = format!("type_{round}");
        let name = format!("eventTypes/{event_type_id}");
        leave!(
            self,
            "CreateEventType",
            event_types.create_event_type(CreateEventTypeRequest {
                event_type_id,
                event_type: None
            })
        );
        let event_type = Some(EventType {
            name: name.clone(),
            description: format!("of {round}"),
            ..EventType::default()
        });
        let update = UpdateEventTypeRequest {
            event_type,
            update_mask: mask("description"),
            ..UpdateEventTypeRequest::default()
        };
        leave!(self, "UpdateEventType", event_types.update_event_type(update));
        leave!(
            self,
            "ArchiveEventType",
            event_types.archive_event_type(ArchiveEventTypeRequest { name: name.clone() })
        );
        leave!(
            self,
            "UnarchiveEventType",
            event_types.unarchive_event_type(UnarchiveEventTypeRequest { name: name.clone() })
        );
        if round.is_multiple_of(2) {
            leave!(
                self,
                "DeleteEventType",
                event_types.delete_event_type(DeleteEventTypeRequest { name })
            );
        }
    }

    /// Tokens and portal links.
    async fn credentials(&mut self) {
        let new = CreateTokenRequest {
            token: Some(token(TokenScope::Publish, ACME)),
        };
        leave!(self, "CreateToken", tokens.create_token(new));
        leave!(
            self,
            "RevokeToken",
            tokens.revoke_token(RevokeTokenRequest {
                name: self.on.token.clone()
            })
        );
        leave!(self, "CreatePortalLink", portal.create_portal_link(portal_link(ACME)));
        if let Ok(link) = self.clients.create_portal_link(portal_link(ACME)).await {
            leave!(
                self,
                "RevokePortalLink",
                portal.revoke_portal_link(RevokePortalLinkRequest {
                    name: link.portal_link,
                    organization: ACME.to_owned()
                })
            );
        }
    }

    /// A webhook that is changed in every way.
    async fn webhook(&mut self) {
        let round = self.on.round;
        let name = self.on.changed.clone();
        let webhook = Some(Webhook {
            name: name.clone(),
            description: format!("at {round}"),
            ..Webhook::default()
        });
        let update = UpdateWebhookRequest {
            webhook,
            update_mask: mask("description"),
        };
        leave!(self, "UpdateWebhook", webhooks.update_webhook(update));
        let webhook = Some(Webhook {
            name: name.clone(),
            active: Some(false),
            ..Webhook::default()
        });
        let pause = UpdateWebhookRequest {
            webhook,
            update_mask: mask("active"),
        };
        leave!(self, "UpdateWebhook", webhooks.update_webhook(pause));
        leave!(
            self,
            "ResumeWebhook",
            webhooks.resume_webhook(ResumeWebhookRequest {
                name: name.clone(),
                discard_backlog: round.is_multiple_of(2)
            })
        );
        leave!(
            self,
            "PingWebhook",
            webhooks.ping_webhook(PingWebhookRequest {
                name: name.clone(),
                wait: false
            })
        );
    }

    /// Its signing secrets, and its deletion.
    async fn secrets(&mut self) {
        let round = self.on.round;
        let name = self.on.changed.clone();
        let rotation = RotateSigningSecretRequest {
            name: name.clone(),
            force: true,
            ..RotateSigningSecretRequest::default()
        };
        leave!(self, "RotateSigningSecret", webhooks.rotate_signing_secret(rotation));
        leave!(
            self,
            "CompleteSigningSecretRotation",
            webhooks.complete_signing_secret_rotation(CompleteSigningSecretRotationRequest { name: name.clone() })
        );
        leave!(
            self,
            "RevealSigningSecret",
            webhooks.reveal_signing_secret(RevealSigningSecretRequest { name: name.clone() })
        );
        if round % 5 == 4 {
            leave!(
                self,
                "DeleteWebhook",
                webhooks.delete_webhook(DeleteWebhookRequest { name })
            );
        }
    }

    /// Deliveries that are fetched.
    async fn pulls(&mut self) {
        let round = self.on.round;
        let (webhook, ack_ids) = (self.on.webhook.clone(), self.on.leases.clone());
        let third = ack_ids.len() / 3;
        let extend = ExtendDeliveriesRequest {
            webhook: webhook.clone(),
            ack_ids: ack_ids[..third].to_vec(),
            ack_timeout: None,
        };
        leave!(self, "ExtendDeliveries", pull.extend_deliveries(extend));
        leave!(
            self,
            "AcknowledgeDeliveries",
            pull.acknowledge_deliveries(AcknowledgeDeliveriesRequest {
                webhook: webhook.clone(),
                ack_ids
            })
        );
        let ack_timeout = Some(ProtoDuration { seconds: 1, nanos: 0 });
        let wait = ack_timeout.filter(|_| round.is_multiple_of(2));
        leave!(
            self,
            "PullDeliveries",
            pull.pull_deliveries(PullDeliveriesRequest {
                webhook,
                max_deliveries: 100,
                ack_timeout,
                wait,
                response_bytes_max: 0
            })
        );
    }

    /// Deliveries that are steered and replayed.
    async fn deliveries(&mut self) {
        let round = self.on.round;
        leave!(
            self,
            "CancelDelivery",
            deliveries.cancel_delivery(CancelDeliveryRequest { name: self.some() })
        );
        leave!(
            self,
            "SkipDelivery",
            deliveries.skip_delivery(SkipDeliveryRequest { name: self.some() })
        );
        leave!(
            self,
            "RetryDelivery",
            deliveries.retry_delivery(RetryDeliveryRequest { name: self.some() })
        );
        leave!(
            self,
            "ReplayDelivery",
            deliveries.replay_delivery(ReplayDeliveryRequest {
                name: self.some(),
                request_id: String::new()
            })
        );
        let replay = ReplayDeliveriesRequest {
            parent: ACME.to_owned(),
            selection: ReplaySelection::Made.into(),
            webhook: self.on.steered.clone(),
            states: vec![DeliveryState::Cancelled.into()],
            request_id: format!("replay-{round}"),
            ..ReplayDeliveriesRequest::default()
        };
        leave!(self, "ReplayDeliveries", replays.replay_deliveries(replay));
        let name = self.on.replay.clone();
        leave!(
            self,
            "CancelReplay",
            replays.cancel_replay(CancelReplayRequest { name })
        );
    }

    /// Events.
    async fn events(&mut self) {
        leave!(self, "PublishEvent", events.publish_event(event("clocking", "{}")));
        let requests = (0..20).map(|_| event("clocking", "{}")).collect();
        leave!(
            self,
            "BatchPublishEvents",
            events.batch_publish_events(BatchPublishEventsRequest {
                organization: ACME.to_owned(),
                requests
            })
        );
        let stream = (0..50).map(|sequence| PublishStreamRequest {
            sequence,
            event: Some(event("clocking", "{}")),
        });
        leave!(
            self,
            "PublishStream",
            events.publish_stream(tokio_stream::iter(stream.collect::<Vec<_>>()))
        );
    }
}

/// The API's methods that change something, according to their descriptor.
pub(super) fn changing_methods() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(hookwright_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.iter().flat_map(|file| &file.service);
    let methods = services
        .flat_map(|service| &service.method)
        .map(|method| method.name().to_owned());
    let only_reads = ["Get", "List", "Query", "Watch", "Explain", "Check", "Test"];
    methods
        .filter(|method| only_reads.iter().all(|prefix| !method.starts_with(prefix)))
        .collect()
}
