//! Lists of deliveries.

use hookwright_proto::v1::{
    DeliveryState, ErrorClass, ListDeliveriesRequest, ListDeliveriesResponse,
    delivery_service_client::DeliveryServiceClient,
};

use super::{
    super::filling::{MIDDLE, SMALL},
    Answer, Case, LARGE, Stopwatch, Stored, World, hour_before, request, time,
};
use crate::suite::world::ORGANIZATION;

pub(super) async fn ask(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
    let all = ListDeliveriesRequest {
        parent: ORGANIZATION.to_owned(),
        ..ListDeliveriesRequest::default()
    };
    for (what, change) in CASES {
        let asked = request(&all, *change, stored);
        let what = format!("ListDeliveries {what}");
        time_page(world, watch, &what, &asked).await?;
        if what.ends_with("of the past") {
            let next = ListDeliveriesRequest {
                page_token: list(world, &asked).await?.next_page_token,
                ..asked
            };
            time_page(world, watch, &format!("{what}, the next page"), &next).await?;
        }
    }
    Ok(())
}

async fn time_page(
    world: &World,
    watch: &mut Stopwatch,
    what: &str,
    asked: &ListDeliveriesRequest,
) -> anyhow::Result<()> {
    watch
        .time(what, async || {
            let page = list(world, asked).await?;
            Ok(Answer::page(&page.deliveries, &page.next_page_token))
        })
        .await
}

async fn list(world: &World, asked: &ListDeliveriesRequest) -> anyhow::Result<ListDeliveriesResponse> {
    let mut client = DeliveryServiceClient::new(world.channel()).max_decoding_message_size(usize::MAX);
    let page = client.list_deliveries(world.request(asked.clone())?).await?;
    Ok(page.into_inner())
}

const CASES: &[Case<ListDeliveriesRequest>] = &[
    ("all", |_, _| {}),
    ("a large page", |all, _| all.page_size = LARGE),
    ("before the middle of the past", in_past),
    ("a large page of the past", |all, stored| {
        in_past(all, stored);
        all.page_size = LARGE;
    }),
    ("an hour of the past", |all, stored| {
        in_past(all, stored);
        all.start_time = hour_before(stored.middle_us);
    }),
    ("a webhook", to_webhook),
    ("a webhook, a large page of the past", |all, stored| {
        in_past(all, stored);
        to_webhook(all, stored);
        all.page_size = LARGE;
    }),
    ("a webhook that is owed little", |all, stored| {
        all.webhook.clone_from(&stored.rare_webhook);
    }),
    ("a rare type", of_rare_type),
    ("a type that is not", |all, _| all.event_type = "bench.none".to_owned()),
    ("a rare type in the past", |all, stored| {
        in_past(all, stored);
        of_rare_type(all, stored);
    }),
    ("a rare type, failed, to a webhook", |all, stored| {
        of_rare_type(all, stored);
        all.webhook.clone_from(&stored.rare_webhook);
        in_state(all, DeliveryState::Failed);
    }),
    ("an event", |all, stored| {
        all.event = format!("{ORGANIZATION}/events/{}", stored.event);
    }),
    ("a webhook, failed, in the past", |all, stored| {
        in_past(all, stored);
        to_webhook(all, stored);
        in_state(all, DeliveryState::Failed);
    }),
    ("failed, an hour of the past", |all, stored| {
        in_past(all, stored);
        all.start_time = hour_before(stored.middle_us);
        in_state(all, DeliveryState::Failed);
    }),
    ("middle organization, a rare type", |all, stored| {
        all.parent = MIDDLE.to_owned();
        of_rare_type(all, stored);
    }),
    ("small organization", of_small),
    ("small organization, a large page", |all, stored| {
        of_small(all, stored);
        all.page_size = LARGE;
    }),
    ("small organization, failed", |all, stored| {
        of_small(all, stored);
        in_state(all, DeliveryState::Failed);
    }),
    ("pending", |all, _| in_state(all, DeliveryState::Pending)),
    ("retrying", |all, _| in_state(all, DeliveryState::Retrying)),
    ("delivered", |all, _| in_state(all, DeliveryState::Delivered)),
    ("failed", |all, _| in_state(all, DeliveryState::Failed)),
    ("cancelled", |all, _| in_state(all, DeliveryState::Cancelled)),
    ("paused", |all, _| in_state(all, DeliveryState::Paused)),
    ("failed for the status", |all, _| failed_for(all, ErrorClass::Status)),
    ("failed for a rare reason", |all, _| {
        failed_for(all, ErrorClass::TlsExpired);
    }),
];

fn in_past(request: &mut ListDeliveriesRequest, stored: &Stored) {
    request.end_time = time(stored.middle_us);
}

fn to_webhook(request: &mut ListDeliveriesRequest, stored: &Stored) {
    request.webhook.clone_from(&stored.webhook);
}

fn of_rare_type(request: &mut ListDeliveriesRequest, stored: &Stored) {
    request.event_type.clone_from(&stored.rare_type);
}

fn of_small(request: &mut ListDeliveriesRequest, _: &Stored) {
    request.parent = SMALL.to_owned();
}

fn in_state(request: &mut ListDeliveriesRequest, state: DeliveryState) {
    request.states = vec![state.into()];
}

fn failed_for(request: &mut ListDeliveriesRequest, class: ErrorClass) {
    request.error_classes = vec![class.into()];
}
