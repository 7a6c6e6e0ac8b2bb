//! Misbehaving receivers.

use std::time::Duration;

use hookwright_delivery::sender::AttemptReport;
use hookwright_domain::outcome::ErrorClass;
use hookwright_testkit::{Answer, Receiver, Response};
use tokio::net::TcpListener;

use crate::support::{attempt, attempt_on, attempt_with, class, sender};

/// Makes an attempt that gets these bytes as the response, after which the receiver closes the connection.
async fn answered(bytes: impl Into<bytes::Bytes>) -> AttemptReport {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::raw(bytes.into()));
    attempt(&sender(), &receiver.url("/")).await
}

#[tokio::test]
async fn r01_a_receiver_that_never_answers() {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Hang);
    let mut slot = None;
    let report = attempt_on(&sender(), &mut slot, &receiver.url("/")).await;
    assert_eq!(class(&report), Some(ErrorClass::Timeout));
    assert!(slot.is_none(), "the connection is closed");
}

#[tokio::test]
async fn r02_a_receiver_that_refuses() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let report = attempt(&sender(), &format!("http://{closed}/")).await;
    assert_eq!(class(&report), Some(ErrorClass::Connect));
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Reset);
    let report = attempt(&sender(), &receiver.url("/")).await;
    assert_eq!(class(&report), Some(ErrorClass::Reset));
}

#[tokio::test]
async fn r04_heads_without_end() {
    let one = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    for head in [one, many] {
        assert_eq!(class(&answered(head).await), Some(ErrorClass::InvalidResponse));
    }
}

#[tokio::test]
async fn r05_a_body_without_end() {
    let mut response = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    response.extend(std::iter::repeat_n(b'x', 1 << 20));
    let receiver = Receiver::start().await;
    receiver.answer(Answer::raw(response));
    let mut slot = None;
    let report = attempt_on(&sender(), &mut slot, &receiver.url("/")).await;
    assert_eq!(class(&report), None);
    assert_eq!(report.body().map(bytes::Bytes::len), Some(16 << 10));
    assert!(report.truncated() && slot.is_none());
}

#[tokio::test]
async fn r06_a_status_that_came_in_time_stands() {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::RawKeepAlive(
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart".into(),
    ));
    let report = attempt(&sender(), &receiver.url("/")).await;
    assert_eq!(class(&report), None, "{report:?}");
    assert_eq!(report.body().map(|body| &body[..]), Some(&b"part"[..]));
    assert!(report.truncated());
}

#[tokio::test]
async fn r07_r32_nothing_is_decoded_and_no_cookie_kept() {
    let receiver = Receiver::start().await;
    let bomb = Response::new(200)
        .header("Content-Encoding", "gzip")
        .header("Set-Cookie", "a=b")
        .body("\x1f\x08bomb");
    receiver.answer(bomb);
    let mut slot = None;
    for _ in 0..2 {
        let report = attempt_on(&sender(), &mut slot, &receiver.url("/")).await;
        assert_eq!(report.body().map(|body| &body[..]), Some(&b"\x1f\x08bomb"[..]));
    }
    assert!(
        receiver
            .requests()
            .iter()
            .all(|request| request.header("cookie").is_none())
    );
}

#[tokio::test]
async fn r08_bodies_that_are_not_as_long_as_they_say() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nlonger",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    ] {
        let receiver = Receiver::start().await;
        receiver.answer(Answer::raw(response));
        let mut slot = None;
        let report = attempt_on(&sender(), &mut slot, &receiver.url("/")).await;
        assert_eq!(class(&report), None, "{response}");
        assert!(slot.is_none(), "not used again: {response}");
    }
}

#[tokio::test]
async fn r09_http_is_told_from_other_protocols() {
    for (response, expected) in [
        ("HTTP/1.0 200 OK\r\n\r\n", None),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", None),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", None),
        ("HTTP/9.9 200 OK\r\n\r\n", Some(ErrorClass::InvalidResponse)),
        ("ICY 200 OK\r\n\r\n", Some(ErrorClass::InvalidResponse)),
        ("SSH-2.0-OpenSSH_9.2\r\n", Some(ErrorClass::InvalidResponse)),
        ("\x15\x03\x01\x00\x02\x02\x0a", Some(ErrorClass::InvalidResponse)),
        ("HTTP/1.1 099 Low\r\n\r\n", Some(ErrorClass::InvalidResponse)),
        (
            "HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
            Some(ErrorClass::InvalidResponse),
        ),
    ] {
        assert_eq!(class(&answered(response).await), expected, "{response:?}");
    }
}

