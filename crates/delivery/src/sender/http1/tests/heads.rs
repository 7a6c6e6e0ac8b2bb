use proptest::prelude::*;

use super::*;

const ODD_LINES: [&str; 9] = [
    "X My Header: 1",
    "Content-Type : text/plain",
    "PHP Warning:  x in y",
    "a line without a colon",
    "X-Control: a\u{1}b",
    " folded",
    "\tfolded: too",
    ": no name",
    "X-Nul: \0",
];

#[tokio::test]
async fn b18_an_odd_line_is_left_out_and_the_status_counts() {
    for odd in ODD_LINES {
        for block in [
            format!("{odd}\r\nX-Good: 1\r\nContent-Length: 2\r\n"),
            format!("X-Good: 1\r\n{odd}\r\nContent-Length: 2\r\n"),
            format!("X-Good: 1\nContent-Length: 2\n{odd}\n"),
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{block}\r\nok");
            let outcome = answered([text.as_bytes()], End::Open).await;
            assert_eq!(outcome.response(), (200, &b"ok"[..], false), "{text:?}");
            assert!(!outcome.record().truncated, "{text:?}");
            // A name with a blank before the colon can be read.
            let names = outcome.names().into_iter().filter(|name| *name != "content-type");
            assert_eq!(names.collect::<Vec<_>>(), ["x-good", "content-length"], "{text:?}");
        }
    }
}

#[tokio::test]
async fn b18_a_blank_before_the_colon_does_not_hide_where_the_body_ends() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding\t: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let outcome = answered([text.as_bytes()], End::Open).await;
        assert_eq!(outcome.response(), (200, &b"ok"[..], false), "{text:?}");
        assert!(!outcome.record().truncated, "{text:?}");
    }
}

#[tokio::test]
async fn b18_bytes_that_no_reason_may_hold_do_not_hide_the_status() {
    for reason in ["\u{7f}", "a\0b", "a\rb"] {
        let text = format!("HTTP/1.1 201 {reason}\r\nX-Good: 1\r\nContent-Length: 2\r\n\r\nok");
        let outcome = answered([text.as_bytes()], End::Open).await;
        assert_eq!(outcome.response(), (201, &b"ok"[..], false), "{text:?}");
        assert_eq!(outcome.names(), ["x-good", "content-length"], "{text:?}");
    }
}

#[tokio::test]
async fn b18_odd_lines_count_towards_the_limit() {
    let head = |lines: usize| format!("HTTP/1.1 204 No Content\r\n{}\r\n", "no colon\r\n".repeat(lines));
    let most = answered([head(128).as_bytes()], End::Open).await;
    assert_eq!(most.response(), (204, &b""[..], false));
    let refused = answered([head(129).as_bytes()], End::Open).await;
    let problem = "a response head of more than 128 header lines";
    assert_eq!(
        refused,
        Outcome::Failed(ErrorClass::InvalidResponse, problem.to_owned())
    );
}

#[tokio::test]
async fn r04_a_head_may_have_128_lines_and_64_kib() {
    let lines = |count: usize| format!("HTTP/1.1 204 No Content\r\n{}\r\n", "X-Y: z\r\n".repeat(count));
    assert!(answered([lines(100).as_bytes()], End::Open).await.response().2);
    assert_eq!(answered([lines(128).as_bytes()], End::Open).await.response().0, 204);
    assert_eq!(
        answered([lines(129).as_bytes()], End::Open).await.class(),
        Some(ErrorClass::InvalidResponse)
    );
    let long = |bytes: usize| {
        let (start, end) = ("HTTP/1.1 204 No Content\r\nX: ", "\r\n\r\n");
        format!("{start}{}{end}", "x".repeat(bytes - start.len() - end.len()))
    };
    assert_eq!(answered([long(65_535).as_bytes()], End::Open).await.response().0, 204);
    let refused = answered([long(65_537).as_bytes()], End::Open).await;
    let problem = "a response head of more than 65536 bytes";
    assert_eq!(
        refused,
        Outcome::Failed(ErrorClass::InvalidResponse, problem.to_owned())
    );
}

