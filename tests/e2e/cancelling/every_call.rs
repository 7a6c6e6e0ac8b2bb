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

/// Makes a call whose caller leaves after a while, by cancelling or by its deadline.
macro_rules! leave {
    ($moments:expr, $clients:expr, $service:ident . $method:ident($message:expr)) => {{
        let after = $moments.next();
        let mut request = Request::new($message);
        if $moments.below(2) == 0 {
            request.set_timeout(after);
        }
        let _ = tokio::time::timeout(after, $clients.$service.$method(request)).await;
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

/// Makes every call that changes something once, and leaves each before it ends. Returns the names of the calls.
pub(super) async fn leave_every_call(
    clients: &mut Clients,
    moments: &mut Moments,
    on: &Subjects,
) -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    let round = on.round;
    let some = |moments: &mut Moments| {
        let count = u64::try_from(on.deliveries.len()).unwrap();
        let at = usize::try_from(moments.below(count)).unwrap();
        on.deliveries[at].name.clone()
    };
    macro_rules! call {
        ($name:literal, $service:ident . $method:ident($message:expr)) => {
            names.insert($name);
            leave!(moments, clients, $service.$method($message));
        };
    }
    if let Some(name) = on.operation.clone() {
        call!(
            "CancelOperation",
            operations.cancel_operation(CancelOperationRequest { name: name.clone() })
        );
        // In every second round another caller cancels it at the same time.
        if round.is_multiple_of(2)
            && let Err(status) = clients
                .operations
                .cancel_operation(CancelOperationRequest { name })
                .await
        {
            assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        }
    }
    let mine = format!("organizations/round-{round}");
    let organization_id = format!("round-{round}");
    call!(
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
    call!(
        "CreateWebhook",
        webhooks.create_webhook(CreateWebhookRequest {
            parent: mine.clone(),
            webhook: hook.clone()
        })
    );
    call!(
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
    call!(
        "UpdateOrganization",
        organizations.update_organization(UpdateOrganizationRequest {
            organization: renamed,
            update_mask: None
        })
    );
    if round.is_multiple_of(3) {
        call!(
            "DeleteOrganization",
            organizations.delete_organization(DeleteOrganizationRequest {
                name: mine,
                force: true
            })
        );
    }
    let event_type_id = format!("type_{round}");
    let name = format!("eventTypes/{event_type_id}");
    call!(
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
    let mask = |path: &str| {
        Some(FieldMask {
            paths: vec![path.to_owned()],
        })
    };
    let update = UpdateEventTypeRequest {
        event_type,
        update_mask: mask("description"),
        ..UpdateEventTypeRequest::default()
    };
    call!("UpdateEventType", event_types.update_event_type(update));
    call!(
        "ArchiveEventType",
        event_types.archive_event_type(ArchiveEventTypeRequest { name: name.clone() })
    );
    call!(
        "UnarchiveEventType",
        event_types.unarchive_event_type(UnarchiveEventTypeRequest { name: name.clone() })
    );
    if round.is_multiple_of(2) {
        call!(
            "DeleteEventType",
            event_types.delete_event_type(DeleteEventTypeRequest { name })
        );
    }
    let new = CreateTokenRequest {
        token: Some(token(TokenScope::Publish, ACME)),
    };
    call!("CreateToken", tokens.create_token(new));
    call!(
        "RevokeToken",
        tokens.revoke_token(RevokeTokenRequest { name: on.token.clone() })
    );
    call!("CreatePortalLink", portal.create_portal_link(portal_link(ACME)));
    if let Ok(link) = clients.create_portal_link(portal_link(ACME)).await {
        call!(
            "RevokePortalLink",
            portal.revoke_portal_link(RevokePortalLinkRequest {
                name: link.portal_link,
                organization: ACME.to_owned()
            })
        );
    }

    let name = on.changed.clone();
    let webhook = Some(Webhook {
        name: name.clone(),
        description: format!("at {round}"),
        ..Webhook::default()
    });
    let update = UpdateWebhookRequest {
        webhook,
        update_mask: mask("description"),
    };
    call!("UpdateWebhook", webhooks.update_webhook(update));
    let webhook = Some(Webhook {
        name: name.clone(),
        active: Some(false),
        ..Webhook::default()
    });
    let pause = UpdateWebhookRequest {
        webhook,
        update_mask: mask("active"),
    };
    call!("UpdateWebhook", webhooks.update_webhook(pause));
    call!(
        "ResumeWebhook",
        webhooks.resume_webhook(ResumeWebhookRequest {
            name: name.clone(),
            discard_backlog: round.is_multiple_of(2)
        })
    );
    call!(
        "PingWebhook",
        webhooks.ping_webhook(PingWebhookRequest {
            name: name.clone(),
            wait: false
        })
    );
    let rotation = RotateSigningSecretRequest {
        name: name.clone(),
        force: true,
        ..RotateSigningSecretRequest::default()
    };
    call!("RotateSigningSecret", webhooks.rotate_signing_secret(rotation));
    call!(
        "CompleteSigningSecretRotation",
        webhooks.complete_signing_secret_rotation(CompleteSigningSecretRotationRequest { name: name.clone() })
    );
    call!(
        "RevealSigningSecret",
        webhooks.reveal_signing_secret(RevealSigningSecretRequest { name: name.clone() })
    );
    if round % 5 == 4 {
        call!("DeleteWebhook", webhooks.delete_webhook(DeleteWebhookRequest { name }));
    }

    let (webhook, ack_ids) = (on.webhook.clone(), on.leases.clone());
    let third = ack_ids.len() / 3;
    let extend = ExtendDeliveriesRequest {
        webhook: webhook.clone(),
        ack_ids: ack_ids[..third].to_vec(),
        ack_timeout: None,
    };
    call!("ExtendDeliveries", pull.extend_deliveries(extend));
    call!(
        "AcknowledgeDeliveries",
        pull.acknowledge_deliveries(AcknowledgeDeliveriesRequest {
            webhook: webhook.clone(),
            ack_ids
        })
    );
    let ack_timeout = Some(ProtoDuration { seconds: 1, nanos: 0 });
    let wait = ack_timeout.filter(|_| round.is_multiple_of(2));
    call!(
        "PullDeliveries",
        pull.pull_deliveries(PullDeliveriesRequest {
            webhook,
            max_deliveries: 100,
            ack_timeout,
            wait,
            response_bytes_max: 0
        })
    );

    call!(
        "CancelDelivery",
        deliveries.cancel_delivery(CancelDeliveryRequest { name: some(moments) })
    );
    call!(
        "SkipDelivery",
        deliveries.skip_delivery(SkipDeliveryRequest { name: some(moments) })
    );
    call!(
        "RetryDelivery",
        deliveries.retry_delivery(RetryDeliveryRequest { name: some(moments) })
    );
    call!(
        "ReplayDelivery",
        deliveries.replay_delivery(ReplayDeliveryRequest {
            name: some(moments),
            request_id: String::new()
        })
    );
    let replay = ReplayDeliveriesRequest {
        parent: ACME.to_owned(),
        selection: ReplaySelection::Made.into(),
        webhook: on.steered.clone(),
        states: vec![DeliveryState::Cancelled.into()],
        request_id: format!("replay-{round}"),
        ..ReplayDeliveriesRequest::default()
    };
    call!("ReplayDeliveries", replays.replay_deliveries(replay));
    let name = on.replay.clone();
    call!("CancelReplay", replays.cancel_replay(CancelReplayRequest { name }));

    call!("PublishEvent", events.publish_event(event("clocking", "{}")));
    let requests = (0..20).map(|_| event("clocking", "{}")).collect();
    call!(
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
    call!(
        "PublishStream",
        events.publish_stream(tokio_stream::iter(stream.collect::<Vec<_>>()))
    );
    names
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
