//! An installation that has content for every page.

use hookwright_proto::v1::{
    CreateOrganizationRequest, CreatePortalLinkRequest, EventType, ListDeliveriesRequest, Organization,
    QueryDeliveryStatsRequest, StatsPeriod, Token, TokenScope, Webhook,
};
use hookwright_testkit::{Receiver, Response, until};

use super::super::Reader;
use crate::support::{ACME, Installation, On, event, id_of, portal_link, token, webhook};

const SCHEMA: &str = r#"{"type":"object","required":["order"],"properties":{"order":{"type":"string"},"total":{"type":"number","minimum":0},"region":{"enum":["eu","us"]}}}"#;
const EXAMPLE: &str = r#"{"order":"A-17","total":129.5,"region":"eu"}"#;

pub(super) struct Installed {
    pub(super) installation: Installation,
    pages: Vec<(&'static str, String)>,
    /// A customer's portal link.
    pub(super) portal: String,
    _receivers: [Receiver; 2],
}

impl Installed {
    pub(super) async fn start(on: On) -> Self {
        let settings = |builder: hookwright_testkit::TestServerBuilder| builder.arg("--retry-delay", "1s,1s");
        let mut installation = Installation::start_with(on, settings).await;
        organizations_and_types(&mut installation).await;
        let (good, bad) = (Receiver::start().await, Receiver::start().await);
        bad.answer_with(|request| match request.header("TT-Hook-Event") {
            Some("ping") => Response::new(200),
            _ => Response::new(503).body("{\"error\":\"the database is down for maintenance\"}"),
        });
        let all = Webhook {
            description: "The shop's own system".to_owned(),
            ..webhook(&good.url("/hooks/orders"), &["*"])
        };
        let all = installation.create_webhook(all).await.unwrap();
        let failing = Webhook {
            description: "Warehouse, large orders".to_owned(),
            filter: "payload.total > 100".to_owned(),
            ..webhook(&bad.url("/warehouse"), &["order.paid", "order.sent"])
        };
        let failing = installation.create_webhook(failing).await.unwrap();
        let paused = Webhook {
            description: "Old accounting".to_owned(),
            active: Some(false),
            ..webhook(&good.url("/accounting/v1"), &["order.returned"])
        };
        let paused = installation.create_webhook(paused).await.unwrap();
        let first = publish(&mut installation).await;
        let failed = failed_delivery(&mut installation, &failing).await;
        counted(&mut installation).await;
        let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        let counted = replay(&reader, "what=made&intent=count").await;
        // A webhook that missed all of it, to which a slow replay sends it.
        let late = Webhook {
            description: "Reports".to_owned(),
            ..webhook(&good.url("/reports"), &["order.sent"])
        };
        let late = installation.create_webhook(late).await.unwrap();
        let missed = format!("what=missed&webhook={}&rate=0.01&intent=replay", id_of(&late.name));
        let missed = replay(&reader, &missed).await;
        let token = unused_token(&mut installation).await;
        let portal = portal(&mut installation).await;
        let pages = Ids {
            all,
            failing,
            paused,
            event: first,
            delivery: failed,
            token,
        }
        .pages(counted, missed);
        Self {
            installation,
            pages,
            portal,
            _receivers: [good, bad],
        }
    }

    /// Names and paths: pages of the console, and pages that a customer sees.
    pub(super) fn pages(&self) -> Vec<(&'static str, String)> {
        self.pages.clone()
    }

