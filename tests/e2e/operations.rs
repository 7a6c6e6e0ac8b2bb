//! Operations on many deliveries that outlive their call, and recovery whose time does not depend on the number of
//! webhooks with a backlog.

use std::collections::HashSet;

use hookwright_domain::id::WebhookId;
use hookwright_proto::v1::{
    BatchPublishEventsRequest, CancelOperationRequest, DeleteOrganizationRequest, DeleteWebhookRequest, DeliveryState,
    GetOperationRequest, ListDeliveriesRequest, ListOperationsRequest, ListWebhooksRequest, Operation, OperationKind,
    OperationState, ResumeWebhookRequest, ResumeWebhookResponse, TokenScope, UpdateWebhookRequest, Webhook,
};
use hookwright_storage::MasterKey;
use hookwright_testkit::{
    Receiver, RecordedRequest, Response,
    proxy::{Mode, Proxy},
    receiver::Gate,
    until,
};
use prost_types::FieldMask;
use tonic::Code;

use crate::support::{
    ACME, CLOCKING, Clients, Installation, On, SECRET, builder, event, id_of, on_both_stores, token, wait_for_events,
    without_pings,
};

const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const MASTER_KEY_BYTES: &[u8; 32] = b"01234567890123456789012345678901";

/// More deliveries than a lane holds in memory and one call processes itself together.
const MANY: usize = 5_000;

