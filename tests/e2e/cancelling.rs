//! Callers that leave: calls that are cancelled, or whose deadline passes, at any moment.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use hookwright_proto::v1::{
    AcknowledgeDeliveriesRequest, ArchiveEventTypeRequest, AuditEntry, BatchPublishEventsRequest,
    CancelDeliveryRequest, CancelOperationRequest, CancelReplayRequest, CompleteSigningSecretRotationRequest,
    CreateEventTypeRequest, CreateOrganizationRequest, CreateTokenRequest, CreateWebhookRequest,
    DeleteEventTypeRequest, DeleteOrganizationRequest, DeleteWebhookRequest, Delivery, DeliveryMode, DeliveryState,
    EventType, ExtendDeliveriesRequest, ListAuditEntriesRequest, ListDeliveriesRequest, ListEventTypesRequest,
    ListOperationsRequest, ListOrganizationsRequest, ListReplaysRequest, ListTokensRequest, ListWebhooksRequest,
    OperationState, Organization, PingWebhookRequest, PublishStreamRequest, PullDeliveriesRequest,
    ReplayDeliveriesRequest, ReplayDeliveryRequest, ReplaySelection, ReplayState, ResumeWebhookRequest,
    RetryDeliveryRequest, RevealSigningSecretRequest, RevokePortalLinkRequest, RevokeTokenRequest,
    RotateSigningSecretRequest, SkipDeliveryRequest, TokenScope, UnarchiveEventTypeRequest, UpdateEventTypeRequest,
    UpdateOrganizationRequest, UpdateWebhookRequest, Webhook,
};
use hookwright_testkit::until;
use prost::Message as _;
use prost_types::{Duration as ProtoDuration, FieldMask, FileDescriptorSet};
use tonic::{Code, Request, Status};

use crate::support::{ACME, CLOCKING, Clients, Installation, On, SECRET, event, on_both_stores, portal_link, token};

/// Numbers without order, the same in every run.
struct Moments(u64);

impl Moments {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    /// A moment at which a caller leaves: most calls are under way then.
    fn next(&mut self) -> Duration {
        let most = [300, 3_000, 20_000][usize::try_from(self.below(3)).unwrap()];
        Duration::from_micros(self.below(most))
    }
}

fn fetched() -> Webhook {
    Webhook {
        delivery_mode: DeliveryMode::Pull.into(),
        events: vec!["clocking".to_owned()],
        signing_secret: SECRET.to_owned(),
        ..Webhook::default()
    }
}

impl Installation {
    /// Pulls what waits, for so many seconds, and returns the ids to acknowledge it by.
    async fn pull_for(&mut self, webhook: &str, max: i32, seconds: i64) -> Vec<String> {
        let request = PullDeliveriesRequest {
            webhook: webhook.to_owned(),
            max_deliveries: max,
            ack_timeout: Some(ProtoDuration { seconds, nanos: 0 }),
            ..Default::default()
        };
        let pulled = self.clients.pull.pull_deliveries(request).await.unwrap().into_inner();
        pulled.deliveries.into_iter().map(|delivery| delivery.ack_id).collect()
    }

    async fn of_webhook(&mut self, webhook: &str) -> Vec<Delivery> {
        let filter = ListDeliveriesRequest {
            webhook: webhook.to_owned(),
            ..ListDeliveriesRequest::default()
        };
        self.deliveries(filter).await
    }

    /// Waits until no session of the database is in a transaction or a statement. On SQLite there are no sessions.
    async fn at_rest(&self) {
        let Some(database) = &self.database else { return };
        let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        until("the sessions to be at rest", async || {
            let query = "SELECT state || ': ' || query FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
                  AND state LIKE 'idle in transaction%' AND clock_timestamp() - state_change > interval '1 second'";
            let stuck = client.query(query, &[]).await.unwrap();
            let stuck: Vec<String> = stuck.iter().map(|row| row.get(0)).collect();
            if stuck.is_empty() {
                Ok(())
            } else {
                Err(stuck.join("\n"))
            }
        })
        .await;
    }
}

/// In so many rounds one has an operation to cancel.
const ROUNDS_PER_OPERATION: usize = 3;

impl Installation {
    /// Begins a replay that takes longer than any test, and returns its name.
    async fn slow_replay(&mut self, webhook: &str, round: usize) -> String {
        let request = ReplayDeliveriesRequest {
            parent: ACME.to_owned(),
            selection: ReplaySelection::Made.into(),
            webhook: webhook.to_owned(),
            deliveries_per_second: Some(0.01),
            request_id: format!("slow-{round}"),
            ..ReplayDeliveriesRequest::default()
        };
        let begun = self.clients.replays.replay_deliveries(request).await.unwrap();
        begun.into_inner().name
    }

