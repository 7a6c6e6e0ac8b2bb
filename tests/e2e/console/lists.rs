//! Lists: paging in both directions, finding resources by name, the actors and resources that the audit log names, and
//! the targets of forms.

use hookwright_proto::v1::{
    CreateWebhookRequest, ListEventTypesRequest, ListOrganizationsRequest, RevokeTokenRequest, Token, TokenScope,
    token::Expiration,
};
use hookwright_testkit::{Receiver, http};
use prost_types::Timestamp;
use tonic::Code;

use super::{Reader, portal::customer};
use crate::support::{ACME, Clients, Installation, On, id_of, on_both_stores, token, webhook};

const PAGES: &str = "/console/organizations/acme";

async fn admin(installation: &Installation) -> Reader {
    Reader::sign_in(installation, &installation.server.token().unwrap()).await
}

async fn named_token(installation: &mut Installation, display_name: &str, expire_time: Option<Timestamp>) -> Token {
    let token = Token {
        display_name: display_name.to_owned(),
        expiration: expire_time.map(Expiration::ExpireTime),
        ..token(TokenScope::Manage, ACME)
    };
    installation.clients.create_token(token).await.unwrap()
}

on_both_stores! {
    async fn the_audit_log_names_who_and_leads_to_what(on: On) {
        let mut installation = Installation::start(on).await;
        let address = installation.server.grpc_address().to_owned();
        let receiver = Receiver::start().await;
        let soon = Timestamp { seconds: 4_000_000_000, nanos: 0 };
        let token = named_token(&mut installation, "billing & service", Some(soon)).await;
        let mut theirs = Clients::connect(&address, &token.secret).await;
        let request = CreateWebhookRequest {
            parent: ACME.to_owned(),
            webhook: Some(webhook(&receiver.url("/"), &["clocking"])),
        };
        let made = theirs.webhooks.create_webhook(request).await.unwrap().into_inner();
        let request = RevokeTokenRequest { name: token.name.clone() };
        installation.clients.tokens.revoke_token(request).await.unwrap();

        let reader = admin(&installation).await;
        for log in ["/console/audit".to_owned(), format!("{PAGES}/audit")] {
            let (id, webhook) = (id_of(&token.name), id_of(&made.name));
            let shown = reader.get(&format!("{log}?actor={}", token.name)).await.text();
            assert!(shown.contains(&format!("href=\"{log}?actor={id}\">billing &#38; service</a>")), "{shown}");
            assert!(shown.contains(&format!("href=\"{PAGES}/webhooks/{webhook}\">{}</a>", made.name)), "{shown}");
            let created = reader.get(&format!("{log}?action=token.create")).await.text();
            assert!(created.contains(">expire_time</span> <time datetime=\"2096-10-02T07:06:40.000Z\""), "{created}");
            assert!(created.contains(&format!("href=\"{log}?actor={id}\">{}</a>", token.name)), "{created}");
            let wrong = reader.get(&format!("{log}?actor=tok_typo&action={}", "a".repeat(101))).await.text();
            assert!(wrong.contains("id=\"actor-error\"") && wrong.contains("id=\"action-error\""), "{wrong}");
        }
        let customer = customer(&mut installation, false).await;
        let page = format!("/portal/organizations/acme/webhooks/{}", id_of(&made.name));
        assert_eq!(customer.post_from(&page, &format!("{page}/pause"), "").await.status, 303);
        let shown = reader.get(&format!("{PAGES}/audit?action=webhook.")).await.text();
        assert!(shown.contains(">Portal link</a>"), "{shown}");
    }
}

#[tokio::test]
async fn a_place_that_means_nothing_is_said_by_every_list() {
    let installation = Installation::start(On::Sqlite).await;
    let reader = admin(&installation).await;
    for list in [
        "/console/tokens?before=x",
        "/console/audit?before=x",
        "/console/organizations/acme/audit?before=x",
        "/console/organizations/acme/events?before=x",
        "/console/organizations/acme/deliveries?before=x",
        "/console/organizations/acme/replays?before=x",
        "/console/organizations/acme/webhooks?after=x",
        "/console/event-types/clocking?after=x",
    ] {
        let shown = reader.get(list).await.text();
        assert!(
            shown.contains("does not name a position in this list"),
            "{list}: {shown}"
        );
        assert!(
            shown.contains(">Back to newest</a>") || shown.contains(">First page</a>"),
            "{list}: {shown}"
        );
    }
    let filtered = reader
        .get("/console/organizations/acme/deliveries?state=failed")
        .await
        .text();
    assert!(
        !filtered.contains(">Back to newest</a>"),
        "this is the first page: {filtered}"
    );
}

#[tokio::test]
async fn names_are_found_by_prefix_page_by_page() {
    let mut installation = Installation::start(On::Sqlite).await;
    for number in 0..51 {
        installation.create_organization(&format!("shop-{number:02}")).await;
        installation.register(&format!("order.n{number:02}")).await;
    }
    beginnings_over_the_api(&mut installation).await;
    let reader = admin(&installation).await;
    for (list, prefix, first, last, other) in [
        ("/console/organizations", "shop-", "/shop-00\"", "/shop-50\"", "/acme\""),
        (
            "/console/event-types",
            "order.",
            "/order.n00\"",
            "/order.n50\"",
            "/clocking\"",
        ),
    ] {
        let page = reader.get(&format!("{list}?prefix={prefix}")).await.text();
        assert!(
            page.contains(first) && !page.contains(last) && !page.contains(other),
            "{page}"
        );
        assert!(
            page.contains(">Next page</a>") && !page.contains(">First page</a>"),
            "{page}"
        );
        let (before, _) = page.split_once("\" rel=\"next\"").unwrap();
        let (_, next) = before.rsplit_once("href=\"").unwrap();
        let page = reader.get(&next.replace("&#38;", "&")).await.text();
        assert!(page.contains(last) && !page.contains(first), "{page}");
        let back = format!("href=\"{list}?prefix={prefix}\">First page</a>");
        assert!(page.contains(&back), "{back} is not in {page}");
        let none = reader.get(&format!("{list}?prefix=none")).await.text();
        assert!(
            none.contains("begins with that") && !none.contains("hookwright "),
            "{none}"
        );
        let wrong = reader.get(&format!("{list}?prefix=%00")).await.text();
        assert!(wrong.contains("id=\"prefix-error\""), "{wrong}");
    }
}

