//! The lists of the API.

use hookwright_domain::id::EventId;
use hookwright_proto::v1::{
    DeliveryState, ErrorClass, ExplainEventRequest, GetDeliveryRequest, ListAttemptsRequest, ListAuditEntriesRequest,
    ListDeliveriesRequest, ListEventsRequest, ListReplaysRequest, ListWebhooksRequest, QueryDeliveryStatsRequest,
    StatsPeriod, audit_service_client::AuditServiceClient, delivery_service_client::DeliveryServiceClient,
    event_service_client::EventServiceClient, replay_service_client::ReplayServiceClient,
    webhook_service_client::WebhookServiceClient,
};
use prost_types::Timestamp;

use super::{
    Answer, Stopwatch,
    filling::{MIDDLE, SMALL, Stored},
};
use crate::suite::world::{ORGANIZATION, World};

/// The largest page.
const LARGE: i32 = 1_000;

pub(super) async fn ask(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
    deliveries(world, stored, watch).await?;
    events(world, stored, watch).await?;
    details(world, stored, watch).await?;
    others(world, watch).await
}

/// A time in whole seconds.
fn time(us: i64) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: us / 1_000_000,
        nanos: 0,
    })
}

async fn deliveries(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
    for (what, request) in delivery_lists(stored) {
        let what = format!("ListDeliveries {what}");
        watch
            .time(&what, async || {
                let page = list_deliveries(world, &request).await?;
                Ok(Answer::page(&page.deliveries, &page.next_page_token))
            })
            .await?;
        if what.ends_with("of the past") {
            let first = list_deliveries(world, &request).await?;
            let next = ListDeliveriesRequest {
                page_token: first.next_page_token,
                ..request
            };
            watch
                .time(&format!("{what}, the next page"), async || {
                    let page = list_deliveries(world, &next).await?;
                    Ok(Answer::page(&page.deliveries, &page.next_page_token))
                })
                .await?;
        }
    }
    Ok(())
}

async fn list_deliveries(
    world: &World,
    request: &ListDeliveriesRequest,
) -> anyhow::Result<hookwright_proto::v1::ListDeliveriesResponse> {
    let mut client = DeliveryServiceClient::new(world.channel()).max_decoding_message_size(usize::MAX);
    let page = client.list_deliveries(world.request(request.clone())?).await?;
    Ok(page.into_inner())
}

/// What is asked for of deliveries.
fn delivery_lists(stored: &Stored) -> Vec<(String, ListDeliveriesRequest)> {
    let all = ListDeliveriesRequest {
        parent: ORGANIZATION.to_owned(),
        ..ListDeliveriesRequest::default()
    };
    let past = ListDeliveriesRequest {
        end_time: time(stored.middle_us),
        ..all.clone()
    };
    let mut lists = vec![
        ("all".to_owned(), all.clone()),
        (
            "a large page".to_owned(),
            ListDeliveriesRequest {
                page_size: LARGE,
                ..all.clone()
            },
        ),
        ("before the middle of the past".to_owned(), past.clone()),
        (
            "a large page of the past".to_owned(),
            ListDeliveriesRequest {
                page_size: LARGE,
                ..past.clone()
            },
        ),
        (
            "an hour of the past".to_owned(),
            ListDeliveriesRequest {
                start_time: time(stored.middle_us - 3_600_000_000),
                ..past.clone()
            },
        ),
        (
            "a webhook".to_owned(),
            ListDeliveriesRequest {
                webhook: stored.webhook.clone(),
                ..all.clone()
            },
        ),
        (
            "a webhook, a large page of the past".to_owned(),
            ListDeliveriesRequest {
                webhook: stored.webhook.clone(),
                page_size: LARGE,
                ..past.clone()
            },
        ),
        (
            "a webhook that is owed little".to_owned(),
            ListDeliveriesRequest {
                webhook: stored.rare_webhook.clone(),
                ..all.clone()
            },
        ),
        (
            "a rare type".to_owned(),
            ListDeliveriesRequest {
                event_type: stored.rare_type.clone(),
                ..all.clone()
            },
        ),
        (
            "a type that is not".to_owned(),
            ListDeliveriesRequest {
                event_type: "bench.none".to_owned(),
                ..all.clone()
            },
        ),
        (
            "a rare type in the past".to_owned(),
            ListDeliveriesRequest {
                event_type: stored.rare_type.clone(),
                ..past.clone()
            },
        ),
        (
            "a rare type, failed, to a webhook".to_owned(),
            ListDeliveriesRequest {
                event_type: stored.rare_type.clone(),
                webhook: stored.rare_webhook.clone(),
                states: vec![DeliveryState::Failed.into()],
                ..all.clone()
            },
        ),
        (
            "an event".to_owned(),
            ListDeliveriesRequest {
                event: format!("{ORGANIZATION}/events/{}", stored.event),
                ..all.clone()
            },
        ),
        (
            "a webhook, failed, in the past".to_owned(),
            ListDeliveriesRequest {
                webhook: stored.webhook.clone(),
                states: vec![DeliveryState::Failed.into()],
                ..past
            },
        ),
        (
            "middle organization, a rare type".to_owned(),
            ListDeliveriesRequest {
                parent: MIDDLE.to_owned(),
                event_type: stored.rare_type.clone(),
                ..all.clone()
            },
        ),
        (
            "small organization".to_owned(),
            ListDeliveriesRequest {
                parent: SMALL.to_owned(),
                ..all.clone()
            },
        ),
        (
            "small organization, a large page".to_owned(),
            ListDeliveriesRequest {
                parent: SMALL.to_owned(),
                page_size: LARGE,
                ..all.clone()
            },
        ),
        (
            "small organization, failed".to_owned(),
            ListDeliveriesRequest {
                parent: SMALL.to_owned(),
                states: vec![DeliveryState::Failed.into()],
                ..all.clone()
            },
        ),
    ];
    for (name, state) in [
        ("pending", DeliveryState::Pending),
        ("retrying", DeliveryState::Retrying),
        ("delivered", DeliveryState::Delivered),
        ("failed", DeliveryState::Failed),
        ("cancelled", DeliveryState::Cancelled),
        ("paused", DeliveryState::Paused),
    ] {
        lists.push((
            name.to_owned(),
            ListDeliveriesRequest {
                states: vec![state.into()],
                ..all.clone()
            },
        ));
    }
    for (name, class) in [
        ("failed for the status", ErrorClass::Status),
        ("failed for a rare reason", ErrorClass::TlsExpired),
    ] {
        lists.push((
            name.to_owned(),
            ListDeliveriesRequest {
                error_classes: vec![class.into()],
                ..all.clone()
            },
        ));
    }
    lists
}

