//! Requests for single resources.

use hookwright_domain::id::EventId;
use hookwright_proto::v1::{
    ExplainEventRequest, GetDeliveryRequest, ListAttemptsRequest, QueryDeliveryStatsRequest, StatsPeriod,
    delivery_service_client::DeliveryServiceClient, event_service_client::EventServiceClient,
};

use super::{Answer, Stopwatch, Stored, World};
use crate::suite::world::ORGANIZATION;

pub(super) async fn ask(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
    one(world, stored, watch).await?;
    statistics(world, stored, watch).await
}

/// Requests for one delivery or event.
async fn one(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
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
            let request = ListAttemptsRequest {
                parent: name.clone(),
                ..ListAttemptsRequest::default()
            };
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
        .await
}

async fn statistics(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
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
                #[expect(clippy::disallowed_methods, reason = "a benchmark measures the servers from outside")]
                let now = std::time::SystemTime::now();
                let start = now - std::time::Duration::from_secs(hours * 3_600);
                let request = QueryDeliveryStatsRequest {
                    name: name.to_owned(),
                    period: period.into(),
                    start_time: Some(start.into()),
                    end_time: None,
                };
                let mut client = DeliveryServiceClient::new(world.channel());
                let list = client.query_delivery_stats(world.request(request)?).await?.into_inner();
                Ok(Answer::all(list.periods.len()))
            })
            .await?;
    }
    Ok(())
}
