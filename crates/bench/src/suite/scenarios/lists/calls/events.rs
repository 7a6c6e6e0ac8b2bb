//! Lists of events.

use hookwright_proto::v1::{ListEventsRequest, event_service_client::EventServiceClient};

use super::{super::filling::SMALL, Answer, Case, LARGE, Stopwatch, Stored, World, hour_before, request, time};
use crate::suite::world::ORGANIZATION;

pub(super) async fn ask(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
    let all = ListEventsRequest {
        parent: ORGANIZATION.to_owned(),
        ..ListEventsRequest::default()
    };
    for (what, change) in CASES {
        let asked = request(&all, *change, stored);
        watch
            .time(&format!("ListEvents {what}"), async || {
                let mut client = EventServiceClient::new(world.channel()).max_decoding_message_size(usize::MAX);
                let page = client.list_events(world.request(asked.clone())?).await?.into_inner();
                Ok(Answer::page(&page.events, &page.next_page_token))
            })
            .await?;
    }
    Ok(())
}

const CASES: &[Case<ListEventsRequest>] = &[
    ("all", |_, _| {}),
    ("a large page", |all, _| all.page_size = LARGE),
    ("a rare type", of_rare_type),
    ("an hour of the past", |all, stored| {
        in_past(all, stored);
        all.start_time = hour_before(stored.middle_us);
    }),
    ("a large page of the past", |all, stored| {
        in_past(all, stored);
        all.page_size = LARGE;
    }),
    ("a rare ordering key", |all, _| all.ordering_key = "needle".to_owned()),
    ("an ordering key", |all, _| all.ordering_key = "key-17".to_owned()),
    ("a request id", |all, _| all.request_id = "request-11".to_owned()),
    ("a request id that is not", |all, _| all.request_id = "none".to_owned()),
    ("an expression over the payload that nothing matches", |all, _| {
        all.filter = "has(payload.none)".to_owned();
    }),
    ("an expression without payload that nothing matches", |all, _| {
        all.filter = "ordering_key == 'none'".to_owned();
    }),
    ("an expression over a rare type", |all, stored| {
        of_rare_type(all, stored);
        all.filter = "has(payload.none)".to_owned();
    }),
    ("small organization", |all, _| all.parent = SMALL.to_owned()),
    ("small organization, a large page", |all, _| {
        all.parent = SMALL.to_owned();
        all.page_size = LARGE;
    }),
];

fn in_past(request: &mut ListEventsRequest, stored: &Stored) {
    request.end_time = time(stored.middle_us);
}

fn of_rare_type(request: &mut ListEventsRequest, stored: &Stored) {
    request.event_type.clone_from(&stored.rare_type);
}
