//! Opening a store: it must be migrated, not in use, durable, and not of a newer version.

use hookwright_storage::{Store, StoreError, StoreOptions};
use hookwright_testkit::{PostgresCluster, postgres::StopMode, until};

use crate::support::{Fixture, on_both_stores};

on_both_stores! {
    async fn migrating_twice_does_nothing_the_second_time(fixture: &mut Fixture) {
        assert_eq!(fixture.migrate_again().await, [""; 0]);
    }

}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn f04_one_server_uses_a_file_at_a_time() {
    let mut fixture = Fixture::sqlite().await;
    let error = Store::open(&fixture.options).await.err().unwrap();
    assert!(matches!(error, StoreError::AlreadyServed(_)), "{error}");
    fixture.reopen().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_store_that_was_not_migrated_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(format!("sqlite://{}/new.db", directory.path().display()));
    assert!(matches!(
        Store::open(&options).await.err().unwrap(),
        StoreError::OlderSchema
    ));
    let database = PostgresCluster::shared()
        .await
        .unwrap()
        .create_database()
        .await
        .unwrap();
    let error = Store::open(&StoreOptions::new(database.url())).await.err().unwrap();
    assert!(matches!(error, StoreError::OlderSchema), "{error}");
    let error = Store::open(&StoreOptions::new("mysql://host/db")).await.err().unwrap();
    assert!(matches!(error, StoreError::Url(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn f11_a_postgres_that_does_not_promise_durability_is_refused() {
    for (setting, value) in [
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
    ] {
        let cluster = PostgresCluster::start_with(&[(setting, value)]).await.unwrap();
        let database = cluster.create_database().await.unwrap();
        let options = StoreOptions::new(database.url());
        Store::migrate(&options).await.unwrap();
        let error = Store::open(&options).await.err().unwrap();
        assert!(
            matches!(&error, StoreError::NotDurable(what) if what.contains(setting)),
            "{error}"
        );
        let told_to = StoreOptions {
            allow_unsafe_durability: true,
            ..options
        };
        drop(Store::open(&told_to).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn f05_a_postgres_that_was_restarted_is_used_again() {
    let cluster = PostgresCluster::start().await.unwrap();
    let database = cluster.create_database().await.unwrap();
    let options = StoreOptions::new(database.url());
    Store::migrate(&options).await.unwrap();
    let store = Store::open(&options).await.unwrap();
    let batch = |watermark| hookwright_storage::Batch {
        watermark: Some(watermark),
        ..Default::default()
    };
    store.commit(&batch(1)).await.unwrap();
    cluster.stop(StopMode::Immediate).await.unwrap();
    store.commit(&batch(2)).await.unwrap_err();
    cluster.resume().await.unwrap();
    until("a commit after the restart", async || store.commit(&batch(3)).await).await;
    assert_eq!(store.watermark().await.unwrap(), 3);
}
