//! Mistakes with TLS, reported by their cause: by the command line, by the client and in the errors of deliveries.

use hookwright_client::{Client, TlsFault, v1::ListOrganizationsRequest};
use hookwright_proto::v1::{ListAttemptsRequest, ListDeliveriesRequest};
use hookwright_testkit::{
    Authority, Receiver, TestServer,
    tls::{
        Identity,
        rcgen::{BasicConstraints, IsCa, date_time_ymd},
    },
    until,
};

use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::{
    command_line::run,
    support::{CLOCKING, Installation, On, webhook},
};

struct Tls {
    server: TestServer,
    _directory: tempfile::TempDir,
}

impl Tls {
    async fn start(identity: &Identity) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = identity.files(directory.path());
        let server = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
            .arg("--tls-certificate", &certificate)
            .arg("--tls-private-key", &key)
            .start()
            .await
            .unwrap();
        Self {
            server,
            _directory: directory,
        }
    }

    fn address(&self) -> String {
        format!("https://{}", self.server.grpc_address())
    }
}

/// The error that the command line prints for an address.
async fn said(address: &str, authority: &Authority) -> String {
    let file = authority.pem_file().display().to_string();
    let output = run(
        &[
            "organizations",
            "list",
            "--address",
            address,
            "--ca-file",
            &file,
            "--token",
            "x",
        ],
        &[],
    )
    .await;
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_tells_each_mistake_and_its_fix() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = Tls::start(&authority.certificate(&["127.0.0.1"])).await;
    let old = authority.certificate_with(&["127.0.0.1"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 2, 3);
    });
    let old = Tls::start(&old).await;
    let of_authority = authority.certificate_with(&["127.0.0.1"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let of_authority = Tls::start(&of_authority).await;
    let plain = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .start()
        .await
        .unwrap();
    for (address, authority, parts) in [
        (
            good.address(),
            &stranger,
            ["authority that is not trusted", "--ca-file"],
        ),
        (
            of_authority.address(),
            &authority,
            ["that of a certificate authority", "CA:FALSE"],
        ),
        (old.address(), &authority, ["expired at 2021-02-03T00:00:00Z", "renew"]),
        (
            good.address().replace("127.0.0.1", "localhost"),
            &authority,
            ["is for 127.0.0.1, not for localhost", "use a host name"],
        ),
        (
            format!("https://{}", plain.grpc_address()),
            &authority,
            ["the server does not use TLS", "use http://"],
        ),
        (
            good.address().replace("https:", "http:"),
            &authority,
            // Or "if it uses TLS": the server's alert is lost if it closes while our bytes are in flight.
            ["uses TLS", "use https://"],
        ),
    ] {
        let stderr = said(&address, authority).await;
        for part in parts {
            assert!(stderr.contains(part), "{address}: {part}: {stderr}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_can_tell_a_mistake_by_its_kind() {
    let authority = Authority::new();
    let good = Tls::start(&authority.certificate(&["127.0.0.1"])).await;
    let fault = async |address: String| {
        let client = Client::builder(address).no_retry().connect().unwrap();
        let mut organizations = client.organizations();
        let list = organizations.list_organizations(ListOrganizationsRequest::default());
        let status = list.await.unwrap_err();
        TlsFault::of(std::error::Error::source(&status).unwrap())
    };
    assert_eq!(fault(good.address()).await, Some(TlsFault::UnknownAuthority));
    let plain = good.address().replace("https:", "http:");
    // If the server closes the connection while bytes are in transit, its answer can be lost.
    until("a certain diagnosis", async || match fault(plain.clone()).await {
        Some(TlsFault::SpeaksTls) => Ok(()),
        Some(TlsFault::MaySpeakTls) => Err(TlsFault::MaySpeakTls),
        other => panic!("{other:?}"),
    })
    .await;
    assert_eq!(fault("http://127.0.0.1:1".to_owned()).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_and_https_mixed_up_in_a_webhook_are_told_in_its_attempts() {
    let authority = Authority::new();
    let encrypted = Receiver::start_tls(authority.certificate(&["127.0.0.1"]).server_config()).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_url = format!("https://{}/", plain.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = plain.accept().await {
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let mut installation = Installation::start_with(On::Sqlite, |server| server.arg("--retry-delay", "1h")).await;
    for (url, told) in [
        (encrypted.url("/").replace("https:", "http:"), "speaks TLS on this port"),
        (plain_url, "does not speak TLS on this port"),
    ] {
        let created = installation.create_webhook(webhook(&url, &["clocking"])).await.unwrap();
        installation.publish("clocking", CLOCKING).await;
        let message = until("the attempt", async || {
            let request = ListDeliveriesRequest {
                parent: "organizations/acme".to_owned(),
                webhook: created.name.clone(),
                ..Default::default()
            };
            let deliveries = installation.clients.deliveries.list_deliveries(request).await.unwrap();
            let deliveries = deliveries.into_inner().deliveries;
            for delivery in &deliveries {
                let request = ListAttemptsRequest {
                    parent: delivery.name.clone(),
                    ..Default::default()
                };
                let attempts = installation.clients.deliveries.list_attempts(request).await.unwrap();
                if let Some(attempt) = attempts.into_inner().attempts.first() {
                    return Ok(format!("{attempt:?}"));
                }
            }
            Err(format!("{deliveries:?}"))
        })
        .await;
        assert!(message.contains(told), "{message}");
    }
}
