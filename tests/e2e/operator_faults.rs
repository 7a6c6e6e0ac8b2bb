//! Faults of the operator's own parts: deliveries wait, and no webhook is blamed.

use std::net::SocketAddr;

use hookwright_proto::v1::{DeliveryState, ErrorClass, ListDeliveriesRequest, RetrySchedule, Webhook};
use hookwright_testkit::{Receiver, Response, until};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::{
    access::get,
    support::{CLOCKING, Installation, On, on_both_stores, wait_for_events, webhook},
};

/// An egress proxy that opens every tunnel.
async fn egress_proxy(address: SocketAddr) -> tokio::task::JoinHandle<()> {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(tunnel(client));
        }
    })
}

/// A proxy that opens every tunnel except those to two addresses: for the first it never answers, and for the second it
/// closes the connection without an answer.
async fn proxy_without(waits: SocketAddr, closes: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let Some(target) = asked_for(&mut client).await else {
                    return;
                };
                if target == waits.to_string() {
                    // Waits until the client gives up.
                    let _ = client.read_line(&mut String::new()).await;
                } else if target != closes.to_string() {
                    connect_through(client, &target).await;
                }
            });
        }
    });
    address
}

async fn tunnel(client: TcpStream) {
    let mut client = BufReader::new(client);
    if let Some(target) = asked_for(&mut client).await {
        connect_through(client, &target).await;
    }
}

/// The target of a client's CONNECT request.
async fn asked_for(client: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if client.read_line(&mut head).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    Some(head.split(' ').nth(1).unwrap().to_owned())
}

