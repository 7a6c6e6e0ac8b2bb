//! The gRPC listener's limits on callers without a token, silent connections and large requests.

use std::{
    future::ready,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all};
use hookwright_proto::v1::{
    BatchPublishEventsRequest, BatchPublishEventsResponse, PublishStreamRequest,
    event_service_client::EventServiceClient, publish_result,
};
use hookwright_testkit::{DEADLINE, Receiver, until};
use http::uri::PathAndQuery;
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, client::Grpc, codec::CompressionEncoding};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use crate::{
    access::get,
    support::{ACME, CLOCKING, Clients, Installation, On, channel, event},
};

/// The beginning of an HTTP/2 connection, with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The limit on the growth of the resident memory over a flood, in MiB: buffers that were used once, and memory that
/// the allocator keeps.
const KEPT_MIB: usize = 48;

/// A body that has one frame and never ends.
struct Endless(Option<Bytes>);

impl Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

/// Calls a method with headers and the beginning of a body.
async fn call(address: &str, path: &str, token: Option<&str>, body: Option<Bytes>) -> Response<Incoming> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method("POST")
        .uri(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = sender.send_request(request.body(Endless(body)).unwrap());
    let answer = timeout(DEADLINE, answer).await;
    answer
        .unwrap_or_else(|_| panic!("{path} did not answer before the end of the body"))
        .unwrap()
}

fn status(response: &Response<Incoming>) -> Code {
    let status = response.headers().get("grpc-status").expect("an answer without a body");
    Code::from_bytes(status.as_bytes())
}

/// The value of a metric in `/metrics`.
async fn metric(installation: &Installation, name: &str) -> f64 {
    let text = get(installation.server.http_address(), "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// A number of the server's memory status in `/proc`, in MiB.
fn memory_mib(installation: &Installation, what: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", installation.server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() / 1_024
}

/// The server's peak memory so far, in MiB.
fn peak_mib(installation: &Installation) -> usize {
    memory_mib(installation, "VmHWM:")
}

/// Waits until the request budget is free again, and the server has returned memory to the system.
async fn everything_is_returned(installation: &Installation, before_mib: usize) {
    until("the whole request budget to be free", async || {
        let left = metric(installation, "hookwright_grpc_request_bytes_in_flight").await;
        if left < 1.0 { Ok(()) } else { Err(left) }
    })
    .await;
    until("the memory to fall back", async || {
        let resident = memory_mib(installation, "VmRSS:");
        if resident < before_mib + KEPT_MIB {
            Ok(())
        } else {
            Err(format!("{resident} MiB, {before_mib} MiB before"))
        }
    })
    .await;
}

#[tokio::test]
async fn x05_every_method_refuses_a_caller_without_a_token_before_it_reads_the_body() {
    let installation = Installation::start(On::Sqlite).await;
    let address = installation.server.grpc_address();
    let described = FileDescriptorSet::decode(hookwright_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut paths = vec!["/hookwright.v1.NoService/None".to_owned()];
    for file in &described.file {
        for service in &file.service {
            let methods = service.method.iter();
            paths.extend(methods.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())));
        }
    }
    assert!(paths.len() > 50);
    let before = metric(&installation, "hookwright_grpc_request_bytes_read_total").await;
    for path in &paths {
        for token in [None, Some("hw_0000")] {
            let response = call(address, path, token, None).await;
            assert_eq!(status(&response), Code::Unauthenticated, "{path}");
        }
    }
    let after = metric(&installation, "hookwright_grpc_request_bytes_read_total").await;
    assert!(after - before < 1.0, "nothing was read");
    let refused = metric(&installation, "hookwright_grpc_requests_unauthenticated_total").await;
    assert!(refused as usize == 2 * paths.len());
}

#[tokio::test]
async fn x05_calls_without_a_token_accept_no_large_message() {
    let installation = Installation::start(On::Sqlite).await;
    let address = installation.server.grpc_address();
    for path in [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        let begun = Bytes::from_static(&[0, 1, 0xe0, 0, 0, 7]);
        let mut response = call(address, path, None, Some(begun)).await;
        let code = if response.headers().contains_key("grpc-status") {
            status(&response)
        } else {
            // The response stream has begun, and ends with its status in the trailers.
            let body = response.body_mut();
            let trailers = timeout(DEADLINE, std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx))).await;
            let trailers = trailers.unwrap().unwrap().unwrap().into_trailers().unwrap();
            Code::from_bytes(trailers["grpc-status"].as_bytes())
        };
        // Reflection ends its stream with success.
        let expected = if path.contains("reflection") {
            Code::Ok
        } else {
            Code::OutOfRange
        };
        assert_eq!(code, expected, "{path}");
    }
}

