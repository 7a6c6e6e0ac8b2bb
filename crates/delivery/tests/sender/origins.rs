//! Origins: a connection is used only for the receiver that it was opened for, with the same verification.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use hookwright_delivery::sender::{AttemptRequest, Connection, Sender};
use hookwright_domain::{outcome::ErrorClass, url::PayloadUrl};
use hookwright_testkit::{Authority, Receiver};

use crate::support::{attempt_on, class, request, sender};

#[tokio::test]
async fn x07_a_connection_is_not_used_for_another_receiver() {
    let (old, new) = (Receiver::start().await, Receiver::start().await);
    let sender = sender();
    let mut slot = None;
    assert_eq!(class(&attempt_on(&sender, &mut slot, &old.url("/a")).await), None);
    assert_eq!(class(&attempt_on(&sender, &mut slot, &old.url("/b")).await), None);
    assert_eq!(old.connections(), 1, "another path uses the same connection");
    let report = attempt_on(&sender, &mut slot, &new.url("/")).await;
    assert_eq!((class(&report), report.remote), (None, Some(new.address())));
    assert_eq!((old.request_count(), new.request_count()), (2, 1));
}

#[tokio::test]
async fn x07_a_request_whose_webhook_was_changed_while_it_connected_is_not_sent() {
    let receiver = Receiver::start().await;
    let (sender, url) = (sender(), PayloadUrl::parse(&receiver.url("/")).unwrap());
    let request = AttemptRequest {
        url: &url,
        skip_verify: false,
        timeout: Duration::from_secs(5),
        headers: &[],
        body: Bytes::from_static(b"{}"),
        is_current: &|| false,
        shared: None,
    };
    let report = sender.attempt(&mut None, &request).await;
    assert!(report.superseded);
    // The receiver has seen the connection, and its end without a request.
    hookwright_testkit::until("the connection", async || match receiver.connections() {
        0 => Err("none"),
        _ => Ok(()),
    })
    .await;
    assert_eq!(receiver.request_count(), 0);
}

/// Between two attempts over a kept connection a request is signed, which takes long if it is large.
#[tokio::test]
async fn x07_a_request_whose_webhook_was_changed_before_it_is_sent_is_not_sent_over_a_kept_connection() {
    let receiver = Receiver::start().await;
    let (sender, url) = (sender(), PayloadUrl::parse(&receiver.url("/")).unwrap());
    let mut slot = None;
    assert_eq!(class(&attempt_on(&sender, &mut slot, url.as_str()).await), None);
    assert!(slot.is_some(), "the connection is kept");
    let outdated = AttemptRequest {
        is_current: &|| false,
        ..request(&url, Duration::from_secs(5), b"{}")
    };
    let report = sender.attempt(&mut slot, &outdated).await;
    assert!(report.superseded, "{report:?}");
    // This request arrives after the earlier ones.
    assert_eq!(class(&attempt_on(&sender, &mut slot, url.as_str()).await), None);
    assert_eq!(receiver.request_count(), 2);
}

async fn attempt_verified(
    sender: &Sender,
    slot: &mut Option<Connection>,
    url: &str,
    verified: bool,
) -> Option<ErrorClass> {
    let headers = [("Content-Type", Cow::Borrowed("application/json"))];
    let url = PayloadUrl::parse(url).unwrap();
    let request = AttemptRequest {
        url: &url,
        skip_verify: !verified,
        timeout: Duration::from_secs(5),
        headers: &headers,
        body: Bytes::from_static(b"{}"),
        is_current: &|| true,
        shared: None,
    };
    class(&sender.attempt(slot, &request).await)
}

#[tokio::test]
async fn x07_an_unverified_connection_is_not_used_for_a_verified_request() {
    let receiver = Receiver::start_tls(Authority::new().certificate(&["127.0.0.1"]).server_config()).await;
    let (sender, url) = (sender(), receiver.url("/"));
    let mut slot = None;
    assert_eq!(attempt_verified(&sender, &mut slot, &url, false).await, None);
    assert!(slot.is_some(), "the connection is kept");
    assert_eq!(
        attempt_verified(&sender, &mut slot, &url, true).await,
        Some(ErrorClass::TlsUntrusted)
    );
    assert_eq!(receiver.request_count(), 1);
    assert!(slot.is_none());
}
