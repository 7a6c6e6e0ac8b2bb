//! Permits of connections: an attempt waits for one outside its time, and a closed connection releases its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use hookwright_delivery::{connector::ConnectorOptions, descriptors::Descriptors, sender::Sender};
use hookwright_domain::outcome::ErrorClass;
use hookwright_testkit::{
    Answer, Receiver, Response,
    dns::{DnsServer, Record, Reply},
    receiver::Gate,
};

use crate::support::{FullListener, allow, attempt_on, attempt_with, class};

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A sender that may reach loopback, and its permits.
fn limited(max: usize) -> (Sender, Descriptors) {
    limited_with(ConnectorOptions::default(), max)
}

fn limited_with(options: ConnectorOptions, max: usize) -> (Sender, Descriptors) {
    let descriptors = Descriptors::new(max);
    let policy = allow(&["127.0.0.0/8", "hook.example"]);
    let sender = Sender::limited(options, policy, descriptors.clone()).unwrap();
    (sender, descriptors)
}

#[tokio::test]
async fn x02_the_wait_for_a_permit_is_no_part_of_the_attempt() {
    let (hanging, healthy) = (Receiver::start().await, Receiver::start().await);
    hanging.answer(Answer::Hang);
    let (sender, descriptors) = limited(1);
    // The second attempt waits until after its own timeout.
    let (long, short) = (Duration::from_secs(4), Duration::from_secs(2));
    let (first, second) = (hanging.url("/"), healthy.url("/"));
    let (mut one, mut other) = (None, None);
    let (failed, delivered) = tokio::join!(
        attempt_with(&sender, &mut one, &first, long, b"{}"),
        attempt_with(&sender, &mut other, &second, short, b"{}"),
    );
    assert_eq!((class(&failed), class(&delivered)), (Some(ErrorClass::Timeout), None));
    assert!(delivered.duration < short, "{delivered:?}");
    let short_us = i64::try_from(short.as_micros()).unwrap();
    assert!(
        delivered.started_at_us > failed.started_at_us + short_us,
        "it began after the wait"
    );
    assert_eq!(descriptors.counts().open, 1, "the connection that is kept");
    drop(other);
    assert_eq!(descriptors.counts().open, 0);
}

#[tokio::test]
async fn x02_a_connection_that_failed_or_was_replaced_releases_its_permit() {
    let receiver = Receiver::start().await;
    let (sender, descriptors) = limited(1);
    let mut slot = None;
    receiver.answer_in_turn([
        Answer::from(200),
        Answer::Close,
        Answer::from(Response::new(200).close()),
        Answer::raw("nonsense"),
        Answer::from(200),
    ]);
    for expected in [None, None, Some(ErrorClass::InvalidResponse), None] {
        let report = attempt_on(&sender, &mut slot, &receiver.url("/")).await;
        assert_eq!(class(&report), expected, "{report:?}");
        assert_eq!(descriptors.counts().open, usize::from(slot.is_some()));
    }
    let other = Receiver::start().await;
    let report = attempt_on(&sender, &mut slot, &other.url("/")).await;
    assert_eq!(
        class(&report),
        None,
        "the connection to the first receiver was closed first"
    );
    assert_eq!(descriptors.counts().open, 1);
}

#[tokio::test]
async fn x02_the_permits_of_dns_queries_are_released_before_the_request() {
    let dns = DnsServer::start(|_, _| Reply::Records(vec![Record::A(LOOPBACK)])).await;
    let receiver = Receiver::start().await;
    let options = ConnectorOptions {
        dns_servers: vec![dns.address()],
        ..ConnectorOptions::default()
    };
    let (sender, descriptors) = limited_with(options, 2);
    receiver.answer(Answer::Hang);
    let (mut one, mut other) = (None, None);
    let url = receiver.url_as("hook.example", "/");
    let timeout = Duration::from_secs(3);
    // Each needs both permits for its queries, and one for its request.
    let (first, second, ()) = tokio::join!(
        attempt_with(&sender, &mut one, &url, timeout, b"{}"),
        attempt_with(&sender, &mut other, &url, timeout, b"{}"),
        async {
            receiver.wait_for(1).await;
            assert_eq!(descriptors.counts().open, 2, "one is reserved for the second attempt");
        },
    );
    let timed_out = Some(ErrorClass::Timeout);
    assert_eq!((class(&first), class(&second)), (timed_out, timed_out));
    assert_eq!(receiver.request_count(), 2);
    assert_eq!(descriptors.counts().open, 0);
}

#[tokio::test]
async fn x02_a_name_whose_answer_is_cached_needs_no_permits_for_queries() {
    let dns = DnsServer::start(|_, _| Reply::Records(vec![Record::A(LOOPBACK)])).await;
    let receiver = Receiver::start().await;
    let options = ConnectorOptions {
        dns_servers: vec![dns.address()],
        ..ConnectorOptions::default()
    };
    let (sender, descriptors) = limited_with(options, 2);
    let url = receiver.url_as("hook.example", "/");
    assert_eq!(class(&attempt_on(&sender, &mut None, &url).await), None);
    let gate = Gate::new();
    receiver.answer(Response::new(200).after(&gate));
    // Both are open at the same time.
    let (mut one, mut other) = (None, None);
    let (first, second, ()) = tokio::join!(
        attempt_on(&sender, &mut one, &url),
        attempt_on(&sender, &mut other, &url),
        async {
            receiver.wait_for(3).await;
            assert_eq!(descriptors.counts().open, 2);
            gate.open();
        },
    );
    assert_eq!((class(&first), class(&second)), (None, None));
}

#[tokio::test]
async fn x02_a_race_of_addresses_waits_for_no_permit() {
    let receiver = Receiver::start().await;
    let port = receiver.address().port();
    let full = FullListener::bind(SocketAddr::from(([127, 0, 0, 2], port))).await;
    let dns =
        DnsServer::start(|_, _| Reply::Records(vec![Record::A([127, 0, 0, 2].into()), Record::A(LOOPBACK)])).await;
    let options = ConnectorOptions {
        dns_servers: vec![dns.address()],
        ..ConnectorOptions::default()
    };
    // The second address is tried when the first one has failed.
    let (sender, descriptors) = limited_with(options, 1);
    let (mut slot, url) = (None, receiver.url_as("hook.example", "/"));
    let report = attempt_with(&sender, &mut slot, &url, Duration::from_secs(10), b"{}").await;
    assert_eq!(class(&report), None, "{report:?}");
    assert_eq!(report.remote, Some(receiver.address()));
    assert_eq!(descriptors.counts().open, 1);
    drop(full);
}
