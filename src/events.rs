//! `hookwright events ...`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use hookwright_proto::v1::{
    Event, ExplainEventRequest, ExplanationReason, GetEventRequest, ListEventsRequest, ListEventsResponse,
};
use prost_types::Timestamp;

use crate::{
    client::{
        Client, input,
        names::{self, OrganizationArgs},
        pages::{LimitArgs, collect},
    },
    output::{self, List},
};

/// The event commands.
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Show one event with its payload
    Get {
        /// `evt_...` with --organization, or the full resource name
        event: String,
        #[command(flatten)]
        organization: OrganizationArgs,
    },
    /// Explain for every webhook of the organization why an event was or was not sent to it
    Explain {
        /// `evt_...` with --organization, or the full resource name
        event: String,
        #[command(flatten)]
        organization: OrganizationArgs,
    },
    /// List an organization's events, newest first, for example: hookwright events list --organization acme --since 2h
    List(ListArgs),
}

const EXAMPLES: &str = "\
Examples:
  hookwright events list --organization acme --since 2h
  hookwright events list --organization acme --request-id order-17-created
  hookwright events list --organization acme --event-type order --filter 'payload.total > 100'";

/// Filters of the list.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    organization: OrganizationArgs,
    /// Only events of this type
    #[arg(long, value_name = "TYPE", default_value = "", hide_default_value = true)]
    event_type: String,
    /// Only events published at or after this time: RFC 3339, or an age such as 2h
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    since: Option<Timestamp>,
    /// Only events published before this time: RFC 3339, or an age such as 2h
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    until: Option<Timestamp>,
    /// Only events with this ordering key
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    ordering_key: String,
    /// Only the event that was published under this request id
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    /// Only events for which this CEL expression is true, for example "payload.total > 100"
    #[arg(long, value_name = "EXPRESSION", default_value = "", hide_default_value = true)]
    filter: String,
    #[command(flatten)]
    limit: LimitArgs,
}

/// Runs the command.
pub(crate) async fn run(client: Client, command: EventsCommand) -> anyhow::Result<ExitCode> {
    match command {
        EventsCommand::Get { event, organization } => {
            let name = client.within(&organization, "events", &event)?;
            let event = client.events().get_event(GetEventRequest { name }).await?.into_inner();
            client.output.message("Event", &event, show)?;
        }
        EventsCommand::Explain { event, organization } => {
            let name = client.within(&organization, "events", &event)?;
            explain(&client, name).await?;
        }
        EventsCommand::List(args) => list(&client, args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn explain(client: &Client, name: String) -> anyhow::Result<()> {
    let mut service = client.events();
    let response = service.explain_event(ExplainEventRequest { name }).await?.into_inner();
    let list = List {
        length: response.explanations.len(),
        rest: "",
        empty: "The organization has no webhooks. Create one: hookwright webhooks create --organization acme --payload-url URL \
                --event-type clocking",
    };
    client.output.list("ExplainEventResponse", &response, list, |response| {
        let rows = response.explanations.iter().map(|one| {
            let since = if one.changed_since && one.reason() != ExplanationReason::Owed {
                " (based on the webhook's current configuration: it was changed since)"
            } else {
                ""
            };
            let what = match one.reason() {
                ExplanationReason::Owed => output::enum_name(one.delivery_state().as_str_name(), "DELIVERY_STATE_"),
                reason => output::enum_name(reason.as_str_name(), "EXPLANATION_REASON_"),
            };
            vec![
                names::id(&one.webhook).to_owned(),
                what,
                names::id(&one.delivery).to_owned(),
                format!("{}{since}", one.message),
            ]
        });
        output::table(&["WEBHOOK", "RESULT", "DELIVERY", "REASON"], rows.collect())
    })
}

async fn list(client: &Client, args: ListArgs) -> anyhow::Result<()> {
    let service = client.events();
    let filter = ListEventsRequest {
        parent: client.parent(&args.organization)?,
        event_type: args
            .event_type
            .strip_prefix("eventTypes/")
            .unwrap_or(&args.event_type)
            .to_owned(),
        start_time: args.since,
        end_time: args.until,
        ordering_key: args.ordering_key,
        request_id: args.request_id,
        filter: args.filter,
        ..ListEventsRequest::default()
    };
    let (events, rest) = collect(args.limit.limit, |page_size, page_token| {
        let mut service = service.clone();
        let request = ListEventsRequest {
            page_size,
            page_token,
            ..filter.clone()
        };
        async move {
            let page = service.list_events(request).await?.into_inner();
            Ok((page.events, page.next_page_token))
        }
    })
    .await?;
    let list = List {
        length: events.len(),
        rest: &rest.clone(),
        empty: "No matching events. Publish one: hookwright publish --organization acme --event-type clocking --json @clocking.json",
    };
    let response = ListEventsResponse {
        events,
        next_page_token: rest,
    };
    client.output.list("ListEventsResponse", &response, list, |response| {
        let rows = response.events.iter().map(|one| {
            vec![
                names::id(&one.name).to_owned(),
                one.event_type.clone(),
                output::time(one.create_time.as_ref()),
                one.payload_bytes.to_string(),
                one.delivery_count.to_string(),
            ]
        });
        output::table(&["EVENT", "TYPE", "PUBLISHED", "BYTES", "DELIVERIES"], rows.collect())
    })
}

fn show(event: &Event) -> String {
    let mut attributes: Vec<String> = event
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    attributes.sort();
    output::fields(vec![
        ("event", names::id(&event.name).to_owned()),
        ("name", event.name.clone()),
        ("type", event.event_type.clone()),
        ("published", output::time(event.create_time.as_ref())),
        ("happened", output::time(event.event_time.as_ref())),
        ("attributes", attributes.join(", ")),
        ("ordering key", event.ordering_key.clone()),
        ("request id", event.request_id.clone()),
        ("deliveries", event.delivery_count.to_string()),
        ("bytes", event.payload_bytes.to_string()),
        ("payload", event.json.clone()),
    ])
}
