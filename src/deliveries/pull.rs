//! `hookwright deliveries pull`, `acknowledge` and `extend`: for receivers that pull their deliveries.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use hookwright_proto::v1::{
    AcknowledgeDeliveriesRequest, ExtendDeliveriesRequest, PullDeliveriesRequest, PullDeliveriesResponse,
};

use crate::{
    client::{
        Client, input,
        names::{self, WebhookArgs},
    },
    output::{self, List},
    units::parse_duration,
};

const EXAMPLES: &str = "\
Examples:
  hookwright deliveries pull wh_... --organization acme --wait 20s --output json
  hookwright deliveries acknowledge wh_... --organization acme ACK_ID
  hookwright deliveries extend wh_... --organization acme ACK_ID --ack-timeout 10m

With --output json each delivery has the headers and the body (in base64) of its POST. To forward deliveries to a program \
             on this machine, see `hookwright listen --forward-to`.";

/// How much to pull.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PullArgs {
    #[command(flatten)]
    which: WebhookArgs,
    /// Maximum number of deliveries to pull: 1 to 1000
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=1000))]
    max: i32,
    /// Time to acknowledge them, 1s to 12h; then they are handed out again [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ack_timeout: Option<Duration>,
    /// Time to wait for a first delivery if there is none: up to 50s [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// Maximum size of the response in bytes, 1 to 16777216; a single delivery may exceed it [default: 4000000]
    #[arg(long, value_name = "BYTES", default_value_t = 0, hide_default_value = true,
        value_parser = clap::value_parser!(i32).range(0..=16_777_216))]
    response_bytes_max: i32,
}

/// Arguments of `acknowledge`.
#[derive(Args, Debug)]
pub(crate) struct AcknowledgeArgs {
    #[command(flatten)]
    which: WebhookArgs,
    /// The deliveries, by their ACK ID from `pull`; exits with 1 if one was not acknowledged
    #[arg(required = true, value_name = "ACK_ID")]
    ack_ids: Vec<String>,
}

/// Arguments of `extend`.
#[derive(Args, Debug)]
pub(crate) struct ExtendArgs {
    #[command(flatten)]
    which: WebhookArgs,
    /// The deliveries, by their ACK ID from `pull`; exits with 1 if a deadline was not moved
    #[arg(required = true, value_name = "ACK_ID")]
    ack_ids: Vec<String>,
    /// New time to acknowledge them, from now: up to 12h [default: 0s, which releases them]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ack_timeout: Option<Duration>,
}

/// Pulls deliveries.
pub(super) async fn pull(client: &Client, args: PullArgs) -> anyhow::Result<()> {
    let request = PullDeliveriesRequest {
        webhook: args.which.name(client)?,
        max_deliveries: args.max,
        ack_timeout: args.ack_timeout.map(input::duration),
        wait: args.wait.map(input::duration),
        response_bytes_max: args.response_bytes_max,
    };
    let request = client.waiting(request, args.wait.unwrap_or_default());
    let response = client.pulls().pull_deliveries(request).await?.into_inner();
    let list = List {
        length: response.deliveries.len(),
        rest: "",
        empty: "No pending deliveries. To wait for one, use --wait 20s.",
    };
    client.output.list("PullDeliveriesResponse", &response, list, table)
}

fn table(response: &PullDeliveriesResponse) -> String {
    let rows = response.deliveries.iter().map(|one| {
        vec![
            names::id(&one.delivery).to_owned(),
            one.event_type.clone(),
            one.attempt.to_string(),
            one.body.len().to_string(),
            output::time(one.ack_deadline.as_ref()),
            one.ack_id.clone(),
        ]
    });
    output::table(
        &["DELIVERY", "TYPE", "ATTEMPT", "BYTES", "ACK BEFORE", "ACK ID"],
        rows.collect(),
    )
}

/// Acknowledges deliveries.
pub(super) async fn acknowledge(client: &Client, args: AcknowledgeArgs) -> anyhow::Result<ExitCode> {
    let count = args.ack_ids.len();
    let request = AcknowledgeDeliveriesRequest {
        webhook: args.which.name(client)?,
        ack_ids: args.ack_ids,
    };
    let response = client.pulls().acknowledge_deliveries(request).await?.into_inner();
    client
        .output
        .message("AcknowledgeDeliveriesResponse", &response, |response| {
            told("Acknowledged", count, &response.stale_ack_ids)
        })?;
    Ok(status(&response.stale_ack_ids))
}

/// Moves deadlines, or releases deliveries.
pub(super) async fn extend(client: &Client, args: ExtendArgs) -> anyhow::Result<ExitCode> {
    let (count, given_back) = (
        args.ack_ids.len(),
        args.ack_timeout.is_none_or(|timeout| timeout.is_zero()),
    );
    let request = ExtendDeliveriesRequest {
        webhook: args.which.name(client)?,
        ack_ids: args.ack_ids,
        ack_timeout: args.ack_timeout.map(input::duration),
    };
    let response = client.pulls().extend_deliveries(request).await?.into_inner();
    client
        .output
        .message("ExtendDeliveriesResponse", &response, |response| {
            told(
                if given_back { "Released" } else { "Extended" },
                count,
                &response.stale_ack_ids,
            )
        })?;
    Ok(status(&response.stale_ack_ids))
}

fn told(what: &str, count: usize, stale: &[String]) -> String {
    let mut text = format!("{what} {}.", count.saturating_sub(stale.len()));
    for ack_id in stale {
        text.push_str(&format!(
            "\nNot {}: it was handed out again, acknowledged already, or cancelled.",
            output::printable(ack_id)
        ));
    }
    text
}

fn status(stale: &[String]) -> ExitCode {
    if stale.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
