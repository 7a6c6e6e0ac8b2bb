//! A primary that became read-only, as after a failover.

use hookwright_storage::{CommitError, Store, StoreError};
use hookwright_testkit::until;

use super::{database, options, watermark};
use crate::support::{audit, organization, session};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_primary_that_became_read_only_says_so_and_is_used_again() {
    let database = database().await;
    let options = options(database.url(), "node");
    Store::migrate(&options).await.unwrap();
    let store = Store::open(&options).await.unwrap();
    let admin = session(&database.url().replace(database.name(), "postgres")).await;
    let end_sessions = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
        database.name()
    );
    let set = async |value: &str| {
        let text = format!(
            "ALTER DATABASE {} SET default_transaction_read_only = {value}",
            database.name()
        );
        admin.batch_execute(&text).await.unwrap();
        admin.batch_execute(&end_sessions).await.unwrap();
    };
    set("on").await;
    let insert = async |id: i64| {
        store
            .insert_organization(&organization(id, &format!("o{id}")), &audit(id))
            .await
    };
    let error = until("an answer of the database", async || match insert(7).await {
        // The pool notices the ended connections one by one.
        Err(StoreError::ReadOnly) => Ok(StoreError::ReadOnly),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(
        error.is_transient() && error.to_string().contains("read-only"),
        "{error}"
    );
    let error = until("the answer to a commit", async || {
        match store.commit(&watermark(1)).await {
            Err(CommitError::Store(StoreError::ReadOnly)) => Ok(StoreError::ReadOnly),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(error.is_transient());
    set("off").await;
    until("the change to be stored", async || {
        insert(8).await.map_err(|error| error.to_string())
    })
    .await;
    until("the commit", async || {
        store.commit(&watermark(1)).await.map_err(|error| error.to_string())
    })
    .await;
}
