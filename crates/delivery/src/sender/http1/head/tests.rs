use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use futures::FutureExt as _;
use proptest::prelude::*;
use tokio::io::ReadBuf;

use super::*;

/// A stream that yields its pieces one read at a time, and then ends.
struct Pieces(VecDeque<Vec<u8>>);

impl Pieces {
    fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(pieces.into_iter().map(<[u8]>::to_vec).collect())
    }
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if let Some(mut piece) = self.0.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The result of reading these pieces: the head and the rest, or the error.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(Head, Vec<u8>), String> {
    let (mut stream, mut buffer) = (Pieces::of(pieces), BytesMut::new());
    let head = read_final_head(&mut stream, &mut buffer, None)
        .now_or_never()
        .expect("the stream is always ready");
    match head {
        Ok(head) => {
            let unread = std::iter::once(buffer.to_vec()).chain(stream.0);
            Ok((head, unread.flatten().collect()))
        }
        Err(no_head) => Err(format!("{no_head:?}")),
    }
}

fn names(head: &Head) -> Vec<&str> {
    head.record.headers.iter().map(|(name, _)| name.as_str()).collect()
}

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

#[test]
fn b18_an_odd_line_is_omitted_and_the_status_counts() {
    for odd in ODD_LINES {
        for block in [
            format!("{odd}\r\nX-Good: 1\r\nContent-Length: 2\r\n"),
            format!("X-Good: 1\r\n{odd}\r\nContent-Length: 2\r\n"),
            format!("X-Good: 1\nContent-Length: 2\n{odd}\n"),
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{block}\r\nok");
            let (head, left) = read([text.as_bytes()]).unwrap();
            assert_eq!(head.record.status, 200, "{text:?}");
            assert_eq!(names(&head), ["x-good", "content-length"], "{text:?}");
            assert_eq!(head.framing, Framing::Length(2), "{text:?}");
            assert!(!head.keep_alive, "not used again: {text:?}");
            assert_eq!(left, b"ok");
        }
    }
}

#[test]
fn b18_a_blank_before_the_colon_does_not_hide_where_the_body_ends() {
    for (line, framing) in [
        ("Content-Length : 2", Framing::Length(2)),
        ("Transfer-Encoding\t: chunked", Framing::Chunked),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n");
        let (head, _) = read([text.as_bytes()]).unwrap();
        assert_eq!(head.framing, framing, "{line}");
        assert!(head.record.headers.is_empty() && !head.keep_alive, "{line}");
    }
}

#[test]
fn b18_odd_lines_count_towards_the_limit() {
    let head = |lines: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "no colon\r\n".repeat(lines));
    assert!(read([head(HEADERS_MAX).as_bytes()]).is_ok());
    assert!(read([head(HEADERS_MAX + 1).as_bytes()]).is_err());
}

#[test]
fn a_head_that_is_no_http_is_refused_before_its_line_ends() {
    for (text, refused_after) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", 1),
        ("HTTP/2 200\r\n", 6),
        ("\u{15}\u{3}", 1),
    ] {
        let mut search = Search::default();
        let refused = (1..=text.len()).find(|length| search.advance(&text.as_bytes()[..*length]).is_err());
        assert_eq!(refused, Some(refused_after), "{text:?}");
    }
}

#[test]
fn no_byte_is_searched_twice_in_whatever_pieces_a_head_arrives() {
    let text = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Filler: 0123456789\r\n".repeat(100));
    for step in [1, 7, 1_000, text.len()] {
        let mut search = Search::default();
        let mut found = None;
        for length in (step..text.len()).step_by(step).chain([text.len()]) {
            found = search.advance(&text.as_bytes()[..length]).unwrap();
        }
        assert_eq!(found.map(|found| found.end), Some(text.len()));
        assert_eq!(search.work, text.len(), "in pieces of {step}");
    }
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
    fn b18_a_head_split_anywhere_reads_the_same(text in heads()) {
        let whole = read([&text[..]]);
        prop_assert_eq!(&read(text.chunks(1)), &whole);
        for at in 1..text.len() {
            prop_assert_eq!(&read([&text[..at], &text[at..]]), &whole, "split at {}", at);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..60), well_begun in any::<bool>()) {
        let start: &[u8] = if well_begun { b"HTTP/1.1 200 OK\r\n" } else { b"" };
        let _ = read([start, &text[..]]);
    }
}
