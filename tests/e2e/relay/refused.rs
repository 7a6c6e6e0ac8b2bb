//! Rows that the server refuses, and a relay whose token it refuses.

use super::{Running, Shop, installation, text};
use crate::{
    client::{assert_each_once, numbers},
    support::On,
};

#[tokio::test]
async fn a_refused_row_is_marked_and_stops_nobody() {
    let mut installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    shop.insert(0..2).await;
    let unknown = "INSERT INTO hookwright_outbox (organization, event_type, payload, attributes) \
                   VALUES ('acme', 'later', '{}', '{\"n\":\"4\"}'), ('nobody', 'shift', '{}', NULL)";
    shop.sql.execute(unknown, &[]).await.unwrap();
    shop.insert(2..4).await;
    let mut relay = Running::of(&shop, &installation, &["--once"]);
    assert_eq!(relay.ended().await, Some(1), "something was refused: {}", relay.log());
    assert!(
        relay.log().contains("NotFound") && relay.log().contains("published 4 events, 2 rejected"),
        "{}",
        relay.log()
    );
    assert_each_once(numbers(&installation).await, 4);
    assert_eq!(shop.count("failed_at IS NOT NULL AND error LIKE '%later%'").await, 1);

    let status = shop.command(&["status", "--output", "json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        (&status["waiting"], &status["failed"]),
        (&0.into(), &2.into()),
        "{status}"
    );

    installation.register("later").await;
    let id: i64 = shop
        .sql
        .query_one("SELECT id FROM hookwright_outbox WHERE event_type = 'later'", &[])
        .await
        .unwrap()
        .get(0);
    let put_back = shop.command(&["retry-failed", "--id", &id.to_string()]).await;
    assert_eq!(text(&put_back.stdout), "1 row put back\n", "{}", text(&put_back.stderr));
    let mut relay = Running::of(&shop, &installation, &["--once", "--keep"]);
    assert_eq!(relay.ended().await, Some(0), "{}", relay.log());
    assert_each_once(numbers(&installation).await, 5);
    assert_eq!(
        shop.count("published_at IS NOT NULL AND event LIKE 'organizations/acme/events/%'")
            .await,
        1
    );
    assert_eq!(
        shop.count("failed_at IS NOT NULL").await,
        1,
        "the other failed row stays"
    );
}

/// A row that is larger than any message the server accepts: the server refuses the call without naming the row.
#[tokio::test]
async fn a_row_that_is_too_large_for_any_call_stops_nobody() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    let large = "INSERT INTO hookwright_outbox (organization, event_type, payload, attributes) \
                 VALUES ('acme', 'shift', '{}', json_build_object('x', repeat('x', 33 << 20)))";
    shop.insert(0..5).await;
    shop.sql.execute(large, &[]).await.unwrap();
    shop.insert(5..10).await;
    let mut relay = Running::of(&shop, &installation, &["--once"]);
    assert_eq!(relay.ended().await, Some(1), "{}", relay.log());
    assert_eq!(shop.count("failed_at IS NOT NULL").await, 1);
    assert_each_once(numbers(&installation).await, 10);
}

#[tokio::test]
async fn a_wrong_token_refuses_no_rows() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    shop.insert(0..3).await;
    let address = installation.server.grpc_address().to_owned();
    let mut wrong = Running::start(&shop, &address, "hw_wrong", &[]);
    wrong.logged("Hookwright does not accept events: Unauthenticated").await;
    assert_eq!(wrong.terminate().await, Some(0), "{}", wrong.log());
    let mut once = Running::start(&shop, &address, "hw_wrong", &["--once"]);
    assert_eq!(once.ended().await, Some(1));
    assert_eq!(shop.count("failed_at IS NULL").await, 3);
    let mut right = Running::of(&shop, &installation, &["--once"]);
    assert_eq!(right.ended().await, Some(0), "{}", right.log());
    assert_each_once(numbers(&installation).await, 3);
}