async fn events(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
    let all = ListEventsRequest {
        parent: ORGANIZATION.to_owned(),
        ..ListEventsRequest::default()
    };
    let past = ListEventsRequest {
        end_time: time(stored.middle_us),
        ..all.clone()
    };
    let lists = [
        ("all", all.clone()),
        (
            "a large page",
            ListEventsRequest {
                page_size: LARGE,
                ..all.clone()
            },
        ),
        (
            "a rare type",
            ListEventsRequest {
                event_type: stored.rare_type.clone(),
                ..all.clone()
            },
        ),
        (
            "an hour of the past",
            ListEventsRequest {
                start_time: time(stored.middle_us - 3_600_000_000),
                ..past.clone()
            },
        ),
        (
            "a large page of the past",
            ListEventsRequest {
                page_size: LARGE,
                ..past
            },
        ),
        (
            "a rare ordering key",
            ListEventsRequest {
                ordering_key: "needle".to_owned(),
                ..all.clone()
            },
        ),
        (
            "an ordering key",
            ListEventsRequest {
                ordering_key: "key-17".to_owned(),
                ..all.clone()
            },
        ),
        (
            "a request id",
            ListEventsRequest {
                request_id: "request-11".to_owned(),
                ..all.clone()
            },
        ),
        (
            "a request id that is not",
            ListEventsRequest {
                request_id: "none".to_owned(),
                ..all.clone()
            },
        ),
        (
            "an expression over the payload that nothing matches",
            ListEventsRequest {
                filter: "has(payload.none)".to_owned(),
                ..all.clone()
            },
        ),
        (
            "an expression without payload that nothing matches",
            ListEventsRequest {
                filter: "ordering_key == 'none'".to_owned(),
                ..all.clone()
            },
        ),
        (
            "an expression over a rare type",
            ListEventsRequest {
                filter: "has(payload.none)".to_owned(),
                event_type: stored.rare_type.clone(),
                ..all.clone()
            },
        ),
        (
            "small organization",
            ListEventsRequest {
                parent: SMALL.to_owned(),
                ..all.clone()
            },
        ),
        (
            "small organization, a large page",
            ListEventsRequest {
                parent: SMALL.to_owned(),
                page_size: LARGE,
                ..all
            },
        ),
    ];
    for (what, request) in lists {
        watch
            .time(&format!("ListEvents {what}"), async || {
                let mut client = EventServiceClient::new(world.channel()).max_decoding_message_size(usize::MAX);
                let page = client.list_events(world.request(request.clone())?).await?.into_inner();
                Ok(Answer::page(&page.events, &page.next_page_token))
            })
            .await?;
    }
    Ok(())
}

