//! Attempts that share HTTP/2 connections.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::{FutureExt as _, future::join_all};
use hookwright_delivery::{
    descriptors::Descriptors,
    sender::{AttemptReport, AttemptRequest, Connection, Opening, Sender, SharedConnections},
};
use hookwright_domain::{outcome::ErrorClass, url::PayloadUrl};
use hookwright_testkit::{Answer, Authority, Http2Answer, Http2Receiver, Receiver, Response, receiver::Gate, until};
use parking_lot::Mutex;

use crate::support::{attempt_on, attempt_with, class, request, trusting_within};

/// The connections of a lane, as simple as possible.
#[derive(Default)]
struct Pool {
    kept: Mutex<Vec<Connection>>,
    opening: Mutex<Opening>,
}

impl SharedConnections for Pool {
    fn take(&self) -> Option<Connection> {
        self.kept.lock().iter().find_map(Connection::with_stream)
    }

    fn share(&self, connection: Connection) {
        self.kept.lock().push(connection);
    }

    fn with_opening(&self, access: &mut dyn FnMut(&mut Opening)) {
        access(&mut self.opening.lock());
    }
}

/// Workers of one lane.
struct Workers {
    sender: Sender,
    pool: Pool,
    url: PayloadUrl,
}

impl Workers {
    fn new(authority: &Authority, url: &str) -> Self {
        Self::within(Descriptors::unlimited(), authority, url)
    }

    fn within(descriptors: Descriptors, authority: &Authority, url: &str) -> Self {
        Self {
            sender: trusting_within(descriptors, &authority.pem(), None),
            pool: Pool::default(),
            url: PayloadUrl::parse(url).unwrap(),
        }
    }

    /// Makes attempts over one slot, one at a time.
    async fn work(&self, attempts: usize, timeout: Duration) -> Vec<AttemptReport> {
        let mut slot = self.pool.take();
        let mut reports = Vec::new();
        for _ in 0..attempts {
            let request = AttemptRequest {
                shared: Some(&self.pool),
                ..request(&self.url, timeout, b"{}")
            };
            reports.push(self.sender.attempt(&mut slot, &request).await);
        }
        reports
    }

    /// Lets workers make attempts at the same time.
    async fn work_together(&self, workers: usize, attempts: usize) -> Vec<AttemptReport> {
        let work = (0..workers).map(|_| self.work(attempts, Duration::from_secs(30)));
        join_all(work).await.into_iter().flatten().collect()
    }
}

/// Waits until a number of requests has arrived.
async fn arrived(count: impl Fn() -> usize, expected: usize) {
    until("all requests in flight", async || match count() {
        now if now == expected => Ok(()),
        now => Err(now),
    })
    .await;
}

fn all_delivered(reports: &[AttemptReport]) {
    for report in reports {
        assert_eq!(class(report), None, "{report:?}");
    }
}

#[tokio::test]
async fn x04_64_concurrent_attempts_share_one_connection() {
    let (authority, gate) = (Authority::new(), Gate::new());
    let receiver = Http2Receiver::start(&authority).await;
    let held = gate.clone();
    receiver.answer_with(move |_| Http2Answer::StatusAfter(held.clone(), 200));
    let workers = Workers::new(&authority, &receiver.url("/"));
    let in_flight = async {
        arrived(|| receiver.requests().len(), 64).await;
        gate.open();
    };
    let (reports, ()) = tokio::join!(workers.work_together(64, 2), in_flight);
    all_delivered(&reports);
    assert_eq!((receiver.connections(), receiver.streams_most()), (1, 64));
    assert_eq!(receiver.requests().len(), 128, "no request was repeated");
    // The connection is kept for later attempts, and ends with its last handle.
    all_delivered(&workers.work(1, Duration::from_secs(30)).await);
    assert_eq!((receiver.connections(), receiver.open_connections()), (1, 1));
    drop(workers);
    arrived(|| receiver.open_connections(), 0).await;
}

#[tokio::test]
async fn x02_all_streams_of_a_connection_have_one_permit_until_it_is_closed() {
    let (authority, gate) = (Authority::new(), Gate::new());
    let receiver = Http2Receiver::start(&authority).await;
    let held = gate.clone();
    receiver.answer_with(move |_| Http2Answer::StatusAfter(held.clone(), 200));
    let one = Descriptors::new(1);
    let workers = Workers::within(one.clone(), &authority, &receiver.url("/"));
    let in_flight = async {
        arrived(|| receiver.requests().len(), 64).await;
        assert_eq!(one.counts().open, 1);
        gate.open();
    };
    let (reports, ()) = tokio::join!(workers.work_together(64, 2), in_flight);
    all_delivered(&reports);
    assert_eq!((receiver.connections(), one.counts().open), (1, 1), "it is kept");
    drop(workers);
    arrived(|| one.counts().open, 0).await;
}

