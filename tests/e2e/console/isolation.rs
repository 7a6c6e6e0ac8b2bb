//! Isolation of organizations: pages show nothing of another organization, and treat its resources as if they did not
//! exist.

use hookwright_proto::v1::{ReplayDeliveriesRequest, TokenScope};
use hookwright_testkit::{DEADLINE, Receiver};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{Reader, cookie_of, delivery_of, token};
use crate::support::{ACME, CLOCKING, Installation, On, event, id_of, on_both_stores, portal_link, webhook};

const ACME_PAGES: &str = "/console/organizations/acme";
/// A text that all of acme's resources contain, and none of globex's.
const MARK: &str = "acme-only";

/// The ids of acme's resources.
struct Theirs {
    webhook: String,
    event: String,
    delivery: String,
    replay: String,
    /// The token's name: `tokens/tok_…`.
    token: String,
}

impl Theirs {
    async fn start(installation: &mut Installation) -> Self {
        installation.register("shift.ended").await;
        let receiver = Receiver::start().await;
        let mut made = webhook(&receiver.url(&format!("/{MARK}")), &["*"]);
        made.description = MARK.to_owned();
        let made = installation.create_webhook(made).await.unwrap();
        let published = event("shift.ended", &format!(r#"{{"mark":"{MARK}"}}"#));
        let published = installation.try_publish(published).await.unwrap();
        let delivery = delivery_of(installation, &published.event).await;
        installation.delivered(&delivery).await;
        let replay = ReplayDeliveriesRequest {
            parent: ACME.to_owned(),
            dry_run: true,
            ..ReplayDeliveriesRequest::default()
        };
        let replay = installation
            .clients
            .replays
            .replay_deliveries(replay)
            .await
            .unwrap()
            .into_inner();
        let mut named = crate::support::token(TokenScope::Read, ACME);
        named.display_name = MARK.to_owned();
        Self {
            webhook: id_of(&made.name).to_owned(),
            event: id_of(&published.event).to_owned(),
            delivery: id_of(&delivery).to_owned(),
            replay: id_of(&replay.name).to_owned(),
            token: installation.clients.create_token(named).await.unwrap().name,
        }
    }

    /// The paths of their pages below an organization's path.
    fn pages(&self) -> Vec<String> {
        let Self {
            webhook,
            event,
            delivery,
            replay,
            ..
        } = self;
        [
            "",
            "/webhooks",
            "/webhooks/new",
            "/events",
            "/events/new",
            "/deliveries",
            "/deliveries/live",
            "/replays",
            "/replays/new",
            "/delete",
            "/tokens",
            "/audit",
            "/portal-links",
        ]
        .map(str::to_owned)
        .into_iter()
        .chain([
            format!("/webhooks/{webhook}"),
            format!("/webhooks/{webhook}/edit"),
            format!("/webhooks/{webhook}/delete"),
            format!("/events/{event}"),
            format!("/events/{event}/payload"),
            format!("/deliveries/{delivery}"),
            format!("/deliveries/{delivery}/attempts/1/response"),
            format!("/replays/{replay}"),
        ])
        .collect()
    }

    /// The paths of forms that change them.
    fn forms(&self) -> Vec<String> {
        let Self {
            webhook,
            delivery,
            replay,
            ..
        } = self;
        let mut forms = vec![
            "/webhooks".to_owned(),
            "/events/new".to_owned(),
            "/replays".to_owned(),
            "/delete".to_owned(),
            "/portal-links".to_owned(),
            "/portal-links/revoke".to_owned(),
        ];
        let of_webhook = [
            "edit",
            "delete",
            "pause",
            "resume",
            "ping",
            "rotate",
            "complete-rotation",
            "reveal",
        ];
        forms.extend(of_webhook.map(|action| format!("/webhooks/{webhook}/{action}")));
        forms.extend(["retry", "skip", "cancel", "replay"].map(|action| format!("/deliveries/{delivery}/{action}")));
        forms.push(format!("/replays/{replay}/cancel"));
        forms
    }
}

on_both_stores! {
    async fn c03_names_of_another_organization_look_unknown(on: On) {
        let mut installation = Installation::start(on).await;
        installation.create_organization("globex").await;
        let theirs = Theirs::start(&mut installation).await;
        let manage = token(&mut installation, TokenScope::Manage, "organizations/globex").await;
        let limited_admin = token(&mut installation, TokenScope::Admin, "organizations/globex").await;
        let readers = [
            (Reader::sign_in(&installation, &manage).await, "/console"),
            (Reader::sign_in(&installation, &limited_admin).await, "/console"),
            (customer(&mut installation).await, "/portal"),
        ];
        for (reader, root) in &readers {
            for page in theirs.pages() {
                // Their organization, an organization that does not exist, and their resources below the reader's own
                // organization.
                let theirs = reader.get(&format!("{root}/organizations/acme{page}")).await;
                let nobodys = reader.get(&format!("{root}/organizations/nobody{page}")).await;
                assert_eq!((theirs.status, nobodys.status), (404, 404), "{root} {page}");
                assert_eq!(plain(&theirs.text()), plain(&nobodys.text()), "{root} {page}");
                if page.ends_with("/live") {
                    continue;
                }
                let own = reader.get(&format!("{root}/organizations/globex{page}")).await;
                assert!(!own.text().contains(MARK) && !own.text().contains("acme"), "{root} {page}:\n{}", own.text());
            }
            for form in theirs.forms() {
                let page = format!("{root}/organizations/globex");
                for organization in ["acme", "globex"] {
                    let path = format!("{root}/organizations/{organization}{form}");
                    if organization == "globex" && !form.contains('_') {
                        continue;
                    }
                    let answer = reader.post_from(&page, &path, "confirmed=yes&confirmation=acme&overlap=1d&backlog=send").await;
                    assert_eq!(answer.status, 404, "{path}: {}", answer.text());
                }
            }
            // Tokens are created and revoked at a path of the installation.
            for (path, fields) in [
                (format!("{root}/tokens"), "display_name=x&scope=manage&organization=acme"),
                (format!("{root}/{}/revoke", theirs.token), "confirmed=yes"),
            ] {
                let answer = reader.post_from(&format!("{root}/organizations/globex"), &path, fields).await;
                assert!(matches!(answer.status, 403 | 404 | 405 | 422), "{path}: {}", answer.status);
            }
            // In the portal these are links that do not open.
            let nothing = if *root == "/portal" { 401 } else { 404 };
            for installations in ["tokens", "audit", "settings", "failing-webhooks"] {
                assert_eq!(reader.get(&format!("{root}/{installations}")).await.status, nothing, "{root} {installations}");
            }
            for led_on in ["", "organizations"] {
                let answer = reader.get(&format!("{root}/{led_on}")).await;
                assert!(matches!(answer.status, 303 | 307 | 401), "{root} {led_on}: {}", answer.status);
                assert!(!answer.text().contains("acme"), "{root} {led_on}");
            }
            let types = reader.get(&format!("{root}/event-types/clocking")).await;
            assert_eq!(types.status, 200);
            assert!(!types.text().contains(MARK), "the page of a type shows the reader's own subscriptions only");
        }
        // The attempts changed nothing.
        let admin = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        let webhook = admin.get(&format!("{ACME_PAGES}/webhooks/{}", theirs.webhook)).await.text();
        assert!(webhook.contains(MARK) && webhook.contains("active"), "{webhook}");
        let log = admin.get(&format!("{ACME_PAGES}/audit")).await.text();
        for action in ["webhook.update", "webhook.rotate_secret", "webhook.reveal_secret", "webhook.delete", "delivery.", "token.revoke", "portal_link."] {
            assert!(!log.contains(action), "{action}");
        }
    }

    async fn an_event_type_of_others_is_on_no_page(on: On) {
        let mut installation = Installation::start(on).await;
        installation.create_organization("globex").await;
        let hidden = hookwright_proto::v1::EventType { visible_to: vec![ACME.to_owned()], ..Default::default() };
        installation.register_as(MARK, hidden).await;
        let manage = token(&mut installation, TokenScope::Manage, "organizations/globex").await;
        let readers = [
            (Reader::sign_in(&installation, &manage).await, "/console"),
            (customer(&mut installation).await, "/portal"),
        ];
        for (reader, root) in &readers {
            for page in ["event-types", "organizations/globex/webhooks/new"] {
                let shown = reader.get(&format!("{root}/{page}")).await;
                assert_eq!(shown.status, 200, "{root}/{page}");
                assert!(shown.text().contains("clocking") && !shown.text().contains(MARK), "{root}/{page}");
            }
            assert_eq!(reader.get(&format!("{root}/event-types/{MARK}")).await.status, 404);
        }
        // An operator sees what the organization of the page does.
        let admin = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        for (organization, seen) in [("acme", true), ("globex", false)] {
            for page in ["webhooks/new", "events/new"] {
                let shown = admin.get(&format!("/console/organizations/{organization}/{page}")).await.text();
                assert_eq!(shown.contains(MARK), seen, "{organization}/{page}");
            }
        }
        let shown = admin.get(&format!("/console/event-types/{MARK}")).await.text();
        assert!(shown.contains("Visible to"), "{shown}");
    }

    async fn a_live_list_shows_only_its_own_organization(on: On) {
        let mut installation = Installation::start(on).await;
        installation.create_organization("globex").await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["*"]).await;
        let manage = token(&mut installation, TokenScope::Manage, "organizations/globex").await;
        let reader = Reader::sign_in(&installation, &manage).await;
        let mut stream = TcpStream::connect(&reader.address).await.unwrap();
        let head = format!(
            "GET /console/organizations/globex/deliveries/live HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
            reader.address, reader.cookie
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut told = until(&mut stream, "event: begun").await;
        installation.publish("clocking", CLOCKING).await;
        // An event of the reader's own organization follows.
        let own = Receiver::start().await;
        let request = hookwright_proto::v1::CreateWebhookRequest {
            parent: "organizations/globex".to_owned(),
            webhook: Some(webhook(&own.url("/own"), &["*"])),
        };
        installation.clients.webhooks.create_webhook(request).await.unwrap();
        told.push_str(&until(&mut stream, "/own").await);
        assert!(told.contains("ping"), "{told}");
        assert!(!told.contains("clocking") && !told.contains("acme"), "{told}");
        assert_eq!(told.matches("event: delivery").count(), told.matches("/own").count(), "{told}");
    }
}

/// A customer who opened a portal link of globex.
async fn customer(installation: &mut Installation) -> Reader {
    let link = installation
        .clients
        .create_portal_link(portal_link("organizations/globex"))
        .await
        .unwrap();
    let address = installation.server.http_address().to_owned();
    let path = link.url.strip_prefix(&format!("http://{address}")).unwrap();
    let opened = hookwright_testkit::http::request(&address, "GET", path, &[], b"")
        .await
        .unwrap();
    assert_eq!(
        opened.header("location"),
        Some("/portal/organizations/globex"),
        "{}",
        opened.text()
    );
    Reader {
        cookie: cookie_of(&opened),
        address,
    }
}

/// A page without the parts that differ between two equal pages.
fn plain(page: &str) -> String {
    let mut rest = page;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once("value=\"") {
        plain.push_str(before);
        rest = after.split_once('"').unwrap().1;
    }
    plain + rest
}

async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let look = async {
        while !String::from_utf8_lossy(&read).contains(text) {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the stream ended");
        }
    };
    if timeout(DEADLINE, look).await.is_err() {
        panic!("`{text}` did not come: {}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).unwrap()
}
