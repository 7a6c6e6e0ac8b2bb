//! Schemas of one database, each a separate installation.

use std::collections::HashMap;

use hookwright_storage::{Store, StoreError, nodes::Notice};
use hookwright_testkit::{DEADLINE, until};

use super::{database, options, watermark};
use crate::support::{audit, organization, session};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b04_two_schemas_of_a_database_are_two_installations() {
    let database = database().await;
    let admin = session(database.url()).await;
    admin.batch_execute("CREATE SCHEMA a; CREATE SCHEMA b").await.unwrap();
    let mut stores = HashMap::new();
    for schema in ["a", "b"] {
        let url = format!("{}?options=-csearch_path%3D{schema}", database.url());
        Store::migrate(&options(&url, "node")).await.unwrap();
        // Both nodes have the number 0, and the same name.
        let store = tokio::time::timeout(DEADLINE, Store::open(&options(&url, "node")))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(store.node(), 0);
        store
            .insert_organization(&organization(7, schema), &audit(1))
            .await
            .unwrap();
        stores.insert(schema, store);
    }
    for (schema, store) in &stores {
        let rows = store.load_catalogue().await.unwrap();
        assert_eq!(rows.organizations, [organization(7, schema)]);
        store.commit(&watermark(1)).await.unwrap();
        store.maintain(i64::from(i32::MAX) * 1_000_000).await.unwrap();
    }
    // Neither node waits for the other's configuration change, nor receives its notices.
    let _turn = stores["a"].change_configuration().await.unwrap();
    drop(stores["b"].change_configuration().await.unwrap());
    let url = format!("{}?options=-csearch_path%3Da", database.url());
    let other = Store::open(&options(&url, "other")).await.unwrap();
    other.beat(None).await.unwrap();
    stores["b"].beat(None).await.unwrap();
    stores["a"]
        .insert_organization(&organization(8, "other"), &audit(2))
        .await
        .unwrap();
    until("the notice", async || {
        let heard = other.notices(std::time::Duration::from_millis(50)).await.unwrap();
        if heard.contains(&Notice::Configuration) {
            Ok(())
        } else {
            Err(format!("{heard:?}"))
        }
    })
    .await;
    assert_eq!(stores["b"].notices(std::time::Duration::ZERO).await.unwrap(), []);
    // Ending the sessions of one node does not affect those of the other.
    drop((other, stores.remove("a")));
    Store::open(&options(&url, "node")).await.unwrap();
    stores["b"].commit(&watermark(2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b04_a_schema_that_does_not_exist_is_named() {
    let database = database().await;
    let url = format!("{}?options=-csearch_path%3Dmissing", database.url());
    let error = Store::migrate(&options(&url, "node")).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::NoSchema(path) if path.contains("missing")),
        "{error}"
    );
}
