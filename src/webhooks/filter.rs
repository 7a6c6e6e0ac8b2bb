//! `hookwright webhooks test-filter`.

use std::process::ExitCode;

use clap::{ArgGroup, Args};
use hookwright_proto::v1::{
    PublishEventRequest, TestWebhookFilterRequest, TestWebhookFilterResponse, publish_event_request::Payload,
    test_webhook_filter_request::Sample,
};

use crate::{
    client::{Client, input, names::OrganizationArgs},
    output,
};

const EXAMPLES: &str = "\
Examples:
  hookwright webhooks test-filter \"attributes.region == 'eu'\" --attribute region=eu --json '{}'
  hookwright webhooks test-filter 'payload.total > 100' --json @order.json
  hookwright webhooks test-filter @filter.cel --event evt_... --organization acme

Exits with 1 if the event does not match.";

/// A filter, and an event to test it with.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("sample").args(["json", "event"]).required(true))]
pub(crate) struct TestFilter {
    /// The filter, a CEL expression: text, @FILE, or - for standard input
    filter: String,
    /// A payload to test it with, a JSON object: text, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-")]
    json: Option<String>,
    /// A published event to test it with: `evt_...` with --organization, or the full resource name
    #[arg(long, value_name = "EVENT", conflicts_with_all = ["event_type", "attributes", "ordering_key"])]
    event: Option<String>,
    #[command(flatten)]
    organization: OrganizationArgs,
    /// The event type for --json
    #[arg(long, value_name = "TYPE", default_value = "", hide_default_value = true)]
    event_type: String,
    /// An event attribute for --json; repeatable
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = input::pair)]
    attributes: Vec<(String, String)>,
    /// The ordering key for --json
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    ordering_key: String,
}

/// Tests the filter.
pub(super) async fn run(client: &Client, args: TestFilter) -> anyhow::Result<ExitCode> {
    let filter = input::read_line(&args.filter)?;
    let sample = match args.event {
        Some(event) => Sample::Event(client.within(&args.organization, "events", &event)?),
        None => Sample::Draft(PublishEventRequest {
            event_type: args.event_type,
            payload: Some(Payload::Json(
                input::read(args.json.as_deref().unwrap_or_default())?.into(),
            )),
            attributes: args.attributes.into_iter().collect(),
            ordering_key: args.ordering_key,
            ..PublishEventRequest::default()
        }),
    };
    let request = TestWebhookFilterRequest {
        filter,
        sample: Some(sample),
    };
    let response = client.webhooks().test_webhook_filter(request).await?.into_inner();
    client.output.message("TestWebhookFilterResponse", &response, show)?;
    Ok(if response.matches {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(response: &TestWebhookFilterResponse) -> String {
    output::fields(vec![
        ("matches", if response.matches { "yes" } else { "no" }.to_owned()),
        ("not evaluated", response.error.clone()),
    ])
}