/// What is asked for of one delivery or event.
async fn details(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
    let deliveries = || DeliveryServiceClient::new(world.channel());
    let event: EventId = stored.event;
    let name = format!("{ORGANIZATION}/deliveries/{}", event.delivery(0));
    watch
        .time("GetDelivery", async || {
            let request = GetDeliveryRequest { name: name.clone() };
            deliveries().get_delivery(world.request(request)?).await?;
            Ok(Answer::all(1))
        })
        .await?;
    watch
        .time("ListAttempts", async || {
            let request = ListAttemptsRequest { parent: name.clone() };
            let list = deliveries().list_attempts(world.request(request)?).await?.into_inner();
            Ok(Answer::all(list.attempts.len()))
        })
        .await?;
    watch
        .time("ExplainEvent", async || {
            let request = ExplainEventRequest {
                name: format!("{ORGANIZATION}/events/{event}"),
            };
            let mut client = EventServiceClient::new(world.channel());
            let list = client.explain_event(world.request(request)?).await?.into_inner();
            Ok(Answer::all(list.explanations.len()))
        })
        .await?;
    for (what, name, period, hours) in [
        (
            "an organization, hours of 90 days",
            ORGANIZATION,
            StatsPeriod::Hour,
            90 * 24 - 1,
        ),
        (
            "a webhook, hours of 90 days",
            stored.webhook.as_str(),
            StatsPeriod::Hour,
            90 * 24 - 1,
        ),
        ("an organization, minutes", ORGANIZATION, StatsPeriod::Minute, 5),
    ] {
        watch
            .time(&format!("QueryDeliveryStats {what}"), async || {
                let now = std::time::SystemTime::now();
                let start = now - std::time::Duration::from_secs(hours * 3_600);
                let request = QueryDeliveryStatsRequest {
                    name: name.to_owned(),
                    period: period.into(),
                    start_time: Some(start.into()),
                    end_time: None,
                };
                let list = deliveries()
                    .query_delivery_stats(world.request(request)?)
                    .await?
                    .into_inner();
                Ok(Answer::all(list.periods.len()))
            })
            .await?;
    }
    Ok(())
}

async fn others(world: &World, watch: &mut Stopwatch) -> anyhow::Result<()> {
    watch
        .time("ListWebhooks", async || {
            let request = ListWebhooksRequest {
                parent: ORGANIZATION.to_owned(),
                page_size: LARGE,
                page_token: String::new(),
            };
            let mut client = WebhookServiceClient::new(world.channel());
            let page = client.list_webhooks(world.request(request)?).await?.into_inner();
            Ok(Answer::page(&page.webhooks, &page.next_page_token))
        })
        .await?;
    watch
        .time("ListReplays a large page", async || {
            let request = ListReplaysRequest {
                parent: ORGANIZATION.to_owned(),
                page_size: LARGE,
                page_token: String::new(),
            };
            let mut client = ReplayServiceClient::new(world.channel());
            let page = client.list_replays(world.request(request)?).await?.into_inner();
            Ok(Answer::page(&page.replays, &page.next_page_token))
        })
        .await?;
    let all = ListAuditEntriesRequest {
        parent: "organizations/-".to_owned(),
        ..ListAuditEntriesRequest::default()
    };
    for (what, request) in [
        ("all", all.clone()),
        (
            "a large page",
            ListAuditEntriesRequest {
                page_size: LARGE,
                ..all.clone()
            },
        ),
        (
            "a rare actor",
            ListAuditEntriesRequest {
                actor: "tokens/tok_0000000000002".to_owned(),
                ..all.clone()
            },
        ),
        (
            "a rare action",
            ListAuditEntriesRequest {
                action_prefix: "organization.rename".to_owned(),
                ..all.clone()
            },
        ),
        (
            "an organization",
            ListAuditEntriesRequest {
                parent: ORGANIZATION.to_owned(),
                ..all.clone()
            },
        ),
        (
            "small organization",
            ListAuditEntriesRequest {
                parent: SMALL.to_owned(),
                ..all.clone()
            },
        ),
        (
            "small organization, a rare action",
            ListAuditEntriesRequest {
                parent: SMALL.to_owned(),
                action_prefix: "organization.rename".to_owned(),
                ..all
            },
        ),
    ] {
        watch
            .time(&format!("ListAuditEntries {what}"), async || {
                let mut client = AuditServiceClient::new(world.channel());
                let page = client
                    .list_audit_entries(world.request(request.clone())?)
                    .await?
                    .into_inner();
                Ok(Answer::page(&page.audit_entries, &page.next_page_token))
            })
            .await?;
    }
    Ok(())
}