async fn beginnings_over_the_api(installation: &mut Installation) {
    let organizations = &mut installation.clients.organizations;
    let all = ListOrganizationsRequest {
        organization_id_prefix: "shop-".to_owned(),
        page_size: 50,
        ..ListOrganizationsRequest::default()
    };
    let page = organizations
        .list_organizations(all.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.organizations.len(), 50);
    let rest = ListOrganizationsRequest {
        page_token: page.next_page_token,
        ..all
    };
    let other = ListOrganizationsRequest {
        organization_id_prefix: "s".to_owned(),
        ..rest.clone()
    };
    let refused = organizations.list_organizations(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let page = organizations.list_organizations(rest).await.unwrap().into_inner();
    let names: Vec<_> = page.organizations.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(
        (names, page.next_page_token.as_str()),
        (vec!["organizations/shop-50"], "")
    );
    let some = ListEventTypesRequest {
        event_type_id_prefix: "order.n5".to_owned(),
        ..ListEventTypesRequest::default()
    };
    let page = installation
        .clients
        .event_types
        .list_event_types(some)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.event_types.len(), 1);
    let long = ListEventTypesRequest {
        event_type_id_prefix: "o".repeat(129),
        ..ListEventTypesRequest::default()
    };
    let refused = installation
        .clients
        .event_types
        .list_event_types(long)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}

#[tokio::test]
async fn an_organizations_tokens_stay_its_own_through_forms() {
    let mut installation = Installation::start(On::Sqlite).await;
    let list = format!("{PAGES}/tokens");
    let mut last = None;
    for _ in 0..51 {
        last = Some(named_token(&mut installation, "billing service", None).await);
    }
    let id = id_of(&last.unwrap().name).to_owned();
    let reader = admin(&installation).await;
    let form = "organization=acme&display_name=&scope=read&ttl=";
    let wrong = reader.post_from(&list, "/console/tokens", form).await;
    assert_eq!(wrong.status, 422);
    let wrong = wrong.text();
    assert!(
        wrong.contains(&format!("href=\"{list}?before=")),
        "the page links to its own list: {wrong}"
    );
    let revoke = format!("/console/tokens/{id}/revoke");
    assert!(
        wrong.contains(&format!("href=\"{revoke}?organization=acme\"")),
        "{wrong}"
    );
    let asked = reader.get(&format!("{revoke}?organization=acme")).await.text();
    assert!(asked.contains(&format!("href=\"{list}\">Cancel</a>")), "{asked}");
    let revoked = reader.post_from(&list, &revoke, "organization=acme").await;
    assert_eq!(
        revoked.header("location"),
        Some(format!("{list}?done=revoked").as_str())
    );
}

#[tokio::test]
async fn a_replay_tells_its_times_in_the_readers_zone() {
    let installation = Installation::start(On::Sqlite).await;
    let reader = admin(&installation).await;
    let replays = format!("{PAGES}/replays");
    let form = "what=made&intent=count&start=2026-01-31T12:00:00";
    let begun = reader.post_from(&format!("{replays}/new"), &replays, form).await;
    assert_eq!(begun.status, 303, "{}", begun.text());
    for page in [begun.header("location").unwrap(), &replays] {
        let shown = reader.get(page).await.text();
        assert!(
            shown.contains(" from <time datetime=\"2026-01-31T12:00:00.000Z\""),
            "{shown}"
        );
    }
    let wrong = "what=made&intent=count&start=2026-01-31T12:00:00&end=2026-01-30T12:00:00";
    let wrong = reader
        .post_from(&format!("{replays}/new"), &replays, wrong)
        .await
        .text();
    assert!(wrong.contains("id=\"start-error\""), "{wrong}");
}

#[tokio::test]
async fn customers_see_nothing_of_the_operators() {
    let mut installation = Installation::start(On::Sqlite).await;
    let reader = customer(&mut installation, false).await;
    for page in [
        "/portal/event-types",
        "/portal/event-types/clocking",
        "/portal/event-types?archived=yes",
    ] {
        let shown = reader.get(page).await.text();
        assert!(!shown.contains("<code>hookwright"), "{page}: {shown}");
        assert!(!shown.contains("href=\"/console/\""), "{page}: {shown}");
    }
    // The console's own pages are refused in a product's frame.
    let over = http::request(&reader.address, "GET", "/portal/organizations/acme", &[], b"")
        .await
        .unwrap();
    let left = reader
        .post_from("/portal/organizations/acme", "/portal/leave", "")
        .await;
    for page in [over.text(), left.text()] {
        assert!(page.contains("class=\"brand\" href=\"/portal/\""), "{page}");
        assert!(!page.contains("href=\"/console/\""), "{page}");
    }
}