impl Installation {
    /// Publishes `count` events of the type `plain` and returns their ids.
    async fn publish_many(&mut self, count: usize) -> HashSet<String> {
        let names = self.publish_batch("plain", r#"{"n":1}"#, count).await;
        names.iter().map(|name| id_of(name).to_owned()).collect()
    }

    async fn set_active(&mut self, webhook: &Webhook, active: bool) {
        let webhook = Webhook {
            name: webhook.name.clone(),
            active: Some(active),
            ..Webhook::default()
        };
        let update_mask = Some(FieldMask {
            paths: vec!["active".to_owned()],
        });
        let request = UpdateWebhookRequest {
            webhook: Some(webhook),
            update_mask,
        };
        self.clients.webhooks.update_webhook(request).await.unwrap();
    }

    async fn discard(&mut self, webhook: &Webhook) -> ResumeWebhookResponse {
        let request = ResumeWebhookRequest {
            name: webhook.name.clone(),
            discard_backlog: true,
        };
        self.clients
            .webhooks
            .resume_webhook(request)
            .await
            .unwrap()
            .into_inner()
    }

    async fn operation(&mut self, name: &str) -> Operation {
        let request = GetOperationRequest { name: name.to_owned() };
        self.clients
            .operations
            .get_operation(request)
            .await
            .unwrap()
            .into_inner()
    }

    async fn ended(&mut self, name: &str) -> Operation {
        until("the operation to end", async || {
            let operation = self.operation(name).await;
            if operation.state() == OperationState::Running {
                Err(format!("{operation:?}"))
            } else {
                Ok(operation)
            }
        })
        .await
    }

    /// Waits until pending deliveries are only in the store.
    async fn nothing_in_memory(&self) {
        until("an empty memory", async || {
            let metrics = crate::access::get(self.server.http_address(), "/metrics").await;
            let line = metrics
                .lines()
                .find(|line| line.starts_with("hookwright_deliveries_in_memory "));
            match line {
                Some("hookwright_deliveries_in_memory 0") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    async fn cancelled(&mut self, webhook: &str) -> usize {
        let filter = ListDeliveriesRequest {
            webhook: webhook.to_owned(),
            states: vec![DeliveryState::Cancelled.into()],
            ..ListDeliveriesRequest::default()
        };
        self.deliveries(filter).await.len()
    }
}

/// A receiver that delays its responses until the gate opens, so that a backlog builds up.
async fn held_back(installation: &mut Installation) -> (Receiver, Webhook, Gate) {
    let receiver = Receiver::start().await;
    installation.register("plain").await;
    let webhook = installation.webhook(&receiver, &["plain"]).await;
    let gate = Gate::new();
    receiver.answer(Response::new(200).after(&gate));
    (receiver, webhook, gate)
}

on_both_stores! {
    async fn a_large_backlog_is_discarded_while_publishing_continues(on: On) {
        let mut installation = Installation::start(on).await;
        let (receiver, webhook, gate) = held_back(&mut installation).await;
        let old = installation.publish_many(MANY).await;
        installation.set_active(&webhook, false).await;
        receiver.answer(200);
        gate.open();
        installation.nothing_in_memory().await;
        let sent_of = |events: &HashSet<String>, requests: &[RecordedRequest]| {
            let requests = without_pings(requests);
            let ids = requests.iter().filter_map(|request| request.header("webhook-id"));
            ids.filter(|id| events.contains(*id)).map(str::to_owned).collect::<HashSet<_>>()
        };
        let sent = sent_of(&old, &receiver.requests());
        let resumed = installation.discard(&webhook).await;
        assert_eq!((resumed.discarded_count, resumed.operation.starts_with("operations/op_")), (0, true), "{resumed:?}");
        assert!(resumed.webhook.is_some_and(|webhook| webhook.active()), "the webhook is active at once");
        let new = installation.publish_many(100).await;
        let ended = installation.ended(&resumed.operation).await;
        assert_eq!((ended.state(), ended.kind()), (OperationState::Succeeded, OperationKind::DiscardBacklog), "{ended:?}");
        assert_eq!((ended.organization.as_str(), ended.webhook.as_str()), (ACME, webhook.name.as_str()));
        receiver.wait_until(|requests| sent_of(&new, requests) == new).await;
        assert_eq!(sent_of(&old, &receiver.requests()), sent, "nothing of the backlog is sent");
        assert_eq!(installation.cancelled(&webhook.name).await, MANY - sent.len());
        assert_eq!(usize::try_from(ended.done_count).unwrap(), MANY - sent.len(), "{ended:?}");
        assert_eq!(ended.total_count, Some(ended.done_count));
    }

    async fn an_operation_is_finished_after_a_crash(on: On) {
        let directory = tempfile::tempdir().unwrap();
        let (builder, _database) = builder(on).await;
        let builder = builder.data_directory(directory.path().join("data")).arg("--node-lease", "2s");
        let dying = builder.clone().env("HOOKWRIGHT_FAILPOINT", "operation:2");
        let mut installation = Installation::of(dying.start().await.unwrap()).await;
        installation.create_organization("acme").await;
        let (receiver, webhook, _gate) = held_back(&mut installation).await;
        let published = installation.publish_many(MANY).await;
        let request = DeleteWebhookRequest { name: webhook.name.clone() };
        // The server may exit before its response has arrived.
        drop(installation.clients.webhooks.delete_webhook(request).await);
        installation.server.wait().await.unwrap();
        let mut installation = Installation::of(builder.start().await.unwrap()).await;
        let list = installation.clients.operations.list_operations(ListOperationsRequest::default()).await.unwrap();
        let name = list.into_inner().operations.remove(0).name;
        let ended = installation.ended(&name).await;
        assert_eq!((ended.state(), ended.kind()), (OperationState::Succeeded, OperationKind::DeleteWebhook), "{ended:?}");
        // Recovery ends the deliveries that were in memory when the webhook was deleted.
        until("every delivery to end", async || {
            let cancelled = installation.cancelled(&webhook.name).await;
            if cancelled == published.len() { Ok(()) } else { Err(cancelled) }
        })
        .await;
        let sent = without_pings(&receiver.requests()).len();
        assert!(sent < MANY / 2, "{sent} were sent");
        let list = ListWebhooksRequest { parent: ACME.to_owned(), ..ListWebhooksRequest::default() };
        assert_eq!(installation.clients.webhooks.list_webhooks(list).await.unwrap().into_inner().webhooks, []);
    }

    async fn an_organization_is_gone_at_once_and_its_backlog_in_steps(on: On) {
        let mut installation = Installation::start(on).await;
        let (_receiver, webhook, _gate) = held_back(&mut installation).await;
        installation.publish_many(MANY).await;
        let request = DeleteOrganizationRequest { name: ACME.to_owned(), force: true };
        let deleted = installation.clients.organizations.delete_organization(request).await.unwrap();
        let name = deleted.metadata().get("hookwright-operation").unwrap().to_str().unwrap().to_owned();
        let refused = installation.try_publish(event("plain", "{}")).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused}");
        let ended = installation.ended(&name).await;
        assert_eq!((ended.state(), ended.kind()), (OperationState::Succeeded, OperationKind::DeleteOrganization));
        assert_eq!((ended.organization.as_str(), ended.webhook.as_str()), (ACME, ""));
        assert!(ended.done_count > 1_000, "{ended:?} of {}", webhook.name);
        let list = ListOperationsRequest::default();
        let list = installation.clients.operations.list_operations(list).await.unwrap().into_inner();
        assert_eq!(list.operations, [ended]);
    }

    async fn operations_are_seen_by_those_of_their_organization_alone(on: On) {
        let mut installation = Installation::start(on).await;
        installation.create_organization("globex").await;
        let (_receiver, webhook, _gate) = held_back(&mut installation).await;
        installation.publish_many(MANY).await;
        let request = DeleteWebhookRequest { name: webhook.name };
        let deleted = installation.clients.webhooks.delete_webhook(request).await.unwrap();
        let name = deleted.metadata().get("hookwright-operation").unwrap().to_str().unwrap().to_owned();
        let address = installation.server.grpc_address().to_owned();
        for (organization, may) in [(ACME, true), ("organizations/globex", false)] {
            let secret = installation.clients.create_token(token(TokenScope::Manage, organization)).await.unwrap().secret;
            let mut own = Clients::connect(&address, &secret).await;
            let got = own.operations.get_operation(GetOperationRequest { name: name.clone() }).await;
            let cancelled = own.operations.cancel_operation(CancelOperationRequest { name: name.clone() }).await;
            let listed = ListOperationsRequest { organization: ACME.to_owned(), ..ListOperationsRequest::default() };
            let listed = own.operations.list_operations(listed).await;
            let all = own.operations.list_operations(ListOperationsRequest::default()).await;
            assert_eq!(all.unwrap_err().code(), Code::PermissionDenied);
            let missing = GetOperationRequest { name: "operations/op_0000000000001".to_owned() };
            let missing = own.operations.get_operation(missing).await.unwrap_err();
            if may {
                assert_eq!(got.unwrap().into_inner().name, name);
                assert_eq!(cancelled.unwrap_err().code(), Code::FailedPrecondition, "the operation completes a change \
                                                                                     that is already in force");
                assert_eq!(listed.unwrap().into_inner().operations.len(), 1);
            } else {
                let denied = got.unwrap_err();
                assert_eq!((denied.code(), denied.message()), (missing.code(), missing.message()));
                assert_eq!(cancelled.unwrap_err().code(), Code::PermissionDenied);
                assert_eq!(listed.unwrap_err().code(), Code::PermissionDenied);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x11_a_node_recovers_however_many_webhooks_wait_for_it() {
    const EVENTS: usize = 600;
    const WAITING: usize = 10_000;
    /// Lanes take turns: each of these lanes gets a turn before the first one gets its second.
    const DUE: usize = 1_000;
    let (plain, database) = builder(On::Postgres).await;
    drop(plain);
    let database = database.unwrap();
    let (before, rest) = database.url().rsplit_once('@').unwrap();
    let (target, name) = rest.split_once('/').unwrap();
    let proxy = Proxy::start(target.to_owned()).await.unwrap();
    let url = format!("{before}@{}/{name}", proxy.address());
    let server = hookwright_testkit::TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .allow("127.0.0.0/8")
        .postgres(&url)
        .env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY)
        .start()
        .await
        .unwrap();
    let mut installation = Installation::of(server).await;
    installation.create_organization("acme").await;
    let receiver = Receiver::start().await;
    let webhook = installation.webhook(&receiver, &["clocking"]).await;
    let gate = Gate::new();
    receiver.answer(Response::new(200).after(&gate));
    let requests = (0..EVENTS).map(|_| event("clocking", CLOCKING)).collect();
    let batch = BatchPublishEventsRequest {
        organization: ACME.to_owned(),
        requests,
    };
    installation.clients.events.batch_publish_events(batch).await.unwrap();
    installation.server.kill9().await.unwrap();
    // Many webhooks with one pending delivery each, some of which are due.
    let others = Receiver::start().await;
    let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let webhook: WebhookId = id_of(&webhook.name).parse().unwrap();
    fill(&client, webhook, &others.url("/"), (DUE, WAITING)).await;
    receiver.answer(200);
    gate.open();
    receiver.forget_requests();
    proxy.set(Mode::Slow(std::time::Duration::from_millis(1)));
    installation.restart().await;
    // Deliveries without a row, and pending ones: the number of webhooks delays neither.
    until("deliveries of both kinds", async || {
        let of = (without_pings(&receiver.requests()).len(), others.requests().len());
        if of.0 >= EVENTS && of.1 >= DUE {
            Ok(())
        } else {
            Err(format!("{of:?}"))
        }
    })
    .await;
    let arrived = wait_for_events(&receiver, EVENTS).await;
    let ids: HashSet<&str> = arrived
        .iter()
        .filter_map(|request| request.header("webhook-id"))
        .collect();
    assert_eq!(ids.len(), EVENTS);
}

/// Copies a webhook `count` times, with another URL and the ids 1, 2, … Each copy gets an event of an hour ago with a
/// pending delivery. The first `due` deliveries are due now, the others in an hour.
async fn fill(client: &tokio_postgres::Client, webhook: WebhookId, url: &str, (due, count): (usize, usize)) {
    let key = MasterKey::new(*MASTER_KEY_BYTES);
    let secret = |id: usize| {
        let sealed = key.seal(SECRET.as_bytes(), format!("signing_secrets/{id}").as_bytes());
        let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("({id}, {id}, '\\x{hex}', 1)")
    };
    let secrets: Vec<String> = (1..=count).map(secret).collect();
    // An id holds its time in milliseconds above the lower 22 bits.
    let statements = format!(
        "INSERT INTO webhooks SELECT (jsonb_populate_record(w, jsonb_build_object('id', n, 'payload_url', '{url}'::text,
                 'events', '[\"other\"]'::text))).*
             FROM webhooks w, generate_series(1, {count}) AS n WHERE w.id = {webhook};
         INSERT INTO signing_secrets (id, webhook_id, sealed, created_at) VALUES {secrets};
         CREATE TEMPORARY TABLE waiting AS
             SELECT n, first.id - (3600000::bigint << 22) + n * 4 AS event, first.organization_id, first.occurred_at
             FROM (SELECT * FROM events ORDER BY id LIMIT 1) AS first, generate_series(1, {count}) AS n;
         INSERT INTO events (id, organization_id, event_type, payload, webhooks, occurred_at)
             SELECT event, organization_id, 'other', '{{}}', decode(lpad(to_hex(n % 256), 2, '0') || lpad(to_hex(n / 256), 2, '0')
                 || repeat('00', 6), 'hex'), occurred_at FROM waiting;
         INSERT INTO pending_deliveries (delivery_id, event_id, organization_id, webhook_id, due_at, attempts, node)
             SELECT event + 1, event, organization_id, n, CASE WHEN n <= {due} THEN 1 ELSE {later} END, 1, 0 FROM waiting",
        later = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 3600000000",
        webhook = webhook.raw(),
        secrets = secrets.join(", "),
    );
    client.batch_execute(&statements).await.unwrap();
}