fn batch(bytes: usize) -> BatchPublishEventsRequest {
    let huge = format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes));
    BatchPublishEventsRequest {
        organization: ACME.to_owned(),
        requests: vec![event("clocking", &huge)],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x05_24_callers_without_a_token_take_no_memory() {
    let installation = Installation::start(On::Sqlite).await;
    let address = installation.server.grpc_address().to_owned();
    let before = peak_mib(&installation);
    let (address, batch) = (&address, &batch(30 << 20));
    let calls = (0..24).map(|_| async move {
        let mut client = EventServiceClient::new(channel(address).await);
        client.batch_publish_events(batch.clone()).await.unwrap_err()
    });
    for status in join_all(calls).await {
        // The caller may notice first that the server has stopped reading.
        let codes = [
            Code::Unauthenticated,
            Code::Unavailable,
            Code::Internal,
            Code::Unknown,
            Code::Cancelled,
        ];
        assert!(codes.contains(&status.code()), "{status:?}");
    }
    let read = metric(&installation, "hookwright_grpc_request_bytes_read_total").await;
    assert!(read < 1e6, "{read} bytes were read");
    assert!(peak_mib(&installation) < before + 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x05_24_callers_with_a_token_share_the_bytes_that_there_are() {
    let installation =
        Installation::start_with(On::Sqlite, |builder| builder.arg("--grpc-request-bytes-max", "48MiB")).await;
    let (address, token) = (installation.server.grpc_address(), installation.server.token().unwrap());
    let before = peak_mib(&installation);
    let (token, batch) = (&token, &batch(30 << 20));
    let calls = (0..24).map(|_| async move {
        let mut clients = Clients::connect(address, token).await;
        clients.events.batch_publish_events(batch.clone()).await
    });
    let mut answered = 0;
    for result in join_all(calls).await {
        match result {
            Ok(response) => {
                let result = response.into_inner().results.remove(0).result.unwrap();
                // A payload of this size is refused by the limit on payloads.
                assert!(matches!(result, publish_result::Result::Error(_)));
                answered += 1;
            }
            Err(status) => assert_exhausted(&status),
        }
    }
    assert!(answered > 0, "one request at a time fits into the budget");
    let growth = peak_mib(&installation) - before;
    assert!(growth < 250, "{growth} MiB for 720 MiB of requests");
    everything_is_returned(&installation, before).await;
}

/// Half of a message: its length prefix is larger than the bytes that follow.
const HALF: &[u8] = &[0, 0, 0, 0, 100, 10];

/// Begins calls of a method over separate connections, each with half of a message. The calls last until the returned
/// set is dropped.
async fn begin_calls(address: &str, path: &str, token: &str, count: usize) -> JoinSet<()> {
    const ON_A_CONNECTION: usize = 100;
    let mut calls = JoinSet::new();
    let mut left = count;
    while left > 0 {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        calls.spawn(async move { connection.await.unwrap_or_default() });
        for _ in 0..left.min(ON_A_CONNECTION) {
            let request = half_sent(address, path, token);
            let mut sender = sender.clone();
            calls.spawn(async move {
                let answer = sender.send_request(request).await;
                drop(answer);
            });
        }
        left = left.saturating_sub(ON_A_CONNECTION);
    }
    calls
}

fn half_sent(address: &str, path: &str, token: &str) -> Request<Endless> {
    Request::builder()
        .method("POST")
        .uri(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {token}"))
        .body(Endless(Some(Bytes::from_static(HALF))))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x05_changes_that_are_half_sent_keep_no_other_out() {
    // More than the limit on concurrent calls.
    const CALLS: usize = 1_100;
    let mut installation = Installation::start(On::Sqlite).await;
    let (address, token) = (
        installation.server.grpc_address().to_owned(),
        installation.server.token().unwrap(),
    );
    let _calls = begin_calls(
        &address,
        "/hookwright.v1.EventTypeService/CreateEventType",
        &token,
        CALLS,
    )
    .await;
    until("all calls to have begun", async || {
        let read = metric(&installation, "hookwright_grpc_request_bytes_read_total").await;
        if read as usize >= CALLS * HALF.len() {
            Ok(())
        } else {
            Err(read)
        }
    })
    .await;
    installation.register("order.paid").await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["order.paid"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x05_a_compressed_message_of_a_call_that_does_not_end_takes_no_memory() {
    const CALLS: usize = 24;
    let mut installation = Installation::start(On::Sqlite).await;
    let (address, token) = (
        installation.server.grpc_address().to_owned(),
        installation.server.token().unwrap(),
    );
    let before = peak_mib(&installation);
    let batch = batch(30 << 20);
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let mut grpc = Grpc::new(channel(&address).await).send_compressed(CompressionEncoding::Gzip);
        grpc.ready().await.unwrap();
        let mut request =
            tonic::Request::new(futures::stream::once(ready(batch.clone())).chain(futures::stream::pending()));
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
        let path = PathAndQuery::from_static("/hookwright.v1.EventService/BatchPublishEvents");
        let codec = ProstCodec::<BatchPublishEventsRequest, BatchPublishEventsResponse>::default();
        calls.spawn(async move { grpc.client_streaming(request, path, codec).await.map(drop) });
    }
    until("all messages to be read", async || {
        // Each message is larger than this, even when it is compressed.
        let read = metric(&installation, "hookwright_grpc_request_bytes_read_total").await;
        if read as usize >= CALLS * (20 << 10) {
            Ok(())
        } else {
            Err(read)
        }
    })
    .await;
    for _ in 0..20 {
        installation.publish("clocking", CLOCKING).await;
    }
    let growth = peak_mib(&installation) - before;
    assert!(growth < 150, "{growth} MiB for messages of unanswered calls");
    calls.shutdown().await;
    everything_is_returned(&installation, before).await;
}

fn assert_exhausted(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let details = status.get_error_details();
    assert!(details.retry_info().is_some(), "{status:?}");
    assert_eq!(details.error_info().unwrap().reason, "LIMIT_REACHED");
}

#[tokio::test]
async fn x05_silent_connections_do_not_keep_a_caller_out() {
    let mut installation =
        Installation::start_with(On::Sqlite, |builder| builder.arg("--grpc-connections-max", "8")).await;
    let (address, token) = (
        installation.server.grpc_address().to_owned(),
        installation.server.token().unwrap(),
    );
    let mut silent = Vec::new();
    for first in [&b""[..], PREFACE, &PREFACE[..24]].repeat(16) {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // The server may have closed the connection already.
        let _ = stream.write_all(first).await;
        silent.push(stream);
    }
    installation.register("order.paid").await;
    let mut others = Clients::connect(&address, &token).await;
    others.events.publish_event(event("clocking", CLOCKING)).await.unwrap();
    let mut bytes = Vec::new();
    // A reset ends the connection, too.
    let _ = timeout(DEADLINE, silent[0].read_to_end(&mut bytes))
        .await
        .expect("the first one was closed");
    until("evicted connections to end", async || {
        let open = metric(&installation, "hookwright_listener_connections{listener=\"grpc\"}").await;
        if open <= 8.0 { Ok(()) } else { Err(open) }
    })
    .await;
}

#[tokio::test]
async fn x05_a_stream_with_a_token_outlives_the_idle_timeouts() {
    let installation = Installation::start_with(On::Sqlite, |builder| {
        builder
            .arg("--grpc-first-request-timeout", "1s")
            .arg("--grpc-idle-timeout", "1s")
            // A later limit: an old connection gets more time to end than an idle one.
            .arg("--grpc-connection-age-max", "5s")
    })
    .await;
    let address = installation.server.grpc_address();
    let mut clients = Clients::connect(address, &installation.server.token().unwrap()).await;
    let (events, stream) = mpsc::channel(1);
    let acks = clients.events.publish_stream(ReceiverStream::new(stream));
    let mut acks = acks.await.unwrap().into_inner();
    for first in [&b""[..], PREFACE, PREFACE] {
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(first).await.unwrap();
        let mut bytes = Vec::new();
        let _ = timeout(DEADLINE, silent.read_to_end(&mut bytes))
            .await
            .expect("a silent connection is closed");
    }
    for sequence in 1..=2 {
        let request = PublishStreamRequest {
            sequence,
            event: Some(event("clocking", CLOCKING)),
        };
        events.send(request).await.unwrap();
        let response = timeout(DEADLINE, acks.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(response.acks[0].sequence, sequence);
    }
}

#[tokio::test]
async fn limits_that_would_let_nobody_in_are_refused() {
    for (flag, value, says) in [
        ("--grpc-request-bytes-max", "32MiB", "48 MiB"),
        ("--grpc-connections-max", "0", "1 or more"),
        ("--grpc-idle-timeout", "10ms", "1s or more"),
        ("--webhooks-per-organization-max", "4096", "4095 or less"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let exited = tokio::process::Command::new(env!("CARGO_BIN_EXE_hookwright"))
            .args([
                "serve",
                "--grpc-address",
                "127.0.0.1:0",
                "--http-address",
                "127.0.0.1:0",
                flag,
                value,
            ])
            .arg("--data-dir")
            .arg(directory.path())
            .output();
        let exited = timeout(DEADLINE, exited).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&exited.stderr).into_owned();
        assert!(!exited.status.success() && said.contains(says), "{flag}: {said}");
    }
}
