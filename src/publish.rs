//! `hookwright publish`.

mod batch;
mod lines;
mod stream;
mod tally;

use std::{path::PathBuf, process::ExitCode};

use clap::{ArgGroup, Args};
use hookwright_proto::v1::{PublishEventRequest, PublishEventResponse, publish_event_request::Payload};
use lines::Lines;
use prost_types::Timestamp;

use crate::{
    client::{
        Client, ClientArgs, input,
        names::{self, OrganizationArgs},
    },
    output,
};

const EXAMPLES: &str = "\
Examples:
  hookwright publish --organization acme --event-type clocking \\
      --json '{\"action\":\"created\",\"clocking\":{\"id\":\"C-1\"}}'
  hookwright publish --organization acme --event-type clocking --json @clocking.json --request-id import-17
  generate | hookwright publish --organization acme --event-type clocking --json-lines - --request-id import-17

The JSON is published byte for byte: an object, at most 5 MiB (configurable). Trailing newlines of @FILE or - are removed, \
             so that a retry under the same request id can use either form. --json-lines publishes each line as one event over one \
             stream, and waits until all of them are durable.";

/// Publish one event, or one per line of a file
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("payload").args(["json", "json_lines"]).required(true))]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten, next_help_heading = "Event")]
    organization: OrganizationArgs,
    /// A registered event type, for example clocking
    #[arg(long, value_name = "TYPE", help_heading = "Event")]
    event_type: String,
    /// The payload, a JSON object: text, @FILE, or - for standard input, without trailing newlines
    #[arg(long, value_name = "JSON|@FILE|-", help_heading = "Event")]
    json: Option<String>,
    /// File (- for standard input) with one payload per line; blank lines are skipped
    #[arg(long, value_name = "FILE|-", help_heading = "Event")]
    json_lines: Option<PathBuf>,
    /// Publish this many lines per call, 1 to 1000, if the network blocks streams
    #[arg(long, value_name = "COUNT", requires = "json_lines", value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "Event")]
    batch: Option<u16>,
    /// Makes the call idempotent: at most 128 characters; with --json-lines, `-` and the line's number are appended for each
    /// line
    #[arg(
        long,
        value_name = "ID",
        default_value = "",
        hide_default_value = true,
        help_heading = "Event"
    )]
    request_id: String,
    /// Time of the event: RFC 3339, or an age such as 5m [default: now]
    #[arg(long, value_name = "TIME", value_parser = input::time, help_heading = "Event")]
    event_time: Option<Timestamp>,
    /// Attribute that is stored with the event and not sent; repeatable, up to 20
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = input::pair, help_heading = "Event")]
    attributes: Vec<(String, String)>,
    /// Key that ordered webhooks order by, for example the id of the changed object; at most 128 bytes
    #[arg(
        long,
        value_name = "KEY",
        default_value = "",
        hide_default_value = true,
        help_heading = "Event"
    )]
    ordering_key: String,
}

impl PublishArgs {
    /// The request, without payload.
    fn request(&self, client: &Client) -> anyhow::Result<PublishEventRequest> {
        Ok(PublishEventRequest {
            organization: client.parent(&self.organization)?,
            event_type: self
                .event_type
                .strip_prefix("eventTypes/")
                .unwrap_or(&self.event_type)
                .to_owned(),
            request_id: self.request_id.clone(),
            event_time: self.event_time,
            attributes: self.attributes.iter().cloned().collect(),
            ordering_key: self.ordering_key.clone(),
            payload: None,
        })
    }
}

/// Publishes.
pub(crate) async fn run(client: Client, args: PublishArgs) -> anyhow::Result<ExitCode> {
    let mut request = args.request(&client)?;
    if let Some(path) = args.json_lines {
        return publish_lines(&client, Lines::open(&path, request).await?, args.batch).await;
    }
    let json = input::read_typed(args.json.as_deref().unwrap_or_default())?;
    request.payload = Some(Payload::Json(json.into()));
    let response = client.events().publish_event(request).await?.into_inner();
    client.output.message("PublishEventResponse", &response, show)?;
    Ok(ExitCode::SUCCESS)
}

/// Publishes every line. The exit status is 1 if any was rejected.
async fn publish_lines(client: &Client, lines: Lines, batch: Option<u16>) -> anyhow::Result<ExitCode> {
    let tally = match batch {
        Some(size) => batch::run(client, lines, usize::from(size)).await?,
        None => stream::run(client, lines).await?,
    };
    if client.output.for_people() {
        output::print(&tally.summary())?;
    }
    Ok(if tally.refused == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(response: &PublishEventResponse) -> String {
    let event = names::id(&response.event);
    let warnings = response.schema_warnings.iter();
    let warnings = warnings.map(|warning| format!("\nwarning: {}: {}", warning.field, warning.description));
    let warnings: String = warnings.collect();
    let published = match (response.repeated_request, response.delivery_count) {
        (true, _) => format!("Already published under the same request id as {event}; nothing was published now."),
        (false, 0) => format!(
            "Published {event}. No active webhook subscribes to such events, so it has no receivers; to see why: \
             hookwright events explain {}",
            response.event
        ),
        (false, 1) => format!("Published {event}, to be sent to 1 webhook."),
        (false, count) => format!("Published {event}, to be sent to {count} webhooks."),
    };
    published + &warnings
}
