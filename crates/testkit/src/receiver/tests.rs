//! Tests of the receiver with a client that is only a socket.

use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::Authority;

const REQUEST: &[u8] = b"POST /hook?a=b HTTP/1.1\r\nHost: x\r\nTT-Hook-Event:  ping \r\n\
    X-Two: 1\r\nx-two: 2\r\ncontent-length: 8\r\n\r\n{\"a\": 1}";

async fn connect(receiver: &Receiver) -> TcpStream {
    TcpStream::connect(receiver.address()).await.unwrap()
}

/// Reads up to the end of a response without a body.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(REQUEST).await.unwrap();
    read_head(stream).await
}

#[tokio::test]
async fn requests_are_kept_as_they_came() {
    let receiver = Receiver::start().await;
    let mut stream = connect(&receiver).await;
    let (first, second) = REQUEST.split_at(30);
    stream.write_all(first).await.unwrap();
    stream.flush().await.unwrap();
    stream.write_all(second).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200 "));

    let request = receiver.wait_for(1).await.remove(0);
    assert_eq!(request.raw, REQUEST);
    assert_eq!(request.body, "{\"a\": 1}");
    assert_eq!(request.json()["a"], 1);
    assert_eq!((request.method(), request.target()), ("POST", "/hook?a=b"));
    assert_eq!(request.header("tt-hook-event"), Some("ping"));
    assert_eq!(request.headers[1].0, "TT-Hook-Event");
    assert_eq!(request.header_values("X-TWO").collect::<Vec<_>>(), ["1", "2"]);
}

#[tokio::test]
async fn a_connection_is_kept_alive_and_several_are_served_at_once() {
    let receiver = Receiver::start().await;
    let gate = Gate::new();
    receiver.answer(Response::new(204).after(&gate));
    let mut held = connect(&receiver).await;
    held.write_all(REQUEST).await.unwrap();
    receiver.wait_for(1).await;

    receiver.respond(200);
    let mut stream = connect(&receiver).await;
    for _ in 0..3 {
        assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200 "));
    }
    gate.open();
    assert!(read_head(&mut held).await.starts_with("HTTP/1.1 204 "));
    assert_eq!((receiver.connections(), receiver.most_connections()), (2, 2));
    let of_second = receiver
        .wait_until(|requests| requests.iter().filter(|request| request.connection == 2).count() == 3)
        .await;
    assert_eq!(of_second.len(), 4);

    drop((held, stream));
    receiver.wait_for_open_connections(0).await;
    assert_eq!(receiver.problems(), Vec::<String>::new());
}

#[tokio::test]
async fn answers_come_in_turn_and_the_last_one_stays() {
    let receiver = Receiver::start().await;
    receiver.answer_in_turn([
        Answer::from(503),
        Response::new(429).header("Retry-After", "5").into(),
        Answer::from(200),
    ]);
    let mut stream = connect(&receiver).await;
    let mut heads = Vec::new();
    for _ in 0..4 {
        heads.push(ask(&mut stream).await);
    }
    let statuses = heads.iter().map(|head| &head[9..12]).collect::<Vec<_>>();
    assert_eq!(statuses, ["503", "429", "200", "200"]);
    assert!(heads[1].contains("\r\nRetry-After: 5\r\n"));
}

#[tokio::test]
async fn a_closure_sees_the_request_and_a_body_is_sent() {
    let receiver = Receiver::start().await;
    receiver.answer_with(|request| {
        Response::new(418)
            .delay(Duration::from_millis(1))
            .body(request.body.clone())
            .close()
    });
    let mut stream = connect(&receiver).await;
    stream.write_all(REQUEST).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("Connection: close\r\nContent-Length: 8\r\n\r\n{\"a\": 1}"));
}

#[tokio::test]
async fn it_closes_resets_hangs_and_says_raw_bytes() {
    let receiver = Receiver::start().await;
    receiver.answer_in_turn([Answer::Close, Answer::Reset, Answer::raw("ICY 200 OK\r\n\r\n")]);
    let mut read = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&receiver).await;
        stream.write_all(REQUEST).await.unwrap();
        let mut text = String::new();
        let result = stream.read_to_string(&mut text).await;
        read.push(result.map(|_| text).map_err(|error| error.kind()));
    }
    assert_eq!(read[0], Ok(String::new()));
    assert_eq!(read[1], Err(std::io::ErrorKind::ConnectionReset));
    assert_eq!(read[2], Ok("ICY 200 OK\r\n\r\n".to_owned()));

    receiver.answer(Answer::Hang);
    let mut stream = connect(&receiver).await;
    stream.write_all(REQUEST).await.unwrap();
    receiver.wait_for(4).await;
    assert_eq!(receiver.open_connections(), 1);
    drop(stream);
    receiver.wait_for_open_connections(0).await;
}

#[tokio::test]
async fn an_invalid_request_is_a_problem() {
    let receiver = Receiver::start().await;
    let mut stream = connect(&receiver).await;
    stream
        .write_all(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        .await
        .unwrap();
    receiver.wait("a problem", |state| !state.problems.is_empty()).await;
    assert!(receiver.problems()[0].contains("a body without length"));
    assert_eq!(receiver.request_count(), 0);
}

#[tokio::test]
async fn a_stopped_receiver_refuses_and_another_takes_its_place() {
    let receiver = Receiver::start().await;
    let mut stream = connect(&receiver).await;
    ask(&mut stream).await;
    let address = receiver.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
    let again = Receiver::start_at(address).await;
    ask(&mut connect(&again).await).await;
    assert_eq!(again.request_count(), 1);
}

#[tokio::test]
async fn tls_is_the_same_behind_a_certificate_of_ones_own() {
    let authority = Authority::new();
    let receiver = Receiver::start_tls(authority.certificate(&["localhost"]).server_config()).await;
    assert!(receiver.url_as("localhost", "/x").starts_with("https://localhost:"));

    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connect(&receiver).await;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200 "));

    let stream = connect(&receiver).await;
    let name = ServerName::try_from("elsewhere.test").unwrap();
    connector.connect(name, stream).await.unwrap_err();
    receiver.wait("a problem", |state| !state.problems.is_empty()).await;
    assert!(receiver.problems()[0].contains("TLS"));
}
