//! A filter with few matches: a page looks at a bounded number of events, and links to older ones.

use hookwright_testkit::Receiver;

use super::{Reader, unescaped};
use crate::{
    searching::publish_all,
    support::{CLOCKING, Installation, On, event, id_of, on_both_stores},
};

/// The target of a page's link.
pub(super) fn link(page: &str, text: &str) -> Option<String> {
    let (before, _) = page.split_once(&format!("\">{text}</a>"))?;
    let (_, address) = before.rsplit_once("<a href=\"")?;
    Some(unescaped(address))
}

on_both_stores! {
    async fn a_rare_delivery_is_looked_for_further_back(on: On) {
        let receiver = Receiver::start().await;
        let mut installation = Installation::start(on).await;
        installation.register("order").await;
        installation.webhook(&receiver, &["clocking"]).await;
        let published = installation.publish("clocking", CLOCKING).await;
        publish_all(&mut installation, (0..9_000).map(|_| event("order", "{}")).collect()).await;
        let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        let first = reader.get("/console/organizations/acme/deliveries?event_type=clocking").await.text();
        assert!(first.contains("No deliveries match in this range yet"), "{first}");
        let further = link(&first, "Search older deliveries").expect("a link to older deliveries");
        let second = reader.get(&further).await.text();
        assert!(second.contains(id_of(&published.event)), "{second}");
        let none = reader.get("/console/organizations/acme/deliveries?event_type=none&before=1").await.text();
        assert!(none.contains("<strong>No deliveries match</strong>") && !none.contains("Search older deliveries"), "{none}");
    }
}