    /// Ends a replay, whether or not somebody else has cancelled it.
    async fn end_replay(&mut self, name: &str) {
        let request = CancelReplayRequest { name: name.to_owned() };
        if let Err(status) = self.clients.replays.cancel_replay(request).await {
            assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        }
    }

    /// Begins to discard a backlog that is too large for a call, and returns the operation's name.
    async fn discarding(&mut self, webhook: &str) -> String {
        self.publish_batch("backlog", "{}", 2_000).await;
        let update = UpdateWebhookRequest {
            webhook: Some(Webhook {
                name: webhook.to_owned(),
                active: Some(false),
                ..Webhook::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["active".to_owned()],
            }),
        };
        self.clients.webhooks.update_webhook(update).await.unwrap();
        let resume = ResumeWebhookRequest {
            name: webhook.to_owned(),
            discard_backlog: true,
        };
        let resumed = self.clients.webhooks.resume_webhook(resume).await.unwrap();
        resumed.into_inner().operation
    }

    /// The replays that were cancelled, in the order of their names.
    async fn cancelled_replays(&mut self) -> Vec<String> {
        let request = ListReplaysRequest {
            parent: ACME.to_owned(),
            page_size: 1_000,
            ..ListReplaysRequest::default()
        };
        let listed = self.clients.replays.list_replays(request).await.unwrap();
        let replays = listed.into_inner().replays.into_iter();
        let cancelled = replays.filter(|replay| replay.state() == ReplayState::Cancelled);
        sorted(cancelled.map(|replay| replay.name))
    }

    /// Waits until no operation runs, and returns those that somebody cancelled, in the order of their names.
    async fn cancelled_operations(&mut self) -> Vec<String> {
        let operations = until("the operations to end", async || {
            let request = ListOperationsRequest {
                page_size: 1_000,
                ..ListOperationsRequest::default()
            };
            let listed = self.clients.operations.list_operations(request).await.unwrap();
            let operations = listed.into_inner().operations;
            let running = operations.iter().find(|one| one.state() == OperationState::Running);
            match running {
                Some(running) => Err(format!("{running:?}")),
                None => Ok(operations),
            }
        })
        .await;
        let cancelled = operations
            .into_iter()
            // One that another change replaced says so.
            .filter(|one| one.state() == OperationState::Cancelled && one.error_message.is_empty());
        sorted(cancelled.map(|one| one.name))
    }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// What lines of an action are about, in order.
fn resources(lines: &[AuditEntry], action: &str) -> Vec<String> {
    let lines = lines.iter().filter(|line| line.action == action);
    sorted(lines.map(|line| line.resource.clone()))
}

/// Makes a call whose caller leaves after a while, by either way of leaving.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x06_acknowledgements_with_a_tiny_deadline_are_whole_or_absent() {
    const LEASES: usize = 1_000;
    const CALLS: usize = 6;
    let mut installation = Installation::start(On::Postgres).await;
    let webhook = installation.create_webhook(fetched()).await.unwrap().name;
    let acknowledge = |leases: &[String]| AcknowledgeDeliveriesRequest {
        webhook: webhook.clone(),
        ack_ids: leases.to_vec(),
    };
    let ping = installation.pull_for(&webhook, 1, 60).await;
    installation
        .clients
        .pull
        .acknowledge_deliveries(acknowledge(&ping))
        .await
        .unwrap();
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        installation.publish_batch("clocking", CLOCKING, LEASES).await;
        let mut leases = Vec::new();
        while leases.len() < LEASES {
            leases.extend(installation.pull_for(&webhook, 1_000, 3_600).await);
        }
        calls.push(leases);
    }
    for (number, leases) in calls.iter().enumerate() {
        let mut request = Request::new(acknowledge(leases));
        request.set_timeout(Duration::from_millis(5 + 8 * u64::try_from(number).unwrap()));
        let _ = installation.clients.pull.acknowledge_deliveries(request).await;
    }
    installation.at_rest().await;
    for leases in &calls {
        // Row by row they take a while on a busy machine.
        let answer = until("the acknowledgement", async || {
            installation
                .clients
                .pull
                .acknowledge_deliveries(acknowledge(leases))
                .await
        })
        .await;
        let stale = answer.into_inner().stale_ack_ids.len();
        assert!(
            stale == 0 || stale == leases.len(),
            "{stale} of {} were acknowledged before",
            leases.len()
        );
    }
    let deliveries = installation.of_webhook(&webhook).await;
    assert_eq!(deliveries.len(), CALLS * LEASES + 1, "with the ping");
    let undelivered = deliveries
        .iter()
        .filter(|delivery| delivery.state() != DeliveryState::Delivered);
    assert_eq!(undelivered.count(), 0);
}

