//! Reloading by a running server: its settings at SIGHUP, and certificates when their files change.

use std::path::Path;

use hookwright_client::{Client, v1::ListOrganizationsRequest};
use hookwright_proto::v1::{DeliveryState, ListDeliveriesRequest};
use hookwright_testkit::{Authority, Receiver, TestServer, until};
use rustix::process::Signal;

use crate::support::{ACME, CLOCKING, Installation, webhook};

/// Waits until the log contains a text after the position `from`.
async fn logged(server: &TestServer, from: usize, text: &str) -> String {
    until("the log", async || {
        let log = server.stderr()[from..].to_owned();
        if log.contains(text) { Ok(log) } else { Err(log) }
    })
    .await
}

/// Writes the settings, makes the server reload them, and waits for a text in the log.
async fn reload(server: &TestServer, file: &Path, settings: &str, told: &str) -> String {
    let from = server.stderr().len();
    std::fs::write(file, settings).unwrap();
    server.signal(Signal::HUP).unwrap();
    logged(server, from, told).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reloads_where_webhooks_may_point_and_the_log_filter() {
    const DONE: &str = "reloaded: certificates, authorities and resolver";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hookwright.toml");
    std::fs::write(&file, "log_filter = 'warn'\nretention = '30d'\n").unwrap();
    let server = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .arg("--config", file.to_str().unwrap())
        .start()
        .await
        .unwrap();
    let mut installation = Installation::of(server).await;
    installation.create_organization("acme").await;
    let receiver = Receiver::start().await;
    let refused = installation
        .create_webhook(webhook(&receiver.url("/"), &["clocking"]))
        .await;
    assert!(refused.is_err(), "{refused:?}");
    assert!(
        !installation.server.stderr().contains(" ready"),
        "{}",
        installation.server.stderr()
    );

    let allowed = "log_filter = 'info'\nretention = '20d'\nallow_targets = ['127.0.0.0/8']\n";
    let log = reload(&installation.server, &file, allowed, DONE).await;
    for part in [
        "reloaded setting=\"allow-targets\"",
        "needs a restart",
        "setting=\"retention\"",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    installation
        .create_webhook(webhook(&receiver.url("/"), &["clocking"]))
        .await
        .unwrap();
    installation.publish("clocking", CLOCKING).await;
    let of = |state: DeliveryState| ListDeliveriesRequest {
        parent: ACME.to_owned(),
        states: vec![state.into()],
        event_type: "clocking".to_owned(),
        ..Default::default()
    };
    installation.deliveries_until(of(DeliveryState::Delivered), 1).await;

    // An invalid file changes nothing, and the server keeps running.
    let log = reload(
        &installation.server,
        &file,
        "alow_targets = []\n",
        "nothing was changed",
    )
    .await;
    assert!(log.contains("unknown key `alow_targets`"), "{log}");
    installation.publish("clocking", CLOCKING).await;
    installation.deliveries_until(of(DeliveryState::Delivered), 2).await;

    // The kept connection is not used again.
    let before = receiver.request_count();
    let denied = format!("{allowed}deny_targets = ['127.0.0.0/8']\n");
    reload(&installation.server, &file, &denied, DONE).await;
    installation.publish("clocking", CLOCKING).await;
    let retried = installation.deliveries_until(of(DeliveryState::Retrying), 1).await;
    assert_eq!(retried[0].attempt_count, 1, "{retried:?}");
    assert_eq!(receiver.request_count(), before, "nothing was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_reread_when_their_files_change_and_at_sighup() {
    let directory = tempfile::tempdir().unwrap();
    let authorities = [(); 3].map(|()| Authority::new());
    let certificate = |at: usize| authorities[at].certificate(&["127.0.0.1"]);
    let (chain, key) = certificate(0).files(directory.path());
    let server = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .arg("--tls-certificate", &chain)
        .arg("--tls-private-key", &key)
        .start()
        .await
        .unwrap();
    let (address, token) = (format!("https://{}", server.grpc_address()), server.token().unwrap());
    let call = async |at: usize| {
        let client = Client::builder(&*address).token(&*token).system_roots(false).no_retry();
        let client = client.ca_certificate(authorities[at].pem()).connect().unwrap();
        let mut organizations = client.organizations();
        let list = organizations.list_organizations(ListOrganizationsRequest::default());
        list.await.map(drop)
    };
    call(0).await.unwrap();
    call(1).await.unwrap_err();

    let _ = certificate(1).files(directory.path());
    until("the new certificate", async || {
        call(1).await.map_err(|status| status.to_string())
    })
    .await;
    call(0).await.unwrap_err();

    // The key does not belong to the certificate: the previous pair stays in use.
    let from = server.stderr().len();
    std::fs::write(&key, certificate(2).key_pem).unwrap();
    logged(&server, from, "the former certificate stays in use").await;
    call(1).await.unwrap();
    server.signal(Signal::HUP).unwrap();
    logged(&server, from, "nothing was changed").await;
    call(1).await.unwrap();

    let _ = certificate(2).files(directory.path());
    server.signal(Signal::HUP).unwrap();
    until("the newest certificate", async || {
        call(2).await.map_err(|status| status.to_string())
    })
    .await;
}
