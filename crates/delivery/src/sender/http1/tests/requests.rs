use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Wake, Waker},
};

use futures::FutureExt as _;

use super::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn lines(headers: &[(&'static str, &'static str)]) -> Vec<HeaderLine<'static>> {
    headers
        .iter()
        .map(|(name, value)| (*name, Cow::Borrowed(*value)))
        .collect()
}

/// The request that is written with these headers.
async fn written(headers: &[(&'static str, &'static str)]) -> String {
    let script = Script::new([OK], End::Open);
    let mut http = Http1::start(script.clone()).await;
    assert_eq!(exchange(&mut http, &lines(headers), b"{}").await.response().0, 200);
    let written = script.written();
    assert_eq!(written.len(), 1, "head and body go out in one write: {written:?}");
    written.concat()
}

#[tokio::test]
async fn names_keep_their_case_and_order() {
    let headers = [
        ("User-Agent", "Hookwright/1"),
        ("TT-Hook-Signature-256", "sha256=00"),
        ("webhook-id", "evt_1"),
        ("x-lower", "1"),
        ("X-UPPER", "2"),
        ("X_Odd.name", "3"),
        ("Authorization", "Bearer x"),
    ];
    let expected = "POST /hook?a=b HTTP/1.1\r\nHost: receiver.example:8080\r\nUser-Agent: Hookwright/1\r\n\
        TT-Hook-Signature-256: sha256=00\r\nwebhook-id: evt_1\r\nx-lower: 1\r\nX-UPPER: 2\r\nX_Odd.name: 3\r\n\
        Authorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(written(&headers).await, expected);
    // With other names between them, and again without.
    assert!(
        written(&[("User-agent", "x"), ("tracestate", "y")])
            .await
            .contains("User-agent: x\r\ntracestate: y\r\n")
    );
    assert_eq!(written(&headers).await, expected);
    assert!(
        written(&[])
            .await
            .ends_with("\r\nHost: receiver.example:8080\r\nContent-Length: 2\r\n\r\n{}")
    );
}

#[tokio::test]
async fn a_name_that_is_there_twice_keeps_its_values() {
    let headers = [
        ("webhook-Signature", "sha1=1"),
        ("X-Other", "2"),
        ("webhook-signature", "v1,3"),
    ];
    let written = written(&headers).await;
    assert!(written.contains("\r\nwebhook-Signature: sha1=1\r\n"), "{written}");
    assert!(written.contains("\r\nX-Other: 2\r\n"), "{written}");
    assert!(
        written.to_ascii_lowercase().contains("\r\nwebhook-signature: v1,3\r\n"),
        "{written}"
    );
}

#[tokio::test]
async fn an_empty_value_is_an_empty_field() {
    assert!(
        written(&[("X-Empty", ""), ("X-Full", "1")])
            .await
            .contains("\r\nX-Empty:\r\nX-Full: 1\r\n")
    );
}

#[tokio::test]
async fn a_request_that_no_receiver_could_read_is_not_sent() {
    for headers in [[("X-Evil", "a\r\nX-Other: b")], [("X Evil", "a")]] {
        let script = Script::new([OK], End::Open);
        let mut http = Http1::start(script.clone()).await;
        let outcome = exchange(&mut http, &lines(&headers), b"{}").await;
        assert_eq!(outcome.class(), Some(ErrorClass::Internal), "{headers:?}");
        assert!(script.written().is_empty());
    }
}

#[tokio::test]
async fn r09_a_receiver_of_http_1_0_that_keeps_the_connection_gets_the_same_requests() {
    let old = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok";
    let script = Script::new([&old[..]], End::Open).then("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut http = Http1::start(script.clone()).await;
    let headers = lines(&[("X-One", "1")]);
    assert_eq!(
        exchange(&mut http, &headers, b"{}").await.response(),
        (200, &b"ok"[..], true)
    );
    assert_eq!(
        exchange(&mut http, &headers, b"{}").await.response(),
        (200, &b"ok"[..], false)
    );
    let written = script.written();
    assert_eq!(written[0], written[1]);
    assert!(written[1].starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{written:?}");
}

#[tokio::test]
async fn r17_the_answer_of_a_receiver_that_takes_no_more_counts() {
    let script = Script::new([OK], End::Open).refusing_requests();
    let mut http = Http1::start(script).await;
    let outcome = exchange(&mut http, &[], b"{}").await;
    assert_eq!(outcome.response(), (200, &b"ok"[..], false), "not used again");
}

#[tokio::test]
async fn r18_a_receiver_that_takes_no_more_and_does_not_answer() {
    const LONG: &[u8] = &[b'x'; 20_000];
    for (body, repeated) in [(&b"{}"[..], true), (LONG, false)] {
        let mut http = Http1::start(Script::new([], End::Closed).refusing_requests()).await;
        let outcome = exchange(&mut http, &[], body).await;
        let expected = (!repeated).then_some(ErrorClass::Reset);
        assert_eq!(
            (outcome.class(), outcome == Outcome::Closed),
            (expected, repeated),
            "{}",
            body.len()
        );
    }
}

#[tokio::test]
async fn r20_what_comes_unasked_between_two_requests_answers_neither() {
    let script = Script::new([OK], End::Open).then("HTTP/1.1 200 OK\r\n\r\n");
    let mut http = Http1::start(script.clone()).await;
    assert!(exchange(&mut http, &[], b"{}").await.response().2);
    let unasked = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    script.state().pieces.push_back(unasked.to_vec());
    assert_eq!(exchange(&mut http, &[], b"{}").await, Outcome::Closed);
    assert_eq!(script.written().len(), 1, "the second request was not sent");
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_request_over_a_kept_connection_does_not_wake_the_task_that_sends_it() {
    let script = Script::new([OK], End::Open);
    let mut http = Http1::start(script.clone()).await;
    assert!(exchange(&mut http, &[], b"{}").await.response().2);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut next = pin!(exchange(&mut http, &[], b"{}"));
    assert_eq!(next.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
    assert_eq!(script.written().len(), 2, "the request is sent");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_response_is_not_lost_where_the_task_has_used_up_its_turn() {
    let mut http = Http1::start(Script::new([OK], End::Open)).await;
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut outcome = pin!(exchange(&mut http, &[], b"{}"));
    let mut polled = outcome.as_mut().poll(&mut Context::from_waker(&waker));
    for _ in 0..1_000 {
        let _ = tokio::task::consume_budget().now_or_never();
    }
    while polled.is_pending() {
        assert!(wakes.0.swap(0, Ordering::SeqCst) > 0, "the task is woken");
        polled = outcome.as_mut().poll(&mut Context::from_waker(&waker));
        tokio::task::yield_now().await;
    }
    assert!(matches!(polled, Poll::Ready(outcome) if outcome.response().0 == 200));
}