#[tokio::test]
async fn what_is_no_http_is_refused_before_its_line_ends() {
    for (text, refused_after) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", 1),
        ("HTTP/2 200\r\n", 6),
        ("\r\nICY 200 OK\r\n", 3),
        ("\u{15}\u{3}", 1),
    ] {
        let pieces = text.as_bytes()[..refused_after].chunks(1);
        let outcome = answered(pieces, End::Open).await;
        let problem = "the response is not valid HTTP";
        assert_eq!(
            outcome,
            Outcome::Failed(ErrorClass::InvalidResponse, problem.to_owned()),
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn r09_problems_are_told_apart() {
    for (text, problem) in [
        (
            "\u{15}\u{3}\u{1}\0\u{2}\u{2}\n",
            "the receiver speaks TLS on this port (should its URL begin with https://?)",
        ),
        ("HTTP/1.1 099 Low\r\n\r\n", "99 is not an HTTP status"),
        ("HTTP/1.1 2000 Long\r\n\r\n", "the response is not valid HTTP"),
        ("HTTP/1.1  200 OK\r\n\r\n", "the response is not valid HTTP"),
        (
            "HTTP/1.1 200 OK\r\nX: y\r\n",
            "the connection ended within the response head",
        ),
        (
            "HTTP/1.1 200 OK\r\nodd line\r\n",
            "the connection ended within the response head",
        ),
    ] {
        let outcome = answered([text.as_bytes()], End::Closed).await;
        assert_eq!(
            outcome,
            Outcome::Failed(ErrorClass::InvalidResponse, problem.to_owned()),
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn r10_interim_responses_are_skipped_up_to_a_limit() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let with = |count: usize| interim.repeat(count) + "HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(
        answered([with(100).as_bytes()], End::Open).await.response(),
        (204, &b""[..], true)
    );
    let odd = with(1) + "odd line\r\n";
    assert_eq!(
        answered([odd.as_bytes()], End::Open).await.response(),
        (204, &b""[..], false)
    );
    let flooded = Outcome::Failed(
        ErrorClass::InvalidResponse,
        "more than 100 interim responses".to_owned(),
    );
    assert_eq!(answered([with(101).as_bytes()], End::Open).await, flooded);
    assert_eq!(answered([interim.repeat(101).as_bytes()], End::Open).await, flooded);
    // A request is not repeated once any byte of a response came.
    assert_eq!(
        answered([interim.as_bytes()], End::Closed).await.class(),
        Some(ErrorClass::Reset)
    );
    assert_eq!(answered([], End::Closed).await, Outcome::Closed);
}

/// A head of good and odd lines, with either line end.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => "[A-Za-z-]{1,8}: ?[ -~]{0,12}",
        2 => prop::sample::select(&ODD_LINES[..]).prop_map(str::to_owned),
        1 => Just("Content-Length: 3".to_owned()),
        1 => Just("Connection: close".to_owned()),
        1 => "[ -~\t\r\u{0}]{1,12}",
    ];
    let start = prop_oneof![
        6 => Just("HTTP/1.1 200 OK"),
        1 => Just("HTTP/1.0 503"),
        1 => Just("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created"),
        1 => Just("\r\nHTTP/1.1 204 \u{7f}"),
        1 => Just("HTTP/1.1 099 Low"),
        1 => Just("nonsense"),
    ];
    let lines = prop::collection::vec((line, prop::sample::select(&["\r\n", "\n"][..])), 0..8);
    (start, lines, "\\PC{0,6}").prop_map(|(start, lines, rest)| {
        let lines: String = lines.iter().map(|(line, end)| format!("{line}{end}")).collect();
        format!("{start}\r\n{lines}\r\n{rest}").into_bytes()
    })
}

proptest! {
    #[test]
    fn b18_where_a_head_is_split_makes_no_difference(text in heads()) {
        let whole = answered_now([&text[..]]);
        prop_assert_eq!(&answered_now(text.chunks(1)), &whole);
        for at in 1..text.len() {
            prop_assert_eq!(&answered_now([&text[..at], &text[at..]]), &whole, "split at {}", at);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..60), well_begun in any::<bool>()) {
        let start: &[u8] = if well_begun { b"HTTP/1.1 200 OK\r\n" } else { b"" };
        let _ = answered_now([start, &text[..]].into_iter().filter(|piece| !piece.is_empty()));
    }
}