    pub(super) fn path(&self, name: &str) -> String {
        let page = self.pages.iter().find(|(known, _)| *known == name);
        page.unwrap().1.clone()
    }
}

/// The ids in the paths of pages.
struct Ids {
    all: Webhook,
    failing: Webhook,
    paused: Webhook,
    event: String,
    delivery: String,
    token: String,
}

impl Ids {
    fn pages(&self, counted: String, missed: String) -> Vec<(&'static str, String)> {
        let (console, portal) = ("/console/organizations/acme", "/portal/organizations/acme");
        let Self {
            event, delivery, token, ..
        } = self;
        let [all, failing, paused] = [&self.all, &self.failing, &self.paused].map(|webhook| id_of(&webhook.name));
        vec![
            ("overview", "/console/".to_owned()),
            ("failing-webhooks", "/console/failing-webhooks".to_owned()),
            ("organizations", "/console/organizations".to_owned()),
            ("organization", console.to_owned()),
            ("organization-empty", "/console/organizations/globex".to_owned()),
            ("organization-delete", format!("{console}/delete")),
            ("webhooks", format!("{console}/webhooks")),
            ("webhook", format!("{console}/webhooks/{failing}")),
            ("webhook-new", format!("{console}/webhooks/new")),
            ("webhook-edit", format!("{console}/webhooks/{all}/edit")),
            ("webhook-delete", format!("{console}/webhooks/{all}/delete")),
            ("webhook-discard", format!("{console}/webhooks/{paused}/discard")),
            ("events", format!("{console}/events")),
            ("events-empty", "/console/organizations/globex/events".to_owned()),
            ("event", format!("{console}/events/{event}")),
            ("publish", format!("{console}/events/new?event_type=order.paid")),
            ("deliveries", format!("{console}/deliveries")),
            (
                "deliveries-none",
                format!("{console}/deliveries?state=paused&start=2020-01-01T00:00"),
            ),
            ("delivery", format!("{console}/deliveries/{delivery}")),
            ("replays", format!("{console}/replays")),
            ("replay-new", format!("{console}/replays/new")),
            ("replay", counted),
            ("replay-missed", missed),
            ("event-types", "/console/event-types".to_owned()),
            ("event-type", "/console/event-types/order.paid".to_owned()),
            ("tokens", "/console/tokens".to_owned()),
            ("organization-tokens", format!("{console}/tokens")),
            ("token-revoke", format!("/console/{token}/revoke")),
            ("portal-links", format!("{console}/portal-links")),
            ("audit", format!("{console}/audit")),
            ("settings", "/console/settings".to_owned()),
            ("not-found", "/console/nothing".to_owned()),
            ("portal", portal.to_owned()),
            ("portal-webhook", format!("{portal}/webhooks/{failing}")),
            ("portal-webhook-new", format!("{portal}/webhooks/new")),
            ("portal-event", format!("{portal}/events/{event}")),
            ("portal-delivery", format!("{portal}/deliveries/{delivery}")),
            ("portal-event-types", "/portal/event-types".to_owned()),
            ("portal-not-found", format!("{portal}/nothing")),
        ]
    }
}

async fn organizations_and_types(installation: &mut Installation) {
    let request = CreateOrganizationRequest {
        organization_id: "globex".to_owned(),
        organization: Some(Organization {
            display_name: "Globex Corporation".to_owned(),
            ..Organization::default()
        }),
    };
    installation
        .clients
        .organizations
        .create_organization(request)
        .await
        .unwrap();
    for (name, description) in [
        ("order.paid", "An order was paid in full"),
        ("order.sent", "A parcel of an order left the warehouse"),
        ("order.returned", "A parcel came back"),
    ] {
        let event_type = EventType {
            description: description.to_owned(),
            json_schema: SCHEMA.to_owned(),
            example: EXAMPLE.to_owned(),
            ..EventType::default()
        };
        installation.register_as(name, event_type).await;
    }
}

/// Publishes some events, and returns the id of one.
async fn publish(installation: &mut Installation) -> String {
    let mut first = String::new();
    for (number, event_type) in ["order.paid", "order.sent", "order.returned"]
        .iter()
        .cycle()
        .take(8)
        .enumerate()
    {
        let json = format!(r#"{{"order":"A-{number}","total":{},"region":"eu"}}"#, 40 * number);
        let mut event = event(event_type, &json);
        event.attributes.insert("region".to_owned(), "eu".to_owned());
        event.ordering_key = format!("A-{number}");
        let published = installation.try_publish(event).await.unwrap();
        // One event that is owed to both webhooks.
        if number == 3 {
            id_of(&published.event).clone_into(&mut first);
        }
    }
    first
}

/// A delivery that has failed permanently.
async fn failed_delivery(installation: &mut Installation, webhook: &Webhook) -> String {
    let request = ListDeliveriesRequest {
        parent: ACME.to_owned(),
        webhook: webhook.name.clone(),
        event_type: "order.paid".to_owned(),
        ..ListDeliveriesRequest::default()
    };
    let listed = installation.clients.deliveries.list_deliveries(request).await.unwrap();
    let delivery = listed.into_inner().deliveries.pop().expect("it is owed").name;
    let is_final = |delivery: &hookwright_proto::v1::Delivery| delivery.attempt_count == 3;
    installation.delivery_until(&delivery, is_final).await;
    id_of(&delivery).to_owned()
}

/// Waits until the statistics include the deliveries. The server stores statistics every few seconds.
async fn counted(installation: &mut Installation) {
    until("statistics that include the deliveries", async || {
        let request = QueryDeliveryStatsRequest {
            name: ACME.to_owned(),
            period: StatsPeriod::Minute.into(),
            ..QueryDeliveryStatsRequest::default()
        };
        let stats = installation
            .clients
            .deliveries
            .query_delivery_stats(request)
            .await
            .unwrap();
        match stats.into_inner().total {
            Some(total) if total.delivered_count >= 8 && total.failed_count > 0 => Ok(()),
            total => Err(format!("{total:#?}")),
        }
    })
    .await;
}

/// Begins a replay through the console, and returns its page.
async fn replay(reader: &Reader, fields: &str) -> String {
    let replays = "/console/organizations/acme/replays";
    let begun = reader.post_from(&format!("{replays}/new"), replays, fields).await;
    assert_eq!(begun.status, 303, "{}", begun.text());
    begun.header("location").unwrap().to_owned()
}

/// Creates a token that was never used, and returns its name.
async fn unused_token(installation: &mut Installation) -> String {
    let token = Token {
        display_name: "billing service".to_owned(),
        ..token(TokenScope::Publish, ACME)
    };
    installation.clients.create_token(token).await.unwrap().name
}

async fn portal(installation: &mut Installation) -> String {
    let request = CreatePortalLinkRequest {
        return_url: "https://shop.example/settings".to_owned(),
        ..portal_link(ACME)
    };
    installation.clients.create_portal_link(request).await.unwrap().url
}
