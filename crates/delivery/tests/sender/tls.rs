//! TLS: trusted certificates, and the errors of others.

use std::{sync::Arc, time::Duration};

use hookwright_delivery::sender::Sender;
use hookwright_domain::outcome::ErrorClass;
use hookwright_testkit::{
    Authority, Identity, Receiver,
    dns::{DnsServer, Record, Reply},
    tls::{
        TLS12, TLS13,
        rcgen::{BasicConstraints, CertificateParams, IsCa},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{attempt, attempt_at, attempt_on, attempt_unverified, class, sender, trusting, trusting_pem};

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

/// A receiver that ends each handshake with an alert.
async fn alerting(alert: u8) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).await.unwrap();
            let mut rest = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
            stream.read_exact(&mut rest).await.unwrap();
            stream.write_all(&[21, 3, 3, 0, 2, 2, alert]).await.unwrap();
        }
    });
    url
}

/// The class and the message of an attempt that fails in its handshake.
async fn rejected(sender: &Sender, url: &str) -> (ErrorClass, String) {
    let report = attempt(sender, url).await;
    (class(&report).unwrap(), report.error_message().unwrap().to_owned())
}

const LEAF_KEY: &str = include_str!("certificates/leaf.key");

#[tokio::test]
async fn b11_a_chain_with_an_unsupported_algorithm_is_rejected_by_its_name() {
    let p521 = include_str!("certificates/p521-authority.pem");
    let p384 = include_str!("certificates/p384-authority.pem");
    for (authority, leaf, algorithms) in [
        (
            p521,
            include_str!("certificates/p521-sha512.pem"),
            &["ECDSA with SHA-512"][..],
        ),
        (
            p521,
            include_str!("certificates/p521-sha256.pem"),
            &["ECDSA with SHA-256", "P-521"],
        ),
        (
            p384,
            include_str!("certificates/p384-sha512.pem"),
            &["ECDSA with SHA-512"],
        ),
    ] {
        let receiver = Receiver::start_tls(Identity::from_pem(leaf, LEAF_KEY).server_config()).await;
        let (class, message) = rejected(&trusting_pem(authority, None), &receiver.url("/")).await;
        assert_eq!(class, ErrorClass::TlsHandshake, "{message}");
        for algorithm in algorithms {
            assert!(message.contains(algorithm), "{message}");
        }
    }
}

#[tokio::test]
async fn b11_a_receiver_with_only_a_p_521_key_ends_the_handshake() {
    // Its server finds no signature algorithm in common with ours, and sends handshake_failure in place of the certificate.
    let (class, message) = rejected(&sender(), &alerting(40).await).await;
    assert_eq!(class, ErrorClass::TlsHandshake);
    assert!(message.contains("P-521"), "{message}");
}

#[tokio::test]
async fn b12_a_self_signed_certificate_is_untrusted_or_explained() {
    let ca = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let as_openssl_makes_it = Identity::self_signed(&["127.0.0.1"], ca);
    let receiver = Receiver::start_tls(as_openssl_makes_it.server_config()).await;
    for sender in [sender(), trusting_pem(&as_openssl_makes_it.certificate_pem, None)] {
        let (class, message) = rejected(&sender, &receiver.url("/")).await;
        assert_eq!(class, ErrorClass::TlsUntrusted, "{message}");
        for part in ["CA:TRUE", "basicConstraints=critical,CA:FALSE", "sign a certificate"] {
            assert!(message.contains(part), "{message}");
        }
    }
    let as_we_say = Identity::self_signed(&["127.0.0.1"], |params| params.is_ca = IsCa::ExplicitNoCa);
    let receiver = Receiver::start_tls(as_we_say.server_config()).await;
    let (class, message) = rejected(&sender(), &receiver.url("/")).await;
    assert_eq!(class, ErrorClass::TlsUntrusted, "{message}");
    let report = attempt(&trusting_pem(&as_we_say.certificate_pem, None), &receiver.url("/")).await;
    assert_eq!(report.error_class(), None, "{report:?}");
}

#[tokio::test]
async fn sessions_are_resumed_over_all_connections_of_a_sender() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let config = authority.certificate(&["127.0.0.1"]).server_config_with(&[version]);
        let receiver = Receiver::start_tls(config).await;
        let sender = trusting(&authority, None);
        for connections in 1..5 {
            let report = attempt(&sender, &receiver.url("/")).await;
            assert_eq!(class(&report), None, "{report:?}");
            assert_eq!(receiver.connections(), connections);
            assert_eq!(receiver.resumed_handshakes(), connections - 1, "{version:?}");
        }
    }
}

#[tokio::test]
async fn sessions_are_kept_for_many_hosts() {
    const HOSTS: usize = 100;
    let authority = Authority::new();
    let receiver = Receiver::start_tls(authority.certificate(&["*.hook.example"]).server_config()).await;
    let dns = loopback_dns().await;
    let sender = trusting(&authority, Some(&dns));
    for resumed in [0, HOSTS] {
        for host in 0..HOSTS {
            let url = receiver.url_as(&format!("h{host}.hook.example"), "/");
            assert_eq!(class(&attempt(&sender, &url).await), None);
        }
        assert_eq!(receiver.resumed_handshakes(), resumed);
    }
}

#[tokio::test]
async fn a_session_without_verification_is_not_resumed_with_it() {
    let receiver = Receiver::start_tls(Authority::new().certificate(&["127.0.0.1"]).server_config()).await;
    let (sender, url) = (sender(), receiver.url("/"));
    for _ in 0..2 {
        assert_eq!(class(&attempt_unverified(&sender, &url).await), None);
    }
    assert_eq!(receiver.resumed_handshakes(), 1);
    let (class, _) = rejected(&sender, &url).await;
    assert_eq!(class, ErrorClass::TlsUntrusted);
    assert_eq!((receiver.request_count(), receiver.resumed_handshakes()), (2, 1));
}
