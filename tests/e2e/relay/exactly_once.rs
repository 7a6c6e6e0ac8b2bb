//! Relays, servers and connections that end at any moment: each event is published exactly once.

use hookwright_testkit::{Proxy, until};

use super::{NEVER, Running, Shop, connect, installation};
use crate::{
    client::{assert_each_once, numbers},
    support::{Installation, On, on_both_stores},
};

on_both_stores! {
    async fn a_backlog_comes_through_kills_of_both_sides_once(on: On) {
        const COUNT: usize = 20_000;
        let mut installation = installation(on).await;
        let shop = Shop::start().await;
        shop.insert(0..COUNT).await;
        let proxy = Proxy::start(installation.server.grpc_address().to_owned()).await.unwrap();
        let address = proxy.address().to_string();
        let token = installation.server.token().unwrap();
        let start = || Running::start(&shop, &address, &token, &["--batch-rows", "100"]);
        let mut relay = start();
        for left in [17_000, 13_000, 9_000, 5_000] {
            let left_now = shop.count_until("true", |count| count <= left).await;
            assert!(left_now > 0, "killed in the middle");
            relay.kill9().await;
            if left < 15_000 {
                // The next relay begins while the server is down.
                relay = start();
                installation.server.kill9().await.unwrap();
                installation.restart().await;
                proxy.lead_to(installation.server.grpc_address());
            } else {
                proxy.cut();
                relay = start();
            }
        }
        shop.drained().await;
        assert_eq!(relay.terminate().await, Some(0), "{}", relay.log());
        let numbers = numbers(&installation).await;
        assert!(numbers.is_sorted(), "in the order of the outbox");
        assert_each_once(numbers, COUNT);
    }
}

on_both_stores! {
    async fn an_event_stored_before_its_answer_is_not_stored_again(on: On) {
        const COUNT: usize = 250;
        let directory = tempfile::tempdir().unwrap();
        let (builder, _database) = crate::support::builder(on).await;
        let builder = builder.data_directory(directory.path().join("data"));
        let mut installation = Installation::of(builder.clone().start().await.unwrap()).await;
        installation.create_organization("acme").await;
        installation.register("shift").await;
        installation.server.terminate().await.unwrap();

        let mut dying = builder.clone().env("HOOKWRIGHT_FAILPOINT", "after-commit:2").start().await.unwrap();
        let shop = Shop::start().await;
        shop.insert(0..COUNT).await;
        let proxy = Proxy::start(dying.grpc_address().to_owned()).await.unwrap();
        let token = dying.token().unwrap();
        let mut relay = Running::start(&shop, &proxy.address().to_string(), &token, &["--batch-rows", "100"]);
        assert!(!dying.wait().await.unwrap().success());
        assert_eq!(shop.count("true").await, 150, "the second hundred is stored, and the relay did not learn of it");
        let installation = Installation::of(builder.start().await.unwrap()).await;
        assert_eq!(numbers(&installation).await.len(), 200);
        proxy.lead_to(installation.server.grpc_address());
        shop.drained().await;
        assert_each_once(numbers(&installation).await, COUNT);
        assert_eq!(relay.terminate().await, Some(0));
    }
}

#[tokio::test]
async fn a_published_row_that_was_not_removed_is_not_published_again() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    shop.insert(0..250).await;
    // The relay can read every row, but cannot remove one of them.
    let mut other = connect(&shop.database).await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("SELECT FROM hookwright_outbox WHERE id = 50 FOR UPDATE")
        .await
        .unwrap();
    let mut relay = Running::of(&shop, &installation, &["--batch-rows", "100"]);
    until("the first events", async || {
        let published = numbers(&installation).await.len();
        if published >= 100 { Ok(()) } else { Err(relay.log()) }
    })
    .await;
    relay.kill9().await;
    // Its session could still remove the rows.
    shop.end_relay_sessions().await;
    lock.rollback().await.unwrap();
    assert_eq!(shop.count("true").await, 250);
    let mut relay = Running::of(&shop, &installation, &["--once"]);
    assert_eq!(relay.ended().await, Some(0), "{}", relay.log());
    assert_each_once(numbers(&installation).await, 250);
}

#[tokio::test]
async fn a_second_relay_stands_by_and_takes_over() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    let mut first = Running::of(&shop, &installation, &["--poll-interval", NEVER]);
    first.logged("relaying from").await;
    let mut second = Running::of(&shop, &installation, &["--poll-interval", NEVER]);
    second.logged("standing by").await;
    let mut third = Running::of(&shop, &installation, &["--once"]);
    assert_eq!(third.ended().await, Some(0));
    assert!(
        third.log().contains("another relay serves this outbox"),
        "{}",
        third.log()
    );
    shop.insert(0..5).await;
    shop.drained().await;
    assert!(!second.log().contains("relaying from"), "{}", second.log());
    first.kill9().await;
    shop.insert(5..10).await;
    shop.drained().await;
    assert!(second.log().contains("relaying from"), "{}", second.log());
    assert_each_once(numbers(&installation).await, 10);
    assert_eq!(second.terminate().await, Some(0));
}

#[tokio::test]
async fn lost_connections_to_postgresql_are_made_again() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    let mut relay = Running::of(&shop, &installation, &["--poll-interval", NEVER]);
    for n in 0..5 {
        relay.logged("relaying from").await;
        shop.end_relay_sessions().await;
        shop.insert(n..n + 1).await;
        shop.drained().await;
    }
    assert!(relay.log().contains("retrying in"), "{}", relay.log());
    assert_each_once(numbers(&installation).await, 5);
    assert_eq!(relay.terminate().await, Some(0));
}