async fn connect_through(mut client: BufReader<TcpStream>, target: &str) {
    let mut server = TcpStream::connect(target).await.unwrap();
    client
        .get_mut()
        .write_all(b"HTTP/1.1 200 Connected\r\n\r\n")
        .await
        .unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

/// An address that no process listens on.
async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

on_both_stores! {
    async fn b01_a_proxy_that_is_down_pauses_sending_and_blames_no_webhook(on: On) {
        let address = free_address().await;
        let mut installation = Installation::start_with(on, |server| {
            server
                .arg("--egress-proxy", &format!("http://{address}"))
                .arg("--disable-after", "1s")
                .arg("--retry-delay", "1s")
        })
        .await;
        let receiver = Receiver::start().await;
        let created = installation.create_webhook(webhook(&receiver.url("/"), &["clocking"])).await.unwrap();
        for _ in 0..3 {
            installation.publish("clocking", CLOCKING).await;
        }
        installation.metric_until("sending_paused", |paused| paused == 1.0).await;
        // The pause lasts longer than the time after which a failing webhook is disabled.
        installation.metric_until("stalled_seconds", |seconds| seconds >= 3.0).await;
        let ready = get(installation.server.http_address(), "/readyz").await;
        assert!(ready.contains("200 OK") && ready.contains("sending is paused: proxy") && ready.contains("egress-proxy"), "{ready}");
        assert_eq!(installation.metric("hookwright_operator_faults{part=\"proxy\"}").await, 1.0);
        let warnings = installation.server.stderr().lines().filter(|line| line.contains("sending is paused")).count();
        assert_eq!(warnings, 1, "{}", installation.server.stderr());
        assert_eq!(installation.get_webhook(&created.name).await.active, Some(true));

        let _proxy = egress_proxy(address).await;
        wait_for_events(&receiver, 3).await;
        let to_webhook = ListDeliveriesRequest { webhook: created.name.clone(), ..Default::default() };
        for delivery in installation.deliveries_until(to_webhook, 4).await {
            let delivery = installation.delivered(&delivery.name).await;
            assert_eq!(delivery.attempt_count, 1, "no retry was used up: {delivery:?}");
        }
        installation.metric_until("sending_paused", |paused| paused == 0.0).await;
        let ready = get(installation.server.http_address(), "/readyz").await;
        assert!(!ready.contains("degraded"), "{ready}");
        assert_eq!(installation.get_webhook(&created.name).await.active, Some(true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b01_receivers_that_a_proxy_does_not_reach_pause_nothing_and_fail() {
    let receiver = Receiver::start().await;
    let (waits, closes) = (free_address().await, free_address().await);
    let proxy = proxy_without(waits, closes).await;
    let mut installation = Installation::start_with(On::Sqlite, |server| {
        server
            .arg("--egress-proxy", &format!("http://{proxy}"))
            .arg("--disable-after", "1s")
            .arg("--retry-delay", "1s")
    })
    .await;
    for event_type in ["waits", "closes"] {
        installation.register(event_type).await;
    }
    let second = prost_types::Duration { seconds: 1, nanos: 0 };
    let black_hole = Webhook {
        timeout: Some(second),
        ..webhook(&format!("http://{waits}/"), &["waits"])
    };
    let black_hole = installation.create_webhook(black_hole).await.unwrap();
    let gone = webhook(&format!("http://{closes}/"), &["closes"]);
    let gone = installation.create_webhook(gone).await.unwrap();
    for _ in 0..4 {
        installation.publish("waits", "{}").await;
    }
    let good = installation.webhook(&receiver, &["clocking"]).await;

    // These attempts count: each uses up a retry, and the deliveries fail.
    let failed = |webhook: &Webhook| ListDeliveriesRequest {
        webhook: webhook.name.clone(),
        states: vec![DeliveryState::Failed.into()],
        ..Default::default()
    };
    for delivery in installation.deliveries_until(failed(&black_hole), 5).await {
        assert_eq!(
            (delivery.attempt_count, delivery.last_error_class()),
            (2, ErrorClass::Timeout),
            "{delivery:?}"
        );
    }
    // They count for the webhook's health, too.
    until("the webhook to be disabled", async || {
        installation.publish("closes", "{}").await;
        let found = installation.get_webhook(&gone.name).await;
        if found.active == Some(false) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    let delivery = installation.deliveries_until(failed(&gone), 1).await.remove(0);
    assert_eq!(delivery.last_error_class(), ErrorClass::Connect, "{delivery:?}");

    // Other webhooks are not affected.
    installation.publish("clocking", CLOCKING).await;
    wait_for_events(&receiver, 1).await;
    assert_eq!(installation.get_webhook(&good.name).await.active, Some(true));
    let log = installation.server.stderr();
    assert!(
        !log.contains("sending is paused") && !log.contains("a part of the operator's fails"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b01_a_server_without_descriptors_pauses_sending_and_uses_up_no_retry() {
    let mut installation = Installation::start_with(On::Sqlite, |server| {
        server.arg("--disable-after", "1s").arg("--retry-delay", "1s")
    })
    .await;
    let receiver = Receiver::start().await;
    // Each attempt needs a new connection.
    receiver.answer(Response::new(200).close());
    let created = installation.webhook(&receiver, &["clocking"]).await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(installation.server.pid()).unwrap());
    let limit = |limit: rustix::process::Rlimit| {
        rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit).unwrap()
    };
    let before = limit(rustix::process::getrlimit(rustix::process::Resource::Nofile));
    limit(rustix::process::Rlimit {
        current: Some(3),
        maximum: before.maximum,
    });
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(installation.publish("clocking", CLOCKING).await.event);
    }
    until("sending to be paused", async || {
        let log = installation.server.stderr();
        let said = log
            .lines()
            .any(|line| line.contains("sending is paused") && line.contains("descriptors"));
        if said { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(receiver.request_count(), 1, "the ping");
    limit(before);
    wait_for_events(&receiver, 3).await;
    for event in events {
        let of_event = ListDeliveriesRequest {
            event,
            ..Default::default()
        };
        let delivery = installation.deliveries_until(of_event, 1).await.remove(0);
        let delivery = installation.delivered(&delivery.name).await;
        assert_eq!(delivery.attempt_count, 1, "no retry was used up: {delivery:?}");
    }
    installation
        .metric_until("sending_paused", |paused| paused == 0.0)
        .await;
    assert_eq!(installation.get_webhook(&created.name).await.active, Some(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b01_with_its_own_figures() {
    let mut installation = Installation::start_with(On::Sqlite, |server| {
        server
            .arg("--egress-proxy", "http://127.0.0.1:9")
            .arg("--disable-after", "5s")
    })
    .await;
    let delay = prost_types::Duration { seconds: 1, nanos: 0 };
    let wanted = Webhook {
        retry_schedule: Some(RetrySchedule {
            delays: vec![delay; 25],
        }),
        ..webhook("http://127.0.0.1:4567/", &["clocking"])
    };
    let created = installation.create_webhook(wanted).await.unwrap();
    for _ in 0..3 {
        installation.publish("clocking", CLOCKING).await;
    }
    installation
        .metric_until("stalled_seconds", |seconds| seconds >= 15.0)
        .await;
    assert_eq!(installation.get_webhook(&created.name).await.active, Some(true));
}
