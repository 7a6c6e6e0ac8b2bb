use super::*;

/// The result of a response with these headers and this body: the kept body, and whether the connection can be used again.
async fn framed(headers: &str, body: &str) -> (String, bool) {
    let text = format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}");
    let outcome = answered([text.as_bytes()], End::Closed).await;
    let (status, body, reusable) = outcome.response();
    assert_eq!(status, 200, "{text:?}");
    (String::from_utf8(body.to_vec()).unwrap(), reusable)
}

#[tokio::test]
async fn r31_contradictory_framing_is_never_trusted() {
    let hello = |reusable| ("hello".to_owned(), reusable);
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(framed("Content-Length: 5\r\n", "hello").await, hello(true));
    assert_eq!(framed("Transfer-Encoding: chunked\r\n", chunks).await, hello(true));
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "Content-Length: 5\r\n folded\r\n",
        "Transfer-Encoding: gzip\r\n",
        "",
    ] {
        assert_eq!(framed(headers, "hello").await, hello(false), "{headers:?}");
    }
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(framed(headers, chunks).await, hello(false), "{headers:?}");
    }
}

#[tokio::test]
async fn r31_headers_are_kept_as_they_came_where_they_contradict_each_other() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Good: 1\r\nContent-Length: 6\r\n\r\nhello";
    let outcome = answered([text.as_bytes()], End::Closed).await;
    assert_eq!(outcome.names(), ["content-length", "content-length", "x-good"]);
}

#[tokio::test]
async fn statuses_without_a_body_end_with_their_head() {
    for head in [
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
    ] {
        let outcome = answered([head.as_bytes()], End::Open).await;
        let (_, body, reusable) = outcome.response();
        assert_eq!((body, reusable), (&b""[..], true), "{head:?}");
    }
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
    assert_eq!(
        answered([&switching[..]], End::Open).await.response(),
        (101, &b""[..], false)
    );
}

#[tokio::test]
async fn r08_chunks_and_garbage_in_their_place() {
    let kept = |body: &str, reusable| (body.to_owned(), reusable);
    for (body, expected) in [
        (
            "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: x\r\n\r\n",
            kept("hello world", true),
        ),
        ("zz\r\nhello\r\n", kept("", false)),
        ("5\r\nhelloXX", kept("hello", false)),
        ("5\r\nhel", kept("hel", false)),
        ("0\r\n\r\nextra", kept("", false)),
        ("ffffffffffffffff\r\nx", kept("x", false)),
        ("fffffffffffffffff\r\nx", kept("", false)),
    ] {
        assert_eq!(
            framed("Transfer-Encoding: chunked\r\n", body).await,
            expected,
            "{body:?}"
        );
    }
}

#[tokio::test]
async fn r08_bodies_that_are_longer_or_shorter_than_they_say() {
    for (length, body, kept, reusable) in [
        (5, "hello", "hello", true),
        (5, "hel", "hel", false),
        (3, "hello", "hel", false),
    ] {
        let headers = format!("Content-Length: {length}\r\n");
        assert_eq!(
            framed(&headers, body).await,
            (kept.to_owned(), reusable),
            "{length} {body}"
        );
    }
}

#[tokio::test]
async fn r05_no_more_of_a_body_is_read_than_is_worth_a_connection() {
    for (length, reusable) in [(16 << 10, true), (64 << 10, true), (128 << 10, false)] {
        let mut text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        text.resize(text.len() + length, b'x');
        let outcome = answered([&text[..]], End::Open).await;
        let (_, body, reused) = outcome.response();
        assert_eq!((body.len(), reused), (16 << 10, reusable), "{length}");
        assert_eq!(outcome.record().truncated, length > 16 << 10, "{length}");
    }
}