/// What calls are made about.
struct Subjects {
    round: usize,
    /// Fetches; its deliveries must all be acknowledged in the end.
    webhook: String,
    /// Fetches; its deliveries are steered.
    steered: String,
    /// Is changed in every way.
    changed: String,
    leases: Vec<String>,
    deliveries: Vec<Delivery>,
    token: String,
    /// A replay that is running.
    replay: String,
    /// An operation that was running a moment ago, in some rounds.
    operation: Option<String>,
}

/// Every call that changes something, made once by callers who leave. Returns their names.
async fn leave_every_call(clients: &mut Clients, moments: &mut Moments, on: &Subjects) -> BTreeSet<&'static str> {
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
        // Sometimes somebody else cancels it at the same time.
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

/// The API's methods that do not only read, by their descriptor.
fn changing_methods() -> BTreeSet<String> {
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

/// What an installation has, as names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Inventory {
    organizations: Vec<String>,
    webhooks: Vec<(String, String, bool)>,
    event_types: Vec<(String, String, i32)>,
    tokens: Vec<(String, i32)>,
}

async fn inventory(clients: &mut Clients) -> Result<Inventory, Status> {
    let mut found = Inventory::default();
    let request = ListOrganizationsRequest {
        page_size: 1_000,
        ..Default::default()
    };
    for organization in clients
        .organizations
        .list_organizations(request)
        .await?
        .into_inner()
        .organizations
    {
        let request = ListWebhooksRequest {
            parent: organization.name.clone(),
            page_size: 1_000,
            ..Default::default()
        };
        for webhook in clients.webhooks.list_webhooks(request).await?.into_inner().webhooks {
            found
                .webhooks
                .push((webhook.name.clone(), webhook.description.clone(), webhook.active()));
        }
        found.organizations.push(organization.name);
    }
    let request = ListEventTypesRequest {
        page_size: 1_000,
        show_archived: true,
        ..Default::default()
    };
    for one in clients
        .event_types
        .list_event_types(request)
        .await?
        .into_inner()
        .event_types
    {
        found.event_types.push((one.name, one.description, one.state));
    }
    let request = ListTokensRequest {
        page_size: 1_000,
        ..Default::default()
    };
    for token in clients.tokens.list_tokens(request).await?.into_inner().tokens {
        found.tokens.push((token.name, token.state));
    }
    Ok(found)
}

async fn audit_lines(clients: &mut Clients) -> Vec<AuditEntry> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListAuditEntriesRequest {
            parent: "organizations/-".to_owned(),
            page_size: 1_000,
            page_token,
            ..Default::default()
        };
        let page = clients.audit.list_audit_entries(request).await.unwrap().into_inner();
        found.extend(page.audit_entries);
        if page.next_page_token.is_empty() {
            return found;
        }
        page_token = page.next_page_token;
    }
}

/// Each thing that there is has the line of its making, and each line has its thing unless a line says that it was deleted.
fn check_audit(lines: &[AuditEntry], found: &Inventory) {
    let of = |action: &str| -> BTreeSet<&str> {
        let lines = lines.iter().filter(|line| line.action == action);
        lines.map(|line| line.resource.as_str()).collect()
    };
    let left = |made: &str, gone: &[&str]| -> BTreeSet<String> {
        let gone: Vec<&str> = gone.iter().flat_map(|action| of(action)).collect();
        let is_gone = |name: &str| {
            gone.iter()
                .any(|gone| name == *gone || name.starts_with(&format!("{gone}/")))
        };
        of(made)
            .into_iter()
            .filter(|name| !is_gone(name))
            .map(str::to_owned)
            .collect()
    };
    let names = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect::<BTreeSet<String>>();
    assert_eq!(
        names(&mut found.organizations.iter()),
        left("organization.create", &["organization.delete"])
    );
    let webhooks = names(&mut found.webhooks.iter().map(|webhook| &webhook.0));
    assert_eq!(
        webhooks,
        left("webhook.create", &["webhook.delete", "organization.delete"])
    );
    let ours = found
        .event_types
        .iter()
        .map(|one| &one.0)
        .filter(|name| name.contains("/type_"));
    let made = left("event_type.create", &["event_type.delete"])
        .into_iter()
        .filter(|name| name.contains("/type_"));
    assert_eq!(ours.cloned().collect::<BTreeSet<_>>(), made.collect());
}

