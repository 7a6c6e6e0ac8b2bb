//! Callers that leave: calls that are cancelled, or whose deadline passes, at any moment.

mod every_call;
mod inventory;

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use hookwright_proto::v1::{
    AcknowledgeDeliveriesRequest, AuditEntry, CancelReplayRequest, Delivery, DeliveryMode, DeliveryState,
    ListDeliveriesRequest, ListOperationsRequest, ListReplaysRequest, OperationState, PullDeliveriesRequest,
    ReplayDeliveriesRequest, ReplaySelection, ReplayState, ResumeWebhookRequest, RevealSigningSecretRequest,
    TokenScope, UpdateWebhookRequest, Webhook,
};
use hookwright_testkit::until;
use prost_types::{Duration as ProtoDuration, FieldMask};
use tonic::{Code, Request};

use self::{
    every_call::{Subjects, changing_methods, leave_every_call},
    inventory::{audit_lines, check_audit, inventory},
};
use crate::support::{ACME, CLOCKING, Installation, On, SECRET, on_both_stores, token};

/// Pseudorandom numbers, the same in every run.
struct Moments(u64);

impl Moments {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    /// A random delay after which a caller leaves. Most calls are in flight then.
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
    /// Pulls pending deliveries with leases of this many seconds, and returns their acknowledgement ids.
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

    /// Waits until no session of the database is in a transaction or a statement. SQLite has no sessions.
    async fn at_rest(&self) {
        let Some(database) = &self.database else { return };
        let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        until("idle sessions", async || {
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

/// In one of this many rounds there is an operation to cancel.
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

    /// Ends a replay, even if another call has cancelled it.
    async fn end_replay(&mut self, name: &str) {
        let request = CancelReplayRequest { name: name.to_owned() };
        if let Err(status) = self.clients.replays.cancel_replay(request).await {
            assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        }
    }

    /// Begins to discard a backlog that is too large for one call, and returns the operation's name.
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

    /// The replays that were cancelled, sorted by name.
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

    /// Waits until no operation runs, and returns those that a caller cancelled, sorted by name.
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
            // An operation that another change replaced has an error message.
            .filter(|one| one.state() == OperationState::Cancelled && one.error_message.is_empty());
        sorted(cancelled.map(|one| one.name))
    }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The resources of an action's audit entries, in order.
fn resources(lines: &[AuditEntry], action: &str) -> Vec<String> {
    let lines = lines.iter().filter(|line| line.action == action);
    sorted(lines.map(|line| line.resource.clone()))
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
        // The acknowledgement is retried: deliveries are settled row by row, which takes a while on a busy machine.
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
            "{stale} of {} had been acknowledged before",
            leases.len()
        );
    }
    let deliveries = installation.of_webhook(&webhook).await;
    assert_eq!(deliveries.len(), CALLS * LEASES + 1, "including the ping");
    let undelivered = deliveries
        .iter()
        .filter(|delivery| delivery.state() != DeliveryState::Delivered);
    assert_eq!(undelivered.count(), 0);
}

/// Every delivery can be acknowledged, and every published event has one.
async fn no_event_is_lost(installation: &mut Installation, webhook: &str, events: &[String]) {
    until("all deliveries to be acknowledged", async || {
        let ack_ids = installation.pull_for(webhook, 1_000, 60).await;
        if !ack_ids.is_empty() {
            let request = AcknowledgeDeliveriesRequest {
                webhook: webhook.to_owned(),
                ack_ids,
            };
            let answer = installation.clients.pull.acknowledge_deliveries(request).await.unwrap();
            assert_eq!(answer.into_inner().stale_ack_ids, [""; 0]);
        }
        let deliveries = installation.of_webhook(webhook).await;
        let left = deliveries
            .iter()
            .filter(|delivery| delivery.state() != DeliveryState::Delivered)
            .count();
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    let delivered = installation.of_webhook(webhook).await;
    let delivered: HashSet<&str> = delivered.iter().map(|delivery| delivery.event.as_str()).collect();
    let lost: Vec<&String> = events
        .iter()
        .filter(|event| !delivered.contains(event.as_str()))
        .collect();
    assert_eq!(lost, [""; 0], "no event is lost");
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
        // The last changes may still be in progress. Two equal inventories in a row show that they have ended.
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
        assert_eq!(resources(&lines, "replay.cancel"), replays, "each cancelled replay has one entry");
        assert!(!replays.is_empty(), "no replay was cancelled");
        let cancelled = installation.cancelled_operations().await;
        assert_eq!(resources(&lines, "operation.cancel"), cancelled);
        assert!(!cancelled.is_empty(), "no operation was cancelled");
        for (name, ..) in &found.webhooks {
            let request = RevealSigningSecretRequest { name: name.clone() };
            let revealed = installation.clients.webhooks.reveal_signing_secret(request).await.unwrap().into_inner();
            assert!(!revealed.signing_secret.is_empty(), "{name} has no signing secret");
        }
        let cancelled: HashSet<String> = installation.of_webhook(&steered).await.into_iter()
            .filter(|delivery| delivery.state() == DeliveryState::Cancelled).map(|delivery| delivery.name).collect();
        let lines = audit_lines(&mut installation.clients).await;
        let logged = lines.iter().filter(|line| ["delivery.cancel", "delivery.skip"].contains(&line.action.as_str()));
        assert_eq!(logged.map(|line| line.resource.clone()).collect::<HashSet<_>>(), cancelled);

        // The configuration in memory is the stored one.
        installation.restart().await;
        assert_eq!(inventory(&mut installation.clients).await.unwrap(), found);
        no_event_is_lost(&mut installation, &webhook, &events).await;
    }
}
