//! Operators' mistakes: the server reports them, and does not count them against receivers.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, path::Path};

use hookwright_proto::v1::{
    DeliveryState, ListDeliveriesRequest, ListNodesRequest, ListOrganizationsRequest, ListTokensRequest,
    RevokeTokenRequest, Token, TokenScope,
};
use hookwright_testkit::{Authority, Receiver, TestServer, server::TestServerBuilder, until};

use crate::{
    access::get,
    guides::{Guide, bash},
    support::{CLOCKING, Clients, Installation, On, on_both_stores, postgres_database, webhook},
};

on_both_stores! {
    async fn b02_without_certificate_authorities_the_operator_is_told_and_no_receiver_is_blamed(on: On) {
        let authority = Authority::new();
        let receiver = Receiver::start_tls(authority.certificate(&["127.0.0.1"]).server_config()).await;
        let plain = Receiver::start().await;
        let mut installation = Installation::start_with(on, |server| {
            let server = server.env("SSL_CERT_FILE", "/nonexistent/ca.pem").env("SSL_CERT_DIR", "/nonexistent/certs");
            server.arg("--retry-delay", "1h").arg("--disable-after", "1s")
        })
        .await;
        let log = installation.server.stderr();
        for place in ["SSL_CERT_FILE=/nonexistent/ca.pem", "SSL_CERT_DIR=/nonexistent/certs"] {
            assert!(log.contains("WARN") && log.contains(place), "{log}");
        }
        let address = installation.server.http_address().to_owned();
        let ready = get(&address, "/readyz").await;
        assert!(ready.contains("200 OK") && ready.contains("note: no certificate authority"), "{ready}");
        let metrics = get(&address, "/metrics").await;
        assert!(metrics.contains("hookwright_trusted_authorities 0"), "{metrics}");

        installation.create_webhook(webhook(&receiver.url("/hook"), &["clocking"])).await.unwrap();
        installation.register("other").await;
        for _ in 0..3 {
            installation.publish("clocking", CLOCKING).await;
        }
        until("the fault to be reported", async || {
            let told = installation.metric("hookwright_operator_faults{part=\"trust_store\"}").await;
            if told == 1.0 { Ok(()) } else { Err(told) }
        })
        .await;
        let ready = get(&address, "/readyz").await;
        let said = "some deliveries wait: trust_store";
        assert!(ready.contains("200 OK") && ready.contains(said) && ready.contains("ca-certificates"), "{ready}");
        // Receivers without TLS are not affected.
        installation.webhook(&plain, &["other"]).await;
        assert_eq!(installation.metric("hookwright_sending_paused").await, 0.0);
        let waiting = ListDeliveriesRequest {
            event_type: "clocking".to_owned(),
            states: vec![DeliveryState::Pending.into()],
            ..Default::default()
        };
        let deliveries = installation.deliveries_until(waiting, 3).await;
        assert!(deliveries.iter().all(|delivery| delivery.attempt_count == 0), "{deliveries:?}");
        assert_eq!(receiver.connections(), 0, "no connection was made");

        let file = authority.pem_file().display().to_string();
        installation.server.restart_with("--extra-ca-file", &file).await.unwrap();
        installation.reconnect().await;
        for delivery in deliveries {
            let delivery = installation.delivered(&delivery.name).await;
            assert_eq!(delivery.attempt_count, 1, "no retry was used up: {delivery:?}");
        }
    }
}

#[tokio::test]
async fn b02_certificate_authorities_that_are_there_are_counted() {
    let authority = Authority::new();
    let file = authority.pem_file().display().to_string();
    let installation = Installation::start_with(On::Sqlite, |server| {
        server.env("SSL_CERT_FILE", &file).env("SSL_CERT_DIR", "")
    })
    .await;
    let address = installation.server.http_address();
    let ready = get(address, "/readyz").await;
    assert!(ready.ends_with("ready\n"), "{ready}");
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("hookwright_trusted_authorities 1"), "{metrics}");
}

