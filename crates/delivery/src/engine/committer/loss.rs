//! Tests of work in flight when the lease is lost: what is recovered, accepted and stored afterwards.

use hookwright_storage::{NewEvent, StoreOptions};
use tokio::sync::oneshot;

use super::{
    super::{
        Engine, EngineOptions,
        command::Draft,
        lane::fixtures::{catalogue, event},
    },
    *,
};
use crate::{connector::ConnectorOptions, request::RequestFormat, sender::Sender};

fn options() -> EngineOptions {
    EngineOptions {
        concurrent_attempts_max: 10,
        concurrent_attempts_per_webhook_max: 10,
        memory_bytes_max: 1 << 20,
        disable_after: Duration::from_secs(3_600),
        format: RequestFormat::new("X-", "test"),
        // Nothing is sent to receivers.
        hold: true,
        configuration: 0,
    }
}

/// Stores events for webhook 7 that a previous run had in memory.
async fn unfinished(store: &Store, ids: &IdGenerator, count: usize) {
    let new = |_| NewEvent {
        event: event(ids.reserve(2, clock::reference_us() / 1_000)),
        request: None,
        spilled: Vec::new(),
        ordered: Vec::new(),
        due_at: 0,
    };
    let batch = Batch {
        events: (0..count).map(new).collect(),
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
}

/// A server that has just been started on a separate store.
async fn engine(store: &Store, ids: Arc<IdGenerator>) -> Engine {
    let metrics = Arc::new(Metrics::register(&mut prometheus_client::registry::Registry::default()));
    let sender = Sender::new(ConnectorOptions::default(), Arc::default()).unwrap();
    let started = Engine::start(store.clone(), catalogue(), ids, sender, metrics, options()).await;
    started.unwrap().0
}

async fn store(directory: &tempfile::TempDir) -> Store {
    let place = StoreOptions::new(format!("sqlite://{}", directory.path().join("store.db").display()));
    Store::migrate(&place).await.unwrap();
    Store::open(&place).await.unwrap()
}

/// A single thread: a started task runs only while the test waits.
#[tokio::test]
async fn recovery_ends_with_the_lease_and_puts_nothing_into_new_lanes() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory).await;
    let ids = Arc::new(IdGenerator::new(0, 0));
    unfinished(&store, &ids, 3).await;
    let engine = engine(&store, ids).await;
    let parts = Arc::clone(&engine.parts);
    let recovery = parts.recovery.task().lock().as_ref().unwrap().abort_handle();
    // It begins, and waits for the configuration.
    parts.membership.doubt();
    tokio::task::yield_now().await;
    assert!(!recovery.is_finished());

    Committer::new(parts.committer_handles.clone()).lose().await;
    assert!(
        recovery.is_finished(),
        "it would resume deliveries that others own, once the configuration is in force"
    );
    assert!(parts.recovery.task().lock().is_none());
    assert_eq!(engine.gauges().lanes, 0);

    // This node has joined again. Recovery begins again, and finds the same.
    parts.committer_handles.rejoin.start_over().await.unwrap();
    parts.membership.confirm(i64::MAX);
    let again = parts.recovery.task().lock().take().unwrap();
    again.await.unwrap();
    assert!(engine.stop(Duration::from_secs(10)).await);
    assert_eq!(store.count_waiting().await.unwrap(), 3, "each once");
}

#[tokio::test]
async fn an_event_that_was_matched_before_the_loss_is_not_stored_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory).await;
    let engine = engine(&store, Arc::new(IdGenerator::new(0, 0))).await;
    let parts = Arc::clone(&engine.parts);
    let draft = || Draft::sample(&[7], "{}");
    let before = parts.membership.losses();
    // The lease is lost, and the node joins again while the call waits for its commit.
    parts.membership.doubt();
    parts.membership.confirm(i64::MAX);
    let (reply, answer) = oneshot::channel();
    parts.inbox.publish(vec![draft()], before, reply).await.unwrap();
    let refused = Err(PublishError::Unavailable(LEASE_LOST));
    assert_eq!(
        answer.await.unwrap(),
        [refused],
        "another node may have created a webhook meanwhile"
    );
    assert!(engine.publish(vec![draft()]).await[0].is_ok(), "it is matched again");
    assert!(engine.stop(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_watermark_from_before_the_loss_is_not_stored_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory).await;
    let engine = engine(&store, Arc::new(IdGenerator::new(0, 0))).await;
    let parts = Arc::clone(&engine.parts);
    let watermark = |id: i64| NewWatermark {
        losses: parts.membership.losses(),
        id,
    };
    let far = i64::MAX / 2;
    let before = watermark(far);
    parts.membership.doubt();
    parts.membership.confirm(i64::MAX);
    parts.inbox.watermark(before).unwrap();
    assert!(engine.stop(Duration::from_secs(10)).await);
    assert!(store.watermark().await.unwrap() < far);
}
