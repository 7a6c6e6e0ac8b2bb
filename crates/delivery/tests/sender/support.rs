//! A sender under a policy, and attempts with it.

use std::{borrow::Cow, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hookwright_delivery::{
    connector::ConnectorOptions,
    descriptors::Descriptors,
    request::HeaderLine,
    sender::{AttemptReport, AttemptRequest, Connection, Sender},
};
use hookwright_domain::{outcome::ErrorClass, target::TargetPolicy, url::PayloadUrl};
use hookwright_testkit::{Authority, DnsServer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

/// A policy that allows these targets.
pub(crate) fn allow(rules: &[&str]) -> Arc<TargetPolicy> {
    let allow = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    Arc::new(TargetPolicy {
        allow,
        ..TargetPolicy::default()
    })
}

/// A sender that may reach loopback.
pub(crate) fn sender() -> Sender {
    Sender::new(ConnectorOptions::default(), allow(&["127.0.0.0/8"])).unwrap()
}

/// A sender that trusts an authority, and may reach loopback.
pub(crate) fn trusting(authority: &Authority, dns: Option<&DnsServer>) -> Sender {
    trusting_pem(&authority.pem(), dns)
}

/// The same, with an authority in PEM.
pub(crate) fn trusting_pem(pem: &str, dns: Option<&DnsServer>) -> Sender {
    trusting_within(Descriptors::unlimited(), pem, dns)
}

/// The same, with a limited number of connections.
pub(crate) fn trusting_within(descriptors: Descriptors, pem: &str, dns: Option<&DnsServer>) -> Sender {
    let options = ConnectorOptions {
        extra_ca: Some(pem.as_bytes().to_vec()),
        dns_servers: dns.map(DnsServer::address).into_iter().collect(),
        ..ConnectorOptions::default()
    };
    Sender::limited(options, allow(&["127.0.0.0/8"]), descriptors).unwrap()
}

/// One attempt on a new connection.
pub(crate) async fn attempt(sender: &Sender, url: &str) -> AttemptReport {
    attempt_on(sender, &mut None, url).await
}

/// One attempt over a slot, with enough time for a busy machine.
pub(crate) async fn attempt_on(sender: &Sender, slot: &mut Option<Connection>, url: &str) -> AttemptReport {
    attempt_with(sender, slot, url, Duration::from_secs(5), b"{}").await
}

pub(crate) async fn attempt_with(
    sender: &Sender,
    slot: &mut Option<Connection>,
    url: &str,
    timeout: Duration,
    body: &'static [u8],
) -> AttemptReport {
    attempt_at(sender, slot, &PayloadUrl::parse(url).unwrap(), timeout, body).await
}

pub(crate) async fn attempt_at(
    sender: &Sender,
    slot: &mut Option<Connection>,
    url: &PayloadUrl,
    timeout: Duration,
    body: &'static [u8],
) -> AttemptReport {
    sender.attempt(slot, &request(url, timeout, body)).await
}

/// One attempt on a new connection, without verification of the certificate.
pub(crate) async fn attempt_unverified(sender: &Sender, url: &str) -> AttemptReport {
    let url = PayloadUrl::parse(url).unwrap();
    let request = AttemptRequest {
        skip_verify: true,
        ..request(&url, Duration::from_secs(5), b"{}")
    };
    sender.attempt(&mut None, &request).await
}

/// A request with two headers.
pub(crate) fn request<'a>(url: &'a PayloadUrl, timeout: Duration, body: &'static [u8]) -> AttemptRequest<'a> {
    const HEADERS: &[HeaderLine<'static>] = &[
        ("Content-Type", Cow::Borrowed("application/json")),
        ("TT-Hook-Event", Cow::Borrowed("clocking")),
    ];
    AttemptRequest {
        url,
        skip_verify: false,
        timeout,
        headers: HEADERS,
        body: Bytes::from_static(body),
        is_current: &|| true,
        shared: None,
    }
}

pub(crate) fn class(report: &AttemptReport) -> Option<ErrorClass> {
    report.error_class()
}

/// A listener that accepts nothing, and whose queue is full: further connections to it wait.
pub(crate) struct FullListener {
    pub(crate) address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl FullListener {
    pub(crate) async fn bind(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            queue.push(stream);
        }
        Self {
            address,
            _listener: listener,
            _queue: queue,
        }
    }
}