/// The state that a container without a volume starts with each time: the same database, and a new data directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b17_a_lost_data_directory_is_reported_and_its_files_can_be_replaced() {
    let database = postgres_database().await;
    let [first, second] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let server = |directory: &tempfile::TempDir| -> TestServerBuilder {
        let builder = TestServer::builder(env!("CARGO_BIN_EXE_hookwright")).postgres(database.url());
        builder.data_directory(directory.path().join("data"))
    };
    let mut running = server(&first).start().await.unwrap();
    let log = running.stderr();
    assert!(
        log.contains("WARN") && log.contains("the master key was generated"),
        "{log}"
    );
    running.terminate().await.unwrap();
    let mut again = server(&first).start().await.unwrap();
    assert!(
        !again.stderr().contains("the master key was generated"),
        "{}",
        again.stderr()
    );
    again.terminate().await.unwrap();

    let refused = server(&second).start_to_fail().await.unwrap();
    let stderr = &refused.stderr;
    assert!(
        stderr.contains("there is no master key in") && stderr.contains("HOOKWRIGHT_MASTER_KEY"),
        "{stderr}"
    );
    let key_file = second.path().join("data/master.key");
    assert!(!second.path().join("data").exists(), "no file is left behind");

    let key = std::fs::read_to_string(first.path().join("data/master.key")).unwrap();
    let mut replaced = server(&second)
        .env("HOOKWRIGHT_MASTER_KEY", &key)
        .start()
        .await
        .unwrap();
    let log = replaced.stderr();
    assert!(
        log.contains("has no valid admin token") && !log.contains("data/admin-token"),
        "{log}"
    );
    assert!(!key_file.exists() && !second.path().join("data/admin-token").exists());

    // A user with write access to the database creates a token, as the guide describes.
    let made = bash(
        &Guide::read("keys-and-tokens.md").commands(),
        second.path(),
        &[("DATABASE_URL", database.url())],
    )
    .await;
    replaced.restart().await.unwrap();
    let mut clients = Clients::connect(replaced.grpc_address(), made.trim()).await;
    let organizations = clients
        .organizations
        .list_organizations(ListOrganizationsRequest::default())
        .await;
    assert!(organizations.is_ok(), "{organizations:?}");
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_master_key_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let server = |data: &str| TestServer::builder(env!("CARGO_BIN_EXE_hookwright")).data_directory(at(data));
    for key in ["c2hvcnQ=", "not base64"] {
        let refused = server("malformed").env("HOOKWRIGHT_MASTER_KEY", key).start_to_fail();
        let stderr = refused.await.unwrap().stderr;
        assert!(stderr.contains("must contain the base64 of 32 bytes"), "{stderr}");
        assert!(!at("malformed").exists(), "{:?}", names(&at("malformed")));
    }
    std::fs::create_dir(at("with-file")).unwrap();
    std::fs::write(at("with-file/master.key"), "c2hvcnQ=").unwrap();
    let stderr = server("with-file").start_to_fail().await.unwrap().stderr;
    assert!(
        stderr.contains("with-file/master.key must contain the base64"),
        "{stderr}"
    );
    assert_eq!(names(&at("with-file")), ["master.key"]);

    // A valid key that is not the store's key.
    let database = postgres_database().await;
    let mut first = server("first").postgres(database.url()).start().await.unwrap();
    let other = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let refused = server("other")
        .postgres(database.url())
        .env("HOOKWRIGHT_MASTER_KEY", other);
    let stderr = refused.start_to_fail().await.unwrap().stderr;
    assert!(
        stderr.contains("is not the one that encrypted this store's secrets"),
        "{stderr}"
    );
    assert!(!at("other").exists(), "{:?}", names(&at("other")));
    let mut clients = Clients::connect(first.grpc_address(), &first.token().unwrap()).await;
    let nodes = clients.nodes.list_nodes(ListNodesRequest::default()).await.unwrap();
    assert_eq!(nodes.into_inner().nodes.len(), 1, "the refused server did not join");
    first.terminate().await.unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_of_the_data_directory_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, Permissions::from_mode(0o777)).unwrap();
    let mut server = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .data_directory(&data)
        .start()
        .await
        .unwrap();
    let files = [
        "hookwright.db",
        "hookwright.db-shm",
        "hookwright.db-wal",
        "hookwright.db.lock",
    ];
    let secrets = ["admin-token", "master.key", "node-name", "server.lock"];
    for name in files.iter().chain(&secrets) {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    // The server removes the permissions of others from files that an earlier version left, also after a crash.
    server.kill9().await.unwrap();
    for name in files {
        std::fs::set_permissions(data.join(name), Permissions::from_mode(0o644)).unwrap();
    }
    server.restart().await.unwrap();
    for name in files {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    assert!(
        server.stderr().contains("others could use this file (mode 644)"),
        "{}",
        server.stderr()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_the_admin_token_only_while_it_is_there_and_valid() {
    let mut server = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .start()
        .await
        .unwrap();
    let file = server.data_directory().join("admin-token");
    let named = "the first admin token is in this file; create your own tokens";
    assert!(server.stderr().contains(named), "{}", server.stderr());
    let first = server.token().unwrap();
    let mut clients = Clients::connect(server.grpc_address(), &first).await;
    let own = Token {
        display_name: "own".to_owned(),
        scope: TokenScope::Admin.into(),
        ..Default::default()
    };
    let own = clients.create_token(own).await.unwrap().secret;

    std::fs::rename(&file, file.with_extension("away")).unwrap();
    let before = server.stderr().len();
    server.restart().await.unwrap();
    let log = server.stderr()[before..].to_owned();
    assert!(
        log.contains("has no valid admin token") && !log.contains("admin-token"),
        "{log}"
    );
    assert!(server.token().is_err(), "the ready file names no file");

    // A revoked token counts as no token, and the log asks for its file to be deleted.
    std::fs::rename(file.with_extension("away"), &file).unwrap();
    let mut clients = Clients::connect(server.grpc_address(), &own).await;
    let tokens = clients
        .tokens
        .list_tokens(ListTokensRequest::default())
        .await
        .unwrap()
        .into_inner()
        .tokens;
    let name = tokens
        .iter()
        .find(|token| token.display_name == "first admin token")
        .unwrap()
        .name
        .clone();
    clients.tokens.revoke_token(RevokeTokenRequest { name }).await.unwrap();
    let before = server.stderr().len();
    server.restart().await.unwrap();
    let log = server.stderr()[before..].to_owned();
    assert!(log.contains("is revoked") && log.contains("delete the file"), "{log}");
    assert!(server.token().is_err(), "the ready file names no file");
}

#[tokio::test]
async fn a_password_is_shown_nowhere_whatever_characters_it_holds() {
    let settings = [
        ("HOOKWRIGHT_DATABASE_URL", "config"),
        ("HOOKWRIGHT_EGRESS_PROXY", "config"),
        ("HOOKWRIGHT_OTLP_ENDPOINT", "config"),
        // The first address is refused by the network, the second for its scheme.
        ("HOOKWRIGHT_DATABASE_URL", "serve"),
        ("HOOKWRIGHT_EGRESS_PROXY", "serve"),
        ("HOOKWRIGHT_DATABASE_URL", "migrate"),
    ];
    for password in [
        "Zq7/Xk9", "Zq7?Xk9", "Zq7#Xk9", "Zq7@Xk9", "Zq7:Xk9", "Zq7%Xk9", "1/Zq7Xk9",
    ] {
        for (variable, command) in settings {
            let directory = tempfile::tempdir().unwrap();
            let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_hookwright"));
            process
                .arg(command)
                .args(["--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"])
                .env(variable, format!("postgres://user:{password}@127.0.0.1:1/database"))
                .env("HOOKWRIGHT_DATA_DIR", directory.path())
                .kill_on_drop(true);
            let output = tokio::time::timeout(hookwright_testkit::DEADLINE, process.output()).await;
            let output = output.expect("it ends").unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert_eq!(output.status.success(), command == "config", "{said}");
            for part in ["Zq7", "Xk9"] {
                assert!(!said.contains(part), "{command} with {variable}, {password}: {said}");
            }
        }
    }
}
