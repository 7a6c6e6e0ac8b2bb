//! Long pages: many attempts of a delivery, many failing webhooks.

use hookwright_proto::v1::{RetryDeliveryRequest, TokenScope};
use hookwright_testkit::{Receiver, until};

use super::{Reader, delivery_of, rare::link, token};
use crate::support::{ACME, CLOCKING, Installation, On, id_of, webhook};

#[tokio::test]
async fn of_many_attempts_the_last_are_listed_and_earlier_ones_a_page_further() {
    let delays = ["1h"; 60].join(",");
    let mut installation = Installation::start_with(On::Sqlite, |server| server.arg("--retry-delay", &delays)).await;
    let receiver = Receiver::start().await;
    receiver.respond(500);
    installation.webhook(&receiver, &["clocking"]).await;
    let published = installation.publish("clocking", CLOCKING).await;
    let name = delivery_of(&mut installation, &published.event).await;
    for made in 1..52 {
        let is_made = |delivery: &hookwright_proto::v1::Delivery| delivery.attempt_count == made;
        installation.delivery_until(&name, is_made).await;
        let request = RetryDeliveryRequest { name: name.clone() };
        installation.clients.deliveries.retry_delivery(request).await.unwrap();
    }
    installation
        .delivery_until(&name, |delivery| delivery.attempt_count == 52)
        .await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let address = format!("/console/{ACME}/deliveries/{}", id_of(&name));
    let listed = |page: &str| page.matches("data-label=\"Attempt\"").count();
    let shows = |page: &str, number: i32| page.contains(&format!("<h2 id=\"attempt\">Attempt {number}</h2>"));
    let page = reader.get(&address).await.text();
    assert!(listed(&page) == 50 && shows(&page, 52), "{page}");
    assert!(
        page.contains("?attempt=3\">3</a>") && !page.contains(">2</a>"),
        "{page}"
    );
    let further = reader.get(&link(&page, "Earlier attempts").unwrap()).await.text();
    assert!(listed(&further) == 2 && shows(&further, 2), "{further}");
    assert_eq!(link(&further, "Earlier attempts"), None, "{further}");
    let first = reader.get(&link(&further, "1").unwrap()).await.text();
    assert!(listed(&first) == 2 && shows(&first, 1), "{first}");
    let back = reader.get(&link(&first, "Latest attempts").unwrap()).await.text();
    assert!(listed(&back) == 50 && shows(&back, 52), "{back}");
    let chosen = reader.get(&format!("{address}?attempt=1")).await.text();
    assert!(listed(&chosen) == 50 && shows(&chosen, 1), "{chosen}");
    let unknown = reader.get(&format!("{address}?attempt=99")).await.text();
    assert!(shows(&unknown, 52), "{unknown}");
    let response = reader.get(&format!("{address}/attempts/53/response")).await;
    assert_eq!(response.status, 404);
}

#[tokio::test]
async fn the_overview_says_how_many_webhooks_fail_and_leads_to_all_of_them() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    receiver.respond(500);
    // The ping of each webhook fails.
    for number in 0..22 {
        let failing = webhook(&receiver.url(&format!("/{number}")), &["clocking"]);
        installation.create_webhook(failing).await.unwrap();
    }
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let overview = until("all failing webhooks on the overview", async || {
        let page = reader.get("/console/").await.text();
        if link(&page, "View all 22").is_some() {
            Ok(page)
        } else {
            Err(page)
        }
    })
    .await;
    let rows = |page: &str| page.matches("data-label=\"Failures\"").count();
    assert_eq!(rows(&overview), 20);
    let address = link(&overview, "View all 22").unwrap();
    let all = reader.get(&address).await.text();
    assert_eq!(rows(&all), 22, "{all}");
    let limited = token(&mut installation, TokenScope::Admin, ACME).await;
    let customer = Reader::sign_in(&installation, &limited).await;
    assert_eq!(
        customer.get(&address).await.status,
        404,
        "the page concerns the whole installation"
    );
}