on_both_stores! {
    async fn x06_every_changing_call_may_be_cancelled_at_any_moment(on: On) {
        const ROUNDS: usize = 30;
        let mut installation = Installation::start(on).await;
        let webhook = installation.create_webhook(fetched()).await.unwrap().name;
        let steered = installation.create_webhook(fetched()).await.unwrap().name;
        let mut changed = installation.create_webhook(fetched()).await.unwrap().name;
        installation.register("backlog").await;
        let backlog = Webhook { events: vec!["backlog".to_owned()], ..fetched() };
        let backlog = installation.create_webhook(backlog).await.unwrap().name;
        let mut moments = Moments(7);
        let mut made = BTreeSet::new();
        let mut events = Vec::new();
        for round in 0..ROUNDS {
            events.extend(installation.publish_batch("clocking", CLOCKING, 30).await);
            let replay = installation.slow_replay(&steered, round).await;
            let operation = if round.is_multiple_of(ROUNDS_PER_OPERATION) {
                Some(installation.discarding(&backlog).await)
            } else {
                None
            };
            let subjects = Subjects {
                round,
                leases: installation.pull_for(&webhook, 25, 1).await,
                deliveries: installation.of_webhook(&steered).await,
                token: installation.clients.create_token(token(TokenScope::Read, ACME)).await.unwrap().name,
                webhook: webhook.clone(),
                steered: steered.clone(),
                changed: changed.clone(),
                replay: replay.clone(),
                operation,
            };
            made.extend(leave_every_call(&mut installation.clients, &mut moments, &subjects).await);
            installation.end_replay(&replay).await;
            if round % 5 == 4 {
                changed = installation.create_webhook(fetched()).await.unwrap().name;
            }
        }
        let made: BTreeSet<String> = made.into_iter().map(str::to_owned).collect();
        assert_eq!(made, changing_methods(), "every call that changes something is cancelled here");

        installation.at_rest().await;
        // The last changes may still be under way: what is asked for twice is the same then.
        let found = until("the changes to end", async || {
            let first = inventory(&mut installation.clients).await.unwrap();
            let lines = audit_lines(&mut installation.clients).await.len();
            let again = (inventory(&mut installation.clients).await.unwrap(), audit_lines(&mut installation.clients).await.len());
            if (first, lines) == again { Ok(again.0) } else { Err("changes") }
        })
        .await;
        let lines = audit_lines(&mut installation.clients).await;
        check_audit(&lines, &found);
        let replays = installation.cancelled_replays().await;
        assert_eq!(resources(&lines, "replay.cancel"), replays, "each that was cancelled, once");
        assert!(!replays.is_empty(), "no replay was cancelled");
        let cancelled = installation.cancelled_operations().await;
        assert_eq!(resources(&lines, "operation.cancel"), cancelled);
        assert!(!cancelled.is_empty(), "no operation was cancelled");
        for (name, ..) in &found.webhooks {
            let request = RevealSigningSecretRequest { name: name.clone() };
            let revealed = installation.clients.webhooks.reveal_signing_secret(request).await.unwrap().into_inner();
            assert!(!revealed.signing_secret.is_empty(), "{name} has its secret");
        }
        let cancelled: HashSet<String> = installation.of_webhook(&steered).await.into_iter()
            .filter(|delivery| delivery.state() == DeliveryState::Cancelled).map(|delivery| delivery.name).collect();
        let lines = audit_lines(&mut installation.clients).await;
        let logged = lines.iter().filter(|line| ["delivery.cancel", "delivery.skip"].contains(&line.action.as_str()));
        assert_eq!(logged.map(|line| line.resource.clone()).collect::<HashSet<_>>(), cancelled);

        // What is in force is what is stored.
        installation.restart().await;
        assert_eq!(inventory(&mut installation.clients).await.unwrap(), found);
        // Nothing that was published is lost: all of it can be acknowledged.
        until("all that waits to be acknowledged", async || {
            let ack_ids = installation.pull_for(&webhook, 1_000, 60).await;
            if !ack_ids.is_empty() {
                let request = AcknowledgeDeliveriesRequest { webhook: webhook.clone(), ack_ids };
                let answer = installation.clients.pull.acknowledge_deliveries(request).await.unwrap();
                assert_eq!(answer.into_inner().stale_ack_ids, [""; 0]);
            }
            let deliveries = installation.of_webhook(&webhook).await;
            let left = deliveries.iter().filter(|delivery| delivery.state() != DeliveryState::Delivered).count();
            if left == 0 { Ok(()) } else { Err(left) }
        })
        .await;
        let delivered = installation.of_webhook(&webhook).await;
        let delivered: HashSet<&str> = delivered.iter().map(|delivery| delivery.event.as_str()).collect();
        let lost: Vec<&String> = events.iter().filter(|event| !delivered.contains(event.as_str())).collect();
        assert_eq!(lost, [""; 0], "no event is lost");
    }
}
