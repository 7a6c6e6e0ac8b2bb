//! Searching events and deliveries: by ordering key, by request id, by an expression over their payload, and with few
//! matches.

use hookwright_proto::v1::{
    BatchPublishEventsRequest, Event, GetEventRequest, ListDeliveriesRequest, ListEventsRequest, PublishEventRequest,
    publish_event_request::Payload,
};
use hookwright_testkit::Receiver;
use tonic::{Code, Status};

use crate::support::{ACME, CLOCKING, Installation, On, event, id_of, on_both_stores};

/// The events of all pages, and the number of pages.
async fn search(installation: &mut Installation, request: ListEventsRequest) -> Result<(Vec<Event>, usize), Status> {
    let mut request = ListEventsRequest {
        parent: ACME.to_owned(),
        ..request
    };
    let (mut events, mut pages) = (Vec::new(), 0);
    loop {
        let page = installation
            .clients
            .events
            .list_events(request.clone())
            .await?
            .into_inner();
        events.extend(page.events);
        pages += 1;
        if page.next_page_token.is_empty() {
            return Ok((events, pages));
        }
        request.page_token = page.next_page_token;
    }
}

async fn found(installation: &mut Installation, request: ListEventsRequest) -> Vec<String> {
    let (events, _) = search(installation, request).await.unwrap();
    events.iter().map(|event| id_of(&event.name).to_owned()).collect()
}

fn by(filter: &str) -> ListEventsRequest {
    ListEventsRequest {
        filter: filter.to_owned(),
        ..ListEventsRequest::default()
    }
}

/// Publishes events in batches.
pub(crate) async fn publish_all(installation: &mut Installation, events: Vec<PublishEventRequest>) {
    for batch in events.chunks(500) {
        let request = BatchPublishEventsRequest {
            organization: ACME.to_owned(),
            requests: batch.to_vec(),
        };
        let results = installation
            .clients
            .events
            .batch_publish_events(request)
            .await
            .unwrap()
            .into_inner()
            .results;
        assert_eq!(results.len(), batch.len());
    }
}

on_both_stores! {
    async fn events_are_found_by_what_they_hold(on: On) {
        let mut installation = Installation::start(on).await;
        installation.register("order").await;
        let mut ids = Vec::new();
        for (total, key, region) in [(5, "a", "eu"), (50, "b", "us"), (500, "a", "us")] {
            let wanted = PublishEventRequest {
                ordering_key: key.to_owned(),
                request_id: format!("order-{total}"),
                attributes: [("region".to_owned(), region.to_owned())].into(),
                ..event("order", &format!(r#"{{"total":{total}}}"#))
            };
            ids.push(id_of(&installation.try_publish(wanted).await.unwrap().event).to_owned());
        }
        installation.publish("order", r#"{"other":true}"#).await;
        let [five, fifty, all] = [0, 1, 2].map(|index: usize| ids[index].clone());
        let installation = &mut installation;
        assert_eq!(found(installation, by("payload.total >= 50")).await, [all.clone(), fifty.clone()], "newest first");
        assert_eq!(found(installation, by("attributes.region == 'us' && payload.total > 50")).await, [all.as_str()]);
        assert_eq!(found(installation, by("ordering_key == 'b'")).await, [fifty.as_str()], "also without the payload");
        assert_eq!(found(installation, by("event_type == 'ping'")).await, [""; 0]);
        let of_key = ListEventsRequest { ordering_key: "a".to_owned(), ..ListEventsRequest::default() };
        assert_eq!(found(installation, of_key.clone()).await, [all.clone(), five.clone()]);
        let both = ListEventsRequest { filter: "payload.total < 50".to_owned(), ..of_key };
        assert_eq!(found(installation, both).await, [five]);
        let of_request = ListEventsRequest { request_id: "order-50".to_owned(), ..ListEventsRequest::default() };
        assert_eq!(found(installation, of_request).await, [fifty.as_str()]);
        let unknown = ListEventsRequest { request_id: "order-51".to_owned(), ..ListEventsRequest::default() };
        assert_eq!(found(installation, unknown).await, [""; 0]);
        let request = GetEventRequest { name: format!("{ACME}/events/{fifty}") };
        let got = installation.clients.events.get_event(request).await.unwrap().into_inner();
        assert_eq!(got.request_id, "order-50");

        let one = ListEventsRequest { page_size: 1, ..by("payload.total >= 50") };
        let (events, pages) = search(installation, one.clone()).await.unwrap();
        assert!(events.len() == 2 && pages >= 2, "{pages}: {events:?}");
        let first = installation.clients.events
            .list_events(ListEventsRequest { parent: ACME.to_owned(), ..one })
            .await.unwrap().into_inner();
        let elsewhere = ListEventsRequest { page_token: first.next_page_token, ..by("payload.total >= 5") };
        assert_eq!(search(installation, elsewhere).await.unwrap_err().code(), Code::InvalidArgument, "another list's token");
        let refused = search(installation, by("payload.total >")).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with("filter: "), "{}", refused.message());
    }

    async fn one_page_looks_at_a_bounded_number_of_events(on: On) {
        let mut installation = Installation::start(on).await;
        installation.register("order").await;
        let rare = installation.publish("order", r#"{"rare":true}"#).await.event;
        publish_all(&mut installation, (0..4_500).map(|_| event("order", r#"{"n":1}"#)).collect()).await;
        let (events, pages) = search(&mut installation, by("payload.rare")).await.unwrap();
        assert_eq!(events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), [rare]);
        assert!(pages >= 3, "2,000 a page: {pages}");
    }

    async fn a_rare_delivery_is_found_page_by_page(on: On) {
        let receiver = Receiver::start().await;
        let mut installation = Installation::start(on).await;
        installation.register("order").await;
        installation.webhook(&receiver, &["clocking"]).await;
        let rare = installation.publish("clocking", CLOCKING).await.event;
        publish_all(&mut installation, (0..9_000).map(|_| event("order", "{}")).collect()).await;
        let mut request = ListDeliveriesRequest {
            parent: ACME.to_owned(),
            event_type: "clocking".to_owned(),
            ..ListDeliveriesRequest::default()
        };
        let (mut found, mut pages) = (Vec::new(), 0);
        loop {
            let page = installation.clients.deliveries.list_deliveries(request.clone()).await.unwrap().into_inner();
            found.extend(page.deliveries.into_iter().map(|delivery| delivery.event));
            pages += 1;
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!((found, pages), (vec![rare], 2), "one page looks at a bounded number of events");
    }

    async fn one_page_reads_a_bounded_amount_of_payload(on: On) {
        let mut installation = Installation::start(on).await;
        installation.register("order").await;
        let rare = installation.publish("order", r#"{"rare":true}"#).await.event;
        let filler = "x".repeat(4 << 20);
        for _ in 0..10 {
            let large = format!(r#"{{"filler":"{filler}"}}"#);
            let event = PublishEventRequest { payload: Some(Payload::Json(large.into())), ..event("order", "{}") };
            installation.try_publish(event).await.unwrap();
        }
        let (events, pages) = search(&mut installation, by("payload.rare")).await.unwrap();
        assert_eq!(events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), [rare.as_str()]);
        assert!(pages >= 4, "8 MiB a page: {pages}");
        let (events, pages) = search(&mut installation, by("event_type == 'order'")).await.unwrap();
        assert_eq!((events.len(), pages), (11, 1), "a filter that reads no payload is not bounded by payload bytes");
    }
}
