//! Forms that are sent twice, by a second click or by a browser that did not wait, are processed once; and one rotation
//! does not cut another one short.

use hookwright_testkit::{HttpResponse, Receiver};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Reader, delivery_of, form_token};
use crate::support::{CLOCKING, Installation, On, id_of, on_both_stores};

const ACME_PAGES: &str = "/console/organizations/acme";

/// A form, and the audit action that it causes.
struct Form {
    page: String,
    path: String,
    fields: String,
    action: &'static str,
}

impl Form {
    fn new(page: &str, path: &str, fields: &str, action: &'static str) -> Self {
        Self {
            page: page.to_owned(),
            path: path.to_owned(),
            fields: fields.to_owned(),
            action,
        }
    }

    /// The body that the form sends.
    async fn body(&self, reader: &Reader, nonce: &str) -> String {
        let page = reader.get(&self.page).await.text();
        let form_token = form_token(&page).unwrap_or_else(|| panic!("{} has a form", self.page));
        format!("form_token={form_token}&nonce={nonce}&{}", self.fields)
    }

    async fn send(&self, reader: &Reader, body: &str) -> HttpResponse {
        reader.post(&self.path, body, &reader.origin()).await
    }

    /// The number of audit entries of the action.
    async fn count(&self, reader: &Reader) -> usize {
        let log = reader.get(&format!("/console/audit?action={}", self.action)).await;
        log.text().matches(&format!(">{}</td>", self.action)).count()
    }
}

/// The status, the redirect and the cookie of an answer.
fn lead(answer: &HttpResponse) -> (u16, Option<&str>, Option<&str>) {
    (answer.status, answer.header("location"), answer.header("set-cookie"))
}

/// All forms that create something, and those that lose something if they are processed twice.
fn forms(receiver: &Receiver, webhook: &str, delivery: &str) -> Vec<Form> {
    let url = receiver.url("/second").replace(':', "%3A").replace('/', "%2F");
    let install = format!("payload_url={url}&event=*&timeout=10s&active=yes&intent=save");
    let webhooks = format!("{ACME_PAGES}/webhooks");
    let page = format!("{webhooks}/{webhook}");
    let (links, replays) = (format!("{ACME_PAGES}/portal-links"), format!("{ACME_PAGES}/replays"));
    let of_delivery = format!("{ACME_PAGES}/deliveries/{delivery}");
    vec![
        Form::new(
            "/console/organizations",
            "/console/organizations",
            "name=globex",
            "organization.create",
        ),
        Form::new(&format!("{webhooks}/new"), &webhooks, &install, "webhook.create"),
        Form::new(&page, &format!("{page}/rotate"), "overlap=1d", "webhook.rotate_secret"),
        Form::new(&page, &format!("{page}/reveal"), "", "webhook.reveal_secret"),
        Form::new(
            "/console/tokens",
            "/console/tokens",
            "display_name=billing&scope=read",
            "token.create",
        ),
        Form::new(&links, &links, "ttl=1h", "portal_link.create"),
        Form::new(
            &format!("{replays}/new"),
            &replays,
            "what=made&intent=count",
            "replay.create",
        ),
        Form::new(&of_delivery, &format!("{of_delivery}/replay"), "", "delivery.replay"),
        Form::new(
            &page,
            &format!("{page}/complete-rotation"),
            "",
            "webhook.complete_rotation",
        ),
        Form::new(
            &format!("{page}/delete"),
            &format!("{page}/delete"),
            "confirmed=yes",
            "webhook.delete",
        ),
    ]
}

on_both_stores! {
    async fn any_form_sent_twice_at_once_is_done_once(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let made = installation.webhook(&receiver, &["*"]).await;
        let published = installation.publish("clocking", CLOCKING).await;
        let delivery = delivery_of(&mut installation, &published.event).await;
        installation.delivered(&delivery).await;
        let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        for form in forms(&receiver, id_of(&made.name), id_of(&delivery)) {
            let path = &form.path;
            let before = form.count(&reader).await;
            let body = form.body(&reader, "a").await;
            let (first, second) = tokio::join!(form.send(&reader, &body), form.send(&reader, &body));
            assert_eq!(first.status, 303, "{path}: {}", first.text());
            assert_eq!(lead(&first), lead(&second), "{path}");
            assert_eq!(lead(&first), lead(&form.send(&reader, &body).await), "{path}, later");
            assert_eq!(form.count(&reader).await, before + 1, "{path}");
        }
    }
}

#[tokio::test]
async fn a_form_is_done_once_where_the_browser_did_not_wait() {
    let mut installation = Installation::start(On::Sqlite).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let made = installation.webhook(&Receiver::start().await, &["*"]).await;
    let page = format!("{ACME_PAGES}/webhooks/{}", id_of(&made.name));
    let rotate = Form::new(&page, &format!("{page}/rotate"), "overlap=1d", "webhook.rotate_secret");
    for nonce in 0..10 {
        // Each rotation ends the previous one.
        let body = rotate.body(&reader, &nonce.to_string()).await + "&ends_older=yes";
        let mut left = TcpStream::connect(&reader.address).await.unwrap();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nOrigin: {}\r\nContent-Length: {}\r\n\r\n",
            rotate.path,
            reader.address,
            reader.cookie,
            reader.origin(),
            body.len()
        );
        left.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        drop(left);
        let answer = rotate.send(&reader, &body).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        assert_eq!(rotate.count(&reader).await, nonce + 1);
    }
}

