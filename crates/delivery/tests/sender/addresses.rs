//! Names that resolve to other addresses, and policies that change.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hookwright_delivery::{connector::ConnectorOptions, sender::Sender};
use hookwright_domain::{outcome::ErrorClass, target::TargetPolicy};
use hookwright_testkit::{
    Receiver, Response,
    dns::{DnsServer, Kind, Record, Reply},
    until,
};

use crate::support::{FullListener, allow, attempt, attempt_on, attempt_with, class, sender};

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn with_dns(dns: &DnsServer, policy: Arc<TargetPolicy>) -> Sender {
    let options = ConnectorOptions {
        dns_servers: vec![dns.address()],
        ..ConnectorOptions::default()
    };
    Sender::new(options, policy).unwrap()
}

/// Checks that the default policy blocks an attempt at a name whose questions get these answers.
async fn blocked(reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) {
    let receiver = Receiver::start().await;
    let dns = DnsServer::start(reply).await;
    let sender = with_dns(&dns, Arc::default());
    let report = attempt(&sender, &receiver.url_as("hook.example", "/")).await;
    assert_eq!(class(&report), Some(ErrorClass::BlockedAddress), "{report:?}");
    assert_eq!(receiver.connections(), 0, "no connection was made");
    assert_eq!(report.remote, None);
}

#[tokio::test]
async fn s21_a_name_whose_address_is_private() {
    blocked(|_, _| Reply::Records(vec![Record::A(LOOPBACK)])).await;
}

#[tokio::test]
async fn s22_one_bad_address_spoils_the_set() {
    blocked(|_, _| Reply::Records(vec![Record::A(Ipv4Addr::new(93, 184, 216, 34)), Record::A(LOOPBACK)])).await;
}

