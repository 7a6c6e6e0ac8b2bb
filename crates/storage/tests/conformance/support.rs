//! A store of each kind, and rows to put into it.

use std::sync::Arc;

use bytes::Bytes;
use hookwright_domain::id::{EventId, IdGenerator};
use hookwright_storage::{
    AttemptRow, AuditRow, Batch, EventTypeRow, NewEvent, OrganizationRow, PendingRow, RequestKey, SecretRow, Store,
    StoreOptions, StoredEvent, WebhookRow,
};
use hookwright_testkit::{PostgresCluster, Proxy, TestDatabase, until};
use tempfile::TempDir;

/// The time of the tests' ids and rows, in milliseconds.
pub(crate) const NOW_MS: i64 = 1_735_689_600_000;
pub(crate) const NOW: i64 = NOW_MS * 1_000;
pub(crate) const ORGANIZATION: i64 = 7;

/// Makes two tests of one: `name::sqlite` and `name::postgres`.
macro_rules! on_both_stores {
    ($(async fn $name:ident($fixture:ident: &mut Fixture) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn run($fixture: &mut Fixture) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn sqlite() {
                run(&mut Fixture::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn postgres() {
                run(&mut Fixture::postgres().await).await;
            }
        }
    )*};
}
pub(crate) use on_both_stores;

/// An open store in a separate place.
pub(crate) struct Fixture {
    pub(crate) options: StoreOptions,
    pub(crate) ids: IdGenerator,
    store: Option<Store>,
    _place: (Option<TempDir>, Option<TestDatabase>),
}

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/hookwright.db", directory.path().display());
        Self::open(url, (Some(directory), None)).await
    }

    pub(crate) async fn postgres() -> Self {
        let database = PostgresCluster::shared()
            .await
            .unwrap()
            .create_database()
            .await
            .unwrap();
        let url = database.url().to_owned();
        Self::open(url, (None, Some(database))).await
    }

    async fn open(url: String, place: (Option<TempDir>, Option<TestDatabase>)) -> Self {
        let options = StoreOptions::new(url);
        Store::migrate(&options).await.unwrap();
        let store = Store::open(&options).await.unwrap();
        Self {
            options,
            ids: IdGenerator::new(0, 0),
            store: Some(store),
            _place: place,
        }
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Closes the store and opens it again. Connections take a while to close, so its place is not free at once.
    pub(crate) async fn reopen(&mut self) {
        drop(self.store.take());
        let store = until("the store to open", async || match Store::open(&self.options).await {
            Err(error) if !error.is_transient() => panic!("{error}"),
            opened => opened,
        });
        self.store = Some(store.await);
    }

    /// Closes the store and runs its migrations.
    pub(crate) async fn migrate_again(&mut self) -> Vec<String> {
        drop(self.store.take());
        until("the store to be migrated", async || {
            match Store::migrate(&self.options).await {
                Err(error) if !error.is_transient() => panic!("{error}"),
                migrated => migrated,
            }
        })
        .await
    }

    /// Reopens the store through a proxy. PostgreSQL only.
    pub(crate) async fn behind_proxy(&mut self) -> Proxy {
        let (scheme, rest) = self.options.url.split_once("://").unwrap();
        let (authority, path) = rest.split_once('/').unwrap();
        let host = authority.rsplit('@').next().unwrap();
        let proxy = Proxy::start(host.to_owned()).await.unwrap();
        let authority = authority.replace(host, &proxy.address().to_string());
        self.options.url = format!("{scheme}://{authority}/{path}");
        self.reopen().await;
        proxy
    }

    pub(crate) fn event(&self, webhooks: &[i64]) -> NewEvent {
        self.event_of(webhooks, "clocking", r#"{"n":1}"#)
    }

    pub(crate) fn event_of(&self, webhooks: &[i64], event_type: &str, payload: &str) -> NewEvent {
        Self::make_event(&self.ids, webhooks, event_type, payload, NOW_MS)
    }

    /// Stores a webhook that is already deleted.
    pub(crate) async fn deleted_webhook(&self, id: i64) {
        let store = self.store();
        store
            .insert_organization(&organization(ORGANIZATION, "acme"), &audit(90_001))
            .await
            .unwrap();
        let row = WebhookRow {
            active: false,
            deleted_at: Some(NOW),
            ..webhook(id)
        };
        store
            .insert_webhook(&row, &secret(90_002, id), None, &audit(90_003))
            .await
            .unwrap();
    }

    /// An event that was published at a time, in milliseconds. Ids always grow, so times must grow, too.
    pub(crate) fn event_at(&self, webhooks: &[i64], at_ms: i64) -> NewEvent {
        Self::make_event(&self.ids, webhooks, "clocking", r#"{"n":1}"#, at_ms)
    }

    /// An event with an id of another generator, which is that of a node.
    pub(crate) fn event_by(ids: &IdGenerator, webhooks: &[i64]) -> NewEvent {
        Self::make_event(ids, webhooks, "clocking", r#"{"n":1}"#, NOW_MS)
    }

    fn make_event(ids: &IdGenerator, webhooks: &[i64], event_type: &str, payload: &str, at_ms: i64) -> NewEvent {
        let event = StoredEvent {
            id: ids.reserve(1 + webhooks.len(), at_ms),
            organization_id: ORGANIZATION,
            event_type: event_type.to_owned(),
            payload: Bytes::from(payload.to_owned()),
            webhooks: webhooks.into(),
            occurred_at: NOW,
            attributes: None,
            trace: None,
            tracestate: None,
            ordering_key: None,
            replay_of: None,
        };
        NewEvent {
            event: Arc::new(event),
            request: None,
            spilled: Vec::new(),
            ordered: Vec::new(),
            due_at: NOW,
        }
    }

    /// Commits events only.
    pub(crate) async fn commit_events(&self, events: Vec<NewEvent>) {
        let batch = Batch {
            events,
            ..Batch::default()
        };
        assert!(self.store().commit(&batch).await.unwrap().repeats.is_empty());
    }
}

pub(crate) fn delivery(event: &NewEvent, position: usize) -> i64 {
    EventId::from_raw(event.event.id).delivery(position).raw()
}

pub(crate) fn with_request(event: NewEvent, id: &str, fingerprint: u8) -> NewEvent {
    NewEvent {
        request: Some(RequestKey {
            request_id: id.to_owned(),
            fingerprint: [fingerprint; 32],
        }),
        ..event
    }
}

pub(crate) fn attempt(event: &NewEvent, position: usize, number: i32, delivery_state: i32) -> Arc<AttemptRow> {
    Arc::new(AttemptRow {
        delivery_id: delivery(event, position),
        number,
        event_id: event.event.id,
        organization_id: ORGANIZATION,
        webhook_id: event.event.webhooks[position],
        started_at: NOW + i64::from(number),
        duration_us: 1_000,
        status: Some(if delivery_state == 1 { 200 } else { 500 }),
        error_class: (delivery_state != 1).then(|| "status".to_owned()),
        error_message: None,
        delivery_state,
        details: "{}".to_owned(),
        response_body: Some(b"\0\xff".to_vec()),
    })
}

pub(crate) fn pending(event: &NewEvent, position: usize, due_at: i64, attempts: i32) -> PendingRow {
    PendingRow {
        delivery_id: delivery(event, position),
        event_id: event.event.id,
        organization_id: ORGANIZATION,
        webhook_id: event.event.webhooks[position],
        due_at,
        attempts,
        ordering_key: None,
    }
}

pub(crate) fn audit(id: i64) -> AuditRow {
    let text = |text: &str| text.to_owned();
    AuditRow {
        id,
        at: NOW,
        actor: text("test"),
        action: text("test"),
        resource: text("test"),
        details: text("{}"),
        organization_id: None,
    }
}

pub(crate) fn organization(id: i64, name: &str) -> OrganizationRow {
    OrganizationRow {
        id,
        name: name.to_owned(),
        display_name: String::new(),
        created_at: NOW,
        updated_at: NOW,
        deleted_at: None,
    }
}

pub(crate) fn event_type(id: i64, name: &str) -> EventTypeRow {
    EventTypeRow {
        id,
        name: name.to_owned(),
        description: String::new(),
        json_schema: Some("{}".to_owned()),
        schema_mode: "warn".to_owned(),
        schema_version: 1,
        example: None,
        archived: false,
        created_at: NOW,
        updated_at: NOW,
        visible_to: None,
    }
}

pub(crate) fn webhook(id: i64) -> WebhookRow {
    WebhookRow {
        id,
        organization_id: ORGANIZATION,
        payload_url: "https://host.example/".to_owned(),
        pull: false,
        events: r#"["*"]"#.to_owned(),
        filter: "attributes.region == 'eu'".to_owned(),
        active: true,
        disabled_reason: None,
        disabled_at: None,
        description: "caf\u{e9}".to_owned(),
        headers: vec![0, 255],
        timeout_ms: 10_000,
        retry_delays_ms: None,
        rate_limit: Some(0.5),
        ordered: false,
        pauses: false,
        insecure_skip_verify: false,
        ed25519: None,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
        deleted_at: None,
    }
}

pub(crate) fn secret(id: i64, webhook_id: i64) -> SecretRow {
    SecretRow {
        id,
        webhook_id,
        sealed: vec![1, 2, 3],
        created_at: NOW,
        expires_at: None,
    }
}

/// A separate session on PostgreSQL.
pub(crate) async fn session(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until another session of the database waits for a lock.
pub(crate) async fn until_blocked(session: &tokio_postgres::Client) {
    until("another session to wait for a lock", async || {
        let text = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0";
        let blocked: i64 = session.query_one(text, &[]).await.unwrap().get(0);
        (blocked > 0).then_some(()).ok_or("none does")
    })
    .await;
}
