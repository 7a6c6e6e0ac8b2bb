//! TLS: trusted certificates, and the errors of others.

use std::{sync::Arc, time::Duration};

use hookwright_domain::outcome::ErrorClass;
use hookwright_testkit::{
    Authority, Receiver,
    dns::{DnsServer, Record, Reply},
};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::support::{attempt, attempt_at, attempt_on, class, trusting};

async fn loopback_dns() -> DnsServer {
    DnsServer::start(|_, _| Reply::Records(vec![Record::A([127, 0, 0, 1].into())])).await
}

#[tokio::test]
async fn s41_a_bare_address_is_allowed_and_another_name_is_not() {
    let authority = Authority::new();
    let receiver = Receiver::start_tls(authority.certificate(&["127.0.0.1", "hook.example"]).server_config()).await;
    let dns = loopback_dns().await;
    let sender = trusting(&authority, Some(&dns));
    let mut slot = None;
    for _ in 0..2 {
        let report = attempt_on(&sender, &mut slot, &receiver.url("/")).await;
        assert_eq!(class(&report), None, "{report:?}");
    }
    assert_eq!(receiver.connections(), 1, "the connection is kept");
    let report = attempt(&sender, &receiver.url_as("hook.example", "/")).await;
    assert_eq!(class(&report), None, "{report:?}");
    let report = attempt(&sender, &receiver.url_as("other.example", "/")).await;
    assert_eq!(class(&report), Some(ErrorClass::TlsName), "{report:?}");
}

#[tokio::test]
async fn b25_a_name_that_no_certificate_can_be_for_is_said_to_be_the_reason() {
    // Such a URL is refused at creation. One that an earlier version stored is still attempted.
    let dns = loopback_dns().await;
    let sender = trusting(&Authority::new(), Some(&dns));
    let receiver = Receiver::start().await;
    let url = receiver.url_as("foo-.example.com", "/").replacen("http:", "https:", 1);
    let url = hookwright_domain::url::PayloadUrl::parse_stored(&url).unwrap();
    let report = attempt_at(&sender, &mut None, &url, Duration::from_secs(10), b"{}").await;
    assert_eq!(class(&report), Some(ErrorClass::TlsName), "{report:?}");
    assert!(report.error_message().unwrap().contains("name"), "{report:?}");
}

#[tokio::test]
async fn r21_certificates_that_are_not_trusted() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let sender = trusting(&authority, None);
    let receiver = Receiver::start_tls(stranger.certificate(&["127.0.0.1"]).server_config()).await;
    let report = attempt(&sender, &receiver.url("/")).await;
    assert_eq!(class(&report), Some(ErrorClass::TlsUntrusted), "{report:?}");
    assert_eq!(receiver.request_count(), 0, "nothing was sent");
}

#[tokio::test]
async fn r22_handshakes_that_do_not_end() {
    let sender = trusting(&Authority::new(), None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let held = Arc::new(tokio::sync::Mutex::new(Vec::new()));
    let keep = Arc::clone(&held);
    let accepting = tokio::spawn(async move {
        let (stalled, _) = listener.accept().await.unwrap();
        keep.lock().await.push(stalled);
        let (mut plain, _) = listener.accept().await.unwrap();
        plain.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
    });
    let url = format!("https://{address}/");
    assert_eq!(
        class(&attempt(&sender, &url).await),
        Some(ErrorClass::Timeout),
        "stalls"
    );
    assert_eq!(
        class(&attempt(&sender, &url).await),
        Some(ErrorClass::TlsHandshake),
        "speaks another protocol"
    );
    accepting.await.unwrap();
}