#[tokio::test]
async fn large_forms_that_do_not_arrive_keep_no_small_ones_out() {
    let mut installation = Installation::start(On::Sqlite).await;
    let made = installation.webhook(&Receiver::start().await, &["*"]).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let page = format!("{ACME_PAGES}/webhooks/{}", id_of(&made.name));
    let reveal = Form::new(&page, &format!("{page}/reveal"), "", "webhook.reveal_secret");
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nOrigin: {}\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n",
        reveal.path,
        reader.address,
        reader.cookie,
        reader.origin(),
    );
    let mut held = Vec::new();
    for expected in ["100 ", "100 ", "100 ", "100 ", "429 "] {
        let mut slow = TcpStream::connect(&reader.address).await.unwrap();
        slow.write_all(head.as_bytes()).await.unwrap();
        let mut told = [0; 13];
        slow.read_exact(&mut told).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&told), format!("HTTP/1.1 {expected}"));
        held.push(slow);
    }
    let body = reveal.body(&reader, "a").await;
    assert_eq!(reveal.send(&reader, &body).await.status, 303);
}

#[tokio::test]
async fn a_different_form_is_done() {
    let mut installation = Installation::start(On::Sqlite).await;
    let made = installation.webhook(&Receiver::start().await, &["*"]).await;
    let token = installation.server.token().unwrap();
    let page = format!("{ACME_PAGES}/webhooks/{}", id_of(&made.name));
    let reveal = Form::new(&page, &format!("{page}/reveal"), "", "webhook.reveal_secret");
    let reader = Reader::sign_in(&installation, &token).await;
    let body = reveal.body(&reader, "a").await;
    reveal.send(&reader, &body).await;
    // Another nonce, another session and another content, each sent twice. The form without a nonce follows below.
    let other = Reader::sign_in(&installation, &token).await;
    let renewed = reveal.body(&reader, "b").await;
    let more = format!("{body}&more=1");
    for (who, body) in [(&reader, &renewed), (&other, &body), (&reader, &more)] {
        for _ in 0..2 {
            assert_eq!(reveal.send(who, body).await.status, 303);
        }
    }
    assert_eq!(reveal.count(&reader).await, 4);
    let without = reveal.body(&reader, "").await;
    for _ in 0..2 {
        assert_eq!(reveal.send(&reader, &without).await.status, 303);
    }
    assert_eq!(reveal.count(&reader).await, 6);
    // Another page of the console may use the same nonce for its own form.
    let pause = Form::new(&page, &format!("{page}/pause"), "", "webhook.update");
    let paused = pause.send(&reader, &body).await;
    assert_eq!(paused.header("location"), Some(format!("{page}?done=paused").as_str()));
}

#[tokio::test]
async fn a_form_that_was_not_accepted_is_checked_again() {
    let mut installation = Installation::start(On::Sqlite).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let form = Form::new(
        &format!("{ACME_PAGES}/events/new"),
        &format!("{ACME_PAGES}/events/new"),
        "event_type=shift.ended&payload=%7B%7D",
        "",
    );
    let body = form.body(&reader, "a").await;
    let (first, second) = tokio::join!(form.send(&reader, &body), form.send(&reader, &body));
    for refused in [first, second] {
        assert_eq!(refused.status, 422, "{}", refused.text());
        let text = refused.text();
        assert!(
            text.contains("Is not registered") && !text.contains("name=\"nonce\" value=\"a\""),
            "{text}"
        );
    }
    installation.register("shift.ended").await;
    assert_eq!(form.send(&reader, &body).await.status, 303);
}

on_both_stores! {
    async fn a_rotation_cuts_another_one_short_only_where_that_is_confirmed(on: On) {
        let mut installation = Installation::start(on).await;
        let made = installation.webhook(&Receiver::start().await, &["*"]).await;
        let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        let page = format!("{ACME_PAGES}/webhooks/{}", id_of(&made.name));
        let rotate = Form::new(&page, &format!("{page}/rotate"), "overlap=1d", "webhook.rotate_secret");
        assert!(!reader.get(&page).await.text().contains("ends_older"));
        // Both forms begin at the same time, as on two nodes: neither knows of the other.
        let (one, other) = (rotate.body(&reader, "a").await, rotate.body(&reader, "b").await);
        let (one, other) = tokio::join!(rotate.send(&reader, &one), rotate.send(&reader, &other));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [303, 422]);
        let refused = if one.status == 422 { one } else { other };
        let text = refused.text();
        assert!(text.contains("tick the box to end the older secret now") && text.contains(&format!("data-address=\"{page}\"")), "{text}");
        assert_eq!(rotate.count(&reader).await, 1);
        assert!(reader.get(&page).await.text().contains("name=\"ends_older\""));
        let list = reader.get(&format!("{ACME_PAGES}/webhooks")).await.text();
        assert!(list.contains("<span class=\"tag\">rotation</span> until <time"), "{list}");
        let confirmed = rotate.body(&reader, "c").await + "&ends_older=yes";
        assert_eq!(rotate.send(&reader, &confirmed).await.status, 303);
        assert_eq!(rotate.count(&reader).await, 2);
    }
}
