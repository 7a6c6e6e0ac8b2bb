//! The condition of the store.

use std::time::Duration;

use hookwright_testkit::until;

use crate::support::Fixture;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b30_the_session_with_the_oldest_snapshot_is_found() {
    let fixture = Fixture::postgres().await;
    let (client, connection) = tokio_postgres::connect(&fixture.options.url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
        .batch_execute(
            "SET application_name = 'a report';
             BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM events",
        )
        .await
        .unwrap();
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let found = until("the session", async || {
        let found = fixture.store().longest_transaction().await.unwrap();
        match found {
            Some(found) if found.pid == pid && found.state == "idle in transaction" => Ok(found),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(
        (found.application_name.as_str(), found.user.is_empty()),
        ("a report", false)
    );
    assert!(found.age > Duration::ZERO);
    client.batch_execute("COMMIT").await.unwrap();
    until("the end of the transaction", async || {
        match fixture.store().longest_transaction().await.unwrap() {
            Some(other) if other.pid == pid => Err(format!("{other:?}")),
            _ => Ok(()),
        }
    })
    .await;
    assert_eq!(fixture.store().log_bytes(), None);
    assert!(Fixture::sqlite().await.store().log_bytes().is_some());
}
