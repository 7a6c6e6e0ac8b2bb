//! The order in which rows of the outbox are published, whatever the order of their commits.

use hookwright_testkit::Receiver;

use super::{NEVER, Running, Shop, connect, installation};
use crate::{
    client::numbers,
    support::{On, wait_for_events},
};

#[tokio::test]
async fn a_smaller_id_that_commits_later_is_not_passed_over() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    let mut relay = Running::of(&shop, &installation, &["--poll-interval", NEVER]);
    relay.logged("relaying from").await;
    let mut slow = connect(&shop.database).await;
    let transaction = slow.transaction().await.unwrap();
    let insert = "INSERT INTO hookwright_outbox (organization, event_type, payload, attributes) \
                  VALUES ('acme', 'shift', '{}', '{\"n\":\"0\"}') RETURNING id";
    let early: i64 = transaction.query_one(insert, &[]).await.unwrap().get(0);
    let mut rolled_back = connect(&shop.database).await;
    let undone = rolled_back.transaction().await.unwrap();
    undone.query_one(insert, &[]).await.unwrap();
    undone.rollback().await.unwrap();

    shop.insert(1..3).await;
    shop.drained().await;
    assert_eq!(
        numbers(&installation).await,
        [1, 2],
        "others do not wait for a transaction that is open"
    );
    shop.insert(3..4).await;
    shop.drained().await;
    transaction.commit().await.unwrap();
    shop.drained().await;
    assert_eq!(
        numbers(&installation).await,
        [1, 2, 3, 0],
        "row {early} committed last, and nothing was rolled back"
    );
    assert_eq!(relay.terminate().await, Some(0));
}

/// Two transactions change one row, which the first one has locked. The second transaction began earlier, so its
/// transaction id is the smaller one.
#[tokio::test]
async fn rows_of_one_key_are_published_in_the_order_of_their_lock() {
    let mut installation = installation(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let webhook = hookwright_proto::v1::Webhook {
        ordering: hookwright_proto::v1::Ordering::Ordered.into(),
        ..crate::support::webhook(&receiver.url("/payload"), &["shift"])
    };
    installation.create_webhook(webhook).await.unwrap();
    let shop = Shop::start().await;
    shop.sql
        .batch_execute(
            "CREATE TABLE things (id int PRIMARY KEY, version int); INSERT INTO things VALUES (1, 0), (2, 0)",
        )
        .await
        .unwrap();
    let change = "WITH changed AS (UPDATE things SET version = version + 1 WHERE id = 1 RETURNING version) \
                  INSERT INTO hookwright_outbox (organization, event_type, payload, ordering_key) \
                  SELECT 'acme', 'shift', json_build_object('version', version), 'thing-1' FROM changed";
    let (mut first, mut second) = (connect(&shop.database).await, connect(&shop.database).await);
    let mut relay = Running::of(&shop, &installation, &["--poll-interval", NEVER]);
    relay.logged("relaying from").await;
    for _ in 0..20 {
        let late = second.transaction().await.unwrap();
        late.execute("UPDATE things SET version = version + 1 WHERE id = 2", &[])
            .await
            .unwrap();
        let early = first.transaction().await.unwrap();
        early.execute(change, &[]).await.unwrap();
        early.commit().await.unwrap();
        late.execute(change, &[]).await.unwrap();
        late.commit().await.unwrap();
    }
    let versions: Vec<u64> = wait_for_events(&receiver, 40)
        .await
        .iter()
        .map(|request| request.json()["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, (1..=40).collect::<Vec<u64>>());
    assert_eq!(relay.terminate().await, Some(0));
}
