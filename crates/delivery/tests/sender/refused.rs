//! Requests that an HTTP/2 receiver refused without processing them are repeated, and are no failed attempts.

use std::time::Duration;

use hookwright_delivery::sender::AttemptReport;
use hookwright_domain::outcome::ErrorClass;
use hookwright_testkit::{
    Authority, Http2Answer, Http2Receiver, Http2Request,
    http2::code::{HTTP_1_1_REQUIRED, INTERNAL_ERROR, REFUSED_STREAM},
};

use crate::support::{attempt_on, class, trusting};

/// Attempts over one slot, one at a time.
async fn attempts(receiver: &Http2Receiver, authority: &Authority, count: usize) -> Vec<AttemptReport> {
    let (sender, url) = (trusting(authority, None), receiver.url("/hook"));
    let mut slot = None;
    let mut reports = Vec::new();
    for _ in 0..count {
        reports.push(attempt_on(&sender, &mut slot, &url).await);
    }
    reports
}

/// Checks that requests are delivered by a receiver that gives this answer to one of them.
async fn delivered_despite(refusal: Http2Answer, refused: Http2Request) {
    let said = format!("{refusal:?} to {refused:?}");
    let authority = Authority::new();
    let receiver = Http2Receiver::start(&authority).await;
    receiver.answer_with(move |request| {
        if request == refused {
            refusal.clone()
        } else {
            Http2Answer::Status(200)
        }
    });
    for report in attempts(&receiver, &authority, 3).await {
        assert_eq!(class(&report), None, "{said}: {report:?}");
    }
    assert_eq!(receiver.requests().len(), 4, "{said}: three and the refused one");
    assert_eq!(receiver.connections(), 2, "{said}: the repeat uses a new connection");
}

const FIRST: Http2Request = Http2Request {
    connection: 1,
    stream: 1,
};
const SECOND: Http2Request = Http2Request {
    connection: 1,
    stream: 3,
};

#[tokio::test]
async fn x08_a_refused_stream_is_repeated_on_a_new_connection() {
    delivered_despite(Http2Answer::Reset(REFUSED_STREAM), FIRST).await;
    delivered_despite(Http2Answer::Reset(REFUSED_STREAM), SECOND).await;
}

#[tokio::test]
async fn x08_a_goaway_below_the_stream_is_repeated_on_a_new_connection() {
    for code in [0, INTERNAL_ERROR] {
        delivered_despite(Http2Answer::GoAway(code), FIRST).await;
        delivered_despite(Http2Answer::GoAway(code), SECOND).await;
    }
}

#[tokio::test]
async fn x08_a_goaway_after_each_answer_fails_no_attempt() {
    const COUNT: usize = 200;
    let authority = Authority::new();
    let receiver = Http2Receiver::start(&authority).await;
    receiver.answer_with(|_| Http2Answer::StatusThenGoAway(200, Duration::from_millis(2)));
    for report in attempts(&receiver, &authority, COUNT).await {
        assert_eq!(class(&report), None, "{report:?}");
    }
    assert_eq!(receiver.requests().len(), COUNT, "no request was processed twice");
    assert!(receiver.connections() > 1, "the receiver ended connections");
}

#[tokio::test]
async fn x08_repeats_are_bounded() {
    for refusal in [Http2Answer::Reset(REFUSED_STREAM), Http2Answer::GoAway(0)] {
        let said = format!("{refusal:?}");
        let authority = Authority::new();
        let receiver = Http2Receiver::start(&authority).await;
        receiver.answer_with(move |_| refusal.clone());
        let report = attempts(&receiver, &authority, 1).await.remove(0);
        assert_eq!(class(&report), Some(ErrorClass::Reset), "{said}: {report:?}");
        let message = report.error_message().unwrap();
        assert!(message.contains("without processing"), "{said}: {message}");
        assert_eq!(receiver.requests().len(), 4, "{said}");
        assert_eq!(receiver.connections(), 4, "{said}");
    }
}

#[tokio::test]
async fn b10_a_receiver_that_requires_http_1_1_gets_it_and_is_remembered() {
    let authority = Authority::new();
    let receiver = Http2Receiver::start(&authority).await;
    receiver.answer_with(|_| Http2Answer::Reset(HTTP_1_1_REQUIRED));
    let (sender, url) = (trusting(&authority, None), receiver.url("/hook"));
    // The second attempt uses the same connection, the third one a new connection.
    let mut slot = None;
    for turn in 0..3 {
        if turn == 2 {
            slot = None;
        }
        let report = attempt_on(&sender, &mut slot, &url).await;
        assert_eq!(class(&report), None, "{report:?}");
    }
    assert_eq!(receiver.requests().len(), 1, "HTTP/2 is tried once");
    assert_eq!(receiver.http1_request_count(), 3);
    assert_eq!(receiver.connections(), 3, "one with HTTP/2, two with HTTP/1.1");
}

#[tokio::test]
async fn b10_a_goaway_may_require_http_1_1_too() {
    let authority = Authority::new();
    let receiver = Http2Receiver::start(&authority).await;
    receiver.answer_with(|_| Http2Answer::GoAway(HTTP_1_1_REQUIRED));
    for report in attempts(&receiver, &authority, 2).await {
        assert_eq!(class(&report), None, "{report:?}");
    }
    assert_eq!((receiver.requests().len(), receiver.http1_request_count()), (1, 2));
}

#[tokio::test]
async fn a_stream_that_was_processed_is_not_repeated() {
    let authority = Authority::new();
    let receiver = Http2Receiver::start(&authority).await;
    receiver.answer_with(|_| Http2Answer::Reset(INTERNAL_ERROR));
    let report = attempts(&receiver, &authority, 1).await.remove(0);
    assert_eq!(class(&report), Some(ErrorClass::Reset), "{report:?}");
    assert_eq!(receiver.requests().len(), 1);
}
