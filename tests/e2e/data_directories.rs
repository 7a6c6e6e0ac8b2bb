//! A data directory belongs to one installation and to one running server.

use std::path::Path;

use hookwright_proto::v1::{ListNodesRequest, ListTokensRequest};
use hookwright_testkit::{TestServer, server::TestServerBuilder};

use crate::support::{Clients, postgres_database};

fn server(data: &Path) -> TestServerBuilder {
    TestServer::builder(env!("CARGO_BIN_EXE_hookwright")).data_directory(data)
}

/// Whether the server accepts the token of its data directory.
async fn accepts_its_token(server: &TestServer) -> bool {
    let mut clients = Clients::connect(server.grpc_address(), &server.token().unwrap()).await;
    clients.tokens.list_tokens(ListTokensRequest::default()).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_database_does_not_overwrite_the_admin_token_of_another_installation() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("trial");
    let file = data.join("admin-token");
    let mut trial = server(&data).start().await.unwrap();
    let token = trial.token().unwrap();
    trial.terminate().await.unwrap();

    let database = postgres_database().await;
    let refused = server(&data).postgres(database.url()).start_to_fail().await.unwrap();
    for part in [
        "the admin token of another installation",
        "--data-dir",
        "trial/admin-token",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), token);
    trial.restart().await.unwrap();
    assert!(accepts_its_token(&trial).await);
    trial.terminate().await.unwrap();

    // The token's file is gone, as after the first use, and the database's is there.
    std::fs::rename(&file, directory.path().join("away")).unwrap();
    let refused = server(&data).postgres(database.url()).start_to_fail().await.unwrap();
    assert!(
        refused.stderr.contains("the SQLite database of another installation"),
        "{}",
        refused.stderr
    );

    // The other way round, also for `migrate`.
    let data = directory.path().join("production");
    let mut production = server(&data).postgres(database.url()).start().await.unwrap();
    let token = production.token().unwrap();
    production.terminate().await.unwrap();
    let refused = server(&data).start_to_fail().await.unwrap();
    assert!(
        refused.stderr.contains("the admin token of another installation"),
        "{}",
        refused.stderr
    );
    let migrate = tokio::process::Command::new(env!("CARGO_BIN_EXE_hookwright"))
        .args(["migrate", "--data-dir"])
        .arg(&data)
        .output()
        .await
        .unwrap();
    assert!(!migrate.status.success(), "{migrate:?}");
    assert!(!data.join("hookwright.db").exists());
    assert_eq!(std::fs::read_to_string(data.join("admin-token")).unwrap().trim(), token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_database_that_uses_an_existing_key_is_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut first = server(&data).start().await.unwrap();
    let warning = "uses the master key that was already in this file";
    assert!(!first.stderr().contains(warning), "{}", first.stderr());
    first.terminate().await.unwrap();
    for name in ["hookwright.db", "hookwright.db-wal", "hookwright.db-shm", "admin-token"] {
        let _ = std::fs::remove_file(data.join(name));
    }
    let mut second = server(&data).start().await.unwrap();
    assert!(second.stderr().contains(warning), "{}", second.stderr());
    second.restart().await.unwrap();
    assert_eq!(second.stderr().matches(warning).count(), 1, "{}", second.stderr());
}

/// The state after a crash between the token's row and its file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_the_first_start_does_not_lose_the_admin_token() {
    let mut server = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .start()
        .await
        .unwrap();
    let file = server.data_directory().join("admin-token");
    let unstored = server.data_directory().join("admin-token.new");
    assert!(!unstored.exists());
    server.kill9().await.unwrap();
    std::fs::rename(&file, &unstored).unwrap();
    server.restart().await.unwrap();
    assert!(file.exists() && !unstored.exists());
    assert!(accepts_its_token(&server).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_same_data_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let database = postgres_database().await;
    let on_postgres = || server(&data).postgres(database.url());
    let mut first = on_postgres().start().await.unwrap();
    let refused = on_postgres().start_to_fail().await.unwrap();
    for part in [
        "another server is using the data directory",
        "--data-dir",
        "--master-key-file",
        "data/master.key",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    let mut clients = Clients::connect(first.grpc_address(), &first.token().unwrap()).await;
    let nodes = clients.nodes.list_nodes(ListNodesRequest::default()).await.unwrap();
    assert_eq!(nodes.into_inner().nodes.len(), 1, "the refused server did not join");

    // A killed server leaves no lock.
    first.kill9().await.unwrap();
    let mut next = on_postgres().start().await.unwrap();
    next.terminate().await.unwrap();
}