#[tokio::test]
async fn b18_an_odd_header_line_does_not_hide_the_status() {
    for odd in [
        "X My Header: 1",
        "Content-Type : text/plain",
        "PHP Warning:  x in y",
        "a line without a colon",
        "X-Control: a\u{1}b",
        "X-Folded: a\r\n b",
    ] {
        let receiver = Receiver::start().await;
        let response = format!("HTTP/1.1 200 OK\r\n{odd}\r\nX-Good: yes\r\nContent-Length: 2\r\n\r\nok");
        receiver.answer(Answer::RawKeepAlive(response.into()));
        let (sender, mut slot) = (sender(), None);
        for attempts in 1..=2 {
            let report = attempt_on(&sender, &mut slot, &receiver.url("/")).await;
            assert_eq!(class(&report), None, "{odd:?}: {report:?}");
            assert!(!report.truncated(), "the body is complete: {odd:?}");
            assert!(
                report.headers().iter().any(|(name, _)| name == "x-good"),
                "the other lines are kept: {odd:?}"
            );
            assert!(slot.is_none(), "the connection is not used again: {odd:?}");
            assert_eq!(receiver.connections(), attempts, "{odd:?}");
        }
    }
}

#[tokio::test]
async fn r10_r11_interim_responses() {
    let hundred = "HTTP/1.1 100 Continue\r\n\r\n";
    let ok = "HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(class(&answered(format!("{}{ok}", hundred.repeat(3))).await), None);
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    assert_eq!(class(&answered(format!("{early}{ok}")).await), None);
    let thousand = hundred.repeat(1_000) + ok;
    assert_eq!(class(&answered(thousand).await), Some(ErrorClass::InvalidResponse));
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
    assert_eq!(class(&answered(switching).await), Some(ErrorClass::Status));
}

#[tokio::test]
async fn r17_an_answer_before_the_body_was_read() {
    // The receiver answers after the head only, and closes while five megabytes are in transit.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let receiver = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 64];
        stream.read_exact(&mut head).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        stream
    });
    let body: &'static [u8] = Box::leak(vec![b'x'; 5 << 20].into_boxed_slice());
    let url = format!("http://{address}/");
    let mut slot = None;
    let report = attempt_with(&sender(), &mut slot, &url, Duration::from_secs(5), body).await;
    assert_eq!(class(&report), None, "{report:?}");
    assert!(slot.is_none());
    drop(receiver.await.unwrap());
}

#[tokio::test]
async fn r19_a_kept_alive_connection_that_was_closed_is_replaced_once() {
    let receiver = Receiver::start().await;
    let sender = sender();
    let mut slot = None;
    assert_eq!(class(&attempt_on(&sender, &mut slot, &receiver.url("/")).await), None);
    // The receiver takes the next request on the open connection and closes without an answer. Then it works.
    receiver.answer_in_turn([Answer::Close, Answer::from(200)]);
    let report = attempt_on(&sender, &mut slot, &receiver.url("/")).await;
    assert_eq!(class(&report), None, "{report:?}");
    assert_eq!(receiver.connections(), 2);
    // On a new connection the same is a failure.
    receiver.answer(Answer::Close);
    let report = attempt(&sender, &receiver.url("/")).await;
    assert_eq!(class(&report), Some(ErrorClass::Reset));
}

#[tokio::test]
async fn r20_a_response_that_nobody_asked_for() {
    let receiver = Receiver::start().await;
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    receiver.answer_in_turn([Answer::RawKeepAlive(twice.into()), Answer::from(200)]);
    let sender = sender();
    let mut slot = None;
    assert_eq!(class(&attempt_on(&sender, &mut slot, &receiver.url("/")).await), None);
    let report = attempt_on(&sender, &mut slot, &receiver.url("/")).await;
    assert_eq!(
        report.status(),
        Some(200),
        "unsolicited bytes are not taken as a response"
    );
}

#[tokio::test]
async fn r26_r27_bytes_that_are_no_text() {
    let report = answered(&b"HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nContent-Length: 3\r\n\r\n\0\xff\xfe"[..]).await;
    assert_eq!(class(&report), None);
    assert_eq!(report.headers()[0], ("x-name".to_owned(), b"caf\xe9".to_vec()));
    assert_eq!(report.body().map(|body| &body[..]), Some(&b"\0\xff\xfe"[..]));
}

#[tokio::test]
async fn header_names_keep_their_case_and_order() {
    let receiver = Receiver::start().await;
    attempt(&sender(), &receiver.url("/path?query=1")).await;
    let head = receiver.wait_for(1).await.remove(0).head;
    let expected = format!(
        "POST /path?query=1 HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nTT-Hook-Event: clocking\r\nContent-Length: 2",
        receiver.address()
    );
    assert_eq!(head.trim_end(), expected);
}
