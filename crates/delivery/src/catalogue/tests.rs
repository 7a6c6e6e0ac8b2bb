//! Tests of the webhooks that an event matches, and of the number of filters that are evaluated for it.

use std::collections::{BTreeMap, HashSet};

use super::*;

const TYPES: [&str; 3] = ["order.paid", "order.sent", "clocking"];

fn webhook(id: i64, events: &[&str], filter: Option<&str>) -> Arc<Webhook> {
    let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
    Arc::new(Webhook {
        id: WebhookId::from_raw(id),
        organization: OrganizationId::from_raw(1),
        url: None,
        subscription: Subscription::from_events(&events).unwrap(),
        filter: filter.map(|text| Arc::new(WebhookFilter::compile(text).unwrap())),
        active: id != 13,
        headers: Vec::new(),
        timeout: Duration::from_secs(1),
        schedule: Arc::new(RetrySchedule::new(vec![Duration::from_secs(1)]).unwrap()),
        rate: None,
        ordered: false,
        pauses: false,
        skip_verify: false,
        keys: None,
    })
}

fn organization(webhooks: &[Arc<Webhook>]) -> Organization {
    Organization::new(OrganizationId::from_raw(1), "acme".to_owned(), webhooks.iter())
}

#[test]
fn a_filter_that_many_webhooks_have_is_evaluated_once_for_an_event() {
    const FILTERS: [&str; 3] = ["payload.n == 1", "payload.n == 2", "attributes.region == 'eu'"];
    let filters = FILTERS.map(Some).into_iter().chain([None]).cycle();
    let webhooks: Vec<_> = (1..=4_000)
        .zip(filters)
        .map(|(id, filter)| webhook(id, &["*"], filter))
        .collect();
    let organization = organization(&webhooks);
    let subscribers = organization.subscribers("order.paid");
    assert!(subscribers.are_filtered() && subscribers.read_payload());
    let mut evaluated = Vec::new();
    let matched = subscribers.matching_by(|filter| {
        evaluated.push(filter.text().to_owned());
        filter.text() == FILTERS[1]
    });
    assert_eq!(evaluated, FILTERS);
    let expected = webhooks.iter().filter(|webhook| webhook.active);
    let expected = expected.filter(|webhook| webhook.filter.as_ref().is_none_or(|filter| filter.text() == FILTERS[1]));
    let expected: Vec<i64> = expected.map(|webhook| webhook.id.raw()).collect();
    assert_eq!(*matched, *expected);
}

#[test]
fn an_event_is_matched_as_each_webhook_alone_would_have_it() {
    let filters = [
        None,
        Some("payload.n == 1"),
        Some("event_type == 'clocking'"),
        Some("payload.n > 1"),
    ];
    let subscriptions: [&[&str]; 5] = [&["*"], &TYPES[..1], &TYPES[1..], &TYPES[..2], &TYPES[2..]];
    let webhooks: Vec<_> = (1..=200_i64)
        .map(|id| {
            let index = usize::try_from(id * 7).unwrap();
            webhook(id, subscriptions[index % 5], filters[index / 5 % 4])
        })
        .collect();
    let organization = organization(&webhooks);
    let attributes = BTreeMap::new();
    for event_type in TYPES.into_iter().chain(["unknown"]) {
        for payload in [&br#"{"n":1}"#[..], br#"{"n":2}"#, b"{}"] {
            let facts = EventFacts::new(event_type, &attributes, "", Some(payload)).unwrap();
            let alone = webhooks.iter().filter(|webhook| {
                let matches = webhook
                    .filter
                    .as_ref()
                    .is_none_or(|filter| filter.matches(&facts) == Ok(true));
                webhook.active && webhook.subscription.matches(event_type) && matches
            });
            let alone: Vec<i64> = alone.map(|webhook| webhook.id.raw()).collect();
            let matched = organization.subscribers(event_type).matching(&facts);
            assert_eq!(*matched, *alone, "{event_type}");
            assert_eq!(matched.iter().collect::<HashSet<_>>().len(), alone.len());
        }
    }
}