#[tokio::test]
async fn s23_the_checked_address_is_the_one_connected_to() {
    // Every question but the first gets another address. If the name were resolved twice for one connection, the second
    // address would be connected to.
    let receiver = Receiver::start().await;
    let dns = DnsServer::start(|_, asked| {
        let address = if asked < 2 {
            LOOPBACK
        } else {
            Ipv4Addr::new(127, 0, 0, 99)
        };
        Reply::Records(vec![Record::A(address)])
    })
    .await;
    let sender = with_dns(&dns, allow(&["127.0.0.1"]));
    let report = attempt(&sender, &receiver.url_as("hook.example", "/")).await;
    assert_eq!(class(&report), None, "{report:?}");
    assert_eq!(report.remote.map(|remote| remote.ip()), Some(LOOPBACK.into()));
    // Each connection uses the checked address until the answer has expired. Then the name is resolved and checked again.
    until("the next answer", async || {
        let report = attempt(&sender, &receiver.url_as("hook.example", "/")).await;
        match class(&report) {
            Some(ErrorClass::BlockedAddress) => Ok(()),
            None if report.remote.map(|remote| remote.ip()) == Some(LOOPBACK.into()) => Err("the first one"),
            _ => panic!("{report:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn s24_a_chain_of_names_that_ends_inside() {
    blocked(|name, _| match name {
        "hook.example" => Reply::Records(vec![Record::Cname("other.example.".to_owned())]),
        _ => Reply::Records(vec![Record::A(LOOPBACK)]),
    })
    .await;
}

#[tokio::test]
async fn s25_an_ipv6_answer_that_is_a_mapped_private_address() {
    blocked(|_, _| Reply::Records(vec![Record::Aaaa(LOOPBACK.to_ipv6_mapped())])).await;
}

#[tokio::test]
async fn b21_a_nat64_address_of_a_private_one_spoils_the_set_and_a_public_one_does_not() {
    let public = Ipv4Addr::new(93, 184, 216, 34);
    blocked(move |_, _| {
        let metadata = "64:ff9b::a9fe:a9fe".parse().unwrap();
        Reply::Records(vec![Record::A(public), Record::Aaaa(metadata)])
    })
    .await;
    // The receiver's address is on loopback, which is allowed here. The built-in rules allow the other address.
    let receiver = Receiver::start().await;
    let dns = DnsServer::start(|_, _| {
        Reply::Records(vec![
            Record::A(LOOPBACK),
            Record::Aaaa("64:ff9b::5db8:d822".parse().unwrap()),
        ])
    })
    .await;
    let sender = with_dns(&dns, allow(&["127.0.0.0/8"]));
    let report = attempt(&sender, &receiver.url_as("hook.example", "/")).await;
    assert_eq!(class(&report), None, "{report:?}");
}

#[tokio::test]
async fn s26_names_that_do_not_resolve() {
    for reply in [
        Reply::Records(vec![]),
        Reply::ServerFailure,
        Reply::NoSuchName,
        Reply::Silence,
    ] {
        let said = format!("{reply:?}");
        let dns = DnsServer::start(move |_, _| reply.clone()).await;
        let sender = with_dns(&dns, Arc::default());
        let report = attempt_with(
            &sender,
            &mut None,
            "http://hook.example/",
            Duration::from_secs(10),
            b"{}",
        )
        .await;
        assert_eq!(class(&report), Some(ErrorClass::Dns), "{said}: {report:?}");
    }
}

/// The time of name resolution in a delivered attempt, with these answers for the two families.
async fn delivered(ipv4: Reply, ipv6: Reply) -> Duration {
    let receiver = Receiver::start().await;
    let said = format!("A {ipv4:?}, AAAA {ipv6:?}");
    let dns = DnsServer::start_by_kind(move |_, kind| match kind {
        Kind::A => ipv4.clone(),
        _ => ipv6.clone(),
    })
    .await;
    let sender = with_dns(&dns, allow(&["127.0.0.0/8", "::1"]));
    let url = receiver.url_as("hook.example", "/");
    let report = attempt_with(&sender, &mut None, &url, Duration::from_secs(10), b"{}").await;
    assert_eq!(class(&report), None, "{said}: {report:?}");
    assert_eq!(report.remote.map(|remote| remote.ip()), Some(LOOPBACK.into()));
    Duration::from_micros(report.phases.dns_us.unwrap().try_into().unwrap())
}

#[tokio::test]
async fn b03_a_missing_or_late_ipv6_answer_costs_a_short_delay_and_not_the_ipv4_address() {
    let known = || Reply::Records(vec![Record::A(LOOPBACK)]);
    let late = Duration::from_millis(1_500);
    let ipv6 = std::net::Ipv6Addr::LOCALHOST;
    for answer in [
        Reply::Silence,
        Reply::Late(late, vec![Record::Aaaa(ipv6)]),
        Reply::Late(late, Vec::new()),
        Reply::ServerFailure,
        Reply::NoSuchName,
    ] {
        let said = format!("{answer:?}");
        let took = delivered(known(), answer).await;
        assert!(took < late, "{said}: the name took {took:?} to resolve");
    }
}

#[tokio::test]
async fn b03_an_ipv4_answer_is_waited_for_where_only_ipv6_is_known() {
    // No process listens at the IPv6 address.
    let ipv6 = || Reply::Records(vec![Record::Aaaa(std::net::Ipv6Addr::LOCALHOST)]);
    delivered(
        Reply::Late(Duration::from_millis(200), vec![Record::A(LOOPBACK)]),
        ipv6(),
    )
    .await;
}

#[tokio::test]
async fn b03_an_address_that_is_known_is_used_at_the_deadline() {
    let dns = DnsServer::start_by_kind(|_, kind| match kind {
        Kind::A => Reply::Silence,
        _ => Reply::Records(vec![Record::Aaaa(std::net::Ipv6Addr::LOCALHOST)]),
    })
    .await;
    // The policy refuses the address. That it gets this far shows that the answer was used within the attempt's second.
    let report = attempt(&with_dns(&dns, Arc::default()), "http://hook.example/").await;
    assert_eq!(class(&report), Some(ErrorClass::BlockedAddress), "{report:?}");
}

#[tokio::test]
async fn answers_are_used_for_their_ttl() {
    let receiver = Receiver::start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let dns = DnsServer::start(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        Reply::Lasting(3_600, vec![Record::A(LOOPBACK)])
    })
    .await;
    let sender = with_dns(&dns, allow(&["127.0.0.0/8"]));
    for connections in 1..=5 {
        let report = attempt(&sender, &receiver.url_as("hook.example", "/")).await;
        assert_eq!(class(&report), None, "{report:?}");
        assert_eq!(receiver.connections(), connections);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2, "one question for each family");
    // Another policy checks the addresses again, and a reload begins without answers.
    let connector = Sender::prepare(&ConnectorOptions {
        dns_servers: vec![dns.address()],
        ..ConnectorOptions::default()
    });
    sender.replace(connector.unwrap(), Arc::default());
    let report = attempt(&sender, &receiver.url_as("hook.example", "/")).await;
    assert_eq!(class(&report), Some(ErrorClass::BlockedAddress), "{report:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_receiver_that_moved_is_found_before_the_ttl_ends() {
    let receiver = Receiver::start().await;
    // No process listens at the first address on this port.
    let dns = DnsServer::start(|_, asked| {
        let last = if asked < 2 { 77 } else { 1 };
        Reply::Lasting(3_600, vec![Record::A(Ipv4Addr::new(127, 0, 0, last))])
    })
    .await;
    let sender = with_dns(&dns, allow(&["127.0.0.0/8"]));
    until("an attempt at the new address", async || {
        let report = attempt(&sender, &receiver.url_as("hook.example", "/")).await;
        report.error_class().map_or(Ok(()), Err)
    })
    .await;
}

#[tokio::test]
async fn s27_a_redirect_is_a_failure() {
    let receiver = Receiver::start().await;
    receiver.answer(Response::new(302).header("Location", "http://169.254.169.254/"));
    let report = attempt(&sender(), &receiver.url("/")).await;
    assert_eq!(class(&report), Some(ErrorClass::Redirect));
    assert_eq!(report.status(), Some(302));
}

#[tokio::test]
async fn s46_headers_that_lead_elsewhere_are_ignored() {
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let url = elsewhere.url("/");
    receiver.answer(
        Response::new(200)
            .header("Alt-Svc", format!("h2=\"{}\"", elsewhere.address()))
            .header("Refresh", format!("0; url={url}"))
            .header("Link", format!("<{url}>; rel=preload")),
    );
    let mut slot = None;
    for _ in 0..2 {
        assert_eq!(class(&attempt_on(&sender(), &mut slot, &receiver.url("/")).await), None);
    }
    assert_eq!(receiver.request_count(), 2);
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn s49_owners_read_the_same_whatever_was_blocked() {
    let dns = DnsServer::start(|name, _| match name {
        "private.example" => Reply::Records(vec![Record::A(Ipv4Addr::new(10, 0, 0, 1))]),
        _ => Reply::Records(vec![Record::A(Ipv4Addr::new(169, 254, 169, 254))]),
    })
    .await;
    let sender = with_dns(&dns, Arc::default());
    let mut messages = Vec::new();
    for url in [
        "http://private.example/",
        "http://metadata.example/",
        "http://10.0.0.1/",
        "http://127.0.0.1:8080/",
    ] {
        let report = attempt(&sender, url).await;
        assert_eq!(class(&report), Some(ErrorClass::BlockedAddress), "{url}");
        messages.push(report.error_message().unwrap().to_owned());
        assert!(
            report
                .operator_detail()
                .is_some_and(|detail| detail.contains("ADDRESS")),
            "operators see why"
        );
    }
    assert!(
        messages
            .iter()
            .all(|message| *message == messages[0] && !message.contains("10.")),
        "{messages:?}"
    );
}

#[tokio::test]
async fn s50_answers_without_end_are_bounded() {
    let many = (0..4_000u16)
        .map(|n| Record::A(Ipv4Addr::new(127, 1, (n >> 8) as u8, n as u8)))
        .collect::<Vec<_>>();
    let dns = DnsServer::start(move |name, _| match name {
        "many.example" => Reply::Records(many.clone()),
        _ => Reply::Records(vec![Record::Cname("loop.example.".to_owned())]),
    })
    .await;
    let sender = with_dns(&dns, Arc::default());
    for url in ["http://many.example/", "http://loop.example/"] {
        let report = attempt_with(&sender, &mut None, url, Duration::from_secs(10), b"{}").await;
        assert!(
            matches!(class(&report), Some(ErrorClass::BlockedAddress | ErrorClass::Dns)),
            "{url}: {report:?}"
        );
        assert!(
            report.duration < Duration::from_secs(9),
            "ends long before the attempt's own limit"
        );
    }
}

/// Resolves every name to these addresses.
async fn resolving_to(records: Vec<Record>) -> DnsServer {
    DnsServer::start(move |_, _| Reply::Records(records.clone())).await
}

#[tokio::test]
async fn x03_a_dead_address_costs_a_short_delay_once() {
    let receiver = Receiver::start().await;
    let dead = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), receiver.address().port());
    let dns = resolving_to(vec![Record::A(Ipv4Addr::new(127, 0, 0, 2)), Record::A(LOOPBACK)]).await;
    let (sender, url) = (
        with_dns(&dns, allow(&["127.0.0.0/8"])),
        receiver.url_as("hook.example", "/"),
    );
    let full = FullListener::bind(dead).await;
    let minute = Duration::from_secs(60);
    let report = attempt_with(&sender, &mut None, &url, minute, b"{}").await;
    assert_eq!(
        (class(&report), report.remote),
        (None, Some(receiver.address())),
        "{report:?}"
    );
    let took = Duration::from_micros(report.phases.connect_us.unwrap().try_into().unwrap());
    assert!(
        took < Duration::from_secs(3),
        "the live address waited {took:?} for the dead one"
    );
    // The address works again, but is remembered as the one that lost.
    drop(full);
    let other = Receiver::start_at(dead).await;
    for _ in 0..3 {
        let report = attempt(&sender, &url).await;
        assert_eq!(
            (class(&report), report.remote),
            (None, Some(receiver.address())),
            "{report:?}"
        );
    }
    assert_eq!(other.connections(), 0);
    let report = attempt(&with_dns(&dns, allow(&["127.0.0.0/8"])), &url).await;
    assert_eq!(
        (class(&report), report.remote),
        (None, Some(dead)),
        "another sender does not know it"
    );
}

#[tokio::test]
async fn x03_a_dead_address_of_another_family_does_not_delay_the_live_one() {
    let receiver = Receiver::start().await;
    // Nothing listens at the IPv6 address, and the first IPv4 address accepts nothing.
    let dead = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), receiver.address().port());
    let _full = FullListener::bind(dead).await;
    let dns = resolving_to(vec![
        Record::A(Ipv4Addr::new(127, 0, 0, 2)),
        Record::A(LOOPBACK),
        Record::Aaaa(std::net::Ipv6Addr::LOCALHOST),
    ])
    .await;
    let sender = with_dns(&dns, allow(&["127.0.0.0/8", "::1"]));
    let url = receiver.url_as("hook.example", "/");
    let report = attempt_with(&sender, &mut None, &url, Duration::from_secs(60), b"{}").await;
    assert_eq!(
        (class(&report), report.remote),
        (None, Some(receiver.address())),
        "{report:?}"
    );
}

#[tokio::test]
async fn x03_every_address_is_checked_before_any_is_tried() {
    let receiver = Receiver::start().await;
    let dns = resolving_to(vec![Record::A(LOOPBACK), Record::Aaaa("fd00::1".parse().unwrap())]).await;
    let sender = with_dns(&dns, allow(&["127.0.0.0/8"]));
    let report = attempt(&sender, &receiver.url_as("hook.example", "/")).await;
    assert_eq!(class(&report), Some(ErrorClass::BlockedAddress), "{report:?}");
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn r33_the_next_address_is_tried_where_one_is_dead() {
    let receiver = Receiver::start().await;
    let dns = DnsServer::start(|_, _| {
        // No process listens at the first address on this port.
        Reply::Records(vec![Record::A(Ipv4Addr::new(127, 0, 0, 77)), Record::A(LOOPBACK)])
    })
    .await;
    let sender = with_dns(&dns, allow(&["127.0.0.0/8"]));
    let report = attempt(&sender, &receiver.url_as("hook.example", "/")).await;
    assert_eq!(class(&report), None, "{report:?}");
}