#[tokio::test]
async fn x02_a_shared_connection_ends_with_its_last_stream_if_an_attempt_waits() {
    let (authority, gate) = (Authority::new(), Gate::new());
    let (receiver, other) = (Http2Receiver::start(&authority).await, Receiver::start().await);
    let held = gate.clone();
    receiver.answer_with(move |_| Http2Answer::StatusAfter(held.clone(), 200));
    let one = Descriptors::new(1);
    let workers = Workers::within(one.clone(), &authority, &receiver.url("/"));
    let waits = async {
        arrived(|| receiver.requests().len(), 2).await;
        let (mut slot, url) = (None, other.url("/"));
        let attempt = attempt_on(&workers.sender, &mut slot, &url);
        tokio::pin!(attempt);
        assert!(attempt.as_mut().now_or_never().is_none());
        assert_eq!((one.counts().open, other.connections()), (1, 0));
        gate.open();
        attempt.await
    };
    // The pool keeps a handle of the connection.
    let (reports, report) = tokio::join!(workers.work_together(2, 1), waits);
    all_delivered(&reports);
    assert_eq!(class(&report), None, "{report:?}");
    assert_eq!(receiver.connections(), 1, "the second stream was not refused");
}

#[tokio::test]
async fn x02_attempts_that_wait_while_another_one_waits_for_a_permit_keep_their_time() {
    let authority = Authority::new();
    let (receiver, hanging) = (Http2Receiver::start(&authority).await, Receiver::start().await);
    hanging.answer(Answer::Hang);
    let one = Descriptors::new(1);
    let workers = Workers::within(one.clone(), &authority, &receiver.url("/"));
    let (long, short) = (Duration::from_secs(5), Duration::from_secs(2));
    let (mut slot, url) = (None, hanging.url("/"));
    // One of the three waits for the permit, and the others for its connection.
    let three = async {
        let work = (0..3).map(|_| workers.work(1, short));
        join_all(work).await.into_iter().flatten().collect::<Vec<_>>()
    };
    let (failed, reports) = tokio::join!(attempt_with(&workers.sender, &mut slot, &url, long, b"{}"), three);
    assert_eq!(class(&failed), Some(ErrorClass::Timeout), "{failed:?}");
    all_delivered(&reports);
    assert_eq!((receiver.connections(), receiver.requests().len()), (1, 3));
    for report in reports {
        assert!(report.duration < short, "{report:?}");
    }
}

#[tokio::test]
async fn x04_there_are_as_many_connections_as_the_receivers_limit_needs() {
    let (authority, gate) = (Authority::new(), Gate::new());
    let receiver = Http2Receiver::start_with(&authority, Some(10)).await;
    let held = gate.clone();
    receiver.answer_with(move |_| Http2Answer::StatusAfter(held.clone(), 200));
    let workers = Workers::new(&authority, &receiver.url("/"));
    let in_flight = async {
        arrived(|| receiver.requests().len(), 64).await;
        gate.open();
    };
    let (reports, ()) = tokio::join!(workers.work_together(64, 1), in_flight);
    all_delivered(&reports);
    let mut streams = HashMap::new();
    for request in receiver.requests() {
        *streams.entry(request.connection).or_insert(0) += 1;
    }
    assert_eq!(streams.len(), 7, "{streams:?}");
    assert!(streams.values().all(|streams| *streams <= 10), "{streams:?}");
}

#[tokio::test]
async fn x04_attempts_over_http_1_1_are_concurrent() {
    let (authority, gate) = (Authority::new(), Gate::new());
    let receiver = Receiver::start_tls(authority.certificate(&["127.0.0.1"]).server_config()).await;
    receiver.answer(Response::new(200).after(&gate));
    let workers = Workers::new(&authority, &receiver.url("/"));
    let in_flight = async {
        arrived(|| receiver.request_count(), 16).await;
        gate.open();
    };
    let (reports, ()) = tokio::join!(workers.work_together(16, 2), in_flight);
    all_delivered(&reports);
    assert_eq!(receiver.connections(), 16);
}

#[tokio::test]
async fn x04_after_a_timeout_a_new_connection_is_used() {
    let (authority, gate) = (Authority::new(), Gate::new());
    let receiver = Http2Receiver::start(&authority).await;
    let (held, asked) = (gate.clone(), AtomicUsize::new(0));
    receiver.answer_with(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Http2Answer::StatusAfter(held.clone(), 200),
        1 => Http2Answer::Silence,
        _ => Http2Answer::Status(200),
    });
    let workers = Workers::new(&authority, &receiver.url("/"));
    let others = async {
        arrived(|| receiver.requests().len(), 1).await;
        let report = workers.work(1, Duration::from_millis(200)).await.remove(0);
        assert_eq!(class(&report), Some(ErrorClass::Timeout), "{report:?}");
        all_delivered(&workers.work(2, Duration::from_secs(30)).await);
        gate.open();
    };
    let (slow, ()) = tokio::join!(workers.work(1, Duration::from_secs(30)), others);
    all_delivered(&slow);
    let connections: Vec<_> = receiver.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [1, 1, 2, 2], "a stream that was open is not disturbed");
}

#[tokio::test]
async fn x08_shared_connections_that_end_after_few_answers_fail_no_attempt() {
    for delay in [Duration::ZERO, Duration::from_millis(2)] {
        let authority = Authority::new();
        let receiver = Http2Receiver::start(&authority).await;
        receiver.answer_with(move |_| Http2Answer::StatusThenGoAway(200, delay));
        let workers = Workers::new(&authority, &receiver.url("/"));
        all_delivered(&workers.work_together(32, 10).await);
        assert_eq!(receiver.requests().len(), 320, "no request was processed twice");
    }
}
