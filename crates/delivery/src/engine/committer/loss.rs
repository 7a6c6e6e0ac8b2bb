//! What happens to work that is under way when the lease is lost.

use hookwright_domain::id::IdGenerator;
use hookwright_storage::{Store, StoreOptions};

use super::{super::lane::tests::catalogue, *};
use crate::{
    connector::ConnectorOptions,
    engine::{Engine, EngineOptions},
    metrics::Metrics,
    request::RequestFormat,
    sender::Sender,
};

fn options() -> EngineOptions {
    EngineOptions {
        concurrent_attempts_max: 10,
        concurrent_attempts_per_webhook_max: 10,
        memory_bytes_max: 1 << 20,
        disable_after: Duration::from_secs(3_600),
        format: RequestFormat::new("X-", "test"),
        // Nothing leaves this machine.
        hold: true,
        configuration: 0,
    }
}

/// Events for the webhook 7 that a former run had in memory.
async fn unfinished(store: &Store, ids: &IdGenerator, count: usize) {
    let event = |_| {
        let event = StoredEvent {
            id: ids.reserve(2, clock::reference_us() / 1_000),
            organization_id: 1,
            event_type: "clocking".to_owned(),
            payload: bytes::Bytes::from_static(b"{}"),
            webhooks: Arc::from([7]),
            occurred_at: 0,
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
            due_at: 0,
        }
    };
    let batch = Batch {
        events: (0..count).map(event).collect(),
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
}

/// On a single thread: a task that is started runs only while the test waits.
#[tokio::test]
async fn recovery_ends_with_the_lease_and_puts_nothing_into_new_lanes() {
    let directory = tempfile::tempdir().unwrap();
    let place = StoreOptions::new(format!("sqlite://{}", directory.path().join("store.db").display()));
    Store::migrate(&place).await.unwrap();
    let store = Store::open(&place).await.unwrap();
    let ids = Arc::new(IdGenerator::new(0, 0));
    unfinished(&store, &ids, 3).await;
    let metrics = Arc::new(Metrics::register(&mut prometheus_client::registry::Registry::default()));
    let sender = Sender::new(ConnectorOptions::default(), Arc::default()).unwrap();
    let (engine, _requests) = Engine::start(store.clone(), catalogue(), ids, sender, metrics, options())
        .await
        .unwrap();
    let inner = Arc::clone(&engine.inner);
    let recovery = inner.recovery.lock().as_ref().unwrap().abort_handle();
    // It begins, and waits for the configuration.
    inner.membership.doubt();
    tokio::task::yield_now().await;
    assert!(!recovery.is_finished());

    Committer::new(Arc::clone(&inner)).lose().await;
    assert!(
        recovery.is_finished(),
        "it would go on with what others own, once the configuration is there"
    );
    assert!(inner.recovery.lock().is_none());
    assert_eq!(engine.gauges().lanes, 0);

    // This node has joined again. Recovery begins anew, and finds the same.
    inner.start_over().await.unwrap();
    inner.membership.confirm(i64::MAX);
    let again = inner.recovery.lock().take().unwrap();
    again.await.unwrap();
    assert!(engine.stop(Duration::from_secs(10)).await);
    assert_eq!(store.count_waiting().await.unwrap(), 3, "each once");
}
