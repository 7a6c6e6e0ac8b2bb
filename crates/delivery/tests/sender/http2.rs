//! Receivers that speak HTTP/2: a third-party server, selected by ALPN.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use hookwright_delivery::{descriptors::Descriptors, sender::AttemptRequest};
use hookwright_domain::{outcome::ErrorClass, url::PayloadUrl};
use hookwright_testkit::{Authority, until};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::support::{attempt_on, class, request, trusting, trusting_within};

/// A request as it arrived: its head, and its body.
type Arrived = Arc<Mutex<Vec<(http::request::Parts, Bytes)>>>;

struct Http2Receiver {
    address: SocketAddr,
    arrived: Arrived,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// A receiver that answers with these statuses in turn, and with the last one from then on.
async fn start(authority: &Authority, statuses: &'static [u16]) -> Http2Receiver {
    let mut config = (*authority.certificate(&["127.0.0.1"]).server_config()).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrived = Arrived::default();
    let connections: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
    let (seen, open) = (Arc::clone(&arrived), Arc::clone(&connections));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            let task = tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service =
                    service_fn(move |request: Request<Incoming>| answer(request, Arc::clone(&seen), statuses));
                drop(
                    http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            });
            open.lock().unwrap().push(task);
        }
    });
    Http2Receiver {
        address,
        arrived,
        connections,
    }
}

async fn answer(
    request: Request<Incoming>,
    arrived: Arrived,
    statuses: &'static [u16],
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let turn = {
        let mut arrived = arrived.lock().unwrap();
        arrived.push((head, body));
        arrived.len() - 1
    };
    let status = statuses[turn.min(statuses.len() - 1)];
    Ok(Response::builder().status(status).body(Full::from("seen")).unwrap())
}

#[tokio::test]
async fn requests_go_over_one_http2_connection() {
    let authority = Authority::new();
    let receiver = start(&authority, &[200, 500, 200]).await;
    let sender = trusting(&authority, None);
    let url = format!("https://{}/hook?x=1", receiver.address);
    let mut slot = None;
    let classes: Vec<_> = [
        class(&attempt_on(&sender, &mut slot, &url).await),
        class(&attempt_on(&sender, &mut slot, &url).await),
        class(&attempt_on(&sender, &mut slot, &url).await),
    ]
    .to_vec();
    assert_eq!(classes, [None, Some(ErrorClass::Status), None]);
    assert_eq!(
        receiver.connections.lock().unwrap().len(),
        1,
        "a failing status does not close the connection"
    );
    let arrived = receiver.arrived.lock().unwrap();
    let (head, body) = &arrived[0];
    assert_eq!(head.version, http::Version::HTTP_2);
    assert_eq!(head.method, "POST");
    assert_eq!(
        head.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
        Some("/hook?x=1")
    );
    assert_eq!(head.headers["content-type"], "application/json");
    assert_eq!(head.headers["tt-hook-event"], "clocking");
    assert_eq!(head.headers["content-length"], "2");
    assert_eq!(body, "{}");
}

#[tokio::test]
async fn x07_an_http2_connection_is_not_used_for_another_receiver() {
    let authority = Authority::new();
    let (old, new) = (start(&authority, &[200]).await, start(&authority, &[200]).await);
    let sender = trusting(&authority, None);
    let mut slot = None;
    for receiver in [&old, &new, &new] {
        let url = format!("https://{}/", receiver.address);
        assert_eq!(class(&attempt_on(&sender, &mut slot, &url).await), None);
    }
    assert_eq!(old.arrived.lock().unwrap().len(), 1);
    assert_eq!(new.arrived.lock().unwrap().len(), 2);
    assert_eq!(new.connections.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn x07_a_request_whose_webhook_was_changed_before_it_is_sent_is_not_sent_over_a_kept_http2_connection() {
    let authority = Authority::new();
    let receiver = start(&authority, &[200]).await;
    let sender = trusting(&authority, None);
    let url = PayloadUrl::parse(&format!("https://{}/", receiver.address)).unwrap();
    let mut slot = None;
    assert_eq!(class(&attempt_on(&sender, &mut slot, url.as_str()).await), None);
    assert!(slot.is_some(), "the connection is kept");
    let outdated = AttemptRequest {
        is_current: &|| false,
        ..request(&url, Duration::from_secs(5), b"{}")
    };
    let report = sender.attempt(&mut slot, &outdated).await;
    assert!(report.superseded, "{report:?}");
    assert_eq!(class(&attempt_on(&sender, &mut slot, url.as_str()).await), None);
    assert_eq!(receiver.arrived.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn x02_an_http2_connection_has_its_permit_until_it_is_closed() {
    let authority = Authority::new();
    let (first, second) = (start(&authority, &[200]).await, start(&authority, &[200]).await);
    let descriptors = Descriptors::new(1);
    let sender = trusting_within(descriptors.clone(), &authority.pem(), None);
    let mut slot = None;
    for receiver in [&first, &first, &second, &first] {
        let url = format!("https://{}/", receiver.address);
        assert_eq!(class(&attempt_on(&sender, &mut slot, &url).await), None);
        assert_eq!(descriptors.counts().open, 1);
    }
    drop(slot);
    until("the permit to be released", async || match descriptors.counts().open {
        0 => Ok(()),
        open => Err(open),
    })
    .await;
}

#[tokio::test]
async fn r23_a_connection_that_is_gone_is_replaced() {
    let authority = Authority::new();
    let receiver = start(&authority, &[200]).await;
    let sender = trusting(&authority, None);
    let url = format!("https://{}/", receiver.address);
    let mut slot = None;
    assert_eq!(class(&attempt_on(&sender, &mut slot, &url).await), None);
    let first = receiver.connections.lock().unwrap().remove(0);
    first.abort();
    let _ = first.await;
    let report = attempt_on(&sender, &mut slot, &url).await;
    assert_eq!(class(&report), None, "{report:?}");
    assert_eq!(receiver.arrived.lock().unwrap().len(), 2);
}
