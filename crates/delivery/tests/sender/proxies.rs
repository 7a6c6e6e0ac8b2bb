//! The operator's egress proxy.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hookwright_delivery::{
    connector::ConnectorOptions,
    sender::{OperatorFault, Sender},
};
use hookwright_domain::outcome::{ErrorClass, OperatorPart};
use hookwright_testkit::Receiver;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{FullListener, allow, attempt, attempt_with, class};

/// Makes the proxy close the connection without an answer.
const CLOSES: &[u8] = b"closes";

/// A proxy that gives this answer to CONNECT, and forwards bytes after a positive one.
async fn proxy(answer: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        if answer == CLOSES {
            return head;
        }
        client.write_all(answer).await.unwrap();
        if answer.starts_with(b"HTTP/1.1 200") {
            let target = head.split(' ').nth(1).unwrap();
            let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        } else {
            // Hangs until the client gives up.
            let _ = client.read_u8().await;
        }
        head
    });
    (address, task)
}

fn through(proxy: &str) -> Sender {
    let options = ConnectorOptions {
        egress_proxy: Some(proxy.to_owned()),
        ..ConnectorOptions::default()
    };
    Sender::new(options, allow(&["127.0.0.0/8"])).unwrap()
}

#[tokio::test]
async fn s39_the_operators_proxy_carries_the_request_to_the_checked_address() {
    let receiver = Receiver::start().await;
    let (address, task) = proxy(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    let sender = through(&format!("http://user:pass@{address}"));
    let report = attempt(&sender, &receiver.url("/")).await;
    assert_eq!(class(&report), None, "{report:?}");
    drop(sender);
    let head = task.await.unwrap();
    assert!(
        head.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", receiver.address())),
        "{head}"
    );
    assert!(head.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), "{head}");
}

#[tokio::test]
async fn credentials_of_the_proxy_are_decoded_before_they_are_sent() {
    let receiver = Receiver::start().await;
    for (user_info, sent) in [
        // The password is `p@ss:w/rd%`. The user's name contains an accented letter in UTF-8.
        ("us%C3%A9r:p%40ss%3Aw%2Frd%25", "Basic dXPDqXI6cEBzczp3L3JkJQ=="),
        ("user:plain", "Basic dXNlcjpwbGFpbg=="),
        // An invalid escape stands for itself.
        ("user:100%", "Basic dXNlcjoxMDAl"),
    ] {
        let (address, task) = proxy(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
        let sender = through(&format!("http://{user_info}@{address}"));
        assert_eq!(class(&attempt(&sender, &receiver.url("/")).await), None, "{user_info}");
        drop(sender);
        let head = task.await.unwrap();
        assert!(head.contains(&format!("Proxy-Authorization: {sent}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_used_is_named_without_its_password() {
    for proxy in [
        "http://user:sec/ret@proxy:3128",
        "user:secret@proxy:3128",
        "http://user:secret@proxy",
    ] {
        let options = ConnectorOptions {
            egress_proxy: Some(proxy.to_owned()),
            ..ConnectorOptions::default()
        };
        let error = Sender::new(options, Arc::default()).err().unwrap().to_string();
        assert!(error.contains("egress-proxy") && !error.contains("sec"), "{error}");
    }
}

/// The operator's fault of an attempt that fails because of the proxy.
const PROXY_FAILS: OperatorFault = OperatorFault {
    part: OperatorPart::Proxy,
    everywhere: true,
};

#[tokio::test]
async fn s39_a_failing_proxy_is_not_the_receivers_fault() {
    let receiver = Receiver::start().await;
    for answer in [
        &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
        b"nonsense\r\n\r\n",
        // The banner of another service, which then waits.
        b"SSH-2.0-server\r\n",
    ] {
        let (address, _task) = proxy(answer).await;
        let report = attempt(&through(&format!("http://{address}")), &receiver.url("/")).await;
        assert_eq!(class(&report), Some(ErrorClass::Proxy), "{report:?}");
        assert_eq!(report.operator_fault(), Some(PROXY_FAILS), "{report:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let report = attempt(&through(&format!("http://{closed}")), &receiver.url("/")).await;
    assert_eq!(class(&report), Some(ErrorClass::Proxy), "refused: {report:?}");
    assert_eq!(report.operator_fault(), Some(PROXY_FAILS), "{report:?}");
    assert!(!ErrorClass::Proxy.concerns_receiver());
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn s39_a_proxy_that_does_not_reach_one_receiver_is_not_down() {
    let receiver = Receiver::start().await;
    for (answer, expected) in [
        (&b"HTTP/1.1 502 Bad Gateway\r\n\r\n"[..], ErrorClass::Connect),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", ErrorClass::Connect),
        (b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", ErrorClass::Timeout),
        // The operator's rules refuse the target.
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", ErrorClass::Proxy),
        // It waits for the receiver for longer than the attempt may take.
        (b"", ErrorClass::Timeout),
        // It closes the connection without an answer, or within one.
        (CLOSES, ErrorClass::Connect),
        (b"HTTP/1.1 5", ErrorClass::Timeout),
    ] {
        let said = String::from_utf8_lossy(answer);
        let (address, _task) = proxy(answer).await;
        let sender = through(&format!("http://{address}"));
        let second = Duration::from_secs(1);
        let report = attempt_with(&sender, &mut None, &receiver.url("/"), second, b"{}").await;
        assert_eq!(class(&report), Some(expected), "{said}: {report:?}");
        assert_eq!(report.operator_fault(), None, "{said}: {report:?}");
        let message = report.error_message().unwrap();
        assert!(message.contains("the egress proxy"), "{said}: {message}");
        assert!(report.phases.connect_us.is_some(), "{said}: {report:?}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_proxy_that_accepts_no_connection_is_told_from_a_receiver_that_does_not() {
    let full = FullListener::bind("127.0.0.1:0".parse().unwrap()).await;
    let address = full.address;
    let receiver = Receiver::start().await;
    // The proxy has its own limit, so an attempt with little time left detects the same fault.
    let sender = through(&format!("http://{address}"));
    let report = attempt_with(
        &sender,
        &mut None,
        &receiver.url("/"),
        Duration::from_millis(100),
        b"{}",
    )
    .await;
    assert_eq!(class(&report), Some(ErrorClass::Proxy), "{report:?}");
    assert_eq!(report.operator_fault(), Some(PROXY_FAILS), "{report:?}");
}
