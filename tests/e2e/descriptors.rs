//! A small limit on open files: every delivery arrives, and the server stays reachable.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use hookwright_proto::v1::{CreateWebhookRequest, DeliveryState, ListDeliveriesRequest};
use hookwright_testkit::{Receiver, TestServer, http, server::TestServerBuilder};
use tokio::net::TcpStream;

use crate::{
    access::get,
    support::{ACME, CLOCKING, Clients, Installation, On, event, on_both_stores, wait_for_events, webhook},
};

/// The limit on open files.
const OPEN_FILES_MAX: u32 = 512;
/// Webhooks on as many addresses: more than connections fit into the limit.
const WEBHOOKS: usize = 700;
const EVENTS: usize = 3;
/// Silent connections to each listener.
const SILENT: usize = 150;

/// A receiver at every address of this machine.
async fn receiver() -> Receiver {
    Receiver::start_at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await
}

/// The URL of the receiver at one of its addresses.
fn url(receiver: &Receiver, number: usize) -> String {
    receiver.url_as(&format!("127.0.{}.{}", 1 + number / 200, 1 + number % 200), "/")
}

fn small(server: TestServerBuilder) -> TestServerBuilder {
    server
        .open_files_max(OPEN_FILES_MAX)
        .arg("--webhooks-per-organization-max", "1000")
}

/// A metric of the server; `None` while it is not there.
fn metric(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value?.parse().ok()
}

/// Reads health and metrics, and makes calls on new connections, until told to stop. Returns the number of rounds.
async fn watch(server: &TestServer, stop: &AtomicBool) -> usize {
    let (http_address, token) = (server.http_address(), server.token().unwrap());
    let mut rounds = 0;
    while !stop.load(Ordering::Acquire) {
        let ready = get(http_address, "/readyz").await;
        assert!(ready.contains("200 OK") && !ready.contains("degraded"), "{ready}");
        let metrics = http::request(http_address, "GET", "/metrics", &[], b"")
            .await
            .unwrap()
            .text();
        let open = metric(&metrics, "process_open_fds").unwrap();
        assert!(open <= f64::from(OPEN_FILES_MAX), "{open} files are open");
        let connections = metric(&metrics, "hookwright_receiver_connections").unwrap();
        let max = metric(&metrics, "hookwright_receiver_connections_max").unwrap();
        assert!(
            connections <= max && max < f64::from(OPEN_FILES_MAX),
            "{connections} of {max}"
        );
        let mut clients = Clients::connect(server.grpc_address(), &token).await;
        clients.events.publish_event(event("other", "{}")).await.unwrap();
        rounds += 1;
    }
    rounds
}

on_both_stores! {
    async fn x02_every_delivery_arrives_with_fewer_descriptors_than_webhooks(on: On) {
        let mut installation = Installation::start_with(on, small).await;
        installation.register("other").await;
        let receiver = receiver().await;
        // Silent connections to both listeners, more than their share of the limit.
        let mut silent = Vec::new();
        for address in [installation.server.grpc_address(), installation.server.http_address()] {
            for _ in 0..SILENT {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
        }
        let stop = AtomicBool::new(false);
        let mut publisher = installation.clients.clone();
        let delivering = async {
            for number in 0..WEBHOOKS {
                let request = CreateWebhookRequest {
                    parent: ACME.to_owned(),
                    webhook: Some(webhook(&url(&receiver, number), &["clocking"])),
                };
                publisher.webhooks.create_webhook(request).await.unwrap();
            }
            for _ in 0..EVENTS {
                publisher.events.publish_event(event("clocking", CLOCKING)).await.unwrap();
            }
            let arrived = wait_for_events(&receiver, WEBHOOKS * EVENTS).await.len();
            stop.store(true, Ordering::Release);
            arrived
        };
        let (arrived, rounds) = tokio::join!(delivering, watch(&installation.server, &stop));
        assert_eq!(arrived, WEBHOOKS * EVENTS, "none arrives twice");
        assert!(rounds > 1);
        let delivered = ListDeliveriesRequest { states: vec![DeliveryState::Delivered.into()], ..Default::default() };
        let all = WEBHOOKS * (EVENTS + 1);
        for delivery in installation.deliveries_until(delivered, all).await {
            assert_eq!(delivery.attempt_count, 1, "{delivery:?}");
        }
        assert_eq!(installation.metric("hookwright_receiver_connections_refused_total").await, 0.0);
        assert!(installation.metric("hookwright_receiver_connections_evicted_total").await > 0.0);
        let log = installation.server.stderr();
        assert!(log.contains("file descriptors are divided") && log.contains("the limit on open files is 512"), "{log}");
        assert!(!log.contains("a part of the operator's fails") && !log.contains("sending is paused"), "{log}");
        assert!(!log.contains("cannot accept a connection"), "{log}");
    }
}

/// The numbers of a process's open files, in order.
fn descriptors(pid: u32) -> Vec<u64> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut open: Vec<u64> = open
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    open.sort_unstable();
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x02_idle_connections_are_closed_before_a_lack_of_descriptors_is_a_fault() {
    const IDLE: usize = 30;
    const MORE: usize = 10;
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = receiver().await;
    for number in 0..IDLE {
        let webhook = webhook(&url(&receiver, number), &["clocking"]);
        installation.create_webhook(webhook).await.unwrap();
    }
    installation
        .metric_until("receiver_connections_idle", |idle| idle == 30.0)
        .await;
    // As if other parts of the process used files until half of the idle connections are above the limit.
    let pid = installation.server.pid();
    let open = descriptors(pid);
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap());
    let nofile = rustix::process::Resource::Nofile;
    let few = rustix::process::Rlimit {
        current: Some(open[open.len() - IDLE / 2]),
        maximum: rustix::process::getrlimit(nofile).maximum,
    };
    let before = rustix::process::prlimit(process, nofile, few).unwrap();
    for number in IDLE..IDLE + MORE {
        let webhook = webhook(&url(&receiver, number), &["clocking"]);
        installation.create_webhook(webhook).await.unwrap();
    }
    receiver.wait_for(IDLE + MORE).await;
    rustix::process::prlimit(process, nofile, before).unwrap();
    for metric in ["refused", "evicted"] {
        let metric = format!("hookwright_receiver_connections_{metric}_total");
        assert!(installation.metric(&metric).await > 0.0, "{metric}");
    }
    let log = installation.server.stderr();
    assert!(
        !log.contains("a part of the operator's fails") && !log.contains("sending is paused"),
        "{log}"
    );
}
