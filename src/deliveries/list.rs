//! `hookwright deliveries list`.

use clap::Args;
use hookwright_proto::v1::{Delivery, ListDeliveriesRequest, ListDeliveriesResponse};
use prost_types::Timestamp;

use super::{choice::Choice, show};
use crate::{
    client::{
        Client, input, names,
        pages::{LimitArgs, collect},
    },
    output::{self, List},
};

/// Filters of the list.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    choice: Choice,
    /// Only deliveries of this event, replays included: `evt_...` or a resource name
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// Only deliveries created at or after this time: RFC 3339, or an age such as 2h
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    since: Option<Timestamp>,
    /// Only deliveries created before this time: RFC 3339, or an age such as 2h
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    until: Option<Timestamp>,
    /// Exclude replayed deliveries: with --state failed, shows the remaining failures
    #[arg(long)]
    hide_replayed: bool,
    #[command(flatten)]
    limit: LimitArgs,
}

/// Lists.
pub(super) async fn run(client: &Client, args: ListArgs) -> anyhow::Result<()> {
    let service = client.deliveries();
    let chosen = args.choice.read(client)?;
    let event = args.event.as_deref();
    let filter = ListDeliveriesRequest {
        parent: chosen.parent,
        webhook: chosen.webhook,
        event: event.map_or(Ok(String::new()), |id| {
            client.within(&args.choice.organization, "events", id)
        })?,
        states: chosen.states,
        event_type: chosen.event_type,
        error_classes: chosen.error_classes,
        start_time: args.since,
        end_time: args.until,
        hide_replayed: args.hide_replayed,
        ..ListDeliveriesRequest::default()
    };
    let (deliveries, rest) = collect(args.limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        let request = ListDeliveriesRequest {
            page_size,
            page_token,
            ..filter.clone()
        };
        async move {
            let page = service.list_deliveries(request).await?.into_inner();
            Ok((page.deliveries, page.next_page_token))
        }
    })
    .await?;
    let list = List {
        length: deliveries.len(),
        rest: &rest.clone(),
        empty: "No matching deliveries. An event is delivered to the webhooks that are active and subscribed to its type when it is \
             published: see `hookwright webhooks list`.",
    };
    let response = ListDeliveriesResponse {
        deliveries,
        next_page_token: rest,
    };
    client
        .output
        .list("ListDeliveriesResponse", &response, list, |response| {
            table(&response.deliveries)
        })
}

/// The deliveries as a table.
fn table(deliveries: &[Delivery]) -> String {
    let rows = deliveries.iter().map(|one| {
        vec![
            names::id(&one.name).to_owned(),
            one.event_type.clone(),
            show::state(one),
            one.attempt_count.to_string(),
            show::last(one),
            made(one),
            show::replayed(one),
            names::id(&one.webhook).to_owned(),
        ]
    });
    output::table(
        &[
            "DELIVERY",
            "TYPE",
            "STATE",
            "ATTEMPTS",
            "LAST RESULT",
            "CREATED",
            "REPLAYED AS",
            "WEBHOOK",
        ],
        rows.collect(),
    )
}

/// When it was created, and whether by a replay.
fn made(delivery: &Delivery) -> String {
    let time = output::time(delivery.create_time.as_ref());
    if delivery.replay {
        format!("{time} (replay)")
    } else {
        time
    }
}
