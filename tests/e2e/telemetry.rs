//! Traces as a collector receives them, and metrics as they are documented.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use hookwright_proto::v1::GetWebhookRequest;
use hookwright_testkit::{DEADLINE, Receiver, http, until};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::support::{CLOCKING, Installation, On, event, wait_for_events};

/// A collector that keeps every span.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    came: Arc<Notify>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        self.spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        self.came.notify_one();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(collector.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, endpoint)
    }

    /// The span of this name in a trace.
    async fn span(&self, trace: &[u8], name: &str) -> Span {
        let find = async {
            loop {
                let found = self
                    .spans
                    .lock()
                    .unwrap()
                    .iter()
                    .find(|span| span.trace_id == trace && span.name == name)
                    .cloned();
                match found {
                    Some(span) => return span,
                    None => self.came.notified().await,
                }
            }
        };
        tokio::time::timeout(DEADLINE, find)
            .await
            .unwrap_or_else(|_| panic!("no span {name} in {:?}", self.spans))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn one_trace_spans_publisher_publish_call_attempt_and_receiver() {
    let (collector, endpoint) = Collector::start().await;
    let mut installation =
        Installation::start_with(On::Sqlite, |server| server.arg("--otlp-endpoint", &endpoint)).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    let mut request = Request::new(event("clocking", CLOCKING));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    installation.clients.events.publish_event(request).await.unwrap();
    let request = wait_for_events(&receiver, 1).await.remove(0);

    let trace = [
        0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c,
    ];
    let publish = collector.span(&trace, "publish").await;
    assert_eq!(
        hex(&publish.parent_span_id),
        "b7ad6b7169203331",
        "below the publisher's span"
    );
    let attempt = collector.span(&trace, "attempt").await;
    assert_eq!(attempt.parent_span_id, publish.span_id, "below the publish call");
    let expected = format!("00-{}-{}-01", hex(&trace), hex(&attempt.span_id));
    assert_eq!(
        request.header("traceparent"),
        Some(expected.as_str()),
        "the receiver's span is below the attempt"
    );
    let status = attempt
        .attributes
        .iter()
        .find(|attribute| attribute.key == "http.response.status_code");
    assert!(status.is_some(), "{:?}", attempt.attributes);
}

#[tokio::test]
async fn f10_a_collector_that_is_down_harms_no_delivery() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = format!("http://{gone}");
    let mut installation =
        Installation::start_with(On::Sqlite, |server| server.arg("--otlp-endpoint", &endpoint)).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    for _ in 0..100 {
        installation.publish("clocking", CLOCKING).await;
    }
    wait_for_events(&receiver, 100).await;
}

/// The rows of a table whose first cell is a name: the name, and the next cell.
fn documented(page: &str) -> BTreeSet<(String, String)> {
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    });
    rows.collect()
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_metric_is_there() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let webhook = installation.webhook(&receiver, &["clocking"]).await.name;
    installation.publish("clocking", CLOCKING).await;
    wait_for_events(&receiver, 1).await;
    let unknown = GetWebhookRequest {
        name: format!("{webhook}x"),
    };
    installation.clients.webhooks.get_webhook(unknown).await.unwrap_err();
    let publish = "service=\"hookwright.v1.EventService\",method=\"PublishEvent\",code=\"OK\"";
    // A call is counted when the end of its response was sent. The caller may see the response earlier.
    let text = until("the calls to be counted", async || {
        let address = installation.server.http_address();
        let response = http::request(address, "GET", "/metrics", &[], b"").await.unwrap();
        let text = String::from_utf8(response.body).unwrap();
        let is_counted = text.contains(&format!("hookwright_grpc_calls_total{{{publish}}} 1"));
        if is_counted { Ok(text) } else { Err(text) }
    })
    .await;
    let kinds = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let found: BTreeSet<(String, String)> = kinds.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    assert_eq!(
        documented(include_str!("../../docs/metrics.md")),
        found,
        "left: docs/metrics.md; right: /metrics"
    );
    for part in [
        "method=\"GetWebhook\",code=\"",
        "hookwright_grpc_call_seconds_count{service=\"hookwright.v1.WebhookService\",method=\"CreateWebhook\"} 1",
        &format!("hookwright_build_info{{version=\"{}\"", env!("CARGO_PKG_VERSION")),
        "hookwright_webhooks{state=\"active\"} 1",
        "hookwright_backlog{state=\"paused\"} 0",
        "process_cpu_seconds_total ",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert_eq!(text.matches("# EOF").count(), 1);
}
