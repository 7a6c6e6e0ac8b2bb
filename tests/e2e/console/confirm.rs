//! Cancelling deliveries: the console asks first, shows their number, and does nothing before the user has confirmed.

use hookwright_proto::v1::{DeliveryState, ListDeliveriesRequest, TokenScope};
use hookwright_testkit::{Receiver, Response, until};

use super::{Reader, delivery_of, token};
use crate::support::{ACME, CLOCKING, Installation, On, id_of, on_both_stores};

const ACME_PAGES: &str = "/console/organizations/acme";

/// An installation with a webhook and `count` deliveries to it that are due for their second attempt.
async fn with_waiting(on: On, count: usize) -> (Installation, Receiver, String, Vec<String>) {
    let mut installation = Installation::start_with(on, |builder| builder.arg("--retry-delay", "1h")).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(|request| match request.header("TT-Hook-Event") {
        Some("ping") => Response::new(200),
        _ => Response::new(503),
    });
    let made = installation.webhook(&receiver, &["*"]).await;
    let mut deliveries = Vec::new();
    for _ in 0..count {
        let published = installation.publish("clocking", CLOCKING).await;
        let delivery = delivery_of(&mut installation, &published.event).await;
        let retrying = |delivery: &hookwright_proto::v1::Delivery| delivery.state() == DeliveryState::Retrying;
        installation.delivery_until(&delivery, retrying).await;
        deliveries.push(delivery);
    }
    (installation, receiver, id_of(&made.name).to_owned(), deliveries)
}

async fn cancelled(installation: &mut Installation) -> usize {
    let cancelled = ListDeliveriesRequest {
        parent: ACME.to_owned(),
        states: vec![DeliveryState::Cancelled.into()],
        ..ListDeliveriesRequest::default()
    };
    installation.deliveries(cancelled).await.len()
}

on_both_stores! {
    async fn pending_deliveries_are_counted_before_they_are_cancelled(on: On) {
        let (mut installation, _receiver, webhook, _) = with_waiting(on, 3).await;
        let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        let page = format!("{ACME_PAGES}/webhooks/{webhook}");
        let (asks, resume) = (format!("{page}/discard"), format!("{page}/resume"));
        assert_eq!(reader.get(&asks).await.header("location"), Some(page.as_str()), "it is active");
        assert_eq!(reader.post_from(&page, &format!("{page}/pause"), "").await.status, 303);
        assert!(reader.get(&page).await.text().contains(&format!("href=\"{asks}\"")));
        let asked = reader.get(&asks).await.text();
        assert!(asked.contains("cancels 3 pending deliveries"), "{asked}");
        let at_once = reader.post_from(&page, &resume, "backlog=discard").await;
        assert_eq!(at_once.header("location"), Some(asks.as_str()));
        assert_eq!(cancelled(&mut installation).await, 0);
        let done = reader.post_from(&asks, &resume, "backlog=discard&confirmed=yes").await;
        assert_eq!(done.header("location"), Some(format!("{page}?done=discarded").as_str()));
        assert_eq!(cancelled(&mut installation).await, 3);
    }

    async fn a_webhook_without_a_backlog_says_so(on: On) {
        let (installation, _receiver, webhook, _) = with_waiting(on, 0).await;
        let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        let page = format!("{ACME_PAGES}/webhooks/{webhook}");
        assert_eq!(reader.post_from(&page, &format!("{page}/pause"), "").await.status, 303);
        // The ping has arrived. Its outcome is stored a moment later.
        until("an empty backlog", async || {
            let asked = reader.get(&format!("{page}/discard")).await.text();
            if asked.contains("There is no backlog for") { Ok(()) } else { Err(asked) }
        })
        .await;
    }

    async fn a_delivery_is_ended_where_that_is_confirmed(on: On) {
        let (mut installation, _receiver, _, deliveries) = with_waiting(on, 2).await;
        let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        for (count, (name, title)) in [("cancel", "Cancel a delivery"), ("skip", "Skip a delivery")].iter().enumerate() {
            let page = format!("{ACME_PAGES}/deliveries/{}", id_of(&deliveries[count]));
            let asks = format!("{page}/{name}");
            assert!(reader.get(&page).await.text().contains(&format!("href=\"{asks}\"")), "{name}");
            assert!(reader.get(&asks).await.text().contains(title));
            let at_once = reader.post_from(&page, &asks, "").await;
            assert_eq!(at_once.header("location"), Some(asks.as_str()));
            assert_eq!(cancelled(&mut installation).await, count, "{name}");
            let done = reader.post_from(&asks, &asks, "confirmed=yes").await;
            assert_eq!(done.header("location"), Some(format!("{page}?done={name}").as_str()));
            assert_eq!(cancelled(&mut installation).await, count + 1, "{name}");
            assert_eq!(reader.get(&asks).await.header("location"), Some(page.as_str()), "no delivery is left to cancel");
        }
    }
}

#[tokio::test]
async fn no_form_is_shown_to_who_may_only_look() {
    let (mut installation, _receiver, webhook, deliveries) = with_waiting(On::Sqlite, 1).await;
    let admin = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let paused = format!("{ACME_PAGES}/webhooks/{webhook}");
    assert_eq!(
        admin.post_from(&paused, &format!("{paused}/pause"), "").await.status,
        303
    );
    let read = token(&mut installation, TokenScope::Read, "").await;
    let reader = Reader::sign_in(&installation, &read).await;
    for form in [
        "/webhooks/new".to_owned(),
        format!("/webhooks/{webhook}/edit"),
        format!("/webhooks/{webhook}/delete"),
        format!("/webhooks/{webhook}/discard"),
        format!("/deliveries/{}/cancel", id_of(&deliveries[0])),
        format!("/deliveries/{}/skip", id_of(&deliveries[0])),
        "/events/new".to_owned(),
        "/replays/new".to_owned(),
        "/portal-links".to_owned(),
        "/tokens".to_owned(),
        "/delete".to_owned(),
    ] {
        let answer = reader.get(&format!("{ACME_PAGES}{form}")).await;
        assert_eq!(answer.status, 403, "{form}: {}", answer.text());
    }
    for shown in [
        format!("/webhooks/{webhook}"),
        "/webhooks".to_owned(),
        "/replays".to_owned(),
    ] {
        let page = reader.get(&format!("{ACME_PAGES}{shown}")).await.text();
        // Signing out is a form, too.
        assert_eq!(page.matches("<form").count(), 1, "{shown}: {page}");
    }
}
